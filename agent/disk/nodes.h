/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The names of a device in /dev: its nodes, and the links that lead to it.
 *
 * A policy's pattern comes from the dispatcher, so it chooses no path that is looked at: each name
 * that /dev has is compared with it, and only one that matches is followed. A pattern with "..", or
 * with a thousand wildcards, costs no more than any other.
 *
 * Threads: no shared state. Reads the folders of /dev, no deeper than udev makes them, and none of
 * another filesystem (/dev/shm, /dev/pts).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Whether a name in /dev of the block device with this number matches, as fnmatch(3) with
 * FNM_PATHNAME has it. */
bool agent_nodes_match(const char *pattern, uint32_t major, uint32_t minor);
