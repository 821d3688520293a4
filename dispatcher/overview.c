/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/overview.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/text.h"
#include "base/units.h"
#include "base/version.h"
#include "dispatcher/neighbours.h"
#include "dispatcher/policy_book.h"
#include "store/archive.h"
#include "store/checkpoint/manifest_file.h"
#include "store/copy/origin.h"
#include "store/own_id.h"
#include "store/pause.h"
#include "store/trouble.h"
#include "tls/handover.h"
#include "tls/pki.h"
#include "tls/pki_roll.h"

static void describe_dispatcher(struct dispatcher *dispatcher, struct dispatcher_overview *overview)
{
    struct blx_control_dispatcher *out = &overview->dispatcher;
    *out = (struct blx_control_dispatcher){
        .uptime_ms = (blx_clock_ns() - dispatcher->roster.started_ns) / 1000000 + 1};
    snprintf(out->software, sizeof(out->software), "blxrep-dispatcher %s", BLX_VERSION);
    blx_store_find_trouble(dispatcher->store, &out->trouble);
    dispatcher_roster_note_store(&dispatcher->roster, &out->trouble);
    blx_store_measure(dispatcher->store, out); /* or its size stays unknown */
}

/* The store's trouble concerns every agent; otherwise one may have its own, or never have come. */
static void describe_store(struct dispatcher *dispatcher, const struct blx_trouble *trouble,
                           struct blx_control_agent *agent)
{
    struct blx_agent_store folder = blx_store_agent(dispatcher->store, agent->agent_id);
    struct blx_trouble own;
    blx_agent_store_find_trouble(folder, &own);
    if (trouble->kind != BLX_TROUBLE_NONE)
        agent->trouble = *trouble;
    else if (own.kind != BLX_TROUBLE_NONE && agent->trouble.kind == BLX_TROUBLE_NONE)
        agent->trouble = own;
    if (agent->last_checkpoint == 0 && agent->sessions == 0)
        agent->enrolled_since = blx_agent_store_look_enrolled(folder);
}

/* What another dispatcher told of an agent that it has. What is known here of its checkpoints is
 * old by now. */
static void describe_elsewhere(struct dispatcher *dispatcher, const char *agent_id,
                               struct blx_control_agent *agent, struct blx_control_place *place)
{
    struct blx_control_agent told;
    if (!dispatcher_neighbours_find(dispatcher->neighbours, agent_id, &told, place->host))
        return;
    blx_text_set(place->agent_id, agent_id);
    *agent = told;
    dispatcher_roster_forget(&dispatcher->roster, agent_id);
}

static int describe_agent(struct dispatcher *dispatcher, const struct blx_trouble *trouble,
                          const char *agent_id, struct blx_control_agent *agent,
                          struct blx_control_place *place, struct blx_handover *handover,
                          struct blx_error *err)
{
    int rc =
        dispatcher_roster_describe(&dispatcher->roster, dispatcher->store, agent_id, agent, err);
    if (rc < 0)
        return rc;
    struct blx_policy_verdict verdict;
    dispatcher_policy_book_look(dispatcher->book, agent_id, &verdict);
    agent->sync_freq_ms = verdict.sync_freq_ms;
    /* The policy may have been changed since it was refused. */
    if (verdict.encryption != BLX_POLICY_ENCRYPTION_REQUIRED)
        agent->unencrypted = false;
    struct blx_error why = {0};
    char own_id[BLX_NAME_BYTES];
    struct blx_agent_store folder = blx_store_agent(dispatcher->store, agent_id);
    bool has_id = blx_own_id_read(folder, own_id, &why) == 0;
    bool is_told = has_id && blx_handover_look(dispatcher->data_dir, own_id, handover, &why) == 0;
    /* As with a checkpoint that cannot be read, the other agents are listed all the same. */
    if (blx_pause_look(folder, &agent->paused_since, &why) < 0 ||
        blx_archive_look(folder, &agent->archived_since, &why) < 0 ||
        (has_id && blx_pki_look_revoked(dispatcher->data_dir, own_id, &agent->revoked, &why) < 0) ||
        !is_told)
        snprintf(agent->status.reason, sizeof(agent->status.reason), "%.*s",
                 (int)sizeof(agent->status.reason) - 1, why.message);
    describe_store(dispatcher, trouble, agent);
    if (dispatcher_registry_describe(&dispatcher->registry, agent_id, agent))
        return 0;
    agent->rate_bytes_per_s = 0;
    describe_elsewhere(dispatcher, agent_id, agent, place);
    return 0;
}

