/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /events: server-sent events. While somebody listens one thread runs `blxrep dispatcher status`
 * every PAGE_FEED_MS, compares it agent by agent with the one before, and makes one text of the
 * agents that changed, which all open pages get: 200 of them cost one run.
 *
 *     event: hello    data: {"generation": N}           first: now ask /api/status
 *     event: status   data: {"agents": [{...}], "removed": ["ID"]}
 *     event: error    data: {"error": "..."}            status cannot be asked
 *     event: reload   data: {}                          you were too slow, or it can be asked
 *                                                     again: ask /api/status
 *     event: alive    data: {}                          nothing happened for a while
 *
 * What only the clock moves (age, away_ms, connected_ms) is no change.
 *
 * Threads: serve is the connections', and blocks in their threads until something happens. One lock
 * guards the texts.
 */
#pragma once

#include <microhttpd.h>

#include "base/error.h"
#include "page/ask.h"

enum {
    PAGE_FEED_MS = 2000,
    PAGE_FEED_ALIVE_MS = 15000,
    PAGE_FEED_KEPT = 32, /* texts; a page that is further back reloads */
};

struct page_feed;
struct page_request;

int page_feed_new(struct page_ask *ask, struct page_feed **feed, struct blx_error *err);

/* All connections that listen get an end, and no other begins. */
void page_feed_stop(struct page_feed *feed);

/* After stop, when nobody listens any more. NULL is allowed. */
void page_feed_free(struct page_feed *feed);

/* Answers with the events, until the page leaves. */
enum MHD_Result page_feed_serve(struct page_feed *feed, const struct page_request *request);
