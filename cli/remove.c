/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep remove`: removes an agent's data, a volume of it, or what no checkpoint has. */
#include "store/remove/remove.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/control.h"
#include "cli/describe.h"
#include "store/own_id.h"

enum { TEXT_BYTES = 512 };

/* The pinned checkpoints that --checkpoint names. */
static int find_named(const struct blx_config *config, blx_timestamp **named, struct blx_error *err)
{
    *named = calloc(config->pinned_count + 1, sizeof((*named)[0]));
    if (*named == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot note the checkpoints");
    for (size_t i = 0; i < config->pinned_count; i++) {
        int rc = blx_timestamp_parse(config->pinned[i], &(*named)[i], err);
        if (rc < 0) {
            blx_error_prefix(err, "--checkpoint=%s", config->pinned[i]);
            return rc;
        }
    }
    return 0;
}

/* "all of 'web1': 120 checkpoints, from ... to ..., 2 volumes, 35.1 GiB" */
static void describe(const struct blx_config *config, const struct blx_remove_report *report,
                     char text[TEXT_BYTES])
{
    char size[BLX_UNIT_TEXT_BYTES], volume[BLX_NAME_BYTES + 32] = "", range[96] = "";
    char narrowed[64] = "";
    if (config->volume != NULL)
        snprintf(volume, sizeof(volume), " of the volume '%s'", config->volume);
    if (report->oldest != 0)
        snprintf(range, sizeof(range), " (%" PRIu64 " to %" PRIu64 ")", report->oldest,
                 report->newest);
    if (report->narrowed > 0)
        snprintf(narrowed, sizeof(narrowed), "%zu checkpoint%s without the others, ",
                 report->narrowed, cli_plural(report->narrowed));
    blx_size_format(report->bytes, size);
    if (config->uncommitted)
        snprintf(text, TEXT_BYTES, "what no checkpoint has%s of '%s': %zu volume%s, %s", volume,
                 config->agent, report->volumes, cli_plural(report->volumes), size);
    else
        snprintf(text, TEXT_BYTES, "all%s of '%s': %s%zu checkpoint%s%s%s, %zu volume%s, %s",
                 volume, config->agent, narrowed, report->checkpoints,
                 cli_plural(report->checkpoints), report->narrowed > 0 ? " whole" : "", range,
                 report->volumes, cli_plural(report->volumes), size);
}

/* Whoever removes an agent types its ID again, or has said --yes. */
static int confirm(const struct blx_config *config, const char *text, struct blx_error *err)
{
    char line[BLX_NAME_BYTES + 2] = "";
    if (config->yes)
        return 0;
    if (isatty(STDIN_FILENO) != 1)
        return blx_error_set(err, -EPERM,
                             "nothing was removed: add --yes, or --dry-run to see what would go");
    cli_note("this removes %s; it cannot be undone", text);
    fputs("Type the agent's ID again: ", stderr);
    fflush(stderr);
    if (fgets(line, sizeof(line), stdin) == NULL)
        line[0] = '\0';
    line[strcspn(line, "\n")] = '\0';
    return strcmp(line, config->agent) == 0
               ? 0
               : blx_error_set(err, -EPERM, "nothing was removed: that was not '%s'",
                               config->agent);
}

/* The running dispatcher must not go on showing what is gone. */
static void tell_dispatcher(const struct blx_config *config)
{
    struct blx_error err = {0};
    int rc = cli_control_pause(config->data_dir, config->agent, &err);
    if (rc < 0 && rc != -ENOTCONN)
        cli_note("the running dispatcher may still show it: %s", err.message);
}

static void tell_outcome(const struct blx_config *config, const struct blx_remove_report *report,
                         const char *text)
{
    struct blx_json json = {.out = stdout};
    if (!config->json) {
        cli_tell("%s %s", config->dry_run ? "would remove" : "removed", text);
        return;
    }
    blx_json_open(&json, NULL, '{');
    blx_json_string(&json, "agent", config->agent);
    blx_json_bool(&json, "dry_run", config->dry_run);
    blx_json_number(&json, "checkpoints", report->checkpoints);
    blx_json_number(&json, "narrowed", report->narrowed);
    blx_json_number(&json, "volumes", report->volumes);
    blx_json_number(&json, "bytes", report->bytes);
    cli_json_timestamp(&json, "oldest", report->oldest);
    cli_json_timestamp(&json, "newest", report->newest);
    blx_json_close(&json, '}');
}

static int remove_it(const struct blx_store *store, const struct blx_config *config,
                     const struct blx_remove_request *request, struct blx_error *err)
{
    struct blx_agent_store agent = blx_store_agent(store, config->agent);
    struct blx_remove_report report;
    char text[TEXT_BYTES], own_id[BLX_NAME_BYTES];
    int rc = blx_remove_look(agent, request, &report, err);
    if (rc < 0)
        return rc;
    if (blx_own_id_read(agent, own_id, NULL) < 0) /* damaged, and about to go */
        snprintf(own_id, sizeof(own_id), "%s", config->agent);
    describe(config, &report, text);
    if (config->dry_run) {
        tell_outcome(config, &report, text);
        return 0;
    }
    rc = confirm(config, text, err);
    if (rc == 0)
        rc = blx_remove(agent, request, &report, err);
    if (rc < 0)
        return rc;
    describe(config, &report, text);
    const struct blx_audit_entry entry = {.event = "remove", .agent = config->agent, .text = text};
    cli_audit(config->data_dir, &entry);
    tell_dispatcher(config);
    tell_outcome(config, &report, text);
    if (request->part == BLX_REMOVE_ALL)
        cli_note("unless it is revoked, '%s' begins with a first sync when it connects again",
                 own_id);
    return 0;
}

enum blx_exit cli_remove(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    BLX_CLEANUP(blx_store_close) struct blx_store store = {.lock_fd = -1};
    BLX_CLEANUP_FREE blx_timestamp *named = NULL;
    if (find_named(config, &named, err) < 0)
        return BLX_EXIT_USAGE;
    const struct blx_remove_request removal = {
        .part = config->uncommitted      ? BLX_REMOVE_UNCOMMITTED
                : config->volume != NULL ? BLX_REMOVE_VOLUME
                                         : BLX_REMOVE_ALL,
        .volume = config->volume,
        .named = named,
        .named_count = config->pinned_count,
    };
    int rc = cli_store_open(config->data_dir, BLX_STORE_READ, &store, err);
    if (rc == 0)
        rc = remove_it(&store, config, &removal, err);
    return rc < 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
}
