/* SPDX-License-Identifier: Apache-2.0 */
/* The audit log: a chain of lines, in which a change shows and a crash does not break anything. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/io.h"
#include "store/audit.h"

enum { WRITERS = 4, LINES = 25 };

struct seen {
    uint64_t lines, torn, broken;
    char last[2048];
};

static int see(void *arg, const struct blx_audit_line *line, struct blx_error *err)
{
    struct seen *seen = arg;
    (void)err;
    seen->lines++;
    seen->torn += line->fault == BLX_AUDIT_TORN;
    seen->broken += line->fault == BLX_AUDIT_BROKEN;
    snprintf(seen->last, sizeof(seen->last), "%s", line->text);
    return 0;
}

static struct seen look(const struct test_store *test)
{
    struct seen seen = {0};
    struct blx_error err = {0};
    test_ok(blx_audit_each(test->dir, see, &seen, &err), &err);
    return seen;
}

static void append(const struct test_store *test, const char *event, const char *text)
{
    struct blx_error err = {0};
    const struct blx_audit_entry entry = {.event = event, .agent = "web1", .text = text};
    test_ok(blx_audit_append(test->dir, &entry, &err), &err);
}

static void lines_say_what_was_done_and_follow_each_other(void **state)
{
    (void)state;
    struct test_store test;
    struct blx_error err = {0};
    char value[128];
    const blx_timestamp gone[] = {20261122203600, 20261122203900};
    const struct blx_audit_entry prune = {
        .uid = 998, .event = "prune", .agent = "web1", .checkpoints = gone, .checkpoint_count = 2};
    test_store_init(&test);
    assert_int_equal(look(&test).lines, 0);
    append(&test, "join", "a \"quoted\" \\ text\nof two lines");
    test_ok(blx_audit_append(test.dir, &prune, &err), &err);
    struct seen seen = look(&test);
    assert_int_equal(seen.lines, 2);
    assert_int_equal(seen.torn + seen.broken, 0);
    assert_non_null(strstr(seen.last, "\"checkpoints\": [\"20261122203600\", \"20261122203900\"]"));
    assert_int_equal(blx_audit_value(seen.last, "seq", value, sizeof(value)), 0);
    assert_string_equal(value, "2");
    assert_int_equal(blx_audit_value(seen.last, "event", value, sizeof(value)), 0);
    assert_string_equal(value, "prune");
    assert_int_equal(blx_audit_value(seen.last, "uid", value, sizeof(value)), 0);
    assert_string_equal(value, "998");
    assert_int_equal(blx_audit_value(seen.last, "text", value, sizeof(value)), -ENOENT);
    test_store_done(&test);
}

/* Each byte of each line but the last one is held by the line after it. */
static void a_changed_byte_shows(void **state)
{
    (void)state;
    struct test_store test;
    struct blx_error err = {0};
    char path[PATH_MAX];
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes = 0;
    test_store_init(&test);
    append(&test, "pin", NULL);
    append(&test, "unpin", NULL);
    append(&test, "pause", NULL);
    test_path(&test, path, "audit/00000001.log");
    test_ok(blx_file_read(path, 1 << 20, &content, &bytes, &err), &err);
    char *text = content;
    size_t guarded = (size_t)((char *)memrchr(text, '\n', bytes - 1) - text);
    for (size_t i = 0; i < guarded; i++) {
        text[i] ^= 1;
        test_ok(blx_file_replace(path, text, bytes, 0640, &err), &err);
        struct seen seen = look(&test);
        assert_true(seen.torn + seen.broken > 0);
        text[i] ^= 1;
    }
    test_ok(blx_file_replace(path, text, bytes, 0640, &err), &err);
    assert_int_equal(look(&test).broken, 0);
    test_store_done(&test);
}

static void a_torn_line_stays_and_the_chain_goes_on(void **state)
{
    (void)state;
    struct test_store test;
    char path[PATH_MAX];
    test_store_init(&test);
    append(&test, "pin", NULL);
    test_path(&test, path, "audit/00000001.log");
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "{\"seq\": 2, \"ti", 14), 14);
    close(fd);
    append(&test, "unpin", NULL);
    append(&test, "pause", NULL);
    struct seen seen = look(&test);
    assert_int_equal(seen.lines, 4);
    assert_int_equal(seen.torn, 1);
    assert_int_equal(seen.broken, 0);
    test_store_done(&test);
}

