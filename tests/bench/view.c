/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What opening and reading a checkpoint costs inside of a process: its newest one, volume sda.
 *
 *     view DIR AGENT open      opens a view: the chain's files are read by many threads
 *     view DIR AGENT serial    reads the same files by one thread, as it was before
 *     view DIR AGENT random    opens a view, and reads 4 KiB at 4000 places one after another
 *
 * Prints microseconds: of the whole, or of processor time the median and the 99th percentile of a
 * read.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "store/checkpoint/manifest_file.h"
#include "store/segment/segment.h"
#include "store/view/view.h"

enum { READS = 4000, READ_BYTES = 4096 };

static const char *const volume = "sda";

static int open_view(struct blx_agent_store agent, struct blx_frame_cache *cache,
                     struct blx_view **view, struct blx_error *err)
{
    struct blx_view_request request = {.agent = agent, .volume = volume, .cache = cache};
    int rc = blx_manifest_latest(agent, &request.checkpoint, err);
    return rc < 0 ? rc : blx_view_open(&request, view, err);
}

static int read_serially(struct blx_agent_store agent, struct blx_error *err)
{
    char dir[PATH_MAX];
    blx_timestamp at;
    int rc = blx_manifest_latest(agent, &at, err);
    if (rc == 0)
        rc = blx_agent_store_volume_path(agent, volume, dir, err);
    for (bool base = false; rc == 0 && !base;) {
        BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
        rc = blx_manifest_read(agent, at, &manifest, err);
        const struct blx_manifest_volume *found =
            rc == 0 ? blx_manifest_find(&manifest, volume) : NULL;
        for (uint32_t i = 0; found != NULL && rc == 0 && i < found->segment_count; i++) {
            struct blx_segment_reader *reader = NULL;
            rc = blx_segment_reader_open(dir, found->segments[i], &reader, err);
            blx_segment_reader_close(reader);
        }
        base = found == NULL || found->base;
        at = manifest.parent;
    }
    return rc;
}

static int compare_numbers(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Processor time, so that a busy machine does not count. */
static uint64_t cpu_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return blx_ns_from_timespec(&now);
}

static int read_at_random(struct blx_view *view, struct blx_error *err)
{
    static uint64_t took_ns[READS];
    static uint8_t buffer[READ_BYTES];
    unsigned seed = 1;
    uint64_t blocks = blx_view_size_bytes(view) / READ_BYTES;
    for (int i = 0; i < READS; i++) {
        uint64_t block = ((uint64_t)rand_r(&seed) << 31 | (uint64_t)rand_r(&seed)) % blocks;
        uint64_t began_ns = cpu_ns();
        int rc = blx_view_read(view, buffer, sizeof(buffer), block * READ_BYTES, err);
        took_ns[i] = cpu_ns() - began_ns;
        if (rc < 0)
            return rc;
    }
    qsort(took_ns, READS, sizeof(took_ns[0]), compare_numbers);
    printf("%" PRIu64 ".%" PRIu64 " %" PRIu64 "\n", took_ns[READS / 2] / 1000,
           took_ns[READS / 2] / 100 % 10, took_ns[READS / 100 * 99] / 1000);
    return 0;
}

static int measure(struct blx_agent_store agent, const char *what, struct blx_frame_cache *cache,
                   struct blx_error *err)
{
    struct blx_view *view = NULL;
    uint64_t began_ns = blx_clock_ns();
    int rc = strcmp(what, "serial") == 0 ? read_serially(agent, err)
                                         : open_view(agent, cache, &view, err);
    uint64_t took_ns = blx_clock_ns() - began_ns;
    if (rc == 0 && strcmp(what, "random") == 0)
        rc = read_at_random(view, err);
    else if (rc == 0)
        printf("%" PRIu64 "\n", took_ns / 1000);
    blx_view_close(view);
    return rc;
}

int main(int argc, char **argv)
{
    struct blx_store store = {.lock_fd = -1};
    struct blx_error err = {0};
    if (argc != 4) {
        fprintf(stderr, "usage: view DIR AGENT open|serial|random\n");
        return 2;
    }
    struct blx_frame_cache *cache = blx_frame_cache_new(BLX_FRAME_CACHE_DEFAULT_BYTES);
    int rc = cache == NULL ? -ENOMEM : blx_store_open(argv[1], BLX_STORE_READ, &store, &err);
    if (rc == 0)
        rc = measure(blx_store_agent(&store, argv[2]), argv[3], cache, &err);
    blx_store_close(&store);
    blx_frame_cache_free(cache);
    if (rc < 0)
        fprintf(stderr, "view: %s\n", err.message);
    return rc < 0 ? 1 : 0;
}
