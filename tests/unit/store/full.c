/* SPDX-License-Identifier: Apache-2.0 */
/* A filesystem without a free byte and without a free inode: receiving stops before, and a prune
 * heals the store. On a real ext4 of a loop device, with few inodes. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "store/prune/prune.h"
#include "store/reserve.h"

enum { BLOCKS = 64, CHECKPOINTS = 20, INODES = 512, JUNK_FILES = 2 * INODES };

struct fixture {
    struct test_store test; /* its folder is the filesystem */
    char outside[64];       /* a folder on another one */
    struct test_volume sda;
    struct test_volume *volumes[1];
    struct blx_agent_writer *writer;
    blx_timestamp timestamps[CHECKPOINTS];
    uint64_t random;
};

__attribute__((format(printf, 1, 2))) static void run(const char *format, ...)
{
    char command[512];
    va_list args;
    va_start(args, format);
    vsnprintf(command, sizeof(command), format, args);
    va_end(args);
    if (system(command) != 0)
        fail_msg("failed: %s", command);
}

/* Blocks of bytes that do not compress, always the same ones: pruning frees what they replace. */
static void send_noise(struct fixture *f)
{
    uint64_t blocks[BLOCKS / 2];
    for (size_t i = 0; i < BLOCKS / 2; i++) {
        uint8_t *at = f->sda.image + i * TEST_BLOCK_BYTES;
        for (size_t k = 0; k < TEST_BLOCK_BYTES; k += sizeof(uint64_t)) {
            uint64_t word = test_random(&f->random);
            memcpy(at + k, &word, sizeof(word));
        }
        blocks[i] = i;
    }
    test_volume_frame(&f->sda, blocks, BLOCKS / 2);
}

static int append(struct fixture *f, struct blx_error *err)
{
    return blx_agent_writer_append(f->writer, 0, f->sda.frame, f->sda.sent_bytes, err);
}

static int make(void **state, bool reserve)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct blx_error err = {0};
    assert_non_null(f);
    f->random = 7;
    test_make_dir(f->outside, sizeof(f->outside));
    test_make_dir(f->test.dir, sizeof(f->test.dir));
    run("truncate -s 64M %s/disk && mkfs.ext4 -q -m 0 -N 512 -J size=4 %s/disk", f->outside,
        f->outside);
    run("mount -o loop %s/disk %s", f->outside, f->test.dir);
    char data[PATH_MAX];
    test_path(&f->test, data, "data");
    test_ok(blx_store_open(data, BLX_STORE_INIT, &f->test.store, &err), &err);
    test_ok(blx_store_open(data, BLX_STORE_WRITE, &f->test.store, &err), &err);
    if (reserve)
        test_ok(blx_reserve_make(&f->test.store, &err), &err);
    test_volume_init(&f->sda, "sda", BLOCKS * TEST_BLOCK_BYTES, 1);
    f->volumes[0] = &f->sda;
    f->writer = test_writer_open(&f->test, f->volumes, 1, NULL);
    test_ok(blx_agent_writer_begin(f->writer, 0, BLX_PASS_FULL, &err), &err);
    for (unsigned i = 0; i < CHECKPOINTS; i++) {
        send_noise(f);
        test_ok(append(f, &err), &err);
        f->timestamps[i] = test_writer_commit(f->writer, f->volumes, 1, 1000000000 + i);
    }
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return make(state, true);
}

static int setup_without_reserve(void **state)
{
    return make(state, false);
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    blx_agent_writer_close(f->writer);
    test_volume_done(&f->sda);
    blx_store_close(&f->test.store);
    assert_int_equal(umount(f->test.dir), 0);
    run("rmdir %s && rm -r %s", f->test.dir, f->outside);
    free(f);
    return 0;
}

