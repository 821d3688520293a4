/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/send/batch.h"

#include <errno.h>
#include <string.h>

#include "agent/send/reader_private.h"
#include "agent/disk/patience.h"
#include "base/bitmap.h"
#include "crypt/block_digest.h"

/*
 * Extents that lie at most this far apart are read in one go and the gap is thrown away: up to here
 * a disk reads the gap faster than it begins a second request.
 */
enum { GAP_BYTES = 32 * 1024 };

_Static_assert((int)AGENT_BATCH_MAX_EXTENTS <= (int)AGENT_READER_MAX_RUNS,
               "each block may be a run");

bool agent_batch_claim(struct agent_batch *batch, struct agent_volume *volume,
                       enum agent_claim kind, uint64_t *cursor)
{
    batch->volume = volume;
    batch->extent_count =
        agent_volume_claim(volume, kind, cursor, AGENT_BATCH_DATA_BYTES >> volume->block_shift,
                           AGENT_BATCH_MAX_EXTENTS, batch->extents);
    return batch->extent_count > 0;
}

uint64_t agent_batch_count_blocks(const struct agent_batch *batch)
{
    uint64_t blocks = 0;
    for (uint32_t i = 0; i < batch->extent_count; i++)
        blocks += batch->extents[i].block_count;
    return blocks;
}

/* The errors that a disk reports for blocks. All others concern the request or the whole device. */
static bool is_of_blocks(int rc)
{
    return rc == -EIO || rc == -ENODATA || rc == -EILSEQ || rc == -EREMOTEIO || rc == -ETIMEDOUT;
}

/* What the process that reads a batch gets to know, and what it tells. */
struct reading {
    struct agent_reach reach;
    uint64_t size_bytes; /* of the device */
    uint32_t logical_block_bytes;
    unsigned block_shift;
    uint32_t count;
    uint64_t blocks[AGENT_BATCH_MAX_EXTENTS]; /* each by its number */
    uint64_t bad;                             /* as in struct agent_batch */
    int bad_error;
};

_Static_assert(sizeof(struct reading) <= AGENT_PATIENCE_ARG_BYTES, "it is the call's argument");
_Static_assert((int)AGENT_BATCH_DATA_BYTES <= (int)AGENT_PATIENCE_DATA_BYTES, "so are its data");

/* A part of it: the blocks number `first` to `first + count - 1`. */
struct part {
    struct reading *reading;
    const struct agent_source *source;
    uint8_t *data; /* of all blocks */
    uint32_t first, count;
};

/* Fills the run from block number `i` of the batch on, as far as gaps allow. Returns the number of
 * the first block after it. */
static uint32_t fill_run(const struct part *part, uint32_t i, struct agent_run *run)
{
    static _Thread_local uint8_t gap[GAP_BYTES] __attribute__((aligned(4096)));
    const uint64_t *blocks = part->reading->blocks;
    unsigned shift = part->reading->block_shift;
    uint64_t block_bytes = UINT64_C(1) << shift;
    uint32_t end = part->first + part->count;
    run->vector_count = 0;
    run->error = 0;
    run->offset = run->end = blocks[i] << shift;
    for (int joined = 0; joined < AGENT_RUN_MAX_EXTENTS && i < end; joined++) {
        uint64_t start = blocks[i] << shift;
        if (start - run->end > GAP_BYTES)
            break;
        if (start > run->end)
            agent_run_add(run, gap, start - run->end);
        uint8_t *to = part->data + i * block_bytes;
        uint64_t bytes = block_bytes;
        for (i++; i < end && blocks[i] == blocks[i - 1] + 1; i++)
            bytes += block_bytes;
        agent_run_add(run, to, bytes);
    }
    return i;
}

/* Reads in as few requests as gaps allow, all at once. */
static int read_part(const struct part *part)
{
    struct agent_reader *reader = agent_reader_prepare();
    if (reader == NULL)
        return -ENOMEM;
    size_t runs = 0;
    for (uint32_t i = part->first; i < part->first + part->count;)
        i = fill_run(part, i, &reader->runs[runs++]);
    return agent_reader_read(reader, part->source, runs);
}

/* If it fails, again in halves: 6 times at most, as a batch has 64 blocks. */
static int read_or_split(const struct part *part)
{
    int rc = read_part(part);
    if (!is_of_blocks(rc))
        return rc;
    if (part->count == 1) {
        part->reading->bad |= UINT64_C(1) << part->first;
        part->reading->bad_error = rc;
        return 0;
    }
    struct part half = *part;
    half.count = part->count / 2;
    rc = read_or_split(&half);
    if (rc < 0)
        return rc;
    half.first += half.count;
    half.count = part->count - half.count;
    return read_or_split(&half);
}

static uint32_t list_blocks(const struct agent_batch *batch,
                            uint64_t blocks[AGENT_BATCH_MAX_EXTENTS])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < batch->extent_count; i++) {
        for (uint64_t block = 0; block < batch->extents[i].block_count; block++)
            blocks[count++] = batch->extents[i].start_block + block;
    }
    return count;
}

static int find_all_bad(struct reading *reading)
{
    reading->bad = reading->count == 64 ? UINT64_MAX : (UINT64_C(1) << reading->count) - 1;
    reading->bad_error = -EIO;
    return 0;
}

