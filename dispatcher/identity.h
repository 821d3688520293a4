/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dispatcher's identity: its certificate, the CAs that it trusts, and the CA that agents are
 * told of. The files change while the dispatcher runs: `blxrep dispatcher renew`, `renew-ca` and
 * `retire-ca` change those in DIR/pki, a certificate there that grows old is renewed here, and a
 * site's own tools replace theirs. So they are looked at every few seconds and before a connection
 * is accepted. If new ones cannot be used the log says why, and the old ones stay in use.
 *
 * Threads: any may take the identity; main() alone loads it and looks. The lock is a leaf, and is
 * not held while the disk is used.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "tls/tls.h"
#include "wire/message.h"

struct blx_config;

enum { DISPATCHER_IDENTITY_FILES = 4 };

/* What changes about a file when it is replaced. */
struct dispatcher_identity_mark {
    uint64_t inode;
    int64_t changed_ns;
};

struct dispatcher_identity {
    /* Constant while threads run. */
    const struct blx_config *config; /* NULL: nothing is ever loaded, as in tests */

    /* main()'s alone. */
    struct dispatcher_identity_mark marks[DISPATCHER_IDENTITY_FILES];
    uint64_t look_ns;  /* when the next look is due, blx_clock_ns() */
    uint64_t renew_ns; /* when an old certificate may be renewed again */
    uint64_t warn_ns;  /* when an end that is near may be logged again */

    pthread_mutex_t lock;                          /* guards the rest, which main() writes */
    struct blx_tls_context *tls;                   /* one share of it is ours */
    struct blx_authority_message authority;        /* ca_bytes 0: agents are told of none */
    uint8_t ca_fingerprint[BLX_FINGERPRINT_BYTES]; /* of `authority` */
    uint64_t ends_s;                               /* when the certificate expires, since 1970 */
    uint64_t ca_ends_s;                            /* and its CA; 0: not known */
};

enum dispatcher_identity_change { DISPATCHER_IDENTITY_SAME, DISPATCHER_IDENTITY_NEW };

/* The first time. Makes DIR/pki if need be. */
int dispatcher_identity_load(struct dispatcher_identity *identity, const struct blx_config *config,
                             struct blx_error *err);
void dispatcher_identity_done(struct dispatcher_identity *identity);

/* When the next look is due; BLX_FOR_EVER: never. */
uint64_t dispatcher_identity_due_ns(const struct dispatcher_identity *identity);

/* Looks, if it is time to, and loads what has changed. NEW: agents have to be told. */
enum dispatcher_identity_change dispatcher_identity_look(struct dispatcher_identity *identity,
                                                         uint64_t now_ns);

/* A share of the context, to be freed. */
struct blx_tls_context *dispatcher_identity_take_tls(struct dispatcher_identity *identity);

/* What an agent is to be told. ca_bytes 0: nothing. */
void dispatcher_identity_get_authority(struct dispatcher_identity *identity,
                                       struct blx_authority_message *authority);

struct dispatcher_identity_facts {
    uint64_t ends_s;    /* when the certificate expires, since 1970 */
    uint64_t ca_ends_s; /* and its CA; 0: it is not blxrep's */
    bool rolls;         /* the CA has a successor */
};

/* For the status. */
void dispatcher_identity_describe(struct dispatcher_identity *identity,
                                  struct dispatcher_identity_facts *facts);

/* Whether a grace period is under way, and then whether the fingerprint is the successor's. */
enum dispatcher_identity_ca {
    DISPATCHER_CA_SETTLED, /* there is only one */
    DISPATCHER_CA_OLD,
    DISPATCHER_CA_NEW,
};
enum dispatcher_identity_ca dispatcher_identity_judge(
    struct dispatcher_identity *identity, const uint8_t ca_fingerprint[BLX_FINGERPRINT_BYTES]);
