/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cost of a store of a simulated disk, by the disk's size and the history's length: one point
 * of the curves that scale.py draws. Writes the store through the real calls, measures, prunes,
 * measures again, and prints one object of JSON.
 *
 *     scale --data-dir=DIR --size=1T --used=1 --checkpoints=1000 --change=4M --block-shift=16
 *
 * The store is removed by the caller.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/units.h"
#include "simulation.h"
#include "store/prune/prune.h"
#include "store/view/plan_private.h"
#include "store/prune/rewrite.h"

enum { KEPT_PERCENT = 10, RUN_BYTES = 64 << 10 };

static const char agent[] = "web1";

struct point {
    const char *data_dir;
    uint64_t checkpoints, change_bytes;
    struct blx_simulation_options disk;
    blx_timestamp *timestamps; /* owned */
    uint64_t *commit_ns;       /* owned; of each */
    size_t entries[2];         /* of the newest checkpoint's plan, before and after the prune */
    uint64_t plan_ns[2], prune_ns, rewrite_ns;
    uint64_t open_ns[2]; /* of a first session, and of one that follows another */
};

static int read_size(const char *text, uint64_t *number)
{
    struct blx_error err = {0};
    return blx_size_parse(text, number, &err);
}

static int read_options(int argc, char **argv, struct point *point)
{
    static const struct option options[] = {{"data-dir", required_argument, NULL, 'd'},
                                            {"size", required_argument, NULL, 's'},
                                            {"used", required_argument, NULL, 'u'},
                                            {"checkpoints", required_argument, NULL, 'n'},
                                            {"change", required_argument, NULL, 'c'},
                                            {"block-shift", required_argument, NULL, 'b'},
                                            {NULL, 0, NULL, 0}};
    uint64_t number;
    int option, rc = 0;
    while (rc == 0 && (option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        rc = option == 'd' ? 0 : option == '?' ? -EINVAL : read_size(optarg, &number);
        if (option == 'd')
            point->data_dir = optarg;
        else if (rc == 0 && option == 's')
            point->disk.size_bytes = number;
        else if (rc == 0 && option == 'u' && number >= 1 && number <= 100)
            point->disk.used_percent = (unsigned)number;
        else if (rc == 0 && option == 'n' && number > 0)
            point->checkpoints = number;
        else if (rc == 0 && option == 'c')
            point->change_bytes = number;
        else if (rc == 0 && option == 'b' && number >= BLX_BLOCK_SHIFT_MIN &&
                 number <= BLX_BLOCK_SHIFT_MAX)
            point->disk.block_shift = (unsigned)number;
        else
            rc = -EINVAL;
    }
    return point->data_dir == NULL ? -EINVAL : rc;
}

static int write_history(struct point *point, struct blx_simulation *disk,
                         struct blx_agent_writer *writer, struct blx_error *err)
{
    int rc = 0;
    for (uint64_t i = 0; rc == 0 && i < point->checkpoints; i++) {
        if (i > 0)
            rc = blx_simulation_change(disk, point->change_bytes, RUN_BYTES, err);
        if (rc == 0)
            rc = i == 0 ? blx_simulation_send_all(disk, writer, err)
                        : blx_simulation_send_changed(disk, writer, err);
        uint64_t began_ns = blx_clock_ns();
        if (rc == 0)
            rc = blx_simulation_commit(disk, writer, &point->timestamps[i], err);
        point->commit_ns[i] = blx_clock_ns() - began_ns;
    }
    return rc;
}

static int write_store(struct point *point, const struct blx_store *store, struct blx_error *err)
{
    BLX_CLEANUP(blx_simulation_done) struct blx_simulation disk = {0};
    struct blx_agent_writer *writer = NULL;
    int rc = blx_simulation_init(&disk, &point->disk, err);
    if (rc == 0)
        rc = blx_simulation_connect(&disk, store, agent, NULL, &writer, err);
    if (rc == 0)
        rc = write_history(point, &disk, writer, err);
    blx_agent_writer_close(blx_take_ptr(writer));
    struct blx_agent_tail *tail = NULL;
    for (int i = 0; rc == 0 && i < 2; i++) {
        uint64_t began_ns = blx_clock_ns();
        rc = blx_simulation_connect(&disk, store, agent, tail, &writer, err);
        point->open_ns[i] = blx_clock_ns() - began_ns;
        tail = rc == 0 && i == 0 ? blx_agent_writer_make_tail(writer) : NULL;
        blx_agent_writer_close(blx_take_ptr(writer));
    }
    return rc;
}

static int plan(struct point *point, const struct blx_store *store, int at, struct blx_error *err)
{
    BLX_CLEANUP(blx_plan_done) struct blx_plan made = {0};
    uint64_t began_ns = blx_clock_ns();
    int rc = blx_plan_make(blx_store_agent(store, agent), point->timestamps[point->checkpoints - 1],
                           "sda", &made, err);
    point->plan_ns[at] = blx_clock_ns() - began_ns;
    point->entries[at] = made.index.count;
    return rc;
}

/* All but every tenth checkpoint, and the newest. */
static int prune(struct point *point, const struct blx_store *store, struct blx_error *err)
{
    BLX_CLEANUP_FREE blx_timestamp *doomed = calloc(point->checkpoints, sizeof(doomed[0]));
    struct blx_prune_report report;
    struct blx_rewrite_report rewritten;
    if (doomed == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot prune");
    struct blx_prune_request request = {.checkpoints = doomed};
    for (uint64_t i = 0; i + 1 < point->checkpoints; i++)
        if (i % (100 / KEPT_PERCENT) != 0)
            doomed[request.count++] = point->timestamps[i];
    uint64_t began_ns = blx_clock_ns();
    int rc = blx_prune(blx_store_agent(store, agent), &request, &report, err);
    uint64_t pruned_ns = blx_clock_ns();
    if (rc == 0)
        rc = blx_rewrite(blx_store_agent(store, agent), &(struct blx_rewrite_request){0},
                         &rewritten, err);
    point->prune_ns = pruned_ns - began_ns;
    point->rewrite_ns = blx_clock_ns() - pruned_ns;
    return rc;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The median of the last tenth's, at least of one: the cost of a commit after such a history. */
static uint64_t last_commit_ns(const struct point *point)
{
    uint64_t count = (point->checkpoints + 9) / 10;
    uint64_t *last = point->commit_ns + (point->checkpoints - count);
    qsort(last, count, sizeof(last[0]), compare_numbers);
    return last[count / 2];
}

static void print(const struct point *point)
{
    struct blx_json json = {.out = stdout};
    blx_json_open(&json, NULL, '{');
    blx_json_number(&json, "size", point->disk.size_bytes);
    blx_json_number(&json, "used_percent", point->disk.used_percent);
    blx_json_number(&json, "block_bytes", UINT64_C(1) << point->disk.block_shift);
    blx_json_number(&json, "checkpoints", point->checkpoints);
    blx_json_number(&json, "change", point->change_bytes);
    blx_json_number(&json, "index_entries", point->entries[0]);
    blx_json_number(&json, "index_bytes", point->entries[0] * sizeof(struct blx_index_entry));
    blx_json_number(&json, "index_entries_pruned", point->entries[1]);
    blx_json_number(&json, "open_us", point->open_ns[0] / 1000);
    blx_json_number(&json, "reopen_us", point->open_ns[1] / 1000);
    blx_json_number(&json, "commit_us", last_commit_ns(point) / 1000);
    blx_json_number(&json, "plan_us", point->plan_ns[0] / 1000);
    blx_json_number(&json, "plan_pruned_us", point->plan_ns[1] / 1000);
    blx_json_number(&json, "prune_us", point->prune_ns / 1000);
    blx_json_number(&json, "rewrite_us", point->rewrite_ns / 1000);
    blx_json_close(&json, '}');
}

static int measure(struct point *point, struct blx_error *err)
{
    BLX_CLEANUP(blx_store_close) struct blx_store store = {.lock_fd = -1};
    int rc = blx_store_open(point->data_dir, BLX_STORE_INIT, &store, err);
    if (rc == 0)
        rc = blx_store_open(point->data_dir, BLX_STORE_WRITE, &store, err);
    if (rc == 0)
        rc = write_store(point, &store, err);
    if (rc == 0)
        rc = plan(point, &store, 0, err);
    if (rc == 0)
        rc = prune(point, &store, err);
    if (rc == 0)
        rc = plan(point, &store, 1, err);
    if (rc == 0 && point->entries[0] != point->entries[1])
        rc = blx_error_set(err, -EBADMSG, "a prune changed what a restore reads");
    return rc;
}

int main(int argc, char **argv)
{
    struct blx_error err = {0};
    struct point point = {.checkpoints = 10,
                          .change_bytes = 1 << 20,
                          .disk = {.size_bytes = UINT64_C(1) << 30,
                                   .used_percent = 60,
                                   .block_shift = BLX_BLOCK_SHIFT_MIN,
                                   .codec = BLX_CODEC_ZSTD,
                                   .seed = 1}};
    if (read_options(argc, argv, &point) < 0) {
        fprintf(stderr, "usage: scale --data-dir=DIR [OPTIONS]; see tests/bench/scale.c\n");
        return 2;
    }
    point.timestamps = calloc(point.checkpoints, sizeof(point.timestamps[0]));
    point.commit_ns = calloc(point.checkpoints, sizeof(point.commit_ns[0]));
    int rc = point.timestamps == NULL || point.commit_ns == NULL ? -ENOMEM : measure(&point, &err);
    if (rc == 0)
        print(&point);
    else
        fprintf(stderr, "scale: %s\n", err.message);
    free(point.timestamps);
    free(point.commit_ns);
    return rc == 0 ? 0 : 1;
}
