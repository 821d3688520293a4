/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/exposition.h"

#include <math.h>
#include <string.h>

#include "wire/protection.h"

static const char counter[] = "counter";
static const char gauge[] = "gauge";

static void write_head(const char *name, const char *type, const char *help, FILE *out)
{
    fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_one(const char *name, const char *type, const char *help, double value, FILE *out)
{
    write_head(name, type, help, out);
    fprintf(out, "%s %.15g\n", name, value);
}

static bool is_connected(const struct blx_control_agent *agent)
{
    return agent->status.state != BLX_AGENT_OFFLINE;
}

/* One value of an agent; NAN: it has none now. */
typedef double agent_value(const struct blx_control_agent *agent, uint64_t now_realtime_ns);

static double up(const struct blx_control_agent *agent, uint64_t now_realtime_ns)
{
    (void)now_realtime_ns;
    return is_connected(agent);
}

static double is_protected(const struct blx_control_agent *agent, uint64_t now_realtime_ns)
{
    return blx_protection_judge(agent, now_realtime_ns) == BLX_PROTECTED;
}

static double is_paused(const struct blx_control_agent *agent, uint64_t now_realtime_ns)
{
    (void)now_realtime_ns;
    return agent->paused_since != 0;
}

static double sync_period(const struct blx_control_agent *agent, uint64_t now_realtime_ns)
{
    (void)now_realtime_ns;
    return (double)agent->sync_freq_ms / 1e3;
}

static double last_checkpoint(const struct blx_control_agent *agent, uint64_t now_realtime_ns)
{
    (void)now_realtime_ns;
    return agent->last_checkpoint == 0 ? NAN : (double)blx_timestamp_to_unix(agent->last_time);
}

static double quota_state(const struct blx_control_agent *agent, uint64_t now_realtime_ns)
{
    (void)now_realtime_ns;
    return (double)agent->quota_state;
}

static double hook_failed(const struct blx_control_agent *agent, uint64_t now_realtime_ns)
{
    (void)now_realtime_ns;
    return (agent->cut_flags & (BLX_CUT_PRE_FREEZE_FAILED | BLX_CUT_POST_THAW_FAILED)) != 0;
}

static double certificate_end(const struct blx_control_agent *agent, uint64_t now_realtime_ns)
{
    (void)now_realtime_ns;
    return agent->cert_ends_s == 0 ? NAN : (double)agent->cert_ends_s;
}

static double clock_offset(const struct blx_control_agent *agent, uint64_t now_realtime_ns)
{
    (void)now_realtime_ns;
    return (double)agent->clock_offset_ms / 1e3;
}

static double last_freeze(const struct blx_control_agent *agent, uint64_t now_realtime_ns)
{
    (void)now_realtime_ns;
    return agent->last_checkpoint == 0 ? NAN : (double)agent->freeze_ns / 1e9;
}

static double eta(const struct blx_control_agent *agent, uint64_t now_realtime_ns)
{
    (void)now_realtime_ns;
    bool known = is_connected(agent) && agent->status.eta_seconds > 0;
    return known ? (double)agent->status.eta_seconds : NAN;
}

static double freeze_total(const struct blx_control_agent *agent, uint64_t now_realtime_ns)
{
    (void)now_realtime_ns;
    return (double)agent->total_freeze_ns / 1e9;
}

/* A plain number of the agent is found by its offset. */
struct agent_metric {
    const char *name;
    const char *type;
    const char *help;
    agent_value *value; /* NULL: the uint64_t at `offset` */
    size_t offset;
    bool live; /* known only while it is connected */
};

#define FACT(member) .offset = offsetof(struct blx_control_agent, member)

static const struct agent_metric agent_metrics[] = {
    {"blxrep_agent_up", gauge, "Whether the agent is connected.", .value = up},
    {"blxrep_agent_protected", gauge,
     "Whether it is connected and its last checkpoint neither late nor inconsistent nor damaged.",
     .value = is_protected},
    {"blxrep_agent_paused", gauge, "Whether somebody has paused it.", .value = is_paused},
    {"blxrep_agent_sync_period_seconds", gauge, "How often a checkpoint is due.",
     .value = sync_period},
    {"blxrep_agent_last_checkpoint_timestamp_seconds", gauge,
     "When the last checkpoint was cut, since 1970.", .value = last_checkpoint},
    {"blxrep_agent_quota_state", gauge,
     "The agent's quota: 0 free, 1 nearly used up, 2 used up and refused.", .value = quota_state},
    {"blxrep_agent_last_hook_failed", gauge,
     "Whether the pre-freeze or the post-thaw command failed for the last checkpoint.",
     .value = hook_failed},
    {"blxrep_agent_certificate_expiry_timestamp_seconds", gauge,
     "When the certificate of the agent's last session expires, since 1970.",
     .value = certificate_end},
    {"blxrep_agent_clock_offset_seconds", gauge,
     "The agent's clock less the dispatcher's, at the last cut.", .value = clock_offset},
    {"blxrep_agent_last_freeze_seconds", gauge,
     "How long the filesystems were frozen for the last checkpoint.", .value = last_freeze},
    {"blxrep_agent_freeze_seconds_total", counter,
     "How long they were frozen for all checkpoints together.", .value = freeze_total},
    {"blxrep_agent_checkpoint_failures_total", counter, "Tries for a checkpoint that failed.",
     FACT(failed_checkpoints)},
    {"blxrep_agent_sessions_total", counter, "Sessions that have begun.", FACT(sessions)},
    {"blxrep_agent_rescans_total", counter, "Rescans that have begun.", FACT(rescans)},
    {"blxrep_agent_received_bytes_total", counter, "Bytes of frames received.",
     FACT(total_received_bytes)},
    {"blxrep_agent_volume_bytes", gauge, "Size of the agent's volumes.", FACT(volume_bytes)},
    {"blxrep_agent_last_changed_bytes", gauge, "Distinct blocks of the last checkpoint.",
     FACT(changed_bytes)},
    {"blxrep_agent_last_stored_bytes", gauge, "What the last checkpoint takes.",
     FACT(stored_bytes)},
    {"blxrep_agent_backlog_bytes", gauge, "Changed and not durable here yet.",
     FACT(status.dirty_bytes), .live = true},
    {"blxrep_agent_pass_done_bytes", gauge, "Of the running full pass or rescan.",
     FACT(status.done_bytes), .live = true},
    {"blxrep_agent_pass_total_bytes", gauge, "Size of the running full pass or rescan; 0: none.",
     FACT(status.total_bytes), .live = true},
    {"blxrep_agent_pass_eta_seconds", gauge, "Until the running full pass or rescan is done.",
     .value = eta},
    {"blxrep_agent_tracked_events_total", counter, "Completed writes that the tracker has seen.",
     FACT(status.tracked_events), .live = true},
    {"blxrep_agent_missed_events_total", counter,
     "Completed writes that the tracker may have missed; each leads to a rescan.",
     FACT(status.missed_events), .live = true},
    {"blxrep_agent_passthrough_commands_total", counter,
     "Commands that may have written and name no sector; each leads to a rescan.",
     FACT(status.passthrough_commands), .live = true},
    {"blxrep_agent_unseen_sectors_total", counter,
     "Sectors written without a run of the tracker; they lead to a rescan.",
     FACT(status.unseen_sectors), .live = true},
};

static double value_of(const struct agent_metric *metric, const struct blx_control_agent *agent,
                       uint64_t now_realtime_ns)
{
    uint64_t fact;
    if (metric->value != NULL)
        return metric->value(agent, now_realtime_ns);
    if (metric->live && !is_connected(agent))
        return NAN;
    memcpy(&fact, (const char *)agent + metric->offset, sizeof(fact));
    return (double)fact;
}

static void write_agents(const struct dispatcher_overview *overview,
                         const struct agent_metric *metric, uint64_t now_realtime_ns, FILE *out)
{
    write_head(metric->name, metric->type, metric->help, out);
    for (size_t i = 0; i < overview->agent_count; i++) {
        const struct blx_control_agent *agent = &overview->agents[i];
        double value = value_of(metric, agent, now_realtime_ns);
        if (!isnan(value))
            fprintf(out, "%s{agent=\"%s\"} %.15g\n", metric->name, agent->agent_id, value);
    }
}

/* One label is 1 and the others are 0, so that a query can ask for each by its name. */
static void write_protections(const struct dispatcher_overview *overview, uint64_t now_realtime_ns,
                              FILE *out)
{
    static const char name[] = "blxrep_agent_protection";
    write_head(name, gauge, "1 for the judgement that holds, 0 for the others.", out);
    for (size_t i = 0; i < overview->agent_count; i++) {
        const struct blx_control_agent *agent = &overview->agents[i];
        enum blx_protection holds = blx_protection_judge(agent, now_realtime_ns);
        for (int p = BLX_PROTECTED; p < BLX_PROTECTIONS; p++)
            fprintf(out, "%s{agent=\"%s\",protection=\"%s\"} %d\n", name, agent->agent_id,
                    blx_protection_name((enum blx_protection)p), p == (int)holds);
    }
}

/* Only the reason that holds: most have none. */
static void write_reasons(const struct dispatcher_overview *overview, uint64_t now_realtime_ns,
                          FILE *out)
{
    static const char name[] = "blxrep_agent_reason";
    write_head(name, gauge, "1; the reason for the judgement, see blxrep-recovery(7), is a label.",
               out);
    for (size_t i = 0; i < overview->agent_count; i++) {
        struct blx_judgement judgement;
        blx_protection_examine(&overview->agents[i], now_realtime_ns, &judgement);
        if (judgement.reason != BLX_REASON_NONE)
            fprintf(out, "%s{agent=\"%s\",reason=\"%s\"} 1\n", name, overview->agents[i].agent_id,
                    blx_reason_name(judgement.reason));
    }
}

static void write_states(const struct dispatcher_overview *overview, FILE *out)
{
    static const char name[] = "blxrep_agent_state";
    write_head(name, gauge, "1 for the state that the agent is in, 0 for the others.", out);
    for (size_t i = 0; i < overview->agent_count; i++) {
        const struct blx_control_agent *agent = &overview->agents[i];
        for (int s = BLX_AGENT_OFFLINE; s <= BLX_AGENT_RESCAN; s++)
            fprintf(out, "%s{agent=\"%s\",state=\"%s\"} %d\n", name, agent->agent_id,
                    blx_agent_state_name((enum blx_agent_state)s), s == (int)agent->status.state);
    }
}

static void write_consistencies(const struct dispatcher_overview *overview, FILE *out)
{
    static const char name[] = "blxrep_agent_checkpoints_total";
    write_head(name, counter, "Checkpoints committed.", out);
    for (size_t i = 0; i < overview->agent_count; i++) {
        const struct blx_control_agent *agent = &overview->agents[i];
        for (int c = BLX_CONSISTENCY_NONE; c < BLX_CONSISTENCIES; c++)
            fprintf(out, "%s{agent=\"%s\",consistency=\"%s\"} %.15g\n", name, agent->agent_id,
                    blx_consistency_name((enum blx_consistency)c), (double)agent->checkpoints[c]);
    }
}

/* What tests have shown. Agents that nobody has tested, or none of whose checkpoints passed, have
 * no line. */
static void write_proofs(const struct dispatcher_overview *overview, FILE *out)
{
    static const struct {
        const char *name, *help;
    } metrics[] = {
        {"blxrep_agent_last_test_failed",
         "Whether the newest checkpoint that was tested did not pass."},
        {"blxrep_agent_last_proven_timestamp_seconds",
         "When the test began that the newest proven checkpoint passed, since 1970."},
        {"blxrep_agent_last_proven_boot_seconds", "How long that checkpoint took to boot."},
        {"blxrep_agent_tests_wanted", "Whether a policy has its checkpoints tested."},
    };
    for (size_t m = 0; overview->proofs != NULL && m < sizeof(metrics) / sizeof(metrics[0]); m++) {
        write_head(metrics[m].name, gauge, metrics[m].help, out);
        for (size_t i = 0; i < overview->agent_count; i++) {
            const struct dispatcher_proof *proof = &overview->proofs[i];
            const double values[] = {
                proof->is_tested ? !blx_tested_is_good(&proof->newest) : NAN,
                proof->is_proven ? (double)proof->proven.begun_realtime_ns / 1e9 : NAN,
                proof->is_proven && proof->proven.booted_ms > 0
                    ? (double)proof->proven.booted_ms / 1e3
                    : NAN,
                proof->is_wanted,
            };
            if (!isnan(values[m]))
                fprintf(out, "%s{agent=\"%s\"} %.15g\n", metrics[m].name,
                        overview->agents[i].agent_id, values[m]);
        }
    }
}

/* Copies elsewhere. An agent that is to be copied and was not has 0. */
static void write_copies(const struct dispatcher_overview *overview, FILE *out)
{
    static const struct {
        const char *name, *help;
    } metrics[] = {
        {"blxrep_agent_copied_checkpoint_timestamp_seconds",
         "When the newest checkpoint was cut that is copied elsewhere, since 1970; 0: none is."},
        {"blxrep_agent_copy_waiting_seconds",
         "For how long a checkpoint has been due that is not copied; 0: none is."},
        {"blxrep_agent_copy_late", "Whether that is too long."},
        {"blxrep_agent_copy_locked_until_timestamp_seconds",
         "Until when the newest copy cannot be deleted, since 1970; 0: it can."},
        {"blxrep_agent_copy_not_locked",
         "Whether the newest copy can be deleted though a lock is configured."},
        {"blxrep_agent_copy_strange_checkpoints",
         "Newer checkpoints in the copy that this data directory did not write."},
    };
    for (size_t m = 0; m < sizeof(metrics) / sizeof(metrics[0]); m++) {
        write_head(metrics[m].name, gauge, metrics[m].help, out);
        for (size_t i = 0; i < overview->copy_count; i++) {
            const struct blx_control_copy *copy = &overview->copies[i];
            const double values[] = {
                copy->newest != 0 ? (double)blx_timestamp_to_unix(copy->newest) : 0,
                (double)copy->waiting_s,
                copy->late,
                copy->locked ? (double)copy->locked_until_s : 0,
                copy->wants_lock && !copy->locked,
                (double)copy->strange,
            };
            fprintf(out, "%s{agent=\"%s\"} %.15g\n", metrics[m].name, copy->agent_id, values[m]);
        }
    }
}

static void write_suspicions(const struct dispatcher_overview *overview, FILE *out)
{
    static const struct {
        const char *name, *help;
    } metrics[] = {
        {"blxrep_agent_suspicious",
         "Whether a signal stands: an automatic pin that nobody has taken off."},
        {"blxrep_agent_suspicious_checkpoints", "Checkpoints that are marked as suspicious."},
    };
    for (size_t m = 0; overview->proofs != NULL && m < sizeof(metrics) / sizeof(metrics[0]); m++) {
        write_head(metrics[m].name, gauge, metrics[m].help, out);
        for (size_t i = 0; i < overview->agent_count; i++) {
            const struct dispatcher_proof *proof = &overview->proofs[i];
            const size_t values[] = {proof->stands, proof->suspicious_count};
            fprintf(out, "%s{agent=\"%s\"} %zu\n", metrics[m].name, overview->agents[i].agent_id,
                    values[m]);
        }
    }
}

/* Machines that restore, and those that may not be an agent any more. */
static void write_machines(const struct dispatcher_overview *overview, FILE *out)
{
    static const char name[] = "blxrep_agent_machines_refused_total";
    write_one("blxrep_restores", gauge, "Machines that restore over the network now.",
              (double)overview->restore_count, out);
    write_head(name, counter,
               "Tries of a machine that is refused because another one has restored the agent.",
               out);
    for (size_t i = 0; i < overview->handover_count; i++)
        fprintf(out, "%s{agent=\"%s\"} %.15g\n", name, overview->handovers[i].agent_id,
                (double)overview->handovers[i].refused);
}

static void write_dispatcher(const struct dispatcher_overview *overview, uint64_t now_realtime_ns,
                             FILE *out)
{
    const struct blx_control_dispatcher *self = &overview->dispatcher;
    const char *version = strrchr(self->software, ' ');
    uint64_t began_ms = now_realtime_ns / 1000000 - self->uptime_ms;
    write_head("blxrep_build_info", gauge, "1; the version is a label.", out);
    fprintf(out, "blxrep_build_info{version=\"%s\"} 1\n", version != NULL ? version + 1 : "");
    write_one("blxrep_start_time_seconds", gauge, "When the dispatcher began, since 1970.",
              (double)began_ms / 1e3, out);
    write_one("blxrep_store_fails", gauge, "Whether the store takes nothing.",
              self->trouble.kind != BLX_TROUBLE_NONE, out);
    write_one("blxrep_agents", gauge, "Agents of the store, connected or not.",
              (double)overview->agent_count, out);
    if (self->cert_ends_s != 0)
        write_one("blxrep_certificate_expiry_timestamp_seconds", gauge,
                  "When the dispatcher's certificate expires, since 1970.",
                  (double)self->cert_ends_s, out);
    if (self->ca_ends_s != 0)
        write_one("blxrep_ca_expiry_timestamp_seconds", gauge,
                  "When the dispatcher's CA expires, since 1970.", (double)self->ca_ends_s, out);
    if (self->ca_rolls)
        write_one("blxrep_ca_agents_left", gauge,
                  "Agents that still need the CA that is being replaced.", (double)self->ca_stayed,
                  out);
    if (self->data_bytes == 0)
        return;
    write_one("blxrep_data_size_bytes", gauge, "Size of the data directory's filesystem.",
              (double)self->data_bytes, out);
    write_one("blxrep_data_free_bytes", gauge, "Free on the data directory's filesystem.",
              (double)self->data_free_bytes, out);
    if (self->data_inodes == 0)
        return;
    write_one("blxrep_data_inodes", gauge, "Inodes of the data directory's filesystem.",
              (double)self->data_inodes, out);
    write_one("blxrep_data_free_inodes", gauge, "Free inodes of the data directory's filesystem.",
              (double)self->data_free_inodes, out);
}

void dispatcher_exposition_write(const struct dispatcher_overview *overview,
                                 uint64_t now_realtime_ns, FILE *out)
{
    write_dispatcher(overview, now_realtime_ns, out);
    for (size_t i = 0; i < sizeof(agent_metrics) / sizeof(agent_metrics[0]); i++)
        write_agents(overview, &agent_metrics[i], now_realtime_ns, out);
    write_proofs(overview, out);
    write_copies(overview, out);
    write_suspicions(overview, out);
    write_protections(overview, now_realtime_ns, out);
    write_reasons(overview, now_realtime_ns, out);
    write_states(overview, out);
    write_consistencies(overview, out);
    write_machines(overview, out);
}
