/* SPDX-License-Identifier: Apache-2.0 */
#include "store/receive/received_segments_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/io.h"
#include "base/sys.h"
#include "store/damage_private.h"
#include "store/directory_private.h"

void blx_received_listing_done(struct blx_received_listing *listing)
{
    free(listing->sealed);
}

static int add_sealed(struct blx_received_listing *listing, uint32_t number, struct blx_error *err)
{
    if (number > listing->highest)
        listing->highest = number;
    if (blx_array_make_room(listing->sealed, listing->count) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot list the segments");
    listing->sealed[listing->count++] = number;
    return 0;
}

static int add_name(void *arg, const char *name, struct blx_error *err)
{
    struct blx_received_listing *listing = arg;
    uint32_t sealed = blx_segment_number(name);
    if (strcmp(name, "open.seg") == 0)
        listing->has_open = true;
    return sealed == 0 ? 0 : add_sealed(listing, sealed, err);
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

int blx_received_listing_read(const struct blx_received_volume *volume,
                              struct blx_received_listing *listing, struct blx_error *err)
{
    int rc = blx_directory_each(volume->dir, add_name, listing, err);
    if (rc == 0 && listing->count > 0)
        qsort(listing->sealed, listing->count, sizeof(listing->sealed[0]), compare_numbers);
    return rc;
}

static int look(const char *path, bool *exists, struct blx_error *err)
{
    *exists = faccessat(AT_FDCWD, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    return *exists || errno == ENOENT ? 0
                                      : blx_error_errno(err, -errno, "cannot look at '%s'", path);
}

int blx_received_listing_probe(const struct blx_received_volume *volume, uint32_t first,
                               uint32_t last, struct blx_received_listing *listing,
                               struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = blx_path_format(path, sizeof(path), err, "%s/open.seg", volume->dir);
    if (rc == 0)
        rc = look(path, &listing->has_open, err);
    for (uint32_t number = first; rc == 0 && number <= last; number++) {
        bool exists = false;
        rc = blx_segment_path(volume->dir, number, path, err);
        if (rc == 0)
            rc = look(path, &exists, err);
        if (rc == 0 && exists)
            rc = add_sealed(listing, number, err);
    }
    return rc;
}

/*
 * Frames were lost. What is left is an image still, with which a rescan begins, also after a crash:
 * so the generation goes before anything else is done about it.
 */
static int lose(struct blx_received_volume *volume, const char *reason, struct blx_error *err)
{
    blx_received_volume_demand(volume, BLX_RECEIVED_NEEDS_RESCAN, "%s", reason);
    if (blx_generation_is_none(&volume->file.generation))
        return 0;
    struct blx_volume_file file = volume->file;
    file.generation = (struct blx_generation){0};
    int rc = blx_volume_file_write(volume->dir, &file, err);
    if (rc == 0)
        volume->file = file;
    return rc;
}

static int lose_segment(struct blx_received_volume *volume, uint32_t number, struct blx_error *err)
{
    char reason[64];
    snprintf(reason, sizeof(reason), "segment %u is missing", number);
    return lose(volume, reason, err);
}

static int lose_before(struct blx_received_volume *volume, uint32_t number, struct blx_error *err)
{
    char reason[64];
    snprintf(reason, sizeof(reason), "the frames before segment %u are missing", number);
    return lose(volume, reason, err);
}

/*
 * Whether the segment may be of another generation than the volume, so that its frames' numbers do
 * not tell whether some are missing before it; the segments' own numbers do, which follow each
 * other.
 */
static bool is_kept(const struct blx_received_volume *volume, uint32_t number)
{
    return number < volume->file.rescan_since || blx_generation_is_none(&volume->file.generation);
}

/* Takes the segment's frames as the next ones. */
static int chain(struct blx_received_volume *volume, const struct blx_segment_summary *summary,
                 struct blx_error *err)
{
    if (summary->last_seq == 0 || is_kept(volume, summary->number))
        return 0;
    if (!blx_generation_equal(&summary->last_generation, &volume->file.generation) ||
        summary->first_seq != volume->seq + 1)
        return lose_before(volume, summary->number, err);
    volume->seq = summary->last_seq;
    return 0;
}

/* An empty segment in place of one that was lost. */
static int put_empty(struct blx_received_volume *volume, uint32_t number, struct blx_error *err)
{
    int rc = blx_segment_write_empty(volume->dir, number, volume->file.block_shift, err);
    if (rc < 0)
        return rc;
    if (volume->next_number <= number)
        volume->next_number = number + 1;
    return blx_received_volume_add_pending(volume, &(struct blx_segment_summary){.number = number},
                                           err);
}

/* Puts empty segments between the last uncommitted segment that was taken and number `until`. */
static int fill_gap(struct blx_received_volume *volume, uint32_t from, uint32_t until,
                    struct blx_error *err)
{
    int rc = 0;
    for (;;) {
        uint32_t number = from + (uint32_t)volume->pending_count;
        if (number >= until)
            return 0;
        if (is_kept(volume, number))
            rc = lose_segment(volume, number, err);
        if (rc == 0)
            rc = put_empty(volume, number, err);
        if (rc < 0)
            return rc;
    }
}

/* Renames a damaged file, for people to look at. */
static int set_aside(const char *from, const char *to, struct blx_error *err)
{
    if (blx_sys->rename(from, to) != 0)
        return blx_error_errno(err, -errno, "cannot rename '%s' to '%s'", from, to);
    return 0;
}

static int replace_damaged(struct blx_received_volume *volume, uint32_t number, const char *damage,
                           struct blx_error *err)
{
    char path[PATH_MAX], aside[PATH_MAX];
    int rc = lose(volume, damage, err);
    if (rc == 0)
        rc = blx_segment_path(volume->dir, number, path, err);
    if (rc == 0)
        rc = blx_path_format(aside, sizeof(aside), err, "%s/%08u.damaged", volume->dir, number);
    if (rc == 0)
        rc = set_aside(path, aside, err);
    return rc < 0 ? rc : put_empty(volume, number, err);
}

static int take_sealed(struct blx_received_volume *volume, uint32_t number, uint32_t from,
                       struct blx_error *err)
{
    struct blx_segment_reader *reader;
    struct blx_error cause = {0};
    int rc = fill_gap(volume, from, number, err);
    if (rc < 0)
        return rc;
    rc = blx_segment_reader_open(volume->dir, number, &reader, &cause);
    if (blx_is_bad_content(rc))
        return replace_damaged(volume, number, cause.message, err);
    if (rc < 0)
        return blx_error_copy(err, rc, &cause);
    struct blx_segment_summary summary = *blx_segment_reader_summary(reader);
    blx_segment_reader_close(reader);
    rc = blx_received_volume_add_pending(volume, &summary, err);
    return rc < 0 ? rc : chain(volume, &summary, err);
}

static int set_open_aside(struct blx_received_volume *volume, const char *damage,
                          struct blx_error *err)
{
    char path[PATH_MAX], aside[PATH_MAX];
    int rc = lose(volume, damage, err);
    if (rc == 0)
        rc = blx_path_format(path, sizeof(path), err, "%s/open.seg", volume->dir);
    if (rc == 0)
        rc = blx_path_format(aside, sizeof(aside), err, "%s/open.damaged-%08u", volume->dir,
                             volume->next_number);
    if (rc == 0)
        rc = set_aside(path, aside, err);
    return rc < 0 ? rc : blx_fsync_dir(volume->dir, err);
}

static int take_open(struct blx_received_volume *volume, uint32_t from, struct blx_error *err)
{
    struct blx_segment_recovery recovery = {0};
    struct blx_error cause = {0};
    int rc = blx_segment_writer_open(volume->dir, volume->next_number, volume->file.block_shift,
                                     &volume->open, &recovery, &cause);
    if (blx_is_bad_content(rc))
        return set_open_aside(volume, cause.message, err);
    if (rc < 0)
        return blx_error_copy(err, rc, &cause);
    if (recovery.damage[0] != '\0')
        snprintf(volume->cut, sizeof(volume->cut), "%s; %llu bytes were cut off", recovery.damage,
                 (unsigned long long)recovery.cut_bytes);
    struct blx_segment_summary summary;
    blx_segment_writer_summary(volume->open, &summary);
    rc = fill_gap(volume, from, summary.number, err);
    volume->next_number = summary.number;
    return rc < 0 ? rc : chain(volume, &summary, err);
}

int blx_received_volume_list_uncommitted(struct blx_received_volume *volume,
                                         const struct blx_received_listing *listing, uint32_t from,
                                         struct blx_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < listing->count; i++) {
        struct blx_segment_summary summary = {.number = listing->sealed[i]};
        if (summary.number >= from)
            rc = blx_received_volume_add_pending(volume, &summary, err);
    }
    if (listing->has_open)
        volume->next_number++;
    return rc;
}

int blx_received_volume_take_uncommitted(struct blx_received_volume *volume,
                                         const struct blx_received_listing *listing, uint32_t from,
                                         struct blx_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < listing->count; i++)
        if (listing->sealed[i] >= from)
            rc = take_sealed(volume, listing->sealed[i], from, err);
    if (rc == 0) /* a rescan that began keeps all up to its own first segment */
        rc = fill_gap(volume, from, volume->file.rescan_since, err);
    if (rc == 0 && listing->has_open)
        rc = take_open(volume, from, err);
    return rc;
}
