/* SPDX-License-Identifier: Apache-2.0 */
/* Scattered reads, with the kernel's asynchronous I/O and with a filter that refuses it. */
#include "agent/send/reader_private.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "fake_volume.h"

enum { RUNS = 3 };

static const uint64_t blocks[RUNS] = {7, 500, FAKE_BLOCKS - 1};

/* Reads one block a run; whether all are what was written. */
static bool reads_well(struct agent_reader *reader, const struct fake_volume *fake)
{
    const struct agent_source source = {
        .fd = fake->fd,
        .size_bytes = fake->volume.device.size_bytes,
        .logical_block_bytes = fake->volume.device.logical_block_bytes,
    };
    static _Thread_local uint8_t data[RUNS][FAKE_BLOCK_BYTES] __attribute__((aligned(4096)));
    for (size_t i = 0; i < RUNS; i++) {
        uint64_t offset = blocks[i] * FAKE_BLOCK_BYTES;
        reader->runs[i] = (struct agent_run){.offset = offset, .end = offset};
        agent_run_add(&reader->runs[i], data[i], FAKE_BLOCK_BYTES);
    }
    bool well = agent_reader_read(reader, &source, RUNS) == 0;
    for (size_t i = 0; i < RUNS; i++)
        well = well && data[i][0] == 'a' + i && data[i][FAKE_BLOCK_BYTES - 1] == 'a' + i;
    return well;
}

static void write_blocks(struct fake_volume *fake)
{
    fake_volume_make(fake, 0);
    for (size_t i = 0; i < RUNS; i++)
        fake_volume_write(fake, blocks[i], (uint8_t)('a' + i));
}

static void runs_are_handed_to_the_kernel_together(void **state)
{
    (void)state;
    struct fake_volume fake;
    write_blocks(&fake);
    struct agent_reader *reader = agent_reader_prepare();
    assert_non_null(reader);
    assert_true(reader->context != 0);
    assert_true(reads_well(reader, &fake));
    fake_volume_remove(&fake);
}

static void refuse_io_setup(void)
{
    struct sock_filter lines[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog filter = {.len = sizeof(lines) / sizeof(lines[0]), .filter = lines};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0)
        _exit(2);
}

static void *read_in_thread(void *fake)
{
    struct agent_reader *reader = agent_reader_prepare();
    bool well = reader != NULL && reader->context == 0 && reads_well(reader, fake);
    return well ? fake : NULL;
}

/* In a process of its own: a filter stays. Ends with 0 if all was read. */
static _Noreturn void read_without(struct fake_volume *fake, int log_fd)
{
    pthread_t threads[2];
    bool well = dup2(log_fd, STDERR_FILENO) >= 0;
    refuse_io_setup();
    for (size_t i = 0; i < 2; i++) {
        void *result = NULL;
        well = well && pthread_create(&threads[i], NULL, read_in_thread, fake) == 0;
        well = well && pthread_join(threads[i], &result) == 0 && result != NULL;
    }
    _exit(well ? 0 : 1);
}

static void where_a_filter_refuses_it_all_is_read_and_said_once(void **state)
{
    (void)state;
    struct fake_volume fake;
    char log[4096] = "";
    int pipe_fds[2], status = -1;
    write_blocks(&fake);
    assert_int_equal(pipe(pipe_fds), 0);
    pid_t child = fork();
    if (child == 0)
        read_without(&fake, pipe_fds[1]);
    close(pipe_fds[1]);
    assert_true(read(pipe_fds[0], log, sizeof(log) - 1) > 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    close(pipe_fds[0]);
    const char *said =
        strstr(log, "refuses asynchronous reads (io_setup: Operation not permitted)");
    assert_non_null(said);
    assert_null(strstr(said + 1, "refuses asynchronous reads"));
    fake_volume_remove(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_are_handed_to_the_kernel_together),
        cmocka_unit_test(where_a_filter_refuses_it_all_is_read_and_said_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
