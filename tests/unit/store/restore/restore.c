/* SPDX-License-Identifier: Apache-2.0 */
#include "store/restore/restore.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "fixture.h"

enum { BLOCKS = 600, SIZE_BYTES = BLOCKS * TEST_BLOCK_BYTES - 1024 };

struct fixture {
    struct test_store test;
    struct test_volume volume;
    struct test_volume *volumes[1];
    blx_timestamp one, two;
    uint8_t *first_image;
    char path[PATH_MAX];    /* of the image */
    char partial[PATH_MAX]; /* PATH.partial */
};

/* Two checkpoints; half of the volume is zero, and a quarter was never sent. */
static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    assert_non_null(f);
    struct blx_error err = {0};
    test_store_init(&f->test);
    test_path(&f->test, f->path, "disk.img");
    test_path(&f->test, f->partial, "disk.img.partial");
    test_volume_init(&f->volume, "sda", SIZE_BYTES, 1);
    f->volumes[0] = &f->volume;
    for (uint64_t block = 0; block < BLOCKS / 4; block++)
        test_volume_write(&f->volume, block, block + 1);
    test_volume_write(&f->volume, BLOCKS - 1, 12345);
    struct blx_agent_writer *writer = test_writer_open(&f->test, f->volumes, 1, NULL);
    test_ok(blx_agent_writer_begin(writer, 0, BLX_PASS_FULL, &err), &err);
    test_volume_send_all(&f->volume, writer, 64);
    f->one = test_writer_commit(writer, f->volumes, 1, 1000000000);
    f->first_image = malloc(SIZE_BYTES);
    assert_non_null(f->first_image);
    memcpy(f->first_image, f->volume.image, SIZE_BYTES);
    uint64_t scattered[40];
    for (uint64_t i = 0; i < 40; i++) {
        scattered[i] = i * 15;
        test_volume_write(&f->volume, scattered[i], i % 3 == 0 ? 0 : 1000 + i);
    }
    test_volume_frame(&f->volume, scattered, 40);
    test_ok(blx_agent_writer_append(writer, 0, f->volume.frame, f->volume.sent_bytes, &err), &err);
    f->two = test_writer_commit(writer, f->volumes, 1, 1000000100);
    blx_agent_writer_close(writer);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    test_volume_done(&f->volume);
    free(f->first_image);
    test_store_done(&f->test);
    free(f);
    return 0;
}

static int restore(const struct fixture *f, blx_timestamp timestamp, const char *path, bool force,
                   struct blx_error *err)
{
    struct blx_restore_target target = {.path = path, .flags = force ? BLX_RESTORE_FORCE : 0};
    return blx_restore(blx_store_agent(&f->test.store, "web1"), timestamp, "sda", &target, NULL,
                       err);
}

static void refuse(const struct fixture *f, const char *path, bool force, int code,
                   const char *part)
{
    struct blx_error err = {0};
    assert_int_equal(restore(f, f->two, path, force, &err), code);
    if (strstr(err.message, part) == NULL)
        fail_msg("'%s' is not in: %s", part, err.message);
}

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void check_content(const char *path, const uint8_t *image)
{
    uint8_t *got = malloc(SIZE_BYTES);
    assert_non_null(got);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, got, SIZE_BYTES, 0), SIZE_BYTES);
    assert_int_equal(memcmp(got, image, SIZE_BYTES), 0);
    close(fd);
    free(got);
}

static void each_checkpoint_restores_to_a_sparse_file_of_the_volumes_size(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    struct blx_error err = {0};
    test_restores_to(&f->test, f->one, "sda", f->first_image, SIZE_BYTES);
    test_restores_to(&f->test, f->two, "sda", f->volume.image, SIZE_BYTES);
    test_ok(restore(f, f->two, f->path, false, &err), &err);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_size, SIZE_BYTES);
    assert_true(st.st_blocks * 512 < SIZE_BYTES / 2);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_false(exists(f->partial));
}

