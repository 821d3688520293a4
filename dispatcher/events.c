/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/events.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/command.h"
#include "base/log.h"
#include "base/units.h"
#include "dispatcher/event_watch.h"
#include "dispatcher/threads.h"
#include "wire/protection.h"

struct dispatcher_events {
    /* Constant while the thread runs. */
    struct dispatcher *dispatcher;
    struct dispatcher_events_plan plan; /* its commands are not used */
    int stop_fd;                        /* an eventfd that main() writes once and nobody reads */

    struct dispatcher_threads threads; /* one; main()'s */

    pthread_mutex_t lock;
    /* Guarded by `lock`, written by main(). */
    char *command;   /* owned; NULL: events are only logged */
    char *heartbeat; /* owned; NULL: none */
    uint64_t heartbeat_ms;

    /* The thread's alone; main() frees them after its end. */
    struct dispatcher_event_watch watch;
    struct blx_event_list list; /* found and not reported yet */
    uint64_t found_ns;          /* when the first of them was found */
    uint64_t told_ns;           /* when the command ended last; 0: never ran */
    bool failure_logged;        /* of the last look; it is logged once */
    size_t well;                /* agents at the last look, if all was well; otherwise 0 */
    uint64_t beat_ns;           /* when the heartbeat's command ended last; 0: never ran */
    bool beat_failed;           /* it is logged once */
};

static void log_event(const struct blx_event *event)
{
    bool good = blx_event_is_good(event->kind);
    const struct blx_log_about about = {
        .agent = event->agent_id[0] != '\0' ? event->agent_id : NULL,
        .event = blx_event_name(event->kind),
        .message_id = blx_event_message_id(event->kind),
    };
    blx_log_about(good ? BLX_LOG_NOTICE : BLX_LOG_WARNING, &about, "%s%s%s%s: %s",
                  event->agent_id[0] != '\0' ? "agent '" : "", event->agent_id,
                  event->agent_id[0] != '\0' ? "': " : "", blx_event_name(event->kind),
                  event->text);
}

static void look(struct dispatcher_events *events)
{
    struct dispatcher_overview overview = {0};
    struct blx_error err = {0};
    size_t before = events->list.count;
    int rc = dispatcher_overview_take(events->dispatcher, &overview, &err);
    if (rc == 0) {
        dispatcher_overview_keep_own(events->dispatcher, &overview);
        rc = dispatcher_event_watch_look(&events->watch, &events->dispatcher->roster, &overview,
                                         blx_clock_realtime_ns(), &events->list);
        events->well = blx_protection_is_well(&overview.dispatcher, overview.agents,
                                              overview.agent_count, blx_clock_realtime_ns())
                           ? overview.agent_count
                           : 0;
        dispatcher_overview_done(&overview);
        if (rc < 0)
            blx_error_errno(&err, rc, "noticing events");
    }
    if (rc < 0 && !events->failure_logged)
        blx_log_warning("cannot check whether the agents are protected: %s", err.message);
    if (rc < 0)
        events->well = 0;
    events->failure_logged = rc < 0;
    for (size_t i = before; i < events->list.count; i++)
        log_event(&events->list.events[i]);
    if (before == 0 && events->list.count > 0)
        events->found_ns = blx_clock_ns();
}

/* A copy of a command, for the caller to free. NULL: there is none, or no memory. */
static char *copy_command(struct dispatcher_events *events, char *const *command)
{
    pthread_mutex_lock(&events->lock);
    char *copy = *command != NULL ? strdup(*command) : NULL;
    pthread_mutex_unlock(&events->lock);
    return copy;
}

static bool set_command(struct dispatcher_events *events, char **command, const char *fresh)
{
    BLX_CLEANUP_FREE char *copy = fresh != NULL ? strdup(fresh) : NULL;
    if (fresh != NULL && copy == NULL) {
        blx_log_error("cannot take the new command '%s': out of memory", fresh);
        return false;
    }
    pthread_mutex_lock(&events->lock);
    const char *before = *command;
    bool changed =
        (before == NULL) != (copy == NULL) || (before != NULL && strcmp(before, copy) != 0);
    char *old = *command;
    *command = copy;
    copy = old;
    pthread_mutex_unlock(&events->lock);
    return changed;
}

bool dispatcher_events_set_commands(struct dispatcher_events *events,
                                    const struct dispatcher_events_plan *plan)
{
    bool command = set_command(events, &events->command, plan->command);
    bool heartbeat = set_command(events, &events->heartbeat, plan->heartbeat);
    pthread_mutex_lock(&events->lock);
    bool period = events->heartbeat_ms != plan->heartbeat_ms;
    events->heartbeat_ms = plan->heartbeat_ms;
    pthread_mutex_unlock(&events->lock);
    return command || heartbeat || (period && plan->heartbeat != NULL);
}

/* So that a restart does not tell of it again. */
static void note_failed_tests(struct dispatcher_events *events)
{
    for (size_t i = 0; i < events->list.count; i++) {
        const struct blx_event *event = &events->list.events[i];
        struct blx_error err = {0};
        if (event->kind != BLX_EVENT_TEST_FAILED)
            continue;
        const struct blx_tested tested = {.begun_realtime_ns = dispatcher_event_watch_failed_test(
                                              &events->watch, event->agent_id)};
        if (blx_tested_note_told(blx_store_agent(events->dispatcher->store, event->agent_id),
                                 &tested, &err) < 0)
            blx_log_warning("a failed test will be told again after a restart: %s", err.message);
    }
}

