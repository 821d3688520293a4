/* SPDX-License-Identifier: Apache-2.0 */
/* Real eBPF programs on real devices: loop (request-based) and zram (bio-based). */
#include "agent/track/tracker.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/track/witness.h"
#include "base/bitmap.h"
#include "disk.h"

enum { BLOCK = 4096, MIB = 1 << 20, MAX_ATTEMPTS = 5 };

static struct blx_error err;

static void ok(int r)
{
    if (r < 0)
        fail_msg("%d: %s", r, err.message);
}

struct rig {
    struct disk disk;
    struct agent_device device;
    struct agent_tracker *tracker;
    struct agent_witness witness;
};

static struct rig world;

static void track(struct rig *rig, const char *path)
{
    blx_error_clear(&err);
    rig->witness = (struct agent_witness){0};
    ok(agent_device_find(path, &rig->device, &err));
    ok(agent_tracker_open(&rig->device, &rig->tracker, &err));
    ok(agent_witness_ask(&rig->witness, rig->tracker, &rig->device, &err));
}

static void rig_loop(struct rig *rig, uint64_t bytes)
{
    disk_loop(&rig->disk, bytes, -1);
    track(rig, rig->disk.path);
}

static void rig_zram(struct rig *rig, uint64_t bytes)
{
    disk_zram(&rig->disk, bytes);
    track(rig, rig->disk.path);
}

static void let_go(struct rig *rig)
{
    agent_tracker_close(rig->tracker);
    rig->tracker = NULL;
}

static void rig_done(struct rig *rig)
{
    agent_tracker_destroy(rig->tracker);
    rig->tracker = NULL;
    disk_done(&rig->disk);
    rig->disk.name[0] = '\0';
}

/* What a failed test leaves: pins and a zram device would outlive the process. */
static int teardown(void **state)
{
    (void)state;
    if (world.disk.name[0] == '\0')
        return 0;
    int status = system("umount -q /mnt/fs");
    (void)status;
    rig_done(&world);
    return 0;
}

static uint64_t marked(const struct rig *rig)
{
    return blx_bitmap_count(agent_tracker_get_dirty(rig->tracker),
                            agent_tracker_get_blocks(rig->tracker));
}

static void clear(const struct rig *rig)
{
    blx_bitmap_clear(agent_tracker_get_dirty(rig->tracker),
                     (struct blx_extent){0, agent_tracker_get_blocks(rig->tracker)});
}

/* How much the kernel left out since it was last asked (agent/track/witness.h explains it). */
static uint64_t newly_unseen(struct rig *rig)
{
    uint64_t known = rig->witness.unseen_sectors;
    ok(agent_witness_ask(&rig->witness, rig->tracker, &rig->device, &err));
    return rig->witness.unseen_sectors - known;
}

/* Exactly the blocks that the bytes touch are marked; then everything is cleared. False: not all of
 * them, and it was the kernel. Whoever wrote has to write again. */
static bool expect_only(struct rig *rig, uint64_t offset, uint64_t bytes)
{
    uint64_t first = offset / BLOCK, end = (offset + bytes + BLOCK - 1) / BLOCK;
    uint64_t total = marked(rig), hit = 0;
    for (uint64_t b = first; b < end; b++)
        hit += blx_bitmap_test(agent_tracker_get_dirty(rig->tracker), b);
    bool unseen = hit < end - first && newly_unseen(rig) > 0;
    if (hit < end - first && !unseen)
        fail_msg("%llu of %llu blocks are marked (%llu + %llu)", (unsigned long long)hit,
                 (unsigned long long)(end - first), (unsigned long long)offset,
                 (unsigned long long)bytes);
    assert_int_equal(total, hit);
    clear(rig);
    return !unseen;
}

static struct agent_tracker_counters counters(const struct rig *rig)
{
    struct agent_tracker_counters c;
    ok(agent_tracker_read_counters(rig->tracker, &c, &err));
    return c;
}

