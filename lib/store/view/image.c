/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/image_private.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "wire/digest.h"

enum { DIGEST_READ_BYTES = 256 * 1024 };

struct blx_image {
    struct blx_view *view;         /* owned */
    struct blx_frame_cache *cache; /* owned */
};

int blx_image_open(struct blx_view_source *source, struct blx_image **image, struct blx_error *err)
{
    struct blx_image *made = calloc(1, sizeof(*made));
    struct blx_frame_cache *cache = blx_frame_cache_new(BLX_IMAGE_CACHE_BYTES);
    if (made == NULL || cache == NULL) {
        free(made);
        blx_frame_cache_free(cache);
        source->done(source->arg);
        return blx_error_errno(err, -ENOMEM, "cannot read what is stored");
    }
    made->cache = source->cache = cache;
    int rc = blx_view_open_source(source, &made->view, err);
    if (rc < 0) {
        blx_image_close(made);
        return rc;
    }
    *image = made;
    return 0;
}

int blx_image_open_checkpoint(struct blx_agent_store agent, blx_timestamp checkpoint,
                              const char *volume, const struct blx_key_id *key_id,
                              const struct blx_volume_key *key, struct blx_image **image,
                              struct blx_error *err)
{
    const struct blx_view_request request = {.agent = agent,
                                             .checkpoint = checkpoint,
                                             .volume = volume,
                                             .max_entries = BLX_IMAGE_MAX_ENTRIES,
                                             .max_map_bytes = BLX_IMAGE_MAP_BYTES};
    struct blx_view_source source;
    int rc = blx_view_take_checkpoint(&request, &source, err);
    if (rc < 0)
        return rc;
    source.content = BLX_VIEW_CONTENT_DIGESTS;
    source.digest_key_id = *key_id;
    source.digest_key = key;
    if (key == NULL)
        source.key_id = *key_id;
    return blx_image_open(&source, image, err);
}

void blx_image_close(struct blx_image *image)
{
    if (image == NULL)
        return;
    blx_view_close(image->view);
    blx_frame_cache_free(image->cache);
    free(image);
}

uint64_t blx_image_size_bytes(const struct blx_image *image)
{
    return blx_view_size_bytes(image->view);
}

unsigned blx_image_block_shift(const struct blx_image *image)
{
    return blx_view_block_shift(image->view);
}

unsigned blx_image_unit_shift(const struct blx_image *image)
{
    return blx_view_unit_shift(image->view);
}

int blx_image_read(struct blx_image *image, uint64_t block, uint32_t count, void *buffer,
                   struct blx_error *err)
{
    unsigned shift = blx_view_unit_shift(image->view);
    return blx_view_read(image->view, buffer, (size_t)count << shift, block << shift, err);
}

/* An answer that is being made. */
struct answer {
    struct blx_image *image;
    struct blx_digester *digester;
    uint8_t *buffer; /* of DIGEST_READ_BYTES */
    struct blx_error *damage;
};

/* Digests one run of blocks that fits the buffer. An encrypted image has only its blocks' digests
 * to read. */
static int digest_run(const struct answer *answer, uint64_t block, uint32_t count,
                      struct blx_error *err)
{
    struct blx_error damage = {0};
    int rc = blx_image_read(answer->image, block, count, answer->buffer, &damage);
    if (rc == -EBADMSG && count > 1) {
        /* Only the damaged blocks count as different, not their neighbours. */
        rc = 0;
        for (uint32_t i = 0; rc == 0 && i < count; i++)
            rc = digest_run(answer, block + i, 1, err);
        return rc;
    }
    if (rc == -EBADMSG && answer->damage->code == 0)
        *answer->damage = damage;
    else if (rc < 0 && rc != -EBADMSG)
        return blx_error_copy(err, rc, &damage);
    return blx_digester_add(answer->digester, rc == 0 ? answer->buffer : NULL, count, err);
}

static int digest_all(const struct answer *answer, const struct blx_digest_request *request,
                      struct blx_digests *digests, struct blx_error *err)
{
    uint32_t most = DIGEST_READ_BYTES >> blx_image_block_shift(answer->image);
    uint64_t block = request->first_block;
    int rc = 0;
    blx_digester_begin(answer->digester, request, blx_image_unit_shift(answer->image), digests);
    for (uint32_t i = 0; i < request->extent_count; i++) {
        block += request->extents[i].gap_blocks;
        for (uint32_t left = request->extents[i].block_count; rc == 0 && left > 0;) {
            uint32_t count = left < most ? left : most;
            rc = digest_run(answer, block, count, err);
            block += count;
            left -= count;
        }
    }
    return rc < 0 ? rc : blx_digester_end(answer->digester, err);
}

int blx_image_digest(struct blx_image *image, const struct blx_digest_request *request,
                     struct blx_digests *digests, struct blx_error *damage, struct blx_error *err)
{
    *damage = (struct blx_error){0};
    BLX_CLEANUP_FREE uint8_t *buffer = malloc(DIGEST_READ_BYTES);
    if (buffer == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot read the stored image");
    struct answer answer = {.image = image, .buffer = buffer, .damage = damage};
    int rc = blx_digester_new(&answer.digester, err);
    if (rc == 0)
        rc = digest_all(&answer, request, digests, err);
    blx_digester_free(answer.digester);
    return rc;
}
