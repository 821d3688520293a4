/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TLS between agents and the dispatcher: TLS 1.3 only, certificates on both sides, ALPN "blxrep/1".
 * No plaintext mode.
 *
 * The dispatcher learns the agent's ID from the verified certificate's common name and nowhere
 * else. The agent accepts a dispatcher whose certificate chains to its CA, is meant for servers,
 * and names either the host it dialled or, for the CA that blxrep makes itself,
 * BLX_TLS_DISPATCHER_NAME (the address may change; that CA signs only one dispatcher). A site's own
 * CA also signs other servers, but accepting the fixed name does no harm there: a public CA never
 * signs a name under .internal, and whoever runs a private CA decides what it signs.
 *
 * Two kinds of peers come with a token (token.h) in place of a certificate: a server that joins,
 * and a machine that restores. They say so with other ALPN names, which only a context that admits
 * tokens knows, and they trust only the CA whose fingerprint is in the token.
 *
 * A third kind has a certificate, and only reads: a copier (PROTOCOL.md 4.15). Its common name is
 * "copier:" and its name, which no agent can have, and it says so with an ALPN name of its own. So
 * a copier is no agent for anybody, an older dispatcher included, and no agent is a copier.
 *
 * Threads: once it is made a context may be used by many threads at once. Handshakes block up to
 * their deadline.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/name.h"
#include "wire/conn.h"
#include "wire/message.h"

#define BLX_TLS_DISPATCHER_NAME "dispatcher.blxrep.internal"
#define BLX_TLS_ALPN            "blxrep/1"
#define BLX_TLS_JOIN_ALPN       "blxrep-join/1"
#define BLX_TLS_RESTORE_ALPN    "blxrep-restore/1"
#define BLX_TLS_COPY_ALPN       "blxrep-copy/1"

/* Before a copier's name in its certificate, which has room for 64 characters. */
#define BLX_TLS_COPIER_PREFIX "copier:"
enum { BLX_COPIER_NAME_BYTES = BLX_NAME_BYTES - (sizeof(BLX_TLS_COPIER_PREFIX) - 1) };

struct blx_tls_context;

/* Files in PEM form. A bundle (one file with key, certificate and CA) gives the same path three
 * times. */
struct blx_tls_files {
    const char *ca;
    const char *cert;
    const char *key;
    const char *next_ca; /* is trusted as well; NULL: none */
};

/* Shares the context: it lives until as many have freed it. */
struct blx_tls_context *blx_tls_context_share(struct blx_tls_context *context);

/* NULL is allowed. */
void blx_tls_context_free(struct blx_tls_context *context);
#define BLX_CLEANUP_TLS_CONTEXT BLX_CLEANUP(blx_cleanup_tls_context)
static inline void blx_cleanup_tls_context(struct blx_tls_context **context)
{
    blx_tls_context_free(*context);
}

/*
 * Loads and checks the files: readable, PEM, the key belongs to the certificate, the certificate
 * chains to the CA, is not expired. Each mistake is one clear message with the file's name.
 */
int blx_tls_context_new_server(const struct blx_tls_files *files, struct blx_tls_context **context,
                               struct blx_error *err);
int blx_tls_context_new_client(const struct blx_tls_files *files, struct blx_tls_context **context,
                               struct blx_error *err);

/* The same for an agent, whose certificate must be in its name. -EACCES if it is another's; the
 * error of credentials that are not there says how they are made. */
int blx_tls_context_new_agent(const struct blx_tls_files *files, const char *agent_id,
                              struct blx_tls_context **context, struct blx_error *err);

/* The same for a copier of another dispatcher's checkpoints. */
int blx_tls_context_new_copier(const struct blx_tls_files *files, struct blx_tls_context **context,
                               struct blx_error *err);

/* The common name of the context's own certificate (for an agent: its ID) and the days until it
 * expires. */
int blx_tls_context_name(const struct blx_tls_context *context, char name[BLX_NAME_BYTES],
                         struct blx_error *err);
