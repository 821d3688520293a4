/* SPDX-License-Identifier: Apache-2.0 */
/* What a running dispatcher does with its PKI: it gives certificates to agents that come with a
 * token or an older certificate, and revokes them. */
#include <errno.h>
#include <openssl/err.h>
#include <string.h>

#include "tls/certificate_private.h"
#include "tls/pem_private.h"
#include "tls/pki.h"
#include "tls/pki_private.h"
#include "tls/pki_token_private.h"
#include "tls/request_private.h"
#include "tls/revocation_private.h"

static int sign(const struct blx_pki *pki, const struct blx_pki_authority *ca, const char *agent_id,
                const struct blx_request_message *request, enum blx_handover_right right,
                struct blx_certificate_message *certificate, struct blx_error *err)
{
    BLX_CLEANUP_KEY EVP_PKEY *key = NULL;
    BLX_CLEANUP_X509 X509 *cert = NULL;
    const struct blx_pki_signing signing = {.days = BLX_CERTIFICATE_JOINED_DAYS, .right = right};
    int rc = blx_request_key(request, &key, err);
    if (rc == 0)
        rc = blx_pki_sign_agent(pki, ca, agent_id, key, &signing, &cert, err);
    if (rc == 0)
        rc = blx_certificate_put(cert, certificate->cert, &certificate->cert_bytes, err);
    if (rc == 0)
        rc = blx_certificate_put(ca->cert, certificate->ca, &certificate->ca_bytes, err);
    return rc;
}

int blx_pki_join(const char *data_dir, const struct blx_join_message *join,
                 char agent_id[BLX_NAME_BYTES], struct blx_certificate_message *certificate,
                 struct blx_error *err)
{
    struct blx_pki pki = {.lock_fd = -1};
    struct blx_pki_authority ca = {.cert = NULL};
    struct blx_token_record token;
    struct blx_certificate_message made = {.cert_bytes = 0};
    int rc = blx_pki_open(data_dir, &pki, &ca, err);
    if (rc == 0)
        rc = blx_pki_token_look(&pki, join->secret, &token, err);
    if (rc == 0)
        rc = sign(&pki, &ca, token.agent_id, &join->request, BLX_HANDOVER_BY_HAND, &made, err);
    /* The token is used up before the certificate leaves this function: a crash may cost a token,
     * and never lets one work twice. */
    if (rc == 0)
        rc = blx_pki_token_use(&pki, join->secret, &token, err);
    blx_pki_authority_done(&ca);
    blx_pki_close(&pki);
    if (rc == 0) {
        memcpy(agent_id, token.agent_id, BLX_NAME_BYTES);
        *certificate = made;
    }
    return rc;
}

/* The same for a name that has gone to another machine. */
static int check_handover(const char *data_dir, const struct blx_pki_renewal *renewal,
                          struct blx_error *err)
{
    struct blx_handover handover;
    enum blx_handover_verdict verdict;
    int rc =
        blx_handover_check(data_dir, renewal->agent_id, renewal->serial, &handover, &verdict, err);
    if (rc == 0 && (verdict == BLX_HANDOVER_TO_PROVE || verdict == BLX_HANDOVER_NOT_THERE))
        rc = blx_handover_prove(&handover, renewal->agent_id, verdict, renewal->hardware, err);
    return rc;
}

int blx_pki_renew(const char *data_dir, const struct blx_pki_renewal *renewal,
                  const struct blx_request_message *request,
                  struct blx_certificate_message *certificate, struct blx_error *err)
{
    struct blx_pki pki = {.lock_fd = -1};
    struct blx_pki_authority ca = {.cert = NULL}, next = {.cert = NULL};
    struct blx_certificate_message made = {.cert_bytes = 0};
    int rc = blx_pki_open(data_dir, &pki, &ca, err);
    /* Under the lock: a certificate that is being revoked must not come back as a newer one. */
    if (rc == 0)
        rc = blx_pki_check_revoked(data_dir, renewal->agent_id, renewal->serial, err);
    if (rc == 0)
        rc = check_handover(data_dir, renewal, err);
    if (rc == 0 && renewal->signer == BLX_PKI_NEW_CA)
        rc = blx_pki_roll_load(&pki, &next, NULL, err);
    if (rc == 0)
        rc = sign(&pki, next.cert != NULL ? &next : &ca, renewal->agent_id, request,
                  BLX_HANDOVER_BY_SESSION, &made, err);
    blx_pki_authority_done(&next);
    blx_pki_authority_done(&ca);
    blx_pki_close(&pki);
    if (rc == 0)
        *certificate = made;
    return rc;
}

int blx_pki_revoke(const char *data_dir, const char *agent_id, struct blx_error *err)
{
    struct blx_pki pki = {.lock_fd = -1};
    int rc = blx_name_check("agent ID", agent_id, err);
    if (rc < 0)
        return rc;
    rc = blx_pki_lock(data_dir, &pki, err);
    if (rc == 0)
        rc = blx_revocation_write(&pki, agent_id, err);
    if (rc == 0)
        rc = blx_pki_token_sweep(&pki, agent_id, BLX_TOKEN_JOIN | BLX_TOKEN_RESTORE, NULL, err);
    blx_pki_close(&pki);
    return rc;
}

int blx_pki_revoke_copier(const char *data_dir, const char *name, struct blx_error *err)
{
    struct blx_pki pki = {.lock_fd = -1};
    char subject[BLX_NAME_BYTES];
    int rc = blx_pki_copier_subject(name, subject, err);
    if (rc < 0)
        return rc;
    rc = blx_pki_lock(data_dir, &pki, err);
    if (rc == 0)
        rc = blx_revocation_write(&pki, subject, err);
    blx_pki_close(&pki);
    return rc;
}

int blx_pki_check_copier(const char *data_dir, const char *name, const char *serial,
                         struct blx_error *err)
{
    char subject[BLX_NAME_BYTES];
    int rc = blx_pki_copier_subject(name, subject, err);
    if (rc == 0)
        rc = blx_revocation_look(data_dir, subject, serial, err);
    if (rc > 0)
        return blx_error_set(err, -EACCES,
                             "the certificate of the copier '%s' is revoked: give it a new one "
                             "(`blxrep dispatcher enroll --copier=%s`)",
                             name, name);
    return rc;
}

int blx_pki_look_revoked(const char *data_dir, const char *agent_id, bool *revoked,
                         struct blx_error *err)
{
    int rc = blx_revocation_look(data_dir, agent_id, NULL, err);
    if (rc < 0)
        return rc;
    *revoked = rc > 0;
    return 0;
}

int blx_pki_check_revoked(const char *data_dir, const char *agent_id, const char *serial,
                          struct blx_error *err)
{
    int rc = blx_revocation_look(data_dir, agent_id, serial, err);
    if (rc > 0)
        return blx_error_set(err, -EACCES,
                             "the certificate of the agent '%s' is revoked: have it join again "
                             "(`blxrep dispatcher enroll --agent=%s --token`)",
                             agent_id, agent_id);
    return rc;
}
