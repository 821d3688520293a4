/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/identity.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "config/config.h"
#include "tls/pki.h"
#include "wire/protection.h"

enum {
    LOOK_S = 5,
    RENEW_S = 3600,
    WARN_S = 24 * 3600,
};

static bool signs_itself(const struct dispatcher_identity *identity)
{
    return identity->config->tls.ca == NULL;
}

static struct dispatcher_identity_mark mark_of(const char *path)
{
    struct stat file;
    if (stat(path, &file) < 0)
        return (struct dispatcher_identity_mark){0};
    return (struct dispatcher_identity_mark){
        .inode = file.st_ino, .changed_ns = (int64_t)blx_ns_from_timespec(&file.st_ctim)};
}

/* The files whose change is a new identity. */
static void look_at_files(const struct blx_config *config,
                          struct dispatcher_identity_mark marks[DISPATCHER_IDENTITY_FILES])
{
    static const char *const names[DISPATCHER_IDENTITY_FILES] = {"ca.pem", "dispatcher.pem",
                                                                 "dispatcher.key", "next/ca.pem"};
    const char *const given[DISPATCHER_IDENTITY_FILES] = {config->tls.ca, config->tls.cert,
                                                          config->tls.key, config->tls.key};
    char path[PATH_MAX];
    for (size_t i = 0; i < DISPATCHER_IDENTITY_FILES; i++) {
        if (config->tls.ca != NULL)
            marks[i] = mark_of(given[i]);
        else if (blx_path_format(path, sizeof(path), NULL, "%s/pki/%s", config->data_dir,
                                 names[i]) == 0)
            marks[i] = mark_of(path);
    }
}

static int load_site(const struct blx_config *config, struct blx_pki_server *server,
                     struct blx_error *err)
{
    const struct blx_tls_files files = {
        .ca = config->tls.ca, .cert = config->tls.cert, .key = config->tls.key};
    int rc = blx_tls_context_new_server(&files, &server->tls, err);
    if (rc == 0)
        server->ends_s = blx_tls_context_ends_s(server->tls);
    return rc;
}

/* The marks are taken before the files are read: a change in between is seen at the next look. */
static int load(struct dispatcher_identity *identity, struct blx_error *err)
{
    struct blx_pki_server server = {.tls = NULL};
    struct dispatcher_identity_mark marks[DISPATCHER_IDENTITY_FILES] = {0};
    int rc = signs_itself(identity) ? blx_pki_ensure(identity->config->data_dir, err) : 0;
    look_at_files(identity->config, marks);
    if (rc == 0)
        rc = signs_itself(identity) ? blx_pki_load_server(identity->config->data_dir, &server, err)
                                    : load_site(identity->config, &server, err);
    /* Files that cannot be used are not read again until they change. */
    memcpy(identity->marks, marks, sizeof(marks));
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&identity->lock);
    struct blx_tls_context *before = identity->tls;
    identity->tls = server.tls;
    identity->authority = server.authority;
    memcpy(identity->ca_fingerprint, server.ca_fingerprint, sizeof(identity->ca_fingerprint));
    identity->ends_s = server.ends_s;
    identity->ca_ends_s = server.ca_ends_s;
    pthread_mutex_unlock(&identity->lock);
    blx_tls_context_free(before);
    return 0;
}

static void warn(struct dispatcher_identity *identity, uint64_t now_ns)
{
    const uint64_t now_realtime_ns = blx_clock_realtime_ns();
    const int64_t days = blx_days_until(identity->ends_s, now_realtime_ns);
    const int64_t ca_days = blx_days_until(identity->ca_ends_s, now_realtime_ns);
    bool late = identity->ends_s != 0 && days < BLX_CERT_WARNING_DAYS;
    bool ca_late = identity->ca_ends_s != 0 && ca_days < BLX_CA_WARNING_DAYS;
    if (now_ns < identity->warn_ns || (!late && !ca_late))
        return;
    identity->warn_ns = now_ns + WARN_S * BLX_NS_PER_S;
    if (ca_late)
        blx_log_warning("the CA ends in %" PRId64 " days, and all certificates with it: make its "
                        "successor with `blxrep dispatcher renew-ca`",
                        ca_days);
    else
        blx_log_warning(
            "the certificate '%s' expires in %" PRId64 " days, and agents refuse it afterwards: %s",
            signs_itself(identity) ? "dispatcher.pem" : identity->config->tls.cert, days,
            signs_itself(identity) ? "put ca.key back, so that it can be renewed"
                                   : "the site's own authority has to renew it");
}

