/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What agent and dispatcher compare in a rescan: SHA-256 digests over a sequence of blocks that is
 * cut into pieces. Both sides feed the same blocks in the same order into a digester, and its
 * digests cross the wire.
 *
 * A coarse digest is whole (32 bytes). Of a single block's digest, which may be needed very often,
 * only the first 16 bytes are sent: a chance of 2^-128 to take two blocks for equal is none.
 *
 * In a session with a key (KEY) the keyed digests of the blocks (crypt/block_digest.h) take the
 * place of the blocks' data, since the dispatcher has nothing else to compare with.
 *
 * A piece that cannot be read is spoiled: its digest is all zeros. No known data has that digest,
 * and it equals nothing, so the piece counts as different.
 *
 * Threads: a digester belongs to one thread at a time. Nothing here blocks.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "wire/message.h"

enum { BLX_DIGEST_COARSE_BYTES = 32, BLX_DIGEST_FINE_BYTES = 16 };

/* The size of the digests of pieces of `blocks_per_digest` blocks. */
uint32_t blx_digest_bytes(uint32_t blocks_per_digest);

/* The blocks of the request's extents, and the pieces (digests) that they make. */
uint64_t blx_digest_request_blocks(const struct blx_digest_request *request);
uint64_t blx_digest_request_pieces(const struct blx_digest_request *request);

/* The block after the last one that the request names. */
uint64_t blx_digest_request_end(const struct blx_digest_request *request);

struct blx_digester;

/* -ENOMEM. Free with blx_digester_free(), which allows NULL. */
int blx_digester_new(struct blx_digester **digester, struct blx_error *err);
void blx_digester_free(struct blx_digester *digester);

/* A new sequence. Each block is 2^unit_shift bytes of data, or of its keyed digest. `digests` gets
 * request, volume and the digests; it must live until the end. */
void blx_digester_begin(struct blx_digester *digester, const struct blx_digest_request *request,
                        unsigned unit_shift, struct blx_digests *digests);

/* The next `count` blocks of the sequence; `data` NULL: they cannot be read. -EIO if the library
 * fails, or if there are more blocks than the request has. */
int blx_digester_add(struct blx_digester *digester, const void *data, uint32_t count,
                     struct blx_error *err);

/* Completes the last piece. */
int blx_digester_end(struct blx_digester *digester, struct blx_error *err);

/* Whether digest number `index` is the same in both and was made of blocks that could be read. */
bool blx_digests_equal(const struct blx_digests *a, const struct blx_digests *b, uint32_t index);
