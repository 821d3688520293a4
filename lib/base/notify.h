/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells the service manager the daemon's state, as sd_notify(3) does: a datagram to the socket that
 * $NOTIFY_SOCKET names. The protocol is three lines of code and stable, so libsystemd is not needed
 * for it.
 *
 * Threads: any; the environment must not change meanwhile. Never blocks for long: the service
 * manager reads its socket.
 */
#pragma once

/*
 * Sends `state`: "READY=1", "STOPPING=1", "STATUS=...", several of them divided by newlines. 0 also
 * if no service manager asks for it ($NOTIFY_SOCKET is unset or empty). -EINVAL if the variable
 * does not name a UNIX socket (a path, or "@name" for an abstract one), otherwise the error of
 * socket() or sendto(). An error is worth a line in the log, and never a reason to stop.
 */
int blx_notify(const char *state);

/* The same, but -EAGAIN instead of waiting for a service manager that does not read. For messages
 * that are repeated anyway, and for threads that must not wait. */
int blx_notify_at_once(const char *state);

/* Sends `text` to the UNIX datagram socket `name`, without waiting: -EAGAIN. The errors are
 * blx_notify()'s. */
int blx_notify_socket(const char *name, const char *text);
