/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command.h"
#include "cli/agents.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "cli/control.h"
#include "store/archive.h"
#include "store/checkpoint/manifest_file.h"
#include "store/copy/origin.h"
#include "store/own_id.h"
#include "store/pause.h"
#include "store/trouble.h"
#include "tls/pki.h"

enum { ANSWER_TIMEOUT_MS = 30000 };

void cli_agents_done(struct cli_agents *agents)
{
    free(agents->list);
    free(agents->restores);
    free(agents->handovers);
    free(agents->hosts);
    free(agents->places);
    free(agents->copies);
    free(agents->pulled);
    *agents = (struct cli_agents){0};
}

static int add(struct cli_agents *agents, const struct blx_control_agent *agent,
               struct blx_error *err)
{
    if (blx_array_make_room(agents->list, agents->count) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot list the agents");
    agents->list[agents->count++] = *agent;
    return 0;
}

static int add_restore(struct cli_agents *agents, const struct blx_control_restore *restore,
                       struct blx_error *err)
{
    if (blx_array_make_room(agents->restores, agents->restore_count) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot list the restores");
    agents->restores[agents->restore_count++] = *restore;
    return 0;
}

static int add_handover(struct cli_agents *agents, const struct blx_control_handover *handover,
                        struct blx_error *err)
{
    if (blx_array_make_room(agents->handovers, agents->handover_count) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot list the handovers");
    agents->handovers[agents->handover_count++] = *handover;
    return 0;
}

static int add_host(struct cli_agents *agents, const struct blx_control_host *host,
                    struct blx_error *err)
{
    if (blx_array_make_room(agents->hosts, agents->host_count) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot list the dispatchers");
    agents->hosts[agents->host_count++] = *host;
    return 0;
}

static int add_place(struct cli_agents *agents, const struct blx_control_place *place,
                     struct blx_error *err)
{
    if (blx_array_make_room(agents->places, agents->place_count) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot list the agents");
    agents->places[agents->place_count++] = *place;
    return 0;
}

static int add_copy(struct cli_agents *agents, const struct blx_control_copy *copy,
                    struct blx_error *err)
{
    if (blx_array_make_room(agents->copies, agents->copy_count) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot list the copies");
    agents->copies[agents->copy_count++] = *copy;
    return 0;
}

static int add_pulled(struct cli_agents *agents, const struct blx_control_pulled *copy,
                      struct blx_error *err)
{
    if (blx_array_make_room(agents->pulled, agents->pulled_count) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot list the copies");
    agents->pulled[agents->pulled_count++] = *copy;
    return 0;
}

/* 1: it is none of a list. */
static int take(struct cli_agents *agents, const struct blx_message *message, struct blx_error *err)
{
    switch (message->type) {
    case BLX_MESSAGE_CONTROL_AGENT:
        return add(agents, &message->control_agent, err);
    case BLX_MESSAGE_CONTROL_DISPATCHER:
        agents->dispatcher = message->control_dispatcher;
        return 0;
    case BLX_MESSAGE_CONTROL_STALE:
        blx_text_set(agents->stale, message->control_stale.text);
        return 0;
    case BLX_MESSAGE_CONTROL_RESTORE:
        return add_restore(agents, &message->control_restore, err);
    case BLX_MESSAGE_CONTROL_HANDOVER:
        return add_handover(agents, &message->control_handover, err);
    case BLX_MESSAGE_CONTROL_COPY:
        return add_copy(agents, &message->control_copy, err);
    case BLX_MESSAGE_CONTROL_PULLED:
        return add_pulled(agents, &message->control_pulled, err);
    case BLX_MESSAGE_CONTROL_HOST:
        return add_host(agents, &message->control_host, err);
    case BLX_MESSAGE_CONTROL_PLACE:
        return add_place(agents, &message->control_place, err);
    default:
        return 1;
    }
}

static int ask_dispatcher(struct blx_conn *conn, const char *data_dir, struct cli_agents *agents,
                          struct blx_error *err)
{
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_STATUS};
    int rc = blx_conn_send(conn, &message, err);
    while (rc == 0) {
        rc = blx_conn_recv(conn, ANSWER_TIMEOUT_MS, &message, err);
        if (rc == 0)
            rc = take(agents, &message, err);
    }
    if (rc < 0) {
        blx_error_prefix(err, "the dispatcher on '%s' did not send its status", data_dir);
        return rc;
    }
    if (message.type != BLX_MESSAGE_CONTROL_DONE)
        return cli_control_unexpected(data_dir, message.type, err);
    if (!message.control_done.ok)
        return blx_error_set(err, -EIO, "the dispatcher on '%s' did not send its status: %s",
                             data_dir, message.control_done.text);
    agents->running = true;
    return 0;
}

/* What the store knows of an agent. If its last manifest is damaged, that becomes its trouble and
 * the rest stays zero. */
static void read_stored(const struct blx_store *store, const char *id,
                        struct blx_control_agent *agent)
{
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    struct blx_error err = {0};
    blx_text_set(agent->agent_id, id);
    int rc = blx_manifest_latest(blx_store_agent(store, id), &agent->last_checkpoint, &err);
    if (rc == 0 && agent->last_checkpoint != 0)
        rc = blx_manifest_read(blx_store_agent(store, id), agent->last_checkpoint, &manifest, &err);
    if (rc < 0) {
        agent->trouble.kind = blx_trouble_of(rc);
        blx_text_set(agent->trouble.text, err.message);
    }
    if (rc == 0 && agent->last_checkpoint == 0)
        agent->enrolled_since = blx_agent_store_look_enrolled(blx_store_agent(store, id));
    if (blx_pause_look(blx_store_agent(store, id), &agent->paused_since, &err) < 0)
        agent->paused_since = 0; /* the trouble above tells what is wrong with the store */
    if (blx_archive_look(blx_store_agent(store, id), &agent->archived_since, &err) < 0)
        agent->archived_since = 0;
    struct blx_error why = {0};
    char own_id[BLX_NAME_BYTES];
    if ((blx_own_id_read(blx_store_agent(store, id), own_id, &why) < 0 ||
         blx_pki_look_revoked(store->data_dir, own_id, &agent->revoked, &why) < 0) &&
        rc == 0)
        blx_text_set(agent->status.reason, why.message);
    manifest.timestamp = agent->last_checkpoint;
    blx_manifest_tell(&manifest, agent);
}

/* 1: it is copied from another dispatcher, and was added as such. */
static int take_copy(const struct blx_store *store, const char *id, struct cli_agents *agents,
                     struct blx_error *err)
{
    struct blx_agent_store agent = blx_store_agent(store, id);
    struct blx_control_pulled copy = {.checkpoint = 0};
    struct blx_origin origin;
    if (blx_origin_look(agent, &origin, NULL) != 1)
        return 0;
    blx_text_set(copy.agent_id, id);
    blx_text_set(copy.source, origin.address);
    copy.looked_s = origin.looked_s;
    blx_manifest_latest(agent, &copy.checkpoint, NULL);
    int rc = add_pulled(agents, &copy, err);
    return rc < 0 ? rc : 1;
}

static int ask_store(const char *data_dir, struct cli_agents *agents, struct blx_error *err)
{
    BLX_CLEANUP(blx_store_close) struct blx_store store = {.lock_fd = -1};
    char **ids = NULL;
    size_t count = 0;
    int rc = blx_store_open(data_dir, BLX_STORE_READ, &store, err);
    if (rc == 0)
        rc = blx_store_list_agents(&store, &ids, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct blx_control_agent agent = {.status.state = BLX_AGENT_OFFLINE,
                                          .away_ms = BLX_AWAY_UNKNOWN};
        rc = take_copy(&store, ids[i], agents, err);
        if (rc == 0) {
            read_stored(&store, ids[i], &agent);
            rc = add(agents, &agent, err);
        }
        rc = rc == 1 ? 0 : rc;
    }
    blx_store_free_agents(ids, count);
    return rc;
}

const char *cli_agents_find_place(const struct cli_agents *agents, const char *agent_id)
{
    for (size_t i = 0; i < agents->place_count; i++)
        if (strcmp(agents->places[i].agent_id, agent_id) == 0)
            return agents->places[i].host;
    return NULL;
}

bool cli_agents_are_of_standby(const struct cli_agents *agents)
{
    return agents->host_count > 0 && agents->hosts[0].role == BLX_HOST_STANDBY;
}

int cli_agents_collect(const char *data_dir, struct cli_agents *agents, struct blx_error *err)
{
    BLX_CLEANUP(cli_agents_done)
    struct cli_agents found = {.data_dir = data_dir, .now_realtime_ns = blx_clock_realtime_ns()};
    struct blx_error cause = {0};
    struct blx_conn *conn = NULL;
    int rc = cli_become_owner(data_dir, err);
    if (rc < 0)
        return rc;
    rc = cli_control_connect(data_dir, &conn, &cause);
    if (rc == 0) {
        rc = ask_dispatcher(conn, data_dir, &found, err);
        blx_conn_free(conn);
    } else if (rc == -ENOTCONN) {
        rc = ask_store(data_dir, &found, err);
        blx_text_set(found.note, cause.message);
    } else {
        blx_error_copy(err, rc, &cause);
    }
    if (rc == -ENOENT)
        blx_error_prefix(err, "is the data directory mounted? See store-gone in "
                              "blxrep-recovery(7)");
    if (rc < 0)
        return rc;
    *agents = found;
    found = (struct cli_agents){0};
    return 0;
}

/* There is something to look at, even if the agent is protected. */
static bool has_remark(const struct blx_control_agent *agent, uint64_t now_realtime_ns)
{
    char why[BLX_TEXT_BYTES];
    return blx_protection_explain(agent, now_realtime_ns, why)[0] != '\0';
}

static int compare(const void *a_arg, const void *b_arg, void *arg)
{
    const struct blx_control_agent *a = a_arg, *b = b_arg;
    const uint64_t *now_ns = arg;
    enum blx_protection a_is = blx_protection_judge(a, *now_ns);
    enum blx_protection b_is = blx_protection_judge(b, *now_ns);
    if (a_is != b_is)
        return a_is > b_is ? -1 : 1;
    bool a_has_remark = has_remark(a, *now_ns);
    if (a_has_remark != has_remark(b, *now_ns))
        return a_has_remark ? -1 : 1;
    if (a->last_checkpoint != b->last_checkpoint)
        return a->last_checkpoint < b->last_checkpoint ? -1 : 1;
    return strcmp(a->agent_id, b->agent_id);
}

void cli_agents_sort(struct cli_agents *agents)
{
    if (agents->count > 1)
        qsort_r(agents->list, agents->count, sizeof(*agents->list), compare,
                &agents->now_realtime_ns);
}

void cli_agents_note(const char *data_dir, const char *agent_id)
{
    BLX_CLEANUP(cli_agents_done) struct cli_agents agents = {0};
    struct blx_judgement judgement;
    char text[BLX_JUDGEMENT_TEXT_BYTES];
    if (cli_agents_collect(data_dir, &agents, NULL) < 0)
        return;
    for (size_t i = 0; agents.running && i < agents.count; i++) {
        if (strcmp(agents.list[i].agent_id, agent_id) != 0)
            continue;
        blx_protection_examine(&agents.list[i], agents.now_realtime_ns, &judgement);
        if (judgement.protection != BLX_PROTECTED)
            cli_note("'%s' is %s now: %s", agent_id, blx_protection_name(judgement.protection),
                     blx_judgement_format(&judgement, text));
    }
}

size_t cli_agents_tally(const struct cli_agents *agents, enum blx_protection protection)
{
    size_t tally = 0;
    for (size_t i = 0; i < agents->count; i++)
        tally += blx_protection_judge(&agents->list[i], agents->now_realtime_ns) == protection;
    return tally;
}
