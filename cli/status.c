#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/control.h"
#include "cli/table.h"
#include "store/manifest.h"

enum { ANSWER_TIMEOUT_MS = 30000 };

struct agents {
    struct blx_control_agent *list; /* owned */
    size_t count;
};

static void agents_done(struct agents *agents)
{
    free(agents->list);
}

static int agents_add(struct agents *agents, const struct blx_control_agent *agent,
                      struct blx_error *err)
{
    struct blx_control_agent *grown = reallocarray(agents->list, agents->count + 1, sizeof(*grown));
    if (grown == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot list the agents");
    agents->list = grown;
    grown[agents->count++] = *agent;
    return 0;
}

static int ask_dispatcher(struct blx_conn *conn, struct agents *agents, struct blx_error *err)
{
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_STATUS};
    int rc = blx_conn_send(conn, &message, err);
    while (rc == 0) {
        rc = blx_conn_recv(conn, ANSWER_TIMEOUT_MS, &message, err);
        if (rc == 0 && message.type == BLX_MESSAGE_CONTROL_AGENT)
            rc = agents_add(agents, &message.control_agent, err);
        else if (rc == 0)
            break;
    }
    if (rc < 0) {
        blx_error_prefix(err, "the dispatcher does not tell its status");
        return rc;
    }
    if (message.type != BLX_MESSAGE_CONTROL_DONE)
        return blx_error_set(err, -EPROTO, "the dispatcher answered with an unexpected %s",
                             blx_message_name(message.type));
    if (!message.control_done.ok)
        return blx_error_set(err, -EIO, "the dispatcher does not tell its status: %s",
                             message.control_done.text);
    return 0;
}

/* What the store says of an agent while no dispatcher runs. A damaged manifest is said and leaves
 * the rest blank. */
static void read_stored(const struct blx_store *store, const char *id,
                        struct blx_control_agent *agent)
{
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    struct blx_error err = {0};
    snprintf(agent->agent_id, sizeof(agent->agent_id), "%s", id);
    int rc = blx_manifest_latest(store, id, &agent->last_checkpoint, &err);
    if (rc == 0 && agent->last_checkpoint != 0)
        rc = blx_manifest_read(store, id, agent->last_checkpoint, &manifest, &err);
    if (rc < 0)
        cli_note("%s", err.message);
    agent->last_consistency = manifest.consistency;
    agent->last_unreadable_bytes = blx_manifest_unreadable_bytes(&manifest);
    agent->volume_count = manifest.volume_count;
}

static int ask_store(const char *data_dir, struct agents *agents, struct blx_error *err)
{
    BLX_CLEANUP(blx_store_close) struct blx_store store = {.lock_fd = -1};
    char **ids = NULL;
    size_t count = 0;
    int rc = blx_store_open(data_dir, BLX_STORE_READ, &store, err);
    if (rc == 0)
        rc = blx_store_list_agents(&store, &ids, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct blx_control_agent agent = {.status.state = BLX_AGENT_OFFLINE};
        read_stored(&store, ids[i], &agent);
        rc = agents_add(agents, &agent, err);
    }
    blx_store_free_agents(ids, count);
    return rc;
}

static int collect(const char *data_dir, struct agents *agents, struct blx_error *err)
{
    struct blx_error cause = {0};
    struct blx_conn *conn = NULL;
    int rc = cli_control_connect(data_dir, &conn, &cause);
    if (rc == 0) {
        rc = ask_dispatcher(conn, agents, err);
        blx_conn_free(conn);
        return rc;
    }
    if (rc != -ENOTCONN)
        return blx_error_set(err, rc, "%s", cause.message);
    rc = ask_store(data_dir, agents, err);
    if (rc == 0)
        cli_note("%s", cause.message);
    return rc;
}

static uint64_t age_seconds(const struct blx_control_agent *agent)
{
    int64_t now = (int64_t)(blx_clock_realtime_ns() / 1000000000);
    int64_t then = blx_timestamp_to_unix(agent->last_checkpoint);
    return now > then ? (uint64_t)(now - then) : 0;
}

/* What only the agent itself knows, and nobody while it is away. */
static void print_live_json(struct blx_json *json, const struct blx_control_agent *agent)
{
    const struct blx_status *status = &agent->status;
    const struct {
        const char *key;
        uint64_t value;
    } members[] = {
        {"dirty_bytes", status->dirty_bytes}, {"unreadable_bytes", status->unreadable_bytes},
        {"done_bytes", status->done_bytes},   {"total_bytes", status->total_bytes},
        {"eta_seconds", status->eta_seconds}, {"missed_events", status->missed_events}};
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++) {
        if (status->state == BLX_AGENT_OFFLINE)
            blx_json_null(json, members[i].key);
        else
            blx_json_number(json, members[i].key, members[i].value);
    }
}

