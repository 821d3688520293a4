/* SPDX-License-Identifier: Apache-2.0 */
/* Copies elsewhere: a checkpoint is given out whole or not at all, and an agent that is adopted is
 * there whole or not at all. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/io.h"
#include "loop.h"
#include "store/copy/adoption.h"
#include "store/copy/copied.h"
#include "store/copy/copy_source.h"
#include "store/copy/elsewhere.h"
#include "store/copy/segment_number_private.h"
#include "store/segment/segment_part.h"
#include "store_state.h"

enum { MOST_FILES = 4 };

/* A store of two checkpoints, its copy in memory, and a store that adopts it. */
struct copying {
    struct store_state state;
    struct test_store other;
    struct blx_copy_source *source;
    struct blx_copied copied, again;
    void *content;
    size_t bytes;
    char paths[MOST_FILES][PATH_MAX]; /* of the files that were given out, the newest first */
    uint32_t numbers[MOST_FILES];
    size_t files, given;
    struct blx_copy_mark mark, read;
    struct blx_adoption *adoption;
    uint8_t hash[BLX_COPIED_HASH_BYTES];
    char shifted[PATH_MAX];
    struct blx_elsewhere elsewhere;
    int listen_fd;
    pthread_t thread;
};

static struct copying copying;

static struct blx_agent_store agent_of(const struct copying *copy)
{
    return blx_store_agent(&copy->state.test.store, "web1");
}

static void keep_file(struct copying *copy, uint32_t number, int fd, uint64_t bytes)
{
    size_t at = copy->files++;
    char *buffer = malloc(bytes);
    assert_true(at < MOST_FILES && buffer != NULL);
    test_path(&copy->state.test, copy->paths[at], "given-%zu", at);
    assert_int_equal(pread(fd, buffer, bytes, 0), (ssize_t)bytes);
    FILE *file = fopen(copy->paths[at], "w");
    assert_non_null(file);
    assert_int_equal(fwrite(buffer, 1, bytes, file), bytes);
    assert_int_equal(fclose(file), 0);
    free(buffer);
    copy->numbers[at] = number;
}

static int take_file(void *arg, uint32_t number, int fd, uint64_t bytes, struct blx_error *err)
{
    struct copying *copy = arg;
    (void)err;
    keep_file(copy, number, fd, bytes);
    return 0;
}

static int count_file(void *arg, uint32_t number, int fd, uint64_t bytes, struct blx_error *err)
{
    struct copying *copy = arg;
    (void)fd, (void)bytes, (void)err;
    copy->given += number == copy->numbers[copy->given];
    return 0;
}

/* What a copier makes of the newest checkpoint. */
static void make_copied(struct copying *copy)
{
    struct blx_error err = {0};
    struct blx_copied *made = &copy->copied;
    test_ok(blx_copy_source_open(agent_of(copy), copy->state.checkpoints[1], &copy->source, &err),
            &err);
    test_ok(blx_copy_source_each(copy->source, 0, 0, take_file, copy, &err), &err);
    test_ok(blx_manifest_copy(blx_copy_source_manifest(copy->source), &made->manifest, &err), &err);
    struct blx_manifest_volume *entry = &made->manifest.volumes[0];
    free(entry->segments);
    entry->segments = calloc(copy->files + 1, sizeof(entry->segments[0]));
    made->objects = calloc(copy->files + 1, sizeof(made->objects[0]));
    assert_true(entry->segments != NULL && made->objects != NULL);
    for (size_t i = copy->files; i > 0; i--) {
        struct stat st;
        assert_int_equal(stat(copy->paths[i - 1], &st), 0);
        made->objects[made->object_count].bytes = (uint64_t)st.st_size;
        made->objects[made->object_count].hash[0] = (uint8_t)i;
        entry->segments[made->object_count++] = copy->numbers[i - 1];
    }
    entry->segment_count = (uint32_t)copy->files;
    entry->base = true;
    made->manifest.parent = 0;
}

static void setup(void *arg)
{
    struct copying *copy = arg;
    struct blx_error err = {0};
    memset(copy, 0, sizeof(*copy));
    store_state_init(&copy->state);
    test_store_init(&copy->other);
    make_copied(copy);
    copy->mark = (struct blx_copy_mark){.next = 7, .timestamp = copy->state.checkpoints[1]};
    test_ok(blx_copied_encode(&copy->copied, &copy->content, &copy->bytes, &err), &err);
    fault_poison(&copy->again, sizeof(copy->again));
}

