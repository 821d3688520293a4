/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whose rescans hold memory now, and whose turn is next. An image that a rescan compares with takes
 * at most BLX_IMAGE_MEMORY_BYTES, so `memory-limit` is a number of places. Whoever finds none
 * waits, first come first served. A rescan that has had a place for DISPATCHER_TURN_MS while others
 * wait gives it up and goes to the end of the queue: so a room of servers that come back after a
 * power cut goes on together, and none waits for the largest disk.
 *
 *     NONE ──take()──► HELD ◄──── the place before it comes free ──── WAITING
 *       │                │                                               ▲  │
 *       └──take(): all places are taken ─────────────────────────────────┘  │
 *     NONE ◄──leave()── HELD                        NONE ◄──────leave()─────┘
 *
 * Threads: any session calls for its own turn. The lock is a leaf; nobody blocks under it.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum { DISPATCHER_TURN_MS = 10 * 1000 };

enum dispatcher_turn_state {
    DISPATCHER_TURN_NONE = 0,
    DISPATCHER_TURN_WAITING,
    DISPATCHER_TURN_HELD,
};

/* A session's. Begins as zero, except for `wake_fd`. */
struct dispatcher_turn {
    int wake_fd; /* constant; an eventfd, written when a place has come free for it */
    _Atomic enum dispatcher_turn_state state; /* written with the lock held */
    /* Guarded by the lock. */
    struct dispatcher_turn *next; /* in the queue */
    uint64_t since_ns;            /* when it got its place */
};

struct dispatcher_turns {
    pthread_mutex_t lock;
    size_t places; /* constant; at least 1 */
    /* Guarded by the lock. */
    size_t held;
    size_t waiting;
    struct dispatcher_turn *first, *last; /* of those that wait */
};

/* As many places as the memory has room for, and one in any case. 0: half of the machine's. */
void dispatcher_turns_init(struct dispatcher_turns *turns, uint64_t memory_bytes);
void dispatcher_turns_done(struct dispatcher_turns *turns);

/* Asks for a place, unless the turn has one or waits already. Returns what it has then. */
enum dispatcher_turn_state dispatcher_turns_take(struct dispatcher_turns *turns,
                                                 struct dispatcher_turn *turn, uint64_t now_ns);

/* 1 if the turn has lasted long enough, and others wait. */
int dispatcher_turns_is_over(struct dispatcher_turns *turns, const struct dispatcher_turn *turn,
                             uint64_t now_ns);

/* Gives the place back, or stops waiting; nothing if it did neither. */
void dispatcher_turns_leave(struct dispatcher_turns *turns, struct dispatcher_turn *turn,
                            uint64_t now_ns);

/* Where it stands in the queue: 1 is next; 0: it does not wait. */
uint32_t dispatcher_turns_place(struct dispatcher_turns *turns, const struct dispatcher_turn *turn);
