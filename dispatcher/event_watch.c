/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/event_watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "dispatcher/cut_time.h"
#include "wire/protection.h"

uint64_t dispatcher_event_watch_failed_test(const struct dispatcher_event_watch *watch,
                                            const char *agent_id)
{
    for (size_t i = 0; i < watch->agent_count; i++)
        if (strcmp(watch->agents[i].agent_id, agent_id) == 0)
            return watch->agents[i].failed_test_ns;
    return 0;
}

void dispatcher_event_watch_done(struct dispatcher_event_watch *watch)
{
    free(watch->agents);
    *watch = (struct dispatcher_event_watch){0};
}

/* NULL: no memory. */
static struct dispatcher_event_memory *remember(struct dispatcher_event_watch *watch,
                                                const char *agent_id)
{
    for (size_t i = 0; i < watch->agent_count; i++) {
        if (strcmp(watch->agents[i].agent_id, agent_id) == 0)
            return &watch->agents[i];
    }
    struct dispatcher_event_memory *grown =
        reallocarray(watch->agents, watch->agent_count + 1, sizeof(*grown));
    if (grown == NULL)
        return NULL;
    watch->agents = grown;
    struct dispatcher_event_memory *memory = &grown[watch->agent_count++];
    *memory = (struct dispatcher_event_memory){.told = BLX_PROTECTED};
    snprintf(memory->agent_id, sizeof(memory->agent_id), "%s", agent_id);
    return memory;
}

/* "the last checkpoint is 21 m 7 s old: late: one is due every ..." */
static void describe(const struct blx_control_agent *agent, const struct blx_judgement *judgement,
                     uint64_t now_realtime_ns, char text[BLX_EVENT_TEXT_BYTES])
{
    char why[BLX_JUDGEMENT_TEXT_BYTES], age[BLX_UNIT_TEXT_BYTES];
    blx_judgement_format(judgement, why);
    if (agent->last_checkpoint == 0)
        snprintf(text, BLX_EVENT_TEXT_BYTES, "%s", why);
    else
        snprintf(text, BLX_EVENT_TEXT_BYTES, "the last checkpoint is %s old%s%.450s",
                 blx_duration_format(blx_protection_age_s(agent, now_realtime_ns) * 1000, age),
                 why[0] != '\0' ? ": " : "", why);
}

/* No event: a first sync, even of an agent that was lost before; a pause, a revocation or an
 * enrolment, as somebody has asked for it; an agent that waits for the whole store, which has an
 * event of its own. */
static bool is_news(const struct dispatcher_event_memory *memory, enum blx_protection now,
                    const struct blx_trouble *store_trouble)
{
    bool expected = now == BLX_PROTECTION_FIRST_SYNC || now == BLX_PROTECTION_PAUSED ||
                    now == BLX_PROTECTION_REVOKED || now == BLX_PROTECTION_ARCHIVED ||
                    now == BLX_PROTECTION_NEVER_JOINED;
    bool told_of_store =
        now == BLX_PROTECTION_NOT_STORED && store_trouble->kind != BLX_TROUBLE_NONE;
    return now != memory->told && !expected && !told_of_store;
}

static int look_at_protection(struct dispatcher_event_memory *memory,
                              const struct blx_control_agent *agent,
                              const struct blx_trouble *store_trouble, uint64_t now_realtime_ns,
                              struct blx_event_list *list)
{
    static const enum blx_event_kind kinds[BLX_PROTECTIONS] = {
        [BLX_PROTECTED] = BLX_EVENT_AGENT_PROTECTED,
        [BLX_PROTECTION_DAMAGED] = BLX_EVENT_CHECKPOINT_DAMAGED,
        [BLX_PROTECTION_INCONSISTENT] = BLX_EVENT_CHECKPOINT_INCONSISTENT,
        [BLX_PROTECTION_LATE] = BLX_EVENT_CHECKPOINT_LATE,
        [BLX_PROTECTION_NOT_STORED] = BLX_EVENT_AGENT_NOT_STORED,
        [BLX_PROTECTION_LOST] = BLX_EVENT_AGENT_LOST,
    };
    char text[BLX_EVENT_TEXT_BYTES];
    struct blx_judgement now;
    blx_protection_examine(agent, now_realtime_ns, &now);
    if (!is_news(memory, now.protection, store_trouble))
        return 0;
    describe(agent, &now, now_realtime_ns, text);
    int rc = blx_event_list_add(list, kinds[now.protection], agent->agent_id, text);
    if (rc == 0)
        memory->told = now.protection;
    return rc;
}

