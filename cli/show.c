/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep show`: lists an agent's checkpoints. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/copies.h"
#include "cli/describe.h"
#include "cli/machines.h"
#include "cli/mounts.h"
#include "cli/proof.h"
#include "cli/suspicion.h"
#include "cli/table.h"
#include "store/checkpoint/manifest_file.h"
#include "store/checkpoint/missing.h"
#include "store/checkpoint/pin.h"

/* Takes the checkpoints: JSON is printed at once, a table at the end. */
struct sink {
    const struct blx_config *config;
    uint64_t now_realtime_ns;
    const blx_timestamp *pins; /* ascending */
    size_t pin_count;
    struct blx_agent_store agent;
    const blx_timestamp *tests; /* the tested ones, ascending */
    size_t test_count;
    const blx_timestamp *marks; /* the suspicious ones, ascending */
    size_t mark_count;
    struct blx_json *json; /* NULL: the table */
    struct cli_table *table;
    enum blx_exit status;
};

static void print_volume_json(struct blx_json *json, const struct blx_manifest_volume *volume)
{
    blx_json_open(json, NULL, '{');
    blx_json_string(json, "name", volume->name);
    blx_json_string(json, "device", volume->device);
    blx_json_number(json, "size", volume->size_bytes);
    blx_json_number(json, "changed_bytes", volume->changed_bytes);
    blx_json_number(json, "stored_bytes", volume->stored_bytes);
    blx_json_number(json, "saved_bytes", blx_manifest_volume_saved_bytes(volume));
    cli_json_key(json, volume);
    cli_json_unreadable(json, volume);
    blx_json_close(json, '}');
}

/* What lies beside a manifest. */
struct beside {
    bool pinned, is_suspicious;
    const struct blx_tested *tested; /* NULL: it was not tested */
    struct blx_suspicion suspicion;  /* if is_suspicious */
};

static void print_json(struct blx_json *json, const struct blx_manifest *manifest,
                       const struct beside *beside)
{
    const struct blx_tested *tested = beside->tested;
    blx_json_open(json, NULL, '{');
    cli_json_timestamp(json, "checkpoint", manifest->timestamp);
    cli_json_time(json, "time", blx_manifest_time(manifest));
    blx_json_string(json, "consistency", blx_consistency_name(manifest->consistency));
    blx_json_bool(json, "damaged", blx_manifest_unreadable_bytes(manifest) > 0);
    blx_json_string(json, "kind", cli_kind_name(manifest));
    cli_json_timestamp(json, "parent", manifest->parent);
    blx_json_number(json, "freeze_ms", manifest->freeze_ns / BLX_NS_PER_MS);
    blx_json_bool(json, "pinned", beside->pinned);
    if (tested != NULL)
        blx_tested_print_json(json, "tested", tested);
    else
        blx_json_null(json, "tested");
    if (beside->is_suspicious)
        blx_suspicion_print_json(json, "suspicious", &beside->suspicion);
    else
        blx_json_null(json, "suspicious");
    blx_json_string(json, "note", manifest->note);
    cli_json_missing(json, manifest);
    blx_json_open(json, "volumes", '[');
    for (uint32_t i = 0; i < manifest->volume_count; i++)
        print_volume_json(json, &manifest->volumes[i]);
    blx_json_close(json, ']');
    blx_json_close(json, '}');
}

/* "58 %" of the changed bytes; "" if nothing changed. */
static const char *format_saved(uint64_t changed_bytes, uint64_t saved_bytes, char text[8])
{
    text[0] = '\0';
    if (changed_bytes > 0)
        snprintf(text, 8, "%.0f %%", 100.0 * (double)saved_bytes / (double)changed_bytes);
    return text;
}

enum column {
    COLUMN_CHECKPOINT,
    COLUMN_TIME,
    COLUMN_AGE,
    COLUMN_CONSISTENCY,
    COLUMN_KIND,
    COLUMN_VOLUMES,
    COLUMN_SIZE,
    COLUMN_CHANGED,
    COLUMN_STORED,
    COLUMN_SAVED,
    COLUMN_KEY,
    COLUMN_TESTED,
    COLUMN_SIGNAL,
    COLUMN_PINNED,
    COLUMN_COUNT,
};

/* The least useful first. */
static const uint8_t spare_columns[] = {COLUMN_KEY,    COLUMN_SAVED,   COLUMN_SIZE,    COLUMN_KIND,
                                        COLUMN_STORED, COLUMN_CHANGED, COLUMN_VOLUMES, COLUMN_TIME};

static int add_volume_row(struct cli_table *table, const struct blx_manifest_volume *volume)
{
    char size[BLX_UNIT_TEXT_BYTES], changed[BLX_UNIT_TEXT_BYTES], stored[BLX_UNIT_TEXT_BYTES];
    char saved[8], key[BLX_KEY_ID_TEXT_BYTES];
    bool damaged = volume->unreadable_count > 0;
    const char *cells[COLUMN_COUNT] = {
        "",
        "",
        "",
        damaged ? "damaged" : "",
        cli_volume_kind_name(volume),
        volume->name,
        blx_size_format(volume->size_bytes, size),
        blx_size_format(volume->changed_bytes, changed),
        blx_size_format(volume->stored_bytes, stored),
        format_saved(volume->changed_bytes, blx_manifest_volume_saved_bytes(volume), saved),
        cli_key_format(&volume->key_id, key),
        "",
        "",
        ""};
    return cli_table_add(table, cells);
}

/* The key of all volumes; "several" if they differ. */
static const char *format_keys(const struct blx_manifest *manifest,
                               char text[BLX_KEY_ID_TEXT_BYTES])
{
    for (uint32_t i = 1; i < manifest->volume_count; i++) {
        if (!blx_key_id_equal(&manifest->volumes[i].key_id, &manifest->volumes[0].key_id))
            return "several";
    }
    return cli_key_format(&manifest->volumes[0].key_id, text);
}

static int add_rows(const struct sink *sink, const struct blx_manifest *manifest,
                    const struct beside *beside)
{
    struct cli_table *table = sink->table;
    char text[BLX_TIMESTAMP_TEXT_BYTES], time[BLX_WHEN_TEXT_BYTES], age[BLX_UNIT_TEXT_BYTES];
    char size[BLX_UNIT_TEXT_BYTES], changed[BLX_UNIT_TEXT_BYTES], stored[BLX_UNIT_TEXT_BYTES];
    char count[32], consistency[CLI_CONSISTENCY_TEXT_BYTES], saved[8];
    char key[BLX_KEY_ID_TEXT_BYTES], proof[CLI_PROOF_CELL_BYTES];
    uint64_t size_bytes = 0, changed_bytes = 0, stored_bytes = 0, saved_bytes = 0;
    for (uint32_t i = 0; i < manifest->volume_count; i++) {
        size_bytes += manifest->volumes[i].size_bytes;
        saved_bytes += blx_manifest_volume_saved_bytes(&manifest->volumes[i]);
        changed_bytes += manifest->volumes[i].changed_bytes;
        stored_bytes += manifest->volumes[i].stored_bytes;
    }
    struct blx_missing missing;
    blx_missing_list(manifest, &missing);
    bool several = manifest->volume_count + missing.count > 1;
    if (missing.count > 0)
        snprintf(count, sizeof(count), "%" PRIu32 " of %zu", manifest->volume_count,
                 manifest->volume_count + missing.count);
    else
        snprintf(count, sizeof(count), "%" PRIu32, manifest->volume_count);
    blx_timestamp_format(manifest->timestamp, text);
    const char *cells[COLUMN_COUNT] = {
        text,
        cli_time_format(sink->config, blx_manifest_time(manifest), time),
        cli_age_format(blx_manifest_time(manifest), sink->now_realtime_ns, age),
        cli_consistency_format(manifest->consistency, blx_manifest_unreadable_bytes(manifest),
                               consistency),
        cli_kind_name(manifest),
        several ? count : manifest->volumes[0].name,
        blx_size_format(size_bytes, size),
        blx_size_format(changed_bytes, changed),
        blx_size_format(stored_bytes, stored),
        format_saved(changed_bytes, saved_bytes, saved),
        format_keys(manifest, key),
        beside->tested != NULL ? cli_proof_format(beside->tested, proof) : "",
        beside->is_suspicious ? "suspicious" : "",
        beside->pinned ? "pinned" : ""};
    int rc = cli_table_add(table, cells);
    for (uint32_t i = 0; several && rc == 0 && i < manifest->volume_count; i++)
        rc = add_volume_row(table, &manifest->volumes[i]);
    return rc;
}

static bool is_listed(const blx_timestamp *listed, size_t count, blx_timestamp checkpoint)
{
    return count > 0 &&
           bsearch(&checkpoint, listed, count, sizeof(*listed), blx_timestamp_compare) != NULL;
}

/* A record that cannot be read is noted, and claims nothing. */
static bool read_test(const struct sink *sink, blx_timestamp checkpoint, struct blx_tested *tested)
{
    struct blx_error err = {0};
    if (!is_listed(sink->tests, sink->test_count, checkpoint))
        return false;
    int rc = blx_tested_read(sink->agent, checkpoint, tested, &err);
    if (rc < 0 && rc != -ENOENT)
        cli_note("%s", err.message);
    return rc == 0;
}

/* A damaged checkpoint does not hide the others: its error is printed, the others are shown, and
 * the command fails. */
static int show_one(void *arg, const struct blx_manifest *manifest, const struct blx_error *damage,
                    struct blx_error *err)
{
    struct sink *sink = arg;
    if (damage != NULL) {
        cli_note("%s", damage->message);
        sink->status = BLX_EXIT_FAILED;
        return 0;
    }
    struct blx_tested tested;
    struct beside beside = {
        .pinned = is_listed(sink->pins, sink->pin_count, manifest->timestamp),
        .tested = read_test(sink, manifest->timestamp, &tested) ? &tested : NULL,
    };
    beside.is_suspicious = is_listed(sink->marks, sink->mark_count, manifest->timestamp) &&
                           cli_suspicion_read(sink->agent, manifest->timestamp, &beside.suspicion);
    if (sink->json != NULL) {
        print_json(sink->json, manifest, &beside);
        return 0;
    }
    int rc = add_rows(sink, manifest, &beside);
    return rc < 0 ? blx_error_errno(err, rc, "cannot show the checkpoint %" PRIu64,
                                    manifest->timestamp)
                  : 0;
}

/* Those that restore it, and the one that has its name, if a dispatcher runs and tells. */
static void print_machines(const struct blx_config *config)
{
    BLX_CLEANUP(cli_agents_done) struct cli_agents agents = {0};
    if (cli_agents_collect(config->data_dir, &agents, NULL) < 0)
        return;
    cli_machines_print(&agents, config->agent, stdout);
    cli_copies_print_one(&agents, config->agent, stdout);
}

static enum blx_exit print_all(const struct blx_store *store, const struct blx_config *config,
                               const blx_timestamp *timestamps, size_t count)
{
    static const char *const head[COLUMN_COUNT] = {
        "CHECKPOINT", "TIME",   "AGE",   "CONSISTENCY", "KIND",   "VOLUMES", "SIZE",
        "CHANGED",    "STORED", "SAVED", "KEY",         "TESTED", "SIGNAL",  "PINNED"};
    struct blx_json json = {.out = stdout};
    BLX_CLEANUP(cli_table_done)
    struct cli_table table = {
        .column_count = COLUMN_COUNT, .spare = spare_columns, .spare_count = sizeof(spare_columns)};
    cli_table_fit(&table, stdout);
    struct blx_error err = {0};
    BLX_CLEANUP_FREE blx_timestamp *pins = NULL;
    BLX_CLEANUP_FREE blx_timestamp *tests = NULL;
    BLX_CLEANUP_FREE blx_timestamp *marks = NULL;
    struct sink sink = {.config = config,
                        .now_realtime_ns = blx_clock_realtime_ns(),
                        .table = &table,
                        .agent = blx_store_agent(store, config->agent),
                        .status = BLX_EXIT_OK};
    if (blx_pin_list(blx_store_agent(store, config->agent), &pins, &sink.pin_count, &err) < 0 ||
        blx_tested_list(sink.agent, &tests, &sink.test_count, &err) < 0 ||
        blx_suspicion_list(sink.agent, &marks, &sink.mark_count, &err) < 0) {
        cli_note("%s", err.message);
        return BLX_EXIT_FAILED;
    }
    sink.pins = pins;
    sink.tests = tests;
    sink.marks = marks;
    if (config->json) {
        sink.json = &json;
        blx_json_open(&json, NULL, '[');
    } else if (cli_table_add(&table, head) < 0) {
        cli_note("cannot show the checkpoints of '%s': out of memory", config->agent);
        return BLX_EXIT_FAILED;
    }
    if (blx_manifest_each(blx_store_agent(store, config->agent), timestamps, count, show_one, &sink,
                          &err) < 0) {
        cli_note("%s", err.message);
        sink.status = BLX_EXIT_FAILED;
    }
    if (config->json)
        blx_json_close(&json, ']');
    else if (count > 0)
        cli_table_print(&table);
    if (!config->json) {
        cli_mounts_print(config->data_dir, config->agent, stdout);
        print_machines(config);
    }
    return sink.status;
}

/* Notes which range was taken, if it was given in words. */
static void note_range(const struct blx_config *config, blx_timestamp first, blx_timestamp last)
{
    char from[BLX_WHEN_TEXT_BYTES] = "the oldest", until[BLX_WHEN_TEXT_BYTES] = "the newest";
    const char *given[] = {config->start, config->end};
    bool in_words = config->since_ms > 0;
    for (size_t i = 0; i < 2; i++)
        in_words =
            in_words || (given[i] != NULL && given[i][strspn(given[i], "0123456789")] != '\0');
    if (!in_words)
        return;
    if (first != 0)
        cli_time_format(config, first, from);
    if (last != UINT64_MAX)
        cli_time_format(config, last, until);
    cli_note("checkpoints from %s to %s", from, until);
}

/* Without --start or --end that bound is 0 or the largest number: all checkpoints. */
static int read_range(const struct blx_config *config, blx_timestamp *first, blx_timestamp *last,
                      struct blx_error *err)
{
    uint64_t now_ns = blx_clock_realtime_ns(), now_s = now_ns / BLX_NS_PER_S;
    blx_timestamp ignored;
    *first = 0;
    *last = UINT64_MAX;
    int rc = 0;
    if (config->start != NULL && config->since_ms > 0)
        rc = blx_error_set(err, -EINVAL,
                           "--start and --since exclude each other: leave one of them out");
    if (rc == 0 && config->start != NULL)
        rc = blx_when_parse(config->start, now_ns, first, &ignored, err);
    if (config->since_ms > 0 && config->since_ms / 1000 < now_s)
        *first = blx_timestamp_from_unix((int64_t)(now_s - config->since_ms / 1000));
    if (rc == 0 && config->end != NULL)
        rc = blx_when_parse(config->end, now_ns, &ignored, last, err);
    if (rc == 0 && *first > *last)
        rc = blx_error_set(err, -EINVAL, "--start=%s is later than --end=%s: swap them",
                           config->start != NULL ? config->start : "", config->end);
    if (rc == 0)
        note_range(config, *first, *last);
    return rc;
}

static void note_empty(const struct blx_store *store, const struct blx_config *config)
{
    blx_timestamp latest = 0;
    if (blx_manifest_latest(blx_store_agent(store, config->agent), &latest, NULL) == 0 &&
        latest == 0)
        cli_note("the agent '%s' has no checkpoint yet", config->agent);
    else
        cli_note("the agent '%s' has no checkpoint between --start and --end", config->agent);
}

enum blx_exit cli_show(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    blx_timestamp first, last;
    if (read_range(config, &first, &last, err) < 0)
        return BLX_EXIT_USAGE;
    BLX_CLEANUP(blx_store_close) struct blx_store store = {.lock_fd = -1};
    BLX_CLEANUP_FREE blx_timestamp *timestamps = NULL;
    size_t count = 0;
    if (cli_store_open(config->data_dir, BLX_STORE_READ, &store, err) < 0 ||
        blx_manifest_list(blx_store_agent(&store, config->agent), first, last, &timestamps, &count,
                          err) < 0)
        return BLX_EXIT_FAILED;
    if (count == 0)
        note_empty(&store, config);
    size_t left_out =
        config->last_count > 0 && config->last_count < count ? count - config->last_count : 0;
    return print_all(&store, config, timestamps + left_out, count - left_out);
}
