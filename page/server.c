/* SPDX-License-Identifier: Apache-2.0 */
#include "page/server.h"

#include <errno.h>
#include <microhttpd.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "page/reply.h"
#include "page/route.h"
#include "tls/tls.h"

/* GnuTLS's words for TLS 1.2 and 1.3 with today's ciphers. */
#define LOOPBACK   "127.0.0.1" /* where an address without a host listens */
#define PRIORITIES "SECURE128:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2"

enum { TOO_LARGE = 413 }; /* its name depends on the version of libmicrohttpd */

/* A connection, for the watch. */
struct caller {
    struct caller *next;
    int fd;
    uint64_t waits_since_ns; /* for a request; 0: it is answered just now */
};

struct page_server {
    struct page *page;
    struct MHD_Daemon *http;
    pthread_t watch;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping;          /* the lock guards it and what follows */
    struct caller *callers; /* those that are connected */
};

static void come(struct page_server *server, struct MHD_Connection *connection, void **context)
{
    struct caller *caller = calloc(1, sizeof(*caller));
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (caller == NULL || info == NULL) {
        free(caller);
        return;
    }
    caller->fd = info->connect_fd;
    caller->waits_since_ns = blx_clock_ns();
    pthread_mutex_lock(&server->lock);
    caller->next = server->callers;
    server->callers = caller;
    pthread_mutex_unlock(&server->lock);
    *context = caller;
}

/* Before its descriptor is closed. */
static void go(struct page_server *server, struct caller *caller)
{
    pthread_mutex_lock(&server->lock);
    struct caller **at = &server->callers;
    while (*at != NULL && *at != caller)
        at = &(*at)->next;
    if (*at != NULL)
        *at = caller->next;
    pthread_mutex_unlock(&server->lock);
    free(caller);
}

static void notice_connection(void *arg, struct MHD_Connection *connection, void **context,
                              enum MHD_ConnectionNotificationCode code)
{
    struct page_server *server = arg;
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        come(server, connection, context);
    else if (*context != NULL)
        go(server, *context);
}

static void set_waiting(struct page_server *server, struct MHD_Connection *connection,
                        uint64_t since_ns)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct caller *caller = info != NULL ? info->socket_context : NULL;
    if (caller == NULL)
        return;
    pthread_mutex_lock(&server->lock);
    caller->waits_since_ns = since_ns;
    pthread_mutex_unlock(&server->lock);
}

static void notice_end(void *arg, struct MHD_Connection *connection, void **context,
                       enum MHD_RequestTerminationCode code)
{
    (void)context;
    (void)code;
    set_waiting(arg, connection, blx_clock_ns());
}

/* Cuts those whose request does not come. */
static void *watch(void *arg)
{
    struct page_server *server = arg;
    pthread_mutex_lock(&server->lock);
    while (!server->stopping) {
        blx_cond_wait_until(&server->changed, &server->lock, blx_clock_ns() + BLX_NS_PER_S);
        uint64_t now_ns = blx_clock_ns();
        for (struct caller *at = server->callers; at != NULL; at = at->next)
            if (at->waits_since_ns != 0 && now_ns - at->waits_since_ns > PAGE_HEAD_S * BLX_NS_PER_S)
                shutdown(at->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&server->lock);
    return NULL;
}

static bool read_method(const char *method, enum page_method *found)
{
    static const char *const names[] = {MHD_HTTP_METHOD_GET, MHD_HTTP_METHOD_HEAD,
                                        MHD_HTTP_METHOD_POST};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(method, names[i]) == 0) {
            *found = (enum page_method)i;
            return true;
        }
    }
    return false;
}

static bool has_body(const struct page_request *request)
{
    const char *length = page_request_header(request, MHD_HTTP_HEADER_CONTENT_LENGTH);
    return page_request_header(request, MHD_HTTP_HEADER_TRANSFER_ENCODING) != NULL ||
           (length != NULL && strcmp(length, "0") != 0);
}

/* Called when the head of a request is there, and again when all of it is, which is the same to us:
 * a request with a body is refused at once. An answer to the first call would end the
 * connection. */
