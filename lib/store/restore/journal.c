/* SPDX-License-Identifier: Apache-2.0 */
#include "store/restore/journal_private.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/le.h"
#include "base/sys.h"
#include "base/text.h"

static const char magic[8] = "BLXRSTJ1";

enum {
    SAVE_INTERVAL_S = 5,
    SAMPLE_BYTES = 64 << 10,
    BATCH_MAX_EXTENTS = 1 << 20,
    NAME_FIELD_BYTES = 72,
    BATCH_MAGIC = 0x4a584c42, /* "BLXJ" */
};

struct head_disk {
    char magic[8];
    char agent_id[NAME_FIELD_BYTES];
    char volume[NAME_FIELD_BYTES];
    blx_le64 checkpoint;
    blx_le64 size_bytes;
    blx_le32 block_shift;
    blx_le32 reserved;
    char target[PATH_MAX];
    blx_le64 checksum; /* XXH3 of everything before */
} __attribute__((packed));

struct batch_disk {
    blx_le32 magic;
    blx_le32 extent_count; /* that follow */
    blx_le64 start_block;  /* of the window; UINT64_MAX: the whole volume is done */
    blx_le64 sample_block; /* and so many bytes from there; 0: there is none */
    blx_le32 sample_bytes;
    blx_le32 reserved;
    blx_le64 sample_digest; /* XXH3 of them */
    blx_le64 checksum;      /* XXH3 of everything before, and of the extents */
} __attribute__((packed));

struct extent_disk {
    blx_le64 start_block;
    blx_le64 block_count;
} __attribute__((packed));

_Static_assert(sizeof(struct head_disk) == 8 + 144 + 24 + PATH_MAX + 8, "journal");
_Static_assert(sizeof(struct batch_disk) == 48, "journal");

struct extents {
    struct blx_extent *list; /* owned */
    size_t count;
};

struct sample {
    uint64_t block, digest;
    uint32_t bytes;
};

struct blx_journal {
    int fd;
    char path[PATH_MAX];
    uint64_t end_bytes; /* of the file */
    unsigned block_shift;
    const struct blx_restore_output *output; /* NULL before it is attached */
    uint64_t start_block;                    /* of the window */
    struct extents done;                     /* durable, in the window */
    struct sample *samples; /* owned; read from the file, until they are compared */
    size_t sample_count;
    uint64_t saved_ns; /* 0: never, so that what is written first is noted soon */
    pthread_mutex_t lock;
    struct extents pending; /* guarded by `lock`: written, not durable yet */
};

static int no_memory(struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot note how far the restore is");
}

static int add_extent(struct extents *extents, struct blx_extent extent)
{
    if (extents->count > 0) {
        struct blx_extent *last = &extents->list[extents->count - 1];
        if (blx_extent_end(*last) == extent.start_block) {
            last->block_count += extent.block_count;
            return 0;
        }
    }
    if (blx_array_make_room(extents->list, extents->count) < 0)
        return -ENOMEM;
    extents->list[extents->count++] = extent;
    return 0;
}

static void drop_extents(struct extents *extents)
{
    free(extents->list);
    *extents = (struct extents){0};
}

static struct head_disk head_of(const struct blx_journal_head *head)
{
    struct head_disk disk = {.checkpoint = blx_le64_of(head->checkpoint),
                             .size_bytes = blx_le64_of(head->size_bytes),
                             .block_shift = blx_le32_of(head->block_shift)};
    memcpy(disk.magic, magic, sizeof(magic));
    blx_text_set(disk.agent_id, head->agent_id);
    blx_text_set(disk.volume, head->volume);
    blx_text_set(disk.target, head->target);
    disk.checksum = blx_le64_of(XXH3_64bits(&disk, offsetof(struct head_disk, checksum)));
    return disk;
}

static int failed(const struct blx_journal *journal, const char *what, int rc,
                  struct blx_error *err)
{
    return blx_error_errno(err, rc, "cannot %s the restore's journal '%s'", what, journal->path);
}

