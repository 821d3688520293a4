/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files that the dispatcher's settings come from: its configuration and its policies. Has one
 * of them changed since it was read? Then `status` and `policy` say so, because what holds is not
 * what the file says. A file counts as changed if its time, size or number is another one.
 *
 * Threads: any. `lock` is a leaf.
 */
#pragma once

#include <pthread.h>
#include <stddef.h>

#include "wire/message.h"

struct dispatcher_source;

struct dispatcher_sources {
    pthread_mutex_t lock;

    /* Guarded by `lock`; main() writes them. */
    struct dispatcher_source *list; /* owned */
    size_t count;
    char restart[BLX_TEXT_BYTES]; /* the options that only a restart adopts; "": none */

    /* Constant. */
    const char *config_path; /* borrowed; NULL: there is none */
    const char *policy_dir;  /* borrowed */
};

/* Looks at the files for the first time. */
void dispatcher_sources_init(struct dispatcher_sources *sources, const char *config_path,
                             const char *policy_dir);
void dispatcher_sources_done(struct dispatcher_sources *sources);

/* What the files are like now: to be taken before they are read, and adopted if that succeeds. */
struct dispatcher_sources_look {
    struct dispatcher_source *list; /* owned */
    size_t count;
};
void dispatcher_sources_look(const struct dispatcher_sources *sources,
                             struct dispatcher_sources_look *look);
void dispatcher_sources_look_done(struct dispatcher_sources_look *look);

/* `look` is taken over. `restart`: as above. */
void dispatcher_sources_adopt(struct dispatcher_sources *sources,
                              struct dispatcher_sources_look *look, const char *restart);

/* What is not in force, and the way out; "" if all is. Blocks on the files' folders. */
void dispatcher_sources_explain(struct dispatcher_sources *sources, char text[BLX_TEXT_BYTES]);
