/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small client of QEMU's monitor protocol: one question at a time, and of an answer only the few
 * values that are needed here, found in its text. Whatever comes is bounded, because a guest may
 * have broken out into QEMU.
 *
 * Threads: one at a time. Blocks up to the deadline.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { BOOT_QMP_ANSWER_BYTES = 256 * 1024 };

struct boot_qmp {
    int fd;     /* owned; -1: none */
    char *text; /* owned: what has come, BOOT_QMP_ANSWER_BYTES of room */
    size_t used;
    size_t taken; /* of it: the line that was answered last */
};

/* Greets QEMU at the descriptor, which becomes the client's in any case. -ETIME at the deadline,
 * -EPIPE if QEMU ends, -EPROTO for what is no answer, -ENOMEM. */
int boot_qmp_open(struct boot_qmp *qmp, int fd, uint64_t deadline_ns);

/* One that was only zeroed but for the fd of -1 is fine. */
void boot_qmp_close(struct boot_qmp *qmp);

/* Sends a command, a JSON object. *answer is a line that is valid until the next call; what happens
 * meanwhile ("event") is passed over. The errors of _open(); -EREMOTEIO if QEMU refuses it. */
int boot_qmp_ask(struct boot_qmp *qmp, const char *command, uint64_t deadline_ns,
                 const char **answer);

/* Sums up the numbers called `key` in the answer of query-blockstats, of blocks whose node's name
 * begins with `node`. */
uint64_t boot_qmp_sum(const char *answer, const char *node, const char *key);

/* The number after "NAME=" in what `info registers` says first, in hexadecimal; 0: none. */
uint64_t boot_qmp_register(const char *answer, const char *name);

/* The text called `key` in an answer, without its escapes; false: there is none, or no room. */
bool boot_qmp_text(const char *answer, const char *key, char *text, size_t bytes);
