/* SPDX-License-Identifier: Apache-2.0 */
/* The comparison by itself, and on a real loop device whose counters are made to look as if no
 * program had been run. */
#include "agent/track/witness.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "bpf/tracker.h"
#include "disk.h"

enum { BLOCK = 4096, MIB = 1 << 20 };

static struct blx_error err;

static void ok(int r)
{
    if (r < 0)
        fail_msg("%d: %s", r, err.message);
}

/* At an idle moment. */
static uint64_t unseen_at(struct agent_witness *witness, uint64_t kernel_sectors, uint64_t sectors)
{
    agent_witness_compare(witness, sectors, kernel_sectors, sectors);
    return witness->unseen_sectors;
}

static void witness_is_content_while_the_lead_does_not_fall(void **state)
{
    (void)state;
    struct agent_witness witness = {0};
    assert_int_equal(unseen_at(&witness, 1000, 0), 0); /* the disk is older than we */
    assert_int_equal(unseen_at(&witness, 1064, 64), 0);
    assert_int_equal(unseen_at(&witness, 1064, 72), 0); /* iostats were off, or counted twice */
    assert_int_equal(unseen_at(&witness, 1065, 73), 0);
}

static void witness_names_what_was_not_seen(void **state)
{
    (void)state;
    struct agent_witness witness = {0};
    unseen_at(&witness, 1000, 0);
    assert_int_equal(unseen_at(&witness, 1064, 56), 8);
    assert_int_equal(unseen_at(&witness, 1064, 56), 8); /* once is enough */
    assert_int_equal(unseen_at(&witness, 1066, 56), 10);
    assert_int_equal(unseen_at(&witness, 1066, 60), 10); /* counted twice */
    assert_int_equal(unseen_at(&witness, 1068, 60), 12);
}

/* Looks that the test has written down. */
struct looks {
    struct agent_witness_look list[4];
    size_t count;
};

static int next_look(void *arg, struct agent_witness_look *out, struct blx_error *error)
{
    struct looks *looks = arg;
    (void)error;
    *out = looks->list[looks->count++];
    return 0;
}

/* Eight sectors that a program has counted, whose processor was then taken away for longer than a
 * look takes. */
static void a_completion_that_is_interrupted_is_not_taken_for_a_loss(void **state)
{
    (void)state;
    struct agent_witness witness = {0};
    struct looks looks = {.list = {{100, 92, 100}, {108, 108, 108}}};
    ok(agent_witness_take(&witness, next_look, &looks, &err)); /* the first look of all */
    assert_int_equal(looks.count, 2);
    assert_int_equal(unseen_at(&witness, 108, 108), 0);
    looks = (struct looks){.list = {{116, 108, 116}, {116, 116, 116}}};
    ok(agent_witness_take(&witness, next_look, &looks, &err));
    assert_int_equal(unseen_at(&witness, 116, 116), 0);
    /* A lead that has risen for good does so. */
    looks = (struct looks){.list = {{124, 116, 124}, {124, 116, 124}}};
    ok(agent_witness_take(&witness, next_look, &looks, &err));
    assert_int_equal(witness.lead_sectors, 8);
    /* One look is enough if it does not, and a loss is found at once. */
    looks = (struct looks){.list = {{124, 120, 124}}};
    ok(agent_witness_take(&witness, next_look, &looks, &err));
    assert_int_equal(looks.count, 1);
    assert_int_equal(witness.unseen_sectors, 4);
}

/* What is counted between two readings must neither be taken for a loss nor be believed. */
static void witness_is_not_misled_by_writes_between_the_readings(void **state)
{
    (void)state;
    struct agent_witness witness = {0};
    agent_witness_compare(&witness, 100, 1140, 180); /* the lead is between -1040 and -960 */
    assert_int_equal(unseen_at(&witness, 2000, 1000), 0);
    assert_int_equal(unseen_at(&witness, 2100, 1099), 1);
}

static struct disk disk;
static struct agent_device device;
static struct agent_tracker *tracker;

static int open_disk(void **state)
{
    (void)state;
    disk_loop(&disk, 16 * MIB, -1);
    ok(agent_device_find(disk.path, &device, &err));
    ok(agent_tracker_open(&device, &tracker, &err));
    return 0;
}

static int close_disk(void **state)
{
    (void)state;
    agent_tracker_destroy(tracker);
    tracker = NULL;
    disk_done(&disk);
    return 0;
}

static uint64_t ask(struct agent_witness *witness)
{
    ok(agent_witness_ask(witness, tracker, &device, &err));
    return witness->unseen_sectors;
}

/* As if the kernel had left out all programs for so many sectors. */
static void take_away(uint64_t sectors)
{
    int cpus = libbpf_num_possible_cpus();
    struct blx_tracker_counts *counts = calloc((size_t)cpus, sizeof(*counts));
    char path[80];
    uint32_t zero = 0;
    snprintf(path, sizeof(path), "/sys/fs/bpf/blxrep/%s/counts", disk.name);
    BLX_CLEANUP_FD int fd = bpf_obj_get(path);
    assert_true(fd >= 0);
    assert_int_equal(bpf_map_lookup_elem(fd, &zero, counts), 0);
    counts[0].sectors[0] -= sectors;
    assert_int_equal(bpf_map_update_elem(fd, &zero, counts, BPF_ANY), 0);
    free(counts);
}

/* What ask() finds, in the best of some tries: a kernel that leaves out programs by itself (for
 * which the witness is there) may do so here, too. */
static uint64_t least_unseen(void (*change)(void))
{
    struct agent_witness witness = {0};
    uint64_t least = UINT64_MAX;
    ask(&witness);
    for (int i = 0; i < 5 && least > 0; i++) {
        uint64_t before = witness.unseen_sectors;
        change();
        uint64_t unseen = ask(&witness) - before;
        least = unseen < least ? unseen : least;
    }
    assert_true(witness.knows); /* not only because it is blind */
    return least;
}

static void write_in_all_ways(void)
{
    for (unsigned i = 0; i < 300; i++)
        disk_write(&disk, i * 3 * 512, 512 * (1 + i % 40));
    disk_write(&disk, 0, disk.bytes);
    disk_shell("blkdiscard -o 4096 -l 1048576 %s && blkdiscard -z -o 8192 -l 40960 %s", disk.path,
               disk.path);
    disk_shell("mkfs.ext4 -q %s && mount %s /mnt && cp -r /usr/include/linux /mnt/ ; sync; "
               "rm -r /mnt/linux; fstrim /mnt; umount /mnt",
               disk.path, disk.path);
    free(disk_read(&disk));
}

static void witness_agrees_with_the_tracker_on_all_kinds_of_writes(void **state)
{
    (void)state;
    assert_int_equal(least_unseen(write_in_all_ways), 0);
}

static void write_unseen(void)
{
    disk_write(&disk, 0, 8 * BLOCK);
    take_away(24);
}

static void witness_finds_writes_that_ran_no_program(void **state)
{
    (void)state;
    assert_int_equal(least_unseen(write_unseen), 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(witness_is_content_while_the_lead_does_not_fall),
        cmocka_unit_test(witness_names_what_was_not_seen),
        cmocka_unit_test(a_completion_that_is_interrupted_is_not_taken_for_a_loss),
        cmocka_unit_test(witness_is_not_misled_by_writes_between_the_readings),
        cmocka_unit_test_setup_teardown(witness_agrees_with_the_tracker_on_all_kinds_of_writes,
                                        open_disk, close_disk),
        cmocka_unit_test_setup_teardown(witness_finds_writes_that_ran_no_program, open_disk,
                                        close_disk),
    };
    disk_world_enter();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
