/* SPDX-License-Identifier: Apache-2.0 */
#include "page/image.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "page/range.h"
#include "page/reply.h"
#include "store/checkpoint/manifest_file.h"
#include "store/store.h"
#include "store/view/view.h"

enum { PIECE_BYTES = 256 * 1024, TEXT_BYTES = 256 };

static pthread_mutex_t count_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned count;

/* A volume that is sent. */
struct image {
    struct blx_store store;
    struct blx_frame_cache *cache;
    struct blx_view *view;
    char agent[BLX_NAME_BYTES], volume[BLX_NAME_BYTES];
    blx_timestamp checkpoint;
    struct page_range range; /* what of it */
};

static int take_turn(struct blx_error *err)
{
    pthread_mutex_lock(&count_lock);
    bool free_one = count < PAGE_IMAGES;
    count += free_one ? 1 : 0;
    pthread_mutex_unlock(&count_lock);
    return free_one ? 0
                    : blx_error_set(err, -EBUSY,
                                    "%d images are being sent already: try again later, or restore "
                                    "by `blxrep dispatcher restore`",
                                    PAGE_IMAGES);
}

static void close_image(void *arg)
{
    struct image *image = arg;
    blx_view_close(image->view);
    blx_frame_cache_free(image->cache);
    blx_store_close(&image->store);
    free(image);
    pthread_mutex_lock(&count_lock);
    count--;
    pthread_mutex_unlock(&count_lock);
}

/* The volume that the device names; the only one without a name. */
static int choose_volume(const struct blx_manifest *manifest, const char *device,
                         char volume[BLX_NAME_BYTES], struct blx_error *err)
{
    const struct blx_manifest_volume *found = NULL;
    for (uint32_t i = 0; i < manifest->volume_count; i++) {
        const struct blx_manifest_volume *at = &manifest->volumes[i];
        if (device[0] == '\0' ? manifest->volume_count == 1
                              : blx_manifest_volume_is_named(at, device))
            found = at;
    }
    if (found == NULL && device[0] == '\0')
        return blx_error_set(err, -EINVAL, "the checkpoint has %" PRIu32 " disks: device=/dev/X",
                             manifest->volume_count);
    if (found == NULL)
        return blx_error_set(err, -ENOENT, "the checkpoint has no disk '%s'", device);
    if (!blx_key_id_is_none(&found->key_id))
        return blx_error_set(err, -EACCES,
                             "'%s' is encrypted, and the page has no keys: restore it by `blxrep "
                             "dispatcher restore --key=FILE`",
                             found->device);
    blx_text_copy(volume, BLX_NAME_BYTES, found->name);
    return 0;
}

