/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/digest.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

struct blx_digester {
    EVP_MD *md; /* fetched once: looking it up costs more than a small piece */
    EVP_MD_CTX *context;
    struct blx_digests *digests; /* borrowed */
    uint32_t max_count;
    uint32_t piece_blocks; /* in a whole piece */
    uint32_t blocks;       /* in the piece that is under way */
    bool spoiled;          /* that piece */
    unsigned unit_shift;
};

uint32_t blx_digest_bytes(uint32_t blocks_per_digest)
{
    return blocks_per_digest == 1 ? BLX_DIGEST_FINE_BYTES : BLX_DIGEST_COARSE_BYTES;
}

uint64_t blx_digest_request_blocks(const struct blx_digest_request *request)
{
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < request->extent_count; i++)
        blocks += request->extents[i].block_count;
    return blocks;
}

uint64_t blx_digest_request_pieces(const struct blx_digest_request *request)
{
    uint64_t blocks = blx_digest_request_blocks(request);
    return (blocks + request->blocks_per_digest - 1) / request->blocks_per_digest;
}

uint64_t blx_digest_request_end(const struct blx_digest_request *request)
{
    uint64_t end = request->first_block;
    for (uint32_t i = 0; i < request->extent_count; i++)
        end += (uint64_t)request->extents[i].gap_blocks + request->extents[i].block_count;
    return end;
}

int blx_digester_new(struct blx_digester **digester, struct blx_error *err)
{
    struct blx_digester *made = calloc(1, sizeof(*made));
    if (made != NULL) {
        made->md = EVP_MD_fetch(NULL, "SHA256", NULL);
        made->context = EVP_MD_CTX_new();
    }
    if (made == NULL || made->md == NULL || made->context == NULL) {
        blx_digester_free(made);
        return blx_error_errno(err, -ENOMEM, "cannot make digests");
    }
    *digester = made;
    return 0;
}

void blx_digester_free(struct blx_digester *digester)
{
    if (digester == NULL)
        return;
    EVP_MD_CTX_free(digester->context);
    EVP_MD_free(digester->md);
    free(digester);
}

void blx_digester_begin(struct blx_digester *digester, const struct blx_digest_request *request,
                        unsigned unit_shift, struct blx_digests *digests)
{
    digester->digests = digests;
    digester->unit_shift = unit_shift;
    digester->piece_blocks = request->blocks_per_digest;
    digester->blocks = 0;
    digester->spoiled = false;
    digests->volume = request->volume;
    digests->request = request->request;
    digests->digest_bytes = blx_digest_bytes(request->blocks_per_digest);
    digests->count = 0;
    digester->max_count = BLX_DIGESTS_MAX_BYTES / digests->digest_bytes;
}

static int failed(struct blx_error *err)
{
    return blx_error_set(err, -EIO, "the cryptographic library cannot make a digest");
}

static int finish_piece(struct blx_digester *digester, struct blx_error *err)
{
    struct blx_digests *digests = digester->digests;
    uint8_t digest[EVP_MAX_MD_SIZE] = {0};
    if (!digester->spoiled && EVP_DigestFinal_ex(digester->context, digest, NULL) != 1)
        return failed(err);
    memcpy(digests->bytes + (size_t)digests->count * digests->digest_bytes, digest,
           digests->digest_bytes);
    digests->count++;
    digester->blocks = 0;
    digester->spoiled = false;
    return 0;
}

int blx_digester_add(struct blx_digester *digester, const void *data, uint32_t count,
                     struct blx_error *err)
{
    const uint8_t *at = data;
    while (count > 0) {
        if (digester->digests->count == digester->max_count)
            return blx_error_set(err, -EIO, "more digests than a message holds");
        if (digester->blocks == 0 && EVP_DigestInit_ex2(digester->context, digester->md, NULL) != 1)
            return failed(err);
        uint32_t part = digester->piece_blocks - digester->blocks;
        part = part < count ? part : count;
        if (at == NULL)
            digester->spoiled = true;
        else if (EVP_DigestUpdate(digester->context, at, (size_t)part << digester->unit_shift) != 1)
            return failed(err);
        at = at == NULL ? NULL : at + ((size_t)part << digester->unit_shift);
        digester->blocks += part;
        count -= part;
        int rc = digester->blocks == digester->piece_blocks ? finish_piece(digester, err) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

int blx_digester_end(struct blx_digester *digester, struct blx_error *err)
{
    return digester->blocks > 0 ? finish_piece(digester, err) : 0;
}

bool blx_digests_equal(const struct blx_digests *a, const struct blx_digests *b, uint32_t index)
{
    static const uint8_t spoiled[BLX_DIGEST_COARSE_BYTES];
    if (a->digest_bytes != b->digest_bytes || index >= a->count || index >= b->count)
        return false;
    const uint8_t *x = a->bytes + (size_t)index * a->digest_bytes;
    const uint8_t *y = b->bytes + (size_t)index * b->digest_bytes;
    return memcmp(x, y, a->digest_bytes) == 0 && memcmp(x, spoiled, a->digest_bytes) != 0;
}
