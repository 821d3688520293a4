/* SPDX-License-Identifier: Apache-2.0 */
/* Flips bits in every byte of a store: each is found, and just those checkpoints are named that no
 * longer restore. */
#include "store/verify/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "fixture.h"
#include "store/checkpoint/manifest_file.h"
#include "store/layout_private.h"

enum {
    VOLUMES = 2,
    CHECKPOINTS = 5,
    BLOCKS = 12,
    SIZE_BYTES = (BLOCKS - 1) * TEST_BLOCK_BYTES + 1024,
    MAX_FILES = 32,
};

struct file {
    char path[PATH_MAX];
    uint8_t *content;
    size_t bytes;
};

struct fixture {
    struct test_store test;
    struct test_volume volumes[VOLUMES];
    blx_timestamp timestamps[CHECKPOINTS];
    uint8_t *images[CHECKPOINTS][VOLUMES];
    uint64_t last_frame_bytes; /* of open.seg */
    struct file files[MAX_FILES];
    size_t file_count;
    struct blx_sys sys;
};

/* No test here is about durability, and there are many thousand restores. */
static int no_sync(int fd)
{
    (void)fd;
    return 0;
}

static void commit(struct fixture *f, struct blx_agent_writer *writer, size_t checkpoint)
{
    struct test_volume *volumes[VOLUMES] = {&f->volumes[0], &f->volumes[1]};
    f->timestamps[checkpoint] =
        test_writer_commit(writer, volumes, VOLUMES, 1500000000 + 60 * checkpoint);
    for (size_t v = 0; v < VOLUMES; v++) {
        f->images[checkpoint][v] = malloc(SIZE_BYTES);
        assert_non_null(f->images[checkpoint][v]);
        memcpy(f->images[checkpoint][v], f->volumes[v].image, SIZE_BYTES);
    }
}

static void send_frame(struct fixture *f, struct blx_agent_writer *writer, size_t volume,
                       const uint64_t *blocks, size_t count)
{
    struct blx_error err = {0};
    test_volume_frame(&f->volumes[volume], blocks, count);
    test_ok(blx_agent_writer_append(writer, (uint32_t)volume, f->volumes[volume].frame,
                                    f->volumes[volume].sent_bytes, &err),
            &err);
}

/*
 * sda: a base of two frames; a checkpoint with a frame that is superseded at once, a zero block and
 * two more blocks; one that overwrites a part of that; a new base; one after it. sdb changes at the
 * second and the last only. Two frames wait in an open segment.
 */
static void fill(struct fixture *f)
{
    struct blx_error err = {0};
    struct test_volume *volumes[VOLUMES] = {&f->volumes[0], &f->volumes[1]};
    struct blx_agent_writer *writer = test_writer_open(&f->test, volumes, VOLUMES, NULL);
    for (uint32_t v = 0; v < VOLUMES; v++) {
        for (uint64_t block = 0; block < 8; block++)
            test_volume_write(volumes[v], block, 1 + block + 10 * v);
        test_ok(blx_agent_writer_begin(writer, v, BLX_PASS_FULL, &err), &err);
        test_volume_send_all(volumes[v], writer, 6);
    }
    commit(f, writer, 0);
    test_volume_send(volumes[0], writer, 1, 101);
    test_volume_write(volumes[0], 1, 102);
    test_volume_write(volumes[0], 2, 103);
    test_volume_write(volumes[0], 5, 0);
    send_frame(f, writer, 0, (const uint64_t[]){1, 2, 5}, 3);
    test_volume_send(volumes[1], writer, 7, 104);
    commit(f, writer, 1);
    test_volume_send(volumes[0], writer, 2, 105);
    commit(f, writer, 2);
    test_ok(blx_agent_writer_begin(writer, 0, BLX_PASS_FULL, &err), &err);
    test_volume_send_all(volumes[0], writer, 4);
    commit(f, writer, 3);
    test_volume_send(volumes[0], writer, 3, 106);
    test_volume_send(volumes[1], writer, 7, 107);
    commit(f, writer, 4);
    test_volume_send(volumes[0], writer, 4, 108);
    test_volume_send(volumes[0], writer, 6, 109);
    f->last_frame_bytes = volumes[0]->frame_bytes;
    test_ok(blx_agent_writer_sync(writer, NULL, NULL, &err), &err);
    blx_agent_writer_close(writer);
}

