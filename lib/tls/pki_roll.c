/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/pki_roll.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/name.h"
#include "base/sys.h"
#include "tls/certificate_private.h"
#include "tls/pem_private.h"
#include "tls/pki_private.h"
#include "wire/ssl_error.h"

static int exists(const struct blx_pki *pki, const char *name, bool *exists, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = blx_pki_path(pki, name, path, err);
    return rc < 0 ? rc : blx_pki_file_exists(path, exists, err);
}

static int make_dir(const struct blx_pki *pki, const char *name, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = blx_pki_path(pki, name, path, err);
    return rc < 0 ? rc : blx_pki_make_dir(pki, path, err);
}

/* Renames within DIR/pki, durably. A name that is gone was renamed before. */
static int move(const struct blx_pki *pki, const char *from, const char *to, struct blx_error *err)
{
    char old[PATH_MAX], new[PATH_MAX];
    int rc = blx_pki_path(pki, from, old, err);
    if (rc == 0)
        rc = blx_pki_path(pki, to, new, err);
    if (rc < 0)
        return rc;
    if (blx_sys->rename(old, new) < 0)
        return errno == ENOENT ? 0 : blx_error_errno(err, -errno, "cannot rename '%s'", old);
    rc = blx_fsync_parent(old, err);
    return rc < 0 ? rc : blx_fsync_parent(new, err);
}

static int drop(const struct blx_pki *pki, const char *name, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = blx_pki_path(pki, name, path, err);
    if (rc == 0 && blx_sys->unlink(path) < 0 && errno != ENOENT)
        rc = blx_error_errno(err, -errno, "cannot remove '%s'", path);
    return rc;
}

static int drop_dir(const struct blx_pki *pki, const char *name, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = blx_pki_path(pki, name, path, err);
    if (rc == 0 && rmdir(path) < 0 && errno != ENOENT)
        rc = blx_error_errno(err, -errno, "cannot remove the directory '%s'", path);
    return rc < 0 ? rc : blx_fsync_parent(path, err);
}

/* The notes, and the folder that they lie in. */
static int drop_notes(const struct blx_pki *pki, struct blx_error *err)
{
    char folder[PATH_MAX], name[BLX_NAME_BYTES + 32];
    int rc = blx_pki_path(pki, "retiring/moved", folder, err);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_DIR DIR *dir = opendir(folder);
    if (dir == NULL)
        return errno == ENOENT ? 0 : blx_error_errno(err, -errno, "cannot read '%s'", folder);
    const struct dirent *entry;
    while ((errno = 0, entry = readdir(dir)) != NULL) {
        if (blx_name_check("agent ID", entry->d_name, NULL) < 0)
            continue;
        rc = blx_path_format(name, sizeof(name), err, "retiring/moved/%s", entry->d_name);
        if (rc == 0)
            rc = drop(pki, name, err);
        if (rc < 0)
            return rc;
    }
    if (errno != 0)
        return blx_error_errno(err, -errno, "cannot read '%s'", folder);
    return drop_dir(pki, "retiring/moved", err);
}

static int load_cert(const struct blx_pki *pki, const char *name, X509 **cert,
                     struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = blx_pki_path(pki, name, path, err);
    return rc < 0 ? rc : blx_pem_read_cert(path, cert, err);
}

/* Leaves NULL if the key is kept elsewhere. */
static int load_key(const struct blx_pki *pki, const char *name, EVP_PKEY **key,
                    struct blx_error *err)
{
    char path[PATH_MAX];
    bool there = false;
    int rc = blx_pki_path(pki, name, path, err);
    if (rc == 0)
        rc = blx_pki_file_exists(path, &there, err);
    return rc < 0 || !there ? rc : blx_pem_read_key(path, key, err);
}

