/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket at which a daemon answers `blxrep`: FOLDER/control.sock, in the dispatcher's data
 * directory or the agent's run-dir. It has mode 0600 and the owner of the folder. A connection
 * carries one request.
 *
 * The socket is made under another name and renamed, so it replaces one that a killed daemon left.
 * Whoever opens it must know that no other daemon has that folder. Paths are relative to a
 * descriptor of the folder, as the path of a socket is limited to 107 bytes.
 *
 * Threads: no shared state. blx_control_socket_serve() blocks, and so does connecting.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "base/name.h"
#include "wire/conn.h"

enum { BLX_CONTROL_NAME_BYTES = BLX_NAME_BYTES + 16 };

struct blx_control_socket {
    int dir_fd;
    int listen_fd; /* not blocking */
    char name[BLX_CONTROL_NAME_BYTES];
};

/*
 * The socket's file name in a folder that several hosts have: "control.HOST.sock", with the name of
 * a dispatcher (store/member.h). The file is everybody's; the socket is the host's that made it,
 * since no other kernel connects to it.
 */
void blx_control_socket_name(const char *host, char name[BLX_CONTROL_NAME_BYTES]);

/* Begins to listen. `control` is written on success; end it with blx_control_socket_close(). The
 * message names the socket. */
int blx_control_socket_open(const char *dir, struct blx_control_socket *control,
                            struct blx_error *err);

/* The same under another file name. */
int blx_control_socket_open_as(const char *dir, const char *name,
                               struct blx_control_socket *control, struct blx_error *err);

/* A client, whose descriptor is the callee's from now on. */
typedef void blx_control_take(void *arg, int fd);

/* Waits for clients and gives each one to take(), until `stop_fd` is readable. While the machine is
 * out of descriptors or memory it pauses instead of spinning. */
void blx_control_socket_serve(const struct blx_control_socket *control, int stop_fd,
                              blx_control_take *take, void *arg);

/* Removes the socket's name and closes it. -errno if the name could not be removed; the next start
 * replaces it. */
int blx_control_socket_close(struct blx_control_socket *control);

/*
 * Connects to the daemon that listens there: to the one of this host, if it has a name of its own.
 * `send_timeout_ms` as in blx_conn_new(); free the connection with blx_conn_free(). -ENOTCONN: no
 * daemon listens; -EPERM: only another user may ask; others say that the folder cannot be opened,
 * or why there is no socket.
 */
int blx_control_socket_connect(const char *dir, uint64_t send_timeout_ms, struct blx_conn **conn,
                               struct blx_error *err);
