/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blxrep-tester: the daemon that tests checkpoints as the agents' policies want it.
 *
 *     dispatcher ──rules in force──► candidates ──► plan ──whose turn it is──► jobs ──► blxrep-test
 *     store ───────records──────────────┘                                                   │
 *       ▲                                                                                   │
 *       └───────────────────────────────────────record──────────────────────────────────────┘
 *
 * A process of its own beside the dispatcher, because an emulated machine needs what the process
 * that talks to every agent must not have (docs/decisions/test.md). It keeps no state: what was
 * tested stands in the store, so a restart goes on where it was.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/notify.h"
#include "config/config.h"
#include "proof/candidates.h"
#include "proof/jobs.h"
#include "store/checkpoint/tested.h"
#include "store/owner.h"
#include "store/store.h"

static const char usage[] = "blxrep-tester --data-dir=DIR [options]";
static const char description[] =
    "Tests the newest checkpoint of each agent as its policy's `restore-test` says: at its hours,\n"
    "one after the other. It asks the dispatcher that runs on the data directory for the policies.";

enum {
    LOOK_MS = 30 * 1000,
    RETRY_S = 60 * 60, /* what could not be tested */
};

struct tester {
    const struct blx_config *config;
    struct blx_store store;
    int lock_fd; /* of the folder of all agents: one tester alone */
    int signal_fd;
    struct proof_candidates candidates;
    struct proof_jobs jobs;
    int told; /* the last complaint's error; 0: none, so that each is logged once */
};

static void tester_done(struct tester *tester)
{
    proof_jobs_stop(&tester->jobs);
    proof_candidates_done(&tester->candidates);
    blx_cleanup_fd(&tester->lock_fd);
    blx_cleanup_fd(&tester->signal_fd);
    blx_store_close(&tester->store);
}

/* Whatever else this host does comes first, and of all processes a test is the one to be killed for
 * memory. The service's unit says the same, and more; this holds without one, too. */
static void give_way(void)
{
    enum { IOPRIO_WHO_PROCESS = 1, IOPRIO_IDLE = 3 << 13, NICEST = 19 };
    static const char first_to_go[] = "1000";
    BLX_CLEANUP_FD int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (setpriority(PRIO_PROCESS, 0, NICEST) != 0 ||
        syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_IDLE) != 0 || fd < 0 ||
        write(fd, first_to_go, sizeof(first_to_go) - 1) < 0)
        blx_log_warning("cannot let everything else of this host come first: %m");
}

static int take_signals(struct tester *tester, struct blx_error *err)
{
    sigset_t ours;
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTERM);
    sigaddset(&ours, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    if (sigprocmask(SIG_BLOCK, &ours, NULL) == 0)
        tester->signal_fd = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
    return tester->signal_fd < 0 ? blx_error_errno(err, -errno, "cannot take signals") : 0;
}

