/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/conn.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "wire/socket_bio.h"
#include "wire/ssl_error.h"
#include "wire/wait.h"

enum {
    GAP_TIMEOUT_MS = 30000,        /* between two bytes of a message */
    IDLE_MS = 1000,                /* without a byte until the receive buffer is freed */
    BUFFER_MIN_BYTES = 128 * 1024, /* a mapping, which goes back to the kernel when it is freed */
};

struct blx_conn {
    int fd;
    SSL *ssl; /* NULL: plain */
    uint64_t send_timeout_ms;
    atomic_bool ended; /* blx_conn_shutdown() was called */
    atomic_uint_least64_t sent_bytes;
    atomic_uint_least64_t received_bytes;
    atomic_uint_least64_t last_sent_ns;

    /* Lock order: send_lock, then ssl_lock. */
    pthread_mutex_t send_lock; /* one message at a time; guards send_rc */
    int send_rc; /* not 0: a send failed, perhaps in the middle of a message, so none may follow */
    pthread_mutex_t ssl_lock; /* around each call on ssl, never while waiting */

    /* Only the receiving thread uses these. */
    int recv_rc; /* not 0: a receive failed in the middle of a message */
    uint8_t *buffer;
    size_t buffer_bytes;
    uint64_t last_received_ns;
    size_t max_body_bytes;     /* see blx_conn_restrict() */
    uint64_t recv_deadline_ns; /* likewise */
};

int blx_conn_new(int fd, SSL *ssl, uint64_t send_timeout_ms, struct blx_conn **conn,
                 struct blx_error *err)
{
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return blx_error_errno(err, -errno, "cannot use a connection's socket");
    struct blx_conn *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot make a connection");
    made->fd = fd;
    made->ssl = ssl;
    made->send_timeout_ms = send_timeout_ms;
    made->last_received_ns = blx_clock_ns();
    made->max_body_bytes = BLX_MESSAGE_MAX_BYTES;
    made->recv_deadline_ns = BLX_FOR_EVER;
    atomic_store(&made->last_sent_ns, made->last_received_ns);
    pthread_mutex_init(&made->send_lock, NULL);
    pthread_mutex_init(&made->ssl_lock, NULL);
    if (ssl != NULL)
        SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_RELEASE_BUFFERS);
    *conn = made;
    return 0;
}

/* Tells the other side that nothing follows, if that is possible without waiting. */
static void say_end(struct blx_conn *conn)
{
    if (conn->ssl == NULL || conn->send_rc != 0 || conn->recv_rc != 0 || atomic_load(&conn->ended))
        return;
    pthread_mutex_lock(&conn->ssl_lock);
    ERR_clear_error();
    SSL_shutdown(conn->ssl);
    ERR_clear_error();
    pthread_mutex_unlock(&conn->ssl_lock);
}

void blx_conn_free(struct blx_conn *conn)
{
    if (conn == NULL)
        return;
    say_end(conn);
    SSL_free(conn->ssl);
    close(conn->fd);
    pthread_mutex_destroy(&conn->send_lock);
    pthread_mutex_destroy(&conn->ssl_lock);
    free(conn->buffer);
    free(conn);
}

/* One call on the SSL object. Bytes moved (at least 1), 0 if it must wait for `events`, or
 * -errno. */
static ssize_t ssl_move(struct blx_conn *conn, bool write, void *data, size_t bytes, short *events,
                        struct blx_error *err)
{
    size_t moved = 0;
    pthread_mutex_lock(&conn->ssl_lock);
    ERR_clear_error();
    errno = 0;
    int rc = write ? SSL_write_ex(conn->ssl, data, bytes, &moved)
                   : SSL_read_ex(conn->ssl, data, bytes, &moved);
    int saved_errno = errno;
    int ssl_error = rc == 1 ? SSL_ERROR_NONE : SSL_get_error(conn->ssl, rc);
    pthread_mutex_unlock(&conn->ssl_lock);
    switch (ssl_error) {
    case SSL_ERROR_NONE:
        return (ssize_t)moved;
    case SSL_ERROR_WANT_READ:
        *events = POLLIN;
        return 0;
    case SSL_ERROR_WANT_WRITE:
        *events = POLLOUT;
        return 0;
    default:
        return blx_ssl_error(ssl_error, saved_errno, err);
    }
}

