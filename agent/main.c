/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blxrep-agent: follows the changes of this server's disks and sends them to the dispatcher.
 */
#include <errno.h>
#include <openssl/crypto.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/addresses.h"
#include "agent/agent.h"
#include "agent/session/control.h"
#include "agent/disk_watch.h"
#include "agent/encryption.h"
#include "agent/identity.h"
#include "agent/lineup.h"
#include "agent/loader.h"
#include "agent/teller.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/clock.h"
#include "base/units.h"

enum {
    BACKOFF_FIRST_MS = 500,
    BACKOFF_LAST_MS = 30 * 1000,
    LIVED_MS = 10 * 60 * 1000,          /* of an idle session; a shorter one proves nothing */
    FIRST_READ_RATE = 64 * 1024 * 1024, /* bytes a second, until a cut has measured it */
};

static int fail(const struct blx_error *error)
{
    fprintf(stderr, "blxrep-agent: %s\n", error->message);
    return BLX_EXIT_FAILED;
}

static void fill_signals(sigset_t *signals)
{
    sigemptyset(signals);
    sigaddset(signals, SIGTERM);
    sigaddset(signals, SIGINT);
    sigaddset(signals, SIGHUP);
}

/* These signals are blocked everywhere and taken here. A terminal that closes, or a reload that is
 * meant well, does not end the protection. */
static void *wait_for_signal(void *arg)
{
    struct agent *agent = arg;
    sigset_t signals;
    int number = SIGHUP;
    fill_signals(&signals);
    while (number == SIGHUP) {
        sigwait(&signals, &number);
        if (number == SIGHUP)
            blx_log_notice("SIGHUP changes nothing: restart the agent to have it read its "
                           "configuration");
    }
    agent_stop(agent);
    return NULL;
}

