/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What keeps the store from taking anything, found by looking and not by failing: it is full, read
 * only, another user's, or no longer where it was. An agent cannot help any of it, so it is never
 * told as that agent's absence.
 *
 * Threads: any. Looking waits for the disk, as stat() does, and changes nothing.
 */
#pragma once

#include <stdbool.h>

#include "store/store.h"
#include "wire/message.h"

/* The kind of trouble that an error of the store, -errno, stands for. 0 is NONE. */
enum blx_trouble_kind blx_trouble_of(int rc);

/* Looks at the whole store. `since` is left 0. */
void blx_store_find_trouble(const struct blx_store *store, struct blx_trouble *trouble);

/* Fills in the bytes and inodes of the store's filesystem, `data_*`. False, and nothing is changed:
 * nobody knows. */
bool blx_store_measure(const struct blx_store *store, struct blx_control_dispatcher *room);

/* Looks at the folder of one agent, which may be missing. */
void blx_agent_store_find_trouble(struct blx_agent_store agent, struct blx_trouble *trouble);
