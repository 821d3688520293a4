/* SPDX-License-Identifier: Apache-2.0 */
/* `adopt`: agents from copies into a data directory. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/io.h"
#include "base/json.h"
#include "base/units.h"
#include "object/adopt.h"
#include "object/commands.h"
#include "object/recovery.h"
#include "store/owner.h"

struct run {
    const struct blx_config *config;
    struct blx_store store;
    struct object_depot *depot;
    char **agents; /* owned; those of the depot */
    size_t count;
    unsigned failed;
};

static void print_text(const char *agent_id, const struct object_adopt_report *report)
{
    char all[BLX_UNIT_TEXT_BYTES], fetched[BLX_UNIT_TEXT_BYTES];
    printf("%s: %" PRIu64 " checkpoints adopted; %" PRIu64 " segments, %s, of which %s came now\n",
           agent_id, report->checkpoints, report->objects, blx_size_format(report->bytes, all),
           blx_size_format(report->fetched_bytes, fetched));
    if (report->unusable > 0)
        printf("%s: %" PRIu64 " checkpoints could not be used: %s\n", agent_id, report->unusable,
               report->unusable_why);
    if (report->doubles > 0)
        printf("%s: %" PRIu64 " later copies of a checkpoint were left out\n", agent_id,
               report->doubles);
}

static void print_json(const char *agent_id, const struct object_adopt_report *report)
{
    struct blx_json json = {.out = stdout};
    blx_json_open(&json, NULL, '{');
    blx_json_string(&json, "agent", agent_id);
    blx_json_number(&json, "checkpoints", report->checkpoints);
    blx_json_number(&json, "objects", report->objects);
    blx_json_number(&json, "bytes", report->bytes);
    blx_json_number(&json, "fetched_bytes", report->fetched_bytes);
    blx_json_number(&json, "unusable", report->unusable);
    blx_json_number(&json, "doubles", report->doubles);
    blx_json_close(&json, '}');
}

static void adopt_agent(struct run *run, const char *agent_id)
{
    struct object_adopt_report report = {0};
    struct blx_error err = {0};
    int rc = object_adopt_agent(&run->store, run->depot, agent_id, run->config->checkpoint, &report,
                                &err);
    if (rc < 0) {
        fprintf(stderr, "blxrep: cannot adopt '%s': %s\n", agent_id, err.message);
        run->failed++;
        return;
    }
    if (run->config->json)
        print_json(agent_id, &report);
    else
        print_text(agent_id, &report);
    fflush(stdout);
}

static int take_agent(void *arg, const char *name)
{
    struct run *run = arg;
    if (blx_name_check("agent ID", name, NULL) < 0)
        return 0;
    if (blx_array_make_room(run->agents, run->count) < 0)
        return -ENOMEM;
    run->agents[run->count] = strdup(name);
    return run->agents[run->count++] == NULL ? -ENOMEM : 0;
}

static int adopt_all(struct run *run, struct blx_error *err)
{
    if (run->config->agent != NULL) {
        adopt_agent(run, run->config->agent);
        return 0;
    }
    int rc = object_depot_list_folders(run->depot, "agents/", take_agent, run, err);
    if (rc == 0 && run->count == 0)
        rc = blx_error_set(err, -ENOENT, "'%s' has no copies", object_depot_name(run->depot));
    for (size_t i = 0; rc == 0 && i < run->count; i++)
        adopt_agent(run, run->agents[i]);
    blx_store_free_agents(run->agents, run->count);
    return rc;
}

/* After the agents, since their digest keys go into their folders. */
static int adopt_keys(struct run *run, struct blx_error *err)
{
    BLX_CLEANUP_SECRET_KEY struct blx_key key = {0};
    size_t files = 0;
    if (run->config->key_count == 0)
        return 0;
    int rc = blx_key_read(run->config->keys[0], &key, err);
    if (rc == 0)
        rc = object_recovery_fetch(&run->store, run->depot, &key, &files, err);
    if (rc == 0 && !run->config->json)
        printf("%zu files of the lost host's keys are here: its agents go on against this one\n",
               files);
    return rc;
}

int object_command_adopt(const struct blx_config *config, struct blx_error *err)
{
    struct run run = {.config = config, .store = {.lock_fd = -1, .folder_fd = -1}};
    enum blx_owner owner = BLX_OWNER_KEPT;
    if (object_pull_is_address(config->from))
        return object_command_pull(config, OBJECT_PULL_ADOPT, err);
    int rc = blx_mkdir_parents(config->data_dir, 0700, err);
    if (rc == 0)
        rc = blx_owner_become(config->data_dir, &owner, err);
    if (rc == 0)
        rc = blx_store_open(config->data_dir, BLX_STORE_INIT, &run.store, err);
    if (rc < 0)
        return rc;
    rc = object_depot_open(config->from, config, &run.depot, err);
    if (rc == 0)
        rc = adopt_all(&run, err);
    if (rc == 0)
        rc = adopt_keys(&run, err);
    object_depot_close(run.depot);
    blx_store_close(&run.store);
    return rc < 0 ? rc : run.failed > 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
}
