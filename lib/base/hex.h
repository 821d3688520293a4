/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes as hexadecimal digits, as hashes and identities are shown.
 *
 * Threads: any.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Writes two small digits for each byte, and a NUL: `text` has room for 2 * count + 1. */
void blx_hex_format(const uint8_t *bytes, size_t count, char *text);
