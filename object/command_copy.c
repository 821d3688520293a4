/* SPDX-License-Identifier: Apache-2.0 */
/* `copy`: checkpoints into a folder or an object store. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/json.h"
#include "base/text.h"
#include "base/units.h"
#include "object/commands.h"
#include "object/copy.h"
#include "object/examine.h"
#include "store/owner.h"

/* A copy of some agents. */
struct run {
    const struct blx_config *config;
    struct object_copy_request request;
    struct blx_json json;
    char not_locked[OBJECT_FINDING_BYTES]; /* why; "": locks hold */
    unsigned failed;
};

static const char *where_to(const struct blx_config *config)
{
    return config->to != NULL ? config->to : config->object_store.url;
}

/* Whether the store keeps locks is tried each time: it is not what it says, but what it does. */
static int try_locks(struct run *run, struct blx_error *err)
{
    struct object_bucket *bucket = object_depot_bucket(run->request.depot);
    const struct blx_config_object_store *store = &run->config->object_store;
    struct object_examination examination;
    bool can_lock = false;
    if (bucket == NULL) {
        blx_text_set(run->not_locked, "a folder has no locks");
        return 0;
    }
    if (store->lock == BLX_OBJECT_LOCK_NONE) {
        blx_text_set(run->not_locked, "no lock is configured");
        return 0;
    }
    object_examine(bucket, store, &examination);
    for (size_t i = 0; i < examination.count; i++) {
        const struct object_finding *finding = &examination.findings[i];
        if (finding->result == OBJECT_NOT_KEPT && !examination.usable)
            return blx_error_set(err, -EIO, "the object store cannot be used: %s: %s",
                                 finding->promise, finding->text);
        if (finding->result == OBJECT_NOT_KEPT)
            blx_text_set(run->not_locked, finding->text);
    }
    int rc = object_bucket_get_locking(bucket, &can_lock, err);
    if (rc < 0)
        return rc;
    /* Locks that can be lifted are better than none, but nobody is told that they hold. */
    if (can_lock) {
        run->request.lock = store->lock;
        run->request.lock_ms = store->lock_ms;
    }
    if (!examination.locked && run->not_locked[0] == '\0')
        blx_text_set(run->not_locked, "it could not be tried whether locks hold");
    return 0;
}

/* "LOCKED UNTIL 2026-12-30 06:00 UTC", or why not. */
static void describe_lock(const struct run *run, const struct object_copy_report *report,
                          char *text, size_t bytes)
{
    struct tm utc = {0};
    time_t until = (time_t)report->locked_until_s;
    if (run->not_locked[0] != '\0') {
        snprintf(text, bytes, "NOT LOCKED: %s", run->not_locked);
    } else {
        gmtime_r(&until, &utc);
        strftime(text, bytes, "LOCKED UNTIL %Y-%m-%d %H:%M UTC", &utc);
    }
}

static void print_text(const struct run *run, const char *agent_id,
                       const struct object_copy_report *report)
{
    char lock[OBJECT_FINDING_BYTES + 32], sent[BLX_UNIT_TEXT_BYTES], spared[BLX_UNIT_TEXT_BYTES];
    if (report->checkpoints == 0) {
        printf("%s: nothing to copy; the newest copy is %" PRIu64 "\n", agent_id, report->newest);
        return;
    }
    describe_lock(run, report, lock, sizeof(lock));
    printf("%s: %" PRIu64 " checkpoint%s copied up to %" PRIu64 "; %" PRIu64 " objects, %s sent",
           agent_id, report->checkpoints, report->checkpoints == 1 ? "" : "s", report->newest,
           report->objects, blx_size_format(report->bytes, sent));
    if (report->spared_bytes > 0)
        printf(", %s were there", blx_size_format(report->spared_bytes, spared));
    printf("; %s\n", lock);
}

