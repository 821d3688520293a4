/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/revocation_private.h"

#include <errno.h>
#include <openssl/bio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/name.h"
#include "tls/certificate_private.h"
#include "tls/pem_private.h"
#include "tls/tls.h"

static const char first_line[] = "blxrep revoked 1\n";

enum { FILE_LIMIT_BYTES = 64 * 1024 }; /* more than a thousand renewals */

int blx_revocation_parse(const char *text, const char *serial)
{
    size_t length = serial == NULL ? 0 : strlen(serial);
    bool spares = false;
    if (strncmp(text, first_line, sizeof(first_line) - 1) != 0)
        return -EBADMSG;
    for (const char *line = text + sizeof(first_line) - 1; *line != '\0';) {
        size_t bytes = strspn(line, "0123456789ABCDEF");
        if (bytes == 0 || bytes >= BLX_SERIAL_TEXT_BYTES || line[bytes] != '\n')
            return -EBADMSG;
        if (bytes == length && memcmp(line, serial, length) == 0)
            return 0;
        spares = true;
        line += bytes + 1;
    }
    return serial != NULL || !spares;
}

static int file_name(const char *agent_id, char name[BLX_NAME_BYTES + 16], struct blx_error *err)
{
    int rc = blx_certificate_is_copiers(agent_id)
                 ? blx_name_check("copier's name", agent_id + strlen(BLX_TLS_COPIER_PREFIX), err)
                 : blx_name_check("agent ID", agent_id, err);
    return rc < 0 ? rc : blx_path_format(name, BLX_NAME_BYTES + 16, err, "revoked/%s", agent_id);
}

/* The file's text, to be freed; NULL if there is no file. */
static int read_file(const char *path, char **text, struct blx_error *err)
{
    void *content = NULL;
    size_t bytes = 0;
    struct blx_error why = {0};
    int rc = blx_file_read(path, FILE_LIMIT_BYTES, &content, &bytes, &why);
    if (rc == -ENOENT)
        return 0;
    if (rc < 0)
        return blx_error_copy(err, rc, &why);
    *text = content;
    return 0;
}

static int write_file(const struct blx_pki *pki, const char *name, const char *before,
                      const char *serial, struct blx_error *err)
{
    BLX_CLEANUP_BIO BIO *content = BIO_new(BIO_s_mem());
    if (content == NULL ||
        BIO_printf(content, "%s%s%s", before, serial, serial[0] == '\0' ? "" : "\n") <= 0)
        return blx_error_errno(err, -ENOMEM, "cannot write '%s/%s'", pki->dir, name);
    return blx_pki_write(pki, name, content, BLX_PKI_PRIVATE_MODE, err);
}

int blx_revocation_write(const struct blx_pki *pki, const char *agent_id, struct blx_error *err)
{
    char name[BLX_NAME_BYTES + 16], folder[PATH_MAX];
    int rc = file_name(agent_id, name, err);
    if (rc == 0)
        rc = blx_pki_path(pki, "revoked", folder, err);
    if (rc == 0)
        rc = blx_pki_make_dir(pki, folder, err);
    return rc < 0 ? rc : write_file(pki, name, first_line, "", err);
}

int blx_revocation_except(const struct blx_pki *pki, const char *agent_id, const char *serial,
                          struct blx_error *err)
{
    char name[BLX_NAME_BYTES + 16], path[PATH_MAX];
    BLX_CLEANUP_FREE char *text = NULL;
    int rc = file_name(agent_id, name, err);
    if (rc == 0)
        rc = blx_pki_path(pki, name, path, err);
    if (rc == 0)
        rc = read_file(path, &text, err);
    return rc < 0 || text == NULL ? rc : write_file(pki, name, text, serial, err);
}

int blx_revocation_look(const char *data_dir, const char *agent_id, const char *serial,
                        struct blx_error *err)
{
    char name[BLX_NAME_BYTES + 16], path[PATH_MAX];
    BLX_CLEANUP_FREE char *text = NULL;
    int rc = file_name(agent_id, name, err);
    if (rc == 0)
        rc = blx_path_format(path, sizeof(path), err, "%s/pki/%s", data_dir, name);
    if (rc == 0)
        rc = read_file(path, &text, err);
    if (rc < 0 || text == NULL)
        return rc;
    rc = blx_revocation_parse(text, serial);
    if (rc < 0)
        return blx_error_set(err, rc,
                             "'%s' is damaged, so the agent '%s' is refused: `blxrep dispatcher "
                             "revoke` writes it again",
                             path, agent_id);
    return rc;
}