/* The lock goes with the process. */
static int lock_store(struct tester *tester, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = blx_path_format(path, sizeof(path), err, "%s/tester.lock", tester->store.data_dir);
    if (rc == 0) {
        tester->lock_fd = blx_open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600, err);
        rc = tester->lock_fd < 0 ? tester->lock_fd : 0;
    }
    if (rc < 0 || flock(tester->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return rc;
    if (errno != EWOULDBLOCK)
        return blx_error_errno(err, -errno, "cannot lock '%s'", path);
    return blx_error_set(err, -EBUSY, "another blxrep-tester works on '%s': end that one first",
                         tester->store.data_dir);
}

static int prepare(struct tester *tester, struct blx_error *err)
{
    enum blx_owner owner = BLX_OWNER_KEPT;
    const char *data_dir = tester->config->data_dir;
    int rc = blx_owner_become(data_dir, &owner, err);
    if (rc == 0 && owner == BLX_OWNER_OUTSIDE)
        rc = blx_error_set(err, -EACCES,
                           "the owner of '%s' cannot reach it: let that user pass the folders "
                           "above it",
                           data_dir);
    if (rc == 0)
        rc = blx_store_open(data_dir, BLX_STORE_READ, &tester->store, err);
    if (rc == 0)
        rc = lock_store(tester, err);
    return rc == 0 ? take_signals(tester, err) : rc;
}

static void complain(struct tester *tester, int rc, const struct blx_error *err)
{
    if (rc == tester->told)
        return;
    tester->told = rc;
    if (rc == -ENOTCONN)
        blx_log_warning("no dispatcher runs on '%s', so nobody says what is to be tested",
                        tester->config->data_dir);
    else if (rc < 0)
        blx_log_warning("cannot look for checkpoints to be tested: %s", err->message);
    else
        blx_log_info("the dispatcher says again what is to be tested");
}

static void settle(struct tester *tester, const struct proof_job *ended)
{
    struct blx_tested record;
    struct proof_plan_agent *agent = proof_candidates_find(&tester->candidates, ended->agent_id);
    const struct blx_agent_store folder = blx_store_agent(&tester->store, ended->agent_id);
    bool is_tested = blx_tested_read(folder, ended->checkpoint, &record, NULL) == 0;
    if (is_tested && blx_tested_is_good(&record))
        blx_log_info("the checkpoint %" PRIu64 " of '%s' passed: %s", ended->checkpoint,
                     ended->agent_id, blx_tested_verdict(&record));
    else if (is_tested)
        blx_log_warning("the checkpoint %" PRIu64 " of '%s' failed: %s", ended->checkpoint,
                        ended->agent_id, record.reason);
    else
        blx_log_warning("the checkpoint %" PRIu64 " of '%s' was not tested; the lines before this "
                        "one say why",
                        ended->checkpoint, ended->agent_id);
    if (agent == NULL)
        return;
    agent->running = false;
    agent->not_before = is_tested ? 0 : time(NULL) + RETRY_S;
    if (is_tested && agent->untested == ended->checkpoint)
        agent->untested = 0;
}

static void start_what_is_due(struct tester *tester)
{
    struct proof_plan_agent *agent;
    while (tester->jobs.count < tester->config->test_jobs &&
           (agent = proof_plan_choose(tester->candidates.list, tester->candidates.count,
                                      time(NULL))) != NULL) {
        struct blx_error err = {0};
        time_t now = time(NULL);
        if (proof_jobs_start(&tester->jobs, agent, now, &err) < 0) {
            blx_log_warning("cannot test '%s': %s", agent->agent_id, err.message);
            agent->not_before = now + RETRY_S;
            continue;
        }
        blx_log_info("testing the checkpoint %" PRIu64 " of '%s'", agent->untested,
                     agent->agent_id);
        agent->running = true;
    }
}

/* False: to end. SIGHUP looks at once. */
static bool follow_signal(const struct tester *tester)
{
    struct signalfd_siginfo info;
    if (read(tester->signal_fd, &info, sizeof(info)) != sizeof(info))
        return true;
    return info.ssi_signo == SIGHUP;
}

static void run(struct tester *tester)
{
    bool go_on = true;
    while (go_on) {
        struct blx_error err = {0};
        struct proof_job ended;
        int rc = proof_candidates_look(&tester->candidates, &tester->store, &err);
        complain(tester, rc, &err);
        if (rc == 0)
            start_what_is_due(tester);
        if (proof_jobs_wait(&tester->jobs, tester->signal_fd, LOOK_MS, &ended))
            settle(tester, &ended);
        go_on = follow_signal(tester);
    }
}

int main(int argc, char **argv)
{
    static const struct blx_config_program program = {
        .name = "blxrep-tester",
        .command = BLX_COMMAND_TESTER,
        .help = {.usage = usage, .description = description}};
    blx_log_begin();
    BLX_CLEANUP_CONFIG struct blx_config config = {0};
    BLX_CLEANUP(tester_done)
    struct tester tester = {.config = &config, .store.lock_fd = -1, .lock_fd = -1, .signal_fd = -1};
    struct blx_error err = {0};
    enum blx_config_result result;
    int rc = blx_config_begin(&program, argc, argv, stdout, &config, &result, &err);
    if (rc == 0 && result != BLX_CONFIG_RUN)
        return BLX_EXIT_OK;
    if (rc < 0) {
        fprintf(stderr, "blxrep-tester: %s\n", err.message);
        return BLX_EXIT_USAGE;
    }
    blx_log_set_format(config.log_format);
    if (config.verbose)
        blx_log_set_level(BLX_LOG_DEBUG);
    tester.jobs.config = &config;
    give_way(); /* before it may become another user, who could not */
    rc = prepare(&tester, &err);
    if (rc < 0) {
        fprintf(stderr, "blxrep-tester: %s\n", err.message);
        return BLX_EXIT_FAILED;
    }
    blx_notify("READY=1");
    run(&tester);
    blx_notify("STOPPING=1");
    return BLX_EXIT_OK;
}
