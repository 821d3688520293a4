/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes a store of a simulated disk: a base, and checkpoints with changes on top of it. The result
 * is a store like any other, for measurements and experiments.
 *
 *     make_store --data-dir=DIR [--agent=ID] [--size=8G] [--used=60] [--checkpoints=1]
 *                [--change=4M] [--run=64K] [--block-shift=12] [--random=50] [--codec=zstd]
 *                [--seed=1] [--flat] [--image=FILE] [--device=/dev/sda]
 *
 * --flat: the disk as it is in the end also goes into the store as one base, of the agent ID-flat.
 * --image: and into a sparse file. Prints the last checkpoint's timestamp.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/units.h"
#include "simulation.h"

struct request {
    const char *data_dir, *agent, *image;
    uint64_t checkpoints, change_bytes, run_bytes;
    int flat;
    struct blx_simulation_options disk;
};

static int read_number(const char *text, uint64_t low, uint64_t high, uint64_t *number)
{
    struct blx_error err = {0};
    if (blx_size_parse(text, number, &err) == 0 && *number >= low && *number <= high)
        return 0;
    fprintf(stderr, "make_store: '%s' is not between %" PRIu64 " and %" PRIu64 "\n", text, low,
            high);
    return -EINVAL;
}

static int read_small(const char *text, unsigned low, unsigned high, unsigned *number)
{
    uint64_t wide;
    int rc = read_number(text, low, high, &wide);
    if (rc == 0)
        *number = (unsigned)wide;
    return rc;
}

static int read_option(int option, struct request *request)
{
    struct blx_error err = {0};
    switch (option) {
    case 'd':
        request->data_dir = optarg;
        return 0;
    case 'a':
        request->agent = optarg;
        return 0;
    case 'i':
        request->image = optarg;
        return 0;
    case 'v':
        request->disk.device = optarg;
        return 0;
    case 's':
        return read_number(optarg, 4096, UINT64_C(1) << 50, &request->disk.size_bytes);
    case 'u':
        return read_small(optarg, 1, 100, &request->disk.used_percent);
    case 'n':
        return read_number(optarg, 1, 1000000, &request->checkpoints);
    case 'c':
        return read_number(optarg, 0, UINT64_C(1) << 50, &request->change_bytes);
    case 'r':
        return read_number(optarg, 1, UINT64_C(1) << 30, &request->run_bytes);
    case 'b':
        return read_small(optarg, BLX_BLOCK_SHIFT_MIN, BLX_BLOCK_SHIFT_MAX,
                          &request->disk.block_shift);
    case 'p':
        return read_small(optarg, 0, 100, &request->disk.random_percent);
    case 'z':
        return blx_codec_parse(optarg, &request->disk.codec, &err);
    case 'e':
        return read_number(optarg, 0, UINT64_MAX / 4, &request->disk.seed);
    case 0:
        return 0;
    default:
        return -EINVAL;
    }
}

static int read_options(int argc, char **argv, struct request *request)
{
    const struct option options[] = {
        {"data-dir", required_argument, NULL, 'd'},
        {"agent", required_argument, NULL, 'a'},
        {"size", required_argument, NULL, 's'},
        {"used", required_argument, NULL, 'u'},
        {"checkpoints", required_argument, NULL, 'n'},
        {"change", required_argument, NULL, 'c'},
        {"run", required_argument, NULL, 'r'},
        {"block-shift", required_argument, NULL, 'b'},
        {"random", required_argument, NULL, 'p'},
        {"codec", required_argument, NULL, 'z'},
        {"seed", required_argument, NULL, 'e'},
        {"image", required_argument, NULL, 'i'},
        {"device", required_argument, NULL, 'v'},
        {"flat", no_argument, &request->flat, 1},
        {NULL, 0, NULL, 0},
    };
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        if (read_option(option, request) < 0)
            return -EINVAL;
    return request->data_dir == NULL || optind < argc ? -EINVAL : 0;
}

