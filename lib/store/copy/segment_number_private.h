/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Another number for a sealed segment: it stands in the header and in the footer, and in nothing
 * else. Private to lib/store.
 *
 * Threads: no shared state. Waits for the disk.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"

/* Changes the file in place, and flushes it. -EBADMSG if it is no segment of the number `old`. */
int blx_segment_set_number(const char *path, uint32_t old, uint32_t number, struct blx_error *err);
