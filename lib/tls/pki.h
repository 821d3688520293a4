/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dispatcher's own certificate authority, under DIR/pki:
 *
 *     ca.pem          ca.key           the CA, made by the first of enroll and the daemon
 *     dispatcher.pem  dispatcher.key   the dispatcher's certificate (server only), signed by the CA
 *     lock                             held by flock() while one of them is made: first users agree
 *     next/                            the CA's successor, in a grace period: pki_roll.h
 *     tokens/HASH                      permission to join, once: pki_token_private.h
 *     revoked/ID                       older certificates are refused: revocation_private.h
 *     revoked/copier:NAME              the same for a copier
 *     handovers/ID                     another machine has restored the agent: handover.h
 *
 * Keys are P-256. Files of keys have mode 0600 and, like the folder (0700), belong to the owner of
 * DIR, also if root enrolls. Each file comes into place by rename, the key before its certificate,
 * so that a crash leaves either nothing or what the next start completes. Once both certificates
 * exist ca.key may be kept elsewhere: then only enroll needs it, and the daemon for agents that
 * join or renew.
 *
 * The dispatcher's certificate is renewed, with a new key, by whoever opens DIR/pki when it has
 * less than a third of its time left and ca.key is there.
 *
 * The CA lasts 20 years, a bundle of enroll's and the dispatcher's certificate 10, and a
 * certificate from joining or renewing one (certificate_private.h says why); none outlives the CA.
 * An agent's notBefore lies an hour back, because clocks differ; the others' are in 2020. A CA or a
 * dispatcher's certificate that is not valid yet nevertheless (an older version made it while the
 * clock was ahead) is made again with the same key and name, if ca.key is there. Agents that have
 * such a CA in their bundle accept the dispatcher again once it is valid, or after they have joined
 * again.
 *
 * Threads and processes: safe to call from several at once. Blocks on the lock and the disk.
 */
#pragma once

#include "base/error.h"
#include "base/name.h"
#include "tls/tls.h"
#include "tls/token.h"
#include "wire/message.h"

/* Makes what is missing of the CA and the dispatcher's certificate. DIR itself must exist. */
int blx_pki_ensure(const char *data_dir, struct blx_error *err);

/* Gives the dispatcher a new key and certificate now. -ENOENT if the CA's key is kept elsewhere. */
int blx_pki_renew_dispatcher(const char *data_dir, struct blx_error *err);

/* What a dispatcher works with. */
struct blx_pki_server {
    struct blx_tls_context *tls;                   /* owned; admits joins */
    struct blx_authority_message authority;        /* what its agents are told */
    uint8_t ca_fingerprint[BLX_FINGERPRINT_BYTES]; /* of `authority` */
    uint64_t ends_s;                               /* when its certificate expires, since 1970 */
    uint64_t ca_ends_s;                            /* and the CA that has signed it */
};

/* Makes what is missing, as blx_pki_ensure() does, and loads it. */
int blx_pki_load_server(const char *data_dir, struct blx_pki_server *server, struct blx_error *err);

/*
 * Loads it as it is, for a look: nothing is made, renewed or locked. -ENOENT if there is no CA yet.
 * The times are filled after other errors too, such as that of a certificate that has expired; 0:
 * not known.
 */
int blx_pki_look_server(const char *data_dir, struct blx_pki_server *server, struct blx_error *err);

/*
 * Makes a key and a client certificate for the agent, signed by the CA, and writes one PEM bundle
 * (key, certificate, CA) to `output_path`, mode 0600, by rename. Never replaces an existing file:
 * -EEXIST. -EINVAL if `agent_id` is not an ID. The private key is wiped from memory. An ID may be
 * enrolled again, for a machine that is installed again: the older bundle stays valid.
 */
int blx_pki_enroll(const char *data_dir, const char *agent_id, const char *output_path,
                   struct blx_error *err);

/* If the output of an enrolment exists. */
#define BLX_PKI_WAY_OUT "remove it, or name another --output"

struct blx_pki_bundle {
    size_t bytes;
    char pem[16 * 1024]; /* with a private key: OPENSSL_cleanse() it */
};

/* The same as blx_pki_enroll(), without a file: for a caller who may not write it yet. */
int blx_pki_make_bundle(const char *data_dir, const char *agent_id, struct blx_pki_bundle *bundle,
                        struct blx_error *err);

/*
 * Credentials for a copier, which reads checkpoints and nothing else (PROTOCOL.md 4.15). `name` is
 * its own, of at most 57 characters; it has nothing to do with agents' IDs.
 */
int blx_pki_make_copier(const char *data_dir, const char *name, struct blx_pki_bundle *bundle,
                        struct blx_error *err);

/* As blx_pki_revoke() and blx_pki_check_revoked(), for a copier. */
int blx_pki_revoke_copier(const char *data_dir, const char *name, struct blx_error *err);
int blx_pki_check_copier(const char *data_dir, const char *name, const char *serial,
                         struct blx_error *err);

/* How long a token can be used: long enough to walk to the other machine. */
enum { BLX_PKI_TOKEN_SECONDS = 3600 };

/*
 * Makes a token with which one machine can join as `agent_id`, once, within `valid_s` seconds. Only
 * the newest token of an agent works. -ENOENT if the CA's key is kept elsewhere.
 */
int blx_pki_make_token(const char *data_dir, const char *agent_id, uint64_t valid_s,
                       char text[BLX_TOKEN_TEXT_BYTES], struct blx_error *err);

/*
 * Uses up a token: makes the certificate for the request's key, in the name of the agent that the
 * token was made for. -EACCES if the token is used, expired or not known; -EBADMSG if the request
 * is not valid, which costs no token. If two use one token at once only one of them wins. Durable
 * when it returns.
 */
int blx_pki_join(const char *data_dir, const struct blx_join_message *join,
                 char agent_id[BLX_NAME_BYTES], struct blx_certificate_message *certificate,
                 struct blx_error *err);

/* By whom an agent's certificate is signed in a grace period. Otherwise both are the CA. */
enum blx_pki_signer {
    BLX_PKI_OLD_CA, /* for an agent that knows no other */
    BLX_PKI_NEW_CA, /* its successor */
};

/* What an agent has shown that wants a newer certificate. */
struct blx_pki_renewal {
    const char *agent_id;
    const char *serial;                   /* of the one that it has */
    uint8_t hardware[BLX_HARDWARE_BYTES]; /* as it told; zero: it did not */
    enum blx_pki_signer signer;
};

/* A newer certificate for an agent; the old one stays valid. -EACCES if the old one is revoked, or
 * its name went to another machine (handover.h); -EBADMSG as above. */
int blx_pki_renew(const char *data_dir, const struct blx_pki_renewal *renewal,
                  const struct blx_request_message *request,
                  struct blx_certificate_message *certificate, struct blx_error *err);

/* From now on no certificate and no token that was made for the agent so far is accepted. Durable
 * when it returns. Works without the CA, and for an agent that is not known. */
int blx_pki_revoke(const char *data_dir, const char *agent_id, struct blx_error *err);

/* Whether the agent is revoked, and nothing has been signed for it since. -EBADMSG if the file that
 * tells is damaged. Takes no lock. */
int blx_pki_look_revoked(const char *data_dir, const char *agent_id, bool *revoked,
                         struct blx_error *err);

/* -EACCES if the agent's certificate with this serial number is revoked. After any other error it
 * is not known whether it is. Takes no lock. */
int blx_pki_check_revoked(const char *data_dir, const char *agent_id, const char *serial,
                          struct blx_error *err);
