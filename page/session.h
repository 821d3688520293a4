/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions: who has come with a token, from which address, and what they may do. They are in memory
 * only, so they end with the process. The cookie is 32 random bytes as text, of which only the
 * SHA-256 is kept. It holds for the address that it was given to, PAGE_SESSION_IDLE_S without a
 * request and PAGE_SESSION_MOST_S in all. If there are PAGE_SESSIONS of them the one that was used
 * longest ago ends.
 *
 * Threads: any. Nothing here blocks.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"
#include "page/role.h"

enum {
    PAGE_SESSIONS = 256,
    PAGE_SESSION_IDLE_S = 12 * 3600,
    PAGE_SESSION_MOST_S = 7 * 24 * 3600,
    PAGE_SECRET_TEXT_BYTES = 65, /* 32 bytes in hexadecimal */
    PAGE_ADDRESS_BYTES = 64,
};

struct page_sessions;

int page_sessions_new(struct page_sessions **sessions, struct blx_error *err);

/* NULL is allowed. */
void page_sessions_free(struct page_sessions *sessions);

/* A copy of what is known about one. */
struct page_session {
    enum page_role role;
    char address[PAGE_ADDRESS_BYTES];  /* without the port */
    char csrf[PAGE_SECRET_TEXT_BYTES]; /* what a request that acts must carry besides the cookie */
    int64_t ends_s;                    /* at the latest, since 1970 */
};

/* Begins one. -EIO without random numbers. */
int page_session_begin(struct page_sessions *sessions, enum page_role role, const char *address,
                       char cookie[PAGE_SECRET_TEXT_BYTES], struct blx_error *err);

/* -EACCES: there is none with this cookie that the address may use. */
int page_session_find(struct page_sessions *sessions, const char *cookie, const char *address,
                      struct page_session *session);

/* Ends it, if there is one. */
void page_session_end(struct page_sessions *sessions, const char *cookie);