static int closed(struct blx_error *err)
{
    return blx_error_set(err, -EPIPE, "the other side closed the connection");
}

static ssize_t plain_result(ssize_t moved, struct blx_error *err)
{
    if (moved >= 0)
        return moved;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)
        return 0;
    if (errno == EPIPE)
        return closed(err);
    return blx_error_errno(err, -errno, "the connection failed");
}

/* Bytes read (at least 1), 0 if it must wait for `events`, or -errno. */
static ssize_t read_some(struct blx_conn *conn, void *data, size_t bytes, short *events,
                         struct blx_error *err)
{
    if (conn->ssl != NULL)
        return ssl_move(conn, false, data, bytes, events, err);
    *events = POLLIN;
    ssize_t got = recv(conn->fd, data, bytes, 0);
    if (got == 0)
        return closed(err);
    return plain_result(got, err);
}

/* The same for writing; `part` is the first part that has a byte left. */
static ssize_t write_some(struct blx_conn *conn, struct iovec *part, size_t part_count,
                          short *events, struct blx_error *err)
{
    if (conn->ssl != NULL)
        return ssl_move(conn, true, part->iov_base, part->iov_len, events, err);
    *events = POLLOUT;
    const struct msghdr header = {.msg_iov = part, .msg_iovlen = part_count};
    return plain_result(sendmsg(conn->fd, &header, MSG_NOSIGNAL), err);
}

static int check_ended(struct blx_conn *conn, struct blx_error *err)
{
    if (!atomic_load(&conn->ended))
        return 0;
    return blx_error_set(err, -EPIPE, "the connection was shut down on this side");
}

/* Takes `bytes` off the front of the parts; returns how many parts are used up. */
static size_t parts_advance(struct iovec *parts, size_t count, size_t bytes)
{
    size_t used = 0;
    while (used < count && bytes >= parts[used].iov_len) {
        bytes -= parts[used].iov_len;
        used++;
    }
    if (used < count) {
        parts[used].iov_base = (uint8_t *)parts[used].iov_base + bytes;
        parts[used].iov_len -= bytes;
    }
    return used;
}

static int write_all(struct blx_conn *conn, struct iovec *parts, size_t count,
                     struct blx_error *err)
{
    uint64_t deadline_ns = blx_deadline_in_ms(conn->send_timeout_ms);
    for (size_t done = 0; done < count;) {
        short events = 0;
        ssize_t moved = check_ended(conn, err);
        if (moved == 0)
            moved = write_some(conn, &parts[done], count - done, &events, err);
        if (moved < 0)
            return (int)moved;
        if (moved > 0) {
            atomic_fetch_add(&conn->sent_bytes, (uint64_t)moved);
            done += parts_advance(&parts[done], count - done, (size_t)moved);
            deadline_ns = blx_deadline_in_ms(conn->send_timeout_ms);
            continue;
        }
        int rc = blx_wait_fd(conn->fd, events, deadline_ns);
        if (rc < 0)
            return blx_error_errno(err, rc, "the other side has stopped reading");
    }
    atomic_store(&conn->last_sent_ns, blx_clock_ns());
    return 0;
}

