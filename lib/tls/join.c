/* SPDX-License-Identifier: Apache-2.0 */
#include "tls/join.h"

#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/secret_file.h"
#include "tls/bearer.h"
#include "tls/certificate_private.h"
#include "tls/context_private.h"
#include "tls/credentials_private.h"
#include "tls/pem_private.h"
#include "tls/request_private.h"
#include "tls/token.h"

enum {
    ANSWER_TIMEOUT_MS = 30 * 1000,
    FOLDER_MODE = 0755,
};

static const char *way_out(const struct blx_join *join)
{
    return join->replace ? NULL : "give --force, or another --credentials=FILE";
}

/* The dispatcher's answer, parsed. */
struct granted {
    X509 *cert, *ca;
    char name[BLX_NAME_BYTES];
};

static void cleanup_granted(struct granted *granted)
{
    X509_free(granted->cert);
    X509_free(granted->ca);
}
#define CLEANUP_GRANTED BLX_CLEANUP(cleanup_granted)

/* Whoever has its key has made it. */
static bool is_authority(X509 *ca)
{
    return X509_check_ca(ca) > 0 && blx_certificate_is_by(ca, ca);
}

static bool belongs(const struct granted *granted, const EVP_PKEY *key)
{
    return is_authority(granted->ca) && X509_check_private_key(granted->cert, key) == 1 &&
           blx_certificate_is_by(granted->cert, granted->ca) &&
           X509_check_purpose(granted->cert, X509_PURPOSE_SSL_CLIENT, 0) == 1;
}

/* Free `granted` in any case. */
static int read_granted(const struct blx_certificate_message *certificate, const EVP_PKEY *key,
                        struct granted *granted, struct blx_error *err)
{
    granted->cert = blx_certificate_get(certificate->cert, certificate->cert_bytes);
    granted->ca = blx_certificate_get(certificate->ca, certificate->ca_bytes);
    bool good = granted->cert != NULL && granted->ca != NULL && belongs(granted, key);
    ERR_clear_error();
    if (!good)
        return blx_error_set(err, -EBADMSG,
                             "the dispatcher answered with another certificate than it was asked "
                             "for");
    return blx_certificate_name(granted->cert, granted->name, err);
}

static int make_folder(const char *path, struct blx_error *err)
{
    char folder[PATH_MAX];
    int rc = blx_path_format(folder, sizeof(folder), err, "%s", path);
    char *slash = rc < 0 ? NULL : strrchr(folder, '/');
    if (slash == NULL || slash == folder)
        return rc;
    *slash = '\0';
    return blx_mkdir_parents(folder, FOLDER_MODE, err);
}

/* Sends JOIN and takes the answer: a CERTIFICATE, or an ERROR. */
static int exchange(struct blx_conn *conn, const struct blx_message *ask,
                    struct blx_message *answer, struct blx_error *err)
{
    int sent = blx_conn_send(conn, ask, NULL);
    /* If it could not be sent an ERROR may have arrived that says why. */
    int rc = blx_conn_recv(conn, ANSWER_TIMEOUT_MS, answer, err);
    if (rc < 0) {
        blx_error_prefix(err, "the dispatcher gave no answer%s",
                         sent < 0 ? "" : ", and the token may be used up");
        return rc;
    }
    if (answer->type == BLX_MESSAGE_ERROR)
        return blx_error_set(err, -EACCES, "the dispatcher refuses: %s", answer->error.text);
    if (answer->type != BLX_MESSAGE_CERTIFICATE)
        return blx_error_set(err, -EPROTO, "the dispatcher answered with an unexpected %s",
                             blx_message_name(answer->type));
    return 0;
}

