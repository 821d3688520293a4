/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is an agent protected, and what keeps it from being? blx_protection_examine() makes the one
 * judgement that `blxrep status`, its exit status, the metrics, on-event, the log and `restore`
 * print.
 *
 * An agent is protected while it is connected and has a checkpoint that is young enough, whole and
 * consistent. "Crash" counts as consistent: it is the state of a disk after a power cut, and the
 * best that `freeze: false` or an EFI partition allow.
 *
 * Every reason has a name, a way out, and an entry of that name in blxrep-recovery(7). A new one is
 * a value of enum blx_reason, a row in the table of protection.c, and a place in that function.
 *
 * Times in texts are local, with their offset: JSON has them in UTC beside the text.
 *
 * Threads: all functions are pure, but for the zone of $TZ.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/message.h"

/* From good to bad: a worse judgement hides the better ones, and is shown first in a list. */
enum blx_protection {
    BLX_PROTECTED = 0,
    BLX_PROTECTION_ARCHIVED,     /* somebody has archived it: nobody expects anything of it */
    BLX_PROTECTION_FIRST_SYNC,   /* connected, but it or a disk has no checkpoint yet */
    BLX_PROTECTION_PAUSED,       /* somebody has paused it, which hides everything else */
    BLX_PROTECTION_REVOKED,      /* somebody has revoked it; its checkpoints stay */
    BLX_PROTECTION_NEVER_JOINED, /* it was enrolled, and never connected */
    BLX_PROTECTION_DAMAGED,      /* the last checkpoint lacks blocks that could not be read, or the
                                    next one will; also if a disk is gone */
    BLX_PROTECTION_INCONSISTENT, /* the last checkpoint's consistency is "none" */
    BLX_PROTECTION_LATE,         /* the last checkpoint is older than blx_protection_limit_s(), or
                                    the first sync makes no progress */
    BLX_PROTECTION_NOT_STORED,   /* the store takes nothing of it: it is in trouble, or a policy
                                    forbids it */
    BLX_PROTECTION_LOST,         /* not connected for blx_protection_away_ms() */
};

enum {
    BLX_PROTECTIONS = BLX_PROTECTION_LOST + 1,
    BLX_PROTECTION_AWAY_MS = 60 * 1000,         /* a reboot or an upgrade may take that long */
    BLX_PROTECTION_SHORT_AWAY_MS = 5 * 1000,    /* an agent that lost its session comes back */
    BLX_PROTECTION_STALLED_MS = 15 * 60 * 1000, /* a first sync without any progress */
};

/* What a judgement is for. The remarks at the end leave an agent protected. */
enum blx_reason {
    BLX_REASON_NONE = 0,
    BLX_REASON_NO_DISPATCHER,
    BLX_REASON_NOT_CONNECTED, /* a remark, until blx_protection_away_ms() have passed */
    BLX_REASON_NO_SESSION,    /* the same, as the agent sees it */
    BLX_REASON_NEVER_JOINED,
    BLX_REASON_ARCHIVED,
    BLX_REASON_PAUSED,
    BLX_REASON_REVOKED,
    BLX_REASON_STORE_FULL,
    BLX_REASON_STORE_READ_ONLY,
    BLX_REASON_STORE_DENIED,
    BLX_REASON_STORE_GONE,
    BLX_REASON_STORE_FAILED,
    BLX_REASON_STORE_DAMAGED,
    BLX_REASON_QUOTA, /* a remark, until it is used up */
    BLX_REASON_UNENCRYPTED,
    BLX_REASON_FIRST_SYNC,
    BLX_REASON_FIRST_SYNC_STALLED,
    BLX_REASON_CHECKPOINT_FAILED, /* a remark, until a checkpoint is late */
    BLX_REASON_LATE,              /* for no reason that is known */
    BLX_REASON_INCONSISTENT,
    BLX_REASON_UNREADABLE,
    BLX_REASON_DISK_AWAY,
    BLX_REASON_PASS_RUNS, /* a full pass or a rescan; a remark, until a checkpoint is late */

    BLX_REASON_HOOK_FAILED, /* from here on always remarks */
    BLX_REASON_CERTIFICATE_ENDS,
    BLX_REASON_NOT_FROZEN,
    BLX_REASON_PRUNE_HELD,
    BLX_REASON_MISSED_EVENTS,
};
enum { BLX_REASONS = BLX_REASON_MISSED_EVENTS + 1, BLX_JUDGEMENT_TEXT_BYTES = 512 };

struct blx_judgement {
    enum blx_protection protection;
    enum blx_reason reason;
    char object[BLX_NAME_BYTES + 16]; /* "the agent 'web1'", "the store", "the dispatcher" */
    blx_timestamp since;              /* 0: not known */
    char text[BLX_TEXT_BYTES];        /* the rest of a sentence; "": there is nothing to say */
};

/* Fills all of `judgement`. */
void blx_protection_examine(const struct blx_control_agent *agent, uint64_t now_realtime_ns,
                            struct blx_judgement *judgement);

