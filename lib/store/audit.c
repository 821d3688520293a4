/* SPDX-License-Identifier: Apache-2.0 */
#include "store/audit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <openssl/sha.h>

#include "base/cleanup.h"
#include "base/hex.h"
#include "base/io.h"
#include "base/json.h"
#include "base/sys.h"
#include "base/units.h"
#include "store/directory_private.h"

enum { HASH_TEXT_BYTES = 2 * SHA256_DIGEST_LENGTH + 1, FOLDER_MODE = 0750, FILE_MODE = 0640 };

/* Where the chain ends. */
struct tail {
    uint32_t file; /* its number; 0: there is none */
    uint64_t file_bytes;
    uint64_t seq; /* of the last line; 0: there is none */
    char hash[HASH_TEXT_BYTES];
    bool torn; /* the file ends within a line */
};

static int hash_line(const char *line, size_t bytes, char text[HASH_TEXT_BYTES],
                     struct blx_error *err)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    if (SHA256((const uint8_t *)line, bytes, digest) == NULL)
        return blx_error_set(err, -EIO, "cannot hash a line of the audit log");
    blx_hex_format(digest, sizeof(digest), text);
    return 0;
}

int blx_audit_value(const char *line, const char *key, char *value, size_t bytes)
{
    char quoted[64];
    snprintf(quoted, sizeof(quoted), "\"%s\": ", key);
    const char *at = strstr(line, quoted);
    if (at == NULL)
        return -ENOENT;
    at += strlen(quoted);
    bool is_text = *at == '"';
    at += is_text;
    size_t used = 0;
    while (*at != '\0' && used + 1 < bytes && (is_text ? *at != '"' : *at != ',' && *at != '}')) {
        if (*at == '\\' && at[1] != '\0')
            at++;
        value[used++] = *at++;
    }
    value[used] = '\0';
    return 0;
}

static int file_path(const char *data_dir, uint32_t number, char path[PATH_MAX],
                     struct blx_error *err)
{
    return blx_path_format(path, PATH_MAX, err, "%s/audit/%08" PRIu32 ".log", data_dir, number);
}

/* The numbers of the files, in any order, through visit(). */
struct numbers {
    uint32_t *list; /* owned */
    size_t count;
};

static void numbers_done(struct numbers *numbers)
{
    free(numbers->list);
}