/* Trouble of another kind is news as well. */
static int look_at_store(struct dispatcher_event_watch *watch, const struct blx_trouble *trouble,
                         struct blx_event_list *list)
{
    if (trouble->kind == watch->store_trouble)
        return 0;
    int rc =
        trouble->kind != BLX_TROUBLE_NONE
            ? blx_event_list_add(list, BLX_EVENT_STORE_FAILS, "", trouble->text)
            : blx_event_list_add(list, BLX_EVENT_STORE_WORKS, "", "the store takes data again");
    if (rc == 0)
        watch->store_trouble = trouble->kind;
    return rc;
}

static int look_at_findings(struct dispatcher_event_memory *memory,
                            struct dispatcher_roster *roster, const char *agent_id,
                            enum dispatcher_finding finding, struct blx_event_list *list)
{
    static const enum blx_event_kind kinds[DISPATCHER_FINDINGS] = {
        [DISPATCHER_FINDING_DAMAGE] = BLX_EVENT_DAMAGE_FOUND,
        [DISPATCHER_FINDING_HISTORY_GONE] = BLX_EVENT_HISTORY_GONE,
        [DISPATCHER_FINDING_OUTSIDER] = BLX_EVENT_MACHINE_REFUSED,
    };
    const struct dispatcher_findings findings =
        dispatcher_roster_read_findings(roster, agent_id, finding);
    if (findings.count == memory->findings[finding])
        return 0;
    int rc = blx_event_list_add(list, kinds[finding], agent_id, findings.text);
    if (rc == 0)
        memory->findings[finding] = findings.count;
    return rc;
}

/* Each failed test once. A test that passes is no event: `status` has it. */
static int look_at_test(struct dispatcher_event_memory *memory, const char *agent_id,
                        const struct dispatcher_proof *proof, struct blx_event_list *list)
{
    char text[BLX_EVENT_TEXT_BYTES];
    const struct blx_tested *newest = &proof->newest;
    if (!proof->is_tested || proof->is_told || blx_tested_is_good(newest) ||
        newest->begun_realtime_ns == memory->failed_test_ns)
        return 0;
    snprintf(text, sizeof(text), "the checkpoint %llu did not pass its test: %.400s",
             (unsigned long long)newest->checkpoint, newest->reason);
    int rc = blx_event_list_add(list, BLX_EVENT_TEST_FAILED, agent_id, text);
    if (rc == 0)
        memory->failed_test_ns = newest->begun_realtime_ns;
    return rc;
}

/* A trouble of the copies and its end. */
static int tell_copy(bool is_now, bool *was_told, enum blx_event_kind begins,
                     enum blx_event_kind ends, const char *agent_id, const char *text,
                     struct blx_event_list *list)
{
    if (is_now == *was_told)
        return 0;
    int rc = blx_event_list_add(list, is_now ? begins : ends, agent_id, text);
    if (rc == 0)
        *was_told = is_now;
    return rc;
}

