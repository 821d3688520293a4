/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A request: who sends it, and its words. Everything in it is foreign.
 *
 * Threads: it belongs to its connection's.
 */
#pragma once

#include <microhttpd.h>
#include <stdbool.h>

#include "base/error.h"
#include "base/name.h"
#include "base/timestamp.h"
#include "page/page.h"

enum page_method { PAGE_GET, PAGE_HEAD, PAGE_POST };

enum { PAGE_PATH_BYTES = 4096, PAGE_DEVICE_BYTES = 256 };

struct page_request {
    struct page *page;
    struct MHD_Connection *connection;
    const char *url; /* decoded, without the words after "?" */
    enum page_method method;
    char address[PAGE_ADDRESS_BYTES];
    bool has_session;
    struct page_session session; /* if it has one */
};

/* NULL: it has none. */
const char *page_request_header(const struct page_request *request, const char *name);

/* A word after "?"; NULL: it is not there, or has a NUL in it. */
const char *page_request_word(const struct page_request *request, const char *name);

/* The session's cookie; NULL: none. */
const char *page_request_cookie(const struct page_request *request);

/* Fills `address` from the socket's peer. */
void page_request_find_address(struct page_request *request);

/* The words that name something, checked: -EINVAL, with what is wrong. */
int page_request_agent(const struct page_request *request, const char *word,
                       char agent[BLX_NAME_BYTES], struct blx_error *err);
int page_request_checkpoint(const struct page_request *request,
                            char checkpoint[BLX_TIMESTAMP_TEXT_BYTES], struct blx_error *err);
/* Without the word it is "". */
int page_request_device(const struct page_request *request, char device[PAGE_DEVICE_BYTES],
                        struct blx_error *err);
int page_request_path(const struct page_request *request, char path[PAGE_PATH_BYTES],
                      struct blx_error *err);
