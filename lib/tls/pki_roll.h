/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The roll-over of the dispatcher's CA (docs/decisions/certificates.md). During the grace period
 * there is a successor beside the CA in force:
 *
 *     next/ca.pem          next/ca.key           the successor; it signs agents' certificates
 *     next/proof.pem                             its name and key, signed by the CA in force
 *     next/dispatcher.pem  next/dispatcher.key   what the dispatcher will have
 *     next/moved/ID                              agents that trust the successor
 *
 * The CA in force still signs the dispatcher's certificate, and those of servers that join. Folders
 * called `beginning` and `retiring` are on the way to `next` and away from it. The key of a CA that
 * is retired is removed.
 *
 * Threads and processes: safe to call from several at once. Blocks on the lock and the disk.
 */
#pragma once

#include <stdbool.h>

#include "base/error.h"

/* Begins a grace period. -EEXIST if one is under way, -ENOENT if the CA's key is kept elsewhere. */
int blx_pki_roll_begin(const char *data_dir, struct blx_error *err);

/* Ends it: the successor is the CA, and nobody is trusted because of the old one. -ENOENT if none
 * is under way. */
int blx_pki_roll_retire(const char *data_dir, struct blx_error *err);

/* -ENOENT, with the way out, unless a grace period is under way. Takes no lock. */
int blx_pki_roll_check(const char *data_dir, struct blx_error *err);

enum blx_pki_place {
    BLX_PKI_STAYED, /* the agent needs the old CA */
    BLX_PKI_MOVED,  /* its credentials are by the successor, and trust it */
};

/* Notes where the agent is. Changes nothing without a grace period, or if that is noted already. */
int blx_pki_roll_note(const char *data_dir, const char *agent_id, enum blx_pki_place place,
                      struct blx_error *err);

/* Where it is by the notes. Takes no lock. */
int blx_pki_roll_look(const char *data_dir, const char *agent_id, enum blx_pki_place *place,
                      struct blx_error *err);
