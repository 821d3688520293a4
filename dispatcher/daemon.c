/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/daemon.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/notify.h"
#include "base/units.h"
#include "base/version.h"
#include "dispatcher/address.h"
#include "dispatcher/announce.h"
#include "dispatcher/audit.h"
#include "dispatcher/control.h"
#include "dispatcher/copier.h"
#include "dispatcher/dispatcher.h"
#include "dispatcher/events.h"
#include "dispatcher/metrics.h"
#include "dispatcher/neighbours.h"
#include "dispatcher/policy_book.h"
#include "dispatcher/pruner.h"
#include "dispatcher/rewriter.h"
#include "dispatcher/scheduler.h"
#include "dispatcher/server.h"
#include "dispatcher/sources.h"
#include "dispatcher/standby.h"
#include "store/owner.h"
#include "store/remove/remove.h"
#include "store/reserve.h"
#include "wire/control_socket.h"

/* A store that is locked, and the place among its dispatchers. */
struct site_claim {
    struct blx_store store;
    struct blx_member member; /* lock_fd -1: it could not be taken */
};

static void give_up(struct site_claim *claim)
{
    blx_member_leave(&claim->store, &claim->member);
    blx_store_close(&claim->store);
}

static void notify(const char *state)
{
    if (blx_notify(state) < 0)
        blx_log_warning("cannot tell the service manager at $NOTIFY_SOCKET \"%s\"", state);
}

static void log_listening(const struct blx_config *config, int listen_fd)
{
    char address[BLX_TEXT_BYTES] = "an unknown address", period[BLX_UNIT_TEXT_BYTES];
    char status[BLX_TEXT_BYTES + 64];

    dispatcher_address_format_local(listen_fd, address, NULL);
    blx_log_info("listening on %s, data in '%s', a checkpoint of every agent every %s "
                 "(blxrep-dispatcher %s)",
                 address, config->data_dir, blx_duration_format(config->sync_freq_ms, period),
                 BLX_VERSION);
    snprintf(status, sizeof(status), "READY=1\nSTATUS=Listening on %s", address);
    notify(status);
}

enum { DISPATCHER_TO_OBJECT_STORE, DISPATCHER_FROM_SOURCE, DISPATCHER_COPIERS };

/* The first that does not end keeps the other one from being waited for. */
static int stop_copiers(struct dispatcher_copier copiers[DISPATCHER_COPIERS], uint64_t deadline_ns)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < DISPATCHER_COPIERS; i++)
        rc = dispatcher_copier_stop(&copiers[i], deadline_ns);
    return rc;
}

/*
 * Ends all other threads. If one does not end, the process exits at once: the memory that such a
 * thread uses cannot be freed under it.
 */
static void stop_threads(struct dispatcher *dispatcher, struct dispatcher_scheduler *scheduler,
                         struct dispatcher_chore *pruner, struct dispatcher_chore *rewriter,
                         struct dispatcher_copier copiers[DISPATCHER_COPIERS],
                         struct dispatcher_control *control, struct dispatcher_events *events)
{
    struct dispatcher_neighbours *neighbours = dispatcher->neighbours;
    uint64_t deadline_ns = blx_clock_ns() + DISPATCHER_STOP_MS * UINT64_C(1000000);
    uint64_t cut_ns = deadline_ns - DISPATCHER_STOP_MS * UINT64_C(1000000) / 2;

    notify("STOPPING=1");
    dispatcher_registry_stop(&dispatcher->registry);
    dispatcher_scheduler_stop(scheduler);
    int control_rc = dispatcher_control_stop(control, deadline_ns);
    int events_rc = dispatcher_events_stop(events, cut_ns);
    int sessions_rc = dispatcher_threads_wait(&dispatcher->sessions, cut_ns);
    if (sessions_rc < 0) {
        dispatcher_registry_cut(&dispatcher->registry);
        sessions_rc = dispatcher_threads_wait(&dispatcher->sessions, deadline_ns);
    }
    int pruner_rc = dispatcher_chore_stop(pruner, deadline_ns);
    int rewriter_rc = dispatcher_chore_stop(rewriter, deadline_ns);
    int copier_rc = stop_copiers(copiers, deadline_ns);
    bool ended = control_rc == 0 && events_rc == 0 && sessions_rc == 0 && pruner_rc == 0 &&
                 rewriter_rc == 0 && copier_rc == 0;
    /* The last one, since the others ask it. */
    if (ended && dispatcher_neighbours_stop(neighbours, deadline_ns) == 0)
        return;
    blx_log_warning("stopped while a %s was still using the disk; no acknowledged data is lost",
                    sessions_rc < 0   ? "session"
                    : pruner_rc < 0   ? "prune"
                    : rewriter_rc < 0 ? "rewrite"
                    : copier_rc < 0   ? "copy"
                    : events_rc < 0   ? "check for events"
                    : ended           ? "look for other dispatchers"
                                      : "client");
    _exit(BLX_EXIT_OK);
}

