/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/restore_plan.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/units.h"
#include "cli/describe.h"
#include "cli/target.h"

static void print_disk(const struct cli_restore_disk *disk)
{
    char size[BLX_UNIT_TEXT_BYTES], key[BLX_KEY_ID_TEXT_BYTES] = "none";
    struct cli_target target;
    cli_target_look(disk->path, &target);
    if (!blx_key_id_is_none(&disk->volume->key_id))
        blx_key_id_format(&disk->volume->key_id, key);
    printf("\n%s\n", disk->volume->name);
    printf("  %-13s%s\n", "device", disk->volume->device);
    printf("  %-13s%s\n", "size", blx_size_format(disk->volume->size_bytes, size));
    printf("  %-13s%s\n", "to write", blx_size_format(disk->to_write, size));
    printf("  %-13s%s\n", "key", key);
    printf("  %-13s%s\n", "target", disk->path);
    if (target.kind == CLI_TARGET_DEVICE)
        printf("  %-13s%s, %s\n", "", blx_size_format(target.size_bytes, size),
               target.is_free ? "not in use" : "in use");
    else
        printf("  %-13s%s free in its filesystem\n", "", blx_size_format(target.free_bytes, size));
    printf("  %-13s%s\n", "holds", target.holds[0] != '\0' ? target.holds : "nothing known");
}

void cli_restore_plan_print(const struct cli_restore_plan *plan)
{
    char age[BLX_UNIT_TEXT_BYTES];
    printf("%-15s%" PRIu64 " of %s, %s old, %s\n", "checkpoint", plan->manifest->timestamp,
           plan->config->agent,
           cli_age_format(blx_manifest_time(plan->manifest), blx_clock_realtime_ns(), age),
           blx_consistency_name(plan->manifest->consistency));
    for (size_t i = 0; i < plan->disk_count; i++)
        print_disk(&plan->disks[i]);
    fflush(stdout);
}

static void print_target_json(struct blx_json *json, const char *path)
{
    struct cli_target target;
    cli_target_look(path, &target);
    blx_json_string(json, "target", path);
    blx_json_string(json, "target_kind", target.kind == CLI_TARGET_DEVICE ? "device" : "file");
    if (target.kind == CLI_TARGET_DEVICE) {
        blx_json_number(json, "target_bytes", target.size_bytes);
        blx_json_bool(json, "target_in_use", !target.is_free);
    } else {
        blx_json_number(json, "target_free_bytes", target.free_bytes);
    }
    blx_json_string(json, "target_holds", target.holds);
}

static void print_disk_json(struct blx_json *json, const struct cli_restore_disk *disk,
                            bool is_done)
{
    blx_json_open(json, NULL, '{');
    blx_json_string(json, "name", disk->volume->name);
    blx_json_string(json, "device", disk->volume->device);
    blx_json_number(json, "size", disk->volume->size_bytes);
    cli_json_key(json, disk->volume);
    if (is_done) {
        blx_json_string(json, "target", disk->path);
        blx_json_number(json, "written_bytes", disk->written_bytes);
        blx_json_number(json, "lost_bytes", disk->lost_bytes);
    } else {
        blx_json_number(json, "to_write_bytes", disk->to_write);
        print_target_json(json, disk->path);
    }
    blx_json_close(json, '}');
}

void cli_restore_plan_print_json(const struct cli_restore_plan *plan)
{
    struct blx_json json = {.out = stdout};
    const bool is_done = !plan->config->dry_run;
    blx_json_open(&json, NULL, '{');
    blx_json_string(&json, "agent", plan->config->agent);
    cli_json_timestamp(&json, "checkpoint", plan->manifest->timestamp);
    cli_json_time(&json, "time", blx_manifest_time(plan->manifest));
    blx_json_string(&json, "consistency", blx_consistency_name(plan->manifest->consistency));
    blx_json_bool(&json, "dry_run", !is_done);
    if (is_done)
        blx_json_number(&json, "took_ms", plan->elapsed_ns / BLX_NS_PER_MS);
    cli_json_missing(&json, plan->manifest);
    blx_json_open(&json, "volumes", '[');
    for (size_t i = 0; i < plan->disk_count; i++)
        print_disk_json(&json, &plan->disks[i], is_done);
    blx_json_close(&json, ']');
    blx_json_close(&json, '}');
    fflush(stdout);
}
