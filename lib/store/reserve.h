/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reserve: room and inodes that nobody but a prune may use, so that a full store heals by
 * pruning. Removing a checkpoint writes before it frees: its successor's manifest takes over.
 *
 * DIR/reserve holds them while there is room: a file `bytes` of a sixty-fourth of the filesystem (1
 * to 64 MiB), preallocated, and some empty files. A prune that finds little room removes them
 * first, and makes them again when there is room. While they are not there, receiving leaves as
 * much free. The dispatcher makes DIR/reserve when it starts; without it (a store that only other
 * programs have opened) there is no reserve, and nobody leaves anything free.
 *
 * Threads: any; the files may come and go at any time.
 */
#pragma once

#include "store/store.h"

/* Makes DIR/reserve, and fills it if there is room. For the dispatcher. */
int blx_reserve_make(const struct blx_store *store, struct blx_error *err);

/* Fills DIR/reserve again if it is there and there is room. */
void blx_reserve_refill(const struct blx_store *store);

/* Gives the reserve free if there is little room. */
void blx_reserve_release(const struct blx_store *store);

/* -ENOSPC if a receiver would stop now. Changes nothing. */
int blx_reserve_look(const struct blx_store *store, struct blx_error *err);

/* For a receiver, before it writes: -ENOSPC if what is left is the reserve's. */
int blx_reserve_check(const struct blx_store *store, struct blx_error *err);
