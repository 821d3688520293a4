/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A question of a rescan: the blocks that it asks for, our own digests of them, and what to do if
 * the dispatcher's digests differ. A question is made, read and judged without a connection, so
 * that it can be tested without one.
 *
 * Threads: the session's control thread. Reading waits for the disk.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/send/pipeline.h"
#include "agent/track/volume.h"
#include "wire/digest.h"

struct agent_session_answer;

struct agent_question {
    struct agent_volume *volume; /* borrowed */
    struct blx_digest_request request;
    struct blx_digests mine;
    struct agent_session_answer *answer; /* borrowed: the place for the answer */
};

/* How many blocks a piece has, which are compared together first: 1 MiB. */
uint32_t agent_question_get_piece_blocks(unsigned block_shift);

/*
 * Makes the question for the next blocks of `wanted` at or after *cursor and before `end_block`,
 * and moves *cursor past them. False if there are none. `question` may hold anything before.
 */
bool agent_question_make_next(struct agent_volume *volume, const uint64_t *wanted,
                              uint64_t end_block, uint64_t *cursor,
                              struct agent_question *question);

/* Checks that `theirs` are digests of the blocks that were asked for: 0 or -EPROTO. Only checked
 * digests may be passed to the functions below. */
int agent_question_check(const struct agent_question *question, const struct blx_digests *theirs,
                         struct blx_error *err);

/* Where in a question agent_question_refine() is; begins as zero. */
struct agent_question_cursor {
    uint32_t extent;
    uint32_t block;       /* within the extent */
    uint32_t index;       /* within the question's sequence */
    uint64_t start_block; /* of the extent; not known yet if `block` is 0 */
    uint64_t end_block;   /* of the extent before */
};

/* The next question, block by block, about the pieces of `question` that differ. False if there are
 * no more. */
bool agent_question_refine(const struct agent_question *question, const struct blx_digests *theirs,
                           struct agent_question_cursor *cursor, struct agent_question *fine);

struct agent_question_reader;

/* Buffers for reading, 8 MiB. */
int agent_question_reader_new(struct agent_pipeline *pipeline,
                              struct agent_question_reader **reader, struct blx_error *err);
void agent_question_reader_free(struct agent_question_reader *reader);

/* Reads the question's blocks and makes our digests. The digest of a block that cannot be read is
 * spoiled, and so differs. */
int agent_question_read(struct agent_question_reader *reader, struct agent_question *question,
                        struct blx_error *err);

/* Marks the blocks of every piece that differs as pending. Returns how many. */
uint64_t agent_question_mark(const struct agent_question *question,
                             const struct blx_digests *theirs);
