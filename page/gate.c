/* SPDX-License-Identifier: Apache-2.0 */
#include "page/gate.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/text.h"

enum { HOST_BYTES = 256, ORIGIN_BYTES = HOST_BYTES + 16 };

/* The name without the port: "[::1]:9480" is "::1". */
static int split_host(const char *header, char host[HOST_BYTES])
{
    const char *end = header[0] == '[' ? strchr(header, ']') : strchr(header, ':');
    const char *begin = header[0] == '[' ? header + 1 : header;
    size_t length = end != NULL ? (size_t)(end - begin) : strlen(begin);
    if (length == 0 || length >= HOST_BYTES || (header[0] == '[' && end == NULL))
        return -EINVAL;
    memcpy(host, begin, length);
    host[length] = '\0';
    return 0;
}

/* Whoever forwards a port to this one has another port in the header, but never another page's
 * name. */
static bool is_our_host(const struct page_request *request)
{
    static const char *const loopback[] = {"127.0.0.1", "localhost", "::1"};
    char host[HOST_BYTES], own[HOST_BYTES], port[8];
    const char *header = page_request_header(request, MHD_HTTP_HEADER_HOST);
    if (header == NULL || split_host(header, host) < 0)
        return false;
    if (request->page->tls != NULL)
        return page_tls_is_for(request->page->tls, host);
    for (size_t i = 0; i < sizeof(loopback) / sizeof(loopback[0]); i++)
        if (strcasecmp(host, loopback[i]) == 0)
            return true;
    return blx_address_split(request->page->config->page_listen, own, port, NULL) == 0 &&
           own[0] != '\0' && strcasecmp(host, own) == 0;
}

static bool is_our_origin(const struct page_request *request, const char *origin)
{
    char wanted[ORIGIN_BYTES];
    const char *host = page_request_header(request, MHD_HTTP_HEADER_HOST);
    snprintf(wanted, sizeof(wanted), "%s://%s", request->page->tls != NULL ? "https" : "http",
             host);
    return strcmp(origin, wanted) == 0;
}

static bool has_csrf_word(const struct page_request *request)
{
    const char *told = page_request_header(request, PAGE_CSRF_HEADER);
    const char *wanted = request->session.csrf;
    return told != NULL && strlen(told) == strlen(wanted) &&
           CRYPTO_memcmp(told, wanted, strlen(wanted)) == 0;
}

static unsigned refuse(unsigned status, struct blx_error *err, const char *text)
{
    blx_error_set(err, -EACCES, "%s", text);
    return status;
}

static unsigned check_act(const struct page_request *request, const char *origin,
                          struct blx_error *err)
{
    if (request->method != PAGE_POST)
        return refuse(MHD_HTTP_METHOD_NOT_ALLOWED, err, "this is an action: it takes POST");
    if (origin == NULL)
        return refuse(MHD_HTTP_FORBIDDEN, err, "an action must come from this page: no Origin");
    if (!has_csrf_word(request))
        return refuse(MHD_HTTP_FORBIDDEN, err,
                      "an action must come from this page: " PAGE_CSRF_HEADER
                      " is not this session's, which /api/session tells");
    return 0;
}

unsigned page_gate_pass(struct page_request *request, enum page_need need, struct blx_error *err)
{
    const char *origin = page_request_header(request, MHD_HTTP_HEADER_ORIGIN);
    const char *cookie = page_request_cookie(request);
    if (!is_our_host(request))
        return refuse(MHD_HTTP_MISDIRECTED_REQUEST, err,
                      "this is not the page's name: open it by the address that `blxrep "
                      "dispatcher page` prints");
    if (origin != NULL && !is_our_origin(request, origin))
        return refuse(MHD_HTTP_FORBIDDEN, err, "the request comes from another page");
    request->has_session =
        cookie != NULL && page_session_find(request->page->sessions, cookie, request->address,
                                            &request->session) == 0;
    if (need == PAGE_NEEDS_NOTHING)
        return 0;
    if (!request->has_session)
        return refuse(MHD_HTTP_UNAUTHORIZED, err,
                      "you have no session here: `blxrep dispatcher page` on the dispatcher's host "
                      "prints an address that opens one");
    unsigned status = need == PAGE_NEEDS_ACT ? check_act(request, origin, err) : 0;
    if (status == 0 && need != PAGE_NEEDS_SESSION && request->session.role != PAGE_OPERATOR)
        return refuse(MHD_HTTP_FORBIDDEN, err, "a viewer looks: only an operator may do this");
    return status;
}
