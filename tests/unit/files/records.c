/* SPDX-License-Identifier: Apache-2.0 */
/* What the reader of a hostile filesystem may say, and what ends the copy. */
#include "files/records.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    int fd; /* a file in memory takes the pipe's place */
    struct files_sender sender;
};

static int setup(void **state)
{
    static struct fixture fixture;
    fixture.fd = memfd_create("records", MFD_CLOEXEC);
    assert_true(fixture.fd >= 0);
    assert_int_equal(files_sender_init(&fixture.sender, fixture.fd), 0);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    files_sender_done(&f->sender);
    close(f->fd);
    return 0;
}

static struct files_entry folder(const char *path)
{
    return (struct files_entry){
        .stat = {.mode = S_IFDIR | 0755, .links = 2}, .path = path, .target = ""};
}

static struct files_entry file(const char *path)
{
    return (struct files_entry){
        .stat = {.mode = S_IFREG | 0644, .links = 1}, .path = path, .target = ""};
}

static struct files_entry symbolic(const char *path, const char *target)
{
    return (struct files_entry){.stat = {.mode = S_IFLNK | 0777, .links = 1},
                                .link = FILES_LINK_SYMBOLIC,
                                .path = path,
                                .target = target};
}

static struct files_entry hard(const char *path, const char *target)
{
    struct files_entry entry = file(path);
    entry.link = FILES_LINK_HARD;
    entry.target = target;
    return entry;
}

static void send_top(struct fixture *f, const char *path)
{
    assert_int_equal(files_send_text(&f->sender, FILES_RECORD_TOP, path), 0);
}

static void send_entry(struct fixture *f, struct files_entry entry)
{
    assert_int_equal(files_send_entry(&f->sender, &entry), 0);
}

/* How the stream ends: 0 with END, or the error. Begins again afterwards. */
static int receive(struct fixture *f, size_t *entries, struct blx_error *err)
{
    struct files_receiver *receiver = files_receiver_new(f->fd);
    struct files_record record = {0};
    assert_non_null(receiver);
    assert_int_equal(lseek(f->fd, 0, SEEK_SET), 0);
    *entries = 0;
    int rc = 0;
    do {
        rc = files_receive(receiver, &record, err);
        *entries += rc == 0 && record.kind == FILES_RECORD_ENTRY;
    } while (rc == 0 && record.kind != FILES_RECORD_END && record.kind != FILES_RECORD_FAILED);
    files_receiver_free(receiver);
    assert_int_equal(ftruncate(f->fd, 0), 0);
    assert_int_equal(lseek(f->fd, 0, SEEK_SET), 0);
    return rc;
}

static void accepted(struct fixture *f, size_t entries)
{
    struct blx_error err = {0};
    size_t seen;
    assert_int_equal(files_send_end(&f->sender), 0);
    int rc = receive(f, &seen, &err);
    if (rc != 0)
        print_error("%s\n", err.message);
    assert_int_equal(rc, 0);
    assert_int_equal(seen, entries);
}

/* After `entries` good ones. */
static void refused(struct fixture *f, size_t entries, const char *rule)
{
    struct blx_error err = {0};
    size_t seen;
    assert_int_equal(files_send_end(&f->sender), 0);
    assert_int_equal(receive(f, &seen, &err), -EBADMSG);
    assert_int_equal(seen, entries);
    if (strstr(err.message, rule) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", err.message, rule);
}

static void a_wish_for_a_kernel_comes_before_everything(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(files_send_text(&f->sender, FILES_RECORD_KERNEL, "it holds xfs"), 0);
    accepted(f, 0);
    send_top(f, "a");
    assert_int_equal(files_send_text(&f->sender, FILES_RECORD_KERNEL, "it holds xfs"), 0);
    refused(f, 0, "after it had begun");
    assert_int_equal(files_send_heading(&f->sender, "/", "/dev/vda", "ext4"), 0);
    assert_int_equal(files_send_text(&f->sender, FILES_RECORD_KERNEL, "it holds xfs"), 0);
    refused(f, 0, "after it had begun");
}

static void a_tree_is_taken(void **state)
{
    struct fixture *f = *state;
    const struct files_segment segments[] = {{0, 4}, {100, 3}};
    struct files_entry first = file("a/b/c");
    first.stat.size_bytes = 200;
    first.stat.links = 2;
    first.segments = segments;
    first.segment_count = 2;
    send_top(f, "a");
    send_top(f, "z");
    send_entry(f, folder("a"));
    send_entry(f, folder("a/b"));
    send_entry(f, first);
    assert_int_equal(files_send_data(&f->sender, 0, "1234", 4), 0);
    assert_int_equal(files_send_text(&f->sender, FILES_RECORD_NOTE, "anything"), 0);
    assert_int_equal(files_send_data(&f->sender, 100, "56", 2), 0);
    assert_int_equal(files_send_data(&f->sender, 102, "7", 1), 0);
    send_entry(f, folder("a/b/d"));
    send_entry(f, hard("a/again", "a/b/c"));
    send_entry(f, symbolic("z", "../../../etc/passwd")); /* it may point anywhere */
    accepted(f, 6);
}

static void paths_stay_inside(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"/etc", "..", "../x", "a/../b", "a/./b",
                                      ".",    "",   "a//b", "a/"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        send_top(f, bad[i]);
        refused(f, 0, "a name at the top");
        send_top(f, "a");
        send_entry(f, folder("a"));
        send_entry(f, file(bad[i]));
        refused(f, 1, "path");
    }
    char name[300];
    memset(name, 'x', sizeof(name));
    name[256] = '\0';
    send_top(f, name);
    refused(f, 0, "a name at the top");
}

