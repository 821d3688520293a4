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
#include "object/recovery.h"
#include "object/retain.h"
#include "store/copy/elsewhere.h"
#include "store/owner.h"

enum { RETAIN_EVERY_S = 24 * 3600 };

/* A copy of some agents. */
struct run {
    const struct blx_config *config;
    struct object_copy_request request;
    struct blx_json json;
    char not_locked[OBJECT_FINDING_BYTES]; /* why; "": locks hold */
    bool records; /* how the copies stand is written down: they are the ones that `status` tells */
    const char *failure; /* of all agents alike, for fail_agent() */
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

/* Why what was copied now is not locked; "": it is. */
static const char *why_not_locked(const struct run *run, const struct object_copy_report *report)
{
    return run->not_locked[0] != '\0' ? run->not_locked : report->refused;
}

/* "LOCKED UNTIL 2026-12-30 06:00 UTC", or why not. */
static void describe_lock(const struct run *run, const struct object_copy_report *report,
                          char *text, size_t bytes)
{
    struct tm utc = {0};
    time_t until = (time_t)report->locked_until_s;
    const char *why = why_not_locked(run, report);
    if (why[0] != '\0') {
        snprintf(text, bytes, "NOT LOCKED: %.500s", why);
    } else {
        gmtime_r(&until, &utc);
        strftime(text, bytes,
                 report->lock == BLX_COPIED_GOVERNANCE
                     ? "LOCKED UNTIL %Y-%m-%d %H:%M UTC (governance: some may lift it)"
                     : "LOCKED UNTIL %Y-%m-%d %H:%M UTC",
                 &utc);
    }
}

static void print_strangers(const char *agent_id, const struct object_copy_report *report)
{
    if (report->strange_count > 0)
        fprintf(stderr,
                "blxrep: %s: %" PRIu64 " checkpoint%s there, up to %" PRIu64
                ", did not come from this data directory: it was set back, or somebody else wrote "
                "them; they do not count as copies\n",
                agent_id, report->strange_count, report->strange_count == 1 ? "" : "s",
                report->strange_newest);
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
                    why_not_locked(run, report)[0] == '\0' ? (uint64_t)report->locked_until_s : 0);
    blx_json_string(json, "not_locked", why_not_locked(run, report));
    blx_json_number(json, "strange", report->strange_count);
    blx_json_string(json, "error", problem);
    blx_json_close(json, '}');
}

/* What the last try left; nothing if it was of another place. */
static struct blx_elsewhere recall(const struct run *run, const char *agent_id)
{
    struct blx_elsewhere elsewhere = {0};
    const char *place = where_to(run->config);
    if (blx_elsewhere_read(blx_store_agent(run->request.store, agent_id), &elsewhere, NULL) != 1 ||
        strncmp(elsewhere.place, place, sizeof(elsewhere.place) - 1) != 0) {
        elsewhere = (struct blx_elsewhere){0};
        blx_text_set(elsewhere.place, place);
    }
    return elsewhere;
}

/* How the agent's copy stands after this try, for `status`, metrics and events. */
static void record(const struct run *run, const char *agent_id, struct blx_elsewhere *elsewhere,
                   const struct object_copy_report *report, const char *failure)
{
    struct blx_error err = {0};
    if (!run->records)
        return;
    elsewhere->tried_s = (int64_t)time(NULL);
    blx_text_set(elsewhere->failure, failure);
    if (report->checkpoints > 0) {
        elsewhere->copied_s = elsewhere->tried_s;
        elsewhere->locked_until_s = report->locked_until_s;
        elsewhere->lock = report->lock;
    }
    if (report->newest != 0 || failure[0] == '\0')
        elsewhere->newest = report->newest;
    /* What was not locked when it was copied is not locked now. */
    if (run->not_locked[0] != '\0' || report->checkpoints > 0 ||
        (elsewhere->locked_until_s > 0 && (int)elsewhere->lock >= (int)run->request.lock))
        blx_text_set(elsewhere->not_locked, why_not_locked(run, report));
    elsewhere->strange_count = report->strange_count;
    elsewhere->strange_newest = report->strange_newest;
    if (blx_elsewhere_write(blx_store_agent(run->request.store, agent_id), elsewhere, &err) < 0)
        fprintf(stderr, "blxrep: cannot note the copies of '%s': %s\n", agent_id, err.message);
}

