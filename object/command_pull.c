/* SPDX-License-Identifier: Apache-2.0 */
/* `copy` and `adopt` from another dispatcher. */
#include <errno.h>
#include <fnmatch.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "base/json.h"
#include "base/units.h"
#include "object/commands.h"
#include "store/checkpoint/manifest_file.h"
#include "store/owner.h"
#include "store/own_id.h"
#include "store/segment/segment.h"
#include "store/verify/verify.h"

struct run {
    const struct blx_config *config;
    enum object_pull_end end;
    struct blx_store store;
    struct object_pace pace;
    struct object_pull_request request;
    struct blx_json json;
    unsigned failed;
};

/* The group `source` counts for the dispatcher that it names, and for no other one. */
static bool is_configured(const struct blx_config *config)
{
    return config->source.addr != NULL && strcmp(config->source.addr, config->from) == 0;
}

static void print_text(const struct run *run, const char *agent_id,
                       const struct object_pull_report *report)
{
    char came[BLX_UNIT_TEXT_BYTES], spared[BLX_UNIT_TEXT_BYTES];
    const char *done = run->end == OBJECT_PULL_ADOPT ? "adopted" : "copied";
    if (run->config->heal) {
        if (report->checkpoints > 0)
            printf("%s: %" PRIu64 " checkpoint%s healed; %" PRIu64 " segments, %s came\n", agent_id,
                   report->checkpoints, report->checkpoints == 1 ? "" : "s", report->files,
                   blx_size_format(report->bytes, came));
        return;
    }
    if (report->checkpoints == 0) {
        /* The dispatcher's log, and whoever gets a timer's mail, want news alone. */
        if (isatty(STDOUT_FILENO) == 0)
            return;
        printf("%s: nothing to copy; the newest copy is %" PRIu64 "\n", agent_id, report->newest);
        return;
    }
    printf("%s: %" PRIu64 " checkpoint%s %s up to %" PRIu64 "; %" PRIu64 " segments, %s came",
           agent_id, report->checkpoints, report->checkpoints == 1 ? "" : "s", done, report->newest,
           report->files, blx_size_format(report->bytes, came));
    if (report->spared_bytes > 0)
        printf(", %s were here", blx_size_format(report->spared_bytes, spared));
    printf("\n");
}

static void print_json(struct run *run, const char *agent_id,
                       const struct object_pull_report *report, const char *problem)
{
    struct blx_json *json = &run->json;
    blx_json_open(json, NULL, '{');
    blx_json_string(json, "agent", agent_id);
    blx_json_number(json, "checkpoints", report->checkpoints);
    blx_json_number(json, "newest", report->newest);
    blx_json_number(json, "segments", report->files);
    blx_json_number(json, "bytes", report->bytes);
    blx_json_number(json, "spared_bytes", report->spared_bytes);
    blx_json_string(json, "error", problem);
    blx_json_close(json, '}');
}

/* The checkpoint of which the damaged segment is; 0: none names it. */
static blx_timestamp find_checkpoint(struct blx_agent_store agent, const struct blx_damage *damage)
{
    BLX_CLEANUP_FREE blx_timestamp *all = NULL;
    size_t count = 0;
    const char *name = strrchr(damage->file, '/');
    uint32_t number = blx_segment_number(name != NULL ? name + 1 : damage->file);
    if (number == 0 || blx_manifest_list(agent, 0, BLX_TIMESTAMP_MAX, &all, &count, NULL) < 0)
        return 0;
    for (size_t i = 0; i < count; i++) {
        BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
        if (blx_manifest_read(agent, all[i], &manifest, NULL) < 0)
            continue;
        const struct blx_manifest_volume *entry = blx_manifest_find(&manifest, damage->volume);
        for (uint32_t s = 0; entry != NULL && s < entry->segment_count; s++) {
            if (entry->segments[s] == number)
                return all[i];
        }
    }
    return 0;
}

/* The first damage of a checkpoint from there on; NULL: none. What belongs to no checkpoint is the
 * affair of the agent's next session. */
static const struct blx_damage *next_damage(const struct blx_verify_report *found, size_t *at)
{
    while (*at < found->damage_count) {
        const struct blx_damage *damage = &found->damages[(*at)++];
        if (damage->scope == BLX_DAMAGE_COMMITTED)
            return damage;
    }
    return NULL;
}

/* Each damaged checkpoint, once for each of its volumes at most. */
static int heal_damages(struct run *run, const char *agent_id, struct blx_agent_store agent,
                        const struct blx_verify_report *found, struct object_pull_report *report,
                        struct blx_error *err)
{
    blx_timestamp healed = 0;
    size_t at = 0;
    for (const struct blx_damage *damage; (damage = next_damage(found, &at)) != NULL;) {
        blx_timestamp checkpoint = find_checkpoint(agent, damage);
        if (checkpoint == 0)
            return blx_error_set(err, -ENOTSUP,
                                 "'%s' is damaged, and is no segment of a checkpoint that can be "
                                 "read",
                                 damage->file);
        if (checkpoint == healed)
            continue;
        int rc = object_pull_heal(&run->request, agent_id, checkpoint, report, err);
        if (rc < 0)
            return rc;
        healed = checkpoint;
    }
    return 0;
}

