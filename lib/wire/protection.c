/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/protection.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "base/units.h"
#include "base/when.h"

enum { LATE_SLACK_S = 60, DAY_S = 24 * 3600 };

static const struct {
    const char *name;
    const char *way_out;
} reasons[BLX_REASONS] = {
    [BLX_REASON_NONE] = {"", ""},
    [BLX_REASON_NO_DISPATCHER] = {"no-dispatcher", "start it: systemctl start blxrep-dispatcher"},
    [BLX_REASON_NOT_CONNECTED] = {"not-connected", "look there: systemctl status blxrep-agent"},
    [BLX_REASON_NO_SESSION] = {"no-session", "`blxrep agent check` looks for the cause"},
    [BLX_REASON_NEVER_JOINED] = {"never-joined",
                                 "run there the line that `blxrep dispatcher enroll --token` "
                                 "prints, and start blxrep-agent"},
    [BLX_REASON_ARCHIVED] = {"archived", "`blxrep dispatcher archive --undo` lets it go on"},
    [BLX_REASON_PAUSED] = {"paused", "`blxrep dispatcher resume` ends the pause"},
    [BLX_REASON_REVOKED] = {"revoked", "`blxrep dispatcher enroll` lets it in again"},
    [BLX_REASON_QUOTA] = {"quota", "raise `quota` in its policy, or remove checkpoints"},
    [BLX_REASON_UNENCRYPTED] = {"unencrypted",
                                "give it an `encryption-key`, or change `encryption` in its "
                                "policy"},
    [BLX_REASON_STORE_FULL] = {"store-full", "make room, or `blxrep dispatcher prune`"},
    [BLX_REASON_STORE_READ_ONLY] = {"store-read-only",
                                    "look at the kernel's log, check the filesystem, and mount it "
                                    "writable"},
    [BLX_REASON_STORE_DENIED] = {"store-denied",
                                 "give the files to the dispatcher's user: chown -R blxrep:blxrep"},
    [BLX_REASON_STORE_GONE] = {"store-gone", "mount it, and restart blxrep-dispatcher"},
    [BLX_REASON_STORE_FAILED] = {"store-failed", "look at the kernel's log and at the disk"},
    [BLX_REASON_STORE_DAMAGED] = {"store-damaged",
                                  "`blxrep dispatcher verify` says which checkpoints are hurt"},
    [BLX_REASON_FIRST_SYNC] = {"first-sync", ""},
    [BLX_REASON_FIRST_SYNC_STALLED] = {"first-sync-stalled",
                                       "look at the agent's log: journalctl -u blxrep-agent"},
    [BLX_REASON_CHECKPOINT_FAILED] = {"checkpoint-failed",
                                      "look at the agent's log: journalctl -u blxrep-agent"},
    [BLX_REASON_LATE] = {"late", "look at the agent's log: journalctl -u blxrep-agent"},
    [BLX_REASON_INCONSISTENT] = {"inconsistent",
                                 "let the filesystems be frozen: see \"How consistent\" in "
                                 "blxrep-agent(8)"},
    [BLX_REASON_UNREADABLE] = {"unreadable", "replace the disk while it can still be read"},
    [BLX_REASON_DISK_AWAY] = {"disk-away", "bring the disk back, or take it out of `device`"},
    [BLX_REASON_PASS_RUNS] = {"pass-runs", ""},
    [BLX_REASON_HOOK_FAILED] = {"hook-failed",
                                "run it by hand; the agent's log has what it said: journalctl -u "
                                "blxrep-agent"},
    [BLX_REASON_CERTIFICATE_ENDS] = {"certificate-ends",
                                     "an agent renews it by itself; its log says why it does not: "
                                     "journalctl -u blxrep-agent"},
    [BLX_REASON_NOT_FROZEN] = {"not-frozen", ""},
    [BLX_REASON_PRUNE_HELD] = {"prune-held", "`blxrep dispatcher prune --dry-run`, then --confirm"},
    [BLX_REASON_MISSED_EVENTS] = {"missed-events", ""},
};

