/* SPDX-License-Identifier: Apache-2.0 */
/* blxrep-dispatcher: reads the configuration, prepares the process, and runs the daemon. */
#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "config/config.h"
#include "dispatcher/daemon.h"

static int fail(enum blx_exit code, const struct blx_error *err)
{
    fprintf(stderr, "blxrep-dispatcher: %s\n", err->message);
    return (int)code;
}

/* SIGTERM, SIGINT and SIGHUP arrive in the accept loop's poll(). A peer that hangs up is an errno,
 * not a signal. */
static int block_signals(struct blx_error *err)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
        return blx_error_errno(err, -errno, "blocking signals");
    int fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? blx_error_errno(err, -errno, "making a descriptor for signals") : fd;
}

/*
 * A session needs a handful of descriptors. Frames are allocated and freed at up to 1 MiB each. As
 * mappings of their own they go back to the kernel at once, and a small number of arenas keeps
 * hundreds of mostly idle threads from hoarding the rest.
 */
static void prepare_process(void)
{
    blx_raise_file_limit();
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
    mallopt(M_ARENA_MAX, 4);
}

int main(int argc, char **argv)
{
    static const struct blx_config_program program = {
        .name = "blxrep-dispatcher",
        .command = BLX_COMMAND_DISPATCHER,
        .help = {.usage = "blxrep-dispatcher --data-dir=DIR --sync-freq=N [options]",
                 .description = "Receives the disks of all agents and keeps restorable checkpoints "
                                "of them."}};
    blx_log_begin();
    BLX_CLEANUP_CONFIG struct blx_config config = {0};
    BLX_CLEANUP_POLICIES struct blx_policies policies = {0};
    enum blx_config_result result;
    struct blx_error err = {0};

    if (blx_config_begin(&program, argc, argv, stdout, &config, &result, &err) < 0)
        return fail(BLX_EXIT_USAGE, &err);
    if (result != BLX_CONFIG_RUN)
        return BLX_EXIT_OK;
    if (blx_policies_read(config.policy_dir, &policies, &err) < 0)
        return fail(BLX_EXIT_USAGE, &err);
    blx_log_set_format(config.log_format);
    if (config.verbose)
        blx_log_set_level(BLX_LOG_DEBUG);

    prepare_process();
    int signals = block_signals(&err);
    if (signals < 0)
        return fail(BLX_EXIT_FAILED, &err);
    BLX_CLEANUP_FD int signal_fd = signals;
    const struct dispatcher_words words = {argc, argv};
    return dispatcher_daemon_run(&config, words, &policies, signal_fd, &err) < 0
               ? fail(BLX_EXIT_FAILED, &err)
               : BLX_EXIT_OK;
}
