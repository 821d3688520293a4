/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells the service manager how the daemon does, as sd_notify(3) does: a datagram to the socket
 * that $NOTIFY_SOCKET names. The protocol is three lines of code and stable, so libsystemd is not
 * needed for it.
 *
 * Threads: any; the environment must not change meanwhile. Never blocks for long: the service
 * manager reads its socket.
 */
#pragma once

/*
 * Sends `state`: "READY=1", "STOPPING=1", "STATUS=...", several divided by newlines. 0 also where
 * no service manager asks for it ($NOTIFY_SOCKET is unset or empty). -EINVAL where the variable
 * names no UNIX socket (a path, or "@name" for an abstract one), otherwise what socket() or
 * sendto() said: worth a line in the log, never a reason to stop.
 */
int blx_notify(const char *state);

/* The same without waiting for a service manager that does not read: -EAGAIN. For what is repeated
 * anyway, and from where nothing may wait. */
int blx_notify_at_once(const char *state);
