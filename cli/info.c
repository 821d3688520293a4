/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep info`: everything that the store knows about one checkpoint. With --compare it becomes
 * blxrep-files. */
#include "store/view/info.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/units.h"
#include "cli/command.h"
#include "cli/describe.h"
#include "cli/proof.h"
#include "cli/suspicion.h"
#include "store/checkpoint/manifest_file.h"
#include "store/checkpoint/missing.h"
#include "store/checkpoint/pin.h"
#include "store/own_id.h"

enum { VALUE_COLUMN = 17 };

/* Everything about one checkpoint. */
struct picture {
    const char *agent;
    char own_id[BLX_NAME_BYTES]; /* of its server */
    const struct blx_config *config;
    const struct blx_manifest *manifest;
    bool pinned;
    bool is_tested;
    struct blx_tested tested;
    bool is_suspicious;
    struct blx_suspicion suspicion;
    char pin_reason[BLX_PIN_REASON_BYTES];  /* of an automatic pin; "": a person's */
    struct blx_info infos[BLX_MAX_VOLUMES]; /* of each volume of the manifest */
};

static blx_timestamp timestamp_of(uint64_t realtime_ns)
{
    return blx_timestamp_from_unix((int64_t)(realtime_ns / BLX_NS_PER_S));
}

static void print_time(FILE *out, const struct picture *picture, const char *label,
                       blx_timestamp time)
{
    char text[BLX_WHEN_TEXT_BYTES], age[BLX_UNIT_TEXT_BYTES];
    fprintf(out, "%-15s%s, %s ago\n", label, cli_time_format(picture->config, time, text),
            cli_age_format(time, blx_clock_realtime_ns(), age));
}

static size_t longest_chain(const struct picture *picture)
{
    size_t longest = 0;
    for (uint32_t i = 0; i < picture->manifest->volume_count; i++)
        if (picture->infos[i].chain_length > longest)
            longest = picture->infos[i].chain_length;
    return longest;
}

static void print_size(FILE *out, const char *label, uint64_t bytes)
{
    char text[BLX_UNIT_TEXT_BYTES];
    fprintf(out, "  %-15s%s (%" PRIu64 " bytes)\n", label, blx_size_format(bytes, text), bytes);
}

static void print_segments(FILE *out, const struct blx_manifest_volume *volume)
{
    fprintf(out, "  %-15s", "segments");
    for (uint32_t i = 0; i < volume->segment_count; i++) {
        uint32_t first = i; /* consecutive numbers are printed as one range */
        while (i + 1 < volume->segment_count && volume->segments[i + 1] == volume->segments[i] + 1)
            i++;
        fprintf(out, "%s%" PRIu32, first == 0 ? "" : ", ", volume->segments[first]);
        if (i > first)
            fprintf(out, "-%" PRIu32, volume->segments[i]);
    }
    fprintf(out, volume->segment_count == 0 ? "none\n" : "\n");
}

static void print_unreadable(FILE *out, const struct blx_manifest_volume *volume)
{
    if (volume->unreadable_count == 0)
        return;
    fprintf(out, "  %-15s%" PRIu64 " bytes, missing from the checkpoint:", "unreadable",
            blx_manifest_volume_unreadable_bytes(volume));
    for (uint32_t i = 0; i < volume->unreadable_count; i++) {
        uint64_t offset = volume->unreadable[i].start_block << volume->block_shift;
        uint64_t bytes = volume->unreadable[i].block_count << volume->block_shift;
        fprintf(out, "%s bytes %" PRIu64 "-%" PRIu64, i == 0 ? "" : ",", offset,
                offset + bytes - 1);
    }
    fprintf(out, "\n");
}

static void print_volume(FILE *out, const struct blx_manifest_volume *volume,
                         const struct blx_info *info)
{
    char generation[BLX_GENERATION_TEXT_BYTES], key[BLX_KEY_ID_TEXT_BYTES];
    bool encrypted = !blx_key_id_is_none(&volume->key_id);
    blx_generation_format(&volume->generation, generation);
    fprintf(out, "\n%s\n", volume->name);
    fprintf(out, "  %-15s%s\n", "device", volume->device);
    fprintf(out, "  %-15s%s\n", "identity",
            volume->identity[0] != '\0' ? volume->identity : "unknown");
    fprintf(out, "  %-15s%s\n", "generation", generation);
    fprintf(out, "  %-15s%s%s\n", "encrypted", encrypted ? "with the key " : "no",
            encrypted ? cli_key_format(&volume->key_id, key) : "");
    fprintf(out, "  %-15s%s\n", "kind", cli_volume_kind_name(volume));
    fprintf(out, "  %-15s%zu checkpoint%s\n", "chain", info->chain_length,
            cli_plural(info->chain_length));
    print_size(out, "size", volume->size_bytes);
    print_size(out, "used", info->used_bytes);
    print_size(out, "changed", volume->changed_bytes);
    print_size(out, "stored", volume->stored_bytes);
    print_size(out, "saved", blx_manifest_volume_saved_bytes(volume));
    print_size(out, "on disk", info->disk_bytes);
    if (info->removable)
        print_size(out, "removal frees", info->frees_bytes);
    else
        fprintf(out, "  %-15s%s\n", "removal frees",
                "nothing: the newest checkpoint is never removed");
    print_segments(out, volume);
    print_unreadable(out, volume);
}

static void print_missing(FILE *out, const struct blx_manifest *manifest)
{
    struct blx_missing missing;
    blx_missing_list(manifest, &missing);
    fprintf(out, "%-15s%s", "lacks", missing.count == 0 ? "no disk" : "");
    for (size_t i = 0; i < missing.count; i++)
        fprintf(out, "%s%s", i > 0 ? ", " : "", missing.devices[i]);
    fprintf(out, "\n");
}

/* What was asked: a level, and what level 2 waited for. */
static void print_asked(FILE *out, const struct blx_tested *tested)
{
    char within[BLX_UNIT_TEXT_BYTES];
    if (tested->level == BLX_TEST_LEVEL_FILESYSTEM) {
        fprintf(out, "%-15sits filesystems (level 1)\n", "test asked");
        return;
    }
    fprintf(out, "%-15sa boot within %s, expecting %s%s%s\n", "test asked",
            blx_duration_format(tested->within_ms, within),
            tested->expect[0] != '\0' ? tested->expect : "a login prompt or its services",
            tested->command[0] != '\0' ? ", and the command: " : "", tested->command);
}

/* The console's last lines, set off from the rest. They are the server's words. */
static void print_screen(FILE *out, const char *screen)
{
    if (screen[0] == '\0')
        return;
    fprintf(out, "its console at the end of the test:\n");
    while (*screen != '\0') {
        size_t length = strcspn(screen, "\n");
        fprintf(out, "    | %.*s\n", (int)length, screen);
        screen += length + (screen[length] != '\0');
    }
}

static void print_test(FILE *out, const struct picture *picture)
{
    const struct blx_tested *tested = &picture->tested;
    char verdict[CLI_PROOF_CELL_BYTES], took[BLX_UNIT_TEXT_BYTES];
    if (!picture->is_tested) {
        fprintf(out, "%-15s%s\n", "tested", "no");
        return;
    }
    fprintf(out, "%-15s%s, in %s, machine: %s\n", "tested", cli_proof_format(tested, verdict),
            blx_duration_format(tested->took_ms, took), blx_test_machine_name(tested->machine));
    print_time(out, picture, "tested at", timestamp_of(tested->begun_realtime_ns));
    for (enum blx_test_check check = 0; check < BLX_TEST_CHECKS; check++)
        fprintf(out, "%-15s%s: %s\n", check == 0 ? "test checked" : "", blx_test_check_name(check),
                blx_test_result_name(tested->results[check]));
    print_asked(out, tested);
    fprintf(out, "%-15s%s\n", "test saw", tested->seen);
    if (tested->reason[0] != '\0')
        fprintf(out, "%-15s%s\n", "test failed", tested->reason);
}

static void print_suspicion(FILE *out, const struct picture *picture)
{
    const struct blx_suspicion *suspicion = &picture->suspicion;
    if (!picture->is_suspicious) {
        fprintf(out, "%-15s%s\n", "suspicious", "no");
        return;
    }
    fprintf(out, "%-15syes (a signal, no verdict): %s\n", "suspicious", suspicion->reason);
    if (suspicion->calm != 0)
        fprintf(out, "%-15s%" PRIu64 "\n", "last calm", suspicion->calm);
}

static void write_text(FILE *out, const struct picture *picture)
{
    const struct blx_manifest *manifest = picture->manifest;
    char consistency[CLI_CONSISTENCY_TEXT_BYTES], freeze[BLX_UNIT_TEXT_BYTES];
    fprintf(out, "%-15s%" PRIu64 " of %s\n", "checkpoint", manifest->timestamp, picture->agent);
    if (strcmp(picture->own_id, picture->agent) != 0)
        fprintf(out, "%-15s%s, which was renamed to %s here\n", "server's ID", picture->own_id,
                picture->agent);
    print_time(out, picture, "cut", blx_manifest_time(manifest));
    print_time(out, picture, "agent's clock", timestamp_of(manifest->agent_realtime_ns));
    print_time(out, picture, "committed", timestamp_of(manifest->committed_realtime_ns));
    fprintf(out, "%-15s%s\n", "consistency",
            cli_consistency_format(manifest->consistency, blx_manifest_unreadable_bytes(manifest),
                                   consistency));
    fprintf(out, "%-15s%s\n", "frozen for",
            blx_duration_format(manifest->freeze_ns / BLX_NS_PER_MS, freeze));
    fprintf(out, "%-15s%s\n", "note", manifest->note[0] != '\0' ? manifest->note : "none");
    fprintf(out, "%-15s%s\n", "kind", cli_kind_name(manifest));
    if (manifest->parent != 0)
        fprintf(out, "%-15s%" PRIu64 "\n", "parent", manifest->parent);
    else
        fprintf(out, "%-15s%s\n", "parent", "none");
    fprintf(out, "%-15s%s%s%s\n", "pinned", picture->pinned ? "yes" : "no",
            picture->pin_reason[0] != '\0' ? ", " : "", picture->pin_reason);
    print_test(out, picture);
    print_suspicion(out, picture);
    print_missing(out, manifest);
    for (uint32_t i = 0; i < manifest->volume_count; i++)
        print_volume(out, &manifest->volumes[i], &picture->infos[i]);
    if (picture->is_tested)
        print_screen(out, picture->tested.screen);
}

static int print_text(const struct picture *picture, struct blx_error *err)
{
    BLX_CLEANUP_FREE char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL)
        return blx_error_errno(err, -errno, "cannot show the checkpoint");
    write_text(out, picture);
    fclose(out);
    cli_say(text, VALUE_COLUMN);
    return 0;
}

static void print_volume_json(struct blx_json *json, const struct blx_manifest_volume *volume,
                              const struct blx_info *info)
{
    char generation[BLX_GENERATION_TEXT_BYTES];
    blx_generation_format(&volume->generation, generation);
    blx_json_open(json, NULL, '{');
    blx_json_string(json, "name", volume->name);
    blx_json_string(json, "device", volume->device);
    blx_json_string(json, "identity", volume->identity);
    blx_json_string(json, "generation", generation);
    blx_json_number(json, "last_seq", volume->last_seq);
    cli_json_key(json, volume);
    blx_json_string(json, "kind", cli_volume_kind_name(volume));
    blx_json_number(json, "chain_length", info->chain_length);
    blx_json_number(json, "size", volume->size_bytes);
    blx_json_number(json, "block_bytes", UINT64_C(1) << volume->block_shift);
    blx_json_number(json, "used_bytes", info->used_bytes);
    blx_json_number(json, "changed_bytes", volume->changed_bytes);
    blx_json_number(json, "stored_bytes", volume->stored_bytes);
    blx_json_number(json, "saved_bytes", blx_manifest_volume_saved_bytes(volume));
    blx_json_number(json, "disk_bytes", info->disk_bytes);
    if (info->removable)
        blx_json_number(json, "frees_bytes", info->frees_bytes);
    else
        blx_json_null(json, "frees_bytes");
    blx_json_open(json, "segments", '[');
    for (uint32_t i = 0; i < volume->segment_count; i++)
        blx_json_number(json, NULL, volume->segments[i]);
    blx_json_close(json, ']');
    cli_json_unreadable(json, volume);
    blx_json_close(json, '}');
}

static void print_json(const struct picture *picture)
{
    const struct blx_manifest *manifest = picture->manifest;
    struct blx_json json = {.out = stdout};
    blx_json_open(&json, NULL, '{');
    blx_json_string(&json, "agent", picture->agent);
    blx_json_string(&json, "server_id", picture->own_id);
    cli_json_timestamp(&json, "checkpoint", manifest->timestamp);
    cli_json_time(&json, "time", blx_manifest_time(manifest));
    cli_json_time(&json, "cut", blx_manifest_time(manifest));
    cli_json_time(&json, "agent_clock", timestamp_of(manifest->agent_realtime_ns));
    cli_json_time(&json, "committed", timestamp_of(manifest->committed_realtime_ns));
    blx_json_string(&json, "consistency", blx_consistency_name(manifest->consistency));
    blx_json_bool(&json, "damaged", blx_manifest_unreadable_bytes(manifest) > 0);
    blx_json_string(&json, "kind", cli_kind_name(manifest));
    cli_json_timestamp(&json, "parent", manifest->parent);
    blx_json_number(&json, "chain_length", longest_chain(picture));
    blx_json_number(&json, "freeze_ms", manifest->freeze_ns / BLX_NS_PER_MS);
    blx_json_bool(&json, "pinned", picture->pinned);
    blx_json_string(&json, "pin_reason", picture->pin_reason);
    if (picture->is_tested)
        blx_tested_print_json(&json, "tested", &picture->tested);
    else
        blx_json_null(&json, "tested");
    if (picture->is_suspicious)
        blx_suspicion_print_json(&json, "suspicious", &picture->suspicion);
    else
        blx_json_null(&json, "suspicious");
    blx_json_string(&json, "note", manifest->note);
    cli_json_missing(&json, manifest);
    blx_json_open(&json, "volumes", '[');
    for (uint32_t i = 0; i < manifest->volume_count; i++)
        print_volume_json(&json, &manifest->volumes[i], &picture->infos[i]);
    blx_json_close(&json, ']');
    blx_json_close(&json, '}');
}

/* A record that cannot be read is noted, and claims nothing. */
static void look_for_test(const struct blx_store *store, struct picture *picture)
{
    struct blx_error err = {0};
    int rc = blx_tested_read(blx_store_agent(store, picture->agent), picture->manifest->timestamp,
                             &picture->tested, &err);
    picture->is_tested = rc == 0;
    if (rc < 0 && rc != -ENOENT)
        cli_note("%s", err.message);
}

/* Why it is pinned, if no person did it. */
static int look_for_reason(struct blx_agent_store agent, struct picture *picture,
                           struct blx_error *err)
{
    blx_timestamp automatic = 0;
    int rc = blx_pin_find_automatic(agent, &automatic, picture->pin_reason, err);
    if (rc == 0 && automatic != picture->manifest->timestamp)
        picture->pin_reason[0] = '\0';
    return rc;
}

enum blx_exit cli_info(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    if (config->compare != NULL) /* that program knows filesystems */
        return cli_become_same("blxrep-files", request, err);
    if (config->key_count > 0) {
        blx_error_set(err, -EINVAL, "--key is needed with --compare alone: leave it out");
        return BLX_EXIT_USAGE;
    }
    BLX_CLEANUP(blx_store_close) struct blx_store store = {.lock_fd = -1};
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    blx_timestamp timestamp;
    struct picture picture = {.agent = config->agent, .config = config, .manifest = &manifest};
    int rc = cli_store_open(config->data_dir, BLX_STORE_READ, &store, err);
    if (rc == 0)
        rc = blx_manifest_resolve(blx_store_agent(&store, config->agent), config->checkpoint,
                                  &timestamp, err);
    if (rc == 0)
        rc = blx_manifest_read(blx_store_agent(&store, config->agent), timestamp, &manifest, err);
    if (rc == 0)
        rc = blx_own_id_read(blx_store_agent(&store, config->agent), picture.own_id, err);
    if (rc == 0)
        rc = blx_pin_read(blx_store_agent(&store, config->agent), timestamp, &picture.pinned, err);
    if (rc == 0)
        rc = look_for_reason(blx_store_agent(&store, config->agent), &picture, err);
    if (rc == 0)
        look_for_test(&store, &picture);
    if (rc == 0)
        picture.is_suspicious = cli_suspicion_read(blx_store_agent(&store, config->agent),
                                                   timestamp, &picture.suspicion);
    for (uint32_t i = 0; rc == 0 && i < manifest.volume_count; i++)
        rc = blx_info_read(blx_store_agent(&store, config->agent), &manifest, &manifest.volumes[i],
                           &picture.infos[i], err);
    if (rc < 0)
        return BLX_EXIT_FAILED;
    cli_note_checkpoint(config, timestamp);
    if (config->json)
        print_json(&picture);
    else
        rc = print_text(&picture, err);
    return rc < 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
}
