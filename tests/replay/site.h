/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent with two disks and its dispatcher's store: what happens to them at random, and what the
 * store has promised by then. A block's content follows from a number, its seed; 0 means zeros.
 *
 * Threads: one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "fixture.h"

enum {
    SITE_VOLUMES = 2,
    SITE_BLOCKS = 24,
    SITE_BYTES = SITE_BLOCKS * TEST_BLOCK_BYTES - 512,
    SITE_FRAMES = 240,      /* of a generation */
    SITE_GENERATIONS = 120, /* of a history */
    SITE_CHECKPOINTS = 120,
};

/* The content of a block that nobody knows: it is sent again. */
#define SITE_UNKNOWN UINT64_MAX

struct site_image {
    uint64_t seeds[SITE_BLOCKS];
};

enum site_promise {
    SITE_KEPT,   /* committed: it is there */
    SITE_EITHER, /* its commit, or its removal, has begun: it is there, or it is not */
    SITE_GONE,
};

struct site_checkpoint {
    blx_timestamp timestamp;
    enum site_promise promise;
    struct site_image images[SITE_VOLUMES];
};

struct site_volume {
    struct test_volume disk; /* as the agent has it */
    struct site_image now;   /* the same */
    uint8_t stored;          /* the generation whose frames are stored; 0: none yet */
    uint8_t beginning;       /* the one that a pass is just beginning with; 0: none is */
    uint64_t acked_seq;      /* of `stored` */
    bool is_promised;        /* a frame was acknowledged; names alone leave nothing */
    /* The stored image after each frame, by generation and seq. */
    struct site_image (*after)[SITE_FRAMES];
};

struct site {
    struct test_store test;
    struct blx_agent_writer *writer; /* NULL: no session */
    struct site_volume volumes[SITE_VOLUMES];
    uint8_t generation; /* the last one that was used */
    uint64_t random;
    uint64_t second; /* the dispatcher's clock */
    struct site_checkpoint *checkpoints;
    size_t checkpoint_count;
    unsigned lines; /* of the audit log, that were appended durably */
    struct {
        uint64_t frames, commits, prunes, rewrites, refusals;
    } did;
};

void site_init(struct site *site, uint64_t seed);
void site_done(struct site *site);

/* What the agent and the dispatcher do; each ends the session if the disk refuses. */
void site_connect(struct site *site);
void site_disconnect(struct site *site);
void site_send(struct site *site);
void site_sync(struct site *site);
void site_commit(struct site *site);

/* What the dispatcher does beside it. */
void site_prune(struct site *site);
void site_rewrite(struct site *site);
void site_audit(struct site *site);

/* The bytes of an image, in a buffer of SITE_BLOCKS blocks. */
void site_fill(const struct site_image *image, uint8_t *bytes);

/* What the store found by announcing the volume must have; its image then, or NULL if nobody knows.
 */
const struct site_image *site_check_state(const struct site_volume *volume,
                                          const struct blx_volume_state *state);
