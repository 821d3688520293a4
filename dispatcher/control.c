/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/control.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "dispatcher/control_private.h"
#include "wire/control_socket.h"

struct dispatcher_control {
    /* Constant while the threads run. */
    struct dispatcher *dispatcher;
    struct blx_control_socket socket; /* closed by main() when the accepting thread has ended */
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

static void start_client(void *arg, int accepted_fd)
{
    struct dispatcher_control *control = arg;
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
    blx_control_socket_serve(&control->socket, control->stop_fd, start_client, control);
    return NULL;
}

static void control_free(struct dispatcher_control *control)
{
    blx_cleanup_fd(&control->stop_fd);
    dispatcher_threads_done(&control->clients);
    free(control);
}

static void close_socket(struct dispatcher_control *control)
{
    if (blx_control_socket_close(&control->socket) < 0)
        blx_log_warning("the control socket could not be removed: the next start replaces it");
}

int dispatcher_control_start(struct dispatcher *dispatcher, struct dispatcher_control **control,
                             struct blx_error *err)
{
    struct dispatcher_control *made = malloc(sizeof(*made));
    if (made == NULL)
        return blx_error_set(err, -ENOMEM, "the control socket: out of memory");
    *made = (struct dispatcher_control){.dispatcher = dispatcher,
                                        .stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    int rc = dispatcher_threads_init(&made->clients, DISPATCHER_CONTROL_MAX_CLIENTS);
    if (rc < 0) {
        blx_cleanup_fd(&made->stop_fd);
        free(made);
        return blx_error_errno(err, rc, "the control socket's threads");
    }
    rc = made->stop_fd < 0 ? blx_error_errno(err, -EMFILE, "making the control socket")
                           : blx_control_socket_open_as(dispatcher->store->data_dir,
                                                        dispatcher->control_name != NULL
                                                            ? dispatcher->control_name
                                                            : BLX_CONTROL_SOCKET_NAME,
                                                        &made->socket, err);
    if (rc == 0 && (rc = dispatcher_thread_create(&made->thread, control_main, made)) < 0) {
        blx_error_errno(err, rc, "starting the control socket's thread");
        close_socket(made);
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
    close_socket(control);
    int rc = dispatcher_threads_wait(&control->clients, deadline_ns);
    if (rc == 0)
        control_free(control);
    return rc;
}