static void print_json(struct run *run, const char *agent_id,
                       const struct object_copy_report *report, const char *problem)
{
    struct blx_json *json = &run->json;
    blx_json_open(json, NULL, '{');
    blx_json_string(json, "agent", agent_id);
    blx_json_number(json, "checkpoints", report->checkpoints);
    blx_json_number(json, "newest", report->newest);
    blx_json_number(json, "objects", report->objects);
    blx_json_number(json, "bytes", report->bytes);
    blx_json_number(json, "spared_bytes", report->spared_bytes);
    blx_json_number(json, "relocked", report->relocked);
    blx_json_number(json, "whole_volumes", report->whole);
    blx_json_number(json, "locked_until",
                    run->not_locked[0] == '\0' ? (uint64_t)report->locked_until_s : 0);
    blx_json_string(json, "not_locked", run->not_locked);
    blx_json_string(json, "error", problem);
    blx_json_close(json, '}');
}

/* What one agent fails with does not keep the others from being copied. */
static void copy_agent(struct run *run, const char *agent_id)
{
    struct object_copy_report report = {0};
    struct blx_error err = {0};
    int rc = object_copy_agent(&run->request, agent_id, &report, &err);
    if (run->config->json)
        print_json(run, agent_id, &report, rc < 0 ? err.message : "");
    else if (rc == 0)
        print_text(run, agent_id, &report);
    if (rc < 0) {
        fprintf(stderr, "blxrep: cannot copy '%s': %s\n", agent_id, err.message);
        run->failed++;
    }
    fflush(stdout);
}

static int copy_agents(struct run *run, struct blx_error *err)
{
    char **agents = NULL;
    size_t count = 0;
    int rc = 0;
    if (run->config->json)
        blx_json_open(&run->json, NULL, '[');
    if (run->config->agent != NULL) {
        copy_agent(run, run->config->agent);
    } else {
        rc = blx_store_list_agents(run->request.store, &agents, &count, err);
        for (size_t i = 0; rc == 0 && i < count; i++)
            copy_agent(run, agents[i]);
        blx_store_free_agents(agents, count);
    }
    if (run->config->json)
        blx_json_close(&run->json, ']');
    return rc;
}

static int copy_store(struct run *run, struct blx_error *err)
{
    struct blx_store store = {.lock_fd = -1, .folder_fd = -1};
    int rc = blx_store_open(run->config->data_dir, BLX_STORE_READ, &store, err);
    if (rc < 0)
        return rc;
    run->request.store = &store;
    run->request.every_ms = run->config->to == NULL ? run->config->object_store.every_ms : 0;
    rc = object_depot_open(where_to(run->config), run->config, &run->request.depot, err);
    if (rc == 0)
        rc = try_locks(run, err);
    if (rc == 0)
        rc = object_depot_clean(run->request.depot, "agents/", err);
    if (rc == 0)
        rc = copy_agents(run, err);
    object_depot_close(run->request.depot);
    blx_store_close(&store);
    return rc;
}

int object_command_copy(const struct blx_config *config, struct blx_error *err)
{
    struct run run = {.config = config};
    enum blx_owner owner = BLX_OWNER_KEPT;
    if (config->from != NULL && config->to != NULL)
        return blx_error_set(err, -EINVAL, "give --to or --from, not both");
    if (config->from != NULL && object_pull_is_address(config->from))
        return object_command_pull(config, OBJECT_PULL_COPY, err);
    if (config->from != NULL)
        return object_command_adopt(config, err);
    if (where_to(config) == NULL)
        return blx_error_set(err, -EINVAL,
                             "no place for copies is known: give --to=FOLDER or --to=URL, or write "
                             "object-store: { url: \"https://HOST/BUCKET\" } into '%s'",
                             config->config_path != NULL ? config->config_path
                                                         : BLX_DEFAULT_CONFIG_PATH);
    run.json = (struct blx_json){.out = stdout};
    int rc = blx_owner_become(config->data_dir, &owner, err);
    if (rc == 0)
        rc = copy_store(&run, err);
    if (rc == 0 && (fflush(stdout) != 0 || ferror(stdout)))
        rc = blx_error_errno(err, -EIO, "cannot print");
    bool wants_lock =
        config->object_store.lock != BLX_OBJECT_LOCK_NONE && object_depot_is_url(where_to(config));
    if (rc < 0)
        return rc;
    return run.failed == 0 && (!wants_lock || run.not_locked[0] == '\0') ? BLX_EXIT_OK
                                                                         : BLX_EXIT_FAILED;
}
