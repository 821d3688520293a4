/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The other dispatchers of the data directory (store/member.h): one thread reads what they told,
 * and tells them what this one knows while there are any. With it `status` of each tells about all,
 * and a standby can say whom it waits for.
 *
 * It also does what no other host's command can do here: a session is ended if its agent was
 * revoked or is to go to another dispatcher, and looks at its agent's pause, policy and orders if
 * the agent's folder has changed.
 *
 * It looks after the directory's lock, too. A filesystem that has given it to another host (because
 * this one could not be heard of) may let this one write on, and two writers would ruin the
 * directory: the process ends at once, as in a crash (I10).
 *
 * Threads: one, which is main()'s to start and stop. The questions are asked from any; they take
 * the neighbours' lock, a leaf. Those that look at files say so, the others do not wait.
 */
#pragma once

#include <stdbool.h>

#include "dispatcher/dispatcher.h"
#include "store/member.h"

enum {
    DISPATCHER_NEIGHBOURS_LOOK_MS = 2000,
    /* At each look if another one has come or gone, or while there are few agents. */
    DISPATCHER_NEIGHBOURS_TELL_MS = 8 * 1000,
    DISPATCHER_NEIGHBOURS_FEW = 200,
};

struct dispatcher_neighbours;

/* Fills what a dispatcher tells of itself, as of now. */
void dispatcher_neighbours_describe(const struct blx_member *member, enum blx_host_role role,
                                    const char *listen, struct blx_control_host *host);

/* `member` has entered; it is borrowed. Tells for the first time before it returns; if that fails
 * it is logged. */
int dispatcher_neighbours_start(struct dispatcher *dispatcher, const struct blx_member *member,
                                const char *listen, struct dispatcher_neighbours **neighbours,
                                struct blx_error *err);

/* -ETIMEDOUT: it still waits for the disk at `deadline_ns`, and nothing was freed. NULL has ended.
 */
int dispatcher_neighbours_stop(struct dispatcher_neighbours *neighbours, uint64_t deadline_ns);

/* In all of these NULL stands for a dispatcher that has none. */

/* Reads what the others told, out of turn. */
void dispatcher_neighbours_refresh(struct dispatcher_neighbours *neighbours);

/* Whether another dispatcher has a session of the agent; then what it told of the agent, and its
 * name. */
bool dispatcher_neighbours_find(struct dispatcher_neighbours *neighbours, const char *agent_id,
                                struct blx_control_agent *agent, char host[BLX_NAME_BYTES]);

/* Whether this one answers for agents that no dispatcher has, and for the directory as a whole: the
 * one that began first. */
bool dispatcher_neighbours_is_keeper(struct dispatcher_neighbours *neighbours);

/* 0 if the agent may connect here. -EBUSY if it is to go to another dispatcher that runs
 * (store/destination.h); `to` becomes its name. Looks at files. */
int dispatcher_neighbours_check_destination(struct dispatcher *dispatcher, const char *agent_id,
                                            char to[BLX_NAME_BYTES], struct blx_error *err);

/* Ends the agent's session if it is to go to another dispatcher. Looks at files, and waits for the
 * session's end. */
void dispatcher_neighbours_send_away(struct dispatcher *dispatcher, const char *agent_id);

/* All of them, this one first, if there are others; free it. NULL, and 0: there are none, or no
 * memory. */
struct blx_control_host *dispatcher_neighbours_list(struct dispatcher_neighbours *neighbours,
                                                    size_t *count);