static void expect_no_doubt(const struct rig *rig)
{
    struct agent_tracker_counters c = counters(rig);
    assert_int_equal(c.missed, 0);
    assert_int_equal(c.passthrough, 0);
    assert_int_equal(c.unmarked, 0);
}

/* Written to the disk at one place, marked in the tracked part of it at another. */
static void write_and_expect_at(struct rig *rig, uint64_t disk_offset, uint64_t disk_bytes,
                                uint64_t offset, uint64_t bytes)
{
    unsigned attempts = 0;
    do {
        assert_true(attempts++ < MAX_ATTEMPTS);
        disk_write(&rig->disk, disk_offset, disk_bytes);
    } while (!expect_only(rig, offset, bytes));
}

static void write_and_expect(struct rig *rig, uint64_t offset, uint64_t bytes)
{
    write_and_expect_at(rig, offset, bytes, offset, bytes);
}

static void check_writes(struct rig *rig)
{
    assert_false(agent_tracker_is_adopted(rig->tracker));
    assert_int_equal(marked(rig), 0);
    uint64_t end = rig->disk.bytes;
    write_and_expect(rig, 0, BLOCK);
    write_and_expect(rig, end - BLOCK, BLOCK);
    write_and_expect(rig, 63 * BLOCK, 2 * BLOCK);  /* over the edge of a word */
    write_and_expect(rig, 64 * BLOCK, 64 * BLOCK); /* just one word */
    write_and_expect(rig, 5 * BLOCK, 7 * MIB);     /* many words, split requests */
    for (int i = 0; i < 200; i++)
        write_and_expect(rig, (uint64_t)(rand() % (int)(end / BLOCK - 40)) * BLOCK,
                         (uint64_t)(1 + rand() % 40) * BLOCK);
    expect_no_doubt(rig);
}

static void tracker_marks_written_blocks_of_a_loop_device(void **state)
{
    (void)state;
    rig_loop(&world, 64 * MIB);
    check_writes(&world);
    write_and_expect(&world, 512, 512); /* smaller than a block */
    write_and_expect(&world, 7 * 512, 1024);
    rig_done(&world);
}

static void tracker_marks_written_blocks_of_a_zram_device(void **state)
{
    (void)state;
    rig_zram(&world, 64 * MIB);
    check_writes(&world);
    rig_done(&world);
}

static void check_range_ioctl(struct rig *rig, unsigned long what, uint64_t offset, uint64_t bytes)
{
    unsigned attempts = 0;
    do {
        uint64_t range[2] = {offset, bytes};
        assert_true(attempts++ < MAX_ATTEMPTS);
        assert_int_equal(ioctl(rig->disk.fd, what, range), 0);
    } while (!expect_only(rig, offset, bytes));
}

static void tracker_marks_discards_and_zeroes_rounded_outward(void **state)
{
    (void)state;
    rig_loop(&world, 256 * MIB);
    disk_write(&world.disk, 0, world.disk.bytes);
    clear(&world);
    check_range_ioctl(&world, BLKDISCARD, BLOCK, BLOCK);
    check_range_ioctl(&world, BLKDISCARD, 3 * 512, 5 * BLOCK);
    check_range_ioctl(&world, BLKZEROOUT, 5 * 512, 9 * BLOCK + 512);
    check_range_ioctl(&world, BLKDISCARD, 0, world.disk.bytes);
    check_range_ioctl(&world, BLKZEROOUT, MIB + 512, 200 * MIB);
    expect_no_doubt(&world);
    rig_done(&world);
}

static void tracker_marks_a_discard_of_four_gib(void **state)
{
    (void)state;
    rig_loop(&world, (uint64_t)5 << 30);
    check_range_ioctl(&world, BLKDISCARD, 512 * MIB + 512, ((uint64_t)4 << 30) - 3 * MIB);
    expect_no_doubt(&world);
    rig_done(&world);
}

