/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/jobs.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/become.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/log.h"
#include "base/program.h"
#include "base/text.h"
#include "crypt/keyring.h"

enum { FIXED_WORDS = 16, END_LOOK_MS = 10 * 1000 };

struct words {
    char *list[FIXED_WORDS + BLX_KEYRING_MAX + 1]; /* owned; NULL ends them */
    size_t count;
    bool no_memory;
};

static void words_done(struct words *words)
{
    for (size_t i = 0; i < words->count; i++)
        free(words->list[i]);
}

static void add(struct words *words, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct words *words, const char *format, ...)
{
    va_list list;
    va_start(list, format);
    if (vasprintf(&words->list[words->count], format, list) < 0) {
        words->list[words->count] = NULL;
        words->no_memory = true;
    } else {
        words->count++;
    }
    va_end(list);
}

static int make_words(const struct blx_config *config, const struct proof_plan_agent *agent,
                      struct words *words, struct blx_error *err)
{
    static const char *const accelerators[] = {
        [BLX_BOOT_AUTO] = "auto", [BLX_BOOT_KVM] = "kvm", [BLX_BOOT_EMULATED] = "none"};
    const struct blx_policy_test *test = &agent->test;
    char folder[PATH_MAX];
    int rc = blx_own_folder(folder, err);
    if (rc < 0)
        return rc;
    if (config->key_count > BLX_KEYRING_MAX)
        return blx_error_set(err, -E2BIG, "at most %d keys are taken: leave some out",
                             BLX_KEYRING_MAX);
    add(words, "%s/blxrep-test", folder);
    add(words, "--agent=%s", agent->agent_id);
    add(words, "--checkpoint=%" PRIu64, agent->untested);
    add(words, "--json");
    add(words, "--data-dir=%s", config->data_dir);
    add(words, "--level=%" PRIu64, test->level);
    add(words, "--within=%" PRIu64 "ms", test->within_ms);
    add(words, "--memory=%" PRIu64, config->memory_bytes);
    add(words, "--accelerator=%s", accelerators[config->accelerator]);
    if (test->expect[0] != '\0')
        add(words, "--expect=%s", test->expect);
    if (test->command[0] != '\0')
        add(words, "--command=%s", test->command);
    if (config->config_path != NULL)
        add(words, "--config=%s", config->config_path);
    for (size_t i = 0; i < config->key_count; i++)
        add(words, "--key=%s", config->keys[i]);
    return words->no_memory ? blx_error_errno(err, -ENOMEM, "cannot start a test") : 0;
}

int proof_jobs_start(struct proof_jobs *jobs, const struct proof_plan_agent *agent, time_t now,
                     struct blx_error *err)
{
    static const int fds[] = {-1, -1, STDERR_FILENO}; /* the record has what it prints */
    BLX_CLEANUP(words_done) struct words words = {.count = 0};
    struct proof_job *job = &jobs->list[jobs->count];
    *job =
        (struct proof_job){.checkpoint = agent->untested, .end = proof_plan_end(&agent->test, now)};
    int rc = make_words(jobs->config, agent, &words, err);
    if (rc < 0)
        return rc;
    const struct blx_program program = {.words = (const char *const *)words.list,
                                        .fds = fds,
                                        .fd_count = 3,
                                        .package = "blxrep-dispatcher"};
    rc = blx_program_start(&program, &job->pid, err);
    if (rc < 0)
        return rc;
    job->end_fd = (int)syscall(SYS_pidfd_open, job->pid, 0);
    if (job->end_fd < 0) {
        rc = blx_error_errno(err, -errno, "cannot watch a test");
        blx_program_kill(job->pid);
        return rc;
    }
    blx_text_set(job->agent_id, agent->agent_id);
    jobs->count++;
    return 0;
}

static void take_out(struct proof_jobs *jobs, size_t at, struct proof_job *ended)
{
    *ended = jobs->list[at];
    close(ended->end_fd);
    jobs->list[at] = jobs->list[--jobs->count];
}

static void end_late_ones(struct proof_jobs *jobs)
{
    for (size_t i = 0; i < jobs->count; i++) {
        struct proof_job *job = &jobs->list[i];
        if (time(NULL) < job->end)
            continue;
        blx_log_warning("the test of the checkpoint %" PRIu64 " of '%s' is stopped: its time is "
                        "over",
                        job->checkpoint, job->agent_id);
        kill(job->pid, SIGKILL);
    }
}

bool proof_jobs_wait(struct proof_jobs *jobs, int wake_fd, uint64_t timeout_ms,
                     struct proof_job *ended)
{
    struct pollfd pollers[1 + PROOF_MOST_JOBS] = {{.fd = wake_fd, .events = POLLIN}};
    for (size_t i = 0; i < jobs->count; i++)
        pollers[1 + i] = (struct pollfd){.fd = jobs->list[i].end_fd, .events = POLLIN};
    uint64_t deadline_ns =
        blx_deadline_in_ms(jobs->count > 0 && timeout_ms > END_LOOK_MS ? END_LOOK_MS : timeout_ms);
    if (poll(pollers, (nfds_t)(1 + jobs->count), blx_deadline_poll_ms(deadline_ns)) < 0)
        return false;
    for (size_t i = 0; i < jobs->count; i++) {
        if (pollers[1 + i].revents == 0)
            continue;
        take_out(jobs, i, ended);
        blx_program_wait(ended->pid);
        return true;
    }
    end_late_ones(jobs);
    return false;
}

void proof_jobs_stop(struct proof_jobs *jobs)
{
    while (jobs->count > 0) {
        struct proof_job ended;
        take_out(jobs, jobs->count - 1, &ended);
        blx_program_kill(ended.pid);
    }
}