/* What a reload works on. */
struct site {
    struct dispatcher *dispatcher;
    const struct blx_config *config; /* of the start */
    struct dispatcher_words words;
    struct dispatcher_events *events;
};

static bool is_other(const char *a, const char *b)
{
    return (a == NULL) != (b == NULL) || (a != NULL && strcmp(a, b) != 0);
}

/* Names each option that holds since the start, whatever the file says now; `text` becomes all of
 * them. */
static void list_restarts(const struct blx_config *now, const struct blx_config *fresh,
                          char text[BLX_TEXT_BYTES])
{
    size_t count = 0, used = 0;
    text[0] = '\0';
    const struct {
        const char *name;
        bool changed;
    } options[] = {
        {"data-dir", is_other(now->data_dir, fresh->data_dir)},
        {"listen", is_other(now->listen, fresh->listen)},
        {"shared", now->shared != fresh->shared},
        {"metrics-listen", is_other(now->metrics_listen, fresh->metrics_listen)},
        {"policy-dir", is_other(now->policy_dir, fresh->policy_dir)},
        {"tls", is_other(now->tls.ca, fresh->tls.ca) || is_other(now->tls.cert, fresh->tls.cert) ||
                    is_other(now->tls.key, fresh->tls.key)},
        {"source", is_other(now->source.addr, fresh->source.addr) ||
                       is_other(now->source.credentials, fresh->source.credentials) ||
                       now->source.every_ms != fresh->source.every_ms},
        {"rewrite-rate", now->rewrite_bytes_per_second != fresh->rewrite_bytes_per_second},
        {"memory-limit", now->memory_limit_bytes != fresh->memory_limit_bytes},
        {"prune-grace", now->prune_grace_ms != fresh->prune_grace_ms},
        {"hook-timeout", now->hook_timeout_ms != fresh->hook_timeout_ms},
    };
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (!options[i].changed)
            continue;
        blx_log_warning("%s is another one in the configuration: restart the dispatcher for it",
                        options[i].name);
        used += (size_t)snprintf(text + used, BLX_TEXT_BYTES - used, "%s%s",
                                 count++ > 0 ? ", " : "", options[i].name);
    }
    if (count > 0)
        snprintf(text + used, BLX_TEXT_BYTES - used,
                 count == 1 ? " is another one" : " are other ones");
}

static void adopt(const struct site *site, const struct blx_config *fresh,
                  struct blx_policies *policies, struct dispatcher_sources_look *look)
{
    struct dispatcher *dispatcher = site->dispatcher;
    char restarts[BLX_TEXT_BYTES];
    size_t count = policies->count;
    struct blx_policy_verdict options = {.sync_freq_ms = fresh->sync_freq_ms,
                                         .retention = fresh->retention};
    bool own = dispatcher_policy_book_exchange(dispatcher->book, policies, &options);
    const struct dispatcher_events_plan plan = {.command = fresh->on_event,
                                                .heartbeat = fresh->on_heartbeat,
                                                .heartbeat_ms = fresh->heartbeat_freq_ms};
    bool command = dispatcher_events_set_commands(site->events, &plan);
    blx_log_info(
        "the policies in '%s' were read again: %zu; sync-freq and retention are %s, on-event is "
        "%s",
        dispatcher->policy_dir, count, own ? "new" : "as before", command ? "new" : "as before");
    dispatcher_audit(dispatcher, "policies", NULL, "%zu read again from '%s'%s", count,
                     dispatcher->policy_dir, own ? ", and new own rules" : "");
    dispatcher_registry_order_policy(&dispatcher->registry, NULL);
    dispatcher_announce_start(dispatcher, policies, &options);
    list_restarts(site->config, fresh, restarts);
    dispatcher_sources_adopt(dispatcher->sources, look, restarts);
}

