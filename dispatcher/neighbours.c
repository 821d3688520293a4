/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/neighbours.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/log.h"
#include "base/text.h"
#include "base/version.h"
#include "config/config.h"
#include "dispatcher/overview.h"
#include "store/destination.h"
#include "store/rescan_order.h"

/* When an agent's folder was last changed, as seen at the last look. */
struct folder {
    char agent_id[BLX_NAME_BYTES];
    struct timespec changed;
};

struct dispatcher_neighbours {
    /* Constant while the thread runs. */
    struct dispatcher *dispatcher;
    const struct blx_member *member;
    struct blx_control_host self;

    /* The thread's alone. */
    struct folder *folders; /* of the agents that are connected, by ID */
    size_t folder_count;
    uint64_t told_ns;   /* 0: tell at the next look */
    size_t agent_count; /* that were told of */
    bool cannot_tell;   /* and it was logged */

    struct dispatcher_threads threads; /* one; main()'s */

    pthread_mutex_t lock; /* a leaf */
    pthread_cond_t changed;
    bool stop;                  /* guarded by `lock`; set by main() */
    struct blx_member_list all; /* guarded by `lock`; replaced by the thread */
};

static blx_timestamp now(void)
{
    return blx_timestamp_from_unix((int64_t)(blx_clock_realtime_ns() / BLX_NS_PER_S));
}

void dispatcher_neighbours_describe(const struct blx_member *member, enum blx_host_role role,
                                    const char *listen, struct blx_control_host *host)
{
    *host = (struct blx_control_host){.role = role, .since = now(), .told = now()};
    blx_text_set(host->name, member->name);
    blx_text_set(host->listen, listen);
    blx_text_set(host->software, "blxrep-dispatcher " BLX_VERSION);
}

static bool is_self(const struct dispatcher_neighbours *neighbours,
                    const struct blx_control_host *host)
{
    return strcmp(host->name, neighbours->self.name) == 0;
}

bool dispatcher_neighbours_find(struct dispatcher_neighbours *neighbours, const char *agent_id,
                                struct blx_control_agent *agent, char host[BLX_NAME_BYTES])
{
    bool found = false;
    if (neighbours == NULL)
        return false;
    pthread_mutex_lock(&neighbours->lock);
    for (size_t i = 0; !found && i < neighbours->all.count; i++) {
        const struct blx_member_report *report = &neighbours->all.reports[i];
        if (report->host.role != BLX_HOST_SHARES || is_self(neighbours, &report->host))
            continue;
        for (size_t j = 0; !found && j < report->agent_count; j++) {
            found = strcmp(report->agents[j].agent_id, agent_id) == 0;
            if (found)
                *agent = report->agents[j];
        }
        if (found)
            blx_text_copy(host, BLX_NAME_BYTES, report->host.name);
    }
    pthread_mutex_unlock(&neighbours->lock);
    return found;
}

static bool is_before(const struct blx_control_host *a, const struct blx_control_host *b)
{
    return a->since != b->since ? a->since < b->since : strcmp(a->name, b->name) < 0;
}

bool dispatcher_neighbours_is_keeper(struct dispatcher_neighbours *neighbours)
{
    bool is_first = true;
    if (neighbours == NULL)
        return true;
    pthread_mutex_lock(&neighbours->lock);
    for (size_t i = 0; i < neighbours->all.count; i++) {
        const struct blx_control_host *host = &neighbours->all.reports[i].host;
        if (host->role != BLX_HOST_STANDBY && !is_self(neighbours, host) &&
            is_before(host, &neighbours->self))
            is_first = false;
    }
    pthread_mutex_unlock(&neighbours->lock);
    return is_first;
}

/* How many others there are. */
static size_t count_others_locked(const struct dispatcher_neighbours *neighbours)
{
    size_t count = 0;
    for (size_t i = 0; i < neighbours->all.count; i++)
        count += !is_self(neighbours, &neighbours->all.reports[i].host);
    return count;
}