/* The successor's key may be kept elsewhere; the old CA's must not stay in its place. */
static int drop_old_key(const struct blx_pki *pki, struct blx_error *err)
{
    BLX_CLEANUP_X509 X509 *next = NULL;
    BLX_CLEANUP_KEY EVP_PKEY *key = NULL;
    bool there = false;
    int rc = exists(pki, "retiring/ca.key", &there, err);
    if (rc < 0 || there)
        return rc;
    rc = load_cert(pki, "retiring/ca.pem", &next, err);
    if (rc == 0)
        rc = load_key(pki, "ca.key", &key, err);
    if (rc < 0 || key == NULL)
        return rc;
    bool old = X509_check_private_key(next, key) != 1;
    ERR_clear_error();
    return old ? drop(pki, "ca.key", err) : 0;
}

/* The certificate of the CA comes last: as long as it is here the keys may not fit. */
static int take_over(const struct blx_pki *pki, struct blx_error *err)
{
    static const char *const files[][2] = {
        {"retiring/ca.key", "ca.key"},
        {"retiring/dispatcher.key", "dispatcher.key"},
        {"retiring/dispatcher.pem", "dispatcher.pem"},
        {"retiring/ca.pem", "ca.pem"},
    };
    bool there = false;
    int rc = exists(pki, "retiring/ca.pem", &there, err);
    if (rc < 0 || !there)
        return rc;
    rc = drop_old_key(pki, err);
    for (size_t i = 0; rc == 0 && i < sizeof(files) / sizeof(files[0]); i++)
        rc = move(pki, files[i][0], files[i][1], err);
    return rc;
}

int blx_pki_roll_finish(const struct blx_pki *pki, struct blx_error *err)
{
    bool retiring = false;
    int rc = exists(pki, "retiring", &retiring, err);
    if (rc < 0 || !retiring)
        return rc;
    rc = take_over(pki, err);
    if (rc == 0)
        rc = drop_notes(pki, err);
    if (rc == 0)
        rc = drop(pki, "retiring/proof.pem", err);
    if (rc == 0)
        rc = drop_dir(pki, "retiring", err);
    return rc;
}

int blx_pki_roll_load(const struct blx_pki *pki, struct blx_pki_authority *next,
                      struct blx_authority_message *authority, struct blx_error *err)
{
    BLX_CLEANUP_X509 X509 *proof = NULL;
    bool there = false;
    int rc = exists(pki, "next", &there, err);
    if (rc < 0 || !there)
        return rc;
    next->is_next = true;
    rc = load_cert(pki, "next/ca.pem", &next->cert, err);
    if (rc == 0)
        rc = load_key(pki, "next/ca.key", &next->key, err);
    if (rc == 0 && authority != NULL)
        rc = load_cert(pki, "next/proof.pem", &proof, err);
    if (rc == 0 && authority != NULL)
        rc = blx_certificate_put(proof, authority->proof, &authority->proof_bytes, err);
    return rc;
}

static int make_proof(const struct blx_pki *pki, const struct blx_pki_authority *ca,
                      const struct blx_pki_authority *next, struct blx_error *err)
{
    BLX_CLEANUP_X509 X509 *proof = NULL;
    char name[BLX_NAME_BYTES];
    if (X509_NAME_get_text_by_NID(X509_get_subject_name(next->cert), NID_commonName, name,
                                  sizeof(name)) <= 0)
        return blx_error_set(err, -EIO, "cannot read the name of a CA: %s", blx_ssl_reason());
    int rc = blx_certificate_make(BLX_CERTIFICATE_CA, name, next->key, ca->cert, ca->key,
                                  BLX_CERTIFICATE_CA_DAYS, &proof, err);
    return rc < 0 ? rc : blx_pki_write_cert(pki, "beginning/proof.pem", proof, err);
}

static int begin(const struct blx_pki *pki, const struct blx_pki_authority *ca,
                 struct blx_error *err)
{
    BLX_CLEANUP(blx_pki_authority_done)
    struct blx_pki_authority next = {.is_next = true};
    bool there = false;
    int rc = blx_pki_need_key(pki, ca, err);
    if (rc == 0)
        rc = exists(pki, "next", &there, err);
    if (rc == 0 && there)
        return blx_error_set(err, -EEXIST,
                             "the CA in '%s' has a successor already: `blxrep dispatcher "
                             "retire-ca --dry-run` lists the agents that still need the old one, "
                             "and `retire-ca` ends the roll-over",
                             pki->dir);
    if (rc == 0)
        rc = make_dir(pki, "beginning", err);
    if (rc == 0)
        rc = make_dir(pki, "beginning/moved", err);
    if (rc == 0)
        rc = blx_pki_authority_make(pki, "beginning/ca.key", "beginning/ca.pem", &next, err);
    if (rc == 0)
        rc = make_proof(pki, ca, &next, err);
    if (rc == 0)
        rc = blx_pki_dispatcher_make(pki, &next, "beginning/dispatcher.key",
                                     "beginning/dispatcher.pem", err);
    return rc < 0 ? rc : move(pki, "beginning", "next", err);
}

