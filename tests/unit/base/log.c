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
#include <sys/un.h>
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

/* What is written to a stderr that is not the journal. */
static void log_in(enum blx_log_format format, char line[512])
{
    static const struct blx_log_about about = {.agent = "web1", .event = "agent-lost"};
    int before = dup(STDERR_FILENO);
    int file = memfd_create("log", MFD_CLOEXEC);
    assert_true(before >= 0 && file >= 0);
    blx_log_set_format(format);
    dup2(file, STDERR_FILENO);
    blx_log_about(BLX_LOG_WARNING, &about, "it is \"gone\"");
    dup2(before, STDERR_FILENO);
    blx_log_set_format(BLX_LOG_PLAIN);
    ssize_t got = pread(file, line, 511, 0);
    assert_true(got > 0);
    line[got] = '\0';
    close(before);
    close(file);
}

static void daemons_have_times_unless_the_journal_has_them(void **state)
{
    (void)state;
    char line[512];
    int year = 0, day = 0;
    char sign = 0, rest[64] = "";
    log_in(BLX_LOG_TIMED, line);
    assert_int_equal(
        sscanf(line, "%4d-%*2d-%2d %*2d:%*2d:%*2d %c%*2d:%*2d %63[^\n]", &year, &day, &sign, rest),
        4);
    assert_true(year > 2000 && day > 0 && (sign == '+' || sign == '-'));
    assert_string_equal(rest, "warning: it is \"gone\"");
    blx_log_set_format(BLX_LOG_TIMED);
    log_with_stream(0, line);
    blx_log_set_format(BLX_LOG_PLAIN);
    assert_string_equal(line, "<4>the disk is full\n");
}

static void json_is_one_object_in_a_line(void **state)
{
    (void)state;
    char line[512];
    log_in(BLX_LOG_JSON, line);
    assert_true(strncmp(line, "{\"time\": \"", 10) == 0);
    assert_non_null(strstr(line, "Z\", \"level\": \"warning\", \"agent\": \"web1\", \"event\": "
                                 "\"agent-lost\", \"message\": \"it is \\\"gone\\\"\"}\n"));
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
}

static void journal_gets_the_fields_of_an_event(void **state)
{
    (void)state;
    static const struct blx_log_about about = {
        .agent = "web1", .event = "agent-lost", .message_id = "0123456789abcdef0123456789abcdef"};
    struct sockaddr_un own = {.sun_family = AF_UNIX};
    char stream[64], entry[512] = "";
    struct stat status;
    snprintf(own.sun_path, sizeof(own.sun_path), "/tmp/blxrep-log-test.%d", (int)getpid());
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_int_equal(bind(fd, (const struct sockaddr *)&own, sizeof(own)), 0);
    assert_int_equal(fstat(STDERR_FILENO, &status), 0);
    snprintf(stream, sizeof(stream), "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    blx_log_set_journal(own.sun_path);
    blx_log_about(BLX_LOG_WARNING, &about, "it is gone");
    unsetenv("JOURNAL_STREAM");
    ssize_t got = recv(fd, entry, sizeof(entry) - 1, 0);
    unlink(own.sun_path);
    close(fd);
    assert_true(got > 0);
    assert_non_null(strstr(entry, "MESSAGE=it is gone\nPRIORITY=4\n"));
    assert_non_null(strstr(entry, "\nBLXREP_AGENT=web1\nBLXREP_EVENT=agent-lost\n"
                                  "MESSAGE_ID=0123456789abcdef0123456789abcdef\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(journal_gets_a_priority),
        cmocka_unit_test(stderr_that_is_not_the_journal_gets_words),
        cmocka_unit_test(lines_wait_for_a_reader_that_does_not_read),
        cmocka_unit_test(lines_that_cannot_be_written_are_counted),
        cmocka_unit_test(daemons_have_times_unless_the_journal_has_them),
        cmocka_unit_test(json_is_one_object_in_a_line),
        cmocka_unit_test(journal_gets_the_fields_of_an_event),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
