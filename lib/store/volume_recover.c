/* What a volume has: its state file, the last checkpoint, the segments behind it. After a crash,
 * and at the start of any session. */
#include "store/agent_writer.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "store/directory.h"

/* The folder's names. */
struct listing {
    uint32_t *sealed; /* ascending */
    size_t count, capacity;
    uint32_t highest; /* number that was ever used here, as far as names tell */
    bool has_open;
};

/* The newest checkpoint that has the volume. */
struct committed {
    bool in_last; /* it is the agent's newest one */
    uint32_t next_segment;
    struct blx_generation generation;
    uint64_t last_seq;
    uint64_t size_bytes;
    unsigned block_shift;
};

static uint32_t highest_of(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static void listing_done(struct listing *listing)
{
    free(listing->sealed);
}

__attribute__((format(printf, 2, 0))) static void set_reason(struct blx_volume *volume,
                                                             const char *format, va_list args)
{
    if (volume->reason[0] == '\0')
        vsnprintf(volume->reason, sizeof(volume->reason), format, args);
}

/* What is stored is not, or not surely, an image of the volume. Counts more than what was found
 * before. */
__attribute__((format(printf, 2, 3))) static void need_full(struct blx_volume *volume,
                                                            const char *format, ...)
{
    va_list args;
    if (!volume->comparable)
        return;
    volume->comparable = false;
    volume->reason[0] = '\0';
    va_start(args, format);
    set_reason(volume, format, args);
    va_end(args);
}

/* What is stored is an image, but frames cannot go on before it has been compared with the disk. */
__attribute__((format(printf, 2, 3))) static void need_rescan(struct blx_volume *volume,
                                                              const char *format, ...)
{
    va_list args;
    va_start(args, format);
    set_reason(volume, format, args);
    va_end(args);
}

/* NNNNNNNN with `before` in front and `behind` behind it; 0 for another name. Numbers beyond eight
 * digits exist, too. */
static uint32_t number_in(const char *name, const char *before, const char *behind)
{
    size_t skip = strlen(before);
    if (strncmp(name, before, skip) != 0)
        return 0;
    uint64_t number = 0;
    const char *at = name + skip;
    for (; *at >= '0' && *at <= '9' && at - name - (long)skip < 10; at++)
        number = number * 10 + (uint64_t)(*at - '0');
    if (at - name - (long)skip < 8 || strcmp(at, behind) != 0 || number >= UINT32_MAX)
        return 0;
    return (uint32_t)number;
}

static int add_name(void *arg, const char *name, struct blx_error *err)
{
    struct listing *listing = arg;
    uint32_t sealed = number_in(name, "", ".seg");
    uint32_t aside = number_in(name, "open.damaged-", "");
    uint32_t sealed_aside = number_in(name, "", ".damaged");
    if (strcmp(name, "open.seg") == 0)
        listing->has_open = true;
    uint32_t number = sealed > 0 ? sealed : aside > 0 ? aside : sealed_aside;
    if (number > listing->highest)
        listing->highest = number;
    if (sealed == 0)
        return 0;
    if (listing->count == listing->capacity) {
        size_t capacity = listing->capacity == 0 ? 64 : listing->capacity * 2;
        uint32_t *grown = reallocarray(listing->sealed, capacity, sizeof(grown[0]));
        if (grown == NULL)
            return blx_error_errno(err, -ENOMEM, "cannot list the segments");
        listing->sealed = grown;
        listing->capacity = capacity;
    }
    listing->sealed[listing->count++] = sealed;
    return 0;
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static int list_folder(const struct blx_volume *volume, struct listing *listing,
                       struct blx_error *err)
{
    int rc = blx_directory_each(volume->dir, add_name, listing, err);
    if (rc == 0 && listing->count > 0)
        qsort(listing->sealed, listing->count, sizeof(listing->sealed[0]), compare_numbers);
    return rc;
}

static bool take_committed(const struct blx_manifest *manifest, const char *name,
                           struct committed *committed)
{
    const struct blx_manifest_volume *volume = blx_manifest_find(manifest, name);
    if (volume == NULL)
        return false;
    committed->next_segment = volume->next_segment;
    committed->generation = volume->generation;
    committed->last_seq = volume->last_seq;
    committed->size_bytes = volume->size_bytes;
    committed->block_shift = volume->block_shift;
    return true;
}

/*
 * A damaged checkpoint could name any segment: then none of those that exist may be taken for
 * uncommitted (and dropped by a full pass), whatever older checkpoints say. Only a full pass that
 * began behind it is surely not in it.
 */
static void suspect_all(const struct blx_agent_writer *writer, struct blx_volume *volume,
                        const struct listing *listing, const char *damage,
                        struct committed *committed)
{
    const struct blx_volume_file *file = &volume->file;
    if (file->full_since != 0 && file->full_behind == writer->last_timestamp) {
        committed->next_segment = file->full_since;
        return;
    }
    need_full(volume, "%s", damage);
    committed->next_segment = listing->highest + 1;
}

static int find_committed(const struct blx_agent_writer *writer, struct blx_volume *volume,
                          const struct listing *listing, struct committed *committed,
                          struct blx_error *err)
{
    *committed = (struct committed){.next_segment = 1};
    if (writer->last_damage[0] != '\0') {
        suspect_all(writer, volume, listing, writer->last_damage, committed);
        return 0;
    }
    if (take_committed(&writer->last, volume->info.name, committed)) {
        committed->in_last = true;
        return 0;
    }
    if (listing->count == 0)
        return 0;
    BLX_CLEANUP_FREE blx_timestamp *all = NULL;
    size_t count;
    int rc = blx_manifest_list(&writer->store, writer->agent_id, 0, UINT64_MAX, &all, &count, err);
    while (rc == 0 && count > 0) {
        BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
        struct blx_error cause = {0};
        rc = blx_manifest_read(&writer->store, writer->agent_id, all[--count], &manifest, &cause);
        if (rc == -EBADMSG) {
            suspect_all(writer, volume, listing, cause.message, committed);
            return 0;
        }
        if (rc == -ENOENT) { /* it was removed after it was listed */
            rc = 0;
            continue;
        }
        if (rc < 0)
            return blx_error_set(err, rc, "%s", cause.message);
        if (take_committed(&manifest, volume->info.name, committed))
            return 0;
    }
    return rc;
}

static int read_state(struct blx_volume *volume, struct blx_error *err)
{
    struct blx_error cause = {0};
    int rc = blx_volume_file_read(volume->dir, &volume->file, &cause);
    if (rc == -ENOENT) {
        need_full(volume, "nothing of it is stored yet");
        return 0;
    }
    if (rc == -EBADMSG) {
        need_full(volume, "%s", cause.message);
        return 0;
    }
    if (rc < 0)
        return blx_error_set(err, rc, "%s", cause.message);
    if (blx_generation_is_none(&volume->file.generation))
        need_full(volume, "what was received of it was found damaged");
    return 0;
}

/* An empty identity is not known, on either side; the generation vouches for the disk, too. */
static void compare_info(struct blx_volume *volume)
{
    const struct blx_volume_file *file = &volume->file;
    const struct blx_volume_info *info = &volume->info;
    unsigned long long before = file->size_bytes, now = info->size_bytes;
    if (!volume->comparable)
        return;
    if (file->identity[0] != '\0' && info->identity[0] != '\0' &&
        strcmp(file->identity, info->identity) != 0)
        need_full(volume, "the disk '%.100s' was replaced by '%.100s'", file->identity,
                  info->identity);
    else if (now < before)
        need_full(volume, "it shrank from %llu to %llu bytes", before, now);
    else if (file->block_shift != info->block_shift)
        need_full(volume, "its block size changed");
    else if (now > before)
        need_rescan(volume, "it grew from %llu to %llu bytes", before, now);
}

static void compare_committed(struct blx_volume *volume, const struct committed *committed)
{
    if (volume->file.full_since != 0)
        return;
    if (!committed->in_last)
        need_full(volume, "the last checkpoint does not have it");
    else if (committed->size_bytes > volume->info.size_bytes ||
             committed->block_shift != volume->info.block_shift)
        need_full(volume, "the last checkpoint has it with another size");
}

/* Frames whose full pass began anew: a crash came before they were removed. */
static int drop_orphans(struct blx_volume *volume, struct listing *listing, uint32_t from,
                        struct blx_error *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < listing->count; i++) {
        char path[PATH_MAX];
        uint32_t number = listing->sealed[i];
        if (number < from || number >= volume->file.full_since) {
            listing->sealed[kept++] = number;
            continue;
        }
        int rc = blx_segment_path(volume->dir, number, path, err);
        if (rc < 0)
            return rc;
        if (blx_sys->unlink(path) != 0 && errno != ENOENT)
            return blx_error_errno(err, -errno, "cannot remove '%s'", path);
    }
    listing->count = kept;
    return 0;
}

/* Nothing of this volume may be resumed any more, also not after the damaged file has another name.
 */
static int set_aside(struct blx_volume *volume, const char *from, const char *to,
                     struct blx_error *err)
{
    struct blx_volume_file file = volume->file;
    file.generation = (struct blx_generation){0};
    int rc = blx_volume_file_write(volume->dir, &file, err);
    if (rc < 0)
        return rc;
    volume->file = file;
    if (from == NULL)
        return 0;
    if (blx_sys->rename(from, to) != 0)
        return blx_error_errno(err, -errno, "cannot rename '%s' to '%s'", from, to);
    return blx_fsync_dir(volume->dir, err);
}

/* Takes the segment's frames as the next of the chain. False where some are missing before it. */
static bool chain(struct blx_volume *volume, const struct blx_segment_summary *summary)
{
    if (summary->last_seq == 0)
        return true;
    if (!blx_generation_equal(&summary->last_generation, &volume->file.generation) ||
        summary->first_seq != volume->seq + 1) {
        need_full(volume, "the frames before segment %u are missing", summary->number);
        return false;
    }
    volume->seq = summary->last_seq;
    return true;
}

/*
 * The segments below the rescan are of earlier generations, so that their frames' numbers do not
 * tell whether one is missing; their own numbers do, which follow each other.
 */
static bool chain_kept(struct blx_volume *volume, uint32_t number, uint32_t expected)
{
    if (number != expected)
        need_full(volume, "segment %u is missing", expected);
    return number == expected;
}

static int take_sealed(struct blx_volume *volume, uint32_t number, uint32_t from,
                       struct blx_error *err)
{
    char path[PATH_MAX], aside[PATH_MAX];
    struct blx_segment_reader *reader;
    struct blx_error cause = {0};
    int rc = blx_segment_reader_open(volume->dir, number, &reader, &cause);
    if (rc == -EBADMSG) {
        need_full(volume, "%s", cause.message);
        rc = blx_segment_path(volume->dir, number, path, err);
        if (rc == 0)
            rc = blx_path_format(aside, sizeof(aside), err, "%s/%08u.damaged", volume->dir, number);
        return rc < 0 ? rc : set_aside(volume, path, aside, err);
    }
    if (rc < 0)
        return blx_error_set(err, rc, "%s", cause.message);
    struct blx_segment_summary summary = *blx_segment_reader_summary(reader);
    blx_segment_reader_close(reader);
    rc = blx_volume_add_pending(volume, &summary, err);
    bool kept = number < volume->file.rescan_since;
    uint32_t expected = from + (uint32_t)volume->pending_count - 1;
    if (rc == 0 && !(kept ? chain_kept(volume, number, expected) : chain(volume, &summary)))
        rc = set_aside(volume, NULL, NULL, err);
    return rc;
}

/* A rescan that began keeps all from `from` to its own first segment. */
static int check_kept(struct blx_volume *volume, uint32_t from, struct blx_error *err)
{
    uint32_t since = volume->file.rescan_since;
    size_t kept = 0;
    while (kept < volume->pending_count && volume->pending[kept].number < since)
        kept++;
    if (!volume->comparable || since <= from || kept == since - from)
        return 0;
    need_full(volume, "segment %u is missing", from + (uint32_t)kept);
    return set_aside(volume, NULL, NULL, err);
}

static int take_open(struct blx_volume *volume, struct blx_error *err)
{
    char path[PATH_MAX], aside[PATH_MAX];
    struct blx_error cause = {0};
    int rc = blx_segment_writer_open(volume->dir, volume->next_number, volume->file.block_shift,
                                     &volume->open, NULL, &cause);
    if (rc == -EBADMSG) {
        need_full(volume, "%s", cause.message);
        rc = blx_path_format(path, sizeof(path), err, "%s/open.seg", volume->dir);
        if (rc == 0)
            rc = blx_path_format(aside, sizeof(aside), err, "%s/open.damaged-%08u", volume->dir,
                                 volume->next_number);
        volume->next_number++;
        return rc < 0 ? rc : set_aside(volume, path, aside, err);
    }
    if (rc < 0)
        return blx_error_set(err, rc, "%s", cause.message);
    struct blx_segment_summary summary;
    blx_segment_writer_summary(volume->open, &summary);
    volume->next_number = summary.number;
    if (!chain(volume, &summary))
        return set_aside(volume, NULL, NULL, err);
    return 0;
}

/* Reads what lies behind the last checkpoint, oldest first, as long as it fits together. */
static int take_uncommitted(struct blx_volume *volume, const struct listing *listing, uint32_t from,
                            struct blx_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < listing->count; i++) {
        if (listing->sealed[i] < from)
            continue;
        if (volume->comparable)
            rc = take_sealed(volume, listing->sealed[i], from, err);
        else /* only so that the full pass removes it */
            rc = blx_volume_add_pending(
                volume, &(struct blx_segment_summary){.number = listing->sealed[i]}, err);
    }
    if (rc == 0)
        rc = check_kept(volume, from, err);
    if (rc < 0 || !listing->has_open)
        return rc;
    if (volume->comparable)
        return take_open(volume, err);
    volume->next_number++;
    return 0;
}

