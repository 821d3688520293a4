/* SPDX-License-Identifier: Apache-2.0 */
#include "site.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store/audit.h"
#include "store/prune/prune.h"
#include "store/prune/rewrite.h"

enum { FRAME_BLOCKS = 8, FIRST_SECOND = 1000000000 };

static uint64_t any(struct site *site, uint64_t below)
{
    return test_random(&site->random) % below;
}

static struct blx_agent_store agent_of(const struct site *site)
{
    return blx_store_agent(&site->test.store, "web1");
}

/* Even seeds compress. */
static void fill_block(uint64_t seed, uint8_t *at)
{
    uint64_t random = seed;
    memset(at, 0, TEST_BLOCK_BYTES);
    for (size_t i = 0; seed != 0 && i < TEST_BLOCK_BYTES; i += sizeof(seed)) {
        uint64_t word = seed % 2 == 0 ? seed : test_random(&random);
        memcpy(at + i, &word, sizeof(word));
    }
}

void site_fill(const struct site_image *image, uint8_t *bytes)
{
    for (size_t i = 0; i < SITE_BLOCKS; i++)
        fill_block(image->seeds[i], bytes + i * TEST_BLOCK_BYTES);
}

void site_init(struct site *site, uint64_t seed)
{
    *site = (struct site){.random = seed, .second = FIRST_SECOND};
    site->checkpoints = calloc(SITE_CHECKPOINTS, sizeof(site->checkpoints[0]));
    assert_non_null(site->checkpoints);
    site->generation = 1;
    for (size_t i = 0; i < SITE_VOLUMES; i++) {
        struct site_volume *volume = &site->volumes[i];
        test_volume_init(&volume->disk, i == 0 ? "sda" : "sdb", SITE_BYTES, site->generation);
        volume->disk.info.volume = (uint32_t)i;
        volume->after = calloc(SITE_GENERATIONS, sizeof(volume->after[0]));
        assert_non_null(volume->after);
    }
}

void site_done(struct site *site)
{
    site_disconnect(site);
    for (size_t i = 0; i < SITE_VOLUMES; i++) {
        test_volume_done(&site->volumes[i].disk);
        free(site->volumes[i].after);
    }
    free(site->checkpoints);
}

void site_disconnect(struct site *site)
{
    blx_agent_writer_close(site->writer);
    site->writer = NULL;
}

/* The disk is full, or refused to flush. */
static bool is_refused(struct site *site, int rc, const struct blx_error *err)
{
    bool refused = rc == -ENOSPC || rc == -EIO;
    site->did.refusals += refused;
    if (!refused)
        test_ok(rc, err);
    return refused;
}

/* The same; the session is over then. */
static bool is_over(struct site *site, int rc, const struct blx_error *err)
{
    bool refused = is_refused(site, rc, err);
    if (refused)
        site_disconnect(site);
    return refused;
}

static struct site_image *image_after(struct site_volume *volume, uint64_t seq)
{
    assert_true(seq < SITE_FRAMES);
    return &volume->after[volume->disk.info.generation.bytes[0]][seq];
}

const struct site_image *site_check_state(const struct site_volume *volume,
                                          const struct blx_volume_state *state)
{
    uint8_t found = state->generation.bytes[0];
    bool nothing_yet = found == 0 && !volume->is_promised;
    if (found == volume->stored && found != 0) {
        if (state->durable_seq < volume->acked_seq)
            fail_msg("%s: frame %llu was acknowledged, and the store has %llu",
                     volume->disk.info.name, (unsigned long long)volume->acked_seq,
                     (unsigned long long)state->durable_seq);
    } else if (volume->stored != 0 && !nothing_yet && (found == 0 || found != volume->beginning)) {
        fail_msg("%s: generation %u, frame %llu were stored, and the store has %u, %llu (%s)",
                 volume->disk.info.name, volume->stored, (unsigned long long)volume->acked_seq,
                 found, (unsigned long long)state->durable_seq, state->reason);
    }
    assert_true(state->durable_seq < SITE_FRAMES);
    return found == 0 ? NULL : &volume->after[found][state->durable_seq];
}

/* What lay open is now seen: a session begins with what is there. */
static void settle_checkpoints(struct site *site)
{
    struct blx_error err = {0};
    BLX_CLEANUP_FREE blx_timestamp *all = NULL;
    size_t count, at = 0;
    test_ok(blx_manifest_list(agent_of(site), 0, UINT64_MAX, &all, &count, &err), &err);
    for (size_t i = 0; i < site->checkpoint_count; i++) {
        struct site_checkpoint *checkpoint = &site->checkpoints[i];
        bool there = at < count && all[at] == checkpoint->timestamp;
        at += there;
        if (checkpoint->promise == SITE_EITHER)
            checkpoint->promise = there ? SITE_KEPT : SITE_GONE;
        assert_true(there == (checkpoint->promise == SITE_KEPT));
    }
    assert_int_equal(at, count);
}

