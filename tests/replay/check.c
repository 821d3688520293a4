/* SPDX-License-Identifier: Apache-2.0 */
#include "check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "store/audit.h"
#include "store/prune/prune.h"
#include "store/prune/rewrite.h"
#include "store/verify/verify.h"

enum { FRAME_BLOCKS = 8, GENERATION_OF_ITS_OWN = 255 };

/* While the store is being made there may be none yet. */
static void open_store(struct test_store *test, const struct site *site, const char *dir)
{
    struct blx_error err = {0};
    bool is_made = site->test.store.data_dir[0] != '\0';
    *test = (struct test_store){.store.lock_fd = -1};
    assert_true(strlen(dir) < sizeof(test->dir));
    strcpy(test->dir, dir);
    test_ok(blx_store_open(dir, is_made ? BLX_STORE_WRITE : BLX_STORE_INIT, &test->store, &err),
            &err);
}

static struct blx_agent_store agent_of(const struct test_store *test)
{
    return blx_store_agent(&test->store, "web1");
}

/* A cut may tear what was received and not flushed yet in its middle. Only the agent knows that
 * nothing of it was acknowledged, so that verify names it until the store has recovered. */
static bool is_torn_middle(const struct blx_damage *damage)
{
    size_t length = strlen(damage->file), end = strlen("/open.seg");
    return damage->scope == BLX_DAMAGE_UNCOMMITTED && damage->checkpoint_count == 0 &&
           length > end && strcmp(damage->file + length - end, "/open.seg") == 0;
}

enum when { BEFORE_RECOVERY, AFTER_RECOVERY };

static void verify(const struct test_store *test, enum when when)
{
    struct blx_error err = {0};
    struct blx_verify_report report;
    test_ok(blx_verify(&test->store, NULL, NULL, &report, &err), &err);
    for (size_t i = 0; i < report.damage_count; i++)
        if (when == AFTER_RECOVERY || !is_torn_middle(&report.damages[i]))
            fail_msg("verify, %s: %s at %llu: %s",
                     when == AFTER_RECOVERY ? "after the recovery" : "after the cut",
                     report.damages[i].file, (unsigned long long)report.damages[i].offset_bytes,
                     report.damages[i].cause);
    blx_verify_report_done(&report);
}

/* A checkpoint whose removal has begun may lack one that it builds upon, if a cut keeps the
 * removals in another order: nobody builds upon it any more. */
static bool is_left_over(const struct test_store *test, const struct site_checkpoint *checkpoint)
{
    struct blx_error err = {0};
    blx_timestamp at = checkpoint->timestamp;
    while (checkpoint->promise != SITE_KEPT && at != 0) {
        BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
        int rc = blx_manifest_read(agent_of(test), at, &manifest, &err);
        if (rc == -ENOENT)
            return true;
        test_ok(rc, &err);
        at = manifest.parent;
    }
    return false;
}

static void restore(const struct test_store *test, blx_timestamp timestamp,
                    const struct site_image images[SITE_VOLUMES])
{
    static uint8_t bytes[SITE_BLOCKS * TEST_BLOCK_BYTES];
    for (size_t i = 0; i < SITE_VOLUMES; i++) {
        site_fill(&images[i], bytes);
        test_restores_to(test, timestamp, i == 0 ? "sda" : "sdb", bytes, SITE_BYTES);
    }
}

static void check_checkpoints(const struct site *site, const struct test_store *test)
{
    struct blx_error err = {0};
    BLX_CLEANUP_FREE blx_timestamp *all = NULL;
    size_t count, at = 0;
    test_ok(blx_manifest_list(agent_of(test), 0, UINT64_MAX, &all, &count, &err), &err);
    for (size_t i = 0; i < site->checkpoint_count; i++) {
        const struct site_checkpoint *checkpoint = &site->checkpoints[i];
        if (at < count && all[at] == checkpoint->timestamp) {
            if (checkpoint->promise == SITE_GONE)
                fail_msg("checkpoint %llu was removed", (unsigned long long)all[at]);
            if (!is_left_over(test, checkpoint))
                restore(test, all[at], checkpoint->images);
            at++;
        } else if (checkpoint->promise == SITE_KEPT) {
            fail_msg("checkpoint %llu is lost", (unsigned long long)checkpoint->timestamp);
        }
    }
    assert_int_equal(at, count);
}

