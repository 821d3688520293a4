/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/protection.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/text.h"
#include "base/units.h"

enum { LATE_SLACK_S = 60 };

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

enum blx_protection blx_protection_judge(const struct blx_control_agent *agent,
                                         uint64_t now_realtime_ns)
{
    uint64_t limit_s = blx_protection_limit_s(agent->sync_freq_ms);
    if (agent->revoked)
        return BLX_PROTECTION_REVOKED;
    if (agent->paused_since != 0)
        return BLX_PROTECTION_PAUSED;
    if (!is_connected(agent) && agent->away_ms > BLX_PROTECTION_AWAY_MS)
        return BLX_PROTECTION_LOST;
    if (agent->last_checkpoint == 0)
        return BLX_PROTECTION_FIRST_SYNC;
    if (limit_s > 0 && blx_protection_age_s(agent, now_realtime_ns) > limit_s)
        return BLX_PROTECTION_LATE;
    if (agent->last_consistency == BLX_CONSISTENCY_NONE)
        return BLX_PROTECTION_INCONSISTENT;
    return agent->last_unreadable_bytes > 0 || agent->status.unreadable_bytes > 0
               ? BLX_PROTECTION_DAMAGED
               : BLX_PROTECTED;
}

const char *blx_protection_name(enum blx_protection protection)
{
    switch (protection) {
    case BLX_PROTECTED:
        return "protected";
    case BLX_PROTECTION_FIRST_SYNC:
        return "first-sync";
    case BLX_PROTECTION_PAUSED:
        return "paused";
    case BLX_PROTECTION_REVOKED:
        return "revoked";
    case BLX_PROTECTION_DAMAGED:
        return "damaged";
    case BLX_PROTECTION_INCONSISTENT:
        return "inconsistent";
    case BLX_PROTECTION_LATE:
        return "late";
    case BLX_PROTECTION_LOST:
        return "lost";
    }
    return "unknown";
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
        blx_text_copy(text, BLX_TEXT_BYTES, "no dispatcher runs");
    else
        snprintf(text, BLX_TEXT_BYTES, "%.180s%snot connected for %s%s", agent->failure,
                 agent->failure[0] != '\0' ? "; " : "", blx_duration_format(agent->away_ms, away),
                 agent->last_checkpoint == 0 ? ", never had a checkpoint" : "");
}

static void explain_lateness(const struct blx_control_agent *agent, char text[BLX_TEXT_BYTES])
{
    char period[BLX_UNIT_TEXT_BYTES];
    const char *why = hindrance(agent);
    if (!is_connected(agent))
        explain_absence(agent, text);
    else
        snprintf(text, BLX_TEXT_BYTES, "one is due every %s%s%.180s",
                 blx_duration_format(agent->sync_freq_ms, period), why[0] != '\0' ? ": " : "", why);
}

static void explain_pause(const struct blx_control_agent *agent, char text[BLX_TEXT_BYTES])
{
    char since[BLX_RFC3339_TEXT_BYTES], absence[BLX_TEXT_BYTES] = "";
    blx_timestamp_format_rfc3339(agent->paused_since, since);
    if (!is_connected(agent))
        explain_absence(agent, absence);
    snprintf(text, BLX_TEXT_BYTES, "paused since %s%s%.180s", since, absence[0] != '\0' ? ", " : "",
             absence);
}

/* What is damaged, or a fact that does no harm now and should not surprise anybody later. */
static void explain_detail(const struct blx_control_agent *agent, char text[BLX_TEXT_BYTES])
{
    const struct blx_status *status = &agent->status;
    char lacks[BLX_UNIT_TEXT_BYTES];
    if (!is_connected(agent))
        explain_absence(agent, text);
    else if (agent->last_unreadable_bytes > 0)
        snprintf(text, BLX_TEXT_BYTES, "%s of its disks could not be read for the last checkpoint",
                 blx_size_format(agent->last_unreadable_bytes, lacks));
    else if (hindrance(agent)[0] != '\0')
        blx_text_copy(text, BLX_TEXT_BYTES, hindrance(agent));
    else if (status->unreadable_bytes > 0)
        snprintf(text, BLX_TEXT_BYTES, "%s of its disks cannot be read",
                 blx_size_format(status->unreadable_bytes, lacks));
    else if (agent->last_consistency != BLX_CONSISTENCY_FILESYSTEM)
        blx_text_copy(text, BLX_TEXT_BYTES, agent->note);
    else if (agent->prune_hold[0] != '\0')
        blx_text_copy(text, BLX_TEXT_BYTES, agent->prune_hold);
    else if (status->missed_events > 0)
        snprintf(text, BLX_TEXT_BYTES, "%" PRIu64 " missed events led to rescans",
                 status->missed_events);
}

const char *blx_protection_explain(const struct blx_control_agent *agent, uint64_t now_realtime_ns,
                                   char text[BLX_TEXT_BYTES])
{
    text[0] = '\0';
    switch (blx_protection_judge(agent, now_realtime_ns)) {
    case BLX_PROTECTION_LOST:
        explain_absence(agent, text);
        break;
    case BLX_PROTECTION_LATE:
        explain_lateness(agent, text);
        break;
    case BLX_PROTECTION_PAUSED:
        explain_pause(agent, text);
        break;
    case BLX_PROTECTION_REVOKED:
        blx_text_copy(text, BLX_TEXT_BYTES,
                      "its certificate is revoked; `blxrep dispatcher enroll` lets it in again");
        break;
    case BLX_PROTECTION_INCONSISTENT:
        blx_text_copy(text, BLX_TEXT_BYTES, agent->note);
        break;
    case BLX_PROTECTION_FIRST_SYNC:
    case BLX_PROTECTION_DAMAGED:
    case BLX_PROTECTED:
        explain_detail(agent, text);
        break;
    }
    return text;
}

bool blx_data_is_nearly_full(const struct blx_control_dispatcher *dispatcher)
{
    return dispatcher->data_free_bytes < dispatcher->data_bytes / BLX_NEARLY_FULL_PART;
}