static int read_in_helper(void *arg, struct agent_patience_io *io)
{
    struct reading *reading = arg;
    const struct agent_source source = {.fd = agent_reach_open(&reading->reach),
                                        .size_bytes = reading->size_bytes,
                                        .logical_block_bytes = reading->logical_block_bytes};
    /* None of its blocks can be read; the other disks go on. */
    if (source.fd == -ENXIO || source.fd == -ENOMEDIUM)
        return find_all_bad(reading);
    if (source.fd < 0)
        return source.fd;
    struct part all = {
        .reading = reading, .source = &source, .data = io->data, .count = reading->count};
    return read_or_split(&all);
}

int agent_batch_read(struct agent_batch *batch)
{
    static const struct agent_patience_call call = {
        .run = read_in_helper, .rest = agent_reach_rest, .arg_bytes = sizeof(struct reading)};
    const struct agent_volume *volume = batch->volume;
    struct reading reading = {.reach = agent_device_get_reach(&volume->device),
                              .size_bytes = volume->device.size_bytes,
                              .logical_block_bytes = volume->device.logical_block_bytes,
                              .block_shift = volume->block_shift};
    reading.count = list_blocks(batch, reading.blocks);
    struct agent_patience_io io = {.data = batch->data,
                                   .data_bytes = (size_t)reading.count << volume->block_shift};
    int rc = agent_device_run(&volume->device, &call, &reading, &io, agent_patience_get_ms());
    batch->bad = reading.bad;
    batch->bad_error = reading.bad_error;
    return rc;
}

static void add_block(struct agent_batch *batch, uint64_t block)
{
    struct blx_extent *last =
        batch->extent_count > 0 ? &batch->extents[batch->extent_count - 1] : NULL;
    if (last != NULL && last->start_block + last->block_count == block)
        last->block_count++;
    else
        batch->extents[batch->extent_count++] = (struct blx_extent){block, 1};
}

void agent_batch_leave_out_bad(struct agent_batch *batch)
{
    struct agent_volume *volume = batch->volume;
    if (batch->bad == 0) {
        for (uint32_t i = 0; i < batch->extent_count; i++)
            agent_bad_blocks_remove(&volume->bad, batch->extents[i]);
        return;
    }
    uint64_t blocks[AGENT_BATCH_MAX_EXTENTS];
    uint32_t count = list_blocks(batch, blocks);
    size_t block_bytes = (size_t)1 << volume->block_shift;
    uint8_t *to = batch->data;
    batch->extent_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct blx_extent block = {blocks[i], 1};
        if ((batch->bad >> i & 1) != 0) {
            agent_volume_mark_unreadable(volume, block, batch->bad_error);
            continue;
        }
        agent_bad_blocks_remove(&volume->bad, block);
        add_block(batch, blocks[i]);
        memmove(to, batch->data + i * block_bytes, block_bytes);
        to += block_bytes;
    }
    batch->bad = 0;
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

int agent_batch_digest(const struct agent_batch *batch, uint8_t *digests, struct blx_error *err)
{
    struct blx_block_digester *digester;
    size_t block_bytes = (size_t)1 << batch->volume->block_shift;
    const uint8_t *data = batch->data;
    int rc = blx_block_digester_new(batch->volume->digest_key, &digester, err);
    if (rc < 0)
        return rc;
    for (uint32_t i = 0; i < batch->extent_count; i++) {
        const struct blx_extent *extent = &batch->extents[i];
        for (uint64_t n = 0; rc == 0 && n < extent->block_count; n++) {
            rc = blx_block_digest(digester, extent->start_block + n, data, block_bytes, digests,
                                  err);
            data += block_bytes;
            digests += BLX_BLOCK_DIGEST_BYTES;
        }
    }
    blx_block_digester_free(digester);
    return rc;
}

/* Encrypted frames have them inside. */
static int add_digests(const struct blx_frame_content *content, const struct blx_volume_key *key,
                       uint8_t *frame, size_t *frame_bytes, struct blx_error *err)
{
    const struct blx_frame view = {
        .bytes = frame, .block_shift = content->block_shift, .extent_count = content->extent_count};
    int rc = blx_frame_digest(&view, content->data, key, frame + *frame_bytes, err);
    if (rc == 0)
        *frame_bytes += blx_frame_digest_bytes(content->data_bytes, content->block_shift);
    return rc;
}

int agent_batch_pack(struct agent_batch *batch, enum blx_codec codec, int level, void *frame,
                     size_t *frame_bytes, struct blx_error *err)
{
    struct blx_frame_extent extents[AGENT_BATCH_MAX_EXTENTS];
    const struct agent_volume *volume = batch->volume;
    size_t block_bytes = (size_t)1 << volume->block_shift;
    struct blx_frame_content content = {
        .codec = codec,
        .level = level,
        .block_shift = volume->block_shift,
        .generation = volume->ledger.head->stream,
        .extents = extents,
        .data = batch->data,
        .key = volume->key,
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
    int rc = blx_frame_pack(&content, frame, frame_bytes, err);
    return rc == 0 && volume->key == NULL && volume->digest_key != NULL
               ? add_digests(&content, volume->digest_key, frame, frame_bytes, err)
               : rc;
}
