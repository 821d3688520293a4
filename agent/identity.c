/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/identity.h"

#include "base/log.h"
#include "wire/protection.h"

bool agent_identity_can_renew(const struct blx_config *config)
{
    return config->tls.ca == NULL;
}

int agent_identity_load(struct agent_identity *identity, const struct blx_config *config,
                        struct blx_error *err)
{
    const struct blx_tls_files files = blx_config_agent_files(config);
    BLX_CLEANUP_TLS_CONTEXT struct blx_tls_context *tls = NULL;
    struct stat file = {0};
    /* Before the files are read: a change in between is seen at the next look. */
    stat(files.cert, &file);
    int rc = blx_tls_context_new_agent(&files, config->id, &tls, err);
    if (rc < 0)
        return rc;
    int64_t days = blx_tls_context_days_left(tls);
    if (days < BLX_CERT_WARNING_DAYS)
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
    const char *path = blx_config_agent_files(config).cert;
    struct stat file;
    struct blx_error err = {0};
    if (stat(path, &file) == 0 && is_same_file(&file, &identity->file))
        return;
    if (agent_identity_load(identity, config, &err) < 0)
        blx_log_warning("the credentials have changed and cannot be used: %s", err.message);
    else
        blx_log_info("the credentials '%s' have changed: the new ones are used", path);
}
