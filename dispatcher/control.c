/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/control.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/units.h"
#include "dispatcher/control_private.h"
#include "wire/message.h"

enum { BACKLOG = 16, EXHAUSTED_PAUSE_MS = 100 };

#define NEW_SOCKET_NAME BLX_CONTROL_SOCKET_NAME ".new"

struct dispatcher_control {
    /* Constant while the threads run. */
    struct dispatcher *dispatcher;
    int directory_fd;
    int listen_fd;
    int stop_fd; /* an eventfd that main() writes once and nobody reads: it wakes all threads */

    pthread_t thread;                  /* accepts; main() joins it */
    struct dispatcher_threads clients; /* has a lock of its own */
};

struct control_client {
    struct dispatcher_control *control;
    int fd;
};

static void client_main(void *arg)
{
    struct control_client client = *(struct control_client *)arg;
    free(arg);
    dispatcher_control_serve(client.control->dispatcher, client.fd, client.control->stop_fd);
}

static void start_client(struct dispatcher_control *control, int accepted_fd)
{
    BLX_CLEANUP_FD int fd = accepted_fd;
    BLX_CLEANUP_FREE struct control_client *client = malloc(sizeof(*client));
    struct blx_error err = {0};
    unsigned held_back = 0;

    if (client == NULL)
        return;
    *client = (struct control_client){.control = control, .fd = fd};
    if (dispatcher_threads_start(&control->clients, client_main, client, &err) == 0) {
        (void)blx_take_fd(&fd);
        (void)blx_take_ptr(client);
    } else if (dispatcher_rate_allow(&control->dispatcher->refusals, blx_clock_ns(), &held_back)) {
        blx_log_warning("refused a client of the control socket: %s (%u more were refused since "
                        "the last such line)",
                        err.message, held_back);
    }
}

static void *control_main(void *arg)
{
    struct dispatcher_control *control = arg;
    bool exhausted = false;
    for (;;) {
        struct pollfd fds[] = {
            {.fd = control->stop_fd, .events = POLLIN},
            {.fd = exhausted ? -1 : control->listen_fd, .events = POLLIN},
        };
        int ready = poll(fds, 2, exhausted ? EXHAUSTED_PAUSE_MS : -1);
        exhausted = false;
        if (ready > 0 && fds[0].revents != 0)
            return NULL;
        if (ready <= 0 || fds[1].revents == 0)
            continue;
        int fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            start_client(control, fd);
        else
            exhausted = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
    }
}

/* Binds in the directory. Mode and owner are right before the socket gets its final name. */
static int publish_socket(int directory_fd, int fd, struct blx_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat owner;

    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", directory_fd,
             NEW_SOCKET_NAME);
    if (unlinkat(directory_fd, NEW_SOCKET_NAME, 0) < 0 && errno != ENOENT)
        return blx_error_errno(err, -errno, "removing the old '%s'", NEW_SOCKET_NAME);
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return blx_error_errno(err, -errno, "binding '%s'", NEW_SOCKET_NAME);
    if (fchmodat(directory_fd, NEW_SOCKET_NAME, 0600, 0) < 0 || fstat(directory_fd, &owner) < 0)
        return blx_error_errno(err, -errno, "setting the mode of '%s'", NEW_SOCKET_NAME);
    if (owner.st_uid != geteuid() && fchownat(directory_fd, NEW_SOCKET_NAME, owner.st_uid,
                                              owner.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
        return blx_error_errno(err, -errno, "giving '%s' to the owner of its directory",
                               NEW_SOCKET_NAME);
    if (listen(fd, BACKLOG) < 0)
        return blx_error_errno(err, -errno, "listening on '%s'", NEW_SOCKET_NAME);
    if (renameat(directory_fd, NEW_SOCKET_NAME, directory_fd, BLX_CONTROL_SOCKET_NAME) < 0)
        return blx_error_errno(err, -errno, "renaming '%s' to '%s'", NEW_SOCKET_NAME,
                               BLX_CONTROL_SOCKET_NAME);
    return 0;
}

static int open_socket(struct dispatcher_control *control, struct blx_error *err)
{
    const char *data_dir = control->dispatcher->store->data_dir;
    int fd = blx_open(data_dir, O_PATH | O_DIRECTORY, 0, err);
    if (fd < 0)
        return fd;
    control->directory_fd = fd;
    control->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    control->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (control->stop_fd < 0 || control->listen_fd < 0)
        return blx_error_errno(err, -errno, "making the control socket");
    int rc = publish_socket(control->directory_fd, control->listen_fd, err);
    if (rc < 0)
        blx_error_prefix(err, "the control socket '%s/%s'", data_dir, BLX_CONTROL_SOCKET_NAME);
    return rc;
}

static void control_free(struct dispatcher_control *control)
{
    blx_cleanup_fd(&control->directory_fd);
    blx_cleanup_fd(&control->listen_fd);
    blx_cleanup_fd(&control->stop_fd);
    dispatcher_threads_done(&control->clients);
    free(control);
}

static void remove_socket(const struct dispatcher_control *control)
{
    if (unlinkat(control->directory_fd, BLX_CONTROL_SOCKET_NAME, 0) < 0 && errno != ENOENT)
        blx_log_warning("the control socket could not be removed: the next start replaces it");
}

int dispatcher_control_start(struct dispatcher *dispatcher, struct dispatcher_control **control,
                             struct blx_error *err)
{
    struct dispatcher_control *made = malloc(sizeof(*made));
    if (made == NULL)
        return blx_error_set(err, -ENOMEM, "the control socket: out of memory");
    *made = (struct dispatcher_control){
        .dispatcher = dispatcher, .directory_fd = -1, .listen_fd = -1, .stop_fd = -1};
    int rc = dispatcher_threads_init(&made->clients, DISPATCHER_CONTROL_MAX_CLIENTS);
    if (rc < 0) {
        free(made);
        return blx_error_errno(err, rc, "the control socket's threads");
    }
    rc = open_socket(made, err);
    if (rc == 0 && (rc = dispatcher_thread_create(&made->thread, control_main, made)) < 0) {
        blx_error_errno(err, rc, "starting the control socket's thread");
        remove_socket(made);
    }
    if (rc < 0)
        control_free(made);
    else
        *control = made;
    return rc;
}

int dispatcher_control_stop(struct dispatcher_control *control, uint64_t deadline_ns)
{
    (void)eventfd_write(control->stop_fd, 1); /* the first write to an eventfd cannot fail */
    pthread_join(control->thread, NULL);
    remove_socket(control);
    int rc = dispatcher_threads_wait(&control->clients, deadline_ns);
    if (rc == 0)
        control_free(control);
    return rc;
}
