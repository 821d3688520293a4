/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a record of a test; STORE.md explains them. Private to lib/store.
 *
 * Threads: pure.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "store/checkpoint/tested.h"
#include "store/layout_private.h"

/* Texts are cut to fit and cleaned. */
void blx_tested_encode(const struct blx_tested *tested, struct blx_tested_disk *disk);

/* -EBADMSG, with the reason; -ENOTSUP for a newer version. `tested` is written only on success. */
int blx_tested_decode(const void *content, size_t bytes, struct blx_tested *tested,
                      struct blx_error *err);
