/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The segments in a volume's folder that no checkpoint has yet, and their frames. Private to
 * lib/store; received_recover.c uses it.
 *
 * Threads: one thread per volume (the session). Waits for the disk.
 */
#pragma once

#include "store/receive/received_volume_private.h"

/* The segments in a volume's folder. */
struct blx_received_listing {
    uint32_t *sealed; /* ascending */
    size_t count;
    uint32_t highest; /* sealed number */
    bool has_open;
};

/* Lists the folder. Free with _done() in any case. */
int blx_received_listing_read(const struct blx_received_volume *volume,
                              struct blx_received_listing *listing, struct blx_error *err);

/* The same for the numbers from `first` to `last` alone, without listing the folder. */
int blx_received_listing_probe(const struct blx_received_volume *volume, uint32_t first,
                               uint32_t last, struct blx_received_listing *listing,
                               struct blx_error *err);

void blx_received_listing_done(struct blx_received_listing *listing);

/*
 * Reads the segments from number `from` on, oldest first: fills volume->pending, open and seq.
 * If frames were lost (a segment is damaged or missing, or one's frames do not follow) the
 * volume's generation goes, durably and first, so that a rescan compares the rest; an empty segment
 * takes the lost one's place. If the open segment was cut off, volume->cut says so.
 */
int blx_received_volume_take_uncommitted(struct blx_received_volume *volume,
                                         const struct blx_received_listing *listing, uint32_t from,
                                         struct blx_error *err);

/* Fills volume->pending with their numbers alone, only so that a full pass removes them. */
int blx_received_volume_list_uncommitted(struct blx_received_volume *volume,
                                         const struct blx_received_listing *listing, uint32_t from,
                                         struct blx_error *err);
