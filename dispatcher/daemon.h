/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon as a whole: brings its parts up in the order in which they need each other, serves,
 * and takes them down again.
 *
 * Up: store (and its lock, for which a standby waits) -> place among its dispatchers -> PKI -> TLS
 * -> listening socket -> neighbours -> metrics -> control socket -> events -> scheduler -> pruner
 * and rewriter -> READY.
 *
 * Down: accepting ends and the sessions are told to end. They sync the frames that they have and
 * say GOODBYE. All threads are joined. If one sits in a disk call after DISPATCHER_STOP_MS, the
 * process exits without it, which is as safe for the store as a crash (I10).
 */
#pragma once

#include "base/error.h"
#include "config/config.h"
#include "config/policy.h"

/*
 * Runs until a signal other than SIGHUP arrives at `signal_fd`, a signalfd whose signals are
 * blocked. On SIGHUP the policies and the configuration, with the words of the command line, are
 * read again; if one is wrong the old ones stay. The first `policies` are taken over.
 */
struct dispatcher_words {
    int count; /* argc and argv of main() */
    char **list;
};

int dispatcher_daemon_run(const struct blx_config *config, struct dispatcher_words words,
                          struct blx_policies *policies, int signal_fd, struct blx_error *err);