/* The answer's CA must be the token's too, because this agent will trust it from now on. */
static int accept_joined(const struct blx_join *join, const struct blx_token *token, EVP_PKEY *key,
                         const struct blx_certificate_message *certificate,
                         char agent_id[BLX_NAME_BYTES], struct blx_error *err)
{
    CLEANUP_GRANTED struct granted granted = {0};
    uint8_t fingerprint[BLX_FINGERPRINT_BYTES];
    int rc = read_granted(certificate, key, &granted, err);
    if (rc == 0)
        rc = blx_certificate_fingerprint(granted.ca, fingerprint, err);
    if (rc == 0 && CRYPTO_memcmp(fingerprint, token->ca_fingerprint, sizeof(fingerprint)) != 0)
        rc = blx_error_set(err, -EACCES, "the dispatcher sent another CA than the token's");
    if (rc == 0)
        rc = blx_credentials_write(join->credentials, key, granted.cert, granted.ca, NULL,
                                   way_out(join), err);
    if (rc == 0)
        memcpy(agent_id, granted.name, sizeof(granted.name));
    return rc;
}

static int join_with(const struct blx_join *join, const struct blx_token *token, EVP_PKEY *key,
                     char agent_id[BLX_NAME_BYTES], struct blx_error *err)
{
    struct blx_conn *conn = NULL;
    struct blx_message message = {.type = BLX_MESSAGE_JOIN};
    struct blx_message answer = {.type = BLX_MESSAGE_PING};
    memcpy(message.join.secret, token->secret, sizeof(token->secret));
    int rc = blx_request_make(key, &message.join.request, err);
    if (rc == 0)
        rc = blx_bearer_dial(token, BLX_TLS_JOIN, join->address, &conn, err);
    if (rc == 0)
        rc = exchange(conn, &message, &answer, err);
    if (rc == 0)
        rc = accept_joined(join, token, key, &answer.certificate, agent_id, err);
    blx_conn_free(conn);
    OPENSSL_cleanse(&message, sizeof(message));
    return rc;
}

int blx_join(const struct blx_join *join, char agent_id[BLX_NAME_BYTES], struct blx_error *err)
{
    BLX_CLEANUP_KEY EVP_PKEY *key = NULL;
    struct blx_token token;
    int rc = blx_token_parse(join->token, &token, err);
    if (rc == 0)
        rc = make_folder(join->credentials, err);
    if (rc == 0)
        rc = blx_secret_file_check(join->credentials, way_out(join), err);
    if (rc == 0)
        rc = blx_certificate_new_key(&key, err);
    if (rc == 0)
        rc = join_with(join, &token, key, agent_id, err);
    OPENSSL_cleanse(&token, sizeof(token));
    return rc;
}

int blx_renew_request(EVP_PKEY **key, struct blx_request_message *request, struct blx_error *err)
{
    BLX_CLEANUP_KEY EVP_PKEY *made = NULL;
    int rc = blx_certificate_new_key(&made, err);
    if (rc == 0)
        rc = blx_request_make(made, request, err);
    if (rc == 0)
        *key = blx_take_ptr(made);
    return rc;
}

/* The CAs that the credentials trust. */
static int list_trusted(const struct blx_tls_context *tls, struct stack_st_X509 **trusted,
                        struct blx_error *err)
{
    *trusted = blx_tls_context_list_trusted(tls);
    return *trusted != NULL ? 0 : blx_error_errno(err, -ENOMEM, "cannot look at certificates");
}

static bool is_trusted(const struct stack_st_X509 *trusted, const X509 *ca)
{
    for (int i = 0; i < sk_X509_num(trusted); i++) {
        if (blx_certificate_is_same_authority(sk_X509_value(trusted, i), ca))
            return true;
    }
    return false;
}

/* Whether a CA that is trusted has signed the key and the name of `ca`. */
static bool is_proved(const struct stack_st_X509 *trusted, const X509 *ca,
                      const struct blx_authority_message *authority)
{
    BLX_CLEANUP_X509 X509 *proof = blx_certificate_get(authority->proof, authority->proof_bytes);
    if (proof == NULL || !blx_certificate_is_same_authority(proof, ca))
        return false;
    for (int i = 0; i < sk_X509_num(trusted); i++) {
        if (blx_certificate_is_by(proof, sk_X509_value(trusted, i)))
            return true;
    }
    return false;
}