static void tracker_marks_discards_of_zram(void **state)
{
    (void)state;
    rig_zram(&world, 64 * MIB);
    disk_write(&world.disk, 0, world.disk.bytes);
    clear(&world);
    check_range_ioctl(&world, BLKDISCARD, 3 * BLOCK, 1000 * BLOCK);
    check_range_ioctl(&world, BLKZEROOUT, 70 * BLOCK, 3 * BLOCK);
    expect_no_doubt(&world);
    rig_done(&world);
}

/* Compares the blocks that changed on the disk since `before` with those that are marked. Some may
 * be missing only if the kernel left the programs out, and then the witness must report it. */
static void expect_changes_marked(struct rig *rig, const uint8_t *before)
{
    uint8_t *after = disk_read(&rig->disk);
    uint64_t changed = 0, missed = 0;
    for (uint64_t b = 0; b < rig->disk.bytes / BLOCK; b++) {
        if (memcmp(before + b * BLOCK, after + b * BLOCK, BLOCK) == 0)
            continue;
        changed++;
        missed += !blx_bitmap_test(agent_tracker_get_dirty(rig->tracker), b);
    }
    free(after);
    uint64_t unseen = newly_unseen(rig);
    print_message("%s: %llu blocks changed, %llu marked, %llu missed, %llu sectors unseen\n",
                  rig->disk.name, (unsigned long long)changed, (unsigned long long)marked(rig),
                  (unsigned long long)missed, (unsigned long long)unseen);
    assert_true(changed > 100);
    assert_true(missed == 0 || unseen > 0);
}

/* Runs the command with the filesystem mounted, and looks at what that has changed. */
static void check_command(struct rig *rig, const char *command)
{
    clear(rig);
    newly_unseen(rig);
    uint8_t *before = disk_read(&rig->disk);
    disk_shell("mkdir -p /mnt/fs && mount %s /mnt/fs", rig->disk.path);
    disk_shell("%s", command);
    disk_shell("umount /mnt/fs");
    expect_changes_marked(rig, before);
    free(before);
    assert_true(marked(rig) < agent_tracker_get_blocks(rig->tracker) / 2); /* not just everything */
}

static void check_filesystem(struct rig *rig)
{
    disk_shell("mkfs.ext4 -q -F %s", rig->disk.path);
    check_command(rig, "cp -r /usr/include/linux /mnt/fs/a && sync && cp -r /mnt/fs/a /mnt/fs/b");
    check_command(rig, "rm -r /mnt/fs/a && sync && cp -r /mnt/fs/b /mnt/fs/c");
    /* A discard of what was freed last, among new writes. */
    disk_shell("mount -o discard %s /mnt/fs && rm -r /mnt/fs/b && umount /mnt/fs", rig->disk.path);
    check_command(rig,
                  "dd if=/dev/urandom of=/mnt/fs/d bs=4k count=5000 oflag=direct 2>/dev/null && "
                  "mount -o remount,discard /mnt/fs && rm -r /mnt/fs/c && sync");
    expect_no_doubt(rig);
}

static void tracker_marks_all_that_ext4_changes_on_a_loop_device(void **state)
{
    (void)state;
    rig_loop(&world, 256 * MIB);
    check_filesystem(&world);
    rig_done(&world);
}

static void tracker_marks_all_that_ext4_changes_on_zram(void **state)
{
    (void)state;
    rig_zram(&world, 256 * MIB);
    check_filesystem(&world);
    rig_done(&world);
}

