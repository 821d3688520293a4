/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
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

/* Fills the pipe that stderr leads to; what was there is read by drain(). */
static void fill_pipe(int fd)
{
    char bytes[4096];
    memset(bytes, '#', sizeof(bytes));
    int flags = fcntl(fd, F_GETFL);
    assert_int_equal(fcntl(fd, F_SETFL, flags | O_NONBLOCK), 0);
    while (write(fd, bytes, sizeof(bytes)) > 0)
        ;
    assert_int_equal(fcntl(fd, F_SETFL, flags), 0);
}

/* All that is in the pipe now. */
static char *drain(int fd)
{
    size_t size = 4 << 20, used = 0;
    char *text = malloc(size);
    assert_non_null(text);
    struct pollfd poller = {.fd = fd, .events = POLLIN};
    while (poll(&poller, 1, 0) > 0) {
        ssize_t got = read(fd, text + used, size - used - 1);
        assert_true(got > 0);
        used += (size_t)got;
    }
    text[used] = '\0';
    return text;
}

static int swap_stderr(int fd)
{
    int before = dup(STDERR_FILENO);
    assert_true(before >= 0);
    assert_int_equal(dup2(fd, STDERR_FILENO), STDERR_FILENO);
    return before;
}

static void swap_back(int before)
{
    assert_int_equal(dup2(before, STDERR_FILENO), STDERR_FILENO);
    close(before);
}

/* A blocking write would hang this test. */
static void expect_lines_after_a_stall(int fds[2], unsigned lines)
{
    char first[64], last[64];
    int before = swap_stderr(fds[1]);
    fill_pipe(fds[1]);
    for (unsigned i = 0; i < lines; i++)
        blx_log_info("line %u of those that nobody reads for a while", i);
    free(drain(fds[0]));
    blx_log_info("the reader is back");
    char *text = drain(fds[0]);
    blx_log_info("and reads on");
    char *rest = drain(fds[0]);
    swap_back(before);
    snprintf(first, sizeof(first), "line 0 of");
    snprintf(last, sizeof(last), "line %u of", lines - 1);
    char *all = malloc(strlen(text) + strlen(rest) + 1);
    strcpy(all, text);
    strcat(all, rest);
    assert_non_null(strstr(all, first));
    const char *told = strstr(all, " log lines were dropped");
    unsigned found = 0, dropped = 0;
    for (const char *at = all; (at = strstr(at, "line ")) != NULL; at++)
        found += strstr(at, " of those") == at + 5 + strspn(at + 5, "0123456789");
    while (told != NULL && told > all && told[-1] >= '0' && told[-1] <= '9')
        told--;
    if (told != NULL)
        dropped = (unsigned)strtoul(told, NULL, 10);
    assert_int_equal(found + dropped, lines);
    assert_true(lines > 1000 || (dropped == 0 && strstr(all, last) != NULL));
    assert_non_null(strstr(all, "the reader is back\n"));
    assert_non_null(strstr(all, "and reads on\n"));
    free(all);
    free(text);
    free(rest);
}

static void lines_wait_for_a_reader_that_does_not_read(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    expect_lines_after_a_stall(fds, 20);
    expect_lines_after_a_stall(fds, 5000);
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    expect_lines_after_a_stall(fds, 20);
    close(fds[0]);
    close(fds[1]);
}

static void lines_that_cannot_be_written_are_counted(void **state)
{
    (void)state;
    char text[512] = "";
    struct rlimit before, small;
    int file = memfd_create("log", MFD_CLOEXEC);
    assert_true(file >= 0);
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){.rlim_cur = 0, .rlim_max = before.rlim_max};
    int saved = swap_stderr(file);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    blx_log_info("one");
    blx_log_info("two");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    blx_log_info("three");
    blx_log_info("four");
    swap_back(saved);
    assert_true(pread(file, text, sizeof(text) - 1, 0) > 0);
    assert_string_equal(text, "warning: 2 log lines were dropped: nobody read them, or they could "
                              "not be written\nthree\nfour\n");
    close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(journal_gets_a_priority),
        cmocka_unit_test(stderr_that_is_not_the_journal_gets_words),
        cmocka_unit_test(lines_wait_for_a_reader_that_does_not_read),
        cmocka_unit_test(lines_that_cannot_be_written_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