static void teardown(void *arg)
{
    struct copying *copy = arg;
    blx_adoption_close(copy->adoption);
    blx_copy_source_close(copy->source);
    blx_copied_done(&copy->copied);
    free(copy->content);
    store_state_check(&copy->state);
    store_state_done(&copy->state);
    test_store_done(&copy->other);
}

static int run_encode(void *arg, struct blx_error *err)
{
    struct copying *copy = arg;
    free(copy->content);
    copy->content = NULL;
    return blx_copied_encode(&copy->copied, &copy->content, &copy->bytes, err);
}

static void check_encode(void *arg, int rc)
{
    const struct copying *copy = arg;
    assert_int_equal(copy->content != NULL, rc == 0);
}

static int run_decode(void *arg, struct blx_error *err)
{
    struct copying *copy = arg;
    return blx_copied_decode(copy->content, copy->bytes, &copy->again, err);
}

static void check_decode(void *arg, int rc)
{
    struct copying *copy = arg;
    assert_true(rc == 0 || rc == -ENOMEM);
    if (rc < 0) {
        fault_assert_poisoned(&copy->again, sizeof(copy->again));
        return;
    }
    assert_int_equal(copy->again.object_count, copy->copied.object_count);
    blx_copied_done(&copy->again);
}

static void setup_open(void *arg)
{
    struct copying *copy = arg;
    setup(arg);
    blx_copy_source_close(copy->source);
    copy->source = NULL;
}

static int run_open(void *arg, struct blx_error *err)
{
    struct copying *copy = arg;
    return blx_copy_source_open(agent_of(copy), copy->state.checkpoints[1], &copy->source, err);
}

static void check_open(void *arg, int rc)
{
    const struct copying *copy = arg;
    assert_int_equal(copy->source != NULL, rc == 0);
}

static int run_each(void *arg, struct blx_error *err)
{
    struct copying *copy = arg;
    return blx_copy_source_each(copy->source, 0, 0, count_file, copy, err);
}

static void check_each(void *arg, int rc)
{
    const struct copying *copy = arg;
    assert_true(rc < 0 || copy->given == copy->files);
}

static int run_write_mark(void *arg, struct blx_error *err)
{
    struct copying *copy = arg;
    return blx_copy_mark_write(agent_of(copy), "vda", "here", &copy->mark, err);
}

static void check_write_mark(void *arg, int rc)
{
    struct copying *copy = arg;
    int found = blx_copy_mark_read(agent_of(copy), "vda", "here", &copy->read, NULL);
    assert_true(found == 1 ? copy->read.next == 7 : found == 0 && rc < 0);
}

static void setup_mark(void *arg)
{
    struct blx_error err = {0};
    setup(arg);
    test_ok(run_write_mark(arg, &err), &err);
}

static int run_read_mark(void *arg, struct blx_error *err)
{
    struct copying *copy = arg;
    int rc = blx_copy_mark_read(agent_of(copy), "vda", "here", &copy->read, err);
    return rc == 1 ? 0 : rc;
}

static void check_read_mark(void *arg, int rc)
{
    const struct copying *copy = arg;
    assert_true(rc < 0 || copy->read.next == 7);
}

static int run_adopt_open(void *arg, struct blx_error *err)
{
    struct copying *copy = arg;
    return blx_adoption_open(&copy->other.store, "web1", BLX_ADOPTION_KEPT, &copy->adoption, err);
}

static void check_adopt_open(void *arg, int rc)
{
    const struct copying *copy = arg;
    assert_int_equal(copy->adoption != NULL, rc == 0);
}

static void setup_adopt(void *arg)
{
    struct blx_error err = {0};
    setup(arg);
    test_ok(run_adopt_open(arg, &err), &err);
}

static int run_add(void *arg, struct blx_error *err)
{
    struct copying *copy = arg;
    return blx_adoption_add(copy->adoption, &copy->copied, copy->hash, err);
}

static void check_add(void *arg, int rc)
{
    const struct copying *copy = arg;
    assert_int_equal(copy->copied.objects != NULL, rc < 0);
}

static void setup_added(void *arg)
{
    struct blx_error err = {0};
    setup_adopt(arg);
    test_ok(run_add(arg, &err), &err);
}

