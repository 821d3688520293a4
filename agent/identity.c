/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

enum { EXPIRY_WARNING_DAYS = 30 };

bool agent_identity_can_renew(const struct blx_config *config)
{
    return config->tls.ca == NULL;
}

static struct blx_tls_files files_of(const struct blx_config *config)
{
    const char *bundle = config->credentials;
    if (agent_identity_can_renew(config))
        return (struct blx_tls_files){.ca = bundle, .cert = bundle, .key = bundle};
    return (struct blx_tls_files){
        .ca = config->tls.ca, .cert = config->tls.cert, .key = config->tls.key};
}

static int no_credentials(const struct blx_config *config, const char *path, struct blx_error *err)
{
    return blx_error_errno(err, -errno,
                           "no credentials at '%s': run what `blxrep dispatcher enroll --agent=%s "
                           "--token` prints, or make them with `blxrep dispatcher enroll "
                           "--agent=%s` and copy the file here",
                           path, config->id, config->id);
}

int agent_identity_load(struct agent_identity *identity, const struct blx_config *config,
                        struct blx_error *err)
{
    const struct blx_tls_files files = files_of(config);
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *tls = NULL;
    struct stat file;
    char name[BLX_NAME_BYTES];
    if (stat(files.cert, &file) != 0)
        return no_credentials(config, files.cert, err);
    int rc = blx_tls_context_new_client(&files, &tls, err);
    if (rc == 0)
        rc = blx_tls_context_name(tls, name, err);
    if (rc < 0)
        return rc;
    if (strcmp(name, config->id) != 0)
        return blx_error_set(err, -EACCES,
                             "the credentials '%s' are for the agent '%s', not for '%s': enroll "
                             "'%s' on the dispatcher",
                             files.cert, name, config->id, config->id);
    int64_t days = blx_tls_context_days_left(tls);
    if (days < EXPIRY_WARNING_DAYS)
        blx_log_warning("the certificate '%s' expires in %lld days", files.cert, (long long)days);
    blx_tls_context_free(identity->tls);
    identity->tls = blx_take_ptr(tls);
    identity->file = file;
    return 0;
}

static bool is_same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

void agent_identity_refresh(struct agent_identity *identity, const struct blx_config *config)
{
    const char *path = files_of(config).cert;
    struct stat file;
    struct blx_error err = {0};
    if (stat(path, &file) == 0 && is_same_file(&file, &identity->file))
        return;
    if (agent_identity_load(identity, config, &err) < 0)
        blx_log_warning("the credentials have changed and cannot be used: %s", err.message);
    else
        blx_log_info("the credentials '%s' have changed: the new ones are used", path);
}