static void an_existing_file_is_replaced_with_force_only(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    put(f->path, "precious");
    refuse(f, f->path, false, -EEXIST, "--force");
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_size, strlen("precious"));
    test_ok(restore(f, f->two, f->path, true, &err), &err);
    check_content(f->path, f->volume.image);
    refuse(f, "/dev/null", true, -EINVAL, "/dev/null");
    refuse(f, f->test.dir, true, -EINVAL, f->test.dir);
}

static void a_partial_file_is_replaced_unless_its_writer_lives(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    put(f->partial, "left by a restore that was killed");
    int fd = open(f->partial, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    refuse(f, f->path, false, -EBUSY, "another restore");
    assert_true(exists(f->partial));
    close(fd);
    test_ok(restore(f, f->two, f->path, false, &err), &err);
    check_content(f->path, f->volume.image);
    assert_int_equal(symlink("/etc/passwd", f->partial), 0);
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(restore(f, f->two, f->path, false, NULL), -ELOOP);
}

static void a_finished_image_that_is_also_called_partial_is_not_touched(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    char other[PATH_MAX];
    test_path(&f->test, other, "other.img");
    put(other, "finished");
    assert_int_equal(link(other, f->partial), 0);
    test_ok(restore(f, f->two, f->path, false, &err), &err);
    struct stat st;
    assert_int_equal(stat(other, &st), 0);
    assert_int_equal(st.st_size, strlen("finished"));
}

static void unknown_checkpoints_and_volumes_are_named(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    struct blx_restore_target target = {.path = f->path};
    assert_int_equal(
        blx_restore(blx_store_agent(&f->test.store, "web1"), f->two, "sdz", &target, NULL, &err),
        -ENOENT);
    assert_non_null(strstr(err.message, "it has 'sda'"));
    blx_error_clear(&err);
    assert_int_equal(restore(f, 20200101000000, f->path, false, &err), -ENOENT);
    assert_non_null(strstr(err.message, "20200101000000"));
}

static void flip(const struct fixture *f, const char *name, off_t offset)
{
    char path[PATH_MAX];
    uint8_t byte;
    test_path(&f->test, path, "agents/web1/%s", name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

static void damage_is_found_and_hurts_only_what_needs_it(void **state)
{
    struct fixture *f = *state;
    flip(f, "volumes/sda/00000002.seg", 200);
    refuse(f, f->path, false, -EBADMSG, "00000002.seg");
    assert_false(exists(f->path));
    assert_false(exists(f->partial));
    test_restores_to(&f->test, f->one, "sda", f->first_image, SIZE_BYTES);
    flip(f, "volumes/sda/00000002.seg", 200);
    flip(f, "checkpoints/20010909014640", 50);
    refuse(f, f->path, false, -EBADMSG, "20010909014640");
    flip(f, "checkpoints/20010909014640", 50);
    test_restores_to(&f->test, f->two, "sda", f->volume.image, SIZE_BYTES);
    char path[PATH_MAX];
    test_path(&f->test, path, "agents/web1/volumes/sda/00000001.seg");
    assert_int_equal(unlink(path), 0);
    refuse(f, f->path, false, -EBADMSG, "00000001.seg");
}

static void any_failing_call_leaves_no_file_and_the_next_restore_works(void **state)
{
    struct fixture *f = *state;
    bool fired = true;
    for (unsigned after = 0; fired; after++) {
        struct blx_error err = {0};
        test_fault_arm(TEST_FAULT_ONCE, after);
        int rc = restore(f, f->two, f->path, false, &err);
        fired = test_fault_disarm();
        if (rc < 0) {
            assert_int_equal(err.code, rc);
            assert_false(exists(f->partial));
        } else {
            check_content(f->path, f->volume.image);
        }
        unlink(f->path);
    }
    test_restores_to(&f->test, f->two, "sda", f->volume.image, SIZE_BYTES);
}

static void a_volume_is_restored_in_windows_where_its_index_is_large(void **state)
{
    struct fixture *f = *state;
    for (size_t max_entries = 2; max_entries < 40; max_entries += 3) {
        struct blx_error err = {0};
        struct blx_restore_target target = {
            .path = f->path, .flags = BLX_RESTORE_FORCE, .max_entries = max_entries};
        test_ok(blx_restore(blx_store_agent(&f->test.store, "web1"), f->two, "sda", &target, NULL,
                            &err),
                &err);
        check_content(f->path, f->volume.image);
    }
}

static void what_is_lost_is_told_once_whatever_the_windows(void **state)
{
    struct fixture *f = *state;
    flip(f, "volumes/sda/00000002.seg", 200);
    char path[PATH_MAX];
    test_path(&f->test, path, "agents/web1/volumes/sda/00000001.seg");
    assert_int_equal(unlink(path), 0);
    BLX_CLEANUP(blx_losses_done) struct blx_losses whole = {0};
    BLX_CLEANUP(blx_losses_done) struct blx_losses parts = {0};
    struct blx_restore_target target = {
        .path = f->path, .flags = BLX_RESTORE_FORCE, .losses = &whole};
    struct blx_error err = {0};
    test_ok(
        blx_restore(blx_store_agent(&f->test.store, "web1"), f->two, "sda", &target, NULL, &err),
        &err);
    target.losses = &parts;
    target.max_entries = 4;
    test_ok(
        blx_restore(blx_store_agent(&f->test.store, "web1"), f->two, "sda", &target, NULL, &err),
        &err);
    assert_true(whole.count > 1);
    assert_int_equal(parts.count, whole.count);
    for (size_t i = 0; i < whole.count; i++)
        assert_memory_equal(&parts.list[i], &whole.list[i], sizeof(whole.list[i]));
}

/* A loop device of `bytes` bytes full of 0xaa; its path. */
static int attach(const struct fixture *f, uint64_t bytes, char device[64])
{
    char backing[PATH_MAX];
    test_path(&f->test, backing, "backing");
    int file = open(backing, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    assert_true(file >= 0 && control >= 0);
    uint8_t *fill = malloc(bytes);
    assert_non_null(fill);
    memset(fill, 0xaa, bytes);
    assert_int_equal(pwrite(file, fill, bytes, 0), bytes);
    free(fill);
    int fd = -1;
    for (int tries = 0; tries < 20; tries++) { /* others may take the free number first */
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        assert_true(number >= 0);
        snprintf(device, 64, "/dev/loop%d", number);
        fd = open(device, O_RDWR | O_CLOEXEC);
        struct loop_config config = {.fd = (uint32_t)file};
        if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) == 0)
            break;
        assert_true(fd < 0 || errno == EBUSY);
        if (fd >= 0)
            close(fd);
        fd = -1;
    }
    assert_true(fd >= 0);
    close(file);
    close(control);
    return fd;
}

static void detach(int fd)
{
    assert_int_equal(ioctl(fd, LOOP_CLR_FD), 0);
    close(fd);
}

static uint64_t bring_up_to_date(const struct fixture *f, blx_timestamp timestamp, const char *path)
{
    struct blx_error err = {0};
    uint64_t written_bytes = UINT64_MAX;
    struct blx_restore_target target = {
        .path = path, .flags = BLX_RESTORE_DELTA, .written_bytes = &written_bytes};
    test_ok(
        blx_restore(blx_store_agent(&f->test.store, "web1"), timestamp, "sda", &target, NULL, &err),
        &err);
    return written_bytes;
}

static void delta_writes_what_differs_and_punches_what_must_be_zero(void **state)
{
    struct fixture *f = *state;
    struct stat before, after;
    uint64_t all = bring_up_to_date(f, f->one, f->path); /* there is no image yet */
    assert_int_equal(all, BLOCKS / 4 * TEST_BLOCK_BYTES + TEST_BLOCK_BYTES - 1024);
    assert_int_equal(stat(f->path, &before), 0);
    assert_int_equal(bring_up_to_date(f, f->one, f->path), 0);
    /* 26 of the 40 scattered blocks were written with data, the rest became zero. */
    assert_int_equal(bring_up_to_date(f, f->two, f->path), 26 * TEST_BLOCK_BYTES);
    check_content(f->path, f->volume.image);
    assert_int_equal(bring_up_to_date(f, f->one, f->path), BLOCKS / 4 / 15 * TEST_BLOCK_BYTES);
    check_content(f->path, f->first_image);
    assert_int_equal(stat(f->path, &after), 0);
    assert_int_equal(after.st_ino, before.st_ino);
    assert_true(after.st_blocks <= before.st_blocks + 64);
    assert_false(exists(f->partial));
}

/* The file and its size are of no importance. */
static void delta_takes_any_content_and_resume_any_leftover(void **state)
{
    struct fixture *f = *state;
    static const off_t sizes[] = {0, 1, 100000, SIZE_BYTES, SIZE_BYTES + 70000};
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        struct blx_error err = {0};
        struct blx_restore_target target = {.path = f->path, .flags = BLX_RESTORE_RESUME};
        put(f->partial, "the beginning of something else");
        assert_int_equal(chmod(f->partial, 0600), 0);
        assert_int_equal(truncate(f->partial, sizes[i]), 0);
        test_ok(blx_restore(blx_store_agent(&f->test.store, "web1"), f->one, "sda", &target, NULL,
                            &err),
                &err);
        check_content(f->path, f->first_image);
        assert_int_equal(truncate(f->path, sizes[i]), 0);
        bring_up_to_date(f, f->two, f->path);
        check_content(f->path, f->volume.image);
        assert_int_equal(unlink(f->path), 0);
    }
}

static void refuse_partial(const struct fixture *f, unsigned flags, const char *why)
{
    struct blx_error err = {0};
    struct stat before, after;
    struct blx_restore_target target = {.path = f->path, .flags = flags};
    assert_int_equal(stat(f->partial, &before), 0);
    assert_int_equal(
        blx_restore(blx_store_agent(&f->test.store, "web1"), f->one, "sda", &target, NULL, &err),
        -EPERM);
    assert_non_null(strstr(err.message, why));
    assert_int_equal(stat(f->partial, &after), 0);
    assert_int_equal(after.st_size, before.st_size);
    assert_false(exists(f->path));
}

/* A file that somebody else has put there is not filled with the image. */
static void only_ones_own_leftover_is_adopted(void **state)
{
    struct fixture *f = *state;
    static const unsigned flags[] = {BLX_RESTORE_RESUME, BLX_RESTORE_DELTA};
    char other[PATH_MAX];
    test_path(&f->test, other, "other-name");
    for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
        put(f->partial, "bait");
        assert_int_equal(chmod(f->partial, 0604), 0);
        refuse_partial(f, flags[i], "open to other users");
        assert_int_equal(chmod(f->partial, 0600), 0);
        assert_int_equal(link(f->partial, other), 0);
        refuse_partial(f, flags[i], "another name");
        assert_int_equal(unlink(other), 0);
        if (geteuid() == 0) {
            assert_int_equal(chown(f->partial, 65534, 65534), 0);
            refuse_partial(f, flags[i], "another user");
        }
        assert_int_equal(unlink(f->partial), 0);
    }
}