/* Once a day the copies' own rules. They are no reason to say that the copy failed. */
static void retain(struct run *run, const char *agent_id, blx_timestamp newest,
                   struct blx_elsewhere *elsewhere)
{
    const struct object_retain_request request = {.store = run->request.store,
                                                  .depot = run->request.depot,
                                                  .retention = &run->config->object_store.retention,
                                                  .newest = newest,
                                                  .orphan_s = OBJECT_ORPHAN_S};
    struct object_retain_report report = {0};
    struct blx_error err = {0};
    int64_t now_s = (int64_t)time(NULL);
    if (run->config->to != NULL || blx_retention_is_none(request.retention) ||
        (elsewhere->retained_s <= now_s && now_s - elsewhere->retained_s < RETAIN_EVERY_S))
        return;
    if (object_retain_agent(&request, agent_id, &report, &err) < 0) {
        fprintf(stderr, "blxrep: cannot remove copies of '%s' that no rule keeps: %s\n", agent_id,
                err.message);
        return;
    }
    elsewhere->retained_s = now_s;
    if (!run->config->json && report.checkpoints + report.objects + report.locked > 0)
        printf("%s: %" PRIu64 " copied checkpoints and %" PRIu64
               " objects removed that no rule keeps; %" PRIu64 " are locked\n",
               agent_id, report.checkpoints, report.objects, report.locked);
}

/* What one agent fails with does not keep the others from being copied. */
static void copy_agent(struct run *run, const char *agent_id)
{
    struct object_copy_report report = {0};
    struct blx_error err = {0};
    struct blx_elsewhere elsewhere = recall(run, agent_id);
    run->request.copied_s = elsewhere.copied_s;
    int rc = object_copy_agent(&run->request, agent_id, &report, &err);
    if (rc == 0)
        retain(run, agent_id, report.newest, &elsewhere);
    if (rc != -EBUSY) /* then another copy tells */
        record(run, agent_id, &elsewhere, &report, rc < 0 ? err.message : "");
    print_strangers(agent_id, &report);
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

/* Calls visit() for the agents that are wanted. */
static int each_agent(struct run *run, void (*visit)(struct run *run, const char *agent_id),
                      struct blx_error *err)
{
    char **agents = NULL;
    size_t count = 0;
    if (run->config->agent != NULL) {
        visit(run, run->config->agent);
        return 0;
    }
    int rc = blx_store_list_agents(run->request.store, &agents, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (run->config->to != NULL ||
            blx_config_copies_agent(&run->config->object_store, agents[i]))
            visit(run, agents[i]);
    }
    blx_store_free_agents(agents, count);
    return rc;
}

static int copy_agents(struct run *run, struct blx_error *err)
{
    if (run->config->json)
        blx_json_open(&run->json, NULL, '[');
    int rc = each_agent(run, copy_agent, err);
    if (run->config->json)
        blx_json_close(&run->json, ']');
    return rc;
}

static void fail_agent(struct run *run, const char *agent_id)
{
    const struct object_copy_report report = {0};
    struct blx_elsewhere elsewhere = recall(run, agent_id);
    record(run, agent_id, &elsewhere, &report, run->failure);
}

/* The host's keys, without which agents would not go on against another one. */
static void copy_keys(struct run *run)
{
    const struct blx_config_object_store *config = &run->config->object_store;
    BLX_CLEANUP_SECRET_KEY struct blx_key key = {0};
    struct blx_error err = {0};
    const struct object_lock lock = {.mode = run->request.lock,
                                     .until = time(NULL) + (time_t)(run->request.lock_ms / 1000)};
    if (config->recovery_key == NULL)
        return;
    int rc = blx_key_read(config->recovery_key, &key, &err);
    if (rc == 0)
        rc = object_recovery_send(run->request.store, run->request.depot, &key,
                                  lock.mode != BLX_OBJECT_LOCK_NONE ? &lock : NULL, &err);
    if (rc < 0) {
        fprintf(stderr, "blxrep: cannot copy the host's keys: %s\n", err.message);
        run->failed++;
    } else if (rc == 1 && !run->config->json) {
        printf("the host's keys are copied, encrypted with the recovery key\n");
    }
}

/* Opens the depot, tries its locks, and copies. */
static int copy_to_depot(struct run *run, struct blx_error *err)
{
    int rc = object_depot_open(where_to(run->config), run->config, &run->request.depot, err);
    if (rc == 0)
        rc = try_locks(run, err);
    if (rc == 0)
        rc = object_depot_clean(run->request.depot, "agents/", err);
    if (rc == 0)
        copy_keys(run);
    return rc == 0 ? copy_agents(run, err) : rc;
}

static int copy_store(struct run *run, struct blx_error *err)
{
    struct blx_store store = {.lock_fd = -1, .folder_fd = -1};
    int rc = blx_store_open(run->config->data_dir, BLX_STORE_READ, &store, err);
    if (rc < 0)
        return rc;
    run->request.store = &store;
    run->request.every_ms = run->config->to == NULL ? run->config->object_store.every_ms : 0;
    run->records = run->config->to == NULL || run->config->object_store.url == NULL;
    rc = copy_to_depot(run, err);
    if (rc < 0 && run->records) {
        run->failure = err->message;
        each_agent(run, fail_agent, NULL);
    }
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
    if (config->heal)
        return blx_error_set(err, -EINVAL,
                             "--heal takes what is damaged from another dispatcher: give "
                             "--from=HOST:PORT");
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