static int append(struct blx_journal *journal, const void *bytes, size_t count,
                  struct blx_error *err)
{
    int rc = blx_pwrite_full(journal->fd, bytes, count, journal->end_bytes);
    if (rc == 0 && blx_sys->fsync(journal->fd) != 0)
        rc = -errno;
    if (rc < 0)
        return failed(journal, "write", rc, err);
    journal->end_bytes += count;
    return 0;
}

static int begin(struct blx_journal *journal, const struct blx_journal_head *head,
                 struct blx_error *err)
{
    const struct head_disk disk = head_of(head);
    if (blx_sys->ftruncate(journal->fd, 0) != 0)
        return failed(journal, "empty", -errno, err);
    journal->end_bytes = 0;
    int rc = append(journal, &disk, sizeof(disk), err);
    return rc < 0 ? rc : blx_fsync_parent(journal->path, err);
}

static int check_head(struct blx_journal *journal, const struct blx_journal_head *head,
                      struct blx_error *err)
{
    struct head_disk disk;
    const struct head_disk wanted = head_of(head);
    int rc = blx_pread_full(journal->fd, &disk, sizeof(disk), 0);
    if (rc == -ENODATA || (rc == 0 && memcmp(disk.magic, magic, sizeof(magic)) != 0))
        return blx_error_set(err, -EBADMSG, "'%s' is no restore's journal: remove it",
                             journal->path);
    if (rc < 0)
        return failed(journal, "read", rc, err);
    journal->end_bytes = sizeof(disk);
    if (memcmp(&disk, &wanted, sizeof(disk)) != 0)
        return blx_error_set(err, -ESTALE,
                             "the journal '%s' is about another checkpoint, disk or target than "
                             "'%s': nothing can be gone on with",
                             journal->path, head->target);
    return 0;
}

static int take_batch(struct blx_journal *journal, const struct batch_disk *batch,
                      const struct extent_disk *extents, struct blx_error *err)
{
    uint64_t start_block = blx_le64_get(batch->start_block);
    if (start_block != journal->start_block)
        journal->done.count = 0;
    journal->start_block = start_block;
    for (uint32_t i = 0; i < blx_le32_get(batch->extent_count); i++) {
        const struct blx_extent extent = {blx_le64_get(extents[i].start_block),
                                          blx_le64_get(extents[i].block_count)};
        if (add_extent(&journal->done, extent) < 0)
            return no_memory(err);
    }
    if (blx_le32_get(batch->sample_bytes) == 0)
        return 0;
    if (blx_array_make_room(journal->samples, journal->sample_count) < 0)
        return no_memory(err);
    journal->samples[journal->sample_count++] = (struct sample){
        .block = blx_le64_get(batch->sample_block),
        .digest = blx_le64_get(batch->sample_digest),
        .bytes = blx_le32_get(batch->sample_bytes),
    };
    return 0;
}

static uint64_t digest_batch(const struct batch_disk *batch, const struct extent_disk *extents)
{
    XXH64_hash_t head = XXH3_64bits(batch, offsetof(struct batch_disk, checksum));
    return XXH3_64bits_withSeed(extents, blx_le32_get(batch->extent_count) * sizeof(*extents),
                                head);
}

