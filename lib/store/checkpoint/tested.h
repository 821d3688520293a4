/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The record of a checkpoint's test: DIR/agents/ID/checkpoints/TIMESTAMP.tested beside the
 * manifest. It says what was asked, what was seen, when, and by which means. A check that was not
 * made is BLX_TEST_NOT_MADE: it counts neither for nor against the checkpoint, and nobody claims
 * it.
 *
 * A record is replaced by the next test of the same checkpoint, and goes with the checkpoint. If a
 * disk is taken out of the checkpoint its record goes, too.
 *
 * Durable first, visible second. After a crash there is the old record, the new one, or none if
 * there was none.
 *
 * Threads: no shared state. Waits for the disk.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/json.h"
#include "base/timestamp.h"
#include "store/store.h"

/* The checks of a test, in the order in which they are made. */
enum blx_test_check {
    BLX_TEST_FILESYSTEM, /* each filesystem, read-only */
    BLX_TEST_BOOT,       /* the console said what was expected, and the system was alive then */
    BLX_TEST_SERVICES,   /* systemd came up, and no unit failed */
    BLX_TEST_COMMAND,    /* a command inside of the booted system ended with 0 */
    BLX_TEST_CHECKS
};

enum blx_test_result {
    BLX_TEST_NOT_MADE,
    BLX_TEST_GOOD,
    BLX_TEST_BAD,
    BLX_TEST_RESULTS,
};

enum blx_test_level {
    BLX_TEST_LEVEL_FILESYSTEM = 1, /* nothing is booted */
    BLX_TEST_LEVEL_BOOT = 2,
};

/* What the system ran on. */
enum blx_test_machine {
    BLX_TEST_NO_MACHINE,
    BLX_TEST_KVM,
    BLX_TEST_EMULATED, /* QEMU's TCG: slow, so times tell little */
    BLX_TEST_MACHINES
};

struct blx_tested {
    blx_timestamp checkpoint;
    uint64_t begun_realtime_ns; /* by this host's clock */
    uint64_t took_ms;
    uint64_t booted_ms; /* from the start of the machine to the proof; 0: it did not boot */
    uint64_t within_ms; /* asked: the most that a boot may take */
    enum blx_test_level level;
    enum blx_test_machine machine;
    enum blx_test_result results[BLX_TEST_CHECKS];
    char expect[256];  /* asked: an expression for a line of the console; "": getty's prompt */
    char command[384]; /* asked; "": none */
    char seen[512];    /* what the checks saw, one line */
    char reason[512];  /* why it failed; "": it did not */
    char screen[2368]; /* the console's last lines, each with its end; printable otherwise */
};

/* "filesystem", "boot", "services", "command" */
const char *blx_test_check_name(enum blx_test_check check);

/* "good", "bad", "not made" */
const char *blx_test_result_name(enum blx_test_result result);

/* "KVM", "TCG"; "none" */
const char *blx_test_machine_name(enum blx_test_machine machine);

/* Whether the checkpoint passed: no check is bad, and what its level is for is good. */
bool blx_tested_is_good(const struct blx_tested *tested);

/* "failed", or the last check that is good: "filesystem", "booted", "services", "command". */
const char *blx_tested_verdict(const struct blx_tested *tested);

/* A JSON object: the record, whole; as the member `key`, or NULL. */
void blx_tested_print_json(struct blx_json *json, const char *key, const struct blx_tested *tested);

/* Sets the screen to the end of the console's text that fits, from the start of a line on. */
void blx_tested_set_screen(struct blx_tested *tested, const char *text);

/* Texts are cleaned on the way. -ENOENT if there is no such checkpoint. */
int blx_tested_write(struct blx_agent_store agent, const struct blx_tested *tested,
                     struct blx_error *err);

/* -ENOENT if it was not tested; -EBADMSG if the record is damaged or another checkpoint's; -ENOTSUP
 * if it is of a newer version. */
int blx_tested_read(struct blx_agent_store agent, blx_timestamp checkpoint,
                    struct blx_tested *tested, struct blx_error *err);

/* All tested checkpoints, ascending; the caller frees the array. */
int blx_tested_list(struct blx_agent_store agent, blx_timestamp **timestamps, size_t *count,
                    struct blx_error *err);

/* The newest checkpoint that was tested, whatever came out. As blx_tested_find_proven(). */
int blx_tested_find_newest(struct blx_agent_store agent, struct blx_tested *tested,
                           struct blx_error *err);

/* The newest checkpoint that passed. Damaged records are passed over. -ENOENT if there is none. */
int blx_tested_find_proven(struct blx_agent_store agent, struct blx_tested *tested,
                           struct blx_error *err);

/* Notes that somebody was told of a test that failed, and of all before it; and whether somebody
 * was. A record that is lost is told again. */
int blx_tested_note_told(struct blx_agent_store agent, const struct blx_tested *tested,
                         struct blx_error *err);
bool blx_tested_is_told(struct blx_agent_store agent, const struct blx_tested *tested);

/* Removes the record, which may be missing, for a caller that has BLX_LOCK_CHAINS and makes the
 * folder durable. */
int blx_tested_remove_locked(struct blx_agent_store agent, blx_timestamp checkpoint,
                             struct blx_error *err);