static int add_number(void *arg, const char *name, struct blx_error *err)
{
    struct numbers *numbers = arg;
    uint32_t number;
    int end = 0;
    if (sscanf(name, "%8" SCNu32 ".log%n", &number, &end) != 1 || name[end] != '\0' || end != 12)
        return 0;
    uint32_t *grown = reallocarray(numbers->list, numbers->count + 1, sizeof(grown[0]));
    if (grown == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot list the audit log");
    numbers->list = grown;
    grown[numbers->count++] = number;
    return 0;
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static int list_files(const char *data_dir, struct numbers *numbers, struct blx_error *err)
{
    char dir[PATH_MAX];
    struct stat st;
    int rc = blx_path_format(dir, sizeof(dir), err, "%s/audit", data_dir);
    if (rc < 0)
        return rc;
    if (stat(dir, &st) < 0 && errno == ENOENT)
        return 0;
    rc = blx_directory_each(dir, add_number, numbers, err);
    if (rc == 0 && numbers->count > 0)
        qsort(numbers->list, numbers->count, sizeof(numbers->list[0]), compare_numbers);
    return rc;
}

/* Of the last of these lines that has a number: a power cut may have left one without. */
static int find_seq(const char *content, size_t end, uint64_t *seq, struct blx_error *err)
{
    char value[24];
    for (;;) {
        const char *before = end == 0 ? NULL : memrchr(content, '\n', end);
        const char *line = before == NULL ? content : before + 1;
        BLX_CLEANUP_FREE char *text = strndup(line, (size_t)(content + end - line));
        if (text == NULL)
            return blx_error_errno(err, -ENOMEM, "cannot read the audit log");
        bool found = blx_audit_value(text, "seq", value, sizeof(value)) == 0;
        if (found)
            *seq = strtoull(value, NULL, 10);
        if (found || before == NULL)
            return 0;
        end = (size_t)(before - content);
    }
}

/* The last line of the content, whole or torn. */
static int take_last_line(const char *content, size_t bytes, struct tail *tail,
                          struct blx_error *err)
{
    tail->torn = bytes > 0 && content[bytes - 1] != '\n';
    if (bytes == 0) /* a crash came after the file was made */
        return hash_line("", 0, tail->hash, err);
    size_t end = tail->torn ? bytes : bytes - 1;
    const char *before = end == 0 ? NULL : memrchr(content, '\n', end);
    const char *line = before == NULL ? content : before + 1;
    int rc = find_seq(content, end, &tail->seq, err);
    return rc < 0 ? rc : hash_line(line, (size_t)(content + end - line), tail->hash, err);
}

static int read_tail(const char *data_dir, uint32_t file, struct tail *tail, struct blx_error *err)
{
    BLX_CLEANUP_FREE void *content = NULL;
    char path[PATH_MAX];
    size_t bytes = 0;
    int rc = file_path(data_dir, file, path, err);
    if (rc == 0)
        rc = blx_file_read(path, 2 * (size_t)BLX_AUDIT_FILE_BYTES, &content, &bytes, err);
    tail->file = file;
    tail->file_bytes = bytes;
    return rc < 0 ? rc : take_last_line(content, bytes, tail, err);
}

/* A file without a line, which a crash or a full disk left, continues the one before. */
static int find_tail(const char *data_dir, struct tail *tail, struct blx_error *err)
{
    BLX_CLEANUP(numbers_done) struct numbers numbers = {0};
    int rc = list_files(data_dir, &numbers, err);
    size_t at = numbers.count;
    if (rc == 0 && at > 0)
        rc = read_tail(data_dir, numbers.list[--at], tail, err);
    uint32_t empty = tail->file_bytes == 0 ? tail->file : 0;
    while (rc == 0 && tail->file_bytes == 0 && at > 0)
        rc = read_tail(data_dir, numbers.list[--at], tail, err);
    if (rc == 0 && empty != 0 && tail->file != empty) {
        tail->file = empty;
        tail->file_bytes = 0;
        tail->torn = false;
    }
    return rc;
}

/* A new buffer with the line, its end included; NULL: no memory. */
static char *make_line(const struct blx_audit_entry *entry, const struct tail *tail)
{
    char *text = NULL, time[BLX_RFC3339_TEXT_BYTES], checkpoint[BLX_TIMESTAMP_TEXT_BYTES];
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL)
        return NULL;
    struct blx_json json = {.out = out, .one_line = true};
    blx_timestamp_format_rfc3339(
        blx_timestamp_from_unix((int64_t)(blx_clock_realtime_ns() / 1000000000)), time);
    blx_json_open(&json, NULL, '{');
    if (tail == NULL)
        blx_json_null(&json, "seq");
    else
        blx_json_number(&json, "seq", tail->seq + 1);
    blx_json_string(&json, "time", time);
    blx_json_string(&json, "event", entry->event);
    if (entry->agent != NULL)
        blx_json_string(&json, "agent", entry->agent);
    blx_json_string(&json, "program", program_invocation_short_name);
    blx_json_number(&json, "uid", entry->uid);
    if (entry->text != NULL)
        blx_json_string(&json, "text", entry->text);
    if (entry->checkpoint_count > 0) {
        blx_json_number(&json, "count", entry->checkpoint_count);
        blx_json_open(&json, "checkpoints", '[');
        for (size_t i = 0; i < entry->checkpoint_count && i < BLX_AUDIT_LISTED; i++) {
            blx_timestamp_format(entry->checkpoints[i], checkpoint);
            blx_json_string(&json, NULL, checkpoint);
        }
        blx_json_close(&json, ']');
    }
    if (tail == NULL)
        blx_json_null(&json, "previous");
    else
        blx_json_string(&json, "previous", tail->hash);
    blx_json_close(&json, '}');
    bool failed = ferror(out) != 0;
    if (fclose(out) != 0 || failed) {
        free(text);
        return NULL;
    }
    return text;
}

static int append_line(const char *data_dir, const struct tail *tail, const char *line,
                       struct blx_error *err)
{
    char path[PATH_MAX];
    BLX_CLEANUP_FREE char *whole = NULL;
    bool follows = tail->file == 0 || tail->file_bytes >= BLX_AUDIT_FILE_BYTES;
    int rc = file_path(data_dir, follows ? tail->file + 1 : tail->file, path, err);
    if (rc < 0)
        return rc;
    /* A torn line is ended, and stays as it is: the folder is only appended to. */
    if (asprintf(&whole, "%s%s", tail->torn && !follows ? "\n" : "", line) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot write '%s'", path);
    BLX_CLEANUP_FD int fd = blx_open(path, O_WRONLY | O_CREAT, FILE_MODE, err);
    if (fd < 0)
        return fd;
    rc = blx_pwrite_full(fd, whole, strlen(whole), follows ? 0 : tail->file_bytes);
    if (rc == 0 && blx_sys->fdatasync(fd) < 0)
        rc = -errno;
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot write '%s'", path);
    /* Whoever made the file, or the folder, may have died before its name was durable. */
    rc = blx_fsync_parent(path, err);
    return rc == 0 ? blx_fsync_dir(data_dir, err) : rc;
}

/* The descriptor; closing it gives the lock back. */
static int open_locked(const char *path, int flags, struct blx_error *err)
{
    BLX_CLEANUP_FD int fd = blx_open(path, flags, FILE_MODE, err);
    int rc = fd < 0 ? fd : 0;
    while (rc == 0 && flock(fd, LOCK_EX) < 0) {
        if (errno == EBADF && (flags & O_DIRECTORY) != 0)
            break; /* NFS locks no folder */
        if (errno != EINTR)
            rc = blx_error_errno(err, -errno, "cannot lock '%s'", path);
    }
    return rc < 0 ? rc : blx_take_fd(&fd);
}

/* Other hosts see only the file's lock: through FUSE a folder is locked on this host only, and on
 * NFS not at all. Programs of before lock the folder alone. */
struct audit_lock {
    int folder, file;
};

static void give_lock_back(struct audit_lock *lock)
{
    blx_cleanup_fd(&lock->file);
    blx_cleanup_fd(&lock->folder);
}

static int take_lock(const char *data_dir, struct audit_lock *lock, struct blx_error *err)
{
    char dir[PATH_MAX], path[PATH_MAX];
    int rc = blx_path_format(dir, sizeof(dir), err, "%s/audit", data_dir);
    if (rc == 0)
        rc = blx_path_format(path, sizeof(path), err, "%s/lock", dir);
    if (rc == 0 && blx_sys->mkdir(dir, FOLDER_MODE) < 0 && errno != EEXIST)
        rc = blx_error_errno(err, -errno, "cannot make '%s'", dir);
    if (rc < 0)
        return rc;
    lock->folder = open_locked(dir, O_RDONLY | O_DIRECTORY, err);
    if (lock->folder < 0)
        return lock->folder;
    lock->file = open_locked(path, O_RDWR | O_CREAT | O_NOFOLLOW, err);
    return lock->file < 0 ? lock->file : 0;
}

static int append(const char *data_dir, const struct blx_audit_entry *entry, char **line,
                  struct blx_error *err)
{
    struct tail tail = {0};
    BLX_CLEANUP(give_lock_back) struct audit_lock lock = {-1, -1};
    int rc = take_lock(data_dir, &lock, err);
    if (rc == 0)
        rc = find_tail(data_dir, &tail, err);
    if (rc < 0)
        return rc;
    *line = make_line(entry, &tail);
    if (*line == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot write the audit log");
    return append_line(data_dir, &tail, *line, err);
}

int blx_audit_append(const char *data_dir, const struct blx_audit_entry *entry,
                     struct blx_error *err)
{
    BLX_CLEANUP_FREE char *line = NULL;
    int rc = append(data_dir, entry, &line, err);
    if (line == NULL)
        line = make_line(entry, NULL);
    if (line != NULL) {
        syslog(LOG_AUTHPRIV | LOG_NOTICE, "blxrep audit: %s", line);
        closelog(); /* lines are rare, and a descriptor is not to be spared for them */
    }
    return rc;
}

/* The chain while it is read. */
struct chain {
    char expected[HASH_TEXT_BYTES]; /* "": any, since nothing was read yet */
    int (*visit)(void *arg, const struct blx_audit_line *line, struct blx_error *err);
    void *arg;
};

/* The text ends at the first NUL, which a power cut may have left; the line has all the `bytes`. */
static int take_line(struct chain *chain, struct blx_audit_line *line, size_t bytes,
                     struct blx_error *err)
{
    char previous[HASH_TEXT_BYTES] = "";
    bool torn = bytes == 0 || line->text[bytes - 1] != '}' || strlen(line->text) != bytes ||
                blx_audit_value(line->text, "previous", previous, sizeof(previous)) < 0;
    line->fault = BLX_AUDIT_GOOD;
    if (torn)
        line->fault = BLX_AUDIT_TORN;
    else if (chain->expected[0] != '\0' && strcmp(previous, chain->expected) != 0)
        line->fault = BLX_AUDIT_BROKEN;
    int rc = hash_line(line->text, bytes, chain->expected, err);
    return rc < 0 ? rc : chain->visit(chain->arg, line, err);
}

static int read_file(struct chain *chain, const char *path, struct blx_error *err)
{
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes = 0;
    int rc = blx_file_read(path, 2 * (size_t)BLX_AUDIT_FILE_BYTES, &content, &bytes, err);
    char *at = content;
    for (uint64_t number = 1; rc == 0 && at != NULL && at < (char *)content + bytes; number++) {
        size_t left = (size_t)((char *)content + bytes - at);
        char *end = memchr(at, '\n', left);
        if (end != NULL)
            *end = '\0';
        struct blx_audit_line line = {.path = path, .number = number, .text = at};
        rc = take_line(chain, &line, end == NULL ? left : (size_t)(end - at), err);
        at = end == NULL ? NULL : end + 1;
    }
    return rc;
}

int blx_audit_each(const char *data_dir,
                   int (*visit)(void *arg, const struct blx_audit_line *line,
                                struct blx_error *err),
                   void *arg, struct blx_error *err)
{
    BLX_CLEANUP(numbers_done) struct numbers numbers = {0};
    struct chain chain = {.visit = visit, .arg = arg};
    char path[PATH_MAX];
    int rc = list_files(data_dir, &numbers, err);
    for (size_t i = 0; rc == 0 && i < numbers.count; i++) {
        rc = file_path(data_dir, numbers.list[i], path, err);
        if (rc == 0)
            rc = read_file(&chain, path, err);
    }
    return rc;
}
