/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cut: the instant that a checkpoint shows. All blocks that are still marked, on all volumes,
 * are read into memory. This happens inside a freeze of their filesystems if that is possible,
 * otherwise at a moment in which nobody writes.
 *
 * Between freeze and thaw nothing here allocates, logs, opens a file of a disk or waits for the
 * network: the buffer is made and touched before, and the log is held.
 *
 * Threads: the session's control thread. Blocks for hooks, syncfs, freeze and reads.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "agent/session/session_private.h"
#include "base/cleanup.h"

enum agent_cut_trouble {
    AGENT_CUT_FINE,
    AGENT_CUT_DISTURBED, /* something that was not frozen wrote while the rest was frozen */
    AGENT_CUT_OVERFLOW,  /* more was marked than the buffer holds */
    AGENT_CUT_UNHELD,    /* the freeze did not hold to the end of the reading */
};

/* The attempts at the same checkpoint that came before this one. All zero: none did. */
struct agent_cut_history {
    bool disturbed; /* by a writer that no freeze of ours reaches */
    bool overflowed;
    char writer[80];   /* where it wrote */
    const char *cause; /* why the last frozen one does not count, unless it was a writer; NULL */
};

struct agent_cut {
    struct agent_job *jobs; /* owned; `count` of them were read */
    size_t count, capacity;
    uint8_t *buffer; /* owned; the jobs' data */
    size_t buffer_bytes;

    uint64_t realtime_ns; /* of the instant */
    uint64_t at_ns;       /* the same by blx_clock_ns() */
    uint64_t freeze_ns;
    enum blx_consistency consistency;
    enum agent_cut_trouble trouble; /* of this attempt */
    struct agent_cut_history history;
    uint32_t flags;            /* of enum blx_cut_flags: which hooks failed */
    char note[BLX_TEXT_BYTES]; /* why `consistency` is less than "filesystem", and which hook
                                * failed */
};

void agent_cut_done(struct agent_cut *cut);
#define AGENT_CLEANUP_CUT BLX_CLEANUP(agent_cut_done)

enum agent_cut_kind {
    AGENT_CUT_FROZEN,        /* the filesystems are frozen, if there are any */
    AGENT_CUT_FROZEN_ANYHOW, /* frozen; stands even if something else writes meanwhile */
    AGENT_CUT_QUIET,         /* without a freeze; stands if nobody writes meanwhile */
    AGENT_CUT_ANYHOW,        /* stands even if somebody does: consistency "none" */
};

/*
 * One attempt. Everything must have been drained durably before, so that no block is in flight. 0:
 * the cut stands, its jobs hold the remainder, and cut->consistency says how good it is. -EAGAIN:
 * it does not stand (the limit passed, more was marked than fits, somebody wrote meanwhile).
 * cut->note says why, and what was read may be sent all the same, as pre-copy. Others: errors.
 */
int agent_cut_attempt(struct agent_session *session, enum agent_cut_kind kind,
                      struct agent_cut *cut, struct blx_error *err);

/* Makes it ready for the next attempt; what it has learnt stays in the history. */
void agent_cut_retry(struct agent_cut *cut);

/* Hands the cut's jobs to the pipeline, in copies. */
void agent_cut_send(struct agent_session *session, const struct agent_cut *cut);
