/* SPDX-License-Identifier: Apache-2.0 */
#include "run.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

const char *run_program = BLXREP_PROGRAM;

static void read_back(int fd, char text[RUN_OUTPUT_BYTES])
{
    ssize_t got = pread(fd, text, RUN_OUTPUT_BYTES - 1, 0);
    assert_true(got >= 0);
    text[got] = '\0';
    close(fd);
}

void run_blxrep(struct run *run, ...)
{
    char *argv[RUN_MAX_WORDS + 2] = {(char[]){"blxrep"}};
    int argc = 1;
    va_list words;
    va_start(words, run);
    for (char *word = va_arg(words, char *); word != NULL; word = va_arg(words, char *)) {
        assert_true(argc <= RUN_MAX_WORDS);
        argv[argc++] = word;
    }
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