const char *blx_reason_name(enum blx_reason reason)
{
    return reasons[reason].name;
}

const char *blx_reason_way_out(enum blx_reason reason)
{
    return reasons[reason].way_out;
}

enum blx_reason blx_trouble_reason(enum blx_trouble_kind kind)
{
    static const enum blx_reason kinds[] = {
        [BLX_TROUBLE_NONE] = BLX_REASON_NONE,
        [BLX_TROUBLE_FULL] = BLX_REASON_STORE_FULL,
        [BLX_TROUBLE_READ_ONLY] = BLX_REASON_STORE_READ_ONLY,
        [BLX_TROUBLE_DENIED] = BLX_REASON_STORE_DENIED,
        [BLX_TROUBLE_GONE] = BLX_REASON_STORE_GONE,
        [BLX_TROUBLE_FAILED] = BLX_REASON_STORE_FAILED,
        [BLX_TROUBLE_DAMAGED] = BLX_REASON_STORE_DAMAGED,
    };
    return kinds[kind];
}

uint64_t blx_protection_limit_s(uint64_t sync_freq_ms)
{
    return sync_freq_ms == 0 ? 0 : 2 * sync_freq_ms / 1000 + LATE_SLACK_S;
}

uint64_t blx_protection_age_s(const struct blx_control_agent *agent, uint64_t now_realtime_ns)
{
    int64_t now = (int64_t)(now_realtime_ns / BLX_NS_PER_S);
    int64_t then = blx_timestamp_to_unix(agent->last_time);
    return now > then ? (uint64_t)(now - then) : 0;
}

static bool is_connected(const struct blx_control_agent *agent)
{
    return agent->status.state != BLX_AGENT_OFFLINE;
}

uint64_t blx_protection_away_ms(uint64_t sync_freq_ms)
{
    uint64_t half_ms = sync_freq_ms / 2;
    if (sync_freq_ms == 0 || half_ms > BLX_PROTECTION_AWAY_MS)
        return BLX_PROTECTION_AWAY_MS;
    return half_ms > BLX_PROTECTION_SHORT_AWAY_MS ? half_ms : BLX_PROTECTION_SHORT_AWAY_MS;
}

/* Not connected for longer than it may be. */
static bool is_away(const struct blx_control_agent *agent)
{
    return !is_connected(agent) && agent->away_ms > blx_protection_away_ms(agent->sync_freq_ms);
}

/* The other disks are protected; that one is not. An agent of before told it in the note alone. */
static bool lacks_a_first_pass(const struct blx_control_agent *agent)
{
    if ((agent->cut_flags & BLX_CUT_FLAGS_TOLD) != 0)
        return (agent->cut_flags & BLX_CUT_LACKS_FIRST_PASS) != 0;
    return strstr(agent->note, "', whose first pass is at ") != NULL;
}

const char *blx_protection_name(enum blx_protection protection)
{
    static const char *const names[BLX_PROTECTIONS] = {
        [BLX_PROTECTED] = "protected",
        [BLX_PROTECTION_ARCHIVED] = "archived",
        [BLX_PROTECTION_FIRST_SYNC] = "first-sync",
        [BLX_PROTECTION_PAUSED] = "paused",
        [BLX_PROTECTION_REVOKED] = "revoked",
        [BLX_PROTECTION_NEVER_JOINED] = "never-joined",
        [BLX_PROTECTION_DAMAGED] = "damaged",
        [BLX_PROTECTION_INCONSISTENT] = "inconsistent",
        [BLX_PROTECTION_LATE] = "late",
        [BLX_PROTECTION_NOT_STORED] = "not-stored",
        [BLX_PROTECTION_LOST] = "lost",
    };
    return (unsigned)protection < BLX_PROTECTIONS ? names[protection] : "unknown";
}

