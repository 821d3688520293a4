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
#include "config/config.h"
#include "wire/digest.h"

struct agent_session_answer;

/* A place in a question; begins as zero. */
struct agent_question_cursor {
    uint32_t extent;
    uint32_t block;       /* within the extent */
    uint32_t index;       /* within the question's sequence */
    uint64_t start_block; /* of the extent; not known yet if `block` is 0 */
    uint64_t end_block;   /* of the extent before */
};

struct agent_question {
    struct agent_volume *volume; /* borrowed */
    struct blx_digest_request request;
    struct blx_digests mine;
    struct agent_session_answer *answer; /* borrowed: the place for the answer */
    struct agent_question_cursor read;   /* after what a reader was given to read */
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

/* The next question, block by block, about the pieces of `question` that differ. False if there are
 * no more. */
bool agent_question_refine(const struct agent_question *question, const struct blx_digests *theirs,
                           struct agent_question_cursor *cursor, struct agent_question *fine);

struct agent_question_reader;

/*
 * Memory for reading, 12 MiB. Freeing waits for the disk: the workers still read what is ahead.
 *
 * A fast reader keeps up to 32 batches of 256 KiB under way. A gentle one reads a batch at a time,
 * and before each it waits up to 10 ms as long as the disk is busy with others' requests.
 */
int agent_question_reader_new(struct agent_pipeline *pipeline, enum blx_rescan_priority priority,
                              struct agent_question_reader **reader, struct blx_error *err);
void agent_question_reader_free(struct agent_question_reader *reader);

/*
 * Reads the question's blocks and makes our digests. The digest of a block that cannot be read is
 * spoiled, and so differs.
 *
 * So that the disk is never idle, reading goes on with `ahead`, unless that is NULL: it must be the
 * next question of this reader, and stay where it is until then.
 */
int agent_question_read(struct agent_question_reader *reader, struct agent_question *question,
                        struct agent_question *ahead, struct blx_error *err);

/* The same for a short question between two of those. */
int agent_question_read_apart(struct agent_question_reader *reader, struct agent_question *question,
                              struct blx_error *err);

/* Marks the blocks of every piece that differs as pending. Returns how many. */
uint64_t agent_question_mark(const struct agent_question *question,
                             const struct blx_digests *theirs);
