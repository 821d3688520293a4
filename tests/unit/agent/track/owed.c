/* SPDX-License-Identifier: Apache-2.0 */
/* What a bio-based device owes: a table of the kernel's kind, filled by hand. */
#include "agent/track/owed_private.h"

#include <bpf/bpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bitmap.h"

enum { BLOCKS = 1024, SECTORS_PER_BLOCK = 8, FIRST_SECTOR = 2048 };
static const uint64_t second_ns = UINT64_C(1000000000);

static uint64_t dirty[BLOCKS / 64];
static int places_fd, pending_fd;

static int setup(void **ctx)
{
    static struct agent_owed owed;
    LIBBPF_OPTS(bpf_map_create_opts, options, .map_flags = BPF_F_MMAPABLE);
    memset(dirty, 0, sizeof(dirty));
    places_fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "places", sizeof(uint32_t),
                               sizeof(struct blx_tracker_place), BLX_TRACKER_PLACES, &options);
    pending_fd = bpf_map_create(BPF_MAP_TYPE_HASH, "pending", sizeof(uint64_t),
                                sizeof(struct blx_tracker_range), 16, NULL);
    owed = (struct agent_owed){.pending_fd = pending_fd, .dirty = dirty};
    owed.identity.first_sector = FIRST_SECTOR;
    owed.identity.end_sector = FIRST_SECTOR + BLOCKS * SECTORS_PER_BLOCK;
    owed.identity.block_shift = 12;
    *ctx = &owed;
    return places_fd < 0 || pending_fd < 0 ? -1 : agent_owed_open(&owed, places_fd);
}

static int teardown(void **ctx)
{
    agent_owed_close(*ctx);
    close(places_fd);
    close(pending_fd);
    return 0;
}

static void owe(struct agent_owed *owed, unsigned place, uint64_t bio, uint64_t block,
                uint32_t blocks)
{
    owed->places[place].range.sector = FIRST_SECTOR + block * SECTORS_PER_BLOCK;
    owed->places[place].range.sectors = blocks * SECTORS_PER_BLOCK;
    owed->places[place].range.done = 0;
    owed->places[place].serial++;
    owed->places[place].bio = bio;
}

static uint64_t take_marks(void)
{
    uint64_t count = blx_bitmap_count(dirty, BLOCKS);
    memset(dirty, 0, sizeof(dirty));
    return count;
}

static struct agent_owed_findings look(struct agent_owed *owed, unsigned second, bool idle)
{
    struct agent_owed_findings found;
    agent_owed_look(owed, (1 + second) * second_ns, idle, &found);
    return found;
}

static void every_cut_marks_what_is_owed(void **ctx)
{
    struct agent_owed *owed = *ctx;
    assert_false(agent_owed_mark(owed));
    assert_int_equal(take_marks(), 0);
    owe(owed, 5, 0x1000, 3, 2);
    owe(owed, BLX_TRACKER_PLACES - 1, 0x2000, BLOCKS - 1, 4); /* reaches out of the volume */
    for (int cut = 0; cut < 3; cut++) {
        assert_true(agent_owed_mark(owed));
        assert_true(blx_bitmap_test(dirty, 3) && blx_bitmap_test(dirty, 4));
        assert_true(blx_bitmap_test(dirty, BLOCKS - 1));
        assert_int_equal(take_marks(), 3);
    }
    owed->places[5].bio = 0; /* its completion was seen */
    agent_owed_mark(owed);
    assert_int_equal(take_marks(), 1);
}

static void what_had_no_place_is_marked_too(void **ctx)
{
    struct agent_owed *owed = *ctx;
    for (uint64_t bio = 1; bio <= 9; bio++) {
        struct blx_tracker_range range = {FIRST_SECTOR + bio * 100 * SECTORS_PER_BLOCK, 1, 0};
        assert_int_equal(bpf_map_update_elem(pending_fd, &bio, &range, BPF_ANY), 0);
    }
    owed->places[77].spilled = 9;
    assert_true(agent_owed_mark(owed));
    assert_int_equal(take_marks(), 9);
}

static void what_stays_at_rest_is_a_doubt_once_and_stays_owed(void **ctx)
{
    struct agent_owed *owed = *ctx;
    owe(owed, 1, 0x1000, 8, 1);
    for (unsigned second = 0; second < 60; second++)
        assert_int_equal(look(owed, second, true).stuck, 0);
    assert_int_equal(look(owed, 60, true).stuck, 1);
    assert_int_equal(look(owed, 61, true).stuck, 0);
    assert_false(agent_owed_mark(owed)); /* found, and compared for: no label suffers from it */
    assert_int_equal(take_marks(), 1);
}

static void what_is_taken_again_and_again_is_no_doubt(void **ctx)
{
    struct agent_owed *owed = *ctx;
    for (unsigned second = 0; second < 1000; second++) {
        owe(owed, 1, 0x1000, 8, 1);
        assert_int_equal(look(owed, second, true).stuck, 0);
    }
}

static void a_busy_disk_is_given_ten_minutes(void **ctx)
{
    struct agent_owed *owed = *ctx;
    owe(owed, 1, 0x1000, 8, 1);
    for (unsigned second = 0; second < 600; second++)
        assert_int_equal(look(owed, second, false).stuck, 0);
    assert_int_equal(look(owed, 600, false).stuck, 1);
}

static void what_was_seen_to_end_is_marked_and_forgotten(void **ctx)
{
    struct agent_owed *owed = *ctx;
    owe(owed, 1, 0x1000, 8, 1);
    owed->places[1].range.done = 4;
    owe(owed, 2, 0x2000, 9, 0); /* a flush */
    look(owed, 0, true);
    struct agent_owed_findings found = look(owed, 60, true);
    assert_int_equal(found.stuck, 0);
    assert_int_equal(found.forgotten, 2);
    assert_int_equal(owed->places[1].bio, 0);
    assert_int_equal(take_marks(), 1);
    agent_owed_mark(owed);
    assert_int_equal(take_marks(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_cut_marks_what_is_owed, setup, teardown),
        cmocka_unit_test_setup_teardown(what_had_no_place_is_marked_too, setup, teardown),
        cmocka_unit_test_setup_teardown(what_stays_at_rest_is_a_doubt_once_and_stays_owed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(what_is_taken_again_and_again_is_no_doubt, setup, teardown),
        cmocka_unit_test_setup_teardown(a_busy_disk_is_given_ten_minutes, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_seen_to_end_is_marked_and_forgotten, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