/* Why it makes no progress, as far as that is known. */
static const char *hindrance(const struct blx_control_agent *agent)
{
    return agent->failure[0] != '\0' ? agent->failure : agent->status.reason;
}

static void explain_absence(const struct blx_control_agent *agent, char text[BLX_TEXT_BYTES])
{
    char away[BLX_UNIT_TEXT_BYTES];
    if (agent->away_ms == BLX_AWAY_UNKNOWN)
        snprintf(text, BLX_TEXT_BYTES, "no dispatcher runs%s%.200s",
                 agent->trouble.text[0] != '\0' ? "; " : "", agent->trouble.text);
    else
        snprintf(text, BLX_TEXT_BYTES, "%.180s%snot connected for %s%s", agent->failure,
                 agent->failure[0] != '\0' ? "; " : "", blx_duration_format(agent->away_ms, away),
                 agent->last_checkpoint == 0 ? ", never had a checkpoint" : "");
}

/* What the judgement is made from. */
struct case_file {
    const struct blx_control_agent *agent;
    uint64_t now_realtime_ns;
    struct blx_judgement *judgement;
};

static blx_timestamp ago(const struct case_file *file, uint64_t ms)
{
    uint64_t now_s = file->now_realtime_ns / BLX_NS_PER_S;
    return ms / 1000 < now_s ? blx_timestamp_from_unix((int64_t)(now_s - ms / 1000)) : 0;
}

/* The judgement, with the agent as its object. The text is written by the caller. */
static char *decide(const struct case_file *file, enum blx_protection protection,
                    enum blx_reason reason, blx_timestamp since)
{
    struct blx_judgement *judgement = file->judgement;
    judgement->protection = protection;
    judgement->reason = reason;
    judgement->since = since;
    return judgement->text;
}

static enum blx_reason absence_reason(const struct blx_control_agent *agent)
{
    return agent->away_ms == BLX_AWAY_UNKNOWN ? BLX_REASON_NO_DISPATCHER : BLX_REASON_NOT_CONNECTED;
}

static blx_timestamp absent_since(const struct case_file *file)
{
    return file->agent->away_ms == BLX_AWAY_UNKNOWN ? 0 : ago(file, file->agent->away_ms);
}

static void judge_quota(const struct case_file *file, enum blx_protection protection)
{
    const struct blx_control_agent *agent = file->agent;
    snprintf(decide(file, protection, BLX_REASON_QUOTA, 0), BLX_TEXT_BYTES,
             "its quota is %s: %.180s", agent->quota_state == 1 ? "nearly used up" : "used up",
             agent->quota);
}

static void judge_archive(const struct case_file *file)
{
    char since[BLX_WHEN_TEXT_BYTES];
    blx_timestamp archived = file->agent->archived_since;
    snprintf(decide(file, BLX_PROTECTION_ARCHIVED, BLX_REASON_ARCHIVED, archived), BLX_TEXT_BYTES,
             "archived since %s", blx_when_format(archived, BLX_ZONE_LOCAL, since));
}

static void judge_pause(const struct case_file *file)
{
    const struct blx_control_agent *agent = file->agent;
    char since[BLX_WHEN_TEXT_BYTES], absence[BLX_TEXT_BYTES] = "";
    blx_when_format(agent->paused_since, BLX_ZONE_LOCAL, since);
    if (!is_connected(agent))
        explain_absence(agent, absence);
    snprintf(decide(file, BLX_PROTECTION_PAUSED, BLX_REASON_PAUSED, agent->paused_since),
             BLX_TEXT_BYTES, "paused since %s%s%.180s", since, absence[0] != '\0' ? ", " : "",
             absence);
}

