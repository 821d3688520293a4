/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"

/* A warning as it is written while $JOURNAL_STREAM names `inode` of our stderr's device. */
static void log_with_stream(int inode_offset, char line[256])
{
    char stream[64];
    struct stat status;
    int before = dup(STDERR_FILENO);
    int file = memfd_create("log", MFD_CLOEXEC);
    assert_true(before >= 0 && file >= 0);
    assert_int_equal(fstat(file, &status), 0);
    snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)status.st_dev,
             (uintmax_t)status.st_ino + (uintmax_t)inode_offset);
    setenv("JOURNAL_STREAM", stream, 1);
    dup2(file, STDERR_FILENO);
    blx_log_warning("the disk is full");
    dup2(before, STDERR_FILENO);
    unsetenv("JOURNAL_STREAM");
    ssize_t got = pread(file, line, 255, 0);
    assert_true(got > 0);
    line[got] = '\0';
    close(before);
    close(file);
}

static void journal_gets_a_priority(void **state)
{
    (void)state;
    char line[256];
    log_with_stream(0, line);
    assert_string_equal(line, "<4>the disk is full\n");
}

static void stderr_that_is_not_the_journal_gets_words(void **state)
{
    (void)state;
    char line[256];
    log_with_stream(1, line);
    assert_string_equal(line, "warning: the disk is full\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(journal_gets_a_priority),
        cmocka_unit_test(stderr_that_is_not_the_journal_gets_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
