/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of a bucket share: asking, queries and dates. Private to object/.
 *
 * Threads: as bucket.h says.
 */
#pragma once

#include "object/bucket.h"

enum {
    OBJECT_QUERY_BYTES = 3 * 2 * OBJECT_KEY_BYTES,
    OBJECT_DATE_TEXT_BYTES = 24,
    OBJECT_LIST_LIMIT_BYTES = 8 << 20, /* an answer that is a list */
    OBJECT_TEXT_LIMIT_BYTES = 64 << 10,
};

const struct object_place *object_bucket_place(const struct object_bucket *bucket);

/* Sends. 0 if the status is the expected one; otherwise the answer explains: "cannot VERB 'KEY'".
 */
int object_bucket_ask(struct object_bucket *bucket, const struct object_request *request,
                      int expected, const char *verb, struct object_answer *answer,
                      struct blx_error *err);

/* Adds what a lock wants to the headers, and returns their count. `until` takes the date. */
size_t object_bucket_add_lock(const struct object_lock *lock, struct object_header *headers,
                              size_t count, char until[OBJECT_DATE_TEXT_BYTES]);

/* Appends `text` with everything but unreserved characters as %XX. */
void object_query_append(char query[OBJECT_QUERY_BYTES], const char *text);

/* A key below the place's prefix. False for others, and for one that is too long to be ours. */
bool object_strip_prefix(const struct object_place *place, const char *text,
                         char key[OBJECT_KEY_BYTES]);

/* "2026-11-30T02:40:00Z", also with a fraction of a second; 0: no date. */
time_t object_read_date(const char *text);
