/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls into foreign things, with a clock and a name: a disk that has stopped answering, or a path
 * on a dead network filesystem, lets nobody go, not even by SIGKILL. So another process makes each
 * such call, and this one waits for it as long as it likes. If the call does not end in time that
 * process is left to it. Calls of the same name are not begun until it has ended: nothing piles up.
 *
 *                    asks for one                forks it
 *     this process ----------------> nursery ----------------> helper, one for each call under way
 *          |                                                      ^
 *          +--- a socket: begin, ended; descriptors lent, taken --+
 *          +--- shared memory: the call, its argument, its data --+
 *
 * The nursery is forked while the agent is small and has one thread, so a helper holds none of its
 * memory, keys or descriptors. Helpers wait for their next call, and end with the agent. One that
 * hangs ends when its call does; the agent itself can always end.
 *
 * Threads: any. Nothing here allocates, so that it can be used while a filesystem is frozen.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    AGENT_PATIENCE_ARG_BYTES = 12 * 1024,
    AGENT_PATIENCE_DATA_BYTES = 256 * 1024,
    AGENT_PATIENCE_DEFAULT_MS = 30 * 1000,
    AGENT_PATIENCE_REST_MS = 100,
};

/* What travels with a call besides its argument. */
struct agent_patience_io {
    int lent_fd;  /* the caller's, for the time of the call; -1: none. run() sees a copy */
    int taken_fd; /* opened by run(), the caller's from then on; -1: none */
    /* run() has AGENT_PATIENCE_DATA_BYTES here, aligned to 4 KiB. The caller gets the first
     * `data_bytes` of them in its own memory, if `data` is not NULL. */
    void *data;
    size_t data_bytes;
};

struct agent_patience_call {
    /* 0 or -errno. In another process: neither the caller's memory nor its descriptors are there,
     * but for these. */
    int (*run)(void *arg, struct agent_patience_io *io);
    /* In the same process, for a success that nobody waits for any more, also because the agent has
     * ended. NULL: nothing has to be undone. */
    void (*undo)(void *arg, struct agent_patience_io *io);
    /* In the same process, to let go of what run() has kept for the next call: if none has come
     * after AGENT_PATIENCE_REST_MS, or one with another `rest`. Until then the process takes calls
     * of this name alone, since that may hang, too. NULL: run() keeps nothing. */
    void (*rest)(void);
    size_t arg_bytes; /* at most AGENT_PATIENCE_ARG_BYTES */
};

/*
 * Runs `call` on a copy of `arg`, which is copied back if it has ended in time. Its result. -ETIME
 * if it has not ended after `timeout_ms`, or if one of this name is still under way since then;
 * that is logged once, and once more when it has ended. -EAGAIN, -EMFILE or -ENFILE if there is no
 * process to run it.
 * `io` may be NULL.
 */
int agent_patience_run(const char *name, const struct agent_patience_call *call, void *arg,
                       struct agent_patience_io *io, uint64_t timeout_ms);

/* Fills in the name that has been hanging for the longest time and begins with `prefix`, and since
 * when: "the filesystem on '/srv' does not answer since 23:10:04". False: none is. */
bool agent_patience_explain(const char *prefix, char *text, size_t bytes);

/* How long a disk or a filesystem may take to answer. */
void agent_patience_set_ms(uint64_t timeout_ms);
uint64_t agent_patience_get_ms(void);

/* Forks the nursery, if there is none. The first call does so, too; a program with several threads
 * had better not wait for that. 0 or -errno. */
int agent_patience_start(void);

/* The agent ends: from now on no call is waited for much longer than a second. */
void agent_patience_end(void);

/* Ends the nursery and all helpers, except those that hang, while no call is under way. A later
 * call begins with new ones, which have the rights and see the mounts of that time. */
void agent_patience_stop(void);

/* Sees to it that so many calls can begin without a fork. */
void agent_patience_prepare(size_t calls);