/* A hash is the number of the file that was given out. */
static int fetch(void *arg, const char *volume, uint32_t number,
                 const struct blx_copied_object *object, const char *path, struct blx_error *err)
{
    const struct copying *copy = arg;
    const char *from = copy->paths[object->hash[0] - 1];
    (void)volume, (void)number, (void)err;
    unlink(path);
    assert_int_equal(link(from, path), 0);
    return 0;
}

static int run_fill(void *arg, struct blx_error *err)
{
    struct copying *copy = arg;
    return blx_adoption_fill(copy->adoption, fetch, copy, err);
}

static void check_nothing(void *arg, int rc)
{
    const struct copying *copy = arg;
    (void)rc;
    assert_false(blx_agent_store_exists(blx_store_agent(&copy->other.store, "web1")));
}

static void setup_filled(void *arg)
{
    struct blx_error err = {0};
    setup_added(arg);
    test_ok(run_fill(arg, &err), &err);
}

static int run_finish(void *arg, struct blx_error *err)
{
    struct copying *copy = arg;
    return blx_adoption_finish(copy->adoption, "here", err);
}

static void check_finish(void *arg, int rc)
{
    const struct copying *copy = arg;
    bool is_there = blx_agent_store_exists(blx_store_agent(&copy->other.store, "web1"));
    assert_true(rc < 0 || is_there);
    if (is_there)
        test_restores_to(&copy->other, copy->state.checkpoints[1], "vda", copy->state.images[1],
                         STATE_BYTES);
}

static int run_set_number(void *arg, struct blx_error *err)
{
    struct copying *copy = arg;
    return blx_segment_set_number(copy->paths[0], copy->numbers[0], 77, err);
}

static void check_set_number(void *arg, int rc)
{
    struct copying *copy = arg;
    uint32_t number = 0;
    if (rc < 0)
        return; /* a file without a name of the store's, which the next try fetches again */
    assert_int_equal(blx_segment_peek_number(copy->paths[0], &number, NULL), 0);
    assert_int_equal(number, 77);
}

static void encode(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup, run_encode, check_encode, teardown, 0}, &copying);
}

static void decode(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup, run_decode, check_decode, teardown, 0}, &copying);
}

static void open_source(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup_open, run_open, check_open, teardown, 0}, &copying);
}

static void each(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup, run_each, check_each, teardown, 0}, &copying);
}

static void marks(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup, run_write_mark, check_write_mark, teardown, 0},
               &copying);
    fault_loop(&(struct fault_case){setup_mark, run_read_mark, check_read_mark, teardown, 0},
               &copying);
}

static void adopt(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup, run_adopt_open, check_adopt_open, teardown, 0},
               &copying);
    fault_loop(&(struct fault_case){setup_adopt, run_add, check_add, teardown, 0}, &copying);
    fault_loop(&(struct fault_case){setup_added, run_fill, check_nothing, teardown, 0}, &copying);
    fault_loop(&(struct fault_case){setup_filled, run_finish, check_finish, teardown, 0}, &copying);
}

static const struct blx_elsewhere written = {.place = "https://host/bucket",
                                             .newest = 20260101020304,
                                             .copied_s = 1,
                                             .locked_until_s = 2,
                                             .lock = BLX_COPIED_COMPLIANCE,
                                             .strange_count = 3,
                                             .retained_s = 4};

static int run_write_elsewhere(void *arg, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = blx_elsewhere_path(agent_of(arg), path, err);
    return rc == 0 ? blx_elsewhere_write(agent_of(arg), &written, err) : rc;
}

static void check_write_elsewhere(void *arg, int rc)
{
    struct blx_elsewhere found;
    int is_there = blx_elsewhere_read(agent_of(arg), &found, NULL);
    assert_true(is_there == 1 || (rc < 0 && is_there == 0));
    if (is_there == 1)
        assert_memory_equal(&found, &written, sizeof(found));
}

static void setup_elsewhere(void *arg)
{
    struct blx_error err = {0};
    setup(arg);
    test_ok(blx_elsewhere_write(agent_of(arg), &written, &err), &err);
}

static int run_read_elsewhere(void *arg, struct blx_error *err)
{
    struct copying *copy = arg;
    int rc = blx_elsewhere_read(agent_of(arg), &copy->elsewhere, err);
    return rc < 0 ? rc : 0;
}

