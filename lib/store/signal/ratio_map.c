/* SPDX-License-Identifier: Apache-2.0 */
#include "store/signal/ratio_map_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "store/layout_private.h"
#include "store/segment/segment_reader_private.h"

enum {
    RATIOS_OFFSET = 4096, /* of the first block's byte */
    MOST_HEADERS = 32768, /* that are read of one segment */
};

static int fail(int rc, struct blx_error *err)
{
    return blx_error_errno(err, rc,
                           "cannot keep what the blocks were packed to (the file 'ratios' "
                           "of a volume)");
}

static int write_header(const struct blx_ratio_map *map, struct blx_error *err)
{
    struct blx_ratios_disk disk = {
        .magic = blx_le32_of(BLX_RATIOS_MAGIC),
        .version = BLX_LAYOUT_VERSION,
        .block_shift = (uint8_t)map->block_shift,
        .checkpoint = blx_le64_of(map->checkpoint),
        .data_blocks = blx_le64_of(map->data_blocks),
        .hard_blocks = blx_le64_of(map->hard_blocks),
    };
    size_t field = offsetof(struct blx_ratios_disk, checksum);
    disk.checksum = blx_le64_of(blx_layout_checksum(&disk, sizeof(disk), field));
    int rc = blx_pwrite_full(map->fd, &disk, sizeof(disk), 0);
    return rc < 0 ? fail(rc, err) : 0;
}

int blx_ratio_map_reset(struct blx_ratio_map *map, struct blx_error *err)
{
    map->checkpoint = 0;
    map->data_blocks = map->hard_blocks = 0;
    map->has_window = map->dirty = false;
    return blx_sys->ftruncate(map->fd, 0) != 0 ? fail(-errno, err) : 0;
}

static bool read_header(struct blx_ratio_map *map)
{
    struct blx_ratios_disk disk;
    size_t field = offsetof(struct blx_ratios_disk, checksum);
    if (blx_pread_full(map->fd, &disk, sizeof(disk), 0) < 0 ||
        blx_le32_get(disk.magic) != BLX_RATIOS_MAGIC || disk.version != BLX_LAYOUT_VERSION ||
        disk.block_shift != map->block_shift ||
        blx_layout_checksum(&disk, sizeof(disk), field) != blx_le64_get(disk.checksum))
        return false;
    map->checkpoint = blx_le64_get(disk.checkpoint);
    map->data_blocks = blx_le64_get(disk.data_blocks);
    map->hard_blocks = blx_le64_get(disk.hard_blocks);
    return true;
}

int blx_ratio_map_open(const char *volume_dir, unsigned block_shift, struct blx_ratio_map *map,
                       struct blx_error *err)
{
    char path[PATH_MAX];
    struct blx_ratio_map opened = {.block_shift = block_shift};
    int rc = blx_path_format(path, sizeof(path), err, "%s/ratios", volume_dir);
    if (rc < 0)
        return rc;
    opened.fd = blx_open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600, err);
    if (opened.fd < 0)
        return opened.fd;
    rc = read_header(&opened) ? 0 : blx_ratio_map_reset(&opened, err);
    if (rc < 0)
        blx_ratio_map_close(&opened);
    else
        *map = opened;
    return rc;
}

void blx_ratio_map_close(struct blx_ratio_map *map)
{
    if (map->fd >= 0)
        close(map->fd);
    map->fd = -1;
}

static int flush(struct blx_ratio_map *map, struct blx_error *err)
{
    if (!map->dirty)
        return 0;
    int rc = blx_pwrite_full(map->fd, map->bytes, sizeof(map->bytes),
                             RATIOS_OFFSET + map->window * sizeof(map->bytes));
    if (rc < 0)
        return fail(rc, err);
    map->dirty = false;
    return 0;
}

/* What lies beyond the file's end is zero. */
static int load(struct blx_ratio_map *map, uint64_t window, struct blx_error *err)
{
    if (map->has_window && map->window == window)
        return 0;
    int rc = flush(map, err);
    if (rc < 0)
        return rc;
    map->has_window = false;
    rc = blx_pread_full(map->fd, map->bytes, sizeof(map->bytes),
                        RATIOS_OFFSET + window * sizeof(map->bytes));
    if (rc == -ENODATA)
        memset(map->bytes, 0, sizeof(map->bytes));
    else if (rc < 0)
        return fail(rc, err);
    map->window = window;
    map->has_window = true;
    return 0;
}

