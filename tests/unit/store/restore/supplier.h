/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A dispatcher's side of a restore over the network, in threads of its own: it serves a checkpoint
 * of a test store over socket pairs, and cuts connections and lies as it is told to.
 *
 * Threads: what is set before the restore is read by the supplier's threads, one at a time.
 */
#pragma once

#include <pthread.h>

#include "fixture.h"
#include "store/restore/pull.h"
#include "store/restore/supply.h"

enum supplier_lie {
    SUPPLIER_HONEST = 0,
    SUPPLIER_FLIPS_A_BIT,          /* of a frame's payload */
    SUPPLIER_SWAPS_FRAMES,         /* two of one size are mixed up, or another one is sent */
    SUPPLIER_SENDS_TOO_MUCH,       /* a frame with a byte more */
    SUPPLIER_SENDS_ANOTHER_VOLUME, /* a frame with another index */
    SUPPLIER_OVERLAPS,             /* two pieces hold one block */
    SUPPLIER_LEAVES_THE_WINDOW,    /* a piece beyond its end */
    SUPPLIER_LEAVES_THE_VOLUME,    /* a window beyond its end */
    SUPPLIER_NAMES_OTHER_BLOCKS,   /* a piece that its frame does not hold */
    SUPPLIER_MOVES_DATA,           /* a piece with another place in its frame's data */
    SUPPLIER_SENDS_ENDLESS_PIECES,
    SUPPLIER_COUNTS_WRONG,      /* another number of frames than it says */
    SUPPLIER_SAYS_ERROR,        /* in place of the second frame */
    SUPPLIER_SENDS_WELCOME,     /* in place of a plan */
    SUPPLIER_CHANGES_THE_OFFER, /* after the first connection */
    SUPPLIER_KNOWS_NO_DELTA,    /* as an older one */
    SUPPLIER_NAMES_ANOTHER_KEY,
    SUPPLIER_ANSWERS_ANOTHER_QUESTION,
    SUPPLIER_PLANS_WHAT_NOBODY_WANTS,
    SUPPLIER_LIES
};

struct supplier {
    struct blx_agent_store agent;
    blx_timestamp checkpoint;
    size_t max_pieces;
    struct blx_key_id key_id;
    enum supplier_lie lie;
    unsigned cut_after_frames;  /* each connection, after so many; 0: none */
    unsigned cuts_left;         /* so many times; then it serves on */
    unsigned refuse_dials;      /* so many connections fail before one succeeds */
    bool stays_away;            /* after the cuts no connection succeeds any more */
    bool replan_cut;            /* cuts in the middle of the pieces, too */
    unsigned cut_after_answers; /* each connection, after so many DIGESTS; 0: none */

    /* What it has seen. */
    unsigned connections;
    unsigned windows;
    unsigned frames;      /* that were sent */
    uint64_t frame_bytes; /* of the frames */
    unsigned answers;     /* DIGESTS */
    uint64_t done_bytes;
    bool done;

    pthread_t threads[512];
    unsigned thread_count;
};

/* A blx_pull_request's dial; `arg` is the supplier. */
int supplier_dial(void *arg, struct blx_conn **conn, struct blx_error *err);

/* After the pull is closed: waits for the threads. */
void supplier_join(struct supplier *supplier);