struct lines {
    unsigned good, torn;
};

static int count_line(void *arg, const struct blx_audit_line *line, struct blx_error *err)
{
    struct lines *lines = arg;
    (void)err;
    if (line->fault == BLX_AUDIT_BROKEN)
        fail_msg("the audit log's chain is broken at line %llu: %s",
                 (unsigned long long)line->number, line->text);
    lines->good += line->fault == BLX_AUDIT_GOOD;
    lines->torn += line->fault == BLX_AUDIT_TORN;
    return 0;
}

static struct lines count_lines(const struct test_store *test)
{
    struct blx_error err = {0};
    struct lines lines = {0};
    test_ok(blx_audit_each(test->dir, count_line, &lines, &err), &err);
    return lines;
}

static void check_audit(const struct site *site, const struct test_store *test)
{
    struct blx_error err = {0};
    struct lines before = count_lines(test);
    if (before.good < site->lines)
        fail_msg("the audit log has %u lines, and %u were appended", before.good, site->lines);
    const struct blx_audit_entry entry = {.event = "start"};
    test_ok(blx_audit_append(test->dir, &entry, &err), &err);
    struct lines after = count_lines(test);
    assert_int_equal(after.good, before.good + 1);
    assert_int_equal(after.torn, before.torn);
}

/* The agent's disks, for one more session. */
struct probe {
    struct test_volume volumes[SITE_VOLUMES];
    struct blx_agent_writer *writer;
};

static void probe_init(struct probe *probe, const struct site *site)
{
    *probe = (struct probe){0};
    for (size_t i = 0; i < SITE_VOLUMES; i++) {
        const struct site_volume *volume = &site->volumes[i];
        test_volume_init(&probe->volumes[i], volume->disk.info.name, SITE_BYTES, 1);
        probe->volumes[i].info = volume->disk.info;
        site_fill(&volume->now, probe->volumes[i].image);
    }
}

static void probe_done(struct probe *probe)
{
    blx_agent_writer_close(probe->writer);
    for (size_t i = 0; i < SITE_VOLUMES; i++)
        test_volume_done(&probe->volumes[i]);
}

static int announce(struct probe *probe, const struct test_store *test,
                    struct blx_volume_state states[SITE_VOLUMES], struct blx_error *err)
{
    int rc = blx_agent_writer_open(agent_of(test), NULL, &probe->writer, err);
    if (rc == 0)
        blx_agent_writer_set_digest_key(probe->writer, test_digest_key());
    for (size_t i = 0; rc == 0 && i < SITE_VOLUMES; i++)
        rc = blx_agent_writer_add_volume(probe->writer, &probe->volumes[i].info, &states[i], err);
    return rc;
}

/* Sends what differs from `stored`; all if that is not known. */
static void send_rest(struct probe *probe, size_t at, const struct site_image *now,
                      const struct site_image *stored)
{
    struct blx_error err = {0};
    struct test_volume *volume = &probe->volumes[at];
    uint64_t blocks[FRAME_BLOCKS];
    size_t count = 0;
    for (size_t i = 0; i < SITE_BLOCKS; i++) {
        if (stored == NULL || stored->seeds[i] != now->seeds[i])
            blocks[count++] = i;
        if (count == 0 || (count < FRAME_BLOCKS && i + 1 < SITE_BLOCKS))
            continue;
        test_volume_frame(volume, blocks, count);
        test_ok(blx_agent_writer_append(probe->writer, volume->info.volume, volume->frame,
                                        volume->sent_bytes, &err),
                &err);
        count = 0;
    }
}