/* Which an image has that was handed on with chmod; a failed run keeps it too. */
static void delta_keeps_the_mode(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    bring_up_to_date(f, f->one, f->path);
    assert_int_equal(chmod(f->path, 0640), 0);
    bring_up_to_date(f, f->two, f->path);
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
}

/* In devtmpfs a file would take memory, and look like success. */
static void below_dev_only_devices_are_written(void **state)
{
    struct fixture *f = *state;
    static const char *const paths[] = {"/dev/blxrep-no-such-device", "/dev/../dev/blxrep-none",
                                        "/dev/disk/../blxrep-none"};
    static const unsigned flags[] = {0, BLX_RESTORE_FORCE, BLX_RESTORE_DELTA, BLX_RESTORE_RESUME};
    for (size_t i = 0; i < 3 * 4; i++) {
        struct blx_error err = {0};
        struct blx_restore_target target = {.path = paths[i / 4], .flags = flags[i % 4]};
        int rc = blx_restore(blx_store_agent(&f->test.store, "web1"), f->one, "sda", &target, NULL,
                             &err);
        bool made = exists(paths[i / 4]);
        unlink(paths[i / 4]);
        assert_false(made);
        assert_true(rc == -ENODEV || rc == -ENOENT);
        assert_non_null(strstr(err.message, paths[i / 4]));
    }
}

