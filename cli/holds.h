/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a disk, a partition or an image holds, in words for a person: "ext4 'data'", "a gpt
 * partition table". holds.c asks libblkid, which knows some hundred signatures. blxrep-static is
 * linked with holds_builtin.c, which knows those that servers have: no part of that program is
 * under the LGPL except the C library. Private to the command.
 *
 * Threads: one. Blocks on the disk.
 */
#pragma once

enum { CLI_HOLDS_BYTES = 256 };

/* `fd` is open for reading. "" if nothing is known. */
void cli_holds_describe(int fd, char text[CLI_HOLDS_BYTES]);
