/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arrays that grow by one entry at a time. The room doubles whenever the count is a power of two,
 * so that appending costs a constant time and no capacity has to be kept beside the count.
 *
 *     if (blx_array_make_room(list->ids, list->count) < 0)
 *         return -ENOMEM;
 *     list->ids[list->count++] = id;
 *
 * So every entry of such an array is appended like this. An array that was allocated in one piece
 * has no such room.
 *
 * Threads: the array is the caller's.
 */
#pragma once

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

/* The array with room for an entry more, to be freed in the old one's place; NULL: the old one
 * stays. Call it through the macro. */
static inline void *blx_array_grow(void *array, size_t count, size_t entry_bytes)
{
    if (count != 0 && (count & (count - 1)) != 0)
        return array;
    return reallocarray(array, count == 0 ? 1 : 2 * count, entry_bytes);
}

/* Makes room for entry number `count` of `array`, which it replaces. 0, or -ENOMEM, which leaves
 * the array as it was. */
#define blx_array_make_room(array, count)                                                          \
    ({                                                                                             \
        __typeof__(array) blx_grown_ = blx_array_grow((array), (count), sizeof((array)[0]));       \
        if (blx_grown_ != NULL)                                                                    \
            (array) = blx_grown_;                                                                  \
        blx_grown_ == NULL ? -ENOMEM : 0;                                                          \
    })