static int open_view(struct image *image, const char *checkpoint, const char *device,
                     struct blx_error *err)
{
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    const struct blx_agent_store agent = blx_store_agent(&image->store, image->agent);
    int rc = blx_manifest_resolve(agent, checkpoint, &image->checkpoint, err);
    if (rc == 0)
        rc = blx_manifest_read(agent, image->checkpoint, &manifest, err);
    if (rc == 0)
        rc = choose_volume(&manifest, device, image->volume, err);
    if (rc < 0)
        return rc;
    image->cache = blx_frame_cache_new(PAGE_IMAGE_CACHE_BYTES);
    if (image->cache == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot read the image");
    const struct blx_view_request request = {.agent = agent,
                                             .checkpoint = image->checkpoint,
                                             .volume = image->volume,
                                             .cache = image->cache};
    return blx_view_open(&request, &image->view, err);
}

static int open_image(const struct page_request *request, struct image **image,
                      struct blx_error *err)
{
    char checkpoint[BLX_TIMESTAMP_TEXT_BYTES], device[PAGE_DEVICE_BYTES];
    struct image *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot read the image");
    int rc = take_turn(err);
    if (rc < 0) {
        free(made);
        return rc;
    }
    made->store.lock_fd = -1;
    rc = page_request_agent(request, "agent", made->agent, err);
    if (rc == 0)
        rc = page_request_checkpoint(request, checkpoint, err);
    if (rc == 0)
        rc = page_request_device(request, device, err);
    if (rc == 0)
        rc = blx_store_open(request->page->data_dir, BLX_STORE_READ, &made->store, err);
    if (rc == 0)
        rc = open_view(made, checkpoint, device, err);
    if (rc < 0) {
        close_image(made);
        return rc;
    }
    *image = made;
    return 0;
}

static ssize_t fill(void *arg, uint64_t position, char *buffer, size_t room)
{
    const struct image *image = arg;
    struct blx_error err = {0};
    uint64_t left = image->range.bytes - position;
    size_t bytes = left < room ? (size_t)left : room;
    if (bytes == 0)
        return MHD_CONTENT_READER_END_OF_STREAM;
    if (blx_view_read(image->view, buffer, bytes, image->range.first + position, &err) < 0) {
        blx_log_warning("the image of '%s' of '%s' breaks off: %s", image->volume, image->agent,
                        err.message);
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    return (ssize_t)bytes;
}

/* The part that is asked for, and the status of an answer with it. */
static unsigned choose_range(const struct page_request *request, struct image *image,
                             const char *tag)
{
    const uint64_t size = blx_view_size_bytes(image->view);
    const char *wanted = page_request_header(request, MHD_HTTP_HEADER_RANGE);
    const char *only_if = page_request_header(request, MHD_HTTP_HEADER_IF_RANGE);
    const char *named = page_request_word(request, "checkpoint");
    image->range = (struct page_range){.first = 0, .bytes = size};
    if (only_if != NULL && strcmp(only_if, tag) != 0)
        wanted = NULL;
    /* The newest may be another one than that whose beginning is there. */
    if (only_if == NULL && named != NULL && strcmp(named, "latest") == 0)
        wanted = NULL;
    int rc = size > 0 ? page_range_parse(wanted, size, &image->range) : 0;
    return rc < 0   ? MHD_HTTP_RANGE_NOT_SATISFIABLE
           : rc > 0 ? MHD_HTTP_PARTIAL_CONTENT
                    : MHD_HTTP_OK;
}

static enum MHD_Result add_headers(struct MHD_Response *response, const struct image *image,
                                   unsigned status, const char *tag)
{
    char range[TEXT_BYTES], name[TEXT_BYTES];
    snprintf(range, sizeof(range), "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, image->range.first,
             image->range.first + image->range.bytes - 1, blx_view_size_bytes(image->view));
    snprintf(name, sizeof(name), "attachment; filename=\"%s-%" PRIu64 "-%s.img\"", image->agent,
             image->checkpoint, image->volume);
    const char *headers[][2] = {
        {MHD_HTTP_HEADER_CONTENT_TYPE, "application/octet-stream"},
        {MHD_HTTP_HEADER_CONTENT_DISPOSITION, name},
        {MHD_HTTP_HEADER_ACCEPT_RANGES, "bytes"},
        {MHD_HTTP_HEADER_ETAG, tag},
        {MHD_HTTP_HEADER_CACHE_CONTROL, "no-store"},
        {MHD_HTTP_HEADER_CONTENT_RANGE, range}, /* the last one, which a whole image has not */
    };
    const size_t all = sizeof(headers) / sizeof(headers[0]);
    const size_t wanted = status == MHD_HTTP_PARTIAL_CONTENT ? all : all - 1;
    enum MHD_Result result = page_reply_guard(response);
    for (size_t i = 0; result == MHD_YES && i < wanted; i++)
        result = MHD_add_response_header(response, headers[i][0], headers[i][1]);
    return result;
}

static enum MHD_Result send_image(const struct page_request *request, struct image *image)
{
    char tag[TEXT_BYTES];
    struct blx_error err = {0};
    snprintf(tag, sizeof(tag), "\"%s-%" PRIu64 "-%s\"", image->agent, image->checkpoint,
             image->volume);
    unsigned status = choose_range(request, image, tag);
    if (status == MHD_HTTP_RANGE_NOT_SATISFIABLE) {
        blx_error_set(&err, -ERANGE, "the image has %" PRIu64 " bytes",
                      blx_view_size_bytes(image->view));
        close_image(image);
        return page_reply_error(request, status, &err);
    }
    struct MHD_Response *response = MHD_create_response_from_callback(
        image->range.bytes, PIECE_BYTES, fill, image, close_image);
    if (response == NULL) {
        close_image(image);
        return MHD_NO;
    }
    enum MHD_Result result = add_headers(response, image, status, tag);
    if (result == MHD_YES)
        result = MHD_queue_response(request->connection, status, response);
    MHD_destroy_response(response);
    return result;
}

enum MHD_Result page_image_serve(const struct page_request *request)
{
    struct image *image = NULL;
    struct blx_error err = {0};
    if (open_image(request, &image, &err) < 0)
        return page_reply_error(request, page_status_of(&err), &err);
    return send_image(request, image);
}