struct blx_control_host *dispatcher_neighbours_list(struct dispatcher_neighbours *neighbours,
                                                    size_t *count)
{
    struct blx_control_host *hosts = NULL;
    *count = 0;
    if (neighbours == NULL)
        return NULL;
    pthread_mutex_lock(&neighbours->lock);
    size_t others = count_others_locked(neighbours);
    if (others > 0)
        hosts = calloc(others + 1, sizeof(*hosts));
    if (hosts != NULL) {
        hosts[(*count)++] = neighbours->self;
        for (size_t i = 0; i < neighbours->all.count; i++)
            if (!is_self(neighbours, &neighbours->all.reports[i].host))
                hosts[(*count)++] = neighbours->all.reports[i].host;
    }
    pthread_mutex_unlock(&neighbours->lock);
    return hosts;
}

/* Reads what the others told. True: one has come or gone. */
static bool look(struct dispatcher_neighbours *neighbours)
{
    struct blx_member_list fresh = {0};
    if (blx_member_list_read(neighbours->dispatcher->store, &fresh, NULL) < 0)
        return false;
    pthread_mutex_lock(&neighbours->lock);
    size_t before = count_others_locked(neighbours);
    struct blx_member_list old = neighbours->all;
    neighbours->all = fresh;
    bool changed = count_others_locked(neighbours) != before;
    pthread_mutex_unlock(&neighbours->lock);
    blx_member_list_done(&old);
    return changed;
}

void dispatcher_neighbours_refresh(struct dispatcher_neighbours *neighbours)
{
    if (neighbours != NULL)
        look(neighbours);
}

/* The address at which that one listens; false: it does not run. */
static bool find_host(struct dispatcher_neighbours *neighbours, const char *name,
                      char listen[BLX_TEXT_BYTES])
{
    bool found = false;
    pthread_mutex_lock(&neighbours->lock);
    for (size_t i = 0; !found && i < neighbours->all.count; i++) {
        const struct blx_control_host *host = &neighbours->all.reports[i].host;
        found = host->role == BLX_HOST_SHARES && strcmp(host->name, name) == 0;
        if (found)
            blx_text_copy(listen, BLX_TEXT_BYTES, host->listen);
    }
    pthread_mutex_unlock(&neighbours->lock);
    return found;
}

int dispatcher_neighbours_check_destination(struct dispatcher *dispatcher, const char *agent_id,
                                            char to[BLX_NAME_BYTES], struct blx_error *err)
{
    struct dispatcher_neighbours *neighbours = dispatcher->neighbours;
    char listen[BLX_TEXT_BYTES];
    to[0] = '\0';
    if (neighbours == NULL || neighbours->self.role != BLX_HOST_SHARES)
        return 0;
    int rc = blx_destination_look(blx_store_agent(dispatcher->store, agent_id), to, err);
    if (rc <= 0 || strcmp(to, neighbours->self.name) == 0)
        return rc < 0 ? rc : 0;
    look(neighbours); /* it may have died just now */
    if (!find_host(neighbours, to, listen))
        return 0;
    return blx_error_set(err, -EBUSY,
                         "the agent '%s' was moved to the dispatcher '%s' (listening on '%s'): "
                         "connect there",
                         agent_id, to, listen);
}

void dispatcher_neighbours_send_away(struct dispatcher *dispatcher, const char *agent_id)
{
    struct blx_control_agent live = {0};
    char to[BLX_NAME_BYTES];
    if (dispatcher_neighbours_check_destination(dispatcher, agent_id, to, NULL) != -EBUSY ||
        !dispatcher_registry_describe(&dispatcher->registry, agent_id, &live))
        return;
    blx_log_notice("agent '%s' goes to the dispatcher '%s'", agent_id, to);
    dispatcher_registry_expel(&dispatcher->registry, agent_id, DISPATCHER_ENDING_MOVED, NULL);
}