static enum blx_pass choose_pass(struct site *site, const struct site_volume *volume,
                                 const struct blx_volume_state *state)
{
    bool same = blx_generation_equal(&state->generation, &volume->disk.info.generation);
    if (state->image_bytes == 0 || any(site, 10) == 0)
        return BLX_PASS_FULL;
    if (same)
        return BLX_PASS_RESUME;
    return !blx_generation_is_none(&state->generation) && any(site, 2) == 0 ? BLX_PASS_CONTINUE
                                                                            : BLX_PASS_RESCAN;
}

static void begin(struct site *site, struct site_volume *volume,
                  const struct blx_volume_state *state)
{
    struct blx_error err = {0};
    const struct site_image *stored = site_check_state(volume, state);
    if (state->generation.bytes[0] != volume->stored) { /* it had begun before, unnoticed */
        volume->stored = state->generation.bytes[0];
        volume->acked_seq = 0;
    }
    bool same = blx_generation_equal(&state->generation, &volume->disk.info.generation);
    enum blx_pass pass = choose_pass(site, volume, state);
    uint64_t seq = same ? state->durable_seq : 0;
    struct site_image *first = image_after(volume, seq);
    struct site_image before = stored == NULL ? (struct site_image){{0}} : *stored;
    volume->beginning = volume->disk.info.generation.bytes[0];
    /* A full pass that ends too early left a part: all is sent again. */
    for (size_t i = 0; i < SITE_BLOCKS; i++)
        first->seeds[i] = pass == BLX_PASS_FULL || stored == NULL ? SITE_UNKNOWN : before.seeds[i];
    if (is_over(site, blx_agent_writer_begin(site->writer, volume->disk.info.volume, pass, &err),
                &err))
        return;
    if (!same)
        volume->acked_seq = 0;
    volume->stored = volume->beginning;
    volume->beginning = 0;
    volume->disk.seq = seq;
}

/* The agent was started again, or goes on. */
static void choose_generations(struct site *site)
{
    for (size_t i = 0; i < SITE_VOLUMES; i++) {
        struct test_volume *disk = &site->volumes[i].disk;
        if (any(site, 6) != 0 && disk->seq < SITE_FRAMES / 2)
            continue;
        assert_true(site->generation + 1 < SITE_GENERATIONS);
        test_volume_generation(disk, ++site->generation);
    }
}

void site_connect(struct site *site)
{
    struct blx_error err = {0};
    struct blx_volume_state states[SITE_VOLUMES];
    site_disconnect(site);
    choose_generations(site);
    if (is_over(site, blx_agent_writer_open(agent_of(site), NULL, &site->writer, &err), &err))
        return;
    blx_agent_writer_set_digest_key(site->writer, test_digest_key());
    settle_checkpoints(site);
    for (size_t i = 0; i < SITE_VOLUMES; i++)
        if (is_over(site,
                    blx_agent_writer_add_volume(site->writer, &site->volumes[i].disk.info,
                                                &states[i], &err),
                    &err))
            return;
    for (size_t i = 0; site->writer != NULL && i < SITE_VOLUMES; i++)
        begin(site, &site->volumes[i], &states[i]);
}

/* A frame of the first blocks that are not stored as they are. */
static bool send_some(struct site *site, struct site_volume *volume)
{
    struct blx_error err = {0};
    uint64_t blocks[FRAME_BLOCKS];
    size_t count = 0;
    const struct site_image stored = *image_after(volume, volume->disk.seq);
    for (size_t i = 0; i < SITE_BLOCKS && count < FRAME_BLOCKS; i++)
        if (stored.seeds[i] != volume->now.seeds[i])
            blocks[count++] = i;
    if (count == 0)
        return false;
    struct site_image *after = image_after(volume, volume->disk.seq + 1);
    *after = stored;
    for (size_t i = 0; i < count; i++) {
        after->seeds[blocks[i]] = volume->now.seeds[blocks[i]];
        fill_block(volume->now.seeds[blocks[i]], volume->disk.image + blocks[i] * TEST_BLOCK_BYTES);
    }
    test_volume_frame(&volume->disk, blocks, count);
    site->did.frames++;
    return !is_over(site,
                    blx_agent_writer_append(site->writer, volume->disk.info.volume,
                                            volume->disk.frame, volume->disk.sent_bytes, &err),
                    &err);
}

/* A few blocks, or all that one frame of the first pass has: that frame is dead then. */
static void write_some(struct site *site, struct site_volume *volume)
{
    bool whole = any(site, 2) == 0;
    uint64_t first = any(site, SITE_BLOCKS), count = whole ? FRAME_BLOCKS : any(site, 6);
    if (whole)
        first -= first % FRAME_BLOCKS;
    for (uint64_t i = 0; i < count; i++)
        volume->now.seeds[(first + i) % SITE_BLOCKS] =
            any(site, 5) == 0 ? 0 : test_random(&site->random) >> 1;
}