/* The store's trouble is never told as the agent's absence, and hides it. */
static void judge_trouble(const struct case_file *file)
{
    const struct blx_control_agent *agent = file->agent;
    bool damaged = agent->trouble.kind == BLX_TROUBLE_DAMAGED;
    char away[BLX_UNIT_TEXT_BYTES];
    char *text = decide(file, damaged ? BLX_PROTECTION_DAMAGED : BLX_PROTECTION_NOT_STORED,
                        blx_trouble_reason(agent->trouble.kind), agent->trouble.since);
    blx_text_set(file->judgement->object, "the store");
    if (is_away(agent))
        snprintf(text, BLX_TEXT_BYTES, "%.180s; not connected for %s", agent->trouble.text,
                 blx_duration_format(agent->away_ms, away));
    else
        blx_text_copy(text, BLX_TEXT_BYTES, agent->trouble.text);
}

static void judge_absence(const struct case_file *file)
{
    char *text = decide(file, BLX_PROTECTION_LOST, absence_reason(file->agent), absent_since(file));
    if (file->judgement->reason == BLX_REASON_NO_DISPATCHER)
        blx_text_set(file->judgement->object, "the dispatcher");
    explain_absence(file->agent, text);
}

/* What stands in the way of the next checkpoint, of an agent that is connected. */
static enum blx_reason hindrance_reason(const struct blx_control_agent *agent)
{
    if (agent->failure[0] != '\0')
        return BLX_REASON_CHECKPOINT_FAILED;
    if (agent->status.unreadable_bytes > 0)
        return BLX_REASON_DISK_AWAY;
    return agent->status.reason[0] != '\0' ? BLX_REASON_PASS_RUNS : BLX_REASON_LATE;
}

static void judge_lateness(const struct case_file *file, uint64_t limit_s)
{
    const struct blx_control_agent *agent = file->agent;
    char period[BLX_UNIT_TEXT_BYTES];
    const char *why = hindrance(agent);
    blx_timestamp since =
        blx_timestamp_from_unix(blx_timestamp_to_unix(agent->last_time) + (int64_t)limit_s);
    if (!is_connected(agent))
        explain_absence(agent, decide(file, BLX_PROTECTION_LATE, absence_reason(agent), since));
    else
        snprintf(decide(file, BLX_PROTECTION_LATE, hindrance_reason(agent), since), BLX_TEXT_BYTES,
                 "one is due every %s%s%.180s", blx_duration_format(agent->sync_freq_ms, period),
                 why[0] != '\0' ? ": " : "", why);
}

static void judge_first_sync(const struct case_file *file)
{
    const struct blx_control_agent *agent = file->agent;
    char stalled[BLX_UNIT_TEXT_BYTES];
    const char *why = hindrance(agent);
    if (!is_connected(agent))
        explain_absence(agent, decide(file, BLX_PROTECTION_FIRST_SYNC, absence_reason(agent),
                                      absent_since(file)));
    else if (agent->stalled_ms > BLX_PROTECTION_STALLED_MS)
        snprintf(decide(file, BLX_PROTECTION_LATE, BLX_REASON_FIRST_SYNC_STALLED,
                        ago(file, agent->stalled_ms)),
                 BLX_TEXT_BYTES, "the first sync has made no progress for %s%s%.180s",
                 blx_duration_format(agent->stalled_ms, stalled), why[0] != '\0' ? ": " : "", why);
    else
        blx_text_copy(decide(file, BLX_PROTECTION_FIRST_SYNC, BLX_REASON_FIRST_SYNC,
                             ago(file, agent->connected_ms)),
                      BLX_TEXT_BYTES, why);
}

static void judge_damage(const struct case_file *file)
{
    const struct blx_control_agent *agent = file->agent;
    char lacks[BLX_UNIT_TEXT_BYTES];
    if (!is_connected(agent))
        explain_absence(
            agent, decide(file, BLX_PROTECTION_DAMAGED, absence_reason(agent), absent_since(file)));
    else if (agent->last_unreadable_bytes > 0)
        snprintf(decide(file, BLX_PROTECTION_DAMAGED, BLX_REASON_UNREADABLE, agent->last_time),
                 BLX_TEXT_BYTES, "%s of its disks could not be read for the last checkpoint",
                 blx_size_format(agent->last_unreadable_bytes, lacks));
    else if (hindrance(agent)[0] != '\0')
        blx_text_copy(decide(file, BLX_PROTECTION_DAMAGED, hindrance_reason(agent), 0),
                      BLX_TEXT_BYTES, hindrance(agent));
    else
        snprintf(decide(file, BLX_PROTECTION_DAMAGED, BLX_REASON_UNREADABLE, 0), BLX_TEXT_BYTES,
                 "%s of its disks cannot be read",
                 blx_size_format(agent->status.unreadable_bytes, lacks));
}