/* Of this filesystem only: others may be busy for minutes. */
static struct statvfs look(const struct fixture *f)
{
    int fd = open(f->test.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(syncfs(fd), 0);
    close(fd);
    struct statvfs disk;
    assert_int_equal(statvfs(f->test.dir, &disk), 0);
    return disk;
}

/* Somebody else takes every byte, and every inode. */
static void fill_up(const struct fixture *f)
{
    static char junk[65536];
    char path[PATH_MAX];
    test_path(&f->test, path, "junk");
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    /* The names of the empty files need room themselves. */
    for (unsigned i = 0; i < JUNK_FILES; i++) {
        test_path(&f->test, path, "junk.%u", i);
        if (mknod(path, S_IFREG | 0600, 0) != 0)
            break;
    }
    for (size_t bytes = sizeof(junk); bytes > 0;)
        if (write(fd, junk, bytes) <= 0)
            bytes /= 2;
    assert_int_equal(fsync(fd), 0);
    close(fd);
    struct statvfs disk = look(f);
    assert_int_equal(disk.f_bavail, 0);
    assert_in_range(disk.f_favail, 0, 0);
}

static void remove_junk(const struct fixture *f)
{
    run("rm %s/junk*", f->test.dir);
}

static int prune(const struct fixture *f, struct blx_prune_report *report, struct blx_error *err)
{
    const struct blx_prune_request request = {.checkpoints = f->timestamps + 1,
                                              .count = CHECKPOINTS - 2};
    return blx_prune(blx_store_agent(&f->test.store, "web1"), &request, report, err);
}

static void newest_restores(const struct fixture *f)
{
    struct blx_error err = {0};
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/restored", f->outside);
    struct blx_restore_target target = {.path = path};
    test_ok(blx_restore(blx_store_agent(&f->test.store, "web1"), f->timestamps[CHECKPOINTS - 1],
                        "sda", &target, NULL, &err),
            &err);
    static uint8_t got[BLOCKS * TEST_BLOCK_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_int_equal(pread(fd, got, sizeof(got), 0), sizeof(got));
    assert_memory_equal(got, f->sda.image, sizeof(got));
    close(fd);
    assert_int_equal(unlink(path), 0);
}

static void a_full_store_heals_by_a_prune_alone(void **state)
{
    struct fixture *f = *state;
    struct blx_prune_report report;
    struct blx_error err = {0};
    fill_up(f);
    test_ok(prune(f, &report, &err), &err);
    assert_int_equal(report.removed, CHECKPOINTS - 2);
    struct statvfs disk = look(f);
    printf("the prune freed %llu KiB and %llu inodes\n",
           (unsigned long long)(disk.f_bavail * disk.f_frsize / 1024),
           (unsigned long long)disk.f_favail);
    assert_true(disk.f_bavail > 0 && disk.f_favail > 0);
    newest_restores(f);
    remove_junk(f);
    blx_reserve_refill(&f->test.store);
    /* The next time, too. */
    fill_up(f);
    test_ok(prune(f, &report, &err), &err);
    newest_restores(f);
}

/* What the reserve is for. */
static void without_a_reserve_it_does_not_heal(void **state)
{
    struct fixture *f = *state;
    struct blx_prune_report report;
    struct blx_error err = {0};
    fill_up(f);
    assert_int_equal(prune(f, &report, &err), -ENOSPC);
}

static void receiving_stops_before_the_reserve(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    struct blx_prune_report report;
    char bytes[PATH_MAX];
    struct stat st;
    int rc = 0;
    while (rc == 0) {
        send_noise(f);
        rc = append(f, &err);
    }
    assert_int_equal(rc, -ENOSPC);
    assert_non_null(strstr(err.message, "is full"));
    test_path(&f->test, bytes, "data/reserve/bytes");
    assert_int_equal(stat(bytes, &st), 0);
    assert_true(st.st_blocks * 512 >= st.st_size && st.st_size >= 512 * 1024);
    /* A prune may run meanwhile. While it has the reserve nobody else takes it. */
    blx_agent_writer_close(f->writer);
    f->writer = NULL;
    assert_int_equal(unlink(bytes), 0);
    struct blx_error full = {0};
    assert_int_equal(blx_reserve_check(&f->test.store, &full), -ENOSPC);
    test_ok(prune(f, &report, &err), &err);
}

static void few_inodes_stop_receiving_too(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    char path[PATH_MAX];
    assert_int_equal(blx_reserve_check(&f->test.store, &err), 0);
    struct statvfs disk = look(f);
    for (unsigned i = 0; i + 4 < disk.f_favail; i++) {
        test_path(&f->test, path, "junk.%u", i);
        assert_int_equal(mknod(path, S_IFREG | 0600, 0), 0);
    }
    assert_int_equal(blx_reserve_check(&f->test.store, &err), -ENOSPC);
    assert_non_null(strstr(err.message, "is full"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    test_fsync_off(); /* no power cut is meant */
    const struct CMUnitTest tests[] = {
        TEST(a_full_store_heals_by_a_prune_alone),
        cmocka_unit_test_setup_teardown(without_a_reserve_it_does_not_heal, setup_without_reserve,
                                        teardown),
        TEST(receiving_stops_before_the_reserve),
        TEST(few_inodes_stop_receiving_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
