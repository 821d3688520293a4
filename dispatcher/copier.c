/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/copier.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/become.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/io.h"
#include "base/log.h"
#include "base/program.h"
#include "dispatcher/neighbours.h"
#include "dispatcher/pruner.h"
#include "store/copy/origin.h"

enum {
    LOOK_MS = 200, /* between two looks whether it has ended */
    RETRY_MS = 5 * 60 * 1000,
    KEEPER_LOOK_MS = 60 * 1000, /* another dispatcher of the directory copies */
};

/* Waits so long, or until the end is near: false. */
static bool rest(struct dispatcher_copier *copier, uint64_t ms)
{
    uint64_t until_ns = blx_clock_ns() + ms * BLX_NS_PER_MS;
    pthread_mutex_lock(&copier->lock);
    while (!copier->stop && blx_clock_ns() < until_ns)
        blx_cond_wait_until(&copier->changed, &copier->lock, until_ns);
    bool go_on = !copier->stop;
    pthread_mutex_unlock(&copier->lock);
    return go_on;
}

/* Its exit status; -ECANCELED: it was killed, since the end is near. */
static int await(struct dispatcher_copier *copier, pid_t pid)
{
    for (;;) {
        siginfo_t info = {0};
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid != 0)
            return blx_program_wait(pid);
        if (!rest(copier, LOOK_MS)) {
            blx_program_kill(pid);
            return -ECANCELED;
        }
    }
}

/* What it prints goes to our log. */
static int start_program(const struct dispatcher_copier *copier, pid_t *pid, struct blx_error *err)
{
    char folder[PATH_MAX], program[PATH_MAX], data_dir[PATH_MAX + 16], file[PATH_MAX + 16];
    char from[BLX_TEXT_BYTES + 16];
    static const int fds[] = {-1, STDERR_FILENO, STDERR_FILENO};
    int rc = blx_own_folder(folder, err);
    if (rc == 0)
        rc = blx_path_format(program, sizeof(program), err, "%s/blxrep-copy", folder);
    if (rc < 0)
        return rc;
    snprintf(data_dir, sizeof(data_dir), "--data-dir=%s", copier->config->data_dir);
    snprintf(file, sizeof(file), "--config=%s", copier->config->config_path);
    snprintf(from, sizeof(from), "--from=%s", copier->other);
    const char *const words[] = {
        program, "copy", data_dir, file, copier->store != NULL ? from : NULL, NULL};
    const struct blx_program copy = {
        .words = words, .fds = fds, .fd_count = 3, .package = "blxrep-dispatcher"};
    return blx_program_start(&copy, pid, err);
}

static const char *direction(const struct dispatcher_copier *copier)
{
    return copier->store != NULL ? "from" : "to";
}

/* A copy has no session whose checkpoints would give it a turn of the pruner. */
static void prune_copies(const struct dispatcher_copier *copier)
{
    char **agents = NULL;
    size_t count = 0;
    struct blx_error err = {0};
    if (blx_store_list_agents(copier->store, &agents, &count, &err) < 0)
        blx_log_warning("cannot prune the copies: %s", err.message);
    for (size_t i = 0; i < count; i++) {
        struct blx_origin origin;
        if (blx_origin_look(blx_store_agent(copier->store, agents[i]), &origin, NULL) == 1)
            dispatcher_pruner_relieve(copier->pruner, agents[i]);
    }
    blx_store_free_agents(agents, count);
}

/* How long to wait for the next one; 0: the end is near. */
static uint64_t copy_once(struct dispatcher_copier *copier)
{
    struct blx_error err = {0};
    pid_t pid;
    int rc = start_program(copier, &pid, &err);
    if (rc < 0)
        blx_log_warning("cannot copy %s '%s': %s", direction(copier), copier->other, err.message);
    else
        rc = await(copier, pid);
    if (rc == -ECANCELED)
        return 0;
    if (rc > 0)
        blx_log_warning("copying %s '%s' did not succeed; the lines before this one say why",
                        direction(copier), copier->other);
    if (copier->store != NULL)
        prune_copies(copier);
    return rc != 0 && copier->every_ms > RETRY_MS ? RETRY_MS : copier->every_ms;
}

static void run(void *arg)
{
    struct dispatcher_copier *copier = arg;
    uint64_t wait_ms;
    do
        wait_ms = dispatcher_neighbours_is_keeper(copier->dispatcher->neighbours)
                      ? copy_once(copier)
                      : KEEPER_LOOK_MS;
    while (wait_ms != 0 && rest(copier, wait_ms));
}

static int start(struct dispatcher_copier *copier, struct blx_error *err)
{
    int rc = dispatcher_threads_init(&copier->threads, 1);
    if (rc < 0) {
        copier->config = NULL;
        return blx_error_errno(err, rc, "making the copier");
    }
    pthread_mutex_init(&copier->lock, NULL);
    blx_cond_init(&copier->changed);
    rc = dispatcher_threads_start(&copier->threads, run, copier, err);
    if (rc < 0) {
        dispatcher_threads_done(&copier->threads);
        copier->config = NULL;
    }
    return rc;
}

int dispatcher_copier_start(struct dispatcher_copier *copier, struct dispatcher *dispatcher,
                            const struct blx_config *config, struct blx_error *err)
{
    *copier = (struct dispatcher_copier){.dispatcher = dispatcher};
    if (config->object_store.url == NULL)
        return 0;
    copier->config = config;
    copier->other = config->object_store.url;
    copier->every_ms = config->object_store.every_ms;
    return start(copier, err);
}

int dispatcher_copier_start_source(struct dispatcher_copier *copier, struct dispatcher *dispatcher,
                                   const struct blx_config *config,
                                   struct dispatcher_pruner *pruner, struct blx_error *err)
{
    *copier = (struct dispatcher_copier){.dispatcher = dispatcher};
    if (config->source.addr == NULL)
        return 0;
    copier->config = config;
    copier->other = config->source.addr;
    copier->every_ms = config->source.every_ms;
    copier->store = dispatcher->store;
    copier->pruner = pruner;
    return start(copier, err);
}

int dispatcher_copier_stop(struct dispatcher_copier *copier, uint64_t deadline_ns)
{
    if (copier->config == NULL)
        return 0;
    pthread_mutex_lock(&copier->lock);
    copier->stop = true;
    pthread_cond_broadcast(&copier->changed);
    pthread_mutex_unlock(&copier->lock);
    int rc = dispatcher_threads_wait(&copier->threads, deadline_ns);
    if (rc < 0)
        return rc;
    dispatcher_threads_done(&copier->threads);
    pthread_cond_destroy(&copier->changed);
    pthread_mutex_destroy(&copier->lock);
    copier->config = NULL;
    return 0;
}
