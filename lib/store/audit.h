/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The audit log: who changed which agent's history, and how. DIR/audit/NNNNNNNN.log, a line of JSON
 * for each join, renewal, revocation, prune, pin, pause, change of policy, order and refusal.
 *
 *     {"seq": 7, "time": "...Z", "event": "prune", "agent": "web1", "program": "blxrep-dispatcher",
 *      "uid": 998, "text": "...", "checkpoints": ["20261122203600"], "previous": "HASH"}
 *
 * Each line carries the SHA-256 of the line before, so that a line that was changed or taken out
 * shows. Whoever can write the file can make all of it again; that is why each line also goes to
 * syslog, from where the journal or a relay takes it off the host. The folder is only appended to;
 * a file of BLX_AUDIT_FILE_BYTES is followed by the next number, whose first line goes on with the
 * chain. Old files may be moved away: the chain then begins with the oldest that is left.
 *
 * Threads and processes: any number may append; the folder's lock orders them. Waits for the disk.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"
#include "base/timestamp.h"

enum { BLX_AUDIT_FILE_BYTES = 4 * 1024 * 1024, BLX_AUDIT_LISTED = 1000 };

struct blx_audit_entry {
    uid_t uid;         /* whoever did it: a command may act as the data directory's owner by now */
    const char *event; /* "join", "prune", ... */
    const char *agent; /* NULL: it concerns no agent */
    const char *text;  /* for people; NULL: nothing more is to be told */
    const blx_timestamp *checkpoints; /* the first BLX_AUDIT_LISTED are listed */
    size_t checkpoint_count;
};

/* Appends a line, durably, and sends it to syslog. If the disk fails, syslog gets the line all the
 * same: with "seq" and "previous" null. */
int blx_audit_append(const char *data_dir, const struct blx_audit_entry *entry,
                     struct blx_error *err);

enum blx_audit_fault {
    BLX_AUDIT_GOOD,
    BLX_AUDIT_TORN,   /* the line ends too early: a crash came while it was written */
    BLX_AUDIT_BROKEN, /* the line before is another one than when this line was written */
};

struct blx_audit_line {
    const char *path; /* of its file */
    uint64_t number;  /* in its file, from 1 */
    const char *text; /* without the line's end; borrowed */
    enum blx_audit_fault fault;
};

/* Visits every line, the oldest first. What visit() returns below zero ends it and is returned;
 * visit() then fills `err`. A folder that is not there has no lines. */
int blx_audit_each(const char *data_dir,
                   int (*visit)(void *arg, const struct blx_audit_line *line,
                                struct blx_error *err),
                   void *arg, struct blx_error *err);

/* The value of a text or number in a line of ours, into `value`; -ENOENT if the line has none. */
int blx_audit_value(const char *line, const char *key, char *value, size_t bytes);