/* Tells of all agents, or, if the directory is shared, of those that are connected here. */
static int tell(struct dispatcher_neighbours *neighbours,
                const struct dispatcher_overview *overview, struct blx_error *err)
{
    struct blx_member_report report = {.host = neighbours->self};
    BLX_CLEANUP_FREE struct blx_control_agent *agents =
        calloc(overview != NULL ? overview->agent_count + 1 : 1, sizeof(*agents));
    if (agents == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot tell the other dispatchers");
    report.host.told = now();
    report.agents = agents;
    for (size_t i = 0; overview != NULL && i < overview->agent_count; i++)
        if (neighbours->self.role == BLX_HOST_ALONE || dispatcher_overview_is_here(overview, i))
            agents[report.agent_count++] = overview->agents[i];
    if (overview != NULL) {
        report.has_dispatcher = true;
        report.dispatcher = overview->dispatcher;
    }
    return blx_member_tell(neighbours->dispatcher->store, neighbours->member, &report, err);
}

static void note_failure(struct dispatcher_neighbours *neighbours, const struct blx_error *err)
{
    if (!neighbours->cannot_tell)
        blx_log_warning("the other dispatchers of this data directory are not told how this one "
                        "does: %s",
                        err->message);
    neighbours->cannot_tell = true;
}

/* An order that another host's command has left in the agent's folder. */
static void follow_orders(struct dispatcher *dispatcher, const char *agent_id)
{
    struct blx_agent_store agent = blx_store_agent(dispatcher->store, agent_id);
    char reason[BLX_TEXT_BYTES] = "";
    dispatcher_registry_order_policy(&dispatcher->registry, agent_id);
    if (blx_rescan_order_look(agent, reason, NULL) >= 0 && reason[0] != '\0')
        dispatcher_registry_order_rescan(&dispatcher->registry, agent_id, NULL);
    dispatcher_neighbours_send_away(dispatcher, agent_id);
}

static const struct folder *find_folder(const struct dispatcher_neighbours *neighbours,
                                        const char *agent_id)
{
    for (size_t i = 0; i < neighbours->folder_count; i++)
        if (strcmp(neighbours->folders[i].agent_id, agent_id) == 0)
            return &neighbours->folders[i];
    return NULL;
}

/* Looks for what another host's commands have changed. */
static void attend(struct dispatcher_neighbours *neighbours,
                   const struct dispatcher_overview *overview)
{
    struct dispatcher *dispatcher = neighbours->dispatcher;
    struct folder *folders = calloc(overview->agent_count + 1, sizeof(*folders));
    size_t count = 0;
    for (size_t i = 0; folders != NULL && i < overview->agent_count; i++) {
        const struct blx_control_agent *agent = &overview->agents[i];
        char path[PATH_MAX];
        struct stat st;
        if (!dispatcher_overview_is_here(overview, i))
            continue;
        if (agent->revoked && dispatcher_registry_expel(&dispatcher->registry, agent->agent_id,
                                                        DISPATCHER_ENDING_REVOKED, NULL) == 0)
            blx_log_notice("agent '%s' is revoked", agent->agent_id);
        if (blx_agent_store_path(blx_store_agent(dispatcher->store, agent->agent_id), path, NULL) <
                0 ||
            stat(path, &st) < 0)
            continue;
        struct folder *folder = &folders[count++];
        blx_text_set(folder->agent_id, agent->agent_id);
        folder->changed = st.st_mtim;
        const struct folder *before = find_folder(neighbours, agent->agent_id);
        /* At the first look it may have changed since the session began. */
        if (before == NULL || before->changed.tv_sec != folder->changed.tv_sec ||
            before->changed.tv_nsec != folder->changed.tv_nsec)
            follow_orders(dispatcher, agent->agent_id);
    }
    free(neighbours->folders);
    neighbours->folders = folders;
    neighbours->folder_count = count;
}

static bool has_others(struct dispatcher_neighbours *neighbours)
{
    pthread_mutex_lock(&neighbours->lock);
    bool has = count_others_locked(neighbours) > 0;
    pthread_mutex_unlock(&neighbours->lock);
    return has;
}

static void tell_and_attend(struct dispatcher_neighbours *neighbours)
{
    struct dispatcher_overview overview = {0};
    struct blx_error err = {0};
    int rc = dispatcher_overview_take(neighbours->dispatcher, &overview, &err);
    if (rc == 0)
        rc = tell(neighbours, &overview, &err);
    if (rc < 0)
        note_failure(neighbours, &err);
    else
        neighbours->cannot_tell = false;
    attend(neighbours, &overview);
    neighbours->agent_count = overview.agent_count;
    dispatcher_overview_done(&overview);
}

static void check_lock(const struct dispatcher_neighbours *neighbours)
{
    int rc = blx_store_check_lock(neighbours->dispatcher->store);
    if (rc == 0 || rc == -EINTR)
        return;
    blx_log_error("the lock of '%s' is lost (%s): another host may have the data directory now, so "
                  "this dispatcher ends without writing anything more",
                  neighbours->dispatcher->store->data_dir, strerrordesc_np(-rc));
    _exit(BLX_EXIT_FAILED);
}

/* Waits until the next look is due; false: the end is near. */
static bool rest(struct dispatcher_neighbours *neighbours)
{
    const uint64_t until_ns = blx_clock_ns() + DISPATCHER_NEIGHBOURS_LOOK_MS * UINT64_C(1000000);
    pthread_mutex_lock(&neighbours->lock);
    while (!neighbours->stop && blx_clock_ns() < until_ns)
        blx_cond_wait_until(&neighbours->changed, &neighbours->lock, until_ns);
    bool go_on = !neighbours->stop;
    pthread_mutex_unlock(&neighbours->lock);
    return go_on;
}

/* To tell takes a look at every agent's files. */
static bool is_due(const struct dispatcher_neighbours *neighbours)
{
    return neighbours->told_ns == 0 || neighbours->agent_count <= DISPATCHER_NEIGHBOURS_FEW ||
           blx_clock_ns() - neighbours->told_ns >=
               DISPATCHER_NEIGHBOURS_TELL_MS * UINT64_C(1000000);
}

static void run(void *arg)
{
    struct dispatcher_neighbours *neighbours = arg;
    do {
        check_lock(neighbours);
        if (look(neighbours))
            neighbours->told_ns = 0;
        if (has_others(neighbours) && is_due(neighbours)) {
            neighbours->told_ns = blx_clock_ns();
            tell_and_attend(neighbours);
        }
    } while (rest(neighbours));
}

static void free_neighbours(struct dispatcher_neighbours *neighbours)
{
    dispatcher_threads_done(&neighbours->threads);
    blx_member_list_done(&neighbours->all);
    pthread_cond_destroy(&neighbours->changed);
    pthread_mutex_destroy(&neighbours->lock);
    free(neighbours->folders);
    free(neighbours);
}

int dispatcher_neighbours_start(struct dispatcher *dispatcher, const struct blx_member *member,
                                const char *listen, struct dispatcher_neighbours **neighbours,
                                struct blx_error *err)
{
    struct dispatcher_neighbours *made = calloc(1, sizeof(*made));
    struct blx_error why = {0};
    if (made == NULL || dispatcher_threads_init(&made->threads, 1) < 0) {
        free(made);
        return blx_error_errno(err, -ENOMEM, "looking for other dispatchers");
    }
    made->dispatcher = dispatcher;
    made->member = member;
    dispatcher_neighbours_describe(
        member, dispatcher->store->shared ? BLX_HOST_SHARES : BLX_HOST_ALONE, listen, &made->self);
    pthread_mutex_init(&made->lock, NULL);
    blx_cond_init(&made->changed);
    look(made);
    if (tell(made, NULL, &why) < 0)
        note_failure(made, &why);
    int rc = dispatcher_threads_start(&made->threads, run, made, err);
    if (rc < 0)
        free_neighbours(made);
    else
        *neighbours = made;
    return rc;
}

int dispatcher_neighbours_stop(struct dispatcher_neighbours *neighbours, uint64_t deadline_ns)
{
    if (neighbours == NULL)
        return 0;
    pthread_mutex_lock(&neighbours->lock);
    neighbours->stop = true;
    pthread_cond_broadcast(&neighbours->changed);
    pthread_mutex_unlock(&neighbours->lock);
    int rc = dispatcher_threads_wait(&neighbours->threads, deadline_ns);
    if (rc == 0)
        free_neighbours(neighbours);
    return rc;
}