int blx_renew_consider(const struct blx_tls_context *tls,
                       const struct blx_authority_message *authority, enum blx_renew_need *need,
                       struct blx_error *err)
{
    BLX_CLEANUP_X509_STACK struct stack_st_X509 *trusted = NULL;
    BLX_CLEANUP_X509 X509 *ca = blx_certificate_get(authority->ca, authority->ca_bytes);
    if (ca == NULL || !is_authority(ca))
        return blx_error_set(err, -EBADMSG, "the dispatcher tells of a CA that is none");
    int rc = list_trusted(tls, &trusted, err);
    if (rc < 0)
        return rc;
    bool known = is_trusted(trusted, ca);
    if (!known && !is_proved(trusted, ca, authority))
        return blx_error_set(err, -EACCES,
                             "the dispatcher tells of another CA, and no CA that this agent trusts "
                             "has signed it: if the CA was replaced on purpose, have this agent "
                             "join again (`blxrep dispatcher enroll --token` prints how)");
    bool alone = authority->proof_bytes > 0 || sk_X509_num(trusted) == 1;
    *need = known && alone && blx_certificate_is_by(blx_tls_context_cert(tls), ca)
                ? BLX_RENEW_NOT_NEEDED
                : BLX_RENEW_NEEDED;
    return 0;
}

/* The certificate is in the agent's name, and its CA is one that it trusts or was told of. */
static int check_granted(const struct granted *granted, const struct stack_st_X509 *trusted,
                         const struct blx_authority_message *authority,
                         const struct blx_tls_context *tls, struct blx_error *err)
{
    char own_name[BLX_NAME_BYTES];
    BLX_CLEANUP_X509 X509 *told =
        authority == NULL ? NULL : blx_certificate_get(authority->ca, authority->ca_bytes);
    int rc = blx_tls_context_name(tls, own_name, err);
    if (rc < 0)
        return rc;
    if (strcmp(granted->name, own_name) != 0)
        return blx_error_set(err, -EBADMSG,
                             "the dispatcher answered with a certificate for '%s', not for '%s'",
                             granted->name, own_name);
    bool known =
        is_trusted(trusted, granted->ca) ||
        (told != NULL && X509_cmp(told, granted->ca) == 0 && is_proved(trusted, told, authority));
    if (!known || blx_tls_verify_agent(granted->ca, granted->cert) != X509_V_OK)
        return blx_error_set(err, -EBADMSG,
                             "the dispatcher answered with a certificate of an authority that "
                             "this agent does not trust");
    return 0;
}

/* Leaves those that the new credentials trust beside their CA. */
static void choose_kept(struct stack_st_X509 *trusted, const X509 *ca,
                        const struct blx_authority_message *authority)
{
    bool alone = authority != NULL && authority->proof_bytes == 0;
    for (int i = sk_X509_num(trusted) - 1; i >= 0; i--) {
        if (alone || blx_certificate_is_same_authority(sk_X509_value(trusted, i), ca))
            X509_free(sk_X509_delete(trusted, i));
    }
}

int blx_renew_accept(EVP_PKEY *key, const struct blx_certificate_message *certificate,
                     const struct blx_authority_message *authority,
                     const struct blx_tls_context *tls, const char *credentials,
                     uint8_t ca_fingerprint[BLX_FINGERPRINT_BYTES], struct blx_error *err)
{
    CLEANUP_GRANTED struct granted granted = {0};
    BLX_CLEANUP_X509_STACK struct stack_st_X509 *trusted = NULL;
    uint8_t fingerprint[BLX_FINGERPRINT_BYTES];
    int rc = read_granted(certificate, key, &granted, err);
    if (rc == 0)
        rc = list_trusted(tls, &trusted, err);
    if (rc == 0)
        rc = check_granted(&granted, trusted, authority, tls, err);
    if (rc == 0)
        rc = blx_certificate_fingerprint(granted.ca, fingerprint, err);
    if (rc < 0)
        return rc;
    choose_kept(trusted, granted.ca, authority);
    rc = blx_credentials_write(credentials, key, granted.cert, granted.ca, trusted, NULL, err);
    if (rc == 0)
        memcpy(ca_fingerprint, fingerprint, sizeof(fingerprint));
    return rc;
}
