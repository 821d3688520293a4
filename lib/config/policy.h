/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies: settings that a dispatcher has for some of its agents only. Each file of the policy
 * folder is one policy: patterns of agents' IDs, and settings for the agents that match any of
 * them.
 *
 *     agents: ["web*", "db[1-3]"]
 *     sync-freq: "30s"
 *     retention: { keep-last: 20 }
 *     bandwidth-limit: "20M"
 *     exclude: ["sdb"]
 *     quota: { bytes: "500G", checkpoints: 1000 }
 *     encryption: "required"
 *     restore-test: { every: "1d", at: "02:00-05:00", within: "5m", expect: "login:" }
 *     suspicious: { sensitivity: "high" }
 *
 * One rule decides if several match: the files are read in the order of their names, as drop-ins
 * are, and for each key the last file that has it wins. A key is replaced whole: `retention`,
 * `exclude`, `quota`, `restore-test` and `suspicious` are never combined. For a key that no policy
 * has the dispatcher's own setting counts.
 *
 * Threads: a set is filled by one thread and then only read. Reading files waits for the disk.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/hours.h"
#include "config/config.h"
#include "store/prune/retention.h"
#include "store/signal/sensitivity.h"
#include "wire/message.h"

enum blx_policy_key {
    BLX_POLICY_SYNC_FREQ,
    BLX_POLICY_RETENTION,
    BLX_POLICY_BANDWIDTH_LIMIT,
    BLX_POLICY_EXCLUDE,
    BLX_POLICY_QUOTA,
    BLX_POLICY_ENCRYPTION,
    BLX_POLICY_RESTORE_TEST,
    BLX_POLICY_SUSPICIOUS,
    BLX_POLICY_KEYS,
};

/* Whether an agent may send its data in the clear. */
enum blx_policy_encryption {
    BLX_POLICY_ENCRYPTION_OPTIONAL = 0,
    BLX_POLICY_ENCRYPTION_REQUIRED,
    BLX_POLICY_ENCRYPTIONS,
};

enum { BLX_POLICY_EXPECT_BYTES = 256, BLX_POLICY_COMMAND_BYTES = 384 };

/* How an agent's checkpoints are tested by themselves (proof/plan.h). */
struct blx_policy_test {
    uint64_t every_ms; /* 0: never */
    uint64_t within_ms;
    uint64_t level;                         /* 1 or 2, as `blxrep dispatcher test` takes it */
    struct blx_hours hours;                 /* in which a test may begin */
    char expect[BLX_POLICY_EXPECT_BYTES];   /* "": a login prompt */
    char command[BLX_POLICY_COMMAND_BYTES]; /* "": none */
};

/* "optional", "required" */
const char *blx_policy_encryption_name(enum blx_policy_encryption encryption);

/* "sync-freq", ... */
const char *blx_policy_key_name(enum blx_policy_key key);

struct blx_policy {
    char *path;    /* owned: its file */
    char **agents; /* owned, agent_count of them: patterns, as fnmatch(3) knows them */
    size_t agent_count;
    unsigned given;                              /* a bit, 1 << key, for each key that it sets */
    struct blx_config settings;                  /* owned: the values */
    char bandwidth_limit[BLX_POLICY_TEXT_BYTES]; /* this value as text, as it is written */
    enum blx_policy_encryption encryption;
    struct blx_policy_test test;
    enum blx_sensitivity suspicious;
};

struct blx_policies {
    struct blx_policy *list; /* owned, in the order in which they count */
    size_t count;
};
#define BLX_CLEANUP_POLICIES BLX_CLEANUP(blx_policies_done)

/* Reads one file. -EINVAL with file, line, key, cause and hint, or why it cannot be read. `policy`
 * is written only on success. */
int blx_policy_read(const char *path, struct blx_policy *policy, struct blx_error *err);
void blx_policy_done(struct blx_policy *policy);

/* Whether a file of this name in the policy folder is a policy: *.yaml, and not hidden. */
bool blx_policy_is_file(const char *name);

/*
 * Reads every *.yaml of `dir` whose name does not begin with a dot. All or none: the first file
 * that is wrong is the error. The default folder may be missing: then there are no policies.
 * `policies` is written only on success.
 */
int blx_policies_read(const char *dir, struct blx_policies *policies, struct blx_error *err);

/* The set may be all-zero. */
void blx_policies_done(struct blx_policies *policies);

/* The policy that decides `key` for the agent; NULL if none does. `pattern` (may be NULL) becomes
 * the one of its patterns that matches. */
const struct blx_policy *blx_policies_find(const struct blx_policies *policies,
                                           enum blx_policy_key key, const char *agent_id,
                                           const char **pattern);

/* The settings of one agent, in memory of their own. */
struct blx_policy_verdict {
    uint64_t sync_freq_ms;
    struct blx_retention retention;
    char bandwidth_limit[BLX_POLICY_TEXT_BYTES]; /* "": none */
    /* Patterns, each with its NUL. */
    char exclude[BLX_POLICY_TEXT_BYTES];
    size_t exclude_bytes;
    struct blx_quota quota;
    enum blx_policy_encryption encryption;
    struct blx_policy_test test;
    enum blx_sensitivity suspicious;
};

/*
 * One setting of a verdict as CONTROL_VERDICT carries it, and back; the source and the file are the
 * caller's. -EBADMSG for a key that is not known here, or a value that is none.
 */
void blx_policy_verdict_put(const struct blx_policy_verdict *verdict, enum blx_policy_key key,
                            struct blx_control_verdict *told);
int blx_policy_verdict_take(const struct blx_control_verdict *told,
                            struct blx_policy_verdict *verdict, struct blx_error *err);

/* Whether both say the same for this key. */
bool blx_policy_verdict_agrees(const struct blx_policy_verdict *a,
                               const struct blx_policy_verdict *b, enum blx_policy_key key);

/* `own`: the settings that count if no policy has others; the dispatcher has sync-freq and
 * retention. */
void blx_policies_judge(const struct blx_policies *policies, const struct blx_policy_verdict *own,
                        const char *agent_id, struct blx_policy_verdict *verdict);