/* 1: it was taken; 0: the journal ends before it. */
static int read_batch(struct blx_journal *journal, struct blx_error *err)
{
    struct batch_disk batch;
    int rc = blx_pread_full(journal->fd, &batch, sizeof(batch), journal->end_bytes);
    uint32_t count = rc == 0 ? blx_le32_get(batch.extent_count) : 0;
    if (rc == -ENODATA ||
        (rc == 0 && (blx_le32_get(batch.magic) != BATCH_MAGIC || count > BATCH_MAX_EXTENTS ||
                     blx_le32_get(batch.sample_bytes) > SAMPLE_BYTES)))
        return 0;
    if (rc < 0)
        return failed(journal, "read", rc, err);
    size_t bytes = count * sizeof(struct extent_disk);
    BLX_CLEANUP_FREE struct extent_disk *extents = malloc(bytes + 1);
    if (extents == NULL)
        return no_memory(err);
    rc = blx_pread_full(journal->fd, extents, bytes, journal->end_bytes + sizeof(batch));
    if (rc == -ENODATA ||
        (rc == 0 && digest_batch(&batch, extents) != blx_le64_get(batch.checksum)))
        return 0;
    if (rc < 0)
        return failed(journal, "read", rc, err);
    rc = take_batch(journal, &batch, extents, err);
    if (rc < 0)
        return rc;
    journal->end_bytes += sizeof(batch) + bytes;
    return 1;
}

/* Up to its torn end, which the next batch overwrites. */
static int resume(struct blx_journal *journal, const struct blx_journal_head *head,
                  struct blx_error *err)
{
    int rc = check_head(journal, head, err);
    if (rc < 0)
        return rc;
    while ((rc = read_batch(journal, err)) > 0)
        ;
    if (rc == 0 && blx_sys->ftruncate(journal->fd, (off_t)journal->end_bytes) != 0)
        rc = failed(journal, "cut", -errno, err);
    return rc;
}