static void print_last_json(struct blx_json *json, const struct blx_control_agent *agent)
{
    if (agent->last_checkpoint == 0) {
        blx_json_null(json, "last_checkpoint");
        blx_json_null(json, "consistency");
        blx_json_null(json, "damaged");
        blx_json_null(json, "age");
        return;
    }
    char text[BLX_TIMESTAMP_TEXT_BYTES];
    blx_timestamp_format(agent->last_checkpoint, text);
    blx_json_string(json, "last_checkpoint", text);
    blx_json_string(json, "consistency", blx_consistency_name(agent->last_consistency));
    blx_json_bool(json, "damaged", agent->last_unreadable_bytes > 0);
    blx_json_number(json, "age", age_seconds(agent));
}

static void print_json(const struct agents *agents)
{
    struct blx_json json = {.out = stdout};
    blx_json_open(&json, NULL, '[');
    for (size_t i = 0; i < agents->count; i++) {
        const struct blx_control_agent *agent = &agents->list[i];
        blx_json_open(&json, NULL, '{');
        blx_json_string(&json, "id", agent->agent_id);
        blx_json_string(&json, "state", blx_agent_state_name(agent->status.state));
        blx_json_string(&json, "peer", agent->peer);
        print_last_json(&json, agent);
        print_live_json(&json, agent);
        blx_json_string(&json, "reason", agent->status.reason);
        blx_json_number(&json, "connected_ms", agent->connected_ms);
        blx_json_number(&json, "received_bytes", agent->received_bytes);
        blx_json_number(&json, "volumes", agent->volume_count);
        blx_json_close(&json, '}');
    }
    blx_json_close(&json, ']');
}

static void format_progress(const struct blx_status *status, char text[96])
{
    char done[BLX_UNIT_TEXT_BYTES], total[BLX_UNIT_TEXT_BYTES], eta[BLX_UNIT_TEXT_BYTES];
    snprintf(text, 96, "-");
    if (status->state == BLX_AGENT_OFFLINE || status->total_bytes == 0)
        return;
    double percent = 100.0 * (double)status->done_bytes / (double)status->total_bytes;
    snprintf(text, 96, "%.0f %% (%s of %s)%s%s", percent > 100 ? 100 : percent,
             blx_size_format(status->done_bytes, done), blx_size_format(status->total_bytes, total),
             status->eta_seconds > 0 ? ", ETA " : "",
             status->eta_seconds > 0
                 ? blx_duration_format((uint64_t)status->eta_seconds * 1000, eta)
                 : "");
}

static int add_row(struct cli_table *table, const struct blx_control_agent *agent)
{
    char last[BLX_TIMESTAMP_TEXT_BYTES] = "-", age[BLX_UNIT_TEXT_BYTES] = "-";
    char lag[BLX_UNIT_TEXT_BYTES] = "-", progress[96], consistency[32];
    bool has_checkpoint = agent->last_checkpoint != 0;
    bool online = agent->status.state != BLX_AGENT_OFFLINE;
    if (has_checkpoint) {
        blx_timestamp_format(agent->last_checkpoint, last);
        if (age_seconds(agent) == 0)
            snprintf(age, sizeof(age), "0 s");
        else
            blx_duration_format(age_seconds(agent) * 1000, age);
    }
    if (online)
        blx_size_format(agent->status.dirty_bytes, lag);
    format_progress(&agent->status, progress);
    snprintf(consistency, sizeof(consistency), "%s%s",
             blx_consistency_name(agent->last_consistency),
             agent->last_unreadable_bytes > 0 ? ", damaged" : "");
    const char *cells[] = {agent->agent_id,
                           blx_agent_state_name(agent->status.state),
                           last,
                           age,
                           has_checkpoint ? consistency : "-",
                           lag,
                           progress,
                           agent->peer[0] != '\0' ? agent->peer : "-",
                           agent->status.reason};
    return cli_table_add(table, cells);
}

static int print_table(const struct agents *agents, struct blx_error *err)
{
    static const char *const head[] = {"AGENT", "STATE",    "CHECKPOINT", "AGE",   "CONSISTENCY",
                                       "LAG",   "PROGRESS", "PEER",       "REASON"};
    BLX_CLEANUP(cli_table_done)
    struct cli_table table = {.column_count = sizeof(head) / sizeof(head[0])};
    int rc = cli_table_add(&table, head);
    for (size_t i = 0; rc == 0 && i < agents->count; i++)
        rc = add_row(&table, &agents->list[i]);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot list the agents");
    if (agents->count > 0)
        cli_table_print(&table);
    return 0;
}

enum blx_exit cli_status(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    BLX_CLEANUP(agents_done) struct agents agents = {0};
    if (collect(config->data_dir, &agents, err) < 0)
        return BLX_EXIT_FAILED;
    if (agents.count == 0)
        cli_note("no agent has connected to '%s' yet", config->data_dir);
    if (!config->json)
        return print_table(&agents, err) < 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
    print_json(&agents);
    return BLX_EXIT_OK;
}
