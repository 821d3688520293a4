/* SPDX-License-Identifier: Apache-2.0 */
#include "object/sign.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "base/assert.h"
#include "base/cleanup.h"

enum { HASH_BYTES = OBJECT_HASH_BYTES, DAY_CHARACTERS = 8 };

static void to_hex(const unsigned char *bytes, size_t count, char *text)
{
    for (size_t i = 0; i < count; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
}

void object_hash_text(const unsigned char hash[OBJECT_HASH_BYTES],
                      char text[OBJECT_HASH_TEXT_BYTES])
{
    to_hex(hash, HASH_BYTES, text);
}

int object_digest_begin(struct object_digest *digest, enum object_digest_kind kind,
                        struct blx_error *err)
{
    bool with_md5 = kind == OBJECT_DIGEST_WITH_MD5;
    digest->sha256 = EVP_MD_CTX_new();
    digest->md5 = with_md5 ? EVP_MD_CTX_new() : NULL;
    if (digest->sha256 == NULL || EVP_DigestInit_ex(digest->sha256, EVP_sha256(), NULL) != 1 ||
        (with_md5 && (digest->md5 == NULL || EVP_DigestInit_ex(digest->md5, EVP_md5(), NULL) != 1)))
        return blx_error_errno(err, -ENOMEM, "cannot hash what is copied");
    return 0;
}

void object_digest_add(struct object_digest *digest, const void *bytes, size_t count)
{
    bool done = EVP_DigestUpdate(digest->sha256, bytes, count) == 1 &&
                (digest->md5 == NULL || EVP_DigestUpdate(digest->md5, bytes, count) == 1);
    blx_assert(done);
}

void object_digest_end(struct object_digest *digest, unsigned char hash[OBJECT_HASH_BYTES],
                       unsigned char *md5)
{
    memset(hash, 0, HASH_BYTES);
    if (digest->sha256 != NULL)
        EVP_DigestFinal_ex(digest->sha256, hash, NULL);
    if (digest->md5 != NULL && md5 != NULL)
        EVP_DigestFinal_ex(digest->md5, md5, NULL);
    EVP_MD_CTX_free(digest->sha256);
    EVP_MD_CTX_free(digest->md5);
    *digest = (struct object_digest){0};
}

void object_hash(const void *bytes, size_t count, char text[OBJECT_HASH_TEXT_BYTES])
{
    unsigned char hash[HASH_BYTES];
    bool done = EVP_Digest(bytes, count, hash, NULL, EVP_sha256(), NULL) == 1;
    blx_assert(done);
    to_hex(hash, sizeof(hash), text);
}

void object_format_date(time_t when, char text[OBJECT_DATE_BYTES])
{
    struct tm utc = {0};
    gmtime_r(&when, &utc);
    strftime(text, OBJECT_DATE_BYTES, "%Y%m%dT%H%M%SZ", &utc);
}

static void seal(const unsigned char *key, size_t key_bytes, const char *text,
                 unsigned char out[HASH_BYTES])
{
    unsigned bytes = HASH_BYTES;
    unsigned char sealed[HASH_BYTES];
    bool done = HMAC(EVP_sha256(), key, (int)key_bytes, (const unsigned char *)text, strlen(text),
                     sealed, &bytes) != NULL;
    blx_assert(done && bytes == HASH_BYTES);
    memcpy(out, sealed, HASH_BYTES);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct object_header *)a)->name, ((const struct object_header *)b)->name);
}

/* The names of all headers, sorted: "host;range;x-amz-date". */
static void write_names(FILE *out, const struct object_header *headers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        fprintf(out, "%s%s", i > 0 ? ";" : "", headers[i].name);
}

/* The hash of the canonical request. */
static int hash_request(const struct object_to_sign *what, const struct object_header *sorted,
                        char hash[OBJECT_HASH_TEXT_BYTES])
{
    BLX_CLEANUP_FREE char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL)
        return -ENOMEM;
    fprintf(out, "%s\n%s\n%s\n", what->method, what->path, what->query);
    for (size_t i = 0; i < what->header_count; i++)
        fprintf(out, "%s:%s\n", sorted[i].name, sorted[i].value);
    fputc('\n', out);
    write_names(out, sorted, what->header_count);
    fprintf(out, "\n%s", what->body_hash);
    if (fclose(out) != 0)
        return -ENOMEM;
    object_hash(text, bytes, hash);
    return 0;
}

/* The key of a day, a region and a service follows from the secret. */
static void make_key(const struct object_credentials *credentials, const char *day,
                     const char *region, unsigned char key[HASH_BYTES])
{
    char first[OBJECT_SECRET_BYTES + 4];
    snprintf(first, sizeof(first), "AWS4%s", credentials->secret);
    seal((const unsigned char *)first, strlen(first), day, key);
    OPENSSL_cleanse(first, sizeof(first));
    seal(key, HASH_BYTES, region, key);
    seal(key, HASH_BYTES, "s3", key);
    seal(key, HASH_BYTES, "aws4_request", key);
}

int object_sign(const struct object_credentials *credentials, const struct object_to_sign *what,
                char authorization[OBJECT_AUTHORIZATION_BYTES], struct blx_error *err)
{
    struct object_header sorted[OBJECT_HEADERS];
    char hash[OBJECT_HASH_TEXT_BYTES], scope[128], text[512], day[DAY_CHARACTERS + 1];
    unsigned char key[HASH_BYTES], signature[HASH_BYTES];
    char signature_text[OBJECT_HASH_TEXT_BYTES];
    blx_assert(what->header_count <= OBJECT_HEADERS);
    memcpy(sorted, what->headers, what->header_count * sizeof(sorted[0]));
    qsort(sorted, what->header_count, sizeof(sorted[0]), by_name);
    if (hash_request(what, sorted, hash) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot sign a request");
    snprintf(day, sizeof(day), "%.8s", what->date);
    snprintf(scope, sizeof(scope), "%s/%.64s/s3/aws4_request", day, what->region);
    snprintf(text, sizeof(text), "AWS4-HMAC-SHA256\n%s\n%s\n%s", what->date, scope, hash);
    make_key(credentials, day, what->region, key);
    seal(key, sizeof(key), text, signature);
    OPENSSL_cleanse(key, sizeof(key));
    to_hex(signature, sizeof(signature), signature_text);
    FILE *out = fmemopen(authorization, OBJECT_AUTHORIZATION_BYTES, "w");
    if (out == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot sign a request");
    fprintf(out, "AWS4-HMAC-SHA256 Credential=%s/%s,SignedHeaders=", credentials->name, scope);
    write_names(out, sorted, what->header_count);
    fprintf(out, ",Signature=%s", signature_text);
    bool fits = ftell(out) < OBJECT_AUTHORIZATION_BYTES - 1;
    return fclose(out) == 0 && fits
               ? 0
               : blx_error_set(err, -E2BIG, "the request's signature is too long");
}
