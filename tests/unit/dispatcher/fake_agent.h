/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent that follows a test's script, right or wrong, over a real TLS connection.
 */
#pragma once

#include "fake_site.h"
#include "wire/conn.h"
#include "wire/frame.h"

enum {
    FAKE_BLOCK_BYTES = 4096,
    FAKE_VOLUME_BLOCKS = 256,
    FAKE_VOLUME_BYTES = FAKE_VOLUME_BLOCKS * FAKE_BLOCK_BYTES,
    FAKE_RECV_MS = 20 * 1000,
};

struct fake_agent {
    struct blx_tls_context *tls;
    struct blx_conn *conn;
    struct blx_generation generation;
    const struct blx_volume_key *key;  /* borrowed; NULL: it does not encrypt */
    uint64_t features;                 /* offered beside that of the key */
    struct blx_volume_key digest_keys; /* its id none: its frames come without digests */
    uint64_t seq;                      /* last sent */
    uint64_t clock_ns;                 /* what its clock shows at each cut; 0: the truth */
    struct blx_welcome welcome;
    struct blx_volume_state state;
    uint8_t disk[FAKE_VOLUME_BYTES]; /* as the frames so far describe it */
};

/* Connects with the credentials of `certificate_id`; a new generation unless one is given. */
struct fake_agent *fake_agent_connect(const struct fake_site *site, const char *certificate_id,
                                      const struct fake_agent *earlier);
void fake_agent_close(struct fake_agent *agent);

void fake_agent_send(struct fake_agent *agent, const struct blx_message *message);

/* The next message that is no PING. The test fails unless it is of `type`. */
struct blx_message fake_agent_expect(struct fake_agent *agent, enum blx_message_type type);

/* The next message is an ERROR that has `part` in it, and then the connection ends. */
void fake_agent_expect_error(struct fake_agent *agent, const char *part);

void fake_agent_hello(struct fake_agent *agent, const char *agent_id);

/* HELLO, WELCOME, DIGEST_KEY if it has the feature, KEY if it has one, VOLUME, VOLUME_STATE of the
 * one volume "vda". */
void fake_agent_greet(struct fake_agent *agent, const char *agent_id);

/* Only VOLUME and VOLUME_STATE. */
void fake_agent_announce(struct fake_agent *agent);
void fake_agent_begin(struct fake_agent *agent, enum blx_pass pass);

/* Everything up to and with BEGIN, a full pass. */
struct fake_agent *fake_agent_online(const struct fake_site *site, const char *agent_id);

/* Sends `count` blocks from `start` on, filled with `fill`, as frame number `seq`. */
void fake_agent_frame(struct fake_agent *agent, uint64_t seq, uint64_t start, uint32_t count,
                      uint8_t fill);

/* The next frame in order. */
void fake_agent_write(struct fake_agent *agent, uint64_t start, uint32_t count, uint8_t fill);

/* Waits for ACKs until `seq` is durable. */
void fake_agent_wait_durable(struct fake_agent *agent, uint64_t seq);

/* Answers the outstanding CHECKPOINT_REQUEST with a cut of all that was sent; the timestamp. */
blx_timestamp fake_agent_checkpoint(struct fake_agent *agent);
void fake_agent_cut(struct fake_agent *agent, uint64_t request, uint64_t last_seq);