static int look_at_copy(struct dispatcher_event_memory *memory, const struct blx_control_copy *copy,
                        struct blx_event_list *list)
{
    char text[BLX_EVENT_TEXT_BYTES], waiting[BLX_UNIT_TEXT_BYTES];
    bool unlocked = copy->wants_lock && !copy->locked && copy->newest != 0;
    if (copy->late)
        snprintf(text, sizeof(text),
                 "a checkpoint has been waiting for its copy in '%.160s' for %s%s%s", copy->place,
                 blx_duration_format(copy->waiting_s * 1000, waiting),
                 copy->failure[0] != '\0' ? ": " : "", copy->failure);
    else
        snprintf(text, sizeof(text), "the checkpoint %llu is copied to '%s'",
                 (unsigned long long)copy->newest, copy->place);
    int rc = tell_copy(copy->late, &memory->copy_late, BLX_EVENT_COPY_LATE, BLX_EVENT_COPY_IN_TIME,
                       copy->agent_id, text, list);
    snprintf(text, sizeof(text), "its copy in '%.160s' %s%s", copy->place,
             unlocked ? "can be deleted: " : "cannot be deleted before its time", copy->not_locked);
    if (rc == 0)
        rc = tell_copy(unlocked, &memory->copy_unlocked, BLX_EVENT_COPY_NOT_LOCKED,
                       BLX_EVENT_COPY_LOCKED, copy->agent_id, text, list);
    snprintf(text, sizeof(text),
             "%llu newer checkpoints in '%s' did not come from this data directory",
             (unsigned long long)copy->strange, copy->place);
    if (rc == 0 && copy->strange > memory->copy_strange)
        rc = blx_event_list_add(list, BLX_EVENT_COPY_STRANGE, copy->agent_id, text);
    if (rc == 0)
        memory->copy_strange = copy->strange;
    return rc;
}

static int look_at_copies(struct dispatcher_event_watch *watch,
                          const struct dispatcher_overview *overview, struct blx_event_list *list)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < overview->copy_count; i++) {
        struct dispatcher_event_memory *memory = remember(watch, overview->copies[i].agent_id);
        if (memory == NULL)
            return -ENOMEM;
        rc = look_at_copy(memory, &overview->copies[i], list);
    }
    return rc;
}

/* Each signal once, however many checkpoints belong to it. A person ends it: that is no event. */
static int look_at_suspicion(struct dispatcher_event_memory *memory, const char *agent_id,
                             const struct dispatcher_proof *proof, struct blx_event_list *list)
{
    char text[BLX_EVENT_TEXT_BYTES], kept[80] = "no calm checkpoint is left to pin";
    const struct blx_suspicion *suspicion = &proof->suspicion;
    if (!proof->is_suspicious || suspicion->since == memory->suspicious)
        return 0;
    if (suspicion->calm != 0)
        snprintf(kept, sizeof(kept), "the last calm one, %llu, is pinned until somebody unpins it",
                 (unsigned long long)suspicion->calm);
    snprintf(text, sizeof(text),
             "the checkpoint %llu looks as if data had been encrypted (a signal, no verdict): "
             "%.320s; %s",
             (unsigned long long)suspicion->checkpoint, suspicion->reason, kept);
    int rc = blx_event_list_add(list, BLX_EVENT_SUSPICIOUS, agent_id, text);
    if (rc == 0)
        memory->suspicious = suspicion->since;
    return rc;
}

/* Its end is no event: somebody has confirmed it, or the rules were changed back. */
static int look_at_prune(struct dispatcher_event_memory *memory,
                         const struct blx_control_agent *agent, struct blx_event_list *list)
{
    int rc = 0;
    if (strcmp(agent->prune_hold, memory->prune_hold) == 0)
        return 0;
    if (agent->prune_hold[0] != '\0')
        rc = blx_event_list_add(list, BLX_EVENT_PRUNE_HELD, agent->agent_id, agent->prune_hold);
    if (rc == 0)
        memcpy(memory->prune_hold, agent->prune_hold, sizeof(memory->prune_hold));
    return rc;
}

/* Room again is no event: the agent's next checkpoint is. */
static int look_at_quota(struct dispatcher_event_memory *memory,
                         const struct blx_control_agent *agent, struct blx_event_list *list)
{
    int rc = 0;
    if (agent->quota_state > memory->quota_state)
        rc = blx_event_list_add(
            list, agent->quota_state == 1 ? BLX_EVENT_QUOTA_NEAR : BLX_EVENT_QUOTA_REACHED,
            agent->agent_id, agent->quota);
    if (rc == 0)
        memory->quota_state = agent->quota_state;
    return rc;
}

