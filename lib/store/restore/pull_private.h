/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection of a pull, for pull.c, and the plans that come over it, for pull_plan.c. Private
 * to lib/store.
 *
 * Threads: those of pull.h.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "store/restore/pull.h"
#include "store/restore/restore_run_private.h"

enum {
    BLX_PULL_MAX_FRAMES = 1024, /* that were asked for and have not come */
    BLX_PULL_ANSWER_MS = 60 * 1000,
};

struct blx_pull {
    struct blx_pull_request request;
    struct blx_conn *conn; /* owned; NULL: lost, or not made yet */
    struct blx_restore_offer offer;
    struct blx_restore_volume *volumes; /* owned; offer.volume_count of them */
    uint64_t heard_ns;                  /* when something came that was asked for */
    /* The plan that the dispatcher has now; frames are asked for by their number in it. */
    bool planned;
    uint32_t plan_volume, plan_frames;
    uint64_t plan_start;
    bool takes_over; /* the dispatcher has sent HANDOVER */
};

/*
 * The next message that is no PING. -ENOLINK: the connection is lost, or the dispatcher stops, and
 * another one may go on; pull->conn is NULL then. -EREMOTEIO: the dispatcher gives up, and says
 * why. -EPROTO: it sent another type than `wanted`.
 */
int blx_pull_receive(struct blx_pull *pull, enum blx_message_type wanted,
                     struct blx_message *message, struct blx_error *err);

/* -ENOLINK as above. */
int blx_pull_send(struct blx_pull *pull, const struct blx_message *message, struct blx_error *err);

/* The connection counts as lost. */
void blx_pull_hang_up(struct blx_pull *pull);

/* Makes the connection again, with pauses that grow. -ETIMEDOUT after the request's patience,
 * -EACCES if the dispatcher refuses, -EPROTO if it offers something else; -ENOMEM. */
int blx_pull_reconnect(struct blx_pull *pull, struct blx_error *err);

/*
 * Asks for the window that begins at plan->start_block, and fills the plan: without what is done in
 * the journal, which may be NULL. An entry's `segment` is the number of its frame. -EPROTO with the
 * reason if the dispatcher's plan makes no sense; -ENOMEM; as blx_pull_receive().
 */
int blx_pull_plan(struct blx_pull *pull, uint32_t volume, struct blx_journal *journal,
                  struct blx_plan *plan, struct blx_error *err);

/* The first step of it: the entries of the window, sorted by block, for a plan that knows the
 * volume's size. */
int blx_pull_take_plan(struct blx_pull *pull, uint32_t volume, struct blx_plan *plan,
                       struct blx_error *err);

/*
 * The plans of a delta: the target is compared with the volume (compare_private.h), and only what
 * differs is planned. `key` is the volume's (NULL: it is not encrypted), copied; `progress` is told
 * of the comparison, and may be NULL. The target is attached before the first plan.
 */
struct blx_pull_delta;
int blx_pull_delta_new(struct blx_pull *pull, uint32_t volume, const struct blx_volume_key *key,
                       const struct blx_restore_progress *progress, struct blx_pull_delta **delta,
                       struct blx_error *err);
void blx_pull_delta_free(struct blx_pull_delta *delta);
void blx_pull_delta_attach(struct blx_pull_delta *delta, const struct blx_restore_output *output);
void blx_pull_delta_reconnected(struct blx_pull_delta *delta);

/* As blx_pull_plan(), and as blx_compare_next(). */
int blx_pull_delta_plan(struct blx_pull_delta *delta, struct blx_plan *plan, struct blx_error *err);