static void tracker_follows_only_its_partition(void **state)
{
    (void)state;
    char path[64];
    disk_loop(&world.disk, 64 * MIB, -1);
    /* Begins at an odd sector, so that its blocks are not the disk's. */
    disk_shell("printf '2049,32768\\n40001,65536\\n' | sfdisk -q --no-reread %s 2>/dev/null",
               world.disk.path);
    disk_shell("partx -a %s", world.disk.path);
    snprintf(path, sizeof(path), "%sp2", world.disk.path);
    track(&world, path);
    assert_int_equal(agent_tracker_get_blocks(world.tracker), 65536 / 8);
    disk_write(&world.disk, 2049 * 512, 32768 * 512); /* the first partition, whole */
    disk_write(&world.disk, 40000 * 512, 512);        /* the sector before */
    disk_write(&world.disk, (40001 + 65536) * 512, 512);
    assert_int_equal(marked(&world), 0);
    write_and_expect_at(&world, 40000 * 512, 1024, 0, 512); /* half of it inside */
    write_and_expect_at(&world, (40001 + 65535) * 512, 1024, 65535 * 512, 512);
    /* Through the partition's own node. */
    unsigned attempts = 0;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    do {
        assert_true(attempts++ < MAX_ATTEMPTS);
        assert_int_equal(pwrite(fd, path, sizeof(path), 100 * BLOCK), sizeof(path));
        assert_int_equal(fsync(fd), 0);
    } while (!expect_only(&world, 100 * BLOCK, sizeof(path)));
    close(fd);
    let_go(&world);
    disk_unpartition(&world.disk);
    disk_shell("rm -r /sys/fs/bpf/blxrep/%s", path + strlen("/dev/"));
    rig_done(&world);
}

static void tracker_finds_a_minor_above_255(void **state)
{
    (void)state;
    disk_loop(&world.disk, 16 * MIB, 300);
    track(&world, world.disk.path);
    assert_int_equal(world.device.disk_minor, 300);
    check_writes(&world);
    rig_done(&world);
}

static void tracker_goes_on_while_no_agent_runs(void **state)
{
    (void)state;
    rig_loop(&world, 16 * MIB);
    struct blx_generation before = *agent_tracker_get_generation(world.tracker);
    disk_write(&world.disk, 0, BLOCK);
    agent_tracker_close(world.tracker);
    disk_write(&world.disk, 20 * BLOCK, 3 * BLOCK);
    ok(agent_tracker_open(&world.device, &world.tracker, &err));
    assert_true(agent_tracker_is_adopted(world.tracker));
    assert_true(blx_generation_equal(&before, agent_tracker_get_generation(world.tracker)));
    assert_int_equal(marked(&world), 4);
    assert_true(blx_bitmap_test(agent_tracker_get_dirty(world.tracker), 0));
    assert_true(blx_bitmap_test(agent_tracker_get_dirty(world.tracker), 22));
    assert_int_equal(counters(&world).events, 2);
    rig_done(&world);
}

static void tracker_is_refused_to_a_second_process(void **state)
{
    (void)state;
    rig_loop(&world, 16 * MIB);
    pid_t pid = fork();
    if (pid == 0) {
        struct agent_tracker *second = NULL;
        struct blx_error error = {0};
        char holder[32];
        snprintf(holder, sizeof(holder), "process %d", getppid());
        int r = agent_tracker_open(&world.device, &second, &error);
        _exit(r == -EBUSY && strstr(error.message, world.disk.name) != NULL &&
                      strstr(error.message, holder) != NULL
                  ? 0
                  : 1);
    }
    assert_int_equal(disk_wait(pid, 10), 0);
    write_and_expect(&world, 0, BLOCK); /* and does no harm to the first */
    rig_done(&world);
}

static void tracker_destroy_leaves_no_pins(void **state)
{
    (void)state;
    char pins[64];
    rig_loop(&world, 16 * MIB);
    snprintf(pins, sizeof(pins), "/sys/fs/bpf/blxrep/%s", world.disk.name);
    assert_int_equal(access(pins, F_OK), 0);
    rig_done(&world);
    assert_int_equal(access(pins, F_OK), -1);
}

/* The generation after close, `change` and open again must be a new one with nothing marked. */
static void expect_new_generation(struct rig *rig, const struct blx_generation *before)
{
    track(rig, rig->disk.path);
    assert_false(agent_tracker_is_adopted(rig->tracker));
    assert_false(blx_generation_equal(before, agent_tracker_get_generation(rig->tracker)));
    assert_int_equal(marked(rig), 0);
    write_and_expect(rig, BLOCK, BLOCK);
    rig_done(rig);
}