int blx_conn_send(struct blx_conn *conn, const struct blx_message *message, struct blx_error *err)
{
    uint8_t encoded[BLX_MESSAGE_ENCODED_BYTES];
    size_t length = 0;
    const char *name = blx_message_name(message->type);
    int rc = blx_message_encode(message, encoded, sizeof(encoded), &length);
    if (rc < 0)
        return blx_error_set(err, rc, "cannot send a %s message: its content is not valid", name);
    struct iovec parts[2] = {{encoded, length}};
    size_t count = 1;
    if (message->type == BLX_MESSAGE_FRAME)
        parts[count++] =
            (struct iovec){(void *)(uintptr_t)message->frame.bytes, message->frame.frame_bytes};

    struct blx_error reason = {0};
    pthread_mutex_lock(&conn->send_lock);
    rc = conn->send_rc != 0 ? closed(&reason) : write_all(conn, parts, count, &reason);
    if (rc < 0)
        conn->send_rc = rc;
    pthread_mutex_unlock(&conn->send_lock);
    return rc < 0 ? blx_error_set(err, rc, "cannot send a %s message: %s", name, reason.message)
                  : 0;
}

/* Waits for at least one byte; -ETIMEDOUT leaves `err` alone. */
static int read_wait(struct blx_conn *conn, void *data, size_t bytes, uint64_t deadline_ns,
                     size_t *got, struct blx_error *err)
{
    for (;;) {
        short events = 0;
        ssize_t moved = check_ended(conn, err);
        if (moved == 0)
            moved = read_some(conn, data, bytes, &events, err);
        /* A shutdown of this side looks like an end of the other side. */
        if (moved < 0 && atomic_load(&conn->ended)) {
            blx_error_clear(err);
            return check_ended(conn, err);
        }
        if (moved < 0)
            return (int)moved;
        if (moved > 0) {
            atomic_fetch_add(&conn->received_bytes, (uint64_t)moved);
            *got = (size_t)moved;
            return 0;
        }
        int rc = blx_wait_fd(conn->fd, events, deadline_ns);
        if (rc == -ETIMEDOUT)
            return rc;
        if (rc < 0)
            return blx_error_errno(err, rc, "cannot wait for the other side");
    }
}

/* Limits the gaps, not the whole: on a slow link a large frame takes its time. */
static int read_rest(struct blx_conn *conn, uint8_t *data, size_t bytes, struct blx_error *err)
{
    while (bytes > 0) {
        size_t got = 0;
        uint64_t deadline_ns = blx_deadline_in_ms(GAP_TIMEOUT_MS);
        if (conn->recv_deadline_ns < deadline_ns)
            deadline_ns = conn->recv_deadline_ns;
        int rc = blx_clock_ns() >= conn->recv_deadline_ns
                     ? -ETIMEDOUT
                     : read_wait(conn, data, bytes, deadline_ns, &got, err);
        if (rc == -ETIMEDOUT)
            return blx_error_set(err, rc, "the other side stopped in the middle of a message");
        if (rc < 0)
            return rc;
        data += got;
        bytes -= got;
    }
    return 0;
}

static void buffers_release(struct blx_conn *conn)
{
    free(conn->buffer);
    conn->buffer = NULL;
    conn->buffer_bytes = 0;
    if (conn->ssl == NULL)
        return;
    pthread_mutex_lock(&conn->ssl_lock);
    blx_socket_bio_trim(SSL_get_rbio(conn->ssl));
    pthread_mutex_unlock(&conn->ssl_lock);
}

/* Waits for a message's first bytes. If they are long in coming it frees the buffers meanwhile. */
static int read_first(struct blx_conn *conn, uint8_t *header, uint64_t timeout_ms, size_t *got,
                      struct blx_error *err)
{
    uint64_t deadline_ns = blx_deadline_in_ms(timeout_ms);
    uint64_t idle_ns = blx_conn_idle_ns(conn);
    int rc = -ETIMEDOUT;
    if (idle_ns != UINT64_MAX) {
        uint64_t first_ns = idle_ns < deadline_ns ? idle_ns : deadline_ns;
        rc = read_wait(conn, header, BLX_MESSAGE_HEADER_BYTES, first_ns, got, err);
        if (rc != -ETIMEDOUT || deadline_ns <= idle_ns)
            return rc;
        buffers_release(conn);
    }
    return read_wait(conn, header, BLX_MESSAGE_HEADER_BYTES, deadline_ns, got, err);
}

