/* SPDX-License-Identifier: Apache-2.0 */
#include "store/quota.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/io.h"
#include "base/timestamp.h"
#include "base/units.h"
#include "store/directory_private.h"

static const char segment_end[] = ".seg";

const char *blx_quota_name(enum blx_quota_kind kind)
{
    static const char *const names[BLX_QUOTA_KINDS] = {
        [BLX_QUOTA_BYTES] = "bytes",       [BLX_QUOTA_BYTES_A_DAY] = "bytes-a-day",
        [BLX_QUOTA_VOLUMES] = "volumes",   [BLX_QUOTA_CHECKPOINTS] = "checkpoints",
        [BLX_QUOTA_SEGMENTS] = "segments",
    };
    return names[kind];
}

bool blx_quota_is_none(const struct blx_quota *limits)
{
    for (int kind = 0; kind < BLX_QUOTA_KINDS; kind++)
        if (limits->of[kind] != 0)
            return false;
    return true;
}

static enum blx_quota_state judge_one(enum blx_quota_kind kind, uint64_t limit, uint64_t used)
{
    if (limit == 0)
        return BLX_QUOTA_FREE;
    if (kind == BLX_QUOTA_VOLUMES)
        return used > limit ? BLX_QUOTA_REACHED : BLX_QUOTA_FREE;
    if (used >= limit)
        return BLX_QUOTA_REACHED;
    return (double)used * 100 >= (double)limit * BLX_QUOTA_NEAR_PERCENT ? BLX_QUOTA_NEAR
                                                                        : BLX_QUOTA_FREE;
}

static void explain(enum blx_quota_kind kind, uint64_t limit, uint64_t used,
                    char text[BLX_QUOTA_TEXT_BYTES])
{
    char most[BLX_UNIT_TEXT_BYTES], now[BLX_UNIT_TEXT_BYTES];
    if (kind == BLX_QUOTA_BYTES || kind == BLX_QUOTA_BYTES_A_DAY)
        snprintf(text, BLX_QUOTA_TEXT_BYTES, "%s: %s of %s", blx_quota_name(kind),
                 blx_size_format(used, now), blx_size_format(limit, most));
    else
        snprintf(text, BLX_QUOTA_TEXT_BYTES, "%s: %" PRIu64 " of %" PRIu64, blx_quota_name(kind),
                 used, limit);
}

enum blx_quota_state blx_quota_judge(const struct blx_quota *limits, const struct blx_quota *used,
                                     char text[BLX_QUOTA_TEXT_BYTES])
{
    enum blx_quota_state worst = BLX_QUOTA_FREE;
    text[0] = '\0';
    for (int kind = 0; kind < BLX_QUOTA_KINDS; kind++) {
        enum blx_quota_state state =
            judge_one((enum blx_quota_kind)kind, limits->of[kind], used->of[kind]);
        if (state <= worst)
            continue;
        worst = state;
        explain((enum blx_quota_kind)kind, limits->of[kind], used->of[kind], text);
    }
    return worst;
}

/* A folder of the agent's that is being read. */
struct folder {
    struct blx_quota *used;
    const char *path;
    enum { FOLDER_AGENT, FOLDER_CHECKPOINTS, FOLDER_VOLUMES, FOLDER_VOLUME } kind;
};

static bool is_checkpoint(const char *name)
{
    blx_timestamp timestamp;
    return strlen(name) == BLX_TIMESTAMP_DIGITS && blx_timestamp_parse(name, &timestamp, NULL) == 0;
}

static bool is_segment(const char *name)
{
    size_t length = strlen(name), end = sizeof(segment_end) - 1;
    return length > end && strcmp(name + length - end, segment_end) == 0;
}

static void count(const struct folder *folder, const char *name)
{
    uint64_t *of = folder->used->of;
    of[BLX_QUOTA_CHECKPOINTS] += folder->kind == FOLDER_CHECKPOINTS && is_checkpoint(name);
    of[BLX_QUOTA_SEGMENTS] += folder->kind == FOLDER_VOLUME && is_segment(name);
    of[BLX_QUOTA_VOLUMES] +=
        folder->kind == FOLDER_VOLUMES && blx_name_check("volume name", name, NULL) == 0;
}

static int measure_entry(void *arg, const char *name, struct blx_error *err)
{
    const struct folder *folder = arg;
    char path[PATH_MAX];
    struct stat st;
    int rc = blx_path_format(path, sizeof(path), err, "%s/%s", folder->path, name);
    if (rc < 0 || lstat(path, &st) != 0) /* a prune removes files meanwhile */
        return rc;
    count(folder, name);
    folder->used->of[BLX_QUOTA_BYTES] += (uint64_t)st.st_blocks * 512;
    if (!S_ISDIR(st.st_mode) || folder->kind == FOLDER_VOLUME)
        return 0;
    struct folder below = {.used = folder->used, .path = path, .kind = FOLDER_VOLUME};
    if (folder->kind == FOLDER_AGENT)
        below.kind = strcmp(name, "volumes") == 0 ? FOLDER_VOLUMES : FOLDER_CHECKPOINTS;
    return blx_directory_each(path, measure_entry, &below, err);
}

int blx_quota_measure(struct blx_agent_store agent, struct blx_quota *used, struct blx_error *err)
{
    char path[PATH_MAX];
    struct blx_quota measured = {0};
    struct folder folder = {.used = &measured, .path = path, .kind = FOLDER_AGENT};
    measured.of[BLX_QUOTA_BYTES_A_DAY] = used->of[BLX_QUOTA_BYTES_A_DAY];
    int rc = blx_agent_store_path(agent, path, err);
    if (rc == 0)
        rc = blx_directory_each(path, measure_entry, &folder, err);
    if (rc == 0)
        *used = measured;
    return rc;
}