static void entries_lie_in_folders_that_are_told(void **state)
{
    struct fixture *f = *state;
    send_top(f, "a");
    send_entry(f, symbolic("a", "/etc"));
    send_entry(f, file("a/passwd"));
    refused(f, 1, "outside");
    send_top(f, "a");
    send_entry(f, folder("a"));
    send_entry(f, folder("a/b"));
    send_entry(f, symbolic("a/b", "/etc")); /* in the folder's place */
    send_entry(f, file("a/b/passwd"));
    refused(f, 3, "outside");
    send_top(f, "a");
    send_entry(f, folder("a"));
    send_entry(f, file("b"));
    refused(f, 1, "outside");
    send_top(f, "a");
    send_entry(f, folder("a"));
    send_entry(f, file("a/b/c"));
    refused(f, 1, "outside");
    send_top(f, "a");
    send_entry(f, folder("a"));
    send_entry(f, file("ab/c"));
    refused(f, 1, "outside");
    send_top(f, "a");
    send_entry(f, file("b"));
    refused(f, 0, "outside");
    send_top(f, "a");
    refused(f, 0, "an end before everything came");
}

static void hard_links_lead_to_what_was_there(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"/etc/passwd", "../x", "a/c", "a", ""};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        send_top(f, "a");
        send_entry(f, folder("a"));
        send_entry(f, file("a/c")); /* it has one name */
        send_entry(f, hard("a/b", bad[i]));
        refused(f, 2, "a hard link");
    }
}

static void kinds_and_sizes_are_checked(void **state)
{
    struct fixture *f = *state;
    struct files_entry entries[6];
    for (size_t i = 0; i < 6; i++)
        entries[i] = file("a");
    entries[0].stat.mode = 0644;
    entries[1].stat.mode = S_IFREG | 0200000;
    entries[2].stat.size_bytes = FILES_MAX_SIZE_BYTES + 1;
    entries[3].stat.mtime_ns = 1000000000;
    entries[4].link = FILES_LINK_SYMBOLIC;
    entries[4].target = "x";
    entries[5].target = "x";
    for (size_t i = 0; i < 6; i++) {
        send_top(f, "a");
        send_entry(f, entries[i]);
        refused(f, 0, "a");
    }
    send_top(f, "a");
    send_entry(f, symbolic("a", ""));
    refused(f, 0, "a symbolic link to nothing");
}

static void send_segments(struct fixture *f, struct files_entry entry,
                          struct files_segment segments[2], size_t count)
{
    entry.stat.size_bytes = 100;
    entry.segments = segments;
    entry.segment_count = count;
    send_top(f, "a");
    send_entry(f, entry);
}

static void data_fits_the_segments(void **state)
{
    struct fixture *f = *state;
    struct files_segment bad[][2] = {{{0, 101}},        {{100, 1}}, {{UINT64_MAX, 2}},
                                     {{0, UINT64_MAX}}, {{0, 0}},   {{10, 10}, {19, 1}}};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        send_segments(f, file("a"), bad[i], bad[i][1].bytes > 0 ? 2 : 1);
        refused(f, 0, "segments");
    }
    struct files_segment good[2] = {{10, 10}};
    send_segments(f, folder("a"), good, 1);
    refused(f, 0, "segments");
    send_segments(f, file("a"), good, 1);
    refused(f, 1, "an end before everything came");
    static const struct {
        uint64_t offset;
        size_t bytes;
    } data[] = {{0, 10}, {10, 11}, {11, 9}, {20, 1}, {10, 0}};
    for (size_t i = 0; i < sizeof(data) / sizeof(data[0]); i++) {
        send_segments(f, file("a"), good, 1);
        assert_int_equal(
            files_send_data(&f->sender, data[i].offset, "12345678901234567890", data[i].bytes), 0);
        refused(f, 1, "data");
    }
}

static void attributes_are_bounded(void **state)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"", "user.", "system.data", "nothing", "system.posix_acl_x"};
    static char large[FILES_ATTRIBUTE_MAX_BYTES + 1];
    for (size_t i = 0; i <= sizeof(bad) / sizeof(bad[0]); i++) {
        bool last = i == sizeof(bad) / sizeof(bad[0]);
        struct files_attribute attribute = {
            .name = last ? "user.x" : bad[i], .value = large, .bytes = last ? sizeof(large) : 1};
        struct files_entry entry = file("a");
        entry.attributes = &attribute;
        entry.attribute_count = 1;
        send_top(f, "a");
        send_entry(f, entry);
        refused(f, 0, "an attribute");
    }
}