/* The checkpoints of one agent; the disk begins as it is. */
static int write_agent(struct blx_simulation *disk, const struct blx_store *store,
                       const char *agent_id, const struct request *request, uint64_t checkpoints,
                       blx_timestamp *last, struct blx_error *err)
{
    struct blx_agent_writer *writer = NULL;
    int rc = blx_simulation_connect(disk, store, agent_id, NULL, &writer, err);
    if (rc == 0)
        rc = blx_simulation_send_all(disk, writer, err);
    if (rc == 0)
        rc = blx_simulation_commit(disk, writer, last, err);
    for (uint64_t i = 1; rc == 0 && i < checkpoints; i++) {
        rc = blx_simulation_change(disk, request->change_bytes, request->run_bytes, err);
        if (rc == 0)
            rc = blx_simulation_send_changed(disk, writer, err);
        if (rc == 0)
            rc = blx_simulation_commit(disk, writer, last, err);
    }
    blx_agent_writer_close(writer);
    return rc;
}

static int write_image(const struct blx_simulation *disk, const char *path, struct blx_error *err)
{
    size_t block_bytes = (size_t)1 << disk->options.block_shift;
    BLX_CLEANUP_FREE uint8_t *block = malloc(block_bytes);
    BLX_CLEANUP_FD int fd = blx_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600, err);
    if (fd < 0)
        return fd;
    if (block == NULL || ftruncate(fd, (off_t)disk->options.size_bytes) != 0)
        return blx_error_errno(err, -errno, "cannot make '%s'", path);
    for (uint64_t i = 0; i < disk->blocks; i++) {
        uint64_t at = i << disk->options.block_shift, left = disk->options.size_bytes - at;
        if (disk->versions[i] == 0)
            continue;
        blx_simulation_read(disk, i, block);
        int rc = blx_pwrite_full(fd, block, left < block_bytes ? (size_t)left : block_bytes, at);
        if (rc < 0)
            return blx_error_errno(err, rc, "cannot write '%s'", path);
    }
    return 0;
}

static int write_store(const struct request *request, struct blx_error *err)
{
    BLX_CLEANUP(blx_store_close) struct blx_store store = {.lock_fd = -1};
    BLX_CLEANUP(blx_simulation_done) struct blx_simulation disk = {0};
    blx_timestamp last = 0, ignored;
    char flat[BLX_NAME_BYTES + 8];
    int rc = blx_store_open(request->data_dir, BLX_STORE_INIT, &store, err);
    if (rc == 0)
        rc = blx_store_open(request->data_dir, BLX_STORE_WRITE, &store, err);
    if (rc == 0)
        rc = blx_simulation_init(&disk, &request->disk, err);
    if (rc == 0)
        rc = write_agent(&disk, &store, request->agent, request, request->checkpoints, &last, err);
    snprintf(flat, sizeof(flat), "%s-flat", request->agent);
    if (rc == 0 && request->flat)
        rc = write_agent(&disk, &store, flat, request, 1, &ignored, err);
    if (rc == 0 && request->image != NULL)
        rc = write_image(&disk, request->image, err);
    if (rc == 0)
        printf("%" PRIu64 "\n", last);
    return rc;
}

int main(int argc, char **argv)
{
    struct request request = {
        .agent = "web1",
        .checkpoints = 1,
        .change_bytes = 4 << 20,
        .run_bytes = 64 << 10,
        .disk = {.size_bytes = UINT64_C(8) << 30,
                 .used_percent = 60,
                 .block_shift = BLX_BLOCK_SHIFT_MIN,
                 .random_percent = 50,
                 .codec = BLX_CODEC_ZSTD,
                 .seed = 1},
    };
    struct blx_error err = {0};
    if (read_options(argc, argv, &request) < 0) {
        fprintf(stderr,
                "usage: make_store --data-dir=DIR [OPTIONS]; see tests/bench/make_store.c\n");
        return 2;
    }
    if (write_store(&request, &err) < 0) {
        fprintf(stderr, "make_store: %s\n", err.message);
        return 1;
    }
    return 0;
}