void site_send(struct site *site)
{
    struct site_volume *volume = &site->volumes[any(site, SITE_VOLUMES)];
    write_some(site, volume);
    if (site->writer != NULL)
        send_some(site, volume);
}

static void note_ack(void *arg, uint32_t volume, uint64_t durable_seq)
{
    struct site *site = arg;
    site->volumes[volume].acked_seq = durable_seq;
    site->volumes[volume].is_promised |= durable_seq > 0;
}

void site_sync(struct site *site)
{
    struct blx_error err = {0};
    if (site->writer != NULL)
        is_over(site, blx_agent_writer_sync(site->writer, note_ack, site, &err), &err);
}

static struct site_checkpoint *add_checkpoint(struct site *site)
{
    assert_true(site->checkpoint_count < SITE_CHECKPOINTS);
    struct site_checkpoint *checkpoint = &site->checkpoints[site->checkpoint_count++];
    *checkpoint = (struct site_checkpoint){
        .timestamp = blx_timestamp_from_unix((int64_t)++site->second),
        .promise = SITE_EITHER,
        .images = {site->volumes[0].now, site->volumes[1].now},
    };
    return checkpoint;
}

void site_commit(struct site *site)
{
    struct blx_error err = {0};
    for (size_t i = 0; i < SITE_VOLUMES; i++)
        while (site->writer != NULL && send_some(site, &site->volumes[i]))
            ;
    if (site->writer == NULL)
        return;
    struct site_checkpoint *checkpoint = add_checkpoint(site);
    struct blx_checkpoint_message cut = {
        .cut_realtime_ns = site->second * 1000000000,
        .consistency = BLX_CONSISTENCY_FILESYSTEM,
        .volume_count = SITE_VOLUMES,
        .last_seq = {site->volumes[0].disk.seq, site->volumes[1].disk.seq},
    };
    const struct blx_commit_times times = {cut.cut_realtime_ns, cut.cut_realtime_ns};
    blx_timestamp timestamp;
    if (is_over(site, blx_agent_writer_commit(site->writer, &cut, &times, &timestamp, &err), &err))
        return;
    assert_int_equal(timestamp, checkpoint->timestamp);
    checkpoint->promise = SITE_KEPT;
    for (size_t i = 0; i < SITE_VOLUMES; i++) {
        site->volumes[i].acked_seq = site->volumes[i].disk.seq;
        site->volumes[i].is_promised = true;
    }
    site->did.commits++;
}

/* Some of those before the last one. */
static size_t choose_doomed(struct site *site, size_t *doomed)
{
    size_t count = 0, last = site->checkpoint_count;
    while (last > 0 && site->checkpoints[last - 1].promise != SITE_KEPT)
        last--;
    uint64_t percent = any(site, 2) == 0 ? 80 : 30;
    for (size_t i = 0; i + 1 < last; i++)
        if (site->checkpoints[i].promise == SITE_KEPT && any(site, 100) < percent)
            doomed[count++] = i;
    return count;
}

void site_prune(struct site *site)
{
    struct blx_error err = {0};
    struct blx_prune_report report;
    size_t doomed[SITE_CHECKPOINTS];
    blx_timestamp timestamps[SITE_CHECKPOINTS];
    size_t count = choose_doomed(site, doomed);
    if (!blx_agent_store_exists(agent_of(site)))
        return;
    for (size_t i = 0; i < count; i++) {
        site->checkpoints[doomed[i]].promise = SITE_EITHER;
        timestamps[i] = site->checkpoints[doomed[i]].timestamp;
    }
    const struct blx_prune_request request = {.checkpoints = timestamps, .count = count};
    int rc = blx_prune(agent_of(site), &request, &report, &err);
    if (rc != -EBUSY)
        is_refused(site, rc, &err);
    site->did.prunes += rc == 0;
    if (rc < 0 && rc != -EBUSY)
        return;
    for (size_t i = 0; i < count; i++)
        site->checkpoints[doomed[i]].promise = rc == 0 ? SITE_GONE : SITE_KEPT;
}

void site_rewrite(struct site *site)
{
    struct blx_error err = {0};
    struct blx_rewrite_report report;
    const struct blx_rewrite_request request = {0};
    if (!blx_agent_store_exists(agent_of(site)))
        return;
    int rc = blx_rewrite(agent_of(site), &request, &report, &err);
    if (rc != -EBUSY)
        is_refused(site, rc, &err);
    assert_int_equal(report.damaged, 0);
    site->did.rewrites += report.replaced;
}

void site_audit(struct site *site)
{
    struct blx_error err = {0};
    char text[32];
    assert_true(site->test.store.data_dir[0] != '\0');
    snprintf(text, sizeof(text), "line %u", site->lines + 1);
    const struct blx_audit_entry entry = {.event = "test", .agent = "web1", .text = text};
    int rc = blx_audit_append(site->test.store.data_dir, &entry, &err);
    if (!is_refused(site, rc, &err))
        site->lines++;
}
