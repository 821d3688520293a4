/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/socket_bio.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* From this size on malloc() makes a mapping, which goes back to the kernel when it is freed. */
enum { READ_AHEAD_BYTES = 128 * 1024 };

struct socket_bio {
    int fd;
    uint8_t *buffer; /* READ_AHEAD_BYTES; NULL: none is needed now */
    size_t begin;    /* of what is read but not handed on; equal if there is nothing */
    size_t end;
};

static void release(struct socket_bio *socket)
{
    free(socket->buffer);
    socket->buffer = NULL;
}

static int is_retry(ssize_t result)
{
    return result < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

/* If memory is short it goes on, slowly. */
static ssize_t read_through(struct socket_bio *socket, char *data, size_t bytes)
{
    bool idle = socket->buffer == NULL;
    if (idle)
        socket->buffer = malloc(READ_AHEAD_BYTES);
    if (socket->buffer == NULL || bytes >= READ_AHEAD_BYTES)
        return recv(socket->fd, data, bytes, 0);
    ssize_t got = recv(socket->fd, socket->buffer, READ_AHEAD_BYTES, 0);
    if (got <= 0) {
        int saved_errno = errno;
        if (idle)
            release(socket);
        errno = saved_errno;
        return got;
    }
    socket->begin = bytes < (size_t)got ? bytes : (size_t)got;
    socket->end = (size_t)got;
    memcpy(data, socket->buffer, socket->begin);
    return (ssize_t)socket->begin;
}

static int bio_read(BIO *bio, char *data, int bytes)
{
    struct socket_bio *socket = BIO_get_data(bio);
    size_t left = socket->end - socket->begin;
    BIO_clear_retry_flags(bio);
    if (left > 0) {
        size_t take = (size_t)bytes < left ? (size_t)bytes : left;
        memcpy(data, socket->buffer + socket->begin, take);
        socket->begin += take;
        return (int)take;
    }
    ssize_t got = read_through(socket, data, (size_t)bytes);
    if (is_retry(got))
        BIO_set_retry_read(bio);
    if (got == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return (int)got;
}

static int bio_write(BIO *bio, const char *data, int bytes)
{
    const struct socket_bio *socket = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    ssize_t put = send(socket->fd, data, (size_t)bytes, MSG_NOSIGNAL);
    if (is_retry(put))
        BIO_set_retry_write(bio);
    return (int)put;
}

static int bio_destroy(BIO *bio)
{
    struct socket_bio *socket = BIO_get_data(bio);
    if (socket != NULL)
        free(socket->buffer);
    free(socket);
    return 1;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)number;
    (void)pointer;
    switch (command) {
    case BIO_CTRL_FLUSH:
    case BIO_CTRL_DUP:
        return 1;
    case BIO_CTRL_EOF:
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    default:
        return 0;
    }
}

static BIO_METHOD *method;
static pthread_once_t method_once = PTHREAD_ONCE_INIT;

/* It lives as long as the process. */
static void method_make(void)
{
    BIO_METHOD *made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "blxrep socket");
    if (made == NULL)
        return;
    BIO_meth_set_read(made, bio_read);
    BIO_meth_set_write(made, bio_write);
    BIO_meth_set_ctrl(made, bio_ctrl);
    BIO_meth_set_destroy(made, bio_destroy);
    method = made;
}

BIO *blx_socket_bio_new(int fd)
{
    pthread_once(&method_once, method_make);
    struct socket_bio *socket = calloc(1, sizeof(*socket));
    BIO *bio = socket == NULL || method == NULL ? NULL : BIO_new(method);
    if (bio == NULL) {
        free(socket);
        return NULL;
    }
    socket->fd = fd;
    BIO_set_data(bio, socket);
    BIO_set_init(bio, 1);
    return bio;
}

void blx_socket_bio_trim(BIO *bio)
{
    struct socket_bio *socket = BIO_get_data(bio);
    if (socket->begin == socket->end)
        release(socket);
}
