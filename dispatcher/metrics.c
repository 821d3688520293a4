/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/metrics.h"

#include <errno.h>
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/units.h"
#include "dispatcher/address.h"
#include "dispatcher/exposition.h"
#include "dispatcher/overview.h"

#define LOOPBACK "127.0.0.1"

struct dispatcher_metrics {
    struct dispatcher *dispatcher;
    struct MHD_Daemon *http;
    char address[BLX_TEXT_BYTES];
};

/* The page, which the caller frees. NULL: it could not be made. */
static char *make_page(struct dispatcher *dispatcher, size_t *bytes)
{
    struct dispatcher_overview overview = {0};
    struct blx_error err = {0};
    char *page = NULL;
    if (dispatcher_overview_take(dispatcher, &overview, &err) < 0) {
        blx_log_warning("cannot serve the metrics: %s", err.message);
        return NULL;
    }
    FILE *out = open_memstream(&page, bytes);
    if (out != NULL) {
        dispatcher_exposition_write(&overview, blx_clock_realtime_ns(), out);
        bool failed = ferror(out) != 0;
        if (fclose(out) != 0 || failed) {
            free(page);
            page = NULL;
        }
    }
    dispatcher_overview_done(&overview);
    return page;
}

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
                              char *text, size_t bytes, enum MHD_ResponseMemoryMode mode)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(bytes, text, mode);
    if (response == NULL) {
        if (mode == MHD_RESPMEM_MUST_FREE)
            free(text);
        return MHD_NO;
    }
    enum MHD_Result result = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    if (result == MHD_YES && status == MHD_HTTP_METHOD_NOT_ALLOWED)
        result = MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    if (result == MHD_YES)
        result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_plainly(struct MHD_Connection *connection, unsigned status,
                                      const char *text)
{
    char *borrowed = (char *)(uintptr_t)text;
    return answer(connection, status, "text/plain", borrowed, strlen(text), MHD_RESPMEM_PERSISTENT);
}

/* Called when the head of a request is there, and called again with its body if we do not answer
 * then. We always answer at once, so no body is read. */
static enum MHD_Result serve(void *arg, struct MHD_Connection *connection, const char *url,
                             const char *method, const char *version, const char *body,
                             size_t *body_bytes, void **request)
{
    struct dispatcher_metrics *metrics = arg;
    size_t bytes = 0;
    (void)version;
    (void)body;
    (void)body_bytes;
    (void)request;
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return answer_plainly(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    if (strcmp(url, "/metrics") != 0)
        return answer_plainly(connection, MHD_HTTP_NOT_FOUND, "the metrics are at /metrics\n");
    char *page = make_page(metrics->dispatcher, &bytes);
    if (page == NULL)
        return answer_plainly(connection, MHD_HTTP_INTERNAL_SERVER_ERROR,
                              "the metrics could not be made: see the dispatcher's log\n");
    return answer(connection, MHD_HTTP_OK, DISPATCHER_EXPOSITION_TYPE, page, bytes,
                  MHD_RESPMEM_MUST_FREE);
}

static int listen_on(const char *address, struct blx_error *err)
{
    char whole[BLX_TEXT_BYTES];
    snprintf(whole, sizeof(whole), "%s%s", address[0] == ':' ? LOOPBACK : "", address);
    int fd = blx_address_listen(whole, err);
    if (fd < 0)
        blx_error_prefix(err, "metrics-listen");
    return fd;
}

int dispatcher_metrics_start(struct dispatcher *dispatcher, const char *address,
                             struct dispatcher_metrics **metrics, struct blx_error *err)
{
    *metrics = NULL;
    if (address == NULL)
        return 0;
    BLX_CLEANUP_FREE struct dispatcher_metrics *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "serving metrics");
    made->dispatcher = dispatcher;
    int fd = listen_on(address, err);
    if (fd < 0)
        return fd;
    int rc = dispatcher_address_format_local(fd, made->address, err);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    made->http = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL, 0, NULL, NULL, serve, made,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)DISPATCHER_METRICS_CONNECTIONS, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
        (unsigned)DISPATCHER_METRICS_FROM_SOURCE, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)DISPATCHER_METRICS_SILENCE_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)16 * 1024, MHD_OPTION_END);
    if (made->http == NULL) /* the library has closed the socket */
        return blx_error_set(err, -EIO, "cannot serve metrics on '%s'", address);
    *metrics = blx_take_ptr(made);
    return 0;
}

const char *dispatcher_metrics_get_address(const struct dispatcher_metrics *metrics)
{
    return metrics->address;
}

void dispatcher_metrics_stop(struct dispatcher_metrics *metrics)
{
    if (metrics == NULL)
        return;
    MHD_stop_daemon(metrics->http);
    free(metrics);
}
