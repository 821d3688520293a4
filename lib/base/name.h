/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that become file names: an agent's ID and a volume's name. Both come from outside, so they
 * are checked here before they are used: 1 to 64 characters out of A-Z a-z 0-9 . _ -, the first one
 * a letter or a digit.
 *
 * Threads: no shared state.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

enum { BLX_NAME_BYTES = 65 }; /* 64 characters and the NUL */

/* `what` names the object in the message: "agent ID", "volume name". */
int blx_name_check(const char *what, const char *name, struct blx_error *err);

/*
 * A volume's name from the path by which the user named its device: "/dev/" is left out, and a
 * character that is not allowed in a name becomes '-'. "/dev/sda" -> "sda",
 * "/dev/disk/by-id/ata-X:1" -> "disk-by-id-ata-X-1". If it is too long it keeps its end.
 */
void blx_name_from_device(const char *device_path, char name[BLX_NAME_BYTES]);

/* This host's name, made a name in the same way and cut to 60 characters; "host" if it has none. */
void blx_name_of_host(char name[BLX_NAME_BYTES]);
