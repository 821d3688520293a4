/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Signed requests to an object store, one at a time, over a connection that is kept.
 *
 * A request that got no answer, or one that means "later" (408, 429, 5xx), is sent again after a
 * growing pause. So a request may have been carried out before, which its caller must bear.
 * libcurl speaks: TLS with the system's CAs or the given one, the proxies of the environment, and
 * HTTP/1.1 only, since the windows of HTTP/2 slow a long line down.
 *
 * Threads: an `object_http` belongs to one thread. Sending waits for the network, for at most a few
 * minutes if the store does not answer.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/error.h"
#include "object/credentials.h"
#include "object/pace.h"
#include "object/place.h"
#include "object/sign.h"

struct object_http;

/* A part of a file that does not change. */
struct object_file {
    int fd;
    uint64_t offset;
};

struct object_request {
    const char *method;                  /* "GET" */
    const char *key;                     /* below the place's prefix; "": the bucket */
    const char *query;                   /* "a=1&b=", encoded, sorted; NULL: none */
    const struct object_header *headers; /* at most 8, names in lower case */
    size_t header_count;
    const void *body; /* NULL: none, or it comes from the file */
    const struct object_file *file;
    size_t body_bytes;
    size_t limit_bytes; /* of the answer's body */
};

enum { OBJECT_VALUE_BYTES = 128 };

/* What a store answered. */
struct object_answer {
    int status; /* of HTTP */
    char *body; /* owned; a NUL follows it; NULL: none */
    size_t body_bytes;
    char server[OBJECT_VALUE_BYTES];
    char version[OBJECT_VALUE_BYTES]; /* x-amz-version-id; "": none */
    char etag[OBJECT_VALUE_BYTES];
    uint64_t content_bytes; /* as its head says, also if no body came with it */
    char lock_mode[OBJECT_VALUE_BYTES];
    char locked_until[OBJECT_VALUE_BYTES];
    time_t date; /* the store's clock; 0: it did not say */
    /* Of an error: the code and the text of its XML, made harmless. "": none. */
    char code[OBJECT_VALUE_BYTES];
    char message[OBJECT_VALUE_BYTES];
};

void object_answer_done(struct object_answer *answer);
#define OBJECT_CLEANUP_ANSWER BLX_CLEANUP(object_answer_done)

/* The store of this place. The credentials must outlive it. `ca` NULL: the system's. */
int object_http_new(const struct object_place *place, const struct object_credentials *credentials,
                    const char *region, const char *ca, struct object_http **http,
                    struct blx_error *err);
void object_http_free(struct object_http *http);

/* Bodies go no faster than that from now on; NULL: as fast as they can. */
void object_http_set_pace(struct object_http *http, struct object_pace *pace);

/*
 * 0: the store answered, whatever it was. Otherwise it did not, and the message says why:
 * -EHOSTUNREACH, -EPROTO (TLS), -EFBIG (the body is larger than the limit), -EIO.
 */
int object_http_send(struct object_http *http, const struct object_request *request,
                     struct object_answer *answer, struct blx_error *err);

/* An answer that was not the expected one, as an error: what was tried, the status, the store's own
 * words, and the way out for the codes that are known. -EACCES, -ENOENT or -EIO. */
int object_answer_explain(const struct object_answer *answer, const char *what,
                          struct blx_error *err);
