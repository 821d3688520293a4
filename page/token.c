/* SPDX-License-Identifier: Apache-2.0 */
#include "page/token.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

enum { RECORD_BYTES = 128, FOLDER_MODE = 0700, FILE_MODE = 0600 };

struct record {
    int64_t expires_s;
    enum page_role role;
};

static void format_hex(const uint8_t *bytes, size_t count, char *text)
{
    for (size_t i = 0; i < count; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

static int find_path(const char *data_dir, const char *text, char path[PATH_MAX],
                     struct blx_error *err)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    char name[2 * SHA256_DIGEST_LENGTH + 1];
    if (SHA256((const uint8_t *)text, strlen(text), digest) == NULL)
        return blx_error_set(err, -EIO, "cannot make a digest of the token");
    format_hex(digest, sizeof(digest), name);
    return blx_path_format(path, PATH_MAX, err, "%s/page/tokens/%s", data_dir, name);
}

static int read_record(const char *path, struct record *record)
{
    char text[RECORD_BYTES], role[16], again[RECORD_BYTES];
    struct record read = {.role = PAGE_VIEWER};
    ssize_t got = blx_file_read_small(AT_FDCWD, path, text, sizeof(text));
    if (got < 0)
        return (int)got;
    text[got] = '\0';
    if (sscanf(text, "blxrep page token 1\n%18" SCNd64 "\n%15s", &read.expires_s, role) != 2)
        return -EBADMSG;
    read.role = strcmp(role, page_role_name(PAGE_OPERATOR)) == 0 ? PAGE_OPERATOR : PAGE_VIEWER;
    snprintf(again, sizeof(again), "blxrep page token 1\n%" PRId64 "\n%s\n", read.expires_s,
             page_role_name(read.role));
    if (strcmp(again, text) != 0)
        return -EBADMSG;
    *record = read;
    return 0;
}

/* Removes what has expired. What cannot be removed is refused by its time. */
static void sweep(const char *folder)
{
    char path[PATH_MAX];
    struct record record;
    BLX_CLEANUP_DIR DIR *dir = opendir(folder);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.' ||
            blx_path_format(path, sizeof(path), NULL, "%s/%s", folder, entry->d_name) < 0)
            continue;
        if (read_record(path, &record) == 0 && record.expires_s <= time(NULL))
            unlink(path);
    }
}

int page_token_make(const char *data_dir, enum page_role role, char text[PAGE_TOKEN_TEXT_BYTES],
                    struct blx_error *err)
{
    uint8_t secret[PAGE_TOKEN_SECRET_BYTES];
    char folder[PATH_MAX], path[PATH_MAX], content[RECORD_BYTES];
    int rc = blx_path_format(folder, sizeof(folder), err, "%s/page/tokens", data_dir);
    if (rc == 0)
        rc = blx_mkdir_parents(folder, FOLDER_MODE, err);
    if (rc < 0)
        return rc;
    sweep(folder);
    if (RAND_bytes(secret, sizeof(secret)) != 1)
        return blx_error_set(err, -EIO, "cannot get random numbers for a token");
    format_hex(secret, sizeof(secret), text);
    OPENSSL_cleanse(secret, sizeof(secret));
    int length = snprintf(content, sizeof(content), "blxrep page token 1\n%" PRId64 "\n%s\n",
                          (int64_t)time(NULL) + PAGE_TOKEN_SECONDS, page_role_name(role));
    rc = find_path(data_dir, text, path, err);
    return rc < 0 ? rc : blx_file_replace(path, content, (size_t)length, FILE_MODE, err);
}

static bool looks_like_one(const char *text)
{
    return strlen(text) == PAGE_TOKEN_TEXT_BYTES - 1 &&
           strspn(text, "0123456789abcdef") == PAGE_TOKEN_TEXT_BYTES - 1;
}

int page_token_use(const char *data_dir, const char *text, enum page_role *role,
                   struct blx_error *err)
{
    char path[PATH_MAX];
    struct record record;
    if (!looks_like_one(text))
        return blx_error_set(err, -EACCES, "this is no token of the page");
    int rc = find_path(data_dir, text, path, err);
    if (rc < 0)
        return rc;
    rc = read_record(path, &record);
    if (rc == 0 && unlink(path) != 0)
        rc = -errno;
    if (rc == -ENOENT)
        return blx_error_set(err, -EACCES,
                             "the token was used already, or it expired: make a new one with "
                             "`blxrep dispatcher page`");
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot use up '%s'", path);
    if (record.expires_s <= time(NULL))
        return blx_error_set(err, -EACCES,
                             "the token has expired: make a new one with `blxrep dispatcher page`");
    *role = record.role;
    return 0;
}