static int look_at_clock(struct dispatcher_event_memory *memory,
                         const struct blx_control_agent *agent, struct blx_event_list *list)
{
    char text[BLX_TEXT_BYTES] = "";
    int rc = 0;
    dispatcher_note_clock(agent->clock_offset_ms, text);
    bool is_off = text[0] != '\0';
    if (is_off && !memory->clock_off)
        rc = blx_event_list_add(list, BLX_EVENT_CLOCK_OFF, agent->agent_id, text);
    if (rc == 0)
        memory->clock_off = is_off;
    return rc;
}

/* A hook that works again is no event: `status` has it no more. */
static int look_at_hooks(struct dispatcher_event_memory *memory,
                         const struct blx_control_agent *agent, struct blx_event_list *list)
{
    char text[BLX_TEXT_BYTES];
    bool failed = blx_hooks_explain(agent->cut_flags, text)[0] != '\0';
    int rc = 0;
    if (failed && !memory->hook_failed)
        rc = blx_event_list_add(list, BLX_EVENT_HOOK_FAILED, agent->agent_id, text);
    if (rc == 0)
        memory->hook_failed = failed;
    return rc;
}

/* A certificate, which `told` is about. A newer one is no event. */
struct certificate {
    const char *agent_id; /* "": the dispatcher's, or the CA */
    const char *name;     /* "its certificate" */
    const char *way_out;
    uint64_t end_s;
    int64_t warning_days;
    enum blx_end *told;
};

static int look_at_certificate(const struct certificate *certificate, uint64_t now_realtime_ns,
                               struct blx_event_list *list)
{
    char end[BLX_TEXT_BYTES], text[BLX_EVENT_TEXT_BYTES];
    enum blx_end now =
        blx_end_judge(certificate->end_s, certificate->warning_days, now_realtime_ns);
    int rc = 0;
    if (now > *certificate->told) {
        snprintf(text, sizeof(text), "%s %s: %s", certificate->name,
                 blx_end_explain(certificate->end_s, now_realtime_ns, end), certificate->way_out);
        rc = blx_event_list_add(list, BLX_EVENT_CERTIFICATE_ENDS, certificate->agent_id, text);
    }
    if (rc == 0)
        *certificate->told = now;
    return rc;
}

static int look_at_own_certificates(struct dispatcher_event_watch *watch,
                                    const struct blx_control_dispatcher *dispatcher,
                                    uint64_t now_realtime_ns, struct blx_event_list *list)
{
    const struct certificate ca = {
        .agent_id = "",
        .name = "the CA",
        .way_out = "make its successor with `blxrep dispatcher renew-ca`",
        .end_s = dispatcher->ca_ends_s,
        .warning_days = BLX_CA_WARNING_DAYS,
        .told = &watch->ca,
    };
    const struct certificate own = {
        .agent_id = "",
        .name = "the dispatcher's certificate",
        .way_out = "the dispatcher's log says why it is not renewed",
        .end_s = dispatcher->cert_ends_s,
        .warning_days = BLX_CERT_WARNING_DAYS,
        .told = &watch->certificate,
    };
    int rc = look_at_certificate(&ca, now_realtime_ns, list);
    return rc == 0 ? look_at_certificate(&own, now_realtime_ns, list) : rc;
}

static int look_at_agents_certificate(struct dispatcher_event_memory *memory,
                                      const struct blx_control_agent *agent,
                                      uint64_t now_realtime_ns, struct blx_event_list *list)
{
    const struct certificate certificate = {
        .agent_id = agent->agent_id,
        .name = "its certificate",
        .way_out = blx_reason_way_out(BLX_REASON_CERTIFICATE_ENDS),
        .end_s = agent->revoked ? 0 : agent->cert_ends_s,
        .warning_days = BLX_CERT_WARNING_DAYS,
        .told = &memory->certificate,
    };
    return look_at_certificate(&certificate, now_realtime_ns, list);
}

