/* SPDX-License-Identifier: Apache-2.0 */
/* Which checkpoints are mounted, for `status` and `show`: a mount keeps them from being pruned. */
#include "cli/mounts.h"

#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/units.h"
#include "cli/describe.h"
#include "store/mounts.h"

/* What a mount is shown in; one of the outputs is NULL. */
struct picture {
    const char *agent_id; /* NULL: all */
    FILE *out;
    struct blx_json *json;
    uint64_t now_s;
};

static uint64_t age_s(const struct picture *picture, const struct blx_mount *mount)
{
    uint64_t since_s = mount->since_s > 0 ? (uint64_t)mount->since_s : picture->now_s;
    return picture->now_s > since_s ? picture->now_s - since_s : 0;
}

static void print_one(const struct picture *picture, const struct blx_mount *mount)
{
    char age[BLX_UNIT_TEXT_BYTES], checkpoint[40] = "one checkpoint";
    if (mount->all)
        snprintf(checkpoint, sizeof(checkpoint), "all checkpoints");
    else if (mount->checkpoint != 0)
        snprintf(checkpoint, sizeof(checkpoint), "checkpoint %" PRIu64, mount->checkpoint);
    fprintf(picture->out, "mounted for %s: %s of %s at %s%s (process %d)\n",
            blx_duration_format(age_s(picture, mount) * 1000, age), checkpoint, mount->agent_id,
            mount->path, mount->writable ? ", writable" : "", (int)mount->pid);
}

static void print_one_json(const struct picture *picture, const struct blx_mount *mount)
{
    struct blx_json *json = picture->json;
    blx_json_open(json, NULL, '{');
    blx_json_string(json, "path", mount->path);
    if (mount->checkpoint != 0)
        cli_json_timestamp(json, "checkpoint", mount->checkpoint);
    else
        blx_json_null(json, "checkpoint");
    blx_json_bool(json, "all", mount->all);
    blx_json_number(json, "age", age_s(picture, mount));
    blx_json_bool(json, "writable", mount->writable);
    blx_json_number(json, "pid", (uint64_t)mount->pid);
    blx_json_close(json, '}');
}

static void show(void *arg, const struct blx_mount *mount)
{
    const struct picture *picture = arg;
    if (picture->agent_id != NULL && strcmp(mount->agent_id, picture->agent_id) != 0)
        return;
    if (picture->json != NULL)
        print_one_json(picture, mount);
    else
        print_one(picture, mount);
}

static uint64_t now_s(void)
{
    return blx_clock_realtime_ns() / BLX_NS_PER_S;
}

void cli_mounts_print(const char *data_dir, const char *agent_id, FILE *out)
{
    struct picture picture = {.agent_id = agent_id, .out = out, .now_s = now_s()};
    blx_mounts_each(data_dir, show, &picture);
}

void cli_mounts_json(struct blx_json *json, const char *data_dir, const char *agent_id)
{
    struct picture picture = {.agent_id = agent_id, .json = json, .now_s = now_s()};
    blx_json_open(json, "mounts", '[');
    blx_mounts_each(data_dir, show, &picture);
    blx_json_close(json, ']');
}

static void count_one(void *arg, const struct blx_mount *mount)
{
    (void)mount;
    ++*(size_t *)arg;
}

size_t cli_mounts_count(const char *data_dir)
{
    size_t count = 0;
    blx_mounts_each(data_dir, count_one, &count);
    return count;
}
