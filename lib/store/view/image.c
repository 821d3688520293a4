/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/image_private.h"

#include <errno.h>
#include <stdlib.h>

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