static int look_at_disk(struct dispatcher_event_watch *watch,
                        const struct dispatcher_overview *overview, struct blx_event_list *list)
{
    char text[BLX_TEXT_BYTES];
    const struct blx_control_dispatcher *dispatcher = &overview->dispatcher;
    bool nearly_full = blx_data_is_nearly_full(dispatcher);
    if (dispatcher->data_bytes == 0 || nearly_full == watch->nearly_full)
        return 0;
    blx_data_explain(dispatcher, nearly_full ? BLX_DATA_INODES_IF_FEW : BLX_DATA_INODES_ALWAYS,
                     text);
    int rc = blx_event_list_add(
        list, nearly_full ? BLX_EVENT_DISK_NEARLY_FULL : BLX_EVENT_DISK_HAS_ROOM, "", text);
    if (rc == 0)
        watch->nearly_full = nearly_full;
    return rc;
}

/* Whoever is refused tries again within a minute or so. */
static int look_at_places(struct dispatcher_event_watch *watch, uint64_t kept_out,
                          uint64_t now_realtime_ns, struct blx_event_list *list)
{
    enum { QUIET_S = 300 };
    char text[BLX_TEXT_BYTES];
    bool grew = kept_out != watch->kept_out;
    bool over = !grew && now_realtime_ns > watch->kept_out_ns + QUIET_S * UINT64_C(1000000000);
    int rc = 0;
    if (grew && !watch->keeping_out) {
        snprintf(text, sizeof(text),
                 "%llu connections were refused, perhaps agents' among them: others that show no "
                 "certificate take every place",
                 (unsigned long long)(kept_out - watch->kept_out));
        rc = blx_event_list_add(list, BLX_EVENT_AGENTS_KEPT_OUT, "", text);
    } else if (over && watch->keeping_out) {
        rc = blx_event_list_add(list, BLX_EVENT_AGENTS_LET_IN, "",
                                "no connection was refused for five minutes");
    }
    if (rc < 0)
        return rc;
    if (grew)
        watch->kept_out_ns = now_realtime_ns;
    watch->keeping_out = grew || (watch->keeping_out && !over);
    watch->kept_out = kept_out;
    return 0;
}

int dispatcher_event_watch_look(struct dispatcher_event_watch *watch,
                                struct dispatcher_roster *roster,
                                const struct dispatcher_overview *overview,
                                uint64_t now_realtime_ns, struct blx_event_list *list)
{
    const struct blx_trouble *trouble = &overview->dispatcher.trouble;
    int rc = look_at_store(watch, trouble, list);
    if (rc == 0)
        rc = look_at_disk(watch, overview, list);
    if (rc == 0)
        rc = look_at_own_certificates(watch, &overview->dispatcher, now_realtime_ns, list);
    if (rc == 0)
        rc = look_at_places(watch, overview->kept_out, now_realtime_ns, list);
    for (size_t i = 0; rc == 0 && i < overview->agent_count; i++) {
        const struct blx_control_agent *agent = &overview->agents[i];
        struct dispatcher_event_memory *memory = remember(watch, agent->agent_id);
        if (memory == NULL)
            return -ENOMEM;
        rc = look_at_protection(memory, agent, trouble, now_realtime_ns, list);
        for (int finding = 0; rc == 0 && finding < DISPATCHER_FINDINGS; finding++)
            rc = look_at_findings(memory, roster, agent->agent_id, (enum dispatcher_finding)finding,
                                  list);
        if (rc == 0 && overview->proofs != NULL)
            rc = look_at_test(memory, agent->agent_id, &overview->proofs[i], list);
        if (rc == 0 && overview->proofs != NULL)
            rc = look_at_suspicion(memory, agent->agent_id, &overview->proofs[i], list);
        if (rc == 0)
            rc = look_at_prune(memory, agent, list);
        if (rc == 0)
            rc = look_at_clock(memory, agent, list);
        if (rc == 0)
            rc = look_at_hooks(memory, agent, list);
        if (rc == 0)
            rc = look_at_agents_certificate(memory, agent, now_realtime_ns, list);
        if (rc == 0)
            rc = look_at_quota(memory, agent, list);
    }
    return rc == 0 ? look_at_copies(watch, overview, list) : rc;
}
