/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all requests share: blxrep-page, the page to look at. See server.h for who may do what.
 *
 *     browser ──HTTP──► server.c: a thread per connection ──► gate.h: host, origin, session, role
 *                          │
 *                          ├─► ask.h       `blxrep dispatcher status|show|info|log --json`
 *                          ├─► overview.h, agent.h, checkpoint.h   the same as HTML
 *                          └─► feed.h      what changed, for the pages that are open
 *
 * Threads: it is made by main() and constant while the server runs; its parts have their own locks.
 */
#pragma once

#include <limits.h>

#include "config/config.h"
#include "page/ask.h"
#include "page/asset.h"
#include "page/feed.h"
#include "page/session.h"
#include "page/tls.h"

struct page {
    const struct blx_config *config;
    char program[PATH_MAX]; /* `blxrep` */
    char data_dir[PATH_MAX];
    struct page_ask *ask;
    struct page_sessions *sessions;
    struct page_assets *assets;
    struct page_feed *feed;
    struct page_tls *tls; /* NULL: only this machine can reach the page, and there is none */
};