int dispatcher_identity_load(struct dispatcher_identity *identity, const struct blx_config *config,
                             struct blx_error *err)
{
    *identity = (struct dispatcher_identity){.config = config, .lock = PTHREAD_MUTEX_INITIALIZER};
    int rc = load(identity, err);
    if (rc == 0)
        warn(identity, blx_clock_ns());
    return rc;
}

void dispatcher_identity_done(struct dispatcher_identity *identity)
{
    blx_tls_context_free(identity->tls);
    identity->tls = NULL;
}

static void renew_if_old(struct dispatcher_identity *identity, uint64_t now_ns)
{
    struct blx_error err = {0};
    if (!signs_itself(identity) || now_ns < identity->renew_ns ||
        !blx_tls_context_is_ageing(identity->tls))
        return;
    identity->renew_ns = now_ns + RENEW_S * BLX_NS_PER_S;
    if (blx_pki_ensure(identity->config->data_dir, &err) < 0)
        blx_log_warning("the dispatcher's certificate is not renewed: %s", err.message);
}

uint64_t dispatcher_identity_due_ns(const struct dispatcher_identity *identity)
{
    return identity->config == NULL ? BLX_FOR_EVER : identity->look_ns;
}

enum dispatcher_identity_change dispatcher_identity_look(struct dispatcher_identity *identity,
                                                         uint64_t now_ns)
{
    struct dispatcher_identity_mark marks[DISPATCHER_IDENTITY_FILES] = {0};
    struct blx_error err = {0};
    if (identity->config == NULL || now_ns < identity->look_ns)
        return DISPATCHER_IDENTITY_SAME;
    identity->look_ns = now_ns + LOOK_S * BLX_NS_PER_S;
    renew_if_old(identity, now_ns);
    warn(identity, now_ns);
    look_at_files(identity->config, marks);
    if (memcmp(marks, identity->marks, sizeof(marks)) == 0)
        return DISPATCHER_IDENTITY_SAME;
    if (load(identity, &err) < 0) {
        blx_log_warning("the dispatcher's certificates have changed and cannot be used: %s",
                        err.message);
        return DISPATCHER_IDENTITY_SAME;
    }
    blx_log_notice("the dispatcher's certificates have changed: the new ones are used, for %" PRId64
                   " days",
                   blx_days_until(identity->ends_s, blx_clock_realtime_ns()));
    return DISPATCHER_IDENTITY_NEW;
}

struct blx_tls_context *dispatcher_identity_take_tls(struct dispatcher_identity *identity)
{
    pthread_mutex_lock(&identity->lock);
    struct blx_tls_context *tls = blx_tls_context_share(identity->tls);
    pthread_mutex_unlock(&identity->lock);
    return tls;
}

void dispatcher_identity_get_authority(struct dispatcher_identity *identity,
                                       struct blx_authority_message *authority)
{
    pthread_mutex_lock(&identity->lock);
    *authority = identity->authority;
    pthread_mutex_unlock(&identity->lock);
}

void dispatcher_identity_describe(struct dispatcher_identity *identity,
                                  struct dispatcher_identity_facts *facts)
{
    pthread_mutex_lock(&identity->lock);
    *facts = (struct dispatcher_identity_facts){.ends_s = identity->ends_s,
                                                .ca_ends_s = identity->ca_ends_s,
                                                .rolls = identity->authority.proof_bytes > 0};
    pthread_mutex_unlock(&identity->lock);
}

enum dispatcher_identity_ca dispatcher_identity_judge(
    struct dispatcher_identity *identity, const uint8_t ca_fingerprint[BLX_FINGERPRINT_BYTES])
{
    pthread_mutex_lock(&identity->lock);
    bool rolling = identity->authority.proof_bytes > 0;
    bool newest = memcmp(identity->ca_fingerprint, ca_fingerprint, BLX_FINGERPRINT_BYTES) == 0;
    pthread_mutex_unlock(&identity->lock);
    return !rolling ? DISPATCHER_CA_SETTLED : newest ? DISPATCHER_CA_NEW : DISPATCHER_CA_OLD;
}