static void reload(const struct site *site)
{
    BLX_CLEANUP_POLICIES struct blx_policies policies = {0};
    BLX_CLEANUP_CONFIG struct blx_config fresh = {0};
    enum blx_config_result result;
    struct blx_error err = {0};

    BLX_CLEANUP(dispatcher_sources_look_done)
    struct dispatcher_sources_look look = {.list = NULL};

    notify("RELOADING=1");
    dispatcher_sources_look(site->dispatcher->sources, &look);
    int rc = blx_config_load(BLX_COMMAND_DISPATCHER, site->words.count, site->words.list, &fresh,
                             &result, &err);
    if (rc == 0)
        rc = blx_config_require(BLX_COMMAND_DISPATCHER, &fresh, &err);
    if (rc == 0)
        rc = blx_policies_read(site->dispatcher->policy_dir, &policies, &err);
    if (rc < 0)
        blx_log_error("the configuration and the policies stay as they were: %s", err.message);
    else
        adopt(site, &fresh, &policies, &look);
    notify("READY=1");
}

/* False: stop serving. */
static bool follow_signal(const struct site *site, int signal_fd)
{
    struct signalfd_siginfo info;
    if (read(signal_fd, &info, sizeof(info)) != sizeof(info))
        return errno == EAGAIN;
    if (info.ssi_signo != SIGHUP)
        return false;
    reload(site);
    return true;
}

static int serve(struct dispatcher *dispatcher, const struct blx_config *config,
                 struct dispatcher_words words, int listen_fd, int signal_fd, struct blx_error *err)
{
    struct dispatcher_scheduler scheduler;
    struct dispatcher_pruner pruner = {0};
    struct dispatcher_rewriter rewriter = {0};
    struct dispatcher_copier copiers[DISPATCHER_COPIERS] = {{0}};
    struct dispatcher_control *control = NULL;
    struct dispatcher_metrics *metrics = NULL;
    struct dispatcher_events *events = NULL;
    const struct dispatcher_events_plan plan = {.command = config->on_event,
                                                .heartbeat = config->on_heartbeat,
                                                .heartbeat_ms = config->heartbeat_freq_ms,
                                                .timeout_ms = config->hook_timeout_ms,
                                                .look_ms = DISPATCHER_EVENTS_LOOK_MS,
                                                .settle_ms = DISPATCHER_EVENTS_SETTLE_MS,
                                                .apart_ms = DISPATCHER_EVENTS_APART_MS};

    blx_watchdog_init(&dispatcher->watchdog, DISPATCHER_HANDS);
    int rc = dispatcher_metrics_start(dispatcher, config->metrics_listen, &metrics, err);
    if (rc == 0)
        rc = dispatcher_control_start(dispatcher, &control, err);
    if (rc == 0)
        rc = dispatcher_events_start(dispatcher, &plan, &events, err);
    if (rc == 0)
        rc = dispatcher_scheduler_start(&scheduler, &dispatcher->registry, &dispatcher->watchdog,
                                        DISPATCHER_HAND_SCHEDULER, err);
    if (rc < 0) {
        dispatcher_events_stop(events, UINT64_MAX);
        if (control != NULL)
            dispatcher_control_stop(control, UINT64_MAX);
        dispatcher_metrics_stop(metrics);
        dispatcher_neighbours_stop(dispatcher->neighbours, UINT64_MAX);
        return rc;
    }
    rc = dispatcher_pruner_start(&pruner, dispatcher, config->prune_grace_ms, err);
    dispatcher->pruner = rc == 0 ? &pruner : NULL;
    if (rc == 0 && config->rewrite_bytes_per_second != 0)
        rc = dispatcher_rewriter_start(&rewriter, &dispatcher->registry, dispatcher->store,
                                       config->rewrite_bytes_per_second, err);
    if (rc == 0)
        rc = dispatcher_copier_start(&copiers[DISPATCHER_TO_OBJECT_STORE], dispatcher, config, err);
    if (rc == 0)
        rc = dispatcher_copier_start_source(&copiers[DISPATCHER_FROM_SOURCE], dispatcher, config,
                                            &pruner, err);
    if (rc == 0) {
        if (metrics != NULL)
            blx_log_info("metrics are served at http://%s/metrics",
                         dispatcher_metrics_get_address(metrics));
        log_listening(config, listen_fd);
        const struct site site = {dispatcher, config, words, events};
        do
            rc = dispatcher_server_run(dispatcher, listen_fd, signal_fd, err);
        while (rc == 0 && follow_signal(&site, signal_fd));
        blx_log_info("stopping");
    }
    dispatcher_metrics_stop(metrics);
    stop_threads(dispatcher, &scheduler, &pruner.chore, &rewriter.chore, copiers, control, events);
    return rc;
}

