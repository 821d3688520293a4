/* SPDX-License-Identifier: Apache-2.0 */
/*
 * marks DEVICE IMAGE: makes the image that an agent would have made. Tracks the device, keeps an
 * image of it, and at each "cut" on standard input does what an agent does: marks what is owed,
 * clears the marks, reads the marked blocks into the image. The first cut copies all. Answers in
 * lines; at the end of its input tracking ends. For matrix.py.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/track/tracker.h"
#include "agent/track/witness.h"
#include "base/bitmap.h"

enum { RUN_BYTES = 1 << 20 };

static struct agent_device device;
static struct agent_tracker *tracker;
static struct agent_witness witness;
static struct blx_error err;
static int disk;

static void ok(int r)
{
    if (r >= 0)
        return;
    printf("failed: %d %s\n", r, err.message);
    exit(1);
}

static void copy_run(int image, struct blx_extent run)
{
    static uint8_t *buffer;
    if (buffer == NULL && posix_memalign((void **)&buffer, 4096, RUN_BYTES) != 0)
        abort();
    unsigned shift = agent_tracker_get_block_shift(tracker);
    uint64_t offset = run.start_block << shift, bytes = run.block_count << shift;
    ssize_t count = pread(disk, buffer, bytes, (off_t)offset);
    if (count <= 0 || pwrite(image, buffer, (size_t)count, (off_t)offset) != count)
        ok(blx_error_errno(&err, -EIO, "cannot copy %" PRIu64 " bytes at %" PRIu64, bytes, offset));
}

static uint64_t copy_marked(int image)
{
    uint64_t blocks = agent_tracker_get_blocks(tracker), copied = 0;
    uint64_t *dirty = agent_tracker_get_dirty(tracker);
    struct blx_extent run = {0};
    while (blx_bitmap_next_run(dirty, run.start_block + run.block_count, blocks,
                               RUN_BYTES >> agent_tracker_get_block_shift(tracker), &run)) {
        blx_bitmap_clear(dirty, run);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        copy_run(image, run);
        copied += run.block_count;
    }
    return copied;
}

static void cut(int image)
{
    struct agent_tracker_counters counters;
    bool owed = agent_tracker_mark_owed(tracker);
    uint64_t copied = copy_marked(image);
    ok(agent_tracker_read_counters(tracker, &counters, &err));
    ok(agent_witness_ask(&witness, tracker, &device, &err));
    printf("copied %" PRIu64 " owed %d missed %" PRIu64 " passthrough %" PRIu64 " unmarked %" PRIu64
           " unseen %" PRIu64 "\n",
           copied, owed, counters.missed, counters.passthrough, counters.unmarked,
           witness.unseen_sectors);
}

int main(int argc, char **argv)
{
    char line[16];
    if (argc != 3)
        return 2;
    setvbuf(stdout, NULL, _IOLBF, 0);
    int image = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (image < 0)
        return 1;
    ok(agent_device_find(argv[1], &device, &err));
    disk = open(argv[1], O_RDONLY | O_DIRECT | O_CLOEXEC);
    ok(disk < 0 ? blx_error_errno(&err, -errno, "cannot open '%s'", argv[1]) : 0);
    ok(agent_tracker_open(&device, &tracker, &err));
    ok(agent_witness_ask(&witness, tracker, &device, &err));
    blx_bitmap_set(agent_tracker_get_dirty(tracker),
                   (struct blx_extent){0, agent_tracker_get_blocks(tracker)});
    cut(image);
    while (fgets(line, sizeof(line), stdin) != NULL)
        cut(image);
    agent_tracker_destroy(tracker);
    close(disk);
    close(image);
    return 0;
}
