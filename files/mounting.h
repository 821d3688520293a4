/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A kernel mounts a server's filesystem: read-only, without devices, programs and set-uid rights.
 *
 * Threads: no shared state. Blocks as mount(2).
 */
#pragma once

#include "base/error.h"

/* Whether its journal is replayed, which writes to the device. */
enum files_replay { FILES_REPLAY_NOTHING, FILES_REPLAY_JOURNAL };

/* -EOPNOTSUPP for what is no filesystem by itself, such as a part of an array. */
int files_mount_check(const char *filesystem, struct blx_error *err);

/* Makes the folder `point` if there is none. */
int files_mount(const char *device, const char *filesystem, const char *point,
                enum files_replay replay, struct blx_error *err);
