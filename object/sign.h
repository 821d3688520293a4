/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The signature of a request to an object store: AWS Signature Version 4, as AWS's documentation of
 * S3 describes it ("Authenticating Requests: Using the Authorization Header"). Every header that is
 * given is signed.
 *
 * It is ours since libcurl's own differs between the versions that distributions have: 7.81 leaves
 * x-amz-* headers unsigned, 7.88 takes the query as it comes, later ones sort it.
 *
 * Threads: any. Nothing here blocks.
 */
#pragma once

#include <stddef.h>
#include <time.h>

#include "base/error.h"
#include "object/credentials.h"

enum {
    OBJECT_HASH_TEXT_BYTES = 65, /* SHA-256 in hex, with the NUL */
    OBJECT_DATE_BYTES = 17,      /* "20130524T000000Z" */
    OBJECT_AUTHORIZATION_BYTES = 1024,
    OBJECT_HEADERS = 16,
};

/* A header. The name is in lower case, and neither text has a line's end. */
struct object_header {
    const char *name;
    const char *value;
};

struct object_to_sign {
    const char *method;                  /* "GET" */
    const char *path;                    /* of unreserved characters and slashes */
    const char *query;                   /* "a=1&b=", encoded, sorted; "" */
    const struct object_header *headers; /* any order; "host" and "x-amz-date" are among them */
    size_t header_count;                 /* at most OBJECT_HEADERS */
    const char *body_hash;               /* in hex */
    const char *date;                    /* as in x-amz-date */
    const char *region;
};

/* The value of the header Authorization. -E2BIG: it does not fit. */
int object_sign(const struct object_credentials *credentials, const struct object_to_sign *what,
                char authorization[OBJECT_AUTHORIZATION_BYTES], struct blx_error *err);

/* SHA-256, and MD5 beside it for stores that want that with a lock, over bytes in pieces. */
struct object_digest {
    void *sha256, *md5; /* OpenSSL's contexts; NULL: not wanted, or it has failed */
};
enum { OBJECT_HASH_BYTES = 32 };
enum object_digest_kind { OBJECT_DIGEST_PLAIN, OBJECT_DIGEST_WITH_MD5 };
/* -ENOMEM. object_digest_end() follows also after that; `md5` may be NULL. */
int object_digest_begin(struct object_digest *digest, enum object_digest_kind kind,
                        struct blx_error *err);
void object_digest_add(struct object_digest *digest, const void *bytes, size_t count);
void object_digest_end(struct object_digest *digest, unsigned char hash[OBJECT_HASH_BYTES],
                       unsigned char *md5);

/* The hash in hex. */
void object_hash_text(const unsigned char hash[OBJECT_HASH_BYTES],
                      char text[OBJECT_HASH_TEXT_BYTES]);

/* SHA-256 in hex. */
void object_hash(const void *bytes, size_t count, char text[OBJECT_HASH_TEXT_BYTES]);

/* A time as x-amz-date has it. */
void object_format_date(time_t when, char text[OBJECT_DATE_BYTES]);