const char *blx_hooks_explain(uint32_t cut_flags, char text[BLX_TEXT_BYTES])
{
    const uint32_t both = BLX_CUT_PRE_FREEZE_FAILED | BLX_CUT_POST_THAW_FAILED;
    const char *which = (cut_flags & both) == both ? "pre-freeze and the post-thaw"
                        : (cut_flags & BLX_CUT_PRE_FREEZE_FAILED) != 0 ? "pre-freeze"
                                                                       : "post-thaw";
    text[0] = '\0';
    if ((cut_flags & both) != 0)
        snprintf(text, BLX_TEXT_BYTES, "the %s command failed for the last checkpoint", which);
    return text;
}

int64_t blx_days_until(uint64_t end_s, uint64_t now_realtime_ns)
{
    const int64_t left_s = (int64_t)end_s - (int64_t)(now_realtime_ns / BLX_NS_PER_S);
    return left_s / DAY_S - (left_s % DAY_S < 0);
}

enum blx_end blx_end_judge(uint64_t end_s, int64_t warning_days, uint64_t now_realtime_ns)
{
    int64_t days = blx_days_until(end_s, now_realtime_ns);
    if (end_s == 0 || (days >= warning_days && days >= BLX_CERT_WARNING_DAYS))
        return BLX_END_FAR;
    if (days >= BLX_CERT_WARNING_DAYS)
        return BLX_END_SEEN;
    return days >= 0 ? BLX_END_NEAR : BLX_END_PASSED;
}

const char *blx_end_explain(uint64_t end_s, uint64_t now_realtime_ns, char text[BLX_TEXT_BYTES])
{
    int64_t days = blx_days_until(end_s, now_realtime_ns);
    if (days < 0)
        snprintf(text, BLX_TEXT_BYTES, "has ended");
    else
        snprintf(text, BLX_TEXT_BYTES, "ends in %" PRId64 " day%s", days, days == 1 ? "" : "s");
    return text;
}

static bool is_ending(uint64_t end_s, uint64_t now_realtime_ns)
{
    return blx_end_judge(end_s, BLX_CERT_WARNING_DAYS, now_realtime_ns) != BLX_END_FAR;
}

/* A fact that does no harm now and should not surprise anybody later. */
static void remark(const struct case_file *file)
{
    const struct blx_control_agent *agent = file->agent;
    char words[BLX_TEXT_BYTES];
    if (!is_connected(agent))
        explain_absence(agent,
                        decide(file, BLX_PROTECTED, absence_reason(agent), absent_since(file)));
    else if (hindrance(agent)[0] != '\0')
        blx_text_copy(decide(file, BLX_PROTECTED, hindrance_reason(agent), 0), BLX_TEXT_BYTES,
                      hindrance(agent));
    else if (blx_hooks_explain(agent->cut_flags, words)[0] != '\0')
        blx_text_copy(decide(file, BLX_PROTECTED, BLX_REASON_HOOK_FAILED, agent->last_time),
                      BLX_TEXT_BYTES, words);
    else if (is_ending(agent->cert_ends_s, file->now_realtime_ns))
        snprintf(decide(file, BLX_PROTECTED, BLX_REASON_CERTIFICATE_ENDS, 0), BLX_TEXT_BYTES,
                 "its certificate %.200s",
                 blx_end_explain(agent->cert_ends_s, file->now_realtime_ns, words));
    else if (agent->quota_state != 0)
        judge_quota(file, BLX_PROTECTED);
    else if (agent->last_consistency != BLX_CONSISTENCY_FILESYSTEM && agent->note[0] != '\0')
        blx_text_copy(decide(file, BLX_PROTECTED, BLX_REASON_NOT_FROZEN, agent->last_time),
                      BLX_TEXT_BYTES, agent->note);
    else if (agent->prune_hold[0] != '\0')
        blx_text_copy(decide(file, BLX_PROTECTED, BLX_REASON_PRUNE_HELD, 0), BLX_TEXT_BYTES,
                      agent->prune_hold);
    else if (agent->status.missed_events > 0)
        snprintf(decide(file, BLX_PROTECTED, BLX_REASON_MISSED_EVENTS, 0), BLX_TEXT_BYTES,
                 "%" PRIu64 " missed events led to rescans", agent->status.missed_events);
}

