/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/session/renewal_private.h"

#include <errno.h>
#include <openssl/evp.h>
#include <string.h>

#include "base/log.h"
#include "base/units.h"
#include "tls/join.h"

static const uint64_t retry_ns = UINT64_C(3600) * 1000000000;

static bool is_due(const struct agent_session *session)
{
    const struct agent_identity *identity = &session->agent->identity;
    return (session->welcome.features & BLX_FEATURE_RENEWAL) != 0 && session->new_key == NULL &&
           blx_clock_ns() >= identity->renew_after_ns &&
           (session->authority_wants_renewal || session->handover_wants_renewal ||
            blx_tls_context_is_ageing(identity->tls));
}

static void set_renewal(struct agent_session *session, enum agent_renewal renewal)
{
    pthread_mutex_lock(&session->agent->lock);
    session->renewal = renewal;
    pthread_mutex_unlock(&session->agent->lock);
}

static int ask(struct agent_session *session, struct blx_error *err)
{
    struct blx_message message = {.type = BLX_MESSAGE_RENEW};
    struct blx_error why = {0};
    session->agent->identity.renew_after_ns = blx_clock_ns() + retry_ns;
    if (blx_renew_request(&session->new_key, &message.renew, &why) < 0) {
        blx_log_warning("the certificate is not renewed: %s", why.message);
        return 0;
    }
    set_renewal(session, AGENT_RENEWAL_ASKED);
    return blx_conn_send(session->conn, &message, err);
}

static enum agent_renewal copy_answer(struct agent_session *session,
                                      struct blx_certificate_message *certificate,
                                      char reason[BLX_TEXT_BYTES])
{
    pthread_mutex_lock(&session->agent->lock);
    enum agent_renewal renewal = session->renewal;
    if (renewal == AGENT_RENEWAL_GRANTED)
        *certificate = session->certificate;
    if (renewal == AGENT_RENEWAL_REFUSED)
        memcpy(reason, session->renewal_reason, BLX_TEXT_BYTES);
    pthread_mutex_unlock(&session->agent->lock);
    return renewal;
}

static bool takes_authority(const struct agent_session *session)
{
    return session->authority.ca_bytes != 0;
}

/* A dispatcher that has told of a CA, or of a handover, wants to know when it is done. */
static bool is_waited_for(const struct agent_session *session)
{
    return takes_authority(session) || session->handover_wants_renewal;
}

/* Replaces the credentials. */
static int take(struct agent_session *session, const struct blx_certificate_message *certificate,
                struct blx_message *renewed, struct blx_error *err)
{
    struct agent *agent = session->agent;
    int rc = blx_renew_accept(
        session->new_key, certificate, takes_authority(session) ? &session->authority : NULL,
        agent->identity.tls, agent->config->credentials, renewed->renewed.ca_fingerprint, err);
    if (rc == 0)
        rc = agent_identity_load(&agent->identity, agent->config, err);
    if (rc == 0)
        session->authority_wants_renewal = false;
    return rc;
}

/* `refusal` is NULL if the certificate was granted. Fails if the connection does. */
static int settle(struct agent_session *session, const struct blx_certificate_message *certificate,
                  const char *refusal, struct blx_error *err)
{
    struct blx_message renewed = {.type = BLX_MESSAGE_RENEWED};
    struct agent *agent = session->agent;
    struct blx_error why = {0};
    int rc = refusal != NULL ? blx_error_set(&why, -EACCES, "the dispatcher says: %s", refusal)
                             : take(session, certificate, &renewed, &why);
    if (rc < 0)
        blx_log_warning("the certificate is not renewed: %s", why.message);
    else
        blx_log_notice("the certificate is renewed: '%s' has %lld days from now",
                       agent->config->credentials,
                       (long long)blx_tls_context_days_left(agent->identity.tls));
    agent_renewal_done(session);
    if (rc < 0 || !is_waited_for(session))
        return 0;
    session->handover_wants_renewal = false;
    return blx_conn_send(session->conn, &renewed, err);
}

static bool copy_told(struct agent_session *session, struct blx_authority_message *told)
{
    pthread_mutex_lock(&session->agent->lock);
    bool is_new = session->told_is_new;
    session->told_is_new = false;
    if (is_new)
        *told = session->told;
    pthread_mutex_unlock(&session->agent->lock);
    return is_new;
}

/* The dispatcher has told of its CA. While a renewal is under way the word waits. */
static void consider(struct agent_session *session)
{
    struct agent_identity *identity = &session->agent->identity;
    struct blx_authority_message told;
    enum blx_renew_need need = BLX_RENEW_NOT_NEEDED;
    struct blx_error err = {0};
    if (session->new_key != NULL || !copy_told(session, &told))
        return;
    session->authority.ca_bytes = 0;
    session->authority_wants_renewal = false;
    if (blx_renew_consider(identity->tls, &told, &need, &err) < 0) {
        blx_log_warning("the CA stays as it is: %s", err.message);
        return;
    }
    session->authority = told;
    session->authority_wants_renewal = need == BLX_RENEW_NEEDED;
    if (need == BLX_RENEW_NEEDED) {
        blx_log_notice("the dispatcher tells of another CA, with a reason to trust it");
        identity->renew_after_ns = 0;
    }
}

/* This machine's disk was restored, with the credentials that the old machine has, too. */
static void consider_handover(struct agent_session *session)
{
    pthread_mutex_lock(&session->agent->lock);
    bool is_new = session->handover_is_new;
    session->handover_is_new = false;
    pthread_mutex_unlock(&session->agent->lock);
    if (!is_new)
        return;
    blx_log_notice("this machine has restored the agent '%s', and takes it over: it gets a "
                   "certificate of its own, and the old machine is refused",
                   session->agent->config->id);
    session->handover_wants_renewal = true;
    session->agent->identity.renew_after_ns = 0;
}

int agent_renewal_step(struct agent_session *session, struct blx_error *err)
{
    struct blx_certificate_message certificate;
    char reason[BLX_TEXT_BYTES];
    consider(session);
    consider_handover(session);
    if (is_due(session))
        return ask(session, err);
    if (session->new_key == NULL)
        return 0;
    enum agent_renewal renewal = copy_answer(session, &certificate, reason);
    if (renewal == AGENT_RENEWAL_GRANTED)
        return settle(session, &certificate, NULL, err);
    return renewal == AGENT_RENEWAL_REFUSED ? settle(session, &certificate, reason, err) : 0;
}

void agent_renewal_done(struct agent_session *session)
{
    set_renewal(session, AGENT_RENEWAL_NONE);
    EVP_PKEY_free(session->new_key);
    session->new_key = NULL;
}
