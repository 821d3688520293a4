/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/block_map_private.h"

#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/assert.h"

enum {
    ENTRIES_PER_MARK = 32,
    ENTRY_MAX_BYTES = 64,
    FIRST_ROOM_BYTES = 256,
};

/* The lowest bits of an entry's first number; the rest is the gap before it. */
enum {
    FLAG_ZERO = 1,
    FLAG_SAME_FRAME = 2, /* as the entry before it */
    FLAG_NEXT_FRAME = 4, /* the one that follows that entry's in the same segment */
    FLAG_BITS = 3,
};

void blx_block_map_done(struct blx_block_map *map)
{
    free(map->bytes);
    free(map->marks);
    *map = (struct blx_block_map){0};
}

size_t blx_block_map_memory_bytes(const struct blx_block_map *map)
{
    size_t marks = 1;
    while (marks < map->mark_count) /* base/array.h's room */
        marks *= 2;
    return map->room + marks * sizeof(map->marks[0]);
}

static uint8_t *put(uint8_t *to, uint64_t number)
{
    for (; number >= 0x80; number >>= 7)
        *to++ = (uint8_t)(number | 0x80);
    *to++ = (uint8_t)number;
    return to;
}

static const uint8_t *get(const uint8_t *from, uint64_t *number)
{
    *number = 0;
    for (unsigned shift = 0;; shift += 7) {
        uint8_t byte = *from++;
        *number |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0)
            return from;
    }
}

static uint64_t end_of(const struct blx_index_entry *entry)
{
    return entry->extent.start_block + entry->extent.block_count;
}

static bool same_frame(const struct blx_index_entry *last, const struct blx_index_entry *entry)
{
    return last->segment == entry->segment && last->frame_offset == entry->frame_offset &&
           last->frame_bytes == entry->frame_bytes;
}

static bool next_frame(const struct blx_index_entry *last, const struct blx_index_entry *entry)
{
    return last->segment == entry->segment &&
           last->frame_offset + last->frame_bytes == entry->frame_offset;
}

static uint8_t *encode(uint8_t *to, const struct blx_index_entry *last,
                       const struct blx_index_entry *entry)
{
    unsigned flags = entry->zero               ? FLAG_ZERO
                     : same_frame(last, entry) ? FLAG_SAME_FRAME
                     : next_frame(last, entry) ? FLAG_NEXT_FRAME
                                               : 0;
    to = put(to, (entry->extent.start_block - end_of(last)) << FLAG_BITS | flags);
    to = put(to, entry->extent.block_count);
    if (entry->zero)
        return put(to, entry->segment);
    if (flags == 0) {
        to = put(to, entry->segment);
        to = put(to, entry->frame_offset);
    }
    if (flags != FLAG_SAME_FRAME)
        to = put(to, entry->frame_bytes);
    return put(to, entry->data_block);
}

static const uint8_t *decode(const uint8_t *from, const struct blx_index_entry *last,
                             struct blx_index_entry *entry)
{
    uint64_t first, count, number;
    from = get(from, &first);
    from = get(from, &count);
    struct blx_index_entry made = {.extent = {end_of(last) + (first >> FLAG_BITS), count}};
    unsigned flags = first & ((1U << FLAG_BITS) - 1);
    made.zero = (flags & FLAG_ZERO) != 0;
    if (made.zero) {
        from = get(from, &number);
        made.segment = (uint32_t)number;
        *entry = made;
        return from;
    }
    made.segment = last->segment;
    made.frame_offset = last->frame_offset + (flags == FLAG_NEXT_FRAME ? last->frame_bytes : 0);
    made.frame_bytes = last->frame_bytes;
    if (flags == 0) {
        from = get(from, &number);
        made.segment = (uint32_t)number;
        from = get(from, &made.frame_offset);
    }
    if (flags != FLAG_SAME_FRAME) {
        from = get(from, &number);
        made.frame_bytes = (uint32_t)number;
    }
    from = get(from, &number);
    made.data_block = (uint32_t)number;
    *entry = made;
    return from;
}

/* What the first entry after a mark is compared with: nothing, at its own first block. */
static struct blx_index_entry blank(uint64_t start_block)
{
    return (struct blx_index_entry){
        .extent = {start_block, 0}, .segment = UINT32_MAX, .frame_offset = UINT64_MAX};
}

static int make_room(struct blx_block_map *map, size_t room)
{
    uint8_t *grown = realloc(map->bytes, room);
    if (grown == NULL)
        return -ENOMEM;
    map->bytes = grown;
    map->room = room;
    return 0;
}

static int append(struct blx_block_map *map, const struct blx_index_entry *entry)
{
    struct blx_index_entry last = map->last;
    blx_assert(map->entry_count == 0 || entry->extent.start_block >= end_of(&last));
    if (map->entry_count % ENTRIES_PER_MARK == 0) {
        if (blx_array_make_room(map->marks, map->mark_count) < 0)
            return -ENOMEM;
        map->marks[map->mark_count++] =
            (struct blx_block_mark){.start_block = entry->extent.start_block, .offset = map->used};
        last = blank(entry->extent.start_block);
    }
    if (map->room - map->used < ENTRY_MAX_BYTES &&
        make_room(map, map->room == 0 ? FIRST_ROOM_BYTES : 2 * map->room) < 0)
        return -ENOMEM;
    map->used = (size_t)(encode(map->bytes + map->used, &last, entry) - map->bytes);
    map->entry_count++;
    map->last = *entry;
    if (entry->zero) { /* of which decode() knows no frame */
        map->last.frame_offset = 0;
        map->last.frame_bytes = 0;
    }
    return 0;
}

int blx_block_map_add(struct blx_block_map *map, const struct blx_index *index)
{
    for (size_t i = 0; i < index->count; i++)
        if (append(map, &index->entries[i]) < 0)
            return -ENOMEM;
    return map->used > 0 && map->used < map->room ? make_room(map, map->used) : 0;
}

/* The last mark at or before the block; the first one if there is none. */
static size_t find_mark(const struct blx_block_map *map, uint64_t block)
{
    size_t low = 0, high = map->mark_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (map->marks[middle].start_block <= block)
            low = middle;
        else
            high = middle;
    }
    return low;
}

bool blx_block_map_find(const struct blx_block_map *map, uint64_t block,
                        struct blx_index_entry *entry)
{
    if (map->entry_count == 0)
        return false;
    size_t at = find_mark(map, block) * ENTRIES_PER_MARK;
    const uint8_t *from = map->bytes + map->marks[at / ENTRIES_PER_MARK].offset;
    struct blx_index_entry last = {0};
    for (; at < map->entry_count; at++) {
        if (at % ENTRIES_PER_MARK == 0)
            last = blank(map->marks[at / ENTRIES_PER_MARK].start_block);
        from = decode(from, &last, &last);
        if (end_of(&last) > block) {
            *entry = last;
            return true;
        }
    }
    return false;
}
