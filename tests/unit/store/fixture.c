/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"

void test_make_dir(char *dir, size_t bytes)
{
    const char *parent = getenv("TMPDIR");
    snprintf(dir, bytes, "%s/blx-store-XXXXXX", parent == NULL ? "/tmp" : parent);
    assert_non_null(mkdtemp(dir));
}

void test_store_init(struct test_store *test)
{
    struct blx_error err = {0};
    test_make_dir(test->dir, sizeof(test->dir));
    test_ok(blx_store_open(test->dir, BLX_STORE_INIT, &test->store, &err), &err);
    test_ok(blx_store_open(test->dir, BLX_STORE_WRITE, &test->store, &err), &err);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void test_store_done(struct test_store *test)
{
    blx_store_close(&test->store);
    assert_int_equal(nftw(test->dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

void test_path(const struct test_store *test, char path[PATH_MAX], const char *format, ...)
{
    va_list args;
    int used = snprintf(path, PATH_MAX, "%s/", test->dir);
    va_start(args, format);
    vsnprintf(path + used, (size_t)(PATH_MAX - used), format, args);
    va_end(args);
}

void test_ok(int rc, const struct blx_error *err)
{
    if (rc < 0)
        fail_msg("%d: %s", rc, err->message);
}

void test_volume_generation(struct test_volume *volume, uint8_t generation)
{
    memset(volume->info.generation.bytes, generation, sizeof(volume->info.generation.bytes));
    volume->seq = 0;
}

void test_volume_init(struct test_volume *volume, const char *name, uint64_t size_bytes,
                      uint8_t generation)
{
    *volume = (struct test_volume){
        .info.block_shift = TEST_BLOCK_SHIFT,
        .info.size_bytes = size_bytes,
        .blocks = (size_bytes + TEST_BLOCK_BYTES - 1) / TEST_BLOCK_BYTES,
    };
    snprintf(volume->info.name, sizeof(volume->info.name), "%s", name);
    snprintf(volume->info.device, sizeof(volume->info.device), "/dev/%s", name);
    snprintf(volume->info.identity, sizeof(volume->info.identity), "serial-%s", name);
    test_volume_generation(volume, generation);
    volume->image = calloc(volume->blocks, TEST_BLOCK_BYTES);
    volume->frame = malloc(BLX_FRAME_MAX_BYTES * 2);
    volume->has_digests = true;
    assert_non_null(volume->image);
    assert_non_null(volume->frame);
}

void test_volume_done(struct test_volume *volume)
{
    free(volume->image);
    free(volume->frame);
}

void test_volume_write(struct test_volume *volume, uint64_t block, uint64_t seed)
{
    uint8_t *at = volume->image + block * TEST_BLOCK_BYTES;
    for (size_t i = 0; i < TEST_BLOCK_BYTES; i++)
        at[i] = seed == 0 ? 0 : (uint8_t)(seed * 31 + i / 64 + (seed >> 8));
    if (seed != 0)
        memcpy(at, &seed, sizeof(seed));
}

static bool is_zero(const uint8_t *block)
{
    return block[0] == 0 && memcmp(block, block + 1, TEST_BLOCK_BYTES - 1) == 0;
}

const struct blx_key *test_digest_key(void)
{
    static struct blx_key key;
    static const uint8_t secret[BLX_KEY_BYTES] = "the secret of the tests' digests";
    if (blx_key_id_is_none(&key.id))
        assert_int_equal(blx_key_set(&key, secret, NULL), 0);
    return &key;
}

struct blx_volume_key test_digest_keys(const char *volume)
{
    struct blx_volume_key keys;
    assert_int_equal(blx_volume_key_derive(test_digest_key(), "web1", volume, &keys, NULL), 0);
    return keys;
}

void test_volume_frame(struct test_volume *volume, const uint64_t *blocks, size_t count)
{
    struct blx_error err = {0};
    struct blx_frame_extent *extents = calloc(count, sizeof(extents[0]));
    uint8_t *data = malloc(count * TEST_BLOCK_BYTES + 1);
    uint32_t used = 0, data_bytes = 0;
    assert_non_null(extents);
    assert_non_null(data);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *block = volume->image + blocks[i] * TEST_BLOCK_BYTES;
        bool zero = is_zero(block);
        struct blx_frame_extent *last = used > 0 ? &extents[used - 1] : NULL;
        if (last != NULL && last->zero == zero &&
            last->extent.start_block + last->extent.block_count == blocks[i])
            last->extent.block_count++;
        else
            extents[used++] = (struct blx_frame_extent){{blocks[i], 1}, zero};
        if (!zero) {
            memcpy(data + data_bytes, block, TEST_BLOCK_BYTES);
            data_bytes += TEST_BLOCK_BYTES;
        }
    }
    struct blx_frame_content content = {
        .codec = volume->mixes_codecs ? (enum blx_codec)(volume->seq % 3) : BLX_CODEC_ZSTD,
        .block_shift = volume->info.block_shift,
        .generation = volume->info.generation,
        .extents = extents,
        .extent_count = used,
        .data = data,
        .data_bytes = data_bytes,
        .key = volume->key,
    };
    test_ok(blx_frame_pack(&content, volume->frame, &volume->frame_bytes, &err), &err);
    blx_frame_seal(volume->frame, ++volume->seq);
    volume->sent_bytes = volume->frame_bytes;
    if (volume->has_digests && volume->key == NULL) {
        const struct blx_volume_key keys = test_digest_keys(volume->info.name);
        const struct blx_frame view = {
            .bytes = volume->frame, .block_shift = content.block_shift, .extent_count = used};
        test_ok(blx_frame_digest(&view, data, &keys, volume->frame + volume->frame_bytes, &err),
                &err);
        volume->sent_bytes += blx_frame_digest_bytes(data_bytes, content.block_shift);
    }
    free(extents);
    free(data);
}

static void append_last(struct test_volume *volume, struct blx_agent_writer *writer)
{
    struct blx_error err = {0};
    test_ok(blx_agent_writer_append(writer, volume->info.volume, volume->frame, volume->sent_bytes,
                                    &err),
            &err);
}

void test_volume_send_all(struct test_volume *volume, struct blx_agent_writer *writer,
                          size_t per_frame)
{
    uint64_t *blocks = calloc(per_frame, sizeof(blocks[0]));
    assert_non_null(blocks);
    for (uint64_t start = 0; start < volume->blocks; start += per_frame) {
        size_t count = 0;
        for (; count < per_frame && start + count < volume->blocks; count++)
            blocks[count] = start + count;
        test_volume_frame(volume, blocks, count);
        append_last(volume, writer);
    }
    free(blocks);
}

void test_volume_send(struct test_volume *volume, struct blx_agent_writer *writer, uint64_t block,
                      uint64_t seed)
{
    test_volume_write(volume, block, seed);
    test_volume_frame(volume, &block, 1);
    append_last(volume, writer);
}

struct blx_agent_writer *test_writer_open(const struct test_store *test,
                                          struct test_volume *const *volumes, size_t count,
                                          struct blx_volume_state *states)
{
    struct blx_error err = {0};
    struct blx_agent_writer *writer = NULL;
    struct blx_volume_state ignored;
    test_ok(blx_agent_writer_open(blx_store_agent(&test->store, "web1"), NULL, &writer, &err),
            &err);
    if (count > 0 && volumes[0]->key != NULL)
        blx_agent_writer_set_key(writer, &volumes[0]->key->id);
    else if (count > 0 && volumes[0]->has_digests)
        blx_agent_writer_set_digest_key(writer, test_digest_key());
    for (size_t i = 0; i < count; i++) {
        volumes[i]->info.volume = (uint32_t)i;
        test_ok(blx_agent_writer_add_volume(writer, &volumes[i]->info,
                                            states == NULL ? &ignored : &states[i], &err),
                &err);
    }
    return writer;
}

blx_timestamp test_writer_commit(struct blx_agent_writer *writer,
                                 struct test_volume *const *volumes, size_t count, uint64_t second)
{
    struct blx_error err = {0};
    struct blx_checkpoint_message cut = {
        .cut_realtime_ns = second * 1000000000,
        .consistency = BLX_CONSISTENCY_FILESYSTEM,
        .volume_count = (uint32_t)count,
        .freeze_ns = 7,
        .note = "a test",
    };
    for (size_t i = 0; i < count; i++)
        cut.last_seq[i] = volumes[i]->seq;
    blx_timestamp timestamp = 0;
    const struct blx_commit_times times = {cut.cut_realtime_ns, cut.cut_realtime_ns};
    test_ok(blx_agent_writer_commit(writer, &cut, &times, &timestamp, &err), &err);
    return timestamp;
}

void test_restores_to(const struct test_store *test, blx_timestamp timestamp, const char *volume,
                      const uint8_t *image, uint64_t size_bytes)
{
    struct blx_error err = {0};
    char path[PATH_MAX];
    struct stat st;
    test_path(test, path, "restored.img");
    struct blx_restore_target target = {.path = path};
    test_ok(
        blx_restore(blx_store_agent(&test->store, "web1"), timestamp, volume, &target, NULL, &err),
        &err);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, size_bytes);
    uint8_t *got = malloc(size_bytes);
    assert_non_null(got);
    assert_int_equal(pread(fd, got, size_bytes, 0), size_bytes);
    for (uint64_t i = 0; i < size_bytes; i++)
        if (got[i] != image[i])
            fail_msg("checkpoint %llu: block %llu differs", (unsigned long long)timestamp,
                     (unsigned long long)i / TEST_BLOCK_BYTES);
    free(got);
    close(fd);
    assert_int_equal(unlink(path), 0);
}

/* Restores call the table from several threads. */
static struct {
    enum test_fault fault;
    unsigned after;
    atomic_uint calls;
} armed;

/* The calls that do not fail. */
static const struct blx_sys *calm = &blx_sys_real;

static bool fails_now(void)
{
    unsigned call = atomic_fetch_add(&armed.calls, 1);
    if (armed.fault == TEST_FAULT_KILL_BEHIND)
        return call > armed.after;
    return armed.fault == TEST_FAULT_FOR_EVER ? call >= armed.after : call == armed.after;
}

static bool refused(void)
{
    if (!fails_now())
        return false;
    if (armed.fault >= TEST_FAULT_KILL_BEFORE)
        _exit(TEST_KILLED);
    errno = EIO;
    return true;
}

static int fault_openat(int dir_fd, const char *path, int flags, mode_t mode)
{
    return refused() ? -1 : blx_sys_real.openat(dir_fd, path, flags, mode);
}

static ssize_t fault_pread(int fd, void *buffer, size_t bytes, off_t offset)
{
    return refused() ? -1 : blx_sys_real.pread(fd, buffer, bytes, offset);
}

/* A write that fails leaves half of it, as a full disk or a crash does. */
static ssize_t fault_pwrite(int fd, const void *buffer, size_t bytes, off_t offset)
{
    if (!fails_now())
        return blx_sys_real.pwrite(fd, buffer, bytes, offset);
    blx_sys_real.pwrite(fd, buffer, bytes / 2, offset);
    if (armed.fault >= TEST_FAULT_KILL_BEFORE)
        _exit(TEST_KILLED);
    errno = ENOSPC;
    return -1;
}

static int fault_fsync(int fd)
{
    return refused() ? -1 : calm->fsync(fd);
}

static int fault_fdatasync(int fd)
{
    return refused() ? -1 : calm->fdatasync(fd);
}

static int fault_ftruncate(int fd, off_t bytes)
{
    return refused() ? -1 : blx_sys_real.ftruncate(fd, bytes);
}

/* A hole that is cut off by a crash may have been made in part. */
static int fault_fallocate(int fd, int mode, off_t offset, off_t bytes)
{
    if (!fails_now())
        return blx_sys_real.fallocate(fd, mode, offset, bytes);
    blx_sys_real.fallocate(fd, mode, offset + bytes / 3, bytes - bytes / 3);
    if (armed.fault >= TEST_FAULT_KILL_BEFORE)
        _exit(TEST_KILLED);
    errno = EIO;
    return -1;
}

static int fault_rename(const char *from, const char *to)
{
    return refused() ? -1 : blx_sys_real.rename(from, to);
}

static int fault_unlink(const char *path)
{
    return refused() ? -1 : blx_sys_real.unlink(path);
}

static int fault_mkdir(const char *path, mode_t mode)
{
    return refused() ? -1 : blx_sys_real.mkdir(path, mode);
}

static int fault_rmdir(const char *path)
{
    return refused() ? -1 : blx_sys_real.rmdir(path);
}

static const struct blx_sys fault_table = {
    .openat = fault_openat,
    .pread = fault_pread,
    .pwrite = fault_pwrite,
    .fsync = fault_fsync,
    .fdatasync = fault_fdatasync,
    .ftruncate = fault_ftruncate,
    .fallocate = fault_fallocate,
    .rename = fault_rename,
    .unlink = fault_unlink,
    .mkdir = fault_mkdir,
    .rmdir = fault_rmdir,
};

static int skip_fsync(int fd)
{
    (void)fd;
    return 0;
}

void test_fsync_off(void)
{
    static struct blx_sys fast;
    fast = blx_sys_real;
    fast.fsync = skip_fsync;
    fast.fdatasync = skip_fsync;
    calm = &fast;
    blx_sys = calm;
}

void test_fault_arm(enum test_fault fault, unsigned after)
{
    armed.fault = fault;
    armed.after = after;
    atomic_store(&armed.calls, 0);
    blx_sys = &fault_table;
}

bool test_fault_disarm(void)
{
    blx_sys = calm;
    return atomic_load(&armed.calls) > armed.after;
}

static bool run_with_error(int (*run)(void *arg), void *arg, enum test_fault fault, unsigned after)
{
    test_fault_arm(fault, after);
    int rc = run(arg);
    bool fired = test_fault_disarm();
    if (!fired)
        assert_int_equal(rc, 0);
    return fired;
}

static bool run_with_kill(int (*run)(void *arg), void *arg, enum test_fault fault, unsigned after)
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        test_fault_arm(fault, after);
        _exit(run(arg) == 0 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == TEST_KILLED || WEXITSTATUS(status) == 0);
    return WEXITSTATUS(status) == TEST_KILLED;
}

bool test_fault_run(int (*run)(void *arg), void *arg, enum test_fault fault, unsigned after)
{
    return fault >= TEST_FAULT_KILL_BEFORE ? run_with_kill(run, arg, fault, after)
                                           : run_with_error(run, arg, fault, after);
}

uint64_t test_random(uint64_t *state)
{
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;
    uint64_t x = *state;
    return (x ^ (x >> 29)) * 0xbf58476d1ce4e5b9ULL >> 16;
}