static void check_read_elsewhere(void *arg, int rc)
{
    const struct copying *copy = arg;
    assert_true(rc < 0 || copy->elsewhere.newest == written.newest);
}

static void elsewhere(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup, run_write_elsewhere, check_write_elsewhere, teardown, 0},
               &copying);
    fault_loop(&(struct fault_case){setup_elsewhere, run_read_elsewhere, check_read_elsewhere,
                                    teardown, 0},
               &copying);
}

/* The answering side of blx_segment_fetch(). */
static void *say_ok(void *arg)
{
    const int *listen_fd = arg;
    int fd;
    while ((fd = accept(*listen_fd, NULL, NULL)) >= 0) {
        char line[PATH_MAX];
        if (read(fd, line, sizeof(line)) > 0)
            send(fd, "ok", 2, MSG_NOSIGNAL);
        close(fd);
    }
    return NULL;
}

static void setup_fetch(void *arg)
{
    struct copying *copy = arg;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    setup(arg);
    snprintf(address.sun_path, sizeof(address.sun_path), "%.80s/fetch.sock",
             copy->state.test.store.data_dir);
    copy->listen_fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(copy->listen_fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(copy->listen_fd, 8), 0);
    assert_int_equal(pthread_create(&copy->thread, NULL, say_ok, &copy->listen_fd), 0);
}

static void teardown_fetch(void *arg)
{
    struct copying *copy = arg;
    shutdown(copy->listen_fd, SHUT_RDWR);
    pthread_join(copy->thread, NULL);
    close(copy->listen_fd);
    teardown(arg);
}

static int run_fetch(void *arg, struct blx_error *err)
{
    const struct copying *copy = arg;
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/agents/web1/volumes/vda/00000001.seg",
             copy->state.test.store.data_dir);
    return blx_segment_fetch(path, err);
}

/* A part of the newest file that was given out. */
static int run_part(void *arg, struct blx_error *err)
{
    const struct copying *copy = arg;
    struct stat st;
    uint64_t tail = 0;
    char path[PATH_MAX + 8];
    snprintf(path, sizeof(path), "%s.part", copy->paths[0]);
    BLX_CLEANUP_FD int from = open(copy->paths[0], O_RDONLY | O_CLOEXEC);
    BLX_CLEANUP_FD int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(from >= 0 && fd >= 0 && fstat(from, &st) == 0);
    int rc = blx_segment_find_tail(from, (uint64_t)st.st_size, &tail, err);
    if (rc < 0)
        return rc;
    static uint8_t bytes[1 << 20];
    assert_true(tail <= sizeof(bytes));
    assert_int_equal(pread(from, bytes, (size_t)tail, st.st_size - (off_t)tail), (ssize_t)tail);
    return blx_segment_write_part(fd, bytes, (size_t)tail, (uint64_t)st.st_size, err);
}

/* It has the header of the whole one, and is marked. */
static void check_part(void *arg, int rc)
{
    const struct copying *copy = arg;
    struct stat part, whole;
    uint32_t number = 0;
    char path[PATH_MAX + 8];
    snprintf(path, sizeof(path), "%s.part", copy->paths[0]);
    assert_true(stat(path, &part) == 0 && stat(copy->paths[0], &whole) == 0);
    assert_true(rc < 0 || (blx_segment_is_part(&part) && part.st_size == whole.st_size));
    if (rc == 0)
        assert_int_equal(blx_segment_peek_number(path, &number, NULL), 0);
    assert_true(rc < 0 || number == copy->numbers[0]);
    unlink(path);
}

static void check_any(void *arg, int rc)
{
    (void)arg, (void)rc;
}

static void parts(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup, run_part, check_part, teardown, 0}, &copying);
    fault_loop(&(struct fault_case){setup_fetch, run_fetch, check_any, teardown_fetch, 0},
               &copying);
}

static void set_number(void **state)
{
    (void)state;
    fault_loop(&(struct fault_case){setup, run_set_number, check_set_number, teardown, 0},
               &copying);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encode),     cmocka_unit_test(decode),    cmocka_unit_test(open_source),
        cmocka_unit_test(each),       cmocka_unit_test(marks),     cmocka_unit_test(adopt),
        cmocka_unit_test(set_number), cmocka_unit_test(elsewhere), cmocka_unit_test(parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