/* An open segment that a full pass replaced while a crash kept it from being removed has a number
 * below the pass's first one. */
static int drop_old_open(struct blx_volume *volume, struct listing *listing, struct blx_error *err)
{
    char path[PATH_MAX];
    uint32_t number;
    struct blx_error cause = {0};
    if (!listing->has_open || volume->file.full_since == 0)
        return 0;
    int rc = blx_path_format(path, sizeof(path), err, "%s/open.seg", volume->dir);
    if (rc == 0)
        rc = blx_segment_peek_number(path, &number, &cause);
    if (rc == -EBADMSG) /* take_open() will say more about it */
        return 0;
    if (rc < 0)
        return blx_error_set(err, rc, "%s", cause.message);
    if (number >= volume->file.full_since)
        return 0;
    if (blx_sys->unlink(path) != 0)
        return blx_error_errno(err, -errno, "cannot remove '%s'", path);
    listing->has_open = false;
    return 0;
}

int blx_volume_recover(const struct blx_agent_writer *writer, struct blx_volume *volume,
                       struct blx_error *err)
{
    BLX_CLEANUP(listing_done) struct listing listing = {0};
    struct committed committed;
    volume->comparable = true;
    int rc = blx_fsync_dir(volume->dir, err);
    if (rc == 0)
        rc = list_folder(volume, &listing, err);
    if (rc == 0)
        rc = read_state(volume, err);
    if (rc == 0)
        rc = find_committed(writer, volume, &listing, &committed, err);
    if (rc < 0)
        return rc;
    /* A pass that was committed; the crash came before the state file was told. */
    if (volume->file.full_since < committed.next_segment)
        volume->file.full_since = 0;
    if (volume->file.rescan_since < highest_of(committed.next_segment, volume->file.full_since))
        volume->file.rescan_since = 0;
    rc = drop_old_open(volume, &listing, err);
    if (rc == 0)
        rc = drop_orphans(volume, &listing, committed.next_segment, err);
    if (rc < 0)
        return rc;
    uint32_t from = highest_of(committed.next_segment, volume->file.full_since);
    volume->next_number = highest_of(listing.highest + 1, from);
    if (volume->file.full_since != 0)
        volume->seq = volume->file.seq_before;
    else if (blx_generation_equal(&committed.generation, &volume->file.generation))
        volume->seq = committed.last_seq;
    compare_info(volume);
    compare_committed(volume, &committed);
    return take_uncommitted(volume, &listing, from, err);
}
