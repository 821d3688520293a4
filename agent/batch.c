#include "agent/batch.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "base/bitmap.h"

/*
 * Extents that lie at most this far apart are read in one go and the gap is thrown away: up to here
 * a disk reads the gap faster than it begins a second request.
 */
enum { GAP_BYTES = 32 * 1024, MAX_RUN_EXTENTS = 32 };

bool blx_batch_claim(struct blx_batch *batch, struct blx_volume *volume, enum blx_claim kind,
                     uint64_t *cursor)
{
    batch->volume = volume;
    batch->extent_count =
        blx_volume_claim(volume, kind, cursor, BLX_BATCH_DATA_BYTES >> volume->block_shift,
                         BLX_BATCH_MAX_EXTENTS, batch->extents);
    return batch->extent_count > 0;
}

uint64_t blx_batch_blocks(const struct blx_batch *batch)
{
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < batch->extent_count; i++)
        blocks += batch->extents[i].block_count;
    return blocks;
}

/* What one preadv reads: extents and the gaps between them. */
struct run {
    struct iovec vectors[2 * MAX_RUN_EXTENTS];
    int vector_count;
    uint64_t offset;
    uint64_t end;
};

static void run_add(struct run *run, void *to, uint64_t bytes)
{
    run->vectors[run->vector_count++] = (struct iovec){to, bytes};
    run->end += bytes;
}

/* Drops the first `bytes` of what is left to read. */
static void run_advance(struct run *run, size_t bytes)
{
    run->offset += bytes;
    int first = 0;
    while (first < run->vector_count && bytes >= run->vectors[first].iov_len)
        bytes -= run->vectors[first++].iov_len;
    run->vector_count -= first;
    memmove(run->vectors, run->vectors + first,
            (size_t)run->vector_count * sizeof(run->vectors[0]));
    if (run->vector_count > 0) {
        run->vectors[0].iov_base = (uint8_t *)run->vectors[0].iov_base + bytes;
        run->vectors[0].iov_len -= bytes;
    }
}

/* The device may end within its last block: what lies behind its end reads as zero. */
static void run_zero_rest(struct run *run)
{
    for (int i = 0; i < run->vector_count; i++)
        memset(run->vectors[i].iov_base, 0, run->vectors[i].iov_len);
    run->vector_count = 0;
}

static int run_read(const struct blx_device *device, struct run *run)
{
    while (run->vector_count > 0) {
        ssize_t got = preadv(device->fd, run->vectors, run->vector_count, (off_t)run->offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0 && run->offset < device->size_bytes)
            return -EIO; /* the device has become smaller */
        if (got == 0)
            run_zero_rest(run);
        else
            run_advance(run, (size_t)got);
    }
    return 0;
}

int blx_batch_read(struct blx_batch *batch)
{
    static _Thread_local uint8_t gap[GAP_BYTES] __attribute__((aligned(4096)));
    const struct blx_volume *volume = batch->volume;
    uint8_t *to = batch->data;
    for (uint32_t i = 0; i < batch->extent_count;) {
        struct run run = {.offset = batch->extents[i].start_block << volume->block_shift};
        run.end = run.offset;
        for (int joined = 0; joined < MAX_RUN_EXTENTS && i < batch->extent_count; joined++, i++) {
            uint64_t start = batch->extents[i].start_block << volume->block_shift;
            if (start - run.end > GAP_BYTES)
                break;
            if (start > run.end)
                run_add(&run, gap, start - run.end);
            uint64_t bytes = batch->extents[i].block_count << volume->block_shift;
            run_add(&run, to, bytes);
            to += bytes;
        }
        int rc = run_read(&volume->device, &run);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static bool is_zero(const uint8_t *bytes, size_t count)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, count - 1) == 0;
}

static void append_block(struct blx_frame_content *content, struct blx_frame_extent *extents,
                         uint64_t block, bool zero)
{
    struct blx_frame_extent *last =
        content->extent_count > 0 ? &extents[content->extent_count - 1] : NULL;
    if (last != NULL && last->zero == zero &&
        last->extent.start_block + last->extent.block_count == block)
        last->extent.block_count++;
    else
        extents[content->extent_count++] = (struct blx_frame_extent){{block, 1}, zero};
}

int blx_batch_pack(struct blx_batch *batch, enum blx_codec codec, void *frame, size_t *frame_bytes,
                   struct blx_error *err)
{
    struct blx_frame_extent extents[BLX_BATCH_MAX_EXTENTS];
    const struct blx_volume *volume = batch->volume;
    size_t block_bytes = (size_t)1 << volume->block_shift;
    struct blx_frame_content content = {
        .codec = codec,
        .block_shift = volume->block_shift,
        .generation = volume->ledger.head->stream,
        .extents = extents,
        .data = batch->data,
    };
    const uint8_t *from = batch->data;
    for (uint32_t i = 0; i < batch->extent_count; i++) {
        for (uint64_t block = 0; block < batch->extents[i].block_count;
             block++, from += block_bytes) {
            bool zero = is_zero(from, block_bytes);
            append_block(&content, extents, batch->extents[i].start_block + block, zero);
            if (zero)
                continue;
            memmove(batch->data + content.data_bytes, from, block_bytes);
            content.data_bytes += (uint32_t)block_bytes;
        }
    }
    return blx_frame_pack(&content, frame, frame_bytes, err);
}