static int heal(struct run *run, const char *agent_id, struct object_pull_report *report,
                struct blx_error *err)
{
    char name[BLX_NAME_BYTES];
    BLX_CLEANUP(blx_verify_report_done) struct blx_verify_report found = {0};
    BLX_CLEANUP(blx_verify_report_done) struct blx_verify_report left = {0};
    size_t first = 0;
    int rc = blx_own_id_find(&run->store, agent_id, name, err);
    if (rc <= 0)
        return rc; /* it is not here */
    rc = blx_verify(&run->store, name, NULL, &found, err);
    if (rc < 0 || next_damage(&found, &first) == NULL)
        return rc;
    rc = heal_damages(run, agent_id, blx_store_agent(&run->store, name), &found, report, err);
    if (rc == 0)
        rc = blx_verify(&run->store, name, NULL, &left, err);
    first = 0;
    const struct blx_damage *damage = rc == 0 ? next_damage(&left, &first) : NULL;
    if (damage != NULL)
        rc = blx_error_set(err, -EBADMSG, "'%s' is damaged still: %s", damage->file, damage->cause);
    return rc;
}

static int work_on(struct run *run, const char *agent_id, struct object_pull_report *report,
                   struct blx_error *err)
{
    return run->config->heal ? heal(run, agent_id, report, err)
                             : object_pull_agent(&run->request, agent_id, run->end, report, err);
}

/* What one agent fails with does not keep the others from being copied. */
static void pull_agent(struct run *run, const char *agent_id)
{
    struct object_pull_report report = {0};
    struct blx_error err = {0};
    int rc = work_on(run, agent_id, &report, &err);
    if (run->config->json)
        print_json(run, agent_id, &report, rc < 0 ? err.message : "");
    else if (rc == 0 || report.checkpoints > 0)
        print_text(run, agent_id, &report);
    if (rc < 0) {
        fprintf(stderr, "blxrep: cannot copy '%s' from '%s': %s\n", agent_id, run->config->from,
                err.message);
        run->failed++;
    }
    fflush(stdout);
}

static bool is_wanted(const struct run *run, const struct object_pull_agent *agent)
{
    const struct blx_config *config = run->config;
    if (config->agent != NULL)
        return strcmp(agent->id, config->agent) == 0;
    if (agent->newest == 0)
        return false; /* there is nothing to copy yet */
    if (!is_configured(config) || config->source.agent_count == 0)
        return true;
    for (size_t i = 0; i < config->source.agent_count; i++) {
        if (fnmatch(config->source.agents[i], agent->id, 0) == 0)
            return true;
    }
    return false;
}

static int pull_agents(struct run *run, struct blx_error *err)
{
    BLX_CLEANUP_FREE struct object_pull_agent *agents = NULL;
    size_t count = 0, wanted = 0;
    int rc = object_pull_list(&run->request, &agents, &count, err);
    if (rc < 0)
        return rc;
    if (run->config->json)
        blx_json_open(&run->json, NULL, '[');
    for (size_t i = 0; i < count; i++) {
        if (!is_wanted(run, &agents[i]))
            continue;
        wanted++;
        pull_agent(run, agents[i].id);
    }
    if (run->config->json)
        blx_json_close(&run->json, ']');
    if (wanted == 0 && run->config->agent != NULL)
        return blx_error_set(err, -ENOENT, "the dispatcher '%s' has no agent '%s'",
                             run->config->from, run->config->agent);
    return 0;
}

static int make_context(struct run *run, struct blx_error *err)
{
    const struct blx_config *config = run->config;
    const char *bundle = config->copier_credentials   ? config->copier_credentials
                         : config->source.credentials ? config->source.credentials
                                                      : BLX_DEFAULT_COPIER_PATH;
    const struct blx_tls_files files = {.ca = bundle, .cert = bundle, .key = bundle};
    return blx_tls_context_new_copier(&files, &run->request.tls, err);
}

static void set_rules(struct run *run)
{
    static const uint64_t every_ms[] = {[BLX_SOURCE_ALL] = 0,
                                        [BLX_SOURCE_HOURLY] = 3600 * UINT64_C(1000),
                                        [BLX_SOURCE_DAILY] = 24 * 3600 * UINT64_C(1000)};
    const struct blx_config *config = run->config;
    bool configured = is_configured(config);
    const struct blx_bandwidth *limit = &config->bandwidth_limit;
    if (limit->rule_count == 0 && configured)
        limit = &config->source.limit;
    object_pace_init(&run->pace, limit);
    run->request.address = config->from;
    run->request.pace = &run->pace;
    run->request.store = &run->store;
    run->request.every_ms = configured ? every_ms[config->source.checkpoints] : 0;
}

int object_command_pull(const struct blx_config *config, enum object_pull_end end,
                        struct blx_error *err)
{
    struct run run = {.config = config,
                      .end = end,
                      .store = {.lock_fd = -1, .folder_fd = -1},
                      .json = {.out = stdout}};
    enum blx_owner owner = BLX_OWNER_KEPT;
    if (config->heal && end == OBJECT_PULL_ADOPT)
        return blx_error_set(err, -EINVAL, "--heal belongs to copy");
    if (config->checkpoint != NULL)
        return blx_error_set(err, -EINVAL,
                             "--checkpoint is for copies in a folder or a bucket: another "
                             "dispatcher restores a checkpoint with a token, or copies all");
    set_rules(&run);
    /* Before root becomes the owner of the data directory: the file may be root's. */
    int rc = make_context(&run, err);
    if (rc == 0)
        rc = blx_mkdir_parents(config->data_dir, 0700, err);
    if (rc == 0)
        rc = blx_owner_become(config->data_dir, &owner, err);
    if (rc == 0)
        rc = blx_store_open(config->data_dir, BLX_STORE_INIT, &run.store, err);
    if (rc == 0)
        rc = pull_agents(&run, err);
    blx_store_close(&run.store);
    blx_tls_context_free(run.request.tls);
    if (rc == 0 && (fflush(stdout) != 0 || ferror(stdout)))
        rc = blx_error_errno(err, -EIO, "cannot print");
    return rc < 0 ? rc : run.failed > 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
}
