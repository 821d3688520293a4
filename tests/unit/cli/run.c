/* SPDX-License-Identifier: Apache-2.0 */
#include "run.h"

#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

const char *run_program = BLXREP_PROGRAM;
const char *run_question, *run_typed;

static void read_back(int fd, char text[RUN_OUTPUT_BYTES])
{
    ssize_t got = pread(fd, text, RUN_OUTPUT_BYTES - 1, 0);
    assert_true(got >= 0);
    text[got] = '\0';
    close(fd);
}

static void collect(char *argv[RUN_MAX_WORDS + 2], va_list words)
{
    static char name[] = "blxrep";
    int argc = 0;
    argv[argc++] = name;
    for (char *word = va_arg(words, char *); word != NULL; word = va_arg(words, char *)) {
        assert_true(argc <= RUN_MAX_WORDS);
        argv[argc++] = word;
    }
    argv[argc] = NULL;
}

static void read_terminal(int fd, char text[RUN_OUTPUT_BYTES])
{
    const char *typed = run_typed;
    size_t used = 0;
    ssize_t got;
    char byte;
    while ((got = read(fd, &byte, 1)) == 1) { /* EIO: nobody has it open any more */
        if (byte == '\r')
            continue;
        assert_true(used + 1 < RUN_OUTPUT_BYTES);
        text[used++] = byte;
        text[used] = '\0';
        if (typed != NULL && strstr(text, run_question) != NULL) {
            assert_int_equal(write(fd, typed, strlen(typed)), strlen(typed));
            typed = NULL;
        }
    }
    text[used] = '\0';
}

void run_blxrep_on_terminal(struct run *run, unsigned columns, ...)
{
    char *argv[RUN_MAX_WORDS + 2];
    va_list words;
    va_start(words, columns);
    collect(argv, words);
    va_end(words);
    const struct winsize size = {.ws_col = (unsigned short)columns, .ws_row = 50};
    int fd = -1;
    pid_t child = forkpty(&fd, NULL, NULL, &size);
    assert_true(child >= 0);
    if (child == 0) {
        execv(run_program, argv);
        _exit(127);
    }
    read_terminal(fd, run->out);
    close(fd);
    run->err[0] = '\0';
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    run->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void run_blxrep(struct run *run, ...)
{
    char *argv[RUN_MAX_WORDS + 2];
    va_list words;
    va_start(words, run);
    collect(argv, words);
    va_end(words);

    int out = memfd_create("out", MFD_CLOEXEC);
    int err = memfd_create("err", MFD_CLOEXEC);
    assert_true(out >= 0 && err >= 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(out, STDOUT_FILENO);
        dup2(err, STDERR_FILENO);
        execv(run_program, argv);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    run->status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    read_back(out, run->out);
    read_back(err, run->err);
}

void run_ended(const struct run *run, int status, const char *text)
{
    const char *end = strchr(run->err, '\n');
    bool one_line = end != NULL && end[1] == '\0';
    bool told = text == NULL ? run->err[0] == '\0' : one_line && strstr(run->err, text) != NULL;
    if (run->status != status || !told)
        fail_msg("status %d (wanted %d, '%s'), stdout:\n%s\nstderr:\n%s", run->status, status,
                 text != NULL ? text : "", run->out, run->err);
}
