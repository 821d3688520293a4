/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Working in a data directory as its owner, even if root begins. The owner may put links and pipes
 * there, and the service, which runs as the owner, must be able to read what is written.
 *
 * A process that wanted to die with its parent wants that as the other user, too.
 *
 * Threads: call it while there is one.
 */
#pragma once

#include <sys/types.h>

#include "base/error.h"

enum blx_owner {
    BLX_OWNER_KEPT,    /* the process is who it was: it is not root's, or root owns the directory,
                          or there is none */
    BLX_OWNER_BECAME,  /* the process is the owner, for good */
    BLX_OWNER_OUTSIDE, /* the process is root still: the owner cannot come to the directory */
};

/* Called after everything of root's is open, and before anything below the directory is touched. */
int blx_owner_become(const char *data_dir, enum blx_owner *owner, struct blx_error *err);

/* The same until blx_owner_leave(), for a command that writes as root afterwards: the process stays
 * root's, and acts as the owner. */
int blx_owner_visit(const char *data_dir, enum blx_owner *owner, struct blx_error *err);

/* Changes nothing after BLX_OWNER_KEPT or BLX_OWNER_OUTSIDE. */
int blx_owner_leave(enum blx_owner owner, struct blx_error *err);

/* Within a visit: as root for something that lies outside of the directory, such as an output, and
 * then as the owner again. Without a visit both change nothing. */
struct blx_owner_errand {
    uid_t uid;
    gid_t gid;
};
int blx_owner_step_out(struct blx_owner_errand *errand, struct blx_error *err);
int blx_owner_step_back(const struct blx_owner_errand *errand, struct blx_error *err);