/*
 * The judgement that an agent's own answer (CONTROL_SELF, CONTROL_AGENT) leads to. It knows why it
 * is not connected; what only a dispatcher knows, such as a revocation or a full store, is in the
 * refusal. Of a checkpoint that it did not take itself it knows nothing bad.
 */
void blx_protection_examine_self(const struct blx_control_self *self,
                                 const struct blx_control_agent *agent, uint64_t now_realtime_ns,
                                 struct blx_judgement *judgement);

/* Parts of the same judgement. The reason's text goes to `text`, which is returned. */
enum blx_protection blx_protection_judge(const struct blx_control_agent *agent,
                                         uint64_t now_realtime_ns);
const char *blx_protection_explain(const struct blx_control_agent *agent, uint64_t now_realtime_ns,
                                   char text[BLX_TEXT_BYTES]);

/* "protected", "archived", "first-sync", "paused", "revoked", "never-joined", "damaged",
 * "inconsistent", "late", "not-stored", "lost". */
const char *blx_protection_name(enum blx_protection protection);

/* "store-full" and so on, which is also the entry in blxrep-recovery(7); "" for NONE. */
const char *blx_reason_name(enum blx_reason reason);

/* "the pre-freeze command failed for the last checkpoint"; "" if no hook of it failed. Returns
 * `text`. */
const char *blx_hooks_explain(uint32_t cut_flags, char text[BLX_TEXT_BYTES]);

/* The first thing to do about it, in a few words; "" if there is nothing to do. */
const char *blx_reason_way_out(enum blx_reason reason);

/* What a trouble of the store is told as. */
enum blx_reason blx_trouble_reason(enum blx_trouble_kind kind);

/* "store-full: the store '/data' is full: make room, or prune". "" if there is nothing to say.
 * Returns `text`. */
const char *blx_judgement_format(const struct blx_judgement *judgement,
                                 char text[BLX_JUDGEMENT_TEXT_BYTES]);

/* The age after which a checkpoint is late: two periods and a minute. 0: the period is not known,
 * so there is no limit. */
uint64_t blx_protection_limit_s(uint64_t sync_freq_ms);

/* For how long an agent may be away and count as protected: a minute, but no longer than half its
 * period, so that nobody is told "protected" when the next checkpoint is due and cannot come; five
 * seconds at least. */
uint64_t blx_protection_away_ms(uint64_t sync_freq_ms);

/* The last checkpoint's age in seconds; 0 if it lies in the future. There must be one. */
uint64_t blx_protection_age_s(const struct blx_control_agent *agent, uint64_t now_realtime_ns);

enum { BLX_NEARLY_FULL_PART = 20 };
/* Of how many days more, or fewer, status, events and logs speak. */
enum {
    BLX_CERT_WARNING_DAYS = 30,
    BLX_CA_WARNING_DAYS = 365, /* a roll-over takes as long as the longest absence of an agent */
};

/* The days until then, rounded down; negative after it. */
int64_t blx_days_until(uint64_t end_s, uint64_t now_realtime_ns);

/* How near the end of a certificate is. Each is an event once. */
enum blx_end {
    BLX_END_FAR,  /* or not known */
    BLX_END_SEEN, /* within `warning_days` */
    BLX_END_NEAR, /* within BLX_CERT_WARNING_DAYS */
    BLX_END_PASSED,
};
enum blx_end blx_end_judge(uint64_t end_s, int64_t warning_days, uint64_t now_realtime_ns);

/* "ends in 12 days", "has ended". Returns `text`. */
const char *blx_end_explain(uint64_t end_s, uint64_t now_realtime_ns, char text[BLX_TEXT_BYTES]);

/* True while the dispatcher's certificate or its CA ends within BLX_CERT_WARNING_DAYS. */
bool blx_certificates_are_ending(const struct blx_control_dispatcher *dispatcher,
                                 uint64_t now_realtime_ns);

/* Whether all is well, as `status --check` and the heartbeat mean it: there are agents that are not
 * archived, all of these are protected, and no certificate ends soon. */
bool blx_protection_is_well(const struct blx_control_dispatcher *dispatcher,
                            const struct blx_control_agent *agents, size_t count,
                            uint64_t now_realtime_ns);

/* True while less than a twentieth of the bytes, or of the inodes, of the data directory's
 * filesystem is free: without an inode no checkpoint can be written either. */
bool blx_data_is_nearly_full(const struct blx_control_dispatcher *dispatcher);

/* "49 B of 1000 B free", and the inodes if these are what is short, or `inodes` is given. The
 * same words for status, log and events. Returns `text`. */
enum blx_data_inodes { BLX_DATA_INODES_IF_FEW, BLX_DATA_INODES_ALWAYS };
const char *blx_data_explain(const struct blx_control_dispatcher *dispatcher,
                             enum blx_data_inodes inodes, char text[BLX_TEXT_BYTES]);
