/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Replies. All have the headers that keep a browser from doing more than the page needs: nothing is
 * loaded from elsewhere, no script or style stands in the text, no other page frames it, no type is
 * guessed, and no address of the page is told to others.
 *
 * Threads: no shared state.
 */
#pragma once

#include "page/request.h"

#define PAGE_TYPE_HTML "text/html; charset=utf-8"
#define PAGE_TYPE_JSON "application/json"

/* What a command found wrong, beside the JSON that it printed. */
#define PAGE_NOTE_HEADER "X-Blxrep-Note"

/* What is sent. `text` becomes the callee's, also after an error. */
struct page_reply {
    unsigned status;
    const char *type;
    char *text; /* from malloc() */
    size_t bytes;
    enum page_packing { PAGE_AS_IT_IS, PAGE_PACKED } packing; /* by gzip, if the browser takes it */
    const char *cookie;                                       /* Set-Cookie; NULL: none */
    const char
        *note; /* of the command: PAGE_NOTE_HEADER, as a word of an address; NULL or "": none */
};

enum MHD_Result page_reply_send(const struct page_request *request, const struct page_reply *reply);

/* What a command printed, a copy of it. */
enum MHD_Result page_reply_answer(const struct page_request *request,
                                  const struct page_answer *answer);

/* What went wrong: JSON below /api/, otherwise a page. */
enum MHD_Result page_reply_error(const struct page_request *request, unsigned status,
                                 const struct blx_error *err);

/* The HTTP status of an error of ours. */
unsigned page_status_of(const struct blx_error *err);

/* The headers of every reply. MHD_NO: no memory. */
enum MHD_Result page_reply_guard(struct MHD_Response *response);

/* By gzip, into new memory; -ENOMEM. */
int page_pack(const void *text, size_t bytes, char **packed, size_t *packed_bytes);

/* Whether the browser takes gzip. */
bool page_takes_gzip(const struct page_request *request);