static enum MHD_Result serve(void *arg, struct MHD_Connection *connection, const char *url,
                             const char *method, const char *version, const char *body,
                             size_t *body_bytes, void **context)
{
    struct page_server *server = arg;
    struct page_request request = {.page = server->page, .connection = connection, .url = url};
    struct blx_error err = {0};
    (void)version;
    (void)body;
    (void)body_bytes;
    page_request_find_address(&request);
    if (!read_method(method, &request.method)) {
        blx_error_set(&err, -EINVAL, "the page takes GET, HEAD and POST");
        return page_reply_error(&request, MHD_HTTP_METHOD_NOT_ALLOWED, &err);
    }
    if (has_body(&request)) {
        blx_error_set(&err, -EINVAL, "the page reads no body: put the words after '?'");
        return page_reply_error(&request, TOO_LARGE, &err);
    }
    if (*context == NULL) {
        *context = server;
        return MHD_YES;
    }
    set_waiting(server, connection, 0);
    return page_route(&request);
}

/* What the library only reads. */
static void *borrow(const char *text)
{
    return (void *)(uintptr_t)text;
}

static int start_http(struct page_server *server, struct blx_error *err)
{
    char address[BLX_ADDRESS_BYTES + sizeof(LOOPBACK)];
    const char *told = server->page->config->page_listen;
    snprintf(address, sizeof(address), "%s%s", told[0] == ':' ? LOOPBACK : "", told);
    int fd = blx_address_listen(address, err);
    if (fd < 0) {
        blx_error_prefix(err, "page-listen");
        return fd;
    }
    const struct page_tls *tls = server->page->tls;
    struct MHD_OptionItem encrypted[] = {
        {MHD_OPTION_HTTPS_MEM_KEY, 0, tls != NULL ? borrow(page_tls_key(tls)) : NULL},
        {MHD_OPTION_HTTPS_MEM_CERT, 0, tls != NULL ? borrow(page_tls_certificate(tls)) : NULL},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, borrow(PRIORITIES)},
        {MHD_OPTION_END, 0, NULL}};
    struct MHD_OptionItem plain[] = {{MHD_OPTION_END, 0, NULL}};
    server->http = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_USE_POLL |
            (tls != NULL ? MHD_USE_TLS : 0U),
        0, NULL, NULL, serve, server, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)PAGE_CONNECTIONS, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        (unsigned)PAGE_CONNECTIONS_FROM, MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)PAGE_SILENCE_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)PAGE_REQUEST_BYTES,
        MHD_OPTION_THREAD_STACK_SIZE, (size_t)PAGE_STACK_BYTES, MHD_OPTION_NOTIFY_CONNECTION,
        notice_connection, server, MHD_OPTION_NOTIFY_COMPLETED, notice_end, server,
        MHD_OPTION_ARRAY, tls != NULL ? encrypted : plain, MHD_OPTION_END);
    if (server->http == NULL) /* the library has closed the socket */
        return blx_error_set(err, -EIO, "cannot serve the page on '%s'", address);
    return 0;
}

int page_server_start(struct page *page, struct page_server **server, struct blx_error *err)
{
    BLX_CLEANUP_FREE struct page_server *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot serve the page");
    made->page = page;
    pthread_mutex_init(&made->lock, NULL);
    int rc = blx_cond_init(&made->changed);
    if (rc == 0)
        rc = -pthread_create(&made->watch, NULL, watch, made);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot serve the page");
    rc = start_http(made, err);
    *server = blx_take_ptr(made);
    if (rc < 0) {
        page_server_stop(*server);
        *server = NULL;
    }
    return rc;
}

void page_server_stop(struct page_server *server)
{
    if (server == NULL)
        return;
    if (server->http != NULL)
        MHD_stop_daemon(server->http);
    pthread_mutex_lock(&server->lock);
    server->stopping = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->lock);
    pthread_join(server->watch, NULL);
    pthread_cond_destroy(&server->changed);
    pthread_mutex_destroy(&server->lock);
    free(server);
}