static struct fixture *listing; /* nftw() has no argument */

static int keep_file(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)ftw;
    /* What is in the log of digests proves itself, or counts as missing: nothing to find there. */
    if (type != FTW_F || st->st_size == 0 || strstr(path, "open.digests") != NULL)
        return 0;
    assert_true(listing->file_count < MAX_FILES);
    struct file *file = &listing->files[listing->file_count++];
    snprintf(file->path, sizeof(file->path), "%s", path);
    void *content;
    assert_int_equal(blx_file_read(path, 1 << 20, &content, &file->bytes, NULL), 0);
    file->content = content;
    return 0;
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    f->sys = blx_sys_real;
    f->sys.fsync = no_sync;
    f->sys.fdatasync = no_sync;
    blx_sys = &f->sys;
    test_store_init(&f->test);
    test_volume_init(&f->volumes[0], "sda", SIZE_BYTES, 1);
    test_volume_init(&f->volumes[1], "sdb", SIZE_BYTES, 2);
    fill(f);
    char path[PATH_MAX];
    test_path(&f->test, path, "agents");
    listing = f;
    assert_int_equal(nftw(path, keep_file, 16, FTW_PHYS), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; i < f->file_count; i++)
        free(f->files[i].content);
    for (size_t c = 0; c < CHECKPOINTS; c++)
        for (size_t v = 0; v < VOLUMES; v++)
            free(f->images[c][v]);
    for (size_t v = 0; v < VOLUMES; v++)
        test_volume_done(&f->volumes[v]);
    test_store_done(&f->test);
    blx_sys = &blx_sys_real;
    free(f);
    return 0;
}

static void put(const char *path, const uint8_t *content, size_t bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, bytes), bytes);
    close(fd);
}