static void tracker_of_another_medium_is_made_again(void **state)
{
    (void)state;
    rig_loop(&world, 16 * MIB);
    struct blx_generation before = *agent_tracker_get_generation(world.tracker);
    disk_write(&world.disk, 0, BLOCK);
    let_go(&world);
    disk_loop_swap(&world.disk, 16 * MIB); /* only the disk sequence differs */
    expect_new_generation(&world, &before);
}

static void tracker_with_a_missing_pin_is_made_again(void **state)
{
    (void)state;
    rig_loop(&world, 16 * MIB);
    struct blx_generation before = *agent_tracker_get_generation(world.tracker);
    disk_write(&world.disk, 0, BLOCK);
    let_go(&world);
    disk_shell("rm /sys/fs/bpf/blxrep/%s/rq_complete_1", world.disk.name);
    expect_new_generation(&world, &before);
}

static void tracker_whose_pins_were_removed_is_made_again(void **state)
{
    (void)state;
    rig_loop(&world, 16 * MIB);
    struct blx_generation before = *agent_tracker_get_generation(world.tracker);
    let_go(&world);
    disk_shell("rm -r /sys/fs/bpf/blxrep/%s", world.disk.name);
    expect_new_generation(&world, &before);
}

static void tracker_counts_what_is_written(void **state)
{
    (void)state;
    rig_loop(&world, 16 * MIB);
    struct agent_tracker_counters before = counters(&world);
    free(disk_read(&world.disk));
    assert_int_equal(fsync(world.disk.fd), 0);
    struct agent_tracker_counters idle = counters(&world);
    assert_int_equal(idle.queued, before.queued); /* reading and flushing is not writing */
    assert_int_equal(idle.events, before.events);
    for (unsigned i = 0; i < 10; i++)
        disk_write(&world.disk, i * BLOCK, BLOCK);
    struct agent_tracker_counters after = counters(&world);
    assert_int_equal(after.events, before.events + 10);
    assert_true(after.queued > before.queued);
    assert_int_equal(agent_device_count_writes(&world.device), 0);
    expect_no_doubt(&world);
    rig_done(&world);
}

int main(void)
{
    disk_world_enter();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(tracker_marks_written_blocks_of_a_loop_device, teardown),
        cmocka_unit_test_teardown(tracker_marks_written_blocks_of_a_zram_device, teardown),
        cmocka_unit_test_teardown(tracker_marks_discards_and_zeroes_rounded_outward, teardown),
        cmocka_unit_test_teardown(tracker_marks_a_discard_of_four_gib, teardown),
        cmocka_unit_test_teardown(tracker_marks_discards_of_zram, teardown),
        cmocka_unit_test_teardown(tracker_marks_all_that_ext4_changes_on_a_loop_device, teardown),
        cmocka_unit_test_teardown(tracker_marks_all_that_ext4_changes_on_zram, teardown),
        cmocka_unit_test_teardown(tracker_follows_only_its_partition, teardown),
        cmocka_unit_test_teardown(tracker_finds_a_minor_above_255, teardown),
        cmocka_unit_test_teardown(tracker_goes_on_while_no_agent_runs, teardown),
        cmocka_unit_test_teardown(tracker_is_refused_to_a_second_process, teardown),
        cmocka_unit_test_teardown(tracker_destroy_leaves_no_pins, teardown),
        cmocka_unit_test_teardown(tracker_of_another_medium_is_made_again, teardown),
        cmocka_unit_test_teardown(tracker_with_a_missing_pin_is_made_again, teardown),
        cmocka_unit_test_teardown(tracker_whose_pins_were_removed_is_made_again, teardown),
        cmocka_unit_test_teardown(tracker_counts_what_is_written, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
