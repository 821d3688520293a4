/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Entries of the registry without a session: a socket pair replaces the agent's connection.
 */
#pragma once

#include "dispatcher/registry.h"

enum { FAKE_ENTRY_SYNC_FREQ_MS = 60 * 1000 };

struct fake_entry {
    struct dispatcher_registry_entry entry;
    int agent_fd; /* the other end of entry.socket_fd */
};

/* Makes and connects one. */
struct fake_entry *fake_entry_connect(struct dispatcher_registry *registry);

/* Makes one that is connected, entered as `agent_id` and ready, with its last checkpoint. */
struct fake_entry *fake_entry_ready(struct dispatcher_registry *registry, const char *agent_id,
                                    blx_timestamp last_checkpoint);

/* Leaves and frees. */
void fake_entry_leave(struct dispatcher_registry *registry, struct fake_entry *fake,
                      const char *reason);

/* Whether the eventfd or socket is readable now. */
bool fake_entry_is_readable(int fd);