static void flip(const struct file *file, size_t offset, uint8_t mask)
{
    uint8_t byte = file->content[offset] ^ mask;
    int fd = open(file->path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
    close(fd);
}

static const struct file *file_named(const struct fixture *f, const char *part)
{
    for (size_t i = 0; i < f->file_count; i++)
        if (strstr(f->files[i].path, part) != NULL)
            return &f->files[i];
    fail_msg("no file '%s'", part);
    return NULL;
}

static bool is_open_segment(const struct file *file)
{
    return strstr(file->path, "/open.seg") != NULL;
}

static void verify(const struct fixture *f, struct blx_verify_report *report)
{
    struct blx_error err = {0};
    test_ok(blx_verify(&f->test.store, NULL, NULL, report, &err), &err);
}

static bool names(const struct blx_verify_report *report, blx_timestamp checkpoint)
{
    for (size_t i = 0; i < report->hurt_count; i++)
        if (report->hurt[i].checkpoint == checkpoint)
            return true;
    return false;
}

/* The volume's bytes as restored, or NULL if it does not restore; the caller frees. */
static uint8_t *restored(const struct fixture *f, size_t checkpoint, size_t volume,
                         struct blx_losses *losses)
{
    char path[PATH_MAX];
    test_path(&f->test, path, "restored.img");
    struct blx_restore_target target = {.path = path, .flags = BLX_RESTORE_FORCE, .losses = losses};
    int rc = blx_restore(blx_store_agent(&f->test.store, "web1"), f->timestamps[checkpoint],
                         f->volumes[volume].info.name, &target, NULL, NULL);
    if (rc < 0)
        return NULL;
    void *content;
    size_t bytes;
    assert_int_equal(blx_file_read(path, SIZE_BYTES, &content, &bytes, NULL), 0);
    assert_int_equal(bytes, SIZE_BYTES);
    return content;
}

static bool restores(const struct fixture *f, size_t checkpoint)
{
    for (size_t v = 0; v < VOLUMES; v++) {
        BLX_CLEANUP_FREE uint8_t *got = restored(f, checkpoint, v, NULL);
        if (got == NULL || memcmp(got, f->images[checkpoint][v], SIZE_BYTES) != 0)
            return false;
    }
    return true;
}

static void names_what_does_not_restore(const struct fixture *f,
                                        const struct blx_verify_report *report,
                                        const struct file *file, size_t offset)
{
    for (size_t c = 0; c < CHECKPOINTS; c++)
        if (names(report, f->timestamps[c]) == restores(f, c))
            fail_msg("%s, byte %zu: checkpoint %zu is %s", file->path, offset, c,
                     names(report, f->timestamps[c]) ? "named and restores"
                                                     : "not named and does not restore");
}

static bool is_lost(const struct blx_losses *losses, size_t offset)
{
    for (size_t i = 0; i < losses->count; i++)
        if (offset >= losses->list[i].offset_bytes &&
            offset - losses->list[i].offset_bytes < losses->list[i].bytes)
            return true;
    return false;
}

/* With one damaged place nothing is guessed: what is not listed is right, what is listed is zero.
 */
static void force_gives_the_rest(const struct fixture *f, const struct file *file, size_t offset,
                                 size_t checkpoint)
{
    for (size_t v = 0; v < VOLUMES; v++) {
        struct blx_losses losses = {0};
        BLX_CLEANUP_FREE uint8_t *got = restored(f, checkpoint, v, &losses);
        char own[32];
        snprintf(own, sizeof(own), "/%llu", (unsigned long long)f->timestamps[checkpoint]);
        if (got == NULL && strstr(file->path, own) == NULL)
            fail_msg("%s, byte %zu: checkpoint %zu is not to be had by force", file->path, offset,
                     checkpoint);
        for (size_t i = 0; got != NULL && i < SIZE_BYTES; i++)
            if (got[i] != (is_lost(&losses, i) ? 0 : f->images[checkpoint][v][i]))
                fail_msg("%s, byte %zu: checkpoint %zu: byte %zu of the image is wrong", file->path,
                         offset, checkpoint, i);
        blx_losses_done(&losses);
    }
}

static void a_good_store_is_clean(void **state)
{
    const struct fixture *f = *state;
    struct blx_verify_report report;
    uint64_t bytes = 0;
    for (size_t i = 0; i < f->file_count; i++)
        bytes += f->files[i].bytes;
    verify(f, &report);
    assert_int_equal(report.damage_count, 0);
    assert_int_equal(report.hurt_count, 0);
    assert_int_equal(report.agents, 1);
    assert_int_equal(report.checkpoints, CHECKPOINTS);
    assert_int_equal(report.checked_bytes, bytes);
    assert_int_equal(report.torn_bytes, 0);
    blx_verify_report_done(&report);
}

/* Whether it was found: as damage, or in the open segment's last frame as the torn tail that it
 * might as well be. */
static bool is_found(const struct fixture *f, const struct file *file, size_t offset,
                     const struct blx_verify_report *report)
{
    if (report->damage_count > 0)
        return true;
    return is_open_segment(file) && offset >= file->bytes - f->last_frame_bytes &&
           report->torn_bytes == f->last_frame_bytes && report->hurt_count == 0;
}

/* With $BLXREP_EXHAUSTIVE every bit is flipped and every checkpoint restored each time, which takes
 * a quarter of an hour. Without it every byte is, and every third one of a segment leads to
 * restores. */
static bool is_exhaustive(void)
{
    return getenv("BLXREP_EXHAUSTIVE") != NULL;
}

static void every_flipped_byte_is_found(void **state)
{
    const struct fixture *f = *state;
    size_t step = is_exhaustive() ? 1 : 16;
    for (size_t i = 0; i < f->file_count; i++) {
        const struct file *file = &f->files[i];
        for (size_t bit = 0; bit < file->bytes * 8; bit += step) {
            struct blx_verify_report report;
            size_t offset = bit / 8;
            uint8_t mask = (uint8_t)(1U << (step == 1 ? bit % 8 : offset % 8));
            flip(file, offset, mask);
            verify(f, &report);
            if (!is_found(f, file, offset, &report))
                fail_msg("%s: mask %02x of byte %zu is not found", file->path, mask, offset);
            blx_verify_report_done(&report);
            flip(file, offset, 0);
        }
    }
}

static void every_damage_names_just_what_no_longer_restores(void **state)
{
    const struct fixture *f = *state;
    for (size_t i = 0; i < f->file_count; i++) {
        const struct file *file = &f->files[i];
        bool segment = strstr(file->path, ".seg") != NULL;
        size_t step = is_exhaustive() ? 1 : segment ? 7 : 61;
        for (size_t offset = 0; offset < file->bytes; offset += step) {
            struct blx_verify_report report;
            flip(file, offset, (uint8_t)(0x80U >> offset % 8));
            verify(f, &report);
            names_what_does_not_restore(f, &report, file, offset);
            for (size_t c = 0; c < CHECKPOINTS; c++)
                if (names(&report, f->timestamps[c]))
                    force_gives_the_rest(f, file, offset, c);
            blx_verify_report_done(&report);
            flip(file, offset, 0);
        }
    }
}

/* The report of the store as it is now must name just what does not restore, in so many damages. */
static void judged(const struct fixture *f, const char *file, size_t damages, const char *cause)
{
    struct blx_verify_report report;
    const struct file shown = {.path = "a changed store"};
    size_t found = 0;
    verify(f, &report);
    names_what_does_not_restore(f, &report, &shown, 0);
    for (size_t i = 0; i < report.damage_count; i++)
        found += strstr(report.damages[i].file, file) != NULL &&
                 strstr(report.damages[i].cause, cause) != NULL;
    if (found != damages || report.damage_count != damages)
        fail_msg("%zu damages, %zu of '%s' with '%s'; the first: '%s': %s", report.damage_count,
                 found, file, cause, report.damage_count > 0 ? report.damages[0].file : "",
                 report.damage_count > 0 ? report.damages[0].cause : "");
    blx_verify_report_done(&report);
}

static void a_missing_file_hurts_what_was_built_upon_it(void **state)
{
    const struct fixture *f = *state;
    for (size_t i = 0; i < f->file_count; i++) {
        const struct file *file = &f->files[i];
        const char *name = strrchr(file->path, '/') + 1;
        bool last = strstr(file->path, "checkpoints") != NULL &&
                    strtoull(name, NULL, 10) == f->timestamps[CHECKPOINTS - 1];
        bool gone = strstr(file->path, "checkpoints") != NULL && !last;
        assert_int_equal(unlink(file->path), 0);
        struct blx_verify_report report;
        verify(f, &report);
        for (size_t c = 0; c < CHECKPOINTS; c++) {
            char own[32];
            snprintf(own, sizeof(own), "/%llu", (unsigned long long)f->timestamps[c]);
            if (strstr(file->path, own) == NULL) /* one that is not there is nobody's */
                assert_int_equal(names(&report, f->timestamps[c]), !restores(f, c));
        }
        /* Without its newest checkpoint, or what was being received, a store is a store. */
        assert_int_equal(report.damage_count > 0, !last && !is_open_segment(file));
        if (gone) {
            assert_non_null(strstr(report.damages[0].cause, "is missing"));
            assert_non_null(strstr(report.damages[0].file, name));
        }
        blx_verify_report_done(&report);
        put(file->path, file->content, file->bytes);
    }
    judged(f, "", 0, "");
}

static void a_file_cut_short_or_grown_is_found(void **state)
{
    const struct fixture *f = *state;
    for (size_t i = 0; i < f->file_count; i++) {
        const struct file *file = &f->files[i];
        if (is_open_segment(file))
            continue;
        BLX_CLEANUP_FREE uint8_t *grown = calloc(file->bytes + 200, 1);
        assert_non_null(grown);
        memcpy(grown, file->content, file->bytes);
        for (size_t bytes = 0; bytes < file->bytes + 200; bytes += bytes % 50 == 0 ? 1 : 49) {
            if (bytes == file->bytes)
                continue;
            put(file->path, grown, bytes);
            struct blx_verify_report report;
            verify(f, &report);
            assert_true(report.damage_count > 0);
            names_what_does_not_restore(f, &report, file, bytes);
            blx_verify_report_done(&report);
        }
        put(file->path, file->content, file->bytes);
    }
}

/* Makes index and footer sound again after something was changed in them. */
static void sign(struct file *file)
{
    struct blx_segment_footer_disk footer;
    uint8_t *at = file->content + file->bytes - sizeof(footer);
    memcpy(&footer, at, sizeof(footer));
    uint64_t offset = blx_le64_get(footer.index_offset);
    footer.index_checksum = blx_le64_of(blx_layout_checksum_all(
        file->content + offset, (size_t)(file->bytes - sizeof(footer) - offset)));
    footer.checksum = blx_le64_of(
        blx_layout_checksum(&footer, sizeof(footer), offsetof(__typeof__(footer), checksum)));
    memcpy(at, &footer, sizeof(footer));
    put(file->path, file->content, file->bytes);
}

static uint8_t *index_of(const struct file *file)
{
    struct blx_segment_footer_disk footer;
    memcpy(&footer, file->content + file->bytes - sizeof(footer), sizeof(footer));
    return file->content + blx_le64_get(footer.index_offset);
}

static void a_sound_index_that_lies_is_found(void **state)
{
    struct fixture *f = *state;
    struct file *file = (struct file *)file_named(f, "sda/00000002.seg");
    struct blx_index_entry_disk entry;
    memcpy(&entry, index_of(file), sizeof(entry));
    assert_int_equal(blx_le64_get(entry.start_block), 1);
    assert_int_equal(blx_le64_get(entry.block_count), 2);
    entry.start_block =
        blx_le64_of(3); /* the blocks 1 and 2 keep an older state, 3 and 4 get a wrong one */
    memcpy(index_of(file), &entry, sizeof(entry));
    sign(file);
    struct blx_verify_report report;
    verify(f, &report);
    assert_int_equal(report.damage_count, 1);
    const struct blx_damage *damage = &report.damages[0];
    assert_non_null(strstr(damage->cause, "does not agree"));
    assert_int_equal(damage->extent_count, 1);
    assert_int_equal(damage->extents[0].start_block, 1);
    assert_int_equal(damage->extents[0].block_count, 4);
    assert_int_equal(damage->checkpoint_count, 2);
    names_what_does_not_restore(f, &report, file, 0);
    blx_verify_report_done(&report);
}

static void a_footer_that_counts_wrong_is_found(void **state)
{
    struct fixture *f = *state;
    struct file *file = (struct file *)file_named(f, "sda/00000002.seg");
    uint8_t *footer = file->content + file->bytes - sizeof(struct blx_segment_footer_disk);
    footer[offsetof(struct blx_segment_footer_disk, frame_count)]++;
    sign(file);
    judged(f, "00000002.seg", 1, "its footer does not agree");
}

static void an_uncommitted_segment_hurts_no_checkpoint(void **state)
{
    const struct fixture *f = *state;
    char path[PATH_MAX];
    const struct file *file = file_named(f, "sda/00000005.seg");
    test_path(&f->test, path, "agents/web1/checkpoints/%llu",
              (unsigned long long)f->timestamps[CHECKPOINTS - 1]);
    assert_int_equal(unlink(path), 0);
    flip(file, 100, 1);
    struct blx_verify_report report;
    verify(f, &report);
    assert_int_equal(report.damage_count, 1);
    assert_int_equal(report.damages[0].scope, BLX_DAMAGE_UNCOMMITTED);
    assert_int_equal(report.hurt_count, 0);
    assert_true(blx_verify_report_hurts_next(&report, "web1"));
    blx_verify_report_done(&report);
}

static void damage_of_the_newest_checkpoint_hurts_the_next_one(void **state)
{
    const struct fixture *f = *state;
    struct blx_verify_report report;
    flip(file_named(f, "sda/00000005.seg"), 100, 1);
    verify(f, &report);
    assert_int_equal(report.damages[0].scope, BLX_DAMAGE_COMMITTED);
    assert_true(blx_verify_report_hurts_next(&report, "web1"));
    assert_false(blx_verify_report_hurts_next(&report, "web2"));
    blx_verify_report_done(&report);
}

static void damage_below_a_new_base_does_not_hurt_the_next_one(void **state)
{
    const struct fixture *f = *state;
    struct blx_verify_report report;
    flip(file_named(f, "sda/00000001.seg"), 100, 1);
    verify(f, &report);
    assert_true(report.hurt_count > 0);
    assert_false(blx_verify_report_hurts_next(&report, "web1"));
    blx_verify_report_done(&report);
}

static void a_superseded_frame_hurts_no_checkpoint(void **state)
{
    const struct fixture *f = *state;
    flip(file_named(f, "sda/00000002.seg"), sizeof(struct blx_segment_header_disk) + 70, 1);
    struct blx_verify_report report;
    verify(f, &report);
    assert_int_equal(report.damage_count, 1);
    const struct blx_damage *damage = &report.damages[0];
    assert_int_equal(damage->scope, BLX_DAMAGE_COMMITTED);
    assert_int_equal(damage->offset_bytes, sizeof(struct blx_segment_header_disk));
    assert_int_equal(damage->extent_count, 0);
    assert_int_equal(damage->checkpoint_count, 0);
    assert_string_equal(damage->volume, "sda");
    assert_string_equal(damage->agent_id, "web1");
    blx_verify_report_done(&report);
}

/* Any two bytes at once, at random. */
static void two_damages_name_what_no_longer_restores(void **state)
{
    const struct fixture *f = *state;
    uint64_t random = 1;
    for (int i = 0; i < 600; i++) {
        const struct file *one = &f->files[test_random(&random) % f->file_count];
        const struct file *two = &f->files[test_random(&random) % f->file_count];
        size_t at_one = test_random(&random) % one->bytes,
               at_two = test_random(&random) % two->bytes;
        if (one == two && at_one == at_two)
            continue;
        flip(one, at_one, 0x10);
        flip(two, at_two, 0x04);
        struct blx_verify_report report;
        verify(f, &report);
        names_what_does_not_restore(f, &report, one, at_one);
        blx_verify_report_done(&report);
        flip(one, at_one, 0);
        flip(two, at_two, 0);
    }
}

static void a_running_session_is_no_damage(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    struct test_volume *volumes[VOLUMES] = {&f->volumes[0], &f->volumes[1]};
    struct blx_agent_writer *writer = test_writer_open(&f->test, volumes, VOLUMES, NULL);
    for (uint32_t v = 0; v < VOLUMES; v++)
        test_ok(blx_agent_writer_begin(writer, v, v == 0 ? BLX_PASS_RESUME : BLX_PASS_FULL, &err),
                &err);
    for (uint64_t i = 0; i < 30; i++) {
        test_volume_send(volumes[0], writer, i % BLOCKS, 1000 + i);
        judged(f, "", 0, "");
    }
    char path[PATH_MAX];
    test_path(&f->test, path, "agents/web1/volumes/sda/open.seg");
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, f->volumes[0].frame, 100), 100); /* as if a write was under way */
    close(fd);
    struct blx_verify_report report;
    verify(f, &report);
    assert_int_equal(report.damage_count, 0);
    assert_int_equal(report.torn_bytes, 100);
    blx_verify_report_done(&report);
    blx_agent_writer_close(writer);
}