/* Agents that are revoked do not count. One whose place cannot be seen needs the old CA. */
static void describe_certificates(struct dispatcher *dispatcher,
                                  struct dispatcher_overview *overview)
{
    struct dispatcher_identity_facts facts;
    struct blx_control_dispatcher *out = &overview->dispatcher;
    dispatcher_identity_describe(&dispatcher->identity, &facts);
    out->cert_ends_s = facts.ends_s;
    out->ca_ends_s = facts.ca_ends_s;
    out->ca_rolls = facts.rolls;
    for (size_t i = 0; facts.rolls && i < overview->agent_count; i++) {
        enum blx_pki_place place = BLX_PKI_STAYED;
        char own_id[BLX_NAME_BYTES];
        const char *name = overview->agents[i].agent_id;
        if (blx_own_id_read(blx_store_agent(dispatcher->store, name), own_id, NULL) == 0)
            blx_pki_roll_look(dispatcher->data_dir, own_id, &place, NULL);
        if (place == BLX_PKI_STAYED && !overview->agents[i].revoked)
            out->ca_stayed++;
    }
}

/* Those that the dispatcher remembers, if the store's trouble is that it cannot be read. */
static int list_agents(struct dispatcher *dispatcher, enum blx_trouble_kind trouble,
                       char ***agent_ids, size_t *count, struct blx_error *err)
{
    struct blx_error why = {0};
    int rc = trouble == BLX_TROUBLE_GONE
                 ? -ENOENT
                 : blx_store_list_agents(dispatcher->store, agent_ids, count, &why);
    if (rc == 0)
        return 0;
    return trouble == BLX_TROUBLE_NONE
               ? blx_error_copy(err, rc, &why)
               : dispatcher_roster_list(&dispatcher->roster, agent_ids, count, err);
}

/* An agent whose file is damaged is refused, and its reason tells so (describe_agent()). */
static void describe_handover(struct dispatcher *dispatcher, const char *agent_id,
                              const struct blx_handover *handover,
                              struct dispatcher_overview *overview)
{
    if (handover->state == BLX_HANDOVER_NONE)
        return;
    const struct dispatcher_outsiders outsiders =
        dispatcher_roster_read_outsiders(&dispatcher->roster, agent_id);
    struct blx_control_handover *out = &overview->handovers[overview->handover_count++];
    out->state = handover->state;
    out->since = handover->since;
    out->checkpoint = handover->checkpoint;
    out->refused = outsiders.count;
    if (outsiders.count > 0)
        out->refused_ms = (blx_clock_ns() - outsiders.last_ns) / BLX_NS_PER_MS;
    blx_text_set(out->agent_id, agent_id);
    blx_text_set(out->peer, handover->peer);
    blx_text_set(out->refused_peer, outsiders.peer);
}

static void describe_copy(struct dispatcher *dispatcher, const struct blx_control_agent *agent,
                          struct dispatcher_overview *overview)
{
    struct blx_control_copy *out = &overview->copies[overview->copy_count];
    struct blx_agent_store folder = blx_store_agent(dispatcher->store, agent->agent_id);
    if (dispatcher_copies_look(&dispatcher->copies, folder, agent->last_checkpoint,
                               blx_clock_realtime_ns(), out) == DISPATCHER_COPIED)
        overview->copy_count++;
}

