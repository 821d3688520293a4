/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/reboot/save.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/bitmap.h"

enum {
    BLOCKS = 100000,
    WORDS = (BLOCKS + 63) / 64,
    AREA_BYTES = 64 * 1024,
};

static uint8_t area[AREA_BYTES];
static struct agent_save save, decoded;
static uint64_t marks[2][WORDS], found[WORDS];

static void fill_volume(struct agent_save_volume *volume, const char *name, const uint64_t *bits)
{
    *volume = (struct agent_save_volume){
        .identity = "serial-1",
        .volume = "vda",
        .refusal = "",
        .start_bytes = 1 << 20,
        .size_bytes = (uint64_t)BLOCKS << 12,
        .blocks = BLOCKS,
        .block_shift = 12,
        .stream = {{1, 2, 3}},
        .base = {{4, 5, 6}},
        .stream_used = true,
        .checkpoint_unconfirmed = true,
        .rescan_active = true,
        .acked_seq = 7,
        .sent_seq = 9,
        .base_seq = 3,
        .last_checkpoint = UINT64_C(20261130101500),
        .pass_total_blocks = 55,
        .rescan_cursor_block = 11,
        .rescan_end_block = 99,
        .pass_reason = "first sync",
        .rescan_reason = "asked for",
        .superblocks = {9, 8, 7},
        .above = {{.uuid = {1}, .superblock = {2}}},
        .above_count = 1,
        .write_commands = 1234,
        .marks = bits,
    };
    strcpy(volume->kernel_name, name);
}

/* Two volumes: a few runs, also at both ends, and none. */
static void make_save(void)
{
    memset(marks, 0, sizeof(marks));
    blx_bitmap_set(marks[0], (struct blx_extent){0, 1});
    blx_bitmap_set(marks[0], (struct blx_extent){200, 300});
    blx_bitmap_set(marks[0], (struct blx_extent){BLOCKS - 2, 2});
    save = (struct agent_save){.id = {{42}},
                               .boot_id = "2fdf7f4b-4d2f-49cb-822d-e99df1285b41",
                               .verb = AGENT_SAVE_REBOOT,
                               .saved_s = 1000,
                               .volume_count = 2};
    fill_volume(&save.volumes[0], "vda", marks[0]);
    fill_volume(&save.volumes[1], "vdb", marks[1]);
}

static size_t encode(size_t bytes)
{
    size_t used = 0;
    memset(area, 0, sizeof(area));
    assert_int_equal(agent_save_encode(&save, area, bytes, &used, NULL), 0);
    assert_true(used <= bytes);
    return used;
}

static void save_comes_back_as_it_was(void **state)
{
    (void)state;
    make_save();
    encode(AREA_BYTES);
    assert_int_equal(agent_save_decode(area, AREA_BYTES, &decoded, NULL), 0);
    assert_int_equal(decoded.volume_count, 2);
    assert_int_equal(decoded.verb, AGENT_SAVE_REBOOT);
    assert_int_equal(decoded.saved_s, 1000);
    assert_string_equal(decoded.boot_id, save.boot_id);
    assert_true(blx_generation_equal(&decoded.id, &save.id));
    for (int i = 0; i < 2; i++) {
        struct agent_save_volume got = decoded.volumes[i], *put = &save.volumes[i];
        memset(found, 0, sizeof(found));
        agent_save_unpack(&got, found);
        assert_memory_equal(found, marks[i], sizeof(found));
        got.packed = NULL;
        got.packed_bytes = 0;
        got.marks = put->marks;
        assert_memory_equal(&got, put, sizeof(got));
    }
}

/* Every second block: no room for all runs, so gaps are filled, and no mark is lost. */
static void marks_that_do_not_fit_grow(void **state)
{
    (void)state;
    make_save();
    for (uint64_t block = 0; block < BLOCKS / 2; block += 2)
        blx_bitmap_set(marks[1], (struct blx_extent){block, 1});
    encode(16 * 1024);
    assert_int_equal(agent_save_decode(area, AREA_BYTES, &decoded, NULL), 0);
    memset(found, 0, sizeof(found));
    agent_save_unpack(&decoded.volumes[1], found);
    for (size_t i = 0; i < WORDS; i++)
        assert_true((marks[1][i] & ~found[i]) == 0);
    assert_true(blx_bitmap_count(found, BLOCKS) <= BLOCKS / 2 + 64);
    memset(found, 0, sizeof(found));
    agent_save_unpack(&decoded.volumes[0], found);
    assert_memory_equal(found, marks[0], sizeof(found));
}

