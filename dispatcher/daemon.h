/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon as a whole: brings its parts up in the order in which they need each other, serves,
 * and takes them down again.
 *
 * Up: store (and its lock) -> PKI -> TLS -> listening socket -> threads -> metrics -> control
 * socket
 * -> READY.
 * Down: accepting ends, sessions are told, they sync what they have and say GOODBYE, all threads
 * are joined; those that sit in a disk call after DISPATCHER_STOP_MS are left to the process's
 * end, which is as safe for the store as a crash (I10).
 */
#pragma once

#include "base/error.h"
#include "config/config.h"
#include "config/policy.h"

/*
 * Runs until another signal than SIGHUP arrives at `signal_fd`, a signalfd; its signals are
 * blocked. SIGHUP has the policies read again; where one is wrong the old ones stay. `policies`,
 * those to begin with, are taken over.
 */
int dispatcher_daemon_run(const struct blx_config *config, struct blx_policies *policies,
                          int signal_fd, struct blx_error *err);