/* With the other dispatchers in sight, if this one has a place among them. */
static int serve_beside_others(struct dispatcher *dispatcher, const struct blx_member *member,
                               const struct blx_config *config, struct dispatcher_words words,
                               int listen_fd, int signal_fd, struct blx_error *err)
{
    int rc = 0;
    if (member->lock_fd >= 0)
        rc = dispatcher_neighbours_start(dispatcher, member, config->listen,
                                         &dispatcher->neighbours, err);
    return rc == 0 ? serve(dispatcher, config, words, listen_fd, signal_fd, err) : rc;
}

static int serve_with_shared_state(struct dispatcher *dispatcher, const struct blx_member *member,
                                   const struct blx_config *config, struct dispatcher_words words,
                                   int listen_fd, int signal_fd, struct blx_error *err)
{
    int rc = dispatcher_registry_init(&dispatcher->registry, DISPATCHER_MAX_PENDING,
                                      DISPATCHER_MAX_FROM_SOURCE);
    if (rc < 0)
        return blx_error_errno(err, rc, "making the registry");
    dispatcher_roster_init(&dispatcher->roster);
    dispatcher_proofs_init(&dispatcher->proofs);
    dispatcher_copies_init(&dispatcher->copies, &config->object_store);
    dispatcher_turns_init(&dispatcher->turns, config->memory_limit_bytes);
    rc = dispatcher_threads_init(&dispatcher->sessions, UINT_MAX);
    if (rc == 0) {
        rc = serve_beside_others(dispatcher, member, config, words, listen_fd, signal_fd, err);
        dispatcher_threads_done(&dispatcher->sessions);
    } else {
        blx_error_errno(err, rc, "making the sessions' thread group");
    }
    dispatcher_turns_done(&dispatcher->turns);
    dispatcher_copies_done(&dispatcher->copies);
    dispatcher_proofs_done(&dispatcher->proofs);
    dispatcher_roster_done(&dispatcher->roster);
    dispatcher_registry_done(&dispatcher->registry);
    return rc;
}

/* A store without it works as long as it is not full. */
static void make_reserve(const struct blx_store *store)
{
    struct blx_error err = {0};
    if (blx_reserve_make(store, &err) < 0)
        blx_log_warning("cannot keep room for pruning: %s", err.message);
}

/* Whoever removed an agent was promised that all of it goes. */
static void finish_removals(const struct blx_store *store)
{
    struct blx_error err = {0};
    size_t finished = 0;
    int rc = blx_remove_finish(store, &finished, &err);
    if (finished > 0)
        blx_log_notice("removed the rest of %zu folder%s, after a removal that was cut off",
                       finished, finished == 1 ? "" : "s");
    if (rc < 0)
        blx_log_warning("a removal that was cut off cannot be ended: %s", err.message);
}

static void warn_of_open_door(const struct blx_config *config)
{
    if (config->tls.ca != NULL && config->admit_count == 0)
        blx_log_warning("every client that the authority in '%s' has signed a certificate for is "
                        "admitted as an agent: name the agents with 'admit'",
                        config->tls.ca);
}

/* What a dispatcher of root's leaves there the service could not read, and every agent would be
 * locked out. */
