/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a verification's report is filled. Private to lib/store.
 *
 * Threads: one thread.
 */
#pragma once

#include "store/store.h"
#include "store/verify/verify_report.h"

/* A new damage of the report in `file` (an absolute path); NULL if memory is short. */
struct blx_damage *blx_verify_report_add(struct blx_verify_report *report,
                                         struct blx_agent_store agent, const char *volume,
                                         const char *file);

/* Notes that the damage number `damage` hurts the checkpoint. -ENOMEM. */
int blx_damage_hurts(struct blx_damage *damage, blx_timestamp checkpoint);