static int buffer_reserve(struct blx_conn *conn, size_t bytes, struct blx_error *err)
{
    if (bytes <= conn->buffer_bytes)
        return 0;
    if (bytes < BUFFER_MIN_BYTES)
        bytes = BUFFER_MIN_BYTES;
    free(conn->buffer);
    conn->buffer_bytes = 0;
    conn->buffer = malloc(bytes);
    if (conn->buffer == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot receive a message of %zu bytes", bytes);
    conn->buffer_bytes = bytes;
    return 0;
}

static int recv_begun(struct blx_conn *conn, uint8_t *header, size_t got,
                      struct blx_message *message, struct blx_error *err)
{
    enum blx_message_type type = 0;
    size_t body_bytes = 0;
    int rc = read_rest(conn, header + got, BLX_MESSAGE_HEADER_BYTES - got, err);
    if (rc == 0)
        rc = blx_message_decode_header(header, &type, &body_bytes, err);
    if (rc == 0 && body_bytes > conn->max_body_bytes)
        rc = blx_error_set(err, -EBADMSG, "a %s message of %zu bytes is too large here",
                           blx_message_name(type), body_bytes);
    if (rc == 0)
        rc = buffer_reserve(conn, body_bytes, err);
    if (rc == 0)
        rc = read_rest(conn, conn->buffer, body_bytes, err);
    if (rc == 0)
        rc = blx_message_decode(type, conn->buffer, body_bytes, message, err);
    conn->last_received_ns = blx_clock_ns();
    return rc;
}

int blx_conn_recv(struct blx_conn *conn, uint64_t timeout_ms, struct blx_message *message,
                  struct blx_error *err)
{
    if (conn->recv_rc != 0)
        return blx_error_set(err, -EPIPE, "the connection has been dead since an earlier error");
    uint8_t header[BLX_MESSAGE_HEADER_BYTES];
    size_t got = 0;
    int rc = read_first(conn, header, timeout_ms, &got, err);
    if (rc == -ETIMEDOUT)
        return blx_error_set(err, rc, "the other side said nothing within %" PRIu64 " ms",
                             timeout_ms);
    if (rc == 0)
        rc = recv_begun(conn, header, got, message, err);
    if (rc < 0)
        conn->recv_rc = rc;
    return rc;
}

void blx_conn_restrict(struct blx_conn *conn, size_t max_body_bytes, uint64_t timeout_ms)
{
    conn->max_body_bytes = max_body_bytes;
    conn->recv_deadline_ns = blx_deadline_in_ms(timeout_ms);
}

void blx_conn_shutdown(struct blx_conn *conn)
{
    atomic_store(&conn->ended, true);
    shutdown(conn->fd, SHUT_RDWR);
}

void blx_conn_linger(struct blx_conn *conn, uint64_t timeout_ms)
{
    say_end(conn);
    if (shutdown(conn->fd, SHUT_WR) < 0)
        return;
    uint64_t deadline_ns = blx_deadline_in_ms(timeout_ms);
    char thrown_away[4096];
    while (!atomic_load(&conn->ended) && blx_clock_ns() < deadline_ns) {
        ssize_t got = recv(conn->fd, thrown_away, sizeof(thrown_away), 0);
        if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
            return;
        if (got < 0 && blx_wait_fd(conn->fd, POLLIN, deadline_ns) < 0)
            return;
    }
}

uint64_t blx_conn_sent_bytes(const struct blx_conn *conn)
{
    return atomic_load(&conn->sent_bytes);
}

uint64_t blx_conn_received_bytes(const struct blx_conn *conn)
{
    return atomic_load(&conn->received_bytes);
}

uint64_t blx_conn_last_sent_ns(const struct blx_conn *conn)
{
    return atomic_load(&conn->last_sent_ns);
}

uint64_t blx_conn_idle_ns(const struct blx_conn *conn)
{
    return conn->buffer == NULL ? UINT64_MAX : conn->last_received_ns + IDLE_MS * BLX_NS_PER_MS;
}
