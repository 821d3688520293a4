/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dispatchers of a data directory, which may be on a filesystem that several hosts have: one
 * that has it alone, or several that share it, and standbys. Each has a name, by default its
 * host's, and two files:
 *
 *     DIR/dispatchers/NAME.lock    locked while it runs, by whatever lets the directory go when the
 *                                  host is gone; empty
 *     DIR/dispatchers/NAME.state   what it told last: CONTROL_HOST, then CONTROL_DISPATCHER and a
 *                                  CONTROL_AGENT for each agent, as they are in PROTOCOL.md
 *
 * So each can tell about all, and no dispatcher asks another one. Nothing that is kept depends on
 * these files: they may go at any time.
 *
 * Threads: no shared state. Everything waits for the disk.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "store/store.h"
#include "wire/message.h"

struct blx_member {
    int lock_fd; /* -1: none */
    char name[BLX_NAME_BYTES];
};

/*
 * Takes this host's name, or with "-2" to "-9" after it if that is taken, by a standby on the host
 * of the first, say. -EBUSY if all are. `member` is written on success; it holds the name until
 * blx_member_leave().
 */
int blx_member_enter(const struct blx_store *store, struct blx_member *member,
                     struct blx_error *err);

/* Takes the state away, and gives the name back. A member that never entered has lock_fd = -1. */
void blx_member_leave(const struct blx_store *store, struct blx_member *member);

/* What a dispatcher tells. */
struct blx_member_report {
    struct blx_control_host host;
    bool has_dispatcher; /* it has told its state, too */
    struct blx_control_dispatcher dispatcher;
    struct blx_control_agent *agents; /* agent_count of them */
    size_t agent_count;
};

/* Replaces the state. `report` has the member's name. */
int blx_member_tell(const struct blx_store *store, const struct blx_member *member,
                    const struct blx_member_report *report, struct blx_error *err);

struct blx_member_list {
    struct blx_member_report *reports; /* owned, and their agents; by name */
    size_t count;
};

/* Those that run now, as far as the filesystem knows: it may need a while to notice that a host is
 * gone. One whose state is damaged, or of a later version, is left out. -ENOMEM, or why the folder
 * cannot be read; one that is not there is empty. */
int blx_member_list_read(const struct blx_store *store, struct blx_member_list *list,
                         struct blx_error *err);
void blx_member_list_done(struct blx_member_list *list);

/* Fills a report from a state file's bytes; for blx_member_list_read() and its fuzz target.
 * -EBADMSG, -ENOMEM; then nothing is to be freed. */
int blx_member_parse(const uint8_t *bytes, size_t count, struct blx_member_report *report,
                     struct blx_error *err);
