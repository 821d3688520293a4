/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The page's HTTP server: libmicrohttpd with a thread per connection, so that a request may wait
 * for a command. Strangers may reach it, so everything is bounded: PAGE_CONNECTIONS of them, of one
 * address PAGE_CONNECTIONS_FROM, PAGE_REQUEST_BYTES for a request's head, no body at all, and
 * PAGE_HEAD_S from a connection's begin, or the end of its last answer, to the end of the next
 * head, however slowly that comes.
 *
 * Threads: start and stop are main()'s.
 */
#pragma once

#include "page/page.h"

enum {
    PAGE_CONNECTIONS = 512,
    PAGE_CONNECTIONS_FROM = 384, /* a proxy, or a tunnel, is one address */
    PAGE_REQUEST_BYTES = 32 * 1024,
    PAGE_SILENCE_S = 20, /* nothing can be sent or received */
    PAGE_HEAD_S = 10,
    PAGE_STACK_BYTES = 512 * 1024,
};

struct page_server;

/* Listens on config->page_listen; without a host: on this machine only. */
int page_server_start(struct page *page, struct page_server **server, struct blx_error *err);

/* Ends all connections. NULL is allowed. */
void page_server_stop(struct page_server *server);