/* An agent that has checkpoints: is the last one what it should be? */
static void judge_last_checkpoint(const struct case_file *file)
{
    const struct blx_control_agent *agent = file->agent;
    uint64_t limit_s = blx_protection_limit_s(agent->sync_freq_ms);
    if (limit_s > 0 && blx_protection_age_s(agent, file->now_realtime_ns) > limit_s)
        judge_lateness(file, limit_s);
    else if (agent->last_consistency == BLX_CONSISTENCY_NONE)
        blx_text_copy(
            decide(file, BLX_PROTECTION_INCONSISTENT, BLX_REASON_INCONSISTENT, agent->last_time),
            BLX_TEXT_BYTES, agent->note);
    else if (agent->last_unreadable_bytes > 0 || agent->status.unreadable_bytes > 0)
        judge_damage(file);
    else if (lacks_a_first_pass(agent))
        judge_first_sync(file);
    else
        remark(file);
}

/* What only a dispatcher that runs can tell: why nothing of the agent is stored. False: it is. */
static bool judge_hindrance_to_storing(const struct case_file *file)
{
    const struct blx_control_agent *agent = file->agent;
    if (agent->away_ms == BLX_AWAY_UNKNOWN)
        return false;
    if (agent->unencrypted)
        blx_text_copy(decide(file, BLX_PROTECTION_NOT_STORED, BLX_REASON_UNENCRYPTED, 0),
                      BLX_TEXT_BYTES,
                      "its policy demands encryption, and it sends its data in the clear");
    else if (agent->quota_state == 2)
        judge_quota(file, BLX_PROTECTION_NOT_STORED);
    else if (agent->trouble.kind != BLX_TROUBLE_NONE)
        judge_trouble(file);
    else if (agent->enrolled_since != 0)
        blx_text_copy(decide(file, BLX_PROTECTION_NEVER_JOINED, BLX_REASON_NEVER_JOINED,
                             agent->enrolled_since),
                      BLX_TEXT_BYTES, "it was enrolled, and has never connected");
    else
        return false;
    return true;
}

void blx_protection_examine(const struct blx_control_agent *agent, uint64_t now_realtime_ns,
                            struct blx_judgement *judgement)
{
    const struct case_file file = {agent, now_realtime_ns, judgement};
    *judgement = (struct blx_judgement){.protection = BLX_PROTECTED};
    snprintf(judgement->object, sizeof(judgement->object), "the agent '%s'", agent->agent_id);
    if (agent->archived_since != 0)
        judge_archive(&file);
    else if (agent->revoked)
        blx_text_copy(decide(&file, BLX_PROTECTION_REVOKED, BLX_REASON_REVOKED, 0), BLX_TEXT_BYTES,
                      "its certificate is revoked");
    else if (agent->paused_since != 0)
        judge_pause(&file);
    else if (judge_hindrance_to_storing(&file))
        return;
    else if (is_away(agent))
        judge_absence(&file);
    else if (agent->last_checkpoint == 0)
        judge_first_sync(&file);
    else
        judge_last_checkpoint(&file);
}

