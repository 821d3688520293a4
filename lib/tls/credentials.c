#include "tls/credentials.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "tls/pem.h"
#include "wire/ssl_error.h"

enum { CREDENTIALS_MODE = 0600 };

static int taken(const char *path, const char *way_out, struct blx_error *err)
{
    return blx_error_set(err, -EEXIST, "'%s' exists and is not replaced: %s", path, way_out);
}

static int check_folder(const char *path, struct blx_error *err)
{
    char folder[PATH_MAX];
    int rc = blx_path_format(folder, sizeof(folder), err, "%s", path);
    if (rc < 0)
        return rc;
    char *slash = strrchr(folder, '/');
    if (slash == NULL)
        snprintf(folder, sizeof(folder), ".");
    else
        slash[slash == folder ? 1 : 0] = '\0';
    if (access(folder, W_OK | X_OK) < 0)
        return blx_error_errno(err, -errno, "cannot write '%s'", path);
    return 0;
}

int blx_credentials_check(const char *path, const char *way_out, struct blx_error *err)
{
    struct stat st;
    bool exists = lstat(path, &st) == 0;
    if (!exists && errno != ENOENT)
        return blx_error_errno(err, -errno, "cannot look at '%s'", path);
    if (exists && way_out != NULL)
        return taken(path, way_out, err);
    if (exists && !S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
        return blx_error_set(err, -EINVAL, "'%s' is no regular file", path);
    return check_folder(path, err);
}

static int rename_noreplace(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -errno;
    /* A filesystem without that flag. */
    if (link(from, to) < 0)
        return -errno;
    return blx_sys->unlink(from) < 0 ? -errno : 0;
}

static int write_temporary(const char *path, BIO *content, struct blx_error *err)
{
    char *bytes = NULL;
    long length = BIO_get_mem_data(content, &bytes);
    BLX_CLEANUP_FD int fd =
        blx_open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, CREDENTIALS_MODE, err);
    if (fd < 0)
        return fd;
    int rc = blx_pwrite_full(fd, bytes, (size_t)length, 0);
    if (rc == 0 && blx_sys->fsync(fd) < 0)
        rc = -errno;
    if (rc < 0) {
        blx_sys->unlink(path);
        return blx_error_errno(err, rc, "cannot write '%s'", path);
    }
    return 0;
}

/* The temporary name is random: the folder is a user's, and several may write into it at once. */
static int temporary_name(const char *path, char temporary[PATH_MAX], struct blx_error *err)
{
    unsigned char random[8] = {0};
    if (RAND_bytes(random, sizeof(random)) != 1)
        return blx_error_set(err, -EIO, "cannot get random numbers: %s", blx_ssl_reason());
    return blx_path_format(temporary, PATH_MAX, err, "%s.%02x%02x%02x%02x%02x%02x%02x%02x.tmp",
                           path, random[0], random[1], random[2], random[3], random[4], random[5],
                           random[6], random[7]);
}

static int write_bundle(const char *path, BIO *content, const char *way_out, struct blx_error *err)
{
    char temporary[PATH_MAX];
    int rc = temporary_name(path, temporary, err);
    if (rc == 0)
        rc = write_temporary(temporary, content, err);
    if (rc < 0)
        return rc;
    if (way_out != NULL)
        rc = rename_noreplace(temporary, path);
    else if (blx_sys->rename(temporary, path) < 0)
        rc = -errno;
    if (rc == -EEXIST && way_out != NULL)
        taken(path, way_out, err);
    else if (rc < 0)
        blx_error_errno(err, rc, "cannot rename '%s' to '%s'", temporary, path);
    if (rc < 0) {
        blx_sys->unlink(temporary);
        return rc;
    }
    return blx_fsync_parent(path, err);
}

int blx_credentials_write(const char *path, EVP_PKEY *key, X509 *cert, X509 *ca,
                          const char *way_out, struct blx_error *err)
{
    /* Memory that is wiped when it is freed. */
    BLX_CLEANUP_BIO BIO *bundle = BIO_new(BIO_s_secmem());
    if (bundle == NULL || PEM_write_bio_PrivateKey(bundle, key, NULL, NULL, 0, NULL, NULL) != 1 ||
        PEM_write_bio_X509(bundle, cert) != 1 || PEM_write_bio_X509(bundle, ca) != 1) {
        ERR_clear_error();
        return blx_error_errno(err, -ENOMEM, "cannot write '%s'", path);
    }
    return write_bundle(path, bundle, way_out, err);
}