static int open_file(struct blx_journal *journal, enum blx_journal_start start,
                     struct blx_error *err)
{
    struct stat st;
    int create = start == BLX_JOURNAL_BEGIN ? O_CREAT : 0;
    journal->fd = blx_open(journal->path, O_RDWR | O_NOFOLLOW | create, 0600, err);
    if (journal->fd < 0)
        return journal->fd;
    if (fstat(journal->fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid())
        return blx_error_set(err, -EPERM, "'%s' is not a file of this user: remove it",
                             journal->path);
    if (flock(journal->fd, LOCK_EX | LOCK_NB) != 0)
        return blx_error_set(err, -EBUSY,
                             "another restore of this volume is running (it has '%s'): wait for it",
                             journal->path);
    return 0;
}

int blx_journal_open(const char *path, const struct blx_journal_head *head,
                     enum blx_journal_start start, struct blx_journal **journal,
                     struct blx_error *err)
{
    struct blx_journal *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return no_memory(err);
    made->fd = -1;
    made->block_shift = head->block_shift;
    pthread_mutex_init(&made->lock, NULL);
    int rc = blx_path_format(made->path, sizeof(made->path), err, "%s", path);
    if (rc == 0)
        rc = open_file(made, start, err);
    if (rc == 0)
        rc = start == BLX_JOURNAL_RESUME ? resume(made, head, err) : begin(made, head, err);
    if (rc < 0) {
        blx_journal_close(made);
        return rc;
    }
    *journal = made;
    return 0;
}

void blx_journal_close(struct blx_journal *journal)
{
    if (journal == NULL)
        return;
    if (journal->fd >= 0)
        close(journal->fd);
    drop_extents(&journal->done);
    drop_extents(&journal->pending);
    free(journal->samples);
    pthread_mutex_destroy(&journal->lock);
    free(journal);
}

static int digest_target(const struct blx_journal *journal, struct sample *sample,
                         struct blx_error *err)
{
    uint64_t offset = sample->block << journal->block_shift;
    BLX_CLEANUP_FREE uint8_t *bytes = aligned_alloc(BLX_RESTORE_ALIGNMENT, SAMPLE_BYTES);
    if (bytes == NULL)
        return no_memory(err);
    int rc = blx_restore_output_read(journal->output, bytes, sample->bytes, offset, err);
    if (rc == 0)
        sample->digest = XXH3_64bits(bytes, sample->bytes);
    return rc;
}

int blx_journal_attach(struct blx_journal *journal, const struct blx_restore_output *output,
                       struct blx_error *err)
{
    int rc = 0;
    journal->output = output;
    for (size_t i = 0; rc == 0 && i < journal->sample_count; i++) {
        struct sample found = journal->samples[i];
        rc = digest_target(journal, &found, err);
        if (rc == 0 && found.digest != journal->samples[i].digest)
            rc = blx_error_set(err, -ESTALE,
                               "'%s' does not hold what the restore before has written there (byte "
                               "%llu): it is another disk, or somebody wrote to it; without "
                               "--resume, and with a new token, the restore begins again",
                               output->path,
                               (unsigned long long)(found.block << journal->block_shift));
    }
    free(journal->samples);
    journal->samples = NULL;
    journal->sample_count = 0;
    return rc;
}

uint64_t blx_journal_get_window(const struct blx_journal *journal)
{
    return journal->start_block;
}

uint64_t blx_journal_get_done_bytes(const struct blx_journal *journal)
{
    uint64_t blocks = journal->start_block == UINT64_MAX ? 0 : journal->start_block;
    for (size_t i = 0; i < journal->done.count; i++)
        blocks += journal->done.list[i].block_count;
    return blocks << journal->block_shift;
}

static int compare_extents(const void *a, const void *b)
{
    const struct blx_extent *x = a, *y = b;
    return (x->start_block > y->start_block) - (x->start_block < y->start_block);
}

static void merge(struct extents *extents)
{
    size_t kept = 0;
    if (extents->count == 0)
        return;
    qsort(extents->list, extents->count, sizeof(extents->list[0]), compare_extents);
    for (size_t i = 1; i < extents->count; i++) {
        struct blx_extent *last = &extents->list[kept], next = extents->list[i];
        uint64_t end = blx_extent_end(next);
        if (next.start_block > blx_extent_end(*last))
            extents->list[++kept] = next;
        else if (end > blx_extent_end(*last))
            last->block_count = end - last->start_block;
    }
    extents->count = kept + 1;
}

/* The parts of the entry that are not done. `*at` is the first done extent that may touch it. */
static int trim_entry(const struct extents *done, size_t *at, const struct blx_index_entry *entry,
                      struct blx_index *left)
{
    uint64_t block = entry->extent.start_block, end = blx_extent_end(entry->extent);
    while (*at < done->count && blx_extent_end(done->list[*at]) <= block)
        (*at)++;
    for (size_t i = *at; block < end; i++) {
        uint64_t stop =
            i < done->count && done->list[i].start_block < end ? done->list[i].start_block : end;
        if (stop > block) {
            struct blx_index_entry part = blx_index_part(entry, block, stop);
            if (blx_index_add(left, &part) < 0)
                return -ENOMEM;
        }
        block = stop == end ? end : blx_extent_end(done->list[i]);
    }
    return 0;
}

int blx_journal_trim(struct blx_journal *journal, struct blx_index *index, struct blx_error *err)
{
    int rc = blx_journal_save(journal, BLX_JOURNAL_NOW, err);
    if (rc < 0 || journal->done.count == 0)
        return rc;
    merge(&journal->done);
    struct blx_index left = {0};
    size_t at = 0;
    for (size_t i = 0; rc == 0 && i < index->count; i++)
        rc = trim_entry(&journal->done, &at, &index->entries[i], &left);
    if (rc < 0) {
        blx_index_done(&left);
        return no_memory(err);
    }
    blx_index_done(index);
    *index = left;
    return 0;
}

int blx_journal_note(struct blx_journal *journal, const struct blx_plan *plan,
                     const struct blx_plan_frame *planned, struct blx_error *err)
{
    int rc = 0;
    pthread_mutex_lock(&journal->lock);
    for (size_t i = 0; rc == 0 && i < planned->count; i++)
        rc = add_extent(&journal->pending, plan->index.entries[planned->first + i].extent);
    pthread_mutex_unlock(&journal->lock);
    return rc < 0 ? no_memory(err) : 0;
}

static int write_batch(struct blx_journal *journal, const struct extents *extents,
                       const struct sample *sample, struct blx_error *err)
{
    size_t bytes = sizeof(struct batch_disk) + extents->count * sizeof(struct extent_disk);
    BLX_CLEANUP_FREE uint8_t *buffer = malloc(bytes);
    if (buffer == NULL)
        return no_memory(err);
    struct extent_disk *list = (struct extent_disk *)(buffer + sizeof(struct batch_disk));
    for (size_t i = 0; i < extents->count; i++)
        list[i] = (struct extent_disk){blx_le64_of(extents->list[i].start_block),
                                       blx_le64_of(extents->list[i].block_count)};
    struct batch_disk batch = {
        .magic = blx_le32_of(BATCH_MAGIC),
        .extent_count = blx_le32_of((uint32_t)extents->count),
        .start_block = blx_le64_of(journal->start_block),
        .sample_block = blx_le64_of(sample->block),
        .sample_bytes = blx_le32_of(sample->bytes),
        .sample_digest = blx_le64_of(sample->digest),
    };
    batch.checksum = blx_le64_of(digest_batch(&batch, list));
    memcpy(buffer, &batch, sizeof(batch));
    return append(journal, buffer, bytes, err);
}

/* Of the first extent, as far as it lies inside of the target. */
static int take_sample(const struct blx_journal *journal, const struct extents *extents,
                       struct sample *sample, struct blx_error *err)
{
    uint64_t size_bytes = journal->output->size_bytes;
    uint64_t offset = extents->list[0].start_block << journal->block_shift;
    uint64_t bytes = extents->list[0].block_count << journal->block_shift;
    if (offset + bytes > size_bytes)
        bytes = size_bytes - offset;
    *sample = (struct sample){.block = extents->list[0].start_block,
                              .bytes = bytes < SAMPLE_BYTES ? (uint32_t)bytes : SAMPLE_BYTES};
    return digest_target(journal, sample, err);
}

static int make_durable(struct blx_journal *journal, const struct extents *extents,
                        struct blx_error *err)
{
    struct sample sample;
    int rc = blx_restore_output_sync(journal->output, err);
    if (rc == 0)
        rc = take_sample(journal, extents, &sample, err);
    if (rc == 0)
        rc = write_batch(journal, extents, &sample, err);
    for (size_t i = 0; rc == 0 && i < extents->count; i++)
        if (add_extent(&journal->done, extents->list[i]) < 0)
            rc = no_memory(err);
    return rc;
}

int blx_journal_save(struct blx_journal *journal, enum blx_journal_save when, struct blx_error *err)
{
    uint64_t now_ns = blx_clock_ns();
    if (when == BLX_JOURNAL_IN_TURN && journal->saved_ns != 0 &&
        now_ns < journal->saved_ns + SAVE_INTERVAL_S * BLX_NS_PER_S)
        return 0;
    if (journal->output == NULL) /* nothing is written yet */
        return 0;
    pthread_mutex_lock(&journal->lock);
    struct extents extents = journal->pending;
    journal->pending = (struct extents){0};
    pthread_mutex_unlock(&journal->lock);
    if (extents.count == 0)
        return 0;
    int rc = make_durable(journal, &extents, err);
    drop_extents(&extents);
    journal->saved_ns = blx_clock_ns();
    return rc;
}

int blx_journal_advance(struct blx_journal *journal, uint64_t start_block, struct blx_error *err)
{
    const struct sample none = {.bytes = 0};
    const struct extents nothing = {.count = 0};
    int rc = blx_journal_save(journal, BLX_JOURNAL_NOW, err);
    if (rc < 0)
        return rc;
    rc = blx_restore_output_sync(journal->output, err);
    if (rc < 0)
        return rc;
    journal->start_block = start_block == 0 ? UINT64_MAX : start_block;
    journal->done.count = 0;
    return write_batch(journal, &nothing, &none, err);
}
