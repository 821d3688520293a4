/* SPDX-License-Identifier: Apache-2.0 */
/* What a caged program gets, and what it does not get. */
#include "proof/cage.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

enum { DISK_BYTES = 3 * 1024 * 1024 + 512, DAMAGED = 2 * 1024 * 1024 };

/* Each byte says where it is; a block in the middle cannot be read. */
static int read_pattern(struct files_source *source, uint32_t disk, void *buffer, size_t bytes,
                        uint64_t offset_bytes, struct blx_error *err)
{
    (void)source;
    assert_int_equal(disk, 7);
    assert_true(offset_bytes + bytes <= DISK_BYTES);
    if (offset_bytes <= DAMAGED && offset_bytes + bytes > DAMAGED)
        return blx_error_set(err, -EBADMSG, "a frame is damaged");
    for (size_t i = 0; i < bytes; i++)
        ((uint8_t *)buffer)[i] = (uint8_t)('a' + (offset_bytes + i) % 23);
    return 0;
}

static struct files_source *source(void)
{
    static const struct files_source_kind kind = {.read = read_pattern};
    static struct files_source made = {.kind = &kind};
    return &made;
}

static int run_words(const char *const *words, uint64_t ms, struct proof_cage_end *end,
                     struct blx_error *err)
{
    const struct proof_cage cage = {.words = words,
                                    .package = "a-package",
                                    .blocks = source(),
                                    .disk = 7,
                                    .size_bytes = DISK_BYTES,
                                    .wake_fd = -1,
                                    .deadline_ns = blx_deadline_in_ms(ms)};
    return proof_cage_run(&cage, end, err);
}

#define RUN(end, ...)                                                                              \
    do {                                                                                           \
        struct blx_error err_ = {0};                                                               \
        const char *const words_[] = {__VA_ARGS__, NULL};                                          \
        if (run_words(words_, 60000, end, &err_) != 0)                                             \
            fail_msg("%s", err_.message);                                                          \
    } while (0)

static struct proof_cage_end end;

static void it_reads_the_disk_as_a_file(void **state)
{
    (void)state;
    RUN(&end, "head", "-c", "30", PROOF_CAGE_DISK);
    assert_int_equal(end.status, 0);
    assert_string_equal(end.said, "abcdefghijklmnopqrstuvwabcdefg");
    RUN(&end, "tail", "-c", "3", PROOF_CAGE_DISK); /* it seeks */
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(end.said[i], 'a' + (DISK_BYTES - 3 + i) % 23);
    RUN(&end, "stat", "-L", "-c", "%s", PROOF_CAGE_DISK);
    assert_int_equal(strtol(end.said, NULL, 10), DISK_BYTES);
}

static void damage_is_an_error_of_reading_and_is_told(void **state)
{
    (void)state;
    RUN(&end, "tail", "-c", "+2000000", PROOF_CAGE_DISK);
    assert_int_not_equal(end.status, 0);
    assert_int_equal(end.trouble.code, -EBADMSG);
    assert_string_equal(end.trouble.message, "a frame is damaged");
}

static void what_is_lent_for_reading_cannot_be_written(void **state)
{
    (void)state;
    RUN(&end, "shred", "-n", "1", "-x", "-s", "512", PROOF_CAGE_DISK);
    assert_int_not_equal(end.status, 0);
    assert_non_null(strstr(end.said, "Read-only file system"));
}

/* Even a file that everybody may read. */
static void it_sees_no_other_files(void **state)
{
    (void)state;
    char path[] = "/tmp/blxrep-cage-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(fchmod(fd, 0644), 0);
    assert_int_equal(write(fd, "secret", 6), 6);
    close(fd);
    RUN(&end, "cat", path);
    unlink(path);
    assert_int_not_equal(end.status, 0);
    assert_null(strstr(end.said, "secret"));
    assert_non_null(strstr(end.said, "Permission denied"));
}

static void it_starts_nothing_and_is_nobody(void **state)
{
    (void)state;
    RUN(&end, "sh", "-c", "cat /etc/hostname; echo started");
    assert_non_null(strstr(end.said, "ork"));
    assert_null(strstr(end.said, "started"));
    RUN(&end, "id", "-u");
    assert_int_equal(strtol(end.said, NULL, 10), geteuid() == 0 ? 65534 : geteuid());
}

static void it_ends_at_the_deadline(void **state)
{
    (void)state;
    struct blx_error err = {0};
    static const char *const words[] = {"sleep", "1000", NULL};
    assert_int_equal(run_words(words, 500, &end, &err), -ETIME);
}

static void one_that_is_missing_is_named_with_its_package(void **state)
{
    (void)state;
    struct blx_error err = {0};
    static const char *const words[] = {"blxrep-no-such-checker", NULL};
    assert_int_equal(run_words(words, 60000, &end, &err), -ENOENT);
    assert_non_null(strstr(err.message, "'blxrep-no-such-checker': install the package a-package"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_reads_the_disk_as_a_file),
        cmocka_unit_test(damage_is_an_error_of_reading_and_is_told),
        cmocka_unit_test(what_is_lent_for_reading_cannot_be_written),
        cmocka_unit_test(it_sees_no_other_files),
        cmocka_unit_test(it_starts_nothing_and_is_nobody),
        cmocka_unit_test(it_ends_at_the_deadline),
        cmocka_unit_test(one_that_is_missing_is_named_with_its_package),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