static void a_full_file_is_followed_by_the_next_one(void **state)
{
    (void)state;
    struct test_store test;
    struct blx_error err = {0};
    char path[PATH_MAX];
    BLX_CLEANUP_FREE char *long_text = malloc(BLX_AUDIT_FILE_BYTES + 1);
    test_store_init(&test);
    memset(long_text, 'x', BLX_AUDIT_FILE_BYTES);
    long_text[BLX_AUDIT_FILE_BYTES] = '\0';
    const struct blx_audit_entry entry = {.event = "note", .text = long_text};
    test_ok(blx_audit_append(test.dir, &entry, &err), &err);
    append(&test, "pin", NULL);
    append(&test, "unpin", NULL);
    test_path(&test, path, "audit/00000002.log");
    assert_int_equal(access(path, R_OK), 0);
    struct seen seen = look(&test);
    assert_int_equal(seen.lines, 3);
    assert_int_equal(seen.broken, 0);
    /* The older file was moved away: the chain begins with what is left. */
    test_path(&test, path, "audit/00000001.log");
    assert_int_equal(unlink(path), 0);
    seen = look(&test);
    assert_int_equal(seen.lines, 2);
    assert_int_equal(seen.broken, 0);
    test_store_done(&test);
}

/* Its size was durable, and a sector of it was not. */
static void a_line_whose_sectors_a_power_cut_lost_is_torn(void **state)
{
    (void)state;
    static const char zeros[512];
    struct test_store test;
    struct stat st;
    char path[PATH_MAX], long_text[2048] = "", value[32];
    memset(long_text, 'x', sizeof(long_text) - 1);
    for (int at_start = 0; at_start <= 1; at_start++) {
        test_store_init(&test);
        append(&test, "pin", NULL);
        test_path(&test, path, "audit/00000001.log");
        assert_int_equal(stat(path, &st), 0);
        append(&test, "note", long_text);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        assert_int_equal(pwrite(fd, zeros, sizeof(zeros), st.st_size + (at_start ? 0 : 700)), 512);
        close(fd);
        append(&test, "unpin", NULL);
        append(&test, "pause", NULL);
        struct seen seen = look(&test);
        assert_int_equal(seen.lines, 4);
        assert_int_equal(seen.torn, 1);
        assert_int_equal(seen.broken, 0);
        /* The numbers go on from the last one that is known. */
        assert_int_equal(blx_audit_value(seen.last, "seq", value, sizeof(value)), 0);
        assert_int_equal(strtoul(value, NULL, 10), at_start ? 3 : 4);
        test_store_done(&test);
    }
}

/* A crash, or a full disk, came after the file was made. */
static void a_file_without_a_line_continues_the_one_before(void **state)
{
    (void)state;
    struct test_store test;
    struct seen seen;
    char path[PATH_MAX], value[32];
    test_store_init(&test);
    append(&test, "pin", NULL);
    test_path(&test, path, "audit/00000001.log");
    int fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(fd, "{\"seq\": 2, \"ti", 14), 14);
    close(fd);
    test_path(&test, path, "audit/00000002.log");
    fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0640);
    assert_true(fd >= 0);
    close(fd);
    append(&test, "unpin", NULL);
    append(&test, "pause", NULL);
    seen = look(&test);
    assert_int_equal(seen.lines, 4);
    assert_int_equal(seen.torn, 1);
    assert_int_equal(seen.broken, 0);
    assert_int_equal(blx_audit_value(seen.last, "seq", value, sizeof(value)), 0);
    assert_string_equal(value, "4");
    test_store_done(&test);
}

static void many_processes_append_to_one_chain(void **state)
{
    (void)state;
    struct test_store test;
    pid_t writers[WRITERS];
    test_store_init(&test);
    for (size_t i = 0; i < WRITERS; i++) {
        writers[i] = fork();
        assert_true(writers[i] >= 0);
        if (writers[i] == 0) {
            const struct blx_audit_entry entry = {.event = "pin", .agent = "web1"};
            int rc = 0;
            for (size_t n = 0; rc == 0 && n < LINES; n++)
                rc = blx_audit_append(test.dir, &entry, NULL);
            _exit(rc == 0 ? 0 : 1);
        }
    }
    for (size_t i = 0; i < WRITERS; i++) {
        int status;
        assert_int_equal(waitpid(writers[i], &status, 0), writers[i]);
        assert_int_equal(status, 0);
    }
    struct seen seen = look(&test);
    assert_int_equal(seen.lines, WRITERS * LINES);
    assert_int_equal(seen.torn + seen.broken, 0);
    char value[32];
    assert_int_equal(blx_audit_value(seen.last, "seq", value, sizeof(value)), 0);
    assert_int_equal(strtoul(value, NULL, 10), WRITERS * LINES);
    test_store_done(&test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_say_what_was_done_and_follow_each_other),
        cmocka_unit_test(a_changed_byte_shows),
        cmocka_unit_test(a_torn_line_stays_and_the_chain_goes_on),
        cmocka_unit_test(a_line_whose_sectors_a_power_cut_lost_is_torn),
        cmocka_unit_test(a_file_without_a_line_continues_the_one_before),
        cmocka_unit_test(a_full_file_is_followed_by_the_next_one),
        cmocka_unit_test(many_processes_append_to_one_chain),
    };
    return cmocka_run_group_tests_name("store/audit", tests, NULL, NULL);
}
