/* SPDX-License-Identifier: Apache-2.0 */
#include "object/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>

#include "base/io.h"

enum { FILE_LIMIT_BYTES = 16384 };

struct field {
    const char *key;      /* in the file */
    const char *variable; /* in the environment */
    size_t offset, bytes;
    bool needed;
};

static const struct field fields[] = {
    {"aws_access_key_id", "AWS_ACCESS_KEY_ID", offsetof(struct object_credentials, name),
     OBJECT_NAME_BYTES, true},
    {"aws_secret_access_key", "AWS_SECRET_ACCESS_KEY", offsetof(struct object_credentials, secret),
     OBJECT_SECRET_BYTES, true},
    {"aws_session_token", "AWS_SESSION_TOKEN", offsetof(struct object_credentials, token),
     OBJECT_TOKEN_BYTES, false},
};

enum { FIELD_COUNT = sizeof(fields) / sizeof(fields[0]) };

/* The value is printable and has no space: it goes into a header. */
static int set_field(struct object_credentials *credentials, const struct field *field,
                     const char *value, struct blx_error *err)
{
    size_t length = strlen(value);
    for (size_t i = 0; i < length; i++) {
        if (value[i] <= ' ' || value[i] > '~')
            return blx_error_set(err, -EINVAL, "%s has a character that is not printable",
                                 field->key);
    }
    if (length == 0 || length >= field->bytes)
        return blx_error_set(err, -EINVAL, "%s has %zu characters: 1 to %zu are possible",
                             field->key, length, field->bytes - 1);
    memcpy((char *)credentials + field->offset, value, length + 1);
    return 0;
}

static char *trim(char *text)
{
    text += strspn(text, " \t");
    for (size_t length = strlen(text); length > 0 && strchr(" \t\r", text[length - 1]) != NULL;)
        text[--length] = '\0';
    return text;
}

/* A line of the file: empty, a comment, a profile's name, or "key = value". Keys that other tools
 * put there are not ours. */
static int take_line(struct object_credentials *credentials, char *line, struct blx_error *err)
{
    line = trim(line);
    if (line[0] == '\0' || line[0] == '#' || line[0] == ';' || line[0] == '[')
        return 0;
    char *value = strchr(line, '=');
    if (value == NULL)
        return blx_error_set(err, -EINVAL,
                             "a line is not understood; write aws_access_key_id = NAME and "
                             "aws_secret_access_key = SECRET");
    *value++ = '\0';
    line = trim(line);
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        if (strcmp(line, fields[i].key) == 0)
            return set_field(credentials, &fields[i], trim(value), err);
    }
    return 0;
}

static int check_mode(int fd, const char *path, struct blx_error *err)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return blx_error_errno(err, -errno, "cannot look at '%s'", path);
    if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        return blx_error_set(err, -EACCES,
                             "'%s' can be read or written by others than its owner: run "
                             "`chmod 0600 %s`, and change the secret if others had it",
                             path, path);
    return 0;
}

static int read_file(const char *path, char text[FILE_LIMIT_BYTES], struct blx_error *err)
{
    BLX_CLEANUP_FD int fd = blx_open(path, O_RDONLY, 0, err);
    if (fd < 0)
        return fd;
    int rc = check_mode(fd, path, err);
    if (rc < 0)
        return rc;
    ssize_t bytes = read(fd, text, FILE_LIMIT_BYTES);
    if (bytes < 0)
        return blx_error_errno(err, -errno, "cannot read '%s'", path);
    if (bytes == FILE_LIMIT_BYTES)
        return blx_error_set(err, -EFBIG, "'%s' is no file of credentials: it is too large", path);
    text[bytes] = '\0';
    return 0;
}

static int take_file(const char *path, struct object_credentials *credentials,
                     struct blx_error *err)
{
    char text[FILE_LIMIT_BYTES], *rest = NULL;
    int rc = read_file(path, text, err);
    if (rc < 0)
        return rc;
    for (char *line = strtok_r(text, "\n", &rest); rc == 0 && line != NULL;
         line = strtok_r(NULL, "\n", &rest))
        rc = take_line(credentials, line, err);
    OPENSSL_cleanse(text, sizeof(text));
    if (rc < 0)
        blx_error_prefix(err, "'%s'", path);
    for (size_t i = 0; rc == 0 && i < FIELD_COUNT; i++) {
        if (fields[i].needed && ((char *)credentials + fields[i].offset)[0] == '\0')
            rc = blx_error_set(err, -EINVAL, "'%s' has no %s: write a line %s = VALUE", path,
                               fields[i].key, fields[i].key);
    }
    return rc;
}

static int take_environment(struct object_credentials *credentials, struct blx_error *err)
{
    for (size_t i = 0; i < FIELD_COUNT; i++) {
        const char *value = getenv(fields[i].variable);
        if (value == NULL && fields[i].needed)
            return blx_error_set(err, -ENOKEY,
                                 "no credentials for the object store: write credentials: "
                                 "\"/etc/blxrep/object-store\" into its group, or set "
                                 "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY");
        int rc = value != NULL ? set_field(credentials, &fields[i], value, err) : 0;
        if (rc < 0) {
            blx_error_prefix(err, "%s", fields[i].variable);
            return rc;
        }
    }
    return 0;
}

int object_credentials_load(const char *path, struct object_credentials *credentials,
                            struct blx_error *err)
{
    *credentials = (struct object_credentials){0};
    int rc = path != NULL ? take_file(path, credentials, err) : take_environment(credentials, err);
    if (rc < 0)
        object_credentials_done(credentials);
    return rc;
}

void object_credentials_done(struct object_credentials *credentials)
{
    OPENSSL_cleanse(credentials, sizeof(*credentials));
}
