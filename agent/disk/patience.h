/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls into foreign things, with a clock: a path on a dead network filesystem lets nobody go.
 * Each call gets a thread. If it does not end in time the thread is left to it, and the same call
 * (the same name) is not tried again until that one has ended: nothing piles up.
 *
 * Threads: any.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct agent_patience_call {
    int (*run)(void *arg);   /* 0 or -errno; in another thread */
    void (*drop)(void *arg); /* gives back what a call that came too late has got */
    size_t arg_bytes;
};

/*
 * Runs `call` on a copy of `arg`, which is copied back if it has ended in time. Its result;
 * -ETIMEDOUT if it has not ended after `timeout_ms`, or is still under way since an earlier time.
 * That is logged once, and once more when it has ended.
 */
int agent_patience_run(const char *name, const struct agent_patience_call *call, void *arg,
                       uint64_t timeout_ms);

/* For how long the call of this name has been hanging; 0: it is not. */
uint64_t agent_patience_ask(const char *name);