static void save_without_room_is_refused(void **state)
{
    (void)state;
    size_t used = 0;
    make_save();
    assert_int_equal(agent_save_encode(&save, area, AGENT_SAVE_BODY_AT + 100, &used, NULL),
                     -ENOSPC);
    assert_int_equal(agent_save_encode(&save, area, 10, &used, NULL), -ENOSPC);
}

/* Whatever sectors of the writes have arrived, in whatever order: it is whole or none. */
static void torn_save_is_none(void **state)
{
    enum { SECTOR = 512 };
    static uint8_t whole[AREA_BYTES];
    (void)state;
    make_save();
    size_t used = encode(AREA_BYTES);
    memcpy(whole, area, sizeof(whole));
    for (size_t at = 0; at < used; at += SECTOR) {
        bool is_history = at >= AGENT_SAVE_HEAD_BYTES && at < AGENT_SAVE_BODY_AT;
        static const uint8_t zeros[SECTOR];
        if (is_history || memcmp(whole + at, zeros, SECTOR) == 0)
            continue;
        memcpy(area, whole, sizeof(area));
        memset(area + at, 0, SECTOR);
        int rc = agent_save_decode(area, AREA_BYTES, &decoded, NULL);
        assert_true(rc == -EBADMSG || rc == -ENODATA);
    }
    memset(area, 0, sizeof(area));
    assert_int_equal(agent_save_decode(area, AREA_BYTES, &decoded, NULL), -ENODATA);
}

static void each_changed_byte_is_found(void **state)
{
    (void)state;
    make_save();
    size_t used = encode(AREA_BYTES);
    for (size_t at = 0; at < used; at++) {
        if (at == AGENT_SAVE_HEAD_BYTES)
            at = AGENT_SAVE_BODY_AT;
        area[at] ^= 0x40;
        int rc = agent_save_decode(area, AREA_BYTES, &decoded, NULL);
        area[at] ^= 0x40;
        /* What follows the head's fields says nothing. */
        assert_true(rc < 0 || (at > 512 + 96 && at < AGENT_SAVE_HEAD_BYTES));
    }
}

static void save_is_used_once(void **state)
{
    (void)state;
    make_save();
    encode(AREA_BYTES);
    agent_save_make_used(area);
    assert_int_equal(agent_save_decode(area, AREA_BYTES, &decoded, NULL), -EALREADY);
}

static void counts_come_into_the_head_last(void **state)
{
    (void)state;
    make_save();
    size_t used = encode(AREA_BYTES);
    save.volumes[0].write_commands = 77;
    save.volumes[1].write_commands = UINT64_MAX;
    agent_save_encode_head(&save, area, used);
    assert_int_equal(agent_save_decode(area, AREA_BYTES, &decoded, NULL), 0);
    assert_int_equal(decoded.volumes[0].write_commands, 77);
    assert_true(decoded.volumes[1].write_commands == UINT64_MAX);
}

static void history_keeps_the_last_ones(void **state)
{
    uint8_t block[AGENT_SAVE_HISTORY_BYTES];
    struct agent_save_history history = {0}, again;
    (void)state;
    for (uint32_t i = 1; i <= AGENT_SAVE_REBOOTS + 3; i++)
        agent_save_history_add(&history, i);
    assert_int_equal(history.count, AGENT_SAVE_REBOOTS);
    assert_int_equal(history.seconds[0], 4);
    agent_save_history_encode(&history, block);
    agent_save_history_decode(block, &again);
    assert_memory_equal(&history, &again, sizeof(history));
    block[20] ^= 1;
    agent_save_history_decode(block, &again);
    assert_int_equal(again.count, 0);
}

static void verbs_have_names(void **state)
{
    (void)state;
    assert_int_equal(agent_save_find_verb("reboot"), AGENT_SAVE_REBOOT);
    assert_int_equal(agent_save_find_verb("kexec"), AGENT_SAVE_KEXEC);
    assert_int_equal(agent_save_find_verb("unknown"), AGENT_SAVE_UNKNOWN);
    assert_int_equal(agent_save_find_verb("soft-reboot"), AGENT_SAVE_UNKNOWN);
    assert_int_equal(agent_save_find_verb(NULL), AGENT_SAVE_UNKNOWN);
    assert_string_equal(agent_save_name_verb(AGENT_SAVE_HALT), "halt");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(save_comes_back_as_it_was),
        cmocka_unit_test(marks_that_do_not_fit_grow),
        cmocka_unit_test(save_without_room_is_refused),
        cmocka_unit_test(torn_save_is_none),
        cmocka_unit_test(each_changed_byte_is_found),
        cmocka_unit_test(save_is_used_once),
        cmocka_unit_test(counts_come_into_the_head_last),
        cmocka_unit_test(history_keeps_the_last_ones),
        cmocka_unit_test(verbs_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
