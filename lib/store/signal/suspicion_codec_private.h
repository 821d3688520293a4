/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of the mark of a suspicious checkpoint; STORE.md explains them. Private to lib/store.
 *
 * Threads: pure.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "store/layout_private.h"
#include "store/signal/suspicion.h"

/* The text is cut to fit and cleaned. */
void blx_suspicion_encode(const struct blx_suspicion *suspicion, struct blx_suspicion_disk *disk);

/* -EBADMSG, with the reason; -ENOTSUP for a newer version. `suspicion` is written only on success.
 */
int blx_suspicion_decode(const void *content, size_t bytes, struct blx_suspicion *suspicion,
                         struct blx_error *err);