static void a_device_is_brought_up_to_date_and_not_resumed(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    char device[64];
    struct blx_restore_target resume = {.path = device, .flags = BLX_RESTORE_RESUME};
    int fd = attach(f, BLOCKS * TEST_BLOCK_BYTES, device);
    int refused =
        blx_restore(blx_store_agent(&f->test.store, "web1"), f->two, "sda", &resume, NULL, &err);
    bring_up_to_date(f, f->one, device);
    uint64_t written_bytes = bring_up_to_date(f, f->two, device);
    check_content(device, f->volume.image);
    detach(fd);
    assert_int_equal(refused, -EINVAL);
    assert_non_null(strstr(err.message, "--delta"));
    assert_int_equal(written_bytes, 26 * TEST_BLOCK_BYTES);
}

/* The image is there under one of its two names, and the next delta makes it right. */
static void any_failing_call_of_a_delta_leaves_an_image_to_go_on_with(void **state)
{
    struct fixture *f = *state;
    bool fired = true;
    bring_up_to_date(f, f->one, f->path);
    for (unsigned after = 0; fired; after++) {
        struct blx_error err = {0};
        struct blx_restore_target target = {.path = f->path, .flags = BLX_RESTORE_DELTA};
        test_fault_arm(TEST_FAULT_FOR_EVER, after);
        int rc = blx_restore(blx_store_agent(&f->test.store, "web1"), f->two, "sda", &target, NULL,
                             &err);
        fired = test_fault_disarm();
        assert_true(exists(f->path) != exists(f->partial));
        if (rc == 0)
            check_content(f->path, f->volume.image);
        else if (exists(f->partial))
            assert_non_null(strstr(err.message, ".partial"));
        bring_up_to_date(f, f->two, f->path);
        check_content(f->path, f->volume.image);
        bring_up_to_date(f, f->one, f->path);
    }
}