/* A long chain, and a last checkpoint that builds upon the last but one: the way down to it is as
 * long as the chain. */
static void make_fork(const struct fixture *f, size_t count)
{
    const struct blx_agent_store agent = blx_store_agent(&f->test.store, "web1");
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    struct blx_error err = {0};
    test_ok(blx_manifest_read(agent, f->timestamps[CHECKPOINTS - 1], &manifest, &err), &err);
    for (uint32_t v = 0; v < manifest.volume_count; v++) {
        manifest.volumes[v].base = false;
        manifest.volumes[v].segment_count = 0;
    }
    int64_t last_s = blx_timestamp_to_unix(manifest.timestamp);
    for (size_t i = 0; i < count; i++) {
        bool is_fork = i + 1 == count;
        manifest.parent = blx_timestamp_from_unix(last_s + (int64_t)i - is_fork);
        manifest.timestamp = blx_timestamp_from_unix(last_s + (int64_t)i + 1);
        test_ok(blx_manifest_write(agent, &manifest, &err), &err);
    }
}

static void *verify_in_thread(void *arg)
{
    struct blx_verify_report report;
    verify(arg, &report);
    assert_int_equal(report.damage_count, 0);
    blx_verify_report_done(&report);
    return NULL;
}

/* How long a chain is the store says: a hostile one must not overflow the stack. */
static void a_long_way_down_needs_no_stack(void **state)
{
    enum { COUNT = 3000, STACK_BYTES = 512 * 1024 };
    struct fixture *f = *state;
    pthread_attr_t attributes;
    pthread_t thread;
    make_fork(f, COUNT);
    assert_int_equal(pthread_attr_init(&attributes), 0);
    assert_int_equal(pthread_attr_setstacksize(&attributes, STACK_BYTES), 0);
    assert_int_equal(pthread_create(&thread, &attributes, verify_in_thread, f), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    pthread_attr_destroy(&attributes);
}

/* Manifests after the last one: each builds upon the one `back` places before, and names segments
 * 1 to `names` of each volume. */
static void make_hostile(const struct fixture *f, size_t count, size_t back, uint32_t names)
{
    const struct blx_agent_store agent = blx_store_agent(&f->test.store, "web1");
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    struct blx_error err = {0};
    test_ok(blx_manifest_read(agent, f->timestamps[CHECKPOINTS - 1], &manifest, &err), &err);
    for (uint32_t v = 0; v < manifest.volume_count; v++) {
        struct blx_manifest_volume *volume = &manifest.volumes[v];
        volume->base = false;
        volume->segment_count = names;
        volume->next_segment = names + 1;
        free(volume->segments);
        volume->segments = calloc(names + 1, sizeof(volume->segments[0]));
        assert_non_null(volume->segments);
        for (uint32_t i = 0; i < names; i++)
            volume->segments[i] = i + 1;
    }
    const int64_t last_s = blx_timestamp_to_unix(manifest.timestamp);
    for (size_t i = 1; i <= count; i++) {
        int64_t parent_s = last_s + (int64_t)(i > back ? i - back : 0);
        manifest.parent = blx_timestamp_from_unix(parent_s);
        manifest.timestamp = blx_timestamp_from_unix(last_s + (int64_t)i);
        test_ok(blx_manifest_write(agent, &manifest, &err), &err);
    }
}

/* The way to each checkpoint is as long as the list, or the lists on it are. */
static void expect_given_up(struct fixture *f, size_t count)
{
    struct blx_verify_report report;
    size_t given_up = 0;
    verify(f, &report);
    for (size_t i = 0; i < report.damage_count; i++)
        given_up += strstr(report.damages[i].cause, "nobody has looked") != NULL;
    assert_in_range(given_up, count / 2, count);
    assert_in_range(report.hurt_count, given_up, count);
    for (size_t i = 0; i < CHECKPOINTS; i++)
        assert_false(names(&report, f->timestamps[i])); /* what a dispatcher wrote is judged */
    blx_verify_report_done(&report);
}

static void two_chains_in_turns_are_not_followed_for_ever(void **state)
{
    enum { COUNT = 1000 };
    struct fixture *f = *state;
    make_hostile(f, COUNT, 2, 0);
    expect_given_up(f, COUNT);
}

static void lists_that_name_the_same_segments_are_not_read_for_ever(void **state)
{
    enum { COUNT = 1000, NAMES = 100 };
    struct fixture *f = *state;
    make_hostile(f, COUNT, 1, NAMES);
    expect_given_up(f, COUNT);
}

static void an_unknown_agent_is_an_error(void **state)
{
    const struct fixture *f = *state;
    struct blx_verify_report report;
    struct blx_error err = {0};
    assert_int_equal(blx_verify(&f->test.store, "web10", NULL, &report, &err), -ENOENT);
    assert_non_null(strstr(err.message, "'web10'"));
    blx_verify_report_done(&report);
}

/* What the disk does not give is an error or a damage, never a clean store. */
static void any_failing_call_is_noticed(void **state)
{
    const struct fixture *f = *state;
    bool fired = true;
    for (unsigned after = 0; fired; after++) {
        struct blx_verify_report report;
        struct blx_error err = {0};
        test_fault_arm(TEST_FAULT_ONCE, after);
        int rc = blx_verify(&f->test.store, NULL, NULL, &report, &err);
        fired = test_fault_disarm();
        if (fired && rc == 0)
            assert_true(report.damage_count > 0);
        if (!fired)
            assert_true(rc == 0 && report.damage_count == 0);
        blx_verify_report_done(&report);
    }
}

struct seen {
    uint64_t done_bytes, total_bytes;
};

static void note_progress(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
    struct seen *seen = arg;
    assert_true(done_bytes >= seen->done_bytes && done_bytes <= total_bytes);
    *seen = (struct seen){done_bytes, total_bytes};
}

static void progress_ends_at_the_total(void **state)
{
    const struct fixture *f = *state;
    struct seen seen = {0};
    struct blx_verify_report report;
    struct blx_error err = {0};
    struct blx_verify_progress progress = {.report = note_progress, .arg = &seen};
    test_ok(blx_verify(&f->test.store, "web1", &progress, &report, &err), &err);
    assert_true(seen.total_bytes > 0);
    assert_int_equal(seen.done_bytes, seen.total_bytes);
    blx_verify_report_done(&report);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_good_store_is_clean),
        TEST(a_missing_file_hurts_what_was_built_upon_it),
        TEST(a_file_cut_short_or_grown_is_found),
        TEST(a_sound_index_that_lies_is_found),
        TEST(a_footer_that_counts_wrong_is_found),
        TEST(an_uncommitted_segment_hurts_no_checkpoint),
        TEST(damage_of_the_newest_checkpoint_hurts_the_next_one),
        TEST(damage_below_a_new_base_does_not_hurt_the_next_one),
        TEST(a_superseded_frame_hurts_no_checkpoint),
        TEST(two_damages_name_what_no_longer_restores),
        TEST(a_running_session_is_no_damage),
        TEST(a_long_way_down_needs_no_stack),
        TEST(two_chains_in_turns_are_not_followed_for_ever),
        TEST(lists_that_name_the_same_segments_are_not_read_for_ever),
        TEST(an_unknown_agent_is_an_error),
        TEST(any_failing_call_is_noticed),
        TEST(progress_ends_at_the_total),
        TEST(every_flipped_byte_is_found),
        TEST(every_damage_names_just_what_no_longer_restores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
