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
           blx_clock_ns() >= identity->renew_after_ns && blx_tls_context_is_ageing(identity->tls);
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

/* `refusal` is NULL if the certificate was granted. */
static void settle(struct agent_session *session, const struct blx_certificate_message *certificate,
                   const char *refusal)
{
    struct agent *agent = session->agent;
    struct blx_error err = {0};
    int rc = 0;
    if (refusal != NULL)
        rc = blx_error_set(&err, -EACCES, "the dispatcher says: %s", refusal);
    else
        rc = blx_renew_accept(session->new_key, certificate, agent->identity.tls,
                              agent->config->credentials, &err);
    if (rc == 0)
        rc = agent_identity_load(&agent->identity, agent->config, &err);
    if (rc < 0)
        blx_log_warning("the certificate is not renewed: %s", err.message);
    else
        blx_log_notice("the certificate is renewed: '%s' has %lld days from now",
                       agent->config->credentials,
                       (long long)blx_tls_context_days_left(agent->identity.tls));
    agent_renewal_done(session);
}

int agent_renewal_step(struct agent_session *session, struct blx_error *err)
{
    struct blx_certificate_message certificate;
    char reason[BLX_TEXT_BYTES];
    if (is_due(session))
        return ask(session, err);
    if (session->new_key == NULL)
        return 0;
    enum agent_renewal renewal = copy_answer(session, &certificate, reason);
    if (renewal == AGENT_RENEWAL_GRANTED)
        settle(session, &certificate, NULL);
    else if (renewal == AGENT_RENEWAL_REFUSED)
        settle(session, &certificate, reason);
    return 0;
}

void agent_renewal_done(struct agent_session *session)
{
    set_renewal(session, AGENT_RENEWAL_NONE);
    EVP_PKEY_free(session->new_key);
    session->new_key = NULL;
}