static void a_cut_stream_is_not_whole(void **state)
{
    struct fixture *f = *state;
    send_top(f, "a");
    send_entry(f, folder("a"));
    off_t whole = lseek(f->fd, 0, SEEK_CUR);
    for (off_t bytes = 0; bytes <= whole; bytes++) {
        struct blx_error err = {0};
        size_t entries;
        assert_int_equal(ftruncate(f->fd, bytes), 0);
        assert_int_equal(receive(f, &entries, &err), -ENODATA);
        send_top(f, "a");
        send_entry(f, folder("a"));
    }
}

/* Whatever the bytes are, it ends, and takes nothing that breaks a rule. */
static void changed_bytes_are_survived(void **state)
{
    struct fixture *f = *state;
    static char clean[4096], changed[4096];
    const struct files_attribute attribute = {.name = "user.x", .value = "abc", .bytes = 3};
    const struct files_segment segment = {2, 4};
    struct files_entry entry = file("a/b");
    entry.stat.size_bytes = 10;
    entry.attributes = &attribute;
    entry.attribute_count = entry.segment_count = 1;
    entry.segments = &segment;
    send_top(f, "a");
    send_entry(f, folder("a"));
    send_entry(f, entry);
    assert_int_equal(files_send_data(&f->sender, 2, "1234", 4), 0);
    assert_int_equal(files_send_end(&f->sender), 0);
    size_t bytes = (size_t)lseek(f->fd, 0, SEEK_CUR);
    assert_int_equal(pread(f->fd, clean, sizeof(clean), 0), bytes);
    srand(7);
    for (int turn = 0; turn < 1000; turn++) {
        struct blx_error err = {0};
        size_t entries;
        memcpy(changed, clean, bytes);
        for (int i = 0; i < 1 + turn % 3; i++)
            changed[(size_t)rand() % bytes] = (char)rand();
        assert_int_equal(ftruncate(f->fd, 0), 0);
        assert_int_equal(pwrite(f->fd, changed, bytes, 0), bytes);
        int rc = receive(f, &entries, &err);
        assert_true(rc == 0 || rc == -EBADMSG || rc == -ENODATA);
    }
}

static void send_changes(struct fixture *f, uint64_t written_bytes)
{
    const struct files_changes changes = {.device = "/dev/vda1",
                                          .filesystem = "ext4",
                                          .size_bytes = 1000,
                                          .written_bytes = written_bytes,
                                          .files_bytes = written_bytes,
                                          .file_count = 3,
                                          .tells_files = 1};
    assert_int_equal(files_send_changes(&f->sender, &changes), 0);
}

static void send_changed(struct fixture *f, const char *path, uint64_t written_bytes)
{
    assert_int_equal(files_send_changed(&f->sender, path, written_bytes, 5000), 0);
}

static void a_comparison_is_bounded_and_ordered(void **state)
{
    struct fixture *f = *state;
    send_changes(f, 900);
    send_changed(f, "a/b", 500);
    send_changed(f, "c", 500);
    send_changes(f, 900);
    send_changed(f, "c", 900);
    accepted(f, 0);
    send_changed(f, "a", 500);
    refused(f, 0, "a changed file");
    send_changes(f, 900);
    send_changed(f, "a", 901); /* more than was written */
    refused(f, 0, "a changed file");
    send_changes(f, UINT64_MAX); /* more than there is, and so its files */
    send_changed(f, "a", 1001);
    refused(f, 0, "a changed file");
    send_changes(f, 900);
    send_changed(f, "a", 100);
    send_changed(f, "b", 200);
    refused(f, 0, "a changed file");
    send_changes(f, 900);
    send_changed(f, "../a", 100);
    refused(f, 0, "a changed file");
    send_changes(f, 900);
    for (size_t i = 0; i <= FILES_MOST_FILES; i++)
        send_changed(f, "a", 100);
    refused(f, 0, "a changed file");
    send_changes(f, 900);
    send_entry(f, folder("a"));
    refused(f, 0, "an entry in a comparison");
    send_top(f, "a");
    send_changes(f, 900);
    refused(f, 0, "changes in a copy");
    struct files_changes endless = {.tells_files = 1};
    memset(endless.device, 'x', sizeof(endless.device));
    assert_int_equal(files_send_changes(&f->sender, &endless), 0);
    refused(f, 0, "changes");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_wish_for_a_kernel_comes_before_everything),
        TEST(a_tree_is_taken),
        TEST(paths_stay_inside),
        TEST(entries_lie_in_folders_that_are_told),
        TEST(hard_links_lead_to_what_was_there),
        TEST(kinds_and_sizes_are_checked),
        TEST(data_fits_the_segments),
        TEST(attributes_are_bounded),
        TEST(a_cut_stream_is_not_whole),
        TEST(changed_bytes_are_survived),
        TEST(a_comparison_is_bounded_and_ordered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
