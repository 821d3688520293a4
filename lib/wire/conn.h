/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection that carries messages: over TLS between agent and dispatcher, over a UNIX socket
 * between `blxrep` and the dispatcher. Straight-line, blocking calls with deadlines on a
 * non-blocking socket.
 *
 * Threads: one thread may be inside blx_conn_recv() while any number call blx_conn_send(); sends
 * are serialised by a lock and never interleave. blx_conn_shutdown() may be called from any thread
 * and wakes them all. The owner calls blx_conn_free() when no thread is inside any more. An SSL
 * object takes one call at a time, so a lock is held around each SSL call, never while waiting.
 *
 * Errors: -ETIMEDOUT, -EPIPE (the other side closed, or blx_conn_shutdown()), -EBADMSG (the bytes
 * received are not a valid message), -EACCES (the other side refused our certificate), -EPROTO
 * (TLS), -ECONNRESET and the like. Two errors leave the connection usable: a send's -EINVAL for a
 * message that is not valid, and a receive's -ETIMEDOUT at a message boundary. After any other
 * error that direction is dead. A failed send says little about its cause; the other side's reason
 * may lie unread in the socket as an ERROR message, so receive until that fails too. Nothing here
 * raises SIGPIPE.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "wire/message.h"

struct blx_conn;
typedef struct ssl_st SSL;

/*
 * Takes over `fd` (any stream socket) and `ssl` (NULL for a UNIX socket; otherwise its handshake is
 * done and it uses fd). On failure (-ENOMEM) both still belong to the caller. `send_timeout_ms`:
 * how long a send may make no progress at all before it fails with -ETIMEDOUT (BLX_FOR_EVER: no
 * limit).
 */
int blx_conn_new(int fd, SSL *ssl, uint64_t send_timeout_ms, struct blx_conn **conn,
                 struct blx_error *err);

/* NULL is allowed. Closes the socket. */
void blx_conn_free(struct blx_conn *conn);

/* Sends a whole message; blocks while the socket is full. */
int blx_conn_send(struct blx_conn *conn, const struct blx_message *message, struct blx_error *err);

/*
 * Waits at most `timeout_ms` for the first byte of a message and decodes the message; after that
 * byte no gap may be longer than 30 s. The message borrows the connection's buffer until the next
 * call. A frame's buffer is released when the connection has been idle, so that an idle connection
 * costs little memory.
 */
int blx_conn_recv(struct blx_conn *conn, uint64_t timeout_ms, struct blx_message *message,
                  struct blx_error *err);

/*
 * For a peer that has not said who it is: from now on a message with a larger body gives -EBADMSG,
 * and one that is not whole `timeout_ms` from now gives -ETIMEDOUT, even if it comes byte by byte.
 * Call it before the first receive.
 */
void blx_conn_restrict(struct blx_conn *conn, size_t max_body_bytes, uint64_t timeout_ms);

/* Ends both directions; threads inside return -EPIPE. */
void blx_conn_shutdown(struct blx_conn *conn);

/*
 * For the receiving thread, after a last message (ERROR, GOODBYE): says that nothing follows and
 * discards what still arrives, until the other side has closed or `timeout_ms` have passed. Without
 * it a close with unread bytes in the socket resets the connection, and the other side may never
 * read that last message. Nothing may be sent or received afterwards; free it next.
 */
void blx_conn_linger(struct blx_conn *conn, uint64_t timeout_ms);

/* Bytes that were sent and received, with headers but without what TLS adds. */
uint64_t blx_conn_sent_bytes(const struct blx_conn *conn);
uint64_t blx_conn_received_bytes(const struct blx_conn *conn);

/* Monotonic time of the last send, for heartbeats. */
uint64_t blx_conn_last_sent_ns(const struct blx_conn *conn);

/*
 * For a receiving thread that waits for the socket itself: if nothing has come by this time it is
 * to call blx_conn_recv() again, with any timeout, so that the memory for receiving is freed.
 * BLX_FOR_EVER: no memory is held.
 */
uint64_t blx_conn_idle_ns(const struct blx_conn *conn);