int blx_pki_roll_begin(const char *data_dir, struct blx_error *err)
{
    struct blx_pki pki = {.lock_fd = -1};
    struct blx_pki_authority ca = {.cert = NULL};
    int rc = blx_pki_open(data_dir, &pki, &ca, err);
    if (rc == 0)
        rc = begin(&pki, &ca, err);
    blx_pki_authority_done(&ca);
    blx_pki_close(&pki);
    return rc;
}

int blx_pki_roll_check(const char *data_dir, struct blx_error *err)
{
    char path[PATH_MAX];
    bool there = false;
    int rc = blx_path_format(path, sizeof(path), err, "%s/pki/next", data_dir);
    if (rc == 0)
        rc = blx_pki_file_exists(path, &there, err);
    if (rc < 0 || there)
        return rc;
    return blx_error_set(err, -ENOENT,
                         "the CA of '%s' has no successor: `blxrep dispatcher renew-ca` makes one",
                         data_dir);
}

int blx_pki_roll_retire(const char *data_dir, struct blx_error *err)
{
    struct blx_pki pki = {.lock_fd = -1};
    int rc = blx_pki_lock(data_dir, &pki, err);
    if (rc == 0)
        rc = blx_pki_roll_finish(&pki, err);
    if (rc == 0)
        rc = blx_pki_roll_check(data_dir, err);
    if (rc == 0)
        rc = move(&pki, "next", "retiring", err);
    if (rc == 0)
        rc = blx_pki_roll_finish(&pki, err);
    blx_pki_close(&pki);
    return rc;
}

static int write_note(const struct blx_pki *pki, const char *name, enum blx_pki_place place,
                      struct blx_error *err)
{
    if (place == BLX_PKI_STAYED)
        return drop(pki, name, err);
    BLX_CLEANUP_BIO BIO *content = BIO_new(BIO_s_mem());
    if (content == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot write '%s/%s'", pki->dir, name);
    return blx_pki_write(pki, name, content, BLX_PKI_PRIVATE_MODE, err);
}

int blx_pki_roll_note(const char *data_dir, const char *agent_id, enum blx_pki_place place,
                      struct blx_error *err)
{
    struct blx_pki pki = {.lock_fd = -1};
    char name[BLX_NAME_BYTES + 16];
    enum blx_pki_place noted = BLX_PKI_STAYED;
    int rc = blx_pki_roll_look(data_dir, agent_id, &noted, err);
    if (rc < 0 || noted == place)
        return rc;
    rc = blx_path_format(name, sizeof(name), err, "next/moved/%s", agent_id);
    if (rc == 0)
        rc = blx_pki_lock(data_dir, &pki, err);
    /* It may have ended meanwhile. */
    if (rc == 0 && blx_pki_roll_check(data_dir, NULL) == 0)
        rc = write_note(&pki, name, place, err);
    blx_pki_close(&pki);
    return rc;
}

int blx_pki_roll_look(const char *data_dir, const char *agent_id, enum blx_pki_place *place,
                      struct blx_error *err)
{
    char path[PATH_MAX];
    bool there = false;
    int rc = blx_name_check("agent ID", agent_id, err);
    if (rc == 0)
        rc = blx_path_format(path, sizeof(path), err, "%s/pki/next/moved/%s", data_dir, agent_id);
    if (rc == 0)
        rc = blx_pki_file_exists(path, &there, err);
    if (rc == 0)
        *place = there ? BLX_PKI_MOVED : BLX_PKI_STAYED;
    return rc;
}