void blx_protection_examine_self(const struct blx_control_self *self,
                                 const struct blx_control_agent *agent, uint64_t now_realtime_ns,
                                 struct blx_judgement *judgement)
{
    struct blx_control_agent seen = *agent;
    if (!self->knows_checkpoint)
        seen.last_consistency = BLX_CONSISTENCY_FILESYSTEM;
    blx_protection_examine(&seen, now_realtime_ns, judgement);
    if (judgement->reason == BLX_REASON_NOT_CONNECTED)
        judgement->reason = BLX_REASON_NO_SESSION;
}

enum blx_protection blx_protection_judge(const struct blx_control_agent *agent,
                                         uint64_t now_realtime_ns)
{
    struct blx_judgement judgement;
    blx_protection_examine(agent, now_realtime_ns, &judgement);
    return judgement.protection;
}

const char *blx_protection_explain(const struct blx_control_agent *agent, uint64_t now_realtime_ns,
                                   char text[BLX_TEXT_BYTES])
{
    struct blx_judgement judgement;
    blx_protection_examine(agent, now_realtime_ns, &judgement);
    blx_text_copy(text, BLX_TEXT_BYTES, judgement.text);
    return text;
}

const char *blx_judgement_format(const struct blx_judgement *judgement,
                                 char text[BLX_JUDGEMENT_TEXT_BYTES])
{
    const char *name = blx_reason_name(judgement->reason);
    const char *way_out = blx_reason_way_out(judgement->reason);
    const char *said = judgement->text[0] != '\0' ? ": " : "";
    snprintf(text, BLX_JUDGEMENT_TEXT_BYTES, "%s%s%s%s%s", name, said, judgement->text,
             way_out[0] != '\0' ? ": " : "", way_out);
    return text;
}

static bool has_few_inodes(const struct blx_control_dispatcher *dispatcher)
{
    return dispatcher->data_free_inodes < dispatcher->data_inodes / BLX_NEARLY_FULL_PART;
}

bool blx_data_is_nearly_full(const struct blx_control_dispatcher *dispatcher)
{
    return dispatcher->data_free_bytes < dispatcher->data_bytes / BLX_NEARLY_FULL_PART ||
           has_few_inodes(dispatcher);
}

const char *blx_data_explain(const struct blx_control_dispatcher *dispatcher,
                             enum blx_data_inodes inodes, char text[BLX_TEXT_BYTES])
{
    char left[BLX_UNIT_TEXT_BYTES], size[BLX_UNIT_TEXT_BYTES], more[96] = "";
    if (has_few_inodes(dispatcher) ||
        (inodes == BLX_DATA_INODES_ALWAYS && dispatcher->data_inodes > 0))
        snprintf(more, sizeof(more), ", and %" PRIu64 " of %" PRIu64 " inodes",
                 dispatcher->data_free_inodes, dispatcher->data_inodes);
    snprintf(text, BLX_TEXT_BYTES, "%s of %s free%s",
             blx_size_format(dispatcher->data_free_bytes, left),
             blx_size_format(dispatcher->data_bytes, size), more);
    return text;
}

bool blx_certificates_are_ending(const struct blx_control_dispatcher *dispatcher,
                                 uint64_t now_realtime_ns)
{
    return is_ending(dispatcher->cert_ends_s, now_realtime_ns) ||
           is_ending(dispatcher->ca_ends_s, now_realtime_ns);
}

bool blx_protection_is_well(const struct blx_control_dispatcher *dispatcher,
                            const struct blx_control_agent *agents, size_t count,
                            uint64_t now_realtime_ns)
{
    size_t wanted = 0, well = 0;
    for (size_t i = 0; i < count; i++) {
        enum blx_protection protection = blx_protection_judge(&agents[i], now_realtime_ns);
        wanted += protection != BLX_PROTECTION_ARCHIVED;
        well += protection == BLX_PROTECTED;
    }
    return wanted > 0 && well == wanted &&
           !blx_certificates_are_ending(dispatcher, now_realtime_ns);
}
