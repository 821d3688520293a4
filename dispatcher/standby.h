/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A standby: a dispatcher that waits until nobody has the data directory, which is on a filesystem
 * of several hosts, and then has it. It looks twice a second, so what decides how long a takeover
 * takes is how soon the filesystem lets go of a lock whose host is gone.
 *
 * While it waits it listens for no agent; they try their next address. It answers `status`, at a
 * control socket of its own, with what the others told, and refuses every other question. To the
 * service manager it is ready, and gives signs of life.
 *
 * Threads: one, main().
 */
#pragma once

#include "base/error.h"
#include "config/config.h"
#include "store/member.h"
#include "store/store.h"

/*
 * Waits, and opens `store` with its lock; `member` has entered by then, and is the caller's. 1: a
 * signal arrived at `signal_fd` that ends it, and there is nothing to be closed. SIGHUP changes
 * nothing. Otherwise the errors of blx_store_open(), apart from -EBUSY.
 */
int dispatcher_standby_wait(const struct blx_config *config, int signal_fd, struct blx_store *store,
                            struct blx_member *member, struct blx_error *err);