int64_t blx_tls_context_days_left(const struct blx_tls_context *context);

/* When it expires, in seconds since 1970. */
uint64_t blx_tls_context_ends_s(const struct blx_tls_context *context);

/* Whether the context's certificate has less than a third of its time left. */
bool blx_tls_context_is_ageing(const struct blx_tls_context *context);

/* Makes a server's context take those that come with a token too, and show them the CA in
 * `ca_path`, which must be the CA that signed its certificate. */
int blx_tls_context_admit_tokens(struct blx_tls_context *context, const char *ca_path,
                                 struct blx_error *err);

/* What a peer has come for. */
enum blx_tls_errand {
    BLX_TLS_SESSION, /* it is an agent, with a certificate */
    BLX_TLS_JOIN,    /* it will show a token, and wants a certificate */
    BLX_TLS_RESTORE, /* it will show a token, and wants to read what that names */
    BLX_TLS_COPY,    /* it is a copier, with a certificate, and wants to read checkpoints */
};

/* Whether a peer on this errand shows a token in place of a certificate. */
static inline bool blx_tls_errand_has_token(enum blx_tls_errand errand)
{
    return errand == BLX_TLS_JOIN || errand == BLX_TLS_RESTORE;
}

/* A client's context for an errand with a token, which trusts the CA with this fingerprint. */
int blx_tls_context_new_bearer(const uint8_t ca_fingerprint[BLX_FINGERPRINT_BYTES],
                               enum blx_tls_errand errand, struct blx_tls_context **context,
                               struct blx_error *err);

enum { BLX_SERIAL_TEXT_BYTES = 43 }; /* 20 bytes and a sign's in hexadecimal */

struct blx_tls_peer {
    enum blx_tls_errand errand; /* with a token it has no certificate: the rest is empty */
    char name[BLX_NAME_BYTES];  /* the verified certificate's common name; a copier's without
                                          its prefix */
    char serial[BLX_SERIAL_TEXT_BYTES];            /* and its serial number, in hexadecimal */
    uint64_t ends_s;                               /* when it expires, since 1970; 0: not known */
    uint8_t ca_fingerprint[BLX_FINGERPRINT_BYTES]; /* of the CA at the end of its chain */
};

/*
 * Server side of an accepted socket `fd`, which is taken over, also on failure. The error says the
 * reason ("no certificate", "signed by another CA", "plaintext?", "expired", "time-out").
 */
int blx_tls_accept(struct blx_tls_context *context, int fd, uint64_t timeout_ms,
                   struct blx_conn **conn, struct blx_tls_peer *peer, struct blx_error *err);

/*
 * Resolves and dials "HOST:PORT" ("[v6]:port"; default port 8080), tries each address, and does the
 * client's handshake, all within `timeout_ms`; only the resolver has time-outs of its own. In TLS
 * 1.3 the server's refusal of our certificate arrives only with the first message read afterwards:
 * blx_conn_recv() then fails with -EACCES and says so.
 */
int blx_tls_connect(struct blx_tls_context *context, const char *address, uint64_t timeout_ms,
                    struct blx_conn **conn, struct blx_error *err);

enum { BLX_DEFAULT_PORT = 8080 };

/* Splits "HOST:PORT", "HOST", "[v6]:PORT", ":PORT" (empty host: all addresses). -EINVAL; the
 * message names the text. */
int blx_address_split(const char *address, char host[256], char port[8], struct blx_error *err);

enum { BLX_ADDRESS_BYTES = 264 };

/* The address number `index` of a list with commas between them, blanks around it left out. False
 * if there are fewer. One that is too long is cut, and blx_address_split() refuses it. */
bool blx_address_pick(const char *list, size_t index, char one[BLX_ADDRESS_BYTES]);

/* How many addresses a list has: at least 1. */
size_t blx_address_count(const char *list);

/* A listening socket on `address`, close-on-exec. The descriptor or -errno; the error says if the
 * port is taken. */
int blx_address_listen(const char *address, struct blx_error *err);