/* 1: it is a copy, and no agent of ours. One that is connected has come over to us. */
static int describe_pulled(struct dispatcher *dispatcher, const char *agent_id,
                           struct dispatcher_overview *overview)
{
    struct blx_agent_store folder = blx_store_agent(dispatcher->store, agent_id);
    struct blx_control_agent live = {0};
    struct blx_origin origin;
    if (blx_origin_look(folder, &origin, NULL) != 1 ||
        dispatcher_registry_describe(&dispatcher->registry, agent_id, &live))
        return 0;
    struct blx_control_pulled *copy = &overview->pulled[overview->pulled_count++];
    *copy = (struct blx_control_pulled){.looked_s = origin.looked_s};
    blx_text_set(copy->agent_id, agent_id);
    blx_text_set(copy->source, origin.address);
    blx_manifest_latest(folder, &copy->checkpoint, NULL);
    return 1;
}

int dispatcher_overview_take(struct dispatcher *dispatcher, struct dispatcher_overview *overview,
                             struct blx_error *err)
{
    struct dispatcher_overview taken = {0};
    char **agent_ids = NULL;
    size_t count = 0;
    describe_dispatcher(dispatcher, &taken);
    int rc = list_agents(dispatcher, taken.dispatcher.trouble.kind, &agent_ids, &count, err);
    if (rc == 0) {
        taken.agents = calloc(count + 1, sizeof(*taken.agents));
        taken.proofs = calloc(count + 1, sizeof(*taken.proofs));
        taken.places = calloc(count + 1, sizeof(*taken.places));
        taken.handovers = calloc(count + 1, sizeof(*taken.handovers));
        taken.copies = calloc(count + 1, sizeof(*taken.copies));
        taken.pulled = calloc(count + 1, sizeof(*taken.pulled));
        if (taken.agents == NULL || taken.proofs == NULL || taken.places == NULL ||
            taken.handovers == NULL || taken.copies == NULL || taken.pulled == NULL)
            rc = blx_error_errno(err, -ENOMEM, "cannot list the agents");
    }
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct blx_handover handover = {.state = BLX_HANDOVER_NONE};
        if (describe_pulled(dispatcher, agent_ids[i], &taken) == 1)
            continue;
        size_t at = taken.agent_count;
        rc = describe_agent(dispatcher, &taken.dispatcher.trouble, agent_ids[i], &taken.agents[at],
                            &taken.places[at], &handover, err);
        struct blx_policy_verdict verdict;
        dispatcher_policy_book_look(dispatcher->book, agent_ids[i], &verdict);
        dispatcher_proofs_look(&dispatcher->proofs,
                               blx_store_agent(dispatcher->store, agent_ids[i]), &taken.proofs[at]);
        taken.proofs[at].is_wanted = verdict.test.every_ms > 0;
        taken.agent_count = at + 1;
        describe_handover(dispatcher, agent_ids[i], &handover, &taken);
        describe_copy(dispatcher, &taken.agents[at], &taken);
    }
    blx_store_free_agents(agent_ids, count);
    if (rc < 0) {
        dispatcher_overview_done(&taken);
        return rc;
    }
    taken.restore_count =
        dispatcher_registry_describe_restores(&dispatcher->registry, taken.restores);
    taken.kept_out = dispatcher_registry_count_kept_out(&dispatcher->registry);
    describe_certificates(dispatcher, &taken);
    *overview = taken;
    return 0;
}

bool dispatcher_overview_is_here(const struct dispatcher_overview *overview, size_t at)
{
    return overview->agents[at].status.state != BLX_AGENT_OFFLINE &&
           overview->places[at].host[0] == '\0';
}

void dispatcher_overview_keep_own(struct dispatcher *dispatcher,
                                  struct dispatcher_overview *overview)
{
    const bool is_keeper = dispatcher_neighbours_is_keeper(dispatcher->neighbours);
    size_t kept = 0;
    for (size_t i = 0; i < overview->agent_count; i++) {
        if (overview->places[i].host[0] != '\0' ||
            (!is_keeper && !dispatcher_overview_is_here(overview, i)))
            continue;
        overview->agents[kept] = overview->agents[i];
        overview->proofs[kept] = overview->proofs[i];
        overview->places[kept++] = overview->places[i];
    }
    overview->agent_count = kept;
}

void dispatcher_overview_done(struct dispatcher_overview *overview)
{
    free(overview->agents);
    free(overview->places);
    free(overview->proofs);
    free(overview->handovers);
    free(overview->copies);
    free(overview->pulled);
    *overview = (struct dispatcher_overview){0};
}