int blx_ratio_map_stamp(struct blx_ratio_map *map, blx_timestamp checkpoint, struct blx_error *err)
{
    int rc = flush(map, err);
    if (rc < 0)
        return rc;
    map->checkpoint = checkpoint;
    return write_header(map, err);
}

/* What blocks do to the figures, in blocks. */
struct tally {
    uint64_t changed, zeroed, fresh, fresh_hard, replaced, before, after, hardened;
};

static void put_data(struct blx_ratio_map *map, uint8_t *at, uint8_t now, struct tally *tally)
{
    bool hard = now >= BLX_RATIO_HARD;
    if (*at == 0) {
        map->data_blocks++;
        tally->fresh++;
        tally->fresh_hard += hard;
    } else {
        map->hard_blocks -= *at >= BLX_RATIO_HARD && map->hard_blocks > 0;
        tally->replaced++;
        tally->before += *at;
        tally->after += now;
        tally->hardened += hard && now - *at >= BLX_RATIO_LEAP && *at < BLX_RATIO_HARD;
    }
    map->hard_blocks += hard;
    *at = now;
}

static void put_zero(struct blx_ratio_map *map, uint8_t *at, struct tally *tally)
{
    if (*at == 0)
        return;
    tally->zeroed++;
    map->hard_blocks -= *at >= BLX_RATIO_HARD && map->hard_blocks > 0;
    map->data_blocks -= map->data_blocks > 0;
    *at = 0;
}

/* Blocks [start, end), which one window has; 0: they are zero. */
static int put_in_window(struct blx_ratio_map *map, uint64_t start, uint64_t end, uint8_t now,
                         struct tally *tally, struct blx_error *err)
{
    int rc = load(map, start / BLX_RATIO_WINDOW_BLOCKS, err);
    if (rc < 0)
        return rc;
    for (uint64_t block = start; block < end; block++) {
        uint8_t *at = &map->bytes[block % BLX_RATIO_WINDOW_BLOCKS];
        if (now == 0)
            put_zero(map, at, tally);
        else
            put_data(map, at, now, tally);
    }
    map->dirty = true;
    /* A window of zeros takes no room, and costs nothing when zeros come again. */
    if (now == 0 && end - start == BLX_RATIO_WINDOW_BLOCKS &&
        fallocate(map->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                  (off_t)(RATIOS_OFFSET + map->window * sizeof(map->bytes)),
                  sizeof(map->bytes)) == 0)
        map->dirty = map->has_window = false;
    return 0;
}

/* An extent of zeros may be as large as the agent says. Only what the file has is looked at. */
static uint64_t skip_zeros(struct blx_ratio_map *map, uint64_t start, uint64_t end)
{
    if (map->has_window && start / BLX_RATIO_WINDOW_BLOCKS == map->window)
        return start;
    off_t found = lseek(map->fd, (off_t)(RATIOS_OFFSET + start), SEEK_DATA);
    if (found < 0)
        return errno == ENXIO ? end : start;
    uint64_t block = (uint64_t)found - RATIOS_OFFSET;
    return block < start ? start : block > end ? end : block;
}

static int put(struct blx_ratio_map *map, uint64_t start, uint64_t end, uint8_t now,
               struct tally *tally, struct blx_error *err)
{
    tally->changed += end - start;
    int rc = now == 0 ? flush(map, err) : 0; /* so that the file tells where data is */
    while (rc == 0 && start < end) {
        if (now == 0)
            start = skip_zeros(map, start, end);
        uint64_t stop = (start / BLX_RATIO_WINDOW_BLOCKS + 1) * BLX_RATIO_WINDOW_BLOCKS;
        if (stop > end)
            stop = end;
        if (start < stop)
            rc = put_in_window(map, start, stop, now, tally, err);
        start = stop;
    }
    return rc;
}

/* Orders entries by their frame. */
struct place {
    uint64_t frame_offset;
    size_t entry;
};

static int compare_places(const void *a_arg, const void *b_arg)
{
    const struct place *a = a_arg, *b = b_arg;
    return (a->frame_offset > b->frame_offset) - (a->frame_offset < b->frame_offset);
}

static uint8_t to_ratio(uint64_t packed, uint64_t data)
{
    if (packed >= data)
        return BLX_RATIO_WHOLE;
    uint64_t ratio = packed * BLX_RATIO_WHOLE / data;
    return ratio == 0 ? 1 : (uint8_t)ratio;
}