static int become_owner(const char *data_dir, struct blx_error *err)
{
    struct stat st = {.st_uid = 0};
    enum blx_owner owner = BLX_OWNER_KEPT;
    int rc = blx_owner_become(data_dir, &owner, err);
    if (rc < 0 || owner == BLX_OWNER_KEPT)
        return rc;
    if (owner == BLX_OWNER_BECAME) {
        blx_log_notice("started by root: it goes on as user %u, who owns '%s'", getuid(), data_dir);
        return 0;
    }
    if (stat(data_dir, &st) != 0)
        return blx_error_errno(err, -errno, "cannot use the data directory '%s'", data_dir);
    return blx_error_set(err, -EACCES,
                         "the data directory '%s' belongs to user %u, who cannot reach it: let "
                         "that user pass the folders above it, or give it to root (chown -R)",
                         data_dir, st.st_uid);
}

/* 1: a standby was told to end. */
static int claim(const struct blx_config *config, int signal_fd, struct site_claim *claim,
                 struct blx_error *err)
{
    struct blx_error why = {0};
    int rc = become_owner(config->data_dir, err);
    if (rc == 0 && config->init)
        rc = blx_store_open(config->data_dir, BLX_STORE_INIT, &claim->store, err);
    if (rc < 0)
        return rc;
    rc = blx_store_open(config->data_dir, config->shared ? BLX_STORE_SHARE : BLX_STORE_WRITE,
                        &claim->store, &why);
    if (rc == -EBUSY && config->standby)
        return dispatcher_standby_wait(config, signal_fd, &claim->store, &claim->member, err);
    return rc < 0 ? blx_error_copy(err, rc, &why) : 0;
}

/* Without a place it serves all the same, unless others share the directory: they could not tell
 * that it is there. */
static int enter(struct site_claim *claim, struct blx_error *err)
{
    struct blx_error why = {0};
    int rc = claim->member.lock_fd >= 0 ? 0 : blx_member_enter(&claim->store, &claim->member, &why);
    if (rc == 0)
        return 0;
    if (claim->store.shared)
        return blx_error_copy(err, rc, &why);
    blx_log_warning("a standby could not tell whom it waits for: %s", why.message);
    return 0;
}

int dispatcher_daemon_run(const struct blx_config *config, struct dispatcher_words words,
                          struct blx_policies *policies, int signal_fd, struct blx_error *err)
{
    BLX_CLEANUP(give_up)
    struct site_claim site = {.store.lock_fd = -1, .member.lock_fd = -1};

    int rc = claim(config, signal_fd, &site, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = enter(&site, err);
    if (rc < 0)
        return rc;
    make_reserve(&site.store);
    warn_of_open_door(config);
    finish_removals(&site.store);
    int fd = blx_address_listen(config->listen, err);
    if (fd < 0)
        return fd;
    BLX_CLEANUP_FD int listen_fd = fd;
    struct dispatcher_policy_book book;
    struct dispatcher_sources sources;
    char control_name[BLX_CONTROL_NAME_BYTES];
    blx_control_socket_name(site.member.name, control_name);
    struct dispatcher dispatcher = {
        .store = &site.store,
        .control_name = site.store.shared ? control_name : NULL,
        .data_dir = config->data_dir,
        .own_pki = config->tls.ca == NULL,
        .policy_dir = config->policy_dir,
        .admitted = config->admitted,
        .admit_count = config->admit_count,
        .book = &book,
        .sources = &sources,
        .heartbeat_ms = DISPATCHER_HEARTBEAT_MS,
        .pause_ms = DISPATCHER_PAUSE_MS,
        .refusals = DISPATCHER_RATE_INIT,
    };
    rc = dispatcher_identity_load(&dispatcher.identity, config, err);
    if (rc < 0)
        return rc;
    dispatcher_sources_init(&sources, config->config_path, config->policy_dir);
    dispatcher_policy_book_init(&book, policies, config->sync_freq_ms, &config->retention);
    rc = serve_with_shared_state(&dispatcher, &site.member, config, words, listen_fd, signal_fd,
                                 err);
    dispatcher_policy_book_done(&book);
    dispatcher_sources_done(&sources);
    dispatcher_identity_done(&dispatcher.identity);
    return rc;
}