/* Runs the command and blocks until it has ended. */
static void tell(struct dispatcher_events *events, const char *text)
{
    char *variables[BLX_EVENT_VARIABLES];
    struct blx_error err = {0};
    int rc =
        blx_event_make_variables(&events->list, events->dispatcher->store->data_dir, variables);
    if (rc == 0) {
        const struct blx_user_command command = {.name = "on-event",
                                                 .text = text,
                                                 .variables = (const char *const *)variables,
                                                 .variable_count = BLX_EVENT_VARIABLES,
                                                 .timeout_ms = events->plan.timeout_ms,
                                                 .stop_fd = events->stop_fd};
        rc = blx_command_run(&command, &err);
        blx_event_free_variables(variables);
    } else {
        blx_error_errno(&err, rc, "reporting events");
    }
    if (rc < 0)
        blx_log_warning("%s; %zu events were not reported", err.message,
                        events->list.count + events->list.dropped);
    else
        note_failed_tests(events);
    blx_event_list_done(&events->list);
    events->told_ns = blx_clock_ns();
}

/* Whether to report the events now: they have settled, and the last report is long enough ago. */
static bool is_due(const struct dispatcher_events *events)
{
    uint64_t now_ns = blx_clock_ns();
    return events->list.count > 0 &&
           now_ns >= events->found_ns + events->plan.settle_ms * 1000000 &&
           (events->told_ns == 0 || now_ns >= events->told_ns + events->plan.apart_ms * 1000000);
}

static bool heartbeat_is_due(struct dispatcher_events *events)
{
    pthread_mutex_lock(&events->lock);
    uint64_t period_ns = events->heartbeat_ms * BLX_NS_PER_MS;
    pthread_mutex_unlock(&events->lock);
    return events->well > 0 &&
           (events->beat_ns == 0 || blx_clock_ns() >= events->beat_ns + period_ns);
}

/* A heartbeat that fails is missed where it should arrive: the log tells it once. */
static void beat(struct dispatcher_events *events, const char *text)
{
    char agents[64], data_dir[PATH_MAX + 32];
    struct blx_error err = {0};
    snprintf(agents, sizeof(agents), "BLXREP_COUNT=%zu", events->well);
    snprintf(data_dir, sizeof(data_dir), "BLXREP_DATA_DIR=%s", events->dispatcher->store->data_dir);
    const char *const variables[] = {agents, data_dir};
    const struct blx_user_command command = {.name = "on-heartbeat",
                                             .text = text,
                                             .variables = variables,
                                             .variable_count = 2,
                                             .timeout_ms = events->plan.timeout_ms,
                                             .stop_fd = events->stop_fd};
    int rc = blx_command_run(&command, &err);
    if (rc < 0 && !events->beat_failed)
        blx_log_warning("%s; the next failures are not logged", err.message);
    else if (rc == 0 && events->beat_failed)
        blx_log_notice("the on-heartbeat command works again");
    events->beat_failed = rc < 0;
    events->beat_ns = blx_clock_ns();
}

static bool shall_stop(const struct dispatcher_events *events)
{
    struct pollfd stop = {.fd = events->stop_fd, .events = POLLIN};
    return poll(&stop, 1, (int)events->plan.look_ms) > 0;
}

static void events_main(void *arg)
{
    struct dispatcher_events *events = arg;
    while (!shall_stop(events)) {
        look(events);
        BLX_CLEANUP_FREE char *command = copy_command(events, &events->command);
        BLX_CLEANUP_FREE char *heartbeat = copy_command(events, &events->heartbeat);
        if (command == NULL) { /* the log has it */
            note_failed_tests(events);
            blx_event_list_done(&events->list);
        } else if (is_due(events)) {
            tell(events, command);
        }
        if (heartbeat != NULL && heartbeat_is_due(events))
            beat(events, heartbeat);
    }
}

int dispatcher_events_start(struct dispatcher *dispatcher,
                            const struct dispatcher_events_plan *plan,
                            struct dispatcher_events **events, struct blx_error *err)
{
    BLX_CLEANUP_FREE struct dispatcher_events *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "watching for events");
    made->dispatcher = dispatcher;
    made->plan = *plan;
    made->plan.command = made->plan.heartbeat = NULL;
    made->lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    dispatcher_events_set_commands(made, plan);
    made->stop_fd = eventfd(0, EFD_CLOEXEC);
    if (made->stop_fd < 0) {
        int failed = -errno;
        free(made->command);
        free(made->heartbeat);
        return blx_error_errno(err, failed, "watching for events");
    }
    int rc = dispatcher_threads_init(&made->threads, 1);
    if (rc < 0) {
        blx_error_errno(err, rc, "watching for events");
    } else {
        rc = dispatcher_threads_start(&made->threads, events_main, made, err);
        if (rc < 0)
            dispatcher_threads_done(&made->threads);
    }
    if (rc < 0) {
        close(made->stop_fd);
        free(made->command);
        free(made->heartbeat);
        return rc;
    }
    *events = blx_take_ptr(made);
    return 0;
}

int dispatcher_events_stop(struct dispatcher_events *events, uint64_t deadline_ns)
{
    if (events == NULL)
        return 0;
    (void)eventfd_write(events->stop_fd, 1);
    int rc = dispatcher_threads_wait(&events->threads, deadline_ns);
    if (rc < 0)
        return rc;
    dispatcher_threads_done(&events->threads);
    dispatcher_event_watch_done(&events->watch);
    blx_event_list_done(&events->list);
    close(events->stop_fd);
    free(events->command);
    free(events->heartbeat);
    pthread_mutex_destroy(&events->lock);
    free(events);
    return 0;
}