static void resume(struct probe *probe, const struct site *site, size_t at,
                   const struct blx_volume_state *state)
{
    struct blx_error err = {0};
    struct test_volume *volume = &probe->volumes[at];
    const struct site_image *stored = site_check_state(&site->volumes[at], state);
    bool resumes = blx_generation_equal(&state->generation, &volume->info.generation);
    volume->seq = resumes ? state->durable_seq : 0;
    test_ok(blx_agent_writer_begin(probe->writer, volume->info.volume,
                                   resumes ? BLX_PASS_RESUME : BLX_PASS_FULL, &err),
            &err);
    send_rest(probe, at, &site->volumes[at].now, resumes ? stored : NULL);
}

static blx_timestamp take_checkpoint(struct probe *probe, const struct site *site,
                                     const struct test_store *test)
{
    struct blx_error err = {0};
    struct test_volume *const volumes[] = {&probe->volumes[0], &probe->volumes[1]};
    const struct site_image images[] = {site->volumes[0].now, site->volumes[1].now};
    test_ok(blx_agent_writer_sync(probe->writer, NULL, NULL, &err), &err);
    blx_timestamp made = test_writer_commit(probe->writer, volumes, SITE_VOLUMES, site->second + 1);
    restore(test, made, images);
    return made;
}

/* An earlier prune and rewrite are ended by this one; all but the newest go. */
static void remove_others(const struct test_store *test, blx_timestamp newest)
{
    struct blx_error err = {0};
    struct blx_prune_report report;
    struct blx_rewrite_report rewritten;
    const struct blx_rewrite_request all = {0};
    BLX_CLEANUP_FREE blx_timestamp *doomed = NULL;
    size_t count;
    test_ok(blx_manifest_list(agent_of(test), 0, newest - 1, &doomed, &count, &err), &err);
    const struct blx_prune_request request = {.checkpoints = doomed, .count = count};
    test_ok(blx_prune(agent_of(test), &request, &report, &err), &err);
    test_ok(blx_rewrite(agent_of(test), &all, &rewritten, &err), &err);
    assert_int_equal(rewritten.damaged, 0);
}

void check_store(const struct site *site, const char *dir)
{
    struct test_store test;
    struct probe probe;
    struct blx_error err = {0};
    struct blx_volume_state states[SITE_VOLUMES];
    const struct site_image now[] = {site->volumes[0].now, site->volumes[1].now};
    open_store(&test, site, dir);
    verify(&test, BEFORE_RECOVERY);
    check_audit(site, &test);
    if (blx_agent_store_exists(agent_of(&test)) || site->checkpoint_count > 0)
        check_checkpoints(site, &test);
    probe_init(&probe, site);
    test_ok(announce(&probe, &test, states, &err), &err);
    for (size_t i = 0; i < SITE_VOLUMES; i++)
        resume(&probe, site, i, &states[i]);
    blx_timestamp made = take_checkpoint(&probe, site, &test);
    verify(&test, AFTER_RECOVERY);
    remove_others(&test, made);
    verify(&test, AFTER_RECOVERY);
    restore(&test, made, now);
    probe_done(&probe);
    blx_store_close(&test.store);
}

void check_recovery(const struct site *site, const char *dir, struct recorder *recorder)
{
    struct test_store test;
    struct probe probe;
    struct blx_error err = {0};
    struct blx_volume_state states[SITE_VOLUMES];
    const struct blx_sys *before = blx_sys;
    open_store(&test, site, dir);
    probe_init(&probe, site);
    recorder->disk = disk_load(dir);
    struct recorder *outer = record_start(recorder);
    int rc = announce(&probe, &test, states, &err);
    record_start(outer);
    blx_sys = before;
    if (rc != -ENOSPC)
        test_ok(rc, &err);
    disk_free(recorder->disk);
    probe_done(&probe);
    blx_store_close(&test.store);
}
