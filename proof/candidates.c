/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/candidates.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"
#include "store/archive.h"
#include "store/checkpoint/manifest_file.h"
#include "store/checkpoint/tested.h"
#include "wire/control_socket.h"

enum { ANSWER_MS = 30000 };

void proof_candidates_done(struct proof_candidates *candidates)
{
    free(candidates->list);
    *candidates = (struct proof_candidates){0};
}

struct proof_plan_agent *proof_candidates_find(const struct proof_candidates *candidates,
                                               const char *agent_id)
{
    for (size_t i = 0; i < candidates->count; i++)
        if (strcmp(candidates->list[i].agent_id, agent_id) == 0)
            return &candidates->list[i];
    return NULL;
}

static int take_answers(struct blx_conn *conn, struct blx_policy_test *test, struct blx_error *err)
{
    struct blx_message answer;
    for (;;) {
        struct blx_policy_verdict verdict = {0};
        int rc = blx_conn_recv(conn, ANSWER_MS, &answer, err);
        if (rc < 0)
            return rc;
        if (answer.type == BLX_MESSAGE_CONTROL_DONE)
            return 0;
        if (answer.type != BLX_MESSAGE_CONTROL_VERDICT ||
            answer.control_verdict.key != BLX_POLICY_RESTORE_TEST)
            continue;
        rc = blx_policy_verdict_take(&answer.control_verdict, &verdict, err);
        if (rc < 0)
            return rc;
        *test = verdict.test;
    }
}

static int ask_dispatcher(const char *data_dir, const char *agent_id, struct blx_policy_test *test,
                          struct blx_error *err)
{
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_POLICY};
    struct blx_conn *conn = NULL;
    int rc = blx_control_socket_connect(data_dir, ANSWER_MS, &conn, err);
    if (rc < 0)
        return rc;
    blx_text_set(message.control_policy.agent_id, agent_id);
    rc = blx_conn_send(conn, &message, err);
    if (rc == 0)
        rc = take_answers(conn, test, err);
    blx_conn_free(conn);
    if (rc < 0)
        blx_error_prefix(err, "the dispatcher on '%s' did not tell its settings", data_dir);
    return rc;
}

/* A store that cannot be read at this moment has nothing to test. */
static void look_at_records(struct blx_agent_store agent, struct proof_plan_agent *planned)
{
    struct blx_tested newest;
    blx_timestamp latest = 0;
    blx_timestamp archived = 0;
    planned->untested = 0;
    if (blx_archive_look(agent, &archived, NULL) < 0 || archived != 0 ||
        blx_manifest_latest(agent, &latest, NULL) < 0)
        return;
    int rc = blx_tested_find_newest(agent, &newest, NULL);
    if (rc == -ENOENT)
        planned->untested = latest;
    if (rc < 0)
        return;
    time_t begun = (time_t)(newest.begun_realtime_ns / BLX_NS_PER_S);
    if (planned->begun < begun)
        planned->begun = begun;
    if (newest.checkpoint != latest)
        planned->untested = latest;
}

static int look_at_agent(const struct blx_store *store, const char *agent_id,
                         const struct proof_candidates *before, struct proof_candidates *found,
                         struct blx_error *err)
{
    struct proof_plan_agent *planned = &found->list[found->count];
    const struct proof_plan_agent *known = proof_candidates_find(before, agent_id);
    *planned = known != NULL ? *known : (struct proof_plan_agent){.running = false};
    planned->test = (struct blx_policy_test){0};
    blx_text_set(planned->agent_id, agent_id);
    int rc = ask_dispatcher(store->data_dir, agent_id, &planned->test, err);
    if (rc < 0)
        return rc;
    if (planned->test.every_ms > 0)
        look_at_records(blx_store_agent(store, agent_id), planned);
    if (planned->test.every_ms > 0 || planned->running)
        found->count++;
    return 0;
}

int proof_candidates_look(struct proof_candidates *candidates, const struct blx_store *store,
                          struct blx_error *err)
{
    struct proof_candidates found = {0};
    char **agent_ids = NULL;
    size_t count = 0;
    int rc = blx_store_list_agents(store, &agent_ids, &count, err);
    if (rc < 0)
        return rc;
    found.list = calloc(count + 1, sizeof(found.list[0]));
    if (found.list == NULL)
        rc = blx_error_errno(err, -ENOMEM, "cannot list the agents");
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = look_at_agent(store, agent_ids[i], candidates, &found, err);
    blx_store_free_agents(agent_ids, count);
    if (rc < 0) {
        proof_candidates_done(&found);
        return rc;
    }
    proof_candidates_done(candidates);
    *candidates = found;
    return 0;
}
