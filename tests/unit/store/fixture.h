/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the store's tests share: a store in a temporary folder, an agent that makes frames of a
 * volume it holds in memory, and a table of disk calls that fail.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "store/checkpoint/manifest_file.h"
#include "store/restore/restore.h"
#include "store/segment/segment.h"
#include "store/store.h"
#include "store/receive/agent_writer.h"

enum { TEST_BLOCK_SHIFT = 12, TEST_BLOCK_BYTES = 4096 };

struct test_store {
    char dir[64];
    struct blx_store store;
};

/* Makes a folder of its own, below $TMPDIR. */
void test_make_dir(char *dir, size_t bytes);

void test_store_init(struct test_store *test);
void test_store_done(struct test_store *test);

/* "DIR/..." */
void test_path(const struct test_store *test, char path[PATH_MAX], const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A cmocka assertion with the error's text. */
void test_ok(int rc, const struct blx_error *err);

/* A volume as the agent has it. */
struct test_volume {
    struct blx_volume_info info;
    uint64_t blocks;
    uint8_t *image; /* blocks * TEST_BLOCK_BYTES */
    uint64_t seq;
    const struct blx_volume_key *key; /* borrowed; NULL: its frames are not encrypted */
    bool mixes_codecs;                /* its frames take turns: none, zlib, zstd; otherwise zstd */
    bool has_digests;                 /* its plain frames come with digests; as it begins */
    uint8_t *frame;                   /* the last one that was made; its digests follow it */
    size_t frame_bytes;
    size_t sent_bytes; /* with the digests */
};

/* The agent's secret for the digests, and the keys of a volume that are derived from it. */
const struct blx_key *test_digest_key(void);
struct blx_volume_key test_digest_keys(const char *volume);

/* `size_bytes` need not be whole blocks. The generation is made of `generation`. */
void test_volume_init(struct test_volume *volume, const char *name, uint64_t size_bytes,
                      uint8_t generation);
void test_volume_done(struct test_volume *volume);
void test_volume_generation(struct test_volume *volume, uint8_t generation);

/* Fills the block with bytes made of `seed`; 0 makes it zero. */
void test_volume_write(struct test_volume *volume, uint64_t block, uint64_t seed);

/* Makes frame number ++seq of these blocks' content (ascending; zero blocks become zero extents).
 */
void test_volume_frame(struct test_volume *volume, const uint64_t *blocks, size_t count);

/* All blocks, in frames of `per_frame`, are appended to the writer. */
void test_volume_send_all(struct test_volume *volume, struct blx_agent_writer *writer,
                          size_t per_frame);

/* Writes the block, makes its frame, appends it. */
void test_volume_send(struct test_volume *volume, struct blx_agent_writer *writer, uint64_t block,
                      uint64_t seed);

/* Opens a writer and announces the first volume's key, or its digests, and the volumes, which must
 * be given in order; states may be NULL. */
struct blx_agent_writer *test_writer_open(const struct test_store *test,
                                          struct test_volume *const *volumes, size_t count,
                                          struct blx_volume_state *states);

/* Commits all volumes at second `second` since 1970. */
blx_timestamp test_writer_commit(struct blx_agent_writer *writer,
                                 struct test_volume *const *volumes, size_t count, uint64_t second);

/* Restores the checkpoint's volume and compares it with `image`. */
void test_restores_to(const struct test_store *test, blx_timestamp timestamp, const char *volume,
                      const uint8_t *image, uint64_t size_bytes);

enum test_fault {
    TEST_FAULT_ONCE,
    TEST_FAULT_FOR_EVER,
    TEST_FAULT_KILL_BEFORE, /* the process ends instead of the call */
    TEST_FAULT_KILL_BEHIND, /* the process ends after the call */
};

enum { TEST_KILLED = 42 };

/* From now on nothing waits for the disk: for tests that no power cut can tell anything. */
void test_fsync_off(void);

/* From now on the call number `after` (from 0) fails with EIO, or ends the process. */
void test_fault_arm(enum test_fault fault, unsigned after);

/* Back to the real calls; true if the fault happened. */
bool test_fault_disarm(void);

/*
 * run(arg) with that fault; if the fault ends the process, in a process of its own. False if it
 * makes no more than `after` calls; then it must return 0.
 */
bool test_fault_run(int (*run)(void *arg), void *arg, enum test_fault fault, unsigned after);

/* A small generator of random numbers, the same on every run. */
uint64_t test_random(uint64_t *state);
