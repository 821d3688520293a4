/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes an agent whose checkpoints have every consistency and mark that a store can have by now,
 * an hour apart until an hour ago, with a gap in the middle, through the store's own writer.
 *
 *     marked_store DATA_DIR AGENT CHECKPOINTS DEVICE NOTE
 *
 * Of eight checkpoints each one is: filesystem; crash; none, with the note; damaged; without
 * '/dev/vdb'; tested; tested and failed, with the note as what was seen; filesystem. `pin` pins.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "bench/simulation.h"
#include "store/checkpoint/tested.h"

enum { HOUR_S = 3600, GAP_HOURS = 12, KINDS = 8 };

enum kind { PLAIN, CRASH, NONE, DAMAGED, LACKING, TESTED, FAILED };

struct words {
    const char *data_dir, *agent, *device, *note;
    unsigned checkpoints;
};

static int commit(struct blx_simulation *disk, struct blx_agent_writer *writer, enum kind kind,
                  const struct words *words, blx_timestamp *timestamp, struct blx_error *err)
{
    struct blx_checkpoint_message cut = {
        .cut_realtime_ns = disk->second * BLX_NS_PER_S,
        .consistency = kind == CRASH  ? BLX_CONSISTENCY_CRASH
                       : kind == NONE ? BLX_CONSISTENCY_NONE
                                      : BLX_CONSISTENCY_FILESYSTEM,
        .volume_count = 1,
        .freeze_ns = kind == PLAIN ? 12 * BLX_NS_PER_MS : 40 * BLX_NS_PER_MS,
        .last_seq = {disk->seq},
    };
    const struct blx_commit_times times = {cut.cut_realtime_ns, cut.cut_realtime_ns};
    const struct blx_unreadable unreadable = {.extent_count = 1,
                                              .extents = {{.start_block = 16, .block_count = 4}}};
    blx_text_set(cut.note, kind == NONE      ? words->note
                           : kind == LACKING ? "without '/dev/vdb', which is away"
                                             : "");
    int rc = kind == DAMAGED ? blx_agent_writer_note_unreadable(writer, &unreadable, err) : 0;
    if (rc == 0)
        rc = blx_agent_writer_commit(writer, &cut, &times, timestamp, err);
    return rc;
}

static int record_test(const struct blx_store *store, const struct words *words, enum kind kind,
                       blx_timestamp checkpoint, struct blx_error *err)
{
    struct blx_tested tested = {
        .checkpoint = checkpoint,
        .begun_realtime_ns = blx_clock_realtime_ns() - 600 * BLX_NS_PER_S,
        .took_ms = 46000,
        .booted_ms = kind == TESTED ? 41200 : 0,
        .within_ms = 300000,
        .level = BLX_TEST_LEVEL_BOOT,
        .machine = BLX_TEST_KVM,
        .results = {BLX_TEST_GOOD, kind == TESTED ? BLX_TEST_GOOD : BLX_TEST_BAD},
    };
    blx_text_set(tested.seen, kind == TESTED ? "it booted and answered" : words->note);
    blx_text_set(tested.reason, kind == TESTED ? "" : "no answer within 5 m");
    blx_tested_set_screen(&tested, "Debian GNU/Linux 12 web1 ttyS0\n\nweb1 login: ");
    return blx_tested_write(blx_store_agent(store, words->agent), &tested, err);
}

static int write_agent(const struct blx_store *store, const struct words *words,
                       struct blx_error *err)
{
    const struct blx_simulation_options options = {.size_bytes = 4 << 20,
                                                   .used_percent = 60,
                                                   .block_shift = BLX_BLOCK_SHIFT_MIN,
                                                   .random_percent = 50,
                                                   .codec = BLX_CODEC_ZSTD,
                                                   .seed = 1,
                                                   .device = words->device};
    BLX_CLEANUP(blx_simulation_done) struct blx_simulation disk = {0};
    struct blx_agent_writer *writer = NULL;
    blx_timestamp timestamp;
    int rc = blx_simulation_init(&disk, &options, err);
    if (rc == 0)
        rc = blx_simulation_connect(&disk, store, words->agent, NULL, &writer, err);
    if (rc == 0)
        rc = blx_simulation_send_all(&disk, writer, err);
    disk.second = blx_clock_realtime_ns() / BLX_NS_PER_S -
                  (uint64_t)(words->checkpoints + GAP_HOURS) * HOUR_S;
    for (unsigned i = 0; rc == 0 && i < words->checkpoints; i++) {
        const enum kind kind = i % KINDS;
        rc = blx_simulation_change(&disk, 64 << 10, 16 << 10, err);
        if (rc == 0)
            rc = blx_simulation_send_changed(&disk, writer, err);
        if (rc == 0)
            rc = commit(&disk, writer, kind, words, &timestamp, err);
        if (rc == 0 && (kind == TESTED || kind == FAILED))
            rc = record_test(store, words, kind, timestamp, err);
        disk.second += (uint64_t)HOUR_S * (i == words->checkpoints / 2 ? GAP_HOURS : 1);
    }
    blx_agent_writer_close(writer);
    return rc;
}

int main(int argc, char **argv)
{
    BLX_CLEANUP(blx_store_close) struct blx_store store = {.lock_fd = -1};
    struct blx_error err = {0};
    if (argc != 6) {
        fprintf(stderr, "usage: marked_store DATA_DIR AGENT CHECKPOINTS DEVICE NOTE\n");
        return 2;
    }
    const struct words words = {.data_dir = argv[1],
                                .agent = argv[2],
                                .checkpoints = (unsigned)strtoul(argv[3], NULL, 10),
                                .device = argv[4],
                                .note = argv[5]};
    int rc = blx_store_open(words.data_dir, BLX_STORE_INIT, &store, &err);
    if (rc == 0)
        rc = blx_store_open(words.data_dir, BLX_STORE_WRITE, &store, &err);
    if (rc == 0)
        rc = write_agent(&store, &words, &err);
    if (rc < 0)
        fprintf(stderr, "marked_store: %s\n", err.message);
    return rc < 0 ? 1 : 0;
}
