/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unit that tells from inside of a server whether its services came up. It is written into the
 * overlay, into each ext4 filesystem that has /etc/systemd/system, by debugfs in a cage (cage.h).
 * One of them is the root, or none if that is of another kind: the boot shows it (watch.h).
 * The store and the checkpoint never have it.
 *
 *     blxrep-test.service, started with sysinit.target ──lines──► ttyS1 ──► watch.h
 *
 * Each line begins with a word and a number that nobody knew before, so no other text passes for
 * one:
 *
 *     blxrep-test NUMBER up                   systemd started us
 *     blxrep-test NUMBER state running        what `systemctl is-system-running` says at the end
 *     blxrep-test NUMBER failed a.service     each unit that failed
 *     blxrep-test NUMBER said TEXT            the last lines of the command
 *     blxrep-test NUMBER command 0            its exit status
 *     blxrep-test NUMBER done
 *     blxrep-test NUMBER alive TEXT           the answer to each line that it is sent
 *
 * Threads: one.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"
#include "proof/bench.h"

enum { PROOF_NUMBER_BYTES = 33 }; /* 128 bits as text */

struct proof_plant {
    char number[PROOF_NUMBER_BYTES];
    bool planted;   /* in at least one filesystem */
    char where[96]; /* "/dev/vda3" */
    char why[200];  /* not, if it is not */
};

/* `command` is for /bin/sh; "": none. What has no such filesystem is no error: `why` says so. */
int proof_plant(const struct proof_bench *bench, const char *command, struct proof_plant *plant,
                struct blx_error *err);
