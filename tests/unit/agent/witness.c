/* The comparison by itself, and on a real loop device whose counters are made to look as if no
 * program had been run. */
#include "agent/witness.h"

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
#include "disk.h"

enum { BLOCK = 4096, MIB = 1 << 20, COPIES = BLX_TRACKER_COPIES };

static struct blx_error err;

static void ok(int r)
{
    if (r < 0)
        fail_msg("%d: %s", r, err.message);
}

static struct blx_witness_look look(uint64_t a, uint64_t b, uint64_t c)
{
    return (struct blx_witness_look){.sectors = {a, b, c}};
}

/* All three counts at one idle moment. */
static uint64_t unseen_at(struct blx_witness *witness, uint64_t kernel_sectors,
                          struct blx_witness_look copies)
{
    blx_witness_compare(witness, &copies, kernel_sectors, &copies);
    return witness->unseen_sectors;
}

static void witness_is_content_while_the_lead_stays(void **state)
{
    (void)state;
    struct blx_witness witness = {0};
    assert_int_equal(unseen_at(&witness, 1000, look(0, 0, 0)), 0); /* the disk is older than we */
    assert_int_equal(unseen_at(&witness, 1064, look(64, 64, 64)), 0);
    assert_int_equal(unseen_at(&witness, 1064, look(72, 72, 72)), 0); /* iostats were off */
    assert_int_equal(unseen_at(&witness, 1065, look(73, 73, 73)), 0);
}

static void witness_names_what_no_copy_has_seen(void **state)
{
    (void)state;
    struct blx_witness witness = {0};
    unseen_at(&witness, 1000, look(0, 0, 0));
    assert_int_equal(unseen_at(&witness, 1064, look(56, 56, 56)), 8);
    assert_int_equal(unseen_at(&witness, 1064, look(56, 56, 56)), 8); /* once is enough */
    assert_int_equal(unseen_at(&witness, 1066, look(56, 56, 56)), 10);
}

static void witness_believes_the_copy_that_has_seen_most(void **state)
{
    (void)state;
    struct blx_witness witness = {0};
    unseen_at(&witness, 1000, look(0, 0, 0));
    assert_int_equal(unseen_at(&witness, 1064, look(60, 64, 0)), 0);
    assert_int_equal(unseen_at(&witness, 1072, look(62, 70, 0)), 2);
}

static void witness_does_not_take_counted_skips_for_a_loss(void **state)
{
    (void)state;
    struct blx_witness witness = {0};
    unseen_at(&witness, 1000, look(0, 0, 0));
    struct blx_witness_look copies = look(60, 60, 60);
    for (unsigned i = 0; i < COPIES; i++)
        copies.skipped[i] = 1;
    assert_int_equal(unseen_at(&witness, 1064, copies), 0);
    copies.sectors[0] = 68;
    copies.sectors[1] = 66;
    copies.skipped[2] = 2; /* what it has to say is learned anew */
    assert_int_equal(unseen_at(&witness, 1072, copies), 0);
    copies.sectors[0] = copies.sectors[1] = 70;
    copies.sectors[2] = 66; /* 6 of the last 10, the others fewer */
    assert_int_equal(unseen_at(&witness, 1082, copies), 4);
}

/* What is counted between two readings must neither be taken for a loss nor be believed. */
static void witness_is_not_misled_by_writes_between_the_readings(void **state)
{
    (void)state;
    struct blx_witness witness = {0};
    struct blx_witness_look before = look(100, 100, 100), after = look(180, 180, 180);
    blx_witness_compare(&witness, &before, 1140, &after); /* the lead is between -1040 and -960 */
    assert_int_equal(unseen_at(&witness, 2000, look(1000, 1000, 1000)), 0);
    assert_int_equal(unseen_at(&witness, 2100, look(1099, 1099, 1099)), 1);
}

static struct disk disk;
static struct blx_device device = {.fd = -1};
static struct blx_tracker *tracker;

static int open_disk(void **state)
{
    (void)state;
    disk_loop(&disk, 16 * MIB, -1);
    ok(blx_device_open(disk.path, &device, &err));
    ok(blx_tracker_open(&device, &tracker, &err));
    return 0;
}

static int close_disk(void **state)
{
    (void)state;
    blx_tracker_destroy(tracker);
    tracker = NULL;
    blx_device_close(&device);
    disk_done(&disk);
    return 0;
}

static uint64_t ask(struct blx_witness *witness)
{
    ok(blx_witness_ask(witness, tracker, &device, &err));
    return witness->unseen_sectors;
}

/* As if the kernel had left out the copies from `first` on for so many sectors. */
static void take_away(unsigned first, uint64_t sectors)
{
    int cpus = libbpf_num_possible_cpus();
    struct blx_tracker_counts *counts = calloc((size_t)cpus, sizeof(*counts));
    char path[80];
    uint32_t zero = 0;
    snprintf(path, sizeof(path), "/sys/fs/bpf/blxrep/%s/counts", disk.name);
    BLX_CLEANUP_FD int fd = bpf_obj_get(path);
    assert_true(fd >= 0);
    assert_int_equal(bpf_map_lookup_elem(fd, &zero, counts), 0);
    for (unsigned copy = first; copy < COPIES; copy++)
        counts[0].sectors[copy] -= sectors;
    assert_int_equal(bpf_map_update_elem(fd, &zero, counts, BPF_ANY), 0);
    free(counts);
}

static void witness_agrees_with_the_tracker_on_all_kinds_of_writes(void **state)
{
    (void)state;
    struct blx_witness witness = {0};
    assert_int_equal(ask(&witness), 0);
    for (unsigned i = 0; i < 300; i++)
        disk_write(&disk, i * 3 * 512, 512 * (1 + i % 40));
    disk_write(&disk, 0, disk.bytes);
    disk_shell("blkdiscard -o 4096 -l 1048576 %s && blkdiscard -z -o 8192 -l 40960 %s", disk.path,
               disk.path);
    disk_shell("mkfs.ext4 -q %s && mount %s /mnt && cp -r /usr/include/linux /mnt/ ; sync; "
               "rm -r /mnt/linux; fstrim /mnt; umount /mnt",
               disk.path, disk.path);
    free(disk_read(&disk));
    assert_int_equal(ask(&witness), 0);
    /* Not only because it is blind. */
    for (unsigned i = 0; i < COPIES; i++)
        assert_true(witness.leads[i].known);
}

static void witness_finds_writes_that_ran_no_program(void **state)
{
    (void)state;
    struct blx_witness witness = {0};
    ask(&witness);
    disk_write(&disk, 0, 8 * BLOCK);
    take_away(1, 24);
    assert_int_equal(ask(&witness), 0);
    disk_write(&disk, 0, 8 * BLOCK);
    take_away(0, 24);
    assert_int_equal(ask(&witness), 24);
    disk_write(&disk, 0, 8 * BLOCK);
    assert_int_equal(ask(&witness), 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(witness_is_content_while_the_lead_stays),
        cmocka_unit_test(witness_names_what_no_copy_has_seen),
        cmocka_unit_test(witness_believes_the_copy_that_has_seen_most),
        cmocka_unit_test(witness_does_not_take_counted_skips_for_a_loss),
        cmocka_unit_test(witness_is_not_misled_by_writes_between_the_readings),
        cmocka_unit_test_setup_teardown(witness_agrees_with_the_tracker_on_all_kinds_of_writes,
                                        open_disk, close_disk),
        cmocka_unit_test_setup_teardown(witness_finds_writes_that_ran_no_program, open_disk,
                                        close_disk),
    };
    disk_world_enter();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