static void block_signals(void)
{
    sigset_t signals;
    fill_signals(&signals);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* One for each mounted filesystem, in the agent and in its guard. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void init_lock(struct agent *agent)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&agent->lock, NULL);
    pthread_cond_init(&agent->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

/* Waits before the next attempt, longer each time, and never in step with other agents. */
static void back_off(struct agent *agent, uint64_t *backoff_ms)
{
    uint64_t jittered = *backoff_ms * 3 / 4 + (uint64_t)random() % (*backoff_ms / 2 + 1);
    uint64_t deadline_ns = blx_clock_ns() + jittered * 1000000;
    pthread_mutex_lock(&agent->lock);
    while (agent->order == AGENT_RUN && blx_clock_ns() < deadline_ns) {
        blx_watchdog_turn(&agent->watchdog, 0);
        agent_wait_locked(agent, (deadline_ns - blx_clock_ns()) / 1000000 + 1);
    }
    pthread_mutex_unlock(&agent->lock);
    *backoff_ms = *backoff_ms * 2 > BACKOFF_LAST_MS ? BACKOFF_LAST_MS : *backoff_ms * 2;
}

/*
 * The dispatcher has ended a session that lived. If another session took over, it is none of this
 * process, which has one at a time: this machine was cloned while it ran, and the clone has the
 * same instance. With one of its own the two are told apart, and do not take over from each other
 * for ever.
 */
static void renew_instance(struct agent *agent)
{
    struct blx_generation fresh;
    if (blx_generation_create(&fresh) == 0)
        agent->instance = fresh;
}

/* Sessions, one after the other, until the agent stops. */
static void replicate(struct agent *agent)
{
    uint64_t backoff_ms = BACKOFF_FIRST_MS;
    while (!agent_is_stopping(agent)) {
        struct blx_error error = {0};
        enum agent_session_use use = AGENT_SESSION_NONE;
        uint64_t begun_ns = blx_clock_ns();
        blx_watchdog_turn(&agent->watchdog, 0);
        int rc = agent_lineup_refresh(agent, &error);
        if (rc == 0)
            rc = agent_control_run(agent, &use, &error);
        if (use != AGENT_SESSION_NONE)
            agent_addresses_keep(&agent->addresses);
        if (use == AGENT_SESSION_STORED ||
            (use == AGENT_SESSION_BEGAN && blx_clock_ns() - begun_ns >= LIVED_MS * BLX_NS_PER_MS))
            backoff_ms = BACKOFF_FIRST_MS;
        agent_self_note_end(agent, rc, &error);
        if (rc == -ECONNABORTED)
            renew_instance(agent);
        if (rc == 0 || rc == -ERESTART)
            continue;
        /* Where a session was, the next one is tried first. */
        if (use == AGENT_SESSION_NONE &&
            agent_addresses_turn(&agent->addresses) == AGENT_ADDRESSES_MORE) {
            blx_log_warning("%s; trying '%s'", error.message, agent->addresses.current);
            continue;
        }
        blx_log_warning("%s; trying again", error.message);
        back_off(agent, &backoff_ms);
    }
}

static int prepare(struct agent *agent, struct blx_error *err)
{
    int rc = agent_identity_load(&agent->identity, agent->config, err);
    if (rc == 0)
        rc = agent_encryption_load(agent, err);
    if (rc == 0 && blx_generation_create(&agent->instance) < 0)
        rc = blx_error_set(err, -EIO, "cannot begin: no random numbers");
    if (rc == 0)
        agent_self_begin(agent);
    if (rc == 0)
        rc = agent_make_run_dir(agent->config->run_dir, err);
    /* Both are forked while there is one thread; the first before anything is looked at that may
     * hang. */
    agent_patience_set_ms(agent->config->disk_timeout_ms);
    if (rc == 0 && agent_patience_start() < 0)
        rc = blx_error_set(err, -EAGAIN, "cannot start the processes that wait for disks");
    if (rc == 0)
        agent_freeze_recover(agent->config->run_dir);
    if (rc == 0)
        rc = agent_freezer_start(agent->config->run_dir, &agent->freezer, err);
    if (rc == 0)
        rc = agent_lineup_refresh(agent, err);
    if (rc == 0)
        rc = agent_pipeline_start(agent->config->compression, &agent->pipeline, err);
    if (rc == 0 && agent->config->compression_adapts)
        agent_pipeline_adapt(agent->pipeline);
    if (rc == 0)
        agent_pipeline_limit_digesting(agent->pipeline, (unsigned)agent->config->rescan_cpus);
    return rc;
}

static int run(struct agent *agent)
{
    struct blx_error error = {0};
    pthread_t signal_thread;
    struct agent_disk_watch *watch = NULL;
    struct agent_teller *teller = NULL;
    int rc = prepare(agent, &error);
    if (rc == 0)
        teller = agent_teller_start(agent);
    if (rc == 0)
        rc = agent_disk_watch_start(agent, &watch, &error);
    if (rc == 0) {
        rc = -pthread_create(&signal_thread, NULL, wait_for_signal, agent);
        if (rc < 0)
            blx_error_errno(&error, rc, "cannot start a thread");
    }
    if (rc == 0) {
        blx_notify("READY=1");
        blx_watchdog_init(&agent->watchdog, 1);
        replicate(agent);
        blx_notify("STOPPING=1");
        pthread_join(signal_thread, NULL);
        agent_loader_leave(agent);
        blx_log_info("stopped; the devices stay tracked");
    }
    agent_teller_stop(teller);
    agent_disk_watch_stop(watch);
    agent_pipeline_stop(agent->pipeline);
    agent_lineup_close(agent);
    agent_freezer_stop(agent->freezer);
    agent_patience_stop();
    blx_tls_context_free(agent->identity.tls);
    blx_key_wipe(&agent->key);
    OPENSSL_cleanse(agent->volume_keys, sizeof(agent->volume_keys));
    return rc == 0 ? BLX_EXIT_OK : fail(&error);
}

int main(int argc, char **argv)
{
    static const struct blx_config_program program = {
        .name = "blxrep-agent",
        .command = BLX_COMMAND_AGENT,
        .help = {.usage = "blxrep-agent --id=ID --dispatcher-addr=HOST:PORT --device=DEVICE...",
                 .description = "Follows which blocks of the devices change and sends them to the "
                                "dispatcher."}};
    blx_log_begin();
    BLX_CLEANUP_CONFIG struct blx_config config = {0};
    enum blx_config_result result;
    struct blx_error error = {0};
    if (blx_config_begin(&program, argc, argv, stdout, &config, &result, &error) < 0) {
        fail(&error);
        return BLX_EXIT_USAGE;
    }
    if (result != BLX_CONFIG_RUN)
        return BLX_EXIT_OK;
    blx_log_set_format(config.log_format);
    if (config.verbose)
        blx_log_set_level(BLX_LOG_DEBUG);
    block_signals();
    raise_descriptor_limit();
    srandom((unsigned)blx_clock_realtime_ns());
    static struct agent agent;
    agent.config = &config;
    agent.read_bytes_per_second = FIRST_READ_RATE;
    agent_addresses_begin(&agent.addresses, config.dispatcher_addr);
    init_lock(&agent);
    agent_set_bandwidth(&agent, &config.bandwidth_limit);
    return run(&agent);
}
