/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk_watch.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/units.h"

enum {
    STACK_BYTES = 256 * 1024,
    EVENT_BYTES = 8192,
    SETTLE_MS = 500, /* nodes come several at a time, and udev makes its links after them */
    LOOK_MS = 10 * 1000,
};

struct agent_disk_watch {
    struct agent *agent;
    int event_fd; /* an inotify of /dev; negative: the looks alone must do */
    int stop_fd;  /* an eventfd that is written once and never read */
    pthread_t thread;
};

static int open_events(void)
{
    BLX_CLEANUP_FD int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd < 0 || inotify_add_watch(fd, "/dev", IN_CREATE | IN_DELETE | IN_MOVE) < 0)
        return -errno;
    return blx_take_fd(&fd);
}

/* Takes every event that has come. Whatever it is, a look is cheap. */
static bool drain_events(int fd)
{
    char events[EVENT_BYTES];
    bool found = false;
    while (read(fd, events, sizeof(events)) > 0)
        found = true;
    return found;
}

static bool shall_stop(const struct agent_disk_watch *watch, int timeout_ms)
{
    struct pollfd stop = {.fd = watch->stop_fd, .events = POLLIN};
    return poll(&stop, 1, timeout_ms) > 0;
}

/* Returns when it is time for a look. False: the watch is to stop. */
static bool wait_for_look(const struct agent_disk_watch *watch)
{
    uint64_t deadline_ns = blx_clock_ns() + LOOK_MS * UINT64_C(1000000);
    for (uint64_t now_ns; (now_ns = blx_clock_ns()) < deadline_ns;) {
        struct pollfd fds[] = {
            {.fd = watch->stop_fd, .events = POLLIN},
            {.fd = watch->event_fd, .events = POLLIN},
        };
        poll(fds, 2, (int)((deadline_ns - now_ns) / 1000000) + 1);
        if (fds[0].revents != 0)
            return false;
        if (fds[1].revents != 0 && drain_events(watch->event_fd))
            return !shall_stop(watch, SETTLE_MS);
    }
    return true;
}

/* Whether a disk that was there but could not be opened can be opened now: a SCSI disk that the
 * kernel had given up, or one whose driver was not ready. */
static bool has_recovered(const struct agent_disks *disks)
{
    for (size_t i = 0; i < disks->count; i++) {
        struct agent_device device;
        if (disks->list[i].refused && agent_device_find(disks->list[i].path, &device, NULL) == 0)
            return true;
    }
    return false;
}

static void look(struct agent *agent)
{
    struct blx_policy_message policy;
    struct agent_disks disks, before;
    pthread_mutex_lock(&agent->lock);
    policy = agent->policy;
    before = agent->disks;
    pthread_mutex_unlock(&agent->lock);
    if (agent_disks_find(agent->config, &policy, &disks, NULL) < 0)
        return; /* the next look may succeed */
    bool has_changed = !agent_disks_equal(&disks, &before) || has_recovered(&before);
    pthread_mutex_lock(&agent->lock);
    /* A lineup in between has seen the same disks. */
    if (has_changed && agent->disks.number == before.number)
        agent_rejoin_locked(agent);
    pthread_mutex_unlock(&agent->lock);
}

static void *watch_main(void *arg)
{
    struct agent_disk_watch *watch = arg;
    while (wait_for_look(watch))
        look(watch->agent);
    return NULL;
}

static void watch_free(struct agent_disk_watch *watch)
{
    blx_cleanup_fd(&watch->event_fd);
    blx_cleanup_fd(&watch->stop_fd);
    free(watch);
}

int agent_disk_watch_start(struct agent *agent, struct agent_disk_watch **watch,
                           struct blx_error *err)
{
    struct agent_disk_watch *made = malloc(sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot watch for disks");
    *made = (struct agent_disk_watch){
        .agent = agent, .event_fd = open_events(), .stop_fd = eventfd(0, EFD_CLOEXEC)};
    if (made->event_fd < 0)
        blx_log_debug("no events of /dev: %s; disks are looked for every %d s",
                      strerror(-made->event_fd), LOOK_MS / 1000);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    int rc =
        made->stop_fd < 0 ? -EMFILE : -pthread_create(&made->thread, &attributes, watch_main, made);
    pthread_attr_destroy(&attributes);
    if (rc < 0) {
        watch_free(made);
        return blx_error_errno(err, rc, "cannot watch for disks");
    }
    *watch = made;
    return 0;
}

void agent_disk_watch_stop(struct agent_disk_watch *watch)
{
    if (watch == NULL)
        return;
    (void)eventfd_write(watch->stop_fd, 1); /* the first write to an eventfd cannot fail */
    pthread_join(watch->thread, NULL);
    watch_free(watch);
}