static void an_image_in_use_by_another_restore_is_not_touched(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    bring_up_to_date(f, f->one, f->path);
    int fd = open(f->path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    struct blx_restore_target target = {.path = f->path, .flags = BLX_RESTORE_DELTA};
    assert_int_equal(
        blx_restore(blx_store_agent(&f->test.store, "web1"), f->two, "sda", &target, NULL, &err),
        -EBUSY);
    close(fd);
    check_content(f->path, f->first_image);
    assert_false(exists(f->partial));
}

struct seen {
    uint64_t calls, done_bytes, total_bytes;
};

static void note_progress(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
    struct seen *seen = arg;
    assert_true(done_bytes >= seen->done_bytes && done_bytes <= total_bytes);
    *seen = (struct seen){seen->calls + 1, done_bytes, total_bytes};
}

static void progress_ends_at_the_total(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    struct seen seen = {0};
    struct blx_restore_target target = {.path = f->path};
    struct blx_restore_progress progress = {.report = note_progress, .arg = &seen};
    test_ok(blx_restore(blx_store_agent(&f->test.store, "web1"), f->one, "sda", &target, &progress,
                        &err),
            &err);
    assert_true(seen.calls > 0);
    assert_int_equal(seen.done_bytes, seen.total_bytes);
    assert_int_equal(seen.total_bytes, (BLOCKS / 4 + 1) * TEST_BLOCK_BYTES);
}

static void the_default_path_names_the_volume_only_among_several(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    char path[PATH_MAX], expected[PATH_MAX];
    struct blx_manifest manifest = {.timestamp = f->two, .volume_count = 1};
    test_ok(blx_restore_default_path(blx_store_agent(&f->test.store, "web1"), &manifest, "sda",
                                     BLX_IMAGE_RAW, path, &err),
            &err);
    test_path(&f->test, expected, "restore/web1-20010909014820.img");
    assert_string_equal(path, expected);
    manifest.volume_count = 2;
    test_ok(blx_restore_default_path(blx_store_agent(&f->test.store, "web1"), &manifest, "sda",
                                     BLX_IMAGE_RAW, path, &err),
            &err);
    test_path(&f->test, expected, "restore/web1-20010909014820-sda.img");
    assert_string_equal(path, expected);
    test_ok(blx_restore_image_path("/x", "web1", &manifest, "sda", BLX_IMAGE_RAW, expected, &err),
            &err);
    assert_string_equal(expected, "/x/web1-20010909014820-sda.img");
    test_ok(blx_restore_image_path("/x", "web1", &manifest, "sda", BLX_IMAGE_VHDX, expected, &err),
            &err);
    assert_string_equal(expected, "/x/web1-20010909014820-sda.vhdx");
    test_ok(restore(f, f->two, path, false, &err), &err);
}

static void a_device_gets_the_image_and_zeros_and_nothing_after(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    char device[64];
    uint8_t after[TEST_BLOCK_BYTES];
    int fd = attach(f, (BLOCKS + 4) * TEST_BLOCK_BYTES, device);
    int rc = restore(f, f->two, device, false, &err);
    if (rc == 0) {
        check_content(device, f->volume.image);
        assert_int_equal(pread(fd, after, 1024, SIZE_BYTES), 1024);
        assert_int_equal(after[0], 0xaa);
        assert_int_equal(after[1023], 0xaa);
    }
    detach(fd);
    test_ok(rc, &err);
}

static void a_device_that_is_too_small_or_in_use_is_refused(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    char device[64];
    int fd = attach(f, (BLOCKS - 1) * TEST_BLOCK_BYTES, device);
    int small = restore(f, f->two, device, true, NULL);
    detach(fd);
    assert_int_equal(small, -ENOSPC);
    fd = attach(f, BLOCKS * TEST_BLOCK_BYTES, device);
    int holder = open(device, O_RDONLY | O_EXCL | O_CLOEXEC);
    int busy = restore(f, f->two, device, false, &err);
    int forced = restore(f, f->two, device, true, NULL);
    close(holder);
    detach(fd);
    assert_true(holder >= 0);
    assert_int_equal(busy, -EBUSY);
    assert_non_null(strstr(err.message, "mounted or in use"));
    assert_int_equal(forced, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_checkpoint_restores_to_a_sparse_file_of_the_volumes_size),
        TEST(an_existing_file_is_replaced_with_force_only),
        TEST(a_partial_file_is_replaced_unless_its_writer_lives),
        TEST(a_finished_image_that_is_also_called_partial_is_not_touched),
        TEST(unknown_checkpoints_and_volumes_are_named),
        TEST(damage_is_found_and_hurts_only_what_needs_it),
        TEST(any_failing_call_leaves_no_file_and_the_next_restore_works),
        TEST(a_volume_is_restored_in_windows_where_its_index_is_large),
        TEST(what_is_lost_is_told_once_whatever_the_windows),
        TEST(delta_writes_what_differs_and_punches_what_must_be_zero),
        TEST(delta_takes_any_content_and_resume_any_leftover),
        TEST(only_ones_own_leftover_is_adopted),
        TEST(delta_keeps_the_mode),
        TEST(below_dev_only_devices_are_written),
        TEST(a_device_is_brought_up_to_date_and_not_resumed),
        TEST(any_failing_call_of_a_delta_leaves_an_image_to_go_on_with),
        TEST(an_image_in_use_by_another_restore_is_not_touched),
        TEST(progress_ends_at_the_total),
        TEST(the_default_path_names_the_volume_only_among_several),
        TEST(a_device_gets_the_image_and_zeros_and_nothing_after),
        TEST(a_device_that_is_too_small_or_in_use_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