/* A header that makes no sense tells nothing: 0. verify finds it. */
static uint8_t ask_header(const struct blx_segment_reader *reader,
                          const struct blx_index_entry *entry)
{
    struct blx_frame_header_disk header;
    if (blx_pread_full(reader->fd, &header, sizeof(header), entry->frame_offset) < 0 ||
        blx_le32_get(header.magic) != BLX_FRAME_MAGIC ||
        blx_le32_get(header.frame_bytes) != entry->frame_bytes)
        return 0;
    uint32_t data = blx_le32_get(header.data_bytes);
    return data == 0 ? 0 : to_ratio(blx_le32_get(header.payload_bytes), data);
}

/* What a frame has beside its data, as far as the index tells, is taken off. */
static uint8_t guess(const struct blx_segment_reader *reader, const struct blx_index_entry *entry,
                     uint64_t blocks, size_t extents)
{
    uint64_t beside =
        sizeof(struct blx_frame_header_disk) + extents * sizeof(struct blx_extent_disk);
    if (!blx_key_id_is_none(&reader->summary.key_id))
        beside += sizeof(struct blx_frame_encryption_disk) + blocks * BLX_BLOCK_DIGEST_BYTES;
    uint64_t packed = entry->frame_bytes > beside ? entry->frame_bytes - beside : 0;
    return to_ratio(packed, blocks << reader->summary.block_shift);
}

/* The ratio of each entry; 0: it is zero. */
static void find_ratios(const struct blx_segment_reader *reader, enum blx_ratio_source source,
                        const struct place *places, size_t count, uint8_t *ratios)
{
    const struct blx_index_entry *entries = reader->index.entries;
    size_t headers = 0;
    for (size_t first = 0, next; first < count; first = next) {
        uint64_t blocks = 0;
        for (next = first; next < count && places[next].frame_offset == places[first].frame_offset;
             next++)
            blocks += entries[places[next].entry].extent.block_count;
        const struct blx_index_entry *entry = &entries[places[first].entry];
        uint8_t ratio = guess(reader, entry, blocks, next - first), exact = 0;
        if (source == BLX_RATIO_FROM_HEADERS && ratio >= BLX_RATIO_HARD && headers++ < MOST_HEADERS)
            exact = ask_header(reader, entry);
        if (exact != 0)
            ratio = exact;
        for (size_t i = first; i < next; i++)
            ratios[places[i].entry] = ratio;
    }
}

static void count(const struct tally *tally, unsigned shift, struct blx_change *change)
{
    change->changed_bytes += tally->changed << shift;
    change->zeroed_bytes += tally->zeroed << shift;
    change->fresh_bytes += tally->fresh << shift;
    change->fresh_hard_bytes += tally->fresh_hard << shift;
    change->replaced_bytes += tally->replaced << shift;
    change->packed_before_bytes += (tally->before << shift) / BLX_RATIO_WHOLE;
    change->packed_after_bytes += (tally->after << shift) / BLX_RATIO_WHOLE;
    change->hardened_bytes += tally->hardened << shift;
}

int blx_ratio_map_apply(struct blx_ratio_map *map, const struct blx_segment_reader *reader,
                        enum blx_ratio_source source, uint64_t end_block, struct blx_change *change,
                        struct blx_error *err)
{
    const struct blx_index *index = &reader->index;
    size_t place_count = 0;
    BLX_CLEANUP_FREE struct place *places = calloc(index->count + 1, sizeof(*places));
    BLX_CLEANUP_FREE uint8_t *ratios = calloc(index->count + 1, sizeof(*ratios));
    if (places == NULL || ratios == NULL)
        return fail(-ENOMEM, err);
    for (size_t i = 0; i < index->count; i++)
        if (!index->entries[i].zero)
            places[place_count++] = (struct place){index->entries[i].frame_offset, i};
    qsort(places, place_count, sizeof(*places), compare_places);
    find_ratios(reader, source, places, place_count, ratios);
    struct tally tally = {0};
    int rc = 0;
    if (map->checkpoint != 0) { /* it shows none until it is stamped again */
        map->checkpoint = 0;
        rc = write_header(map, err);
    }
    for (size_t i = 0; rc == 0 && i < index->count; i++)
        if (blx_extent_end(index->entries[i].extent) <= end_block)
            rc = put(map, index->entries[i].extent.start_block,
                     blx_extent_end(index->entries[i].extent), ratios[i], &tally, err);
    if (rc == 0 && change != NULL)
        count(&tally, map->block_shift, change);
    return rc;
}
