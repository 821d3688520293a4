/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent's name goes to another machine: DIR/pki/handovers/ID, made by a restore whose token
 * "takes over". docs/decisions/network_restore.md says why it works this way.
 *
 * The disk that was restored has the old certificate and its key on it, so that machine and the old
 * one show the same. What tells them apart is the hardware (hardware.h), which the restoring
 * machine told before it was done. That proof is good until the machine has a certificate of its
 * own; from then on the certificate alone decides.
 *
 *     begin ──► WAITING ────────────────────► SETTLED
 *                  │  certificates of before:    │  certificates of before are refused;
 *                  │  only from that hardware;   │  those that were signed since are good
 *                  │  those signed since: good   │
 *                  └──────── undo ───────────────┴──► UNDONE
 *                                                    certificates of before are good; those that
 *                                                    were signed since are refused, and, if there
 *                                                    was none yet, that hardware
 *
 * Another restore that takes over begins again, from any state. A certificate that a token or
 * `enroll` gives is a person's word, and good in all states.
 *
 * The file is text, changes by rename under the lock of DIR/pki, and is read without it:
 *
 *     blxrep handover 1
 *     waiting             or settled, undone
 *     20261130063000      when the restore was complete
 *     20261130060000      the checkpoint
 *     HEX                 the identity of its hardware
 *     192.0.2.7:40012     where it came from, for people
 *     SERIAL              of each certificate that was signed since, a line
 *
 * Threads and processes: safe to call from several at once. Blocks on the lock and the disk.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/name.h"
#include "base/timestamp.h"
#include "wire/message.h"

struct blx_handover {
    enum blx_handover_state state; /* NONE: there is none, and the rest is zero */
    blx_timestamp since;
    blx_timestamp checkpoint;
    uint8_t hardware[BLX_HARDWARE_BYTES];
    char peer[BLX_TEXT_BYTES];
};

/* The machine with `handover->hardware` is the agent from now on, as soon as it comes. All
 * certificates that were signed for the agent so far are good for nothing else. `handover->state`
 * is not looked at. Durable when it returns. -EINVAL if the hardware is not known. */
int blx_handover_begin(const char *data_dir, const char *agent_id,
                       const struct blx_handover *handover, struct blx_error *err);

/* -EBADMSG if the file is damaged. */
int blx_handover_look(const char *data_dir, const char *agent_id, struct blx_handover *handover,
                      struct blx_error *err);

enum blx_handover_verdict {
    BLX_HANDOVER_GOOD,      /* the certificate is the agent's */
    BLX_HANDOVER_NEW,       /* it is, and was signed since: a state WAITING is over */
    BLX_HANDOVER_TO_PROVE,  /* it is, if the machine has the hardware */
    BLX_HANDOVER_NOT_THERE, /* it is, unless the machine has the hardware */
};

/* What a certificate of the agent with this serial number is worth. -EACCES with the reason if it
 * is refused; `handover` is filled then, too, and after any other error it is not known. */
int blx_handover_check(const char *data_dir, const char *agent_id, const char *serial,
                       struct blx_handover *handover, enum blx_handover_verdict *verdict,
                       struct blx_error *err);

/* Whether a machine with this hardware may come in after that verdict; -EACCES with the reason. */
int blx_handover_prove(const struct blx_handover *handover, const char *agent_id,
                       enum blx_handover_verdict verdict,
                       const uint8_t hardware[BLX_HARDWARE_BYTES], struct blx_error *err);

/* The machine of the handover `seen` has a certificate of its own on its disk. Does nothing unless
 * that one is still WAITING. Durable when it returns. */
int blx_handover_settle(const char *data_dir, const char *agent_id, const struct blx_handover *seen,
                        struct blx_error *err);

/* The machine of before is the agent again. -ENOENT if the name was never handed over, -EALREADY if
 * that is undone already. Durable when it returns. */
int blx_handover_undo(const char *data_dir, const char *agent_id, struct blx_error *err);
