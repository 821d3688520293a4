/* SPDX-License-Identifier: Apache-2.0 */
#include "store/copy/pulled.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/array.h"
#include "base/assert.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "base/text.h"
#include "store/agent_lock.h"
#include "store/checkpoint/manifest_codec_private.h"
#include "store/checkpoint/manifest_file.h"
#include "store/copy/offer.h"
#include "store/copy/segment_number_private.h"
#include "store/own_id.h"
#include "store/receive/volume_file_private.h"
#include "store/reserve.h"
#include "store/segment/segment.h"
#include "store/segment/segment_check_private.h"

enum {
    LOCK_WAIT_MS = 2000,
    READ_BYTES = 256 * 1024,
    LOOK_BYTES = 8 << 20, /* between two looks whether the store is full */
};

/* A volume of the checkpoint that comes. */
struct pulled_volume {
    char dir[PATH_MAX];
    uint32_t first_number; /* that the checkpoint's segments may have here */
    uint32_t first_source; /* and there */
    uint32_t last_source;  /* the number of the last file at the source; 0: none came */
    uint32_t *numbers;     /* owned; those of the files that came, descending */
    size_t count;
    uint64_t changed_blocks, stored_bytes;
};

/* A file on its way. */
struct pulled_file {
    int fd; /* -1: none */
    EVP_MD_CTX *digest;
    char path[PATH_MAX]; /* where it lies now */
    bool is_resumed;     /* some of it was here already */
    bool is_segment;     /* all of it was, in its place */
    uint64_t bytes, done_bytes, unlooked_bytes;
    uint32_t volume, source_number, number;
};

struct blx_pulled {
    const struct blx_store *store;
    char name[BLX_NAME_BYTES]; /* here */
    struct blx_agent_lock lock;
    struct blx_origin origin;
    struct blx_manifest last; /* the newest checkpoint; timestamp 0: none */
    uint8_t last_hash[BLX_COPY_HASH_BYTES];
    struct blx_manifest next;      /* that comes; timestamp 0: none */
    struct pulled_volume *volumes; /* owned; of its entries */
    struct pulled_file file;
};

static struct blx_agent_store agent_of(const struct blx_pulled *pulled)
{
    return blx_store_agent(pulled->store, pulled->name);
}

static int no_memory(const struct blx_pulled *pulled, struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot copy the agent '%s'", pulled->name);
}

static void end_file(struct pulled_file *file)
{
    if (file->fd >= 0)
        close(file->fd);
    EVP_MD_CTX_free(file->digest);
    *file = (struct pulled_file){.fd = -1};
}

static void drop_next(struct blx_pulled *pulled)
{
    for (uint32_t i = 0; pulled->volumes != NULL && i < blx_manifest_count_entries(&pulled->next);
         i++)
        free(pulled->volumes[i].numbers);
    free(pulled->volumes);
    pulled->volumes = NULL;
    blx_manifest_done(&pulled->next);
    pulled->next = (struct blx_manifest){0};
    end_file(&pulled->file);
}

void blx_pulled_close(struct blx_pulled *pulled)
{
    if (pulled == NULL)
        return;
    drop_next(pulled);
    blx_manifest_done(&pulled->last);
    blx_agent_lock_close(&pulled->lock);
    free(pulled);
}

static int refuse_own(const struct blx_pulled *pulled, struct blx_error *err)
{
    return blx_error_set(err, -EEXIST,
                         "the agent '%s' reports to this dispatcher itself, so it is not copied "
                         "over: copy into another data directory, or remove it here first: blxrep "
                         "dispatcher remove --agent=%s",
                         pulled->name, pulled->name);
}

/* The folder of a new copy says at once what it is. */
static int make_folder(struct blx_pulled *pulled, struct blx_error *err)
{
    char dir[PATH_MAX];
    int rc = blx_agent_store_enroll(agent_of(pulled), err);
    if (rc == 0)
        rc = blx_origin_write(agent_of(pulled), &pulled->origin, err);
    if (rc == 0)
        rc = blx_manifest_dir(agent_of(pulled), dir, err);
    if (rc == 0)
        rc = blx_mkdir_parents(dir, 0700, err);
    if (rc == 0)
        rc = blx_agent_store_volume_path(agent_of(pulled), NULL, dir, err);
    if (rc == 0)
        rc = blx_mkdir_parents(dir, 0700, err);
    return rc == 0 ? blx_fsync_parent(dir, err) : rc;
}

static int read_last(struct blx_pulled *pulled, struct blx_error *err)
{
    blx_timestamp newest = 0;
    int rc = blx_manifest_latest(agent_of(pulled), &newest, err);
    if (rc < 0 || newest == 0)
        return rc;
    if (newest > pulled->origin.newest)
        return refuse_own(pulled, err);
    rc = blx_manifest_read(agent_of(pulled), newest, &pulled->last, err);
    return rc < 0 ? rc : blx_copy_identity(&pulled->last, pulled->last_hash, err);
}

static int enter(struct blx_pulled *pulled, const char *address, struct blx_error *err)
{
    bool exists = blx_agent_store_exists(agent_of(pulled));
    int rc = exists ? blx_origin_read(agent_of(pulled), &pulled->origin, err) : 0;
    if (rc < 0)
        return rc;
    if (exists && rc == 0)
        return refuse_own(pulled, err);
    blx_text_set(pulled->origin.address, address);
    rc = make_folder(pulled, err);
    if (rc == 0)
        rc = blx_agent_lock_open(agent_of(pulled), &pulled->lock, err);
    if (rc == 0)
        rc = blx_agent_lock_alone(&pulled->lock, BLX_LOCK_SESSION, LOCK_WAIT_MS, err);
    return rc == 0 ? read_last(pulled, err) : rc;
}

int blx_pulled_open(const struct blx_store *store, const char *agent_id, const char *address,
                    struct blx_pulled **pulled, struct blx_error *err)
{
    struct blx_pulled *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot copy an agent");
    made->store = store;
    made->lock.fd = made->file.fd = -1;
    int rc = blx_own_id_find(store, agent_id, made->name, err);
    if (rc >= 0)
        rc = enter(made, address, err);
    if (rc < 0) {
        blx_pulled_close(made);
        return rc;
    }
    *pulled = made;
    return 0;
}

blx_timestamp blx_pulled_have(const struct blx_pulled *pulled, const uint8_t **hash)
{
    *hash = pulled->last_hash;
    return pulled->last.timestamp;
}

/* Above the segments of every checkpoint that has the volume: the newest one that has it says. */
static int find_first_number(const struct blx_pulled *pulled, const char *volume, uint32_t *number,
                             struct blx_error *err)
{
    BLX_CLEANUP_FREE blx_timestamp *all = NULL;
    const struct blx_manifest_volume *entry = blx_manifest_find(&pulled->last, volume);
    size_t count = 0;
    *number = 1;
    if (entry != NULL) {
        *number = entry->next_segment;
        return 0;
    }
    if (pulled->last.timestamp == 0)
        return 0;
    int rc = blx_manifest_list(agent_of(pulled), 0, pulled->last.timestamp, &all, &count, err);
    for (size_t i = count; rc == 0 && i > 0; i--) {
        BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
        rc = blx_manifest_read(agent_of(pulled), all[i - 1], &manifest, err);
        entry = rc == 0 ? blx_manifest_find(&manifest, volume) : NULL;
        if (entry != NULL) {
            *number = entry->next_segment;
            return 0;
        }
        rc = rc == -ENOENT ? 0 : rc; /* it was pruned meanwhile */
    }
    return rc;
}

/* Why an increment does not go with what is here; NULL if it does. */
static const char *increment_fault(const struct blx_manifest_volume *entry,
                                   const struct blx_manifest_volume *before)
{
    if (before == NULL)
        return "it goes on with a volume that this store does not have";
    if (before->block_shift != entry->block_shift || before->size_bytes > entry->size_bytes)
        return "it goes on with a volume that was another one before";
    if (memcmp(&before->key_id, &entry->key_id, sizeof(entry->key_id)) != 0)
        return "it goes on with a volume of another key";
    return NULL;
}

static int prepare_volume(struct blx_pulled *pulled, uint32_t entry, struct blx_error *err)
{
    const struct blx_manifest_volume *described = &pulled->next.volumes[entry];
    struct pulled_volume *volume = &pulled->volumes[entry];
    const char *fault =
        described->base
            ? NULL
            : increment_fault(described, blx_manifest_find(&pulled->last, described->name));
    if (fault == NULL && described->segment_count > (described->base ? 0 : 1))
        fault = "it names segments before they have come";
    if (fault != NULL)
        return blx_error_set(err, -EBADMSG, "the source does not send what was asked for: %s: '%s'",
                             fault, described->name);
    volume->first_source = described->base                 ? 1
                           : described->segment_count == 1 ? described->segments[0]
                                                           : described->next_segment;
    int rc = find_first_number(pulled, described->name, &volume->first_number, err);
    if (rc == 0)
        rc = blx_agent_store_volume_path(agent_of(pulled), described->name, volume->dir, err);
    if (rc == 0)
        rc = blx_mkdir_parents(volume->dir, 0700, err);
    return rc == 0 ? blx_fsync_parent(volume->dir, err) : rc;
}

int blx_pulled_begin(struct blx_pulled *pulled, blx_timestamp wanted, void *content, size_t bytes,
                     struct blx_error *err)
{
    struct blx_error cause = {0};
    drop_next(pulled);
    int rc = blx_manifest_decode(content, bytes, &pulled->next, &cause);
    if (rc < 0)
        return blx_error_set(err, rc, "the source sends no sound checkpoint: %s", cause.message);
    if (pulled->next.timestamp != wanted || pulled->next.timestamp <= pulled->last.timestamp)
        return blx_error_set(err, -EBADMSG,
                             "the source sends the checkpoint %" PRIu64 ", and %" PRIu64
                             " was asked for",
                             pulled->next.timestamp, wanted);
    pulled->volumes = calloc(blx_manifest_count_entries(&pulled->next), sizeof(pulled->volumes[0]));
    if (pulled->volumes == NULL)
        return no_memory(pulled, err);
    for (uint32_t i = 0; rc == 0 && i < blx_manifest_count_entries(&pulled->next); i++)
        rc = prepare_volume(pulled, i, err);
    return rc;
}

/* The numbers of the files at the source say in which order they lie. Here they follow each other
 * in the same way, from the first one that is free; mostly that is the same number. */
static int give_number(const struct pulled_volume *volume, uint32_t number, uint32_t *given,
                       struct blx_error *err)
{
    uint64_t here = (uint64_t)volume->first_number + number - volume->first_source;
    if (number < volume->first_source ||
        (volume->last_source != 0 && number >= volume->last_source) || here >= UINT32_MAX)
        return blx_error_set(err, -EBADMSG,
                             "the source sends the segment %" PRIu32 ", which was not asked for",
                             number);
    *given = (uint32_t)here;
    return 0;
}

/* Hashes what is here of the file, which stays open at its end. */
static int hash_rest(struct pulled_file *file, struct blx_error *err)
{
    BLX_CLEANUP_FREE uint8_t *buffer = malloc(READ_BYTES);
    if (buffer == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot read '%s'", file->path);
    for (uint64_t at = 0; at < file->done_bytes;) {
        uint64_t left = file->done_bytes - at;
        size_t step = left < READ_BYTES ? (size_t)left : READ_BYTES;
        int rc = blx_pread_full(file->fd, buffer, step, at);
        if (rc < 0)
            return blx_error_errno(err, rc, "cannot read '%s'", file->path);
        if (EVP_DigestUpdate(file->digest, buffer, step) != 1)
            return blx_error_set(err, -EIO, "cannot make the hash of '%s'", file->path);
        at += step;
    }
    return 0;
}

/* 1: the segment lies in its place with that size, of an earlier copy. */
static int open_segment(const struct pulled_volume *volume, struct pulled_file *file,
                        struct blx_error *err)
{
    struct stat st;
    int rc = blx_segment_path(volume->dir, file->number, file->path, err);
    if (rc < 0 || file->number != file->source_number)
        return rc;
    file->fd = blx_open(file->path, O_RDONLY | O_NOFOLLOW, 0, NULL);
    if (file->fd < 0)
        return 0;
    if (fstat(file->fd, &st) == 0 && (uint64_t)st.st_size == file->bytes) {
        file->is_segment = true;
        file->done_bytes = file->bytes;
        return 1;
    }
    close(file->fd);
    file->fd = -1;
    return 0;
}

static int open_part(const struct pulled_volume *volume, struct pulled_file *file,
                     struct blx_error *err)
{
    struct stat st;
    int rc = blx_path_format(file->path, sizeof(file->path), err, "%s/%08" PRIu32 ".pull",
                             volume->dir, file->source_number);
    if (rc < 0)
        return rc;
    file->fd = blx_open(file->path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600, err);
    if (file->fd < 0)
        return file->fd;
    if (fstat(file->fd, &st) != 0)
        return blx_error_errno(err, -errno, "cannot read '%s'", file->path);
    file->done_bytes = (uint64_t)st.st_size <= file->bytes ? (uint64_t)st.st_size : 0;
    /* The last piece is never shorter than a FRAME may be. */
    if (file->bytes - file->done_bytes < BLX_COPY_PIECE_LEAST_BYTES &&
        file->done_bytes < file->bytes)
        file->done_bytes = 0;
    return 0;
}

int blx_pulled_expect(struct blx_pulled *pulled, const struct blx_copy_file *told,
                      uint64_t *offset_bytes, struct blx_error *err)
{
    struct pulled_file *file = &pulled->file;
    blx_assert(pulled->next.timestamp != 0);
    if (file->fd >= 0 || told->number == 0 ||
        told->volume >= blx_manifest_count_entries(&pulled->next))
        return blx_error_set(err, -EBADMSG, "the source sends a file that was not asked for");
    struct pulled_volume *volume = &pulled->volumes[told->volume];
    *file = (struct pulled_file){
        .fd = -1, .bytes = told->bytes, .volume = told->volume, .source_number = told->number};
    int rc = give_number(volume, told->number, &file->number, err);
    if (rc < 0)
        return rc;
    file->digest = EVP_MD_CTX_new();
    if (file->digest == NULL)
        return no_memory(pulled, err);
    if (EVP_DigestInit_ex(file->digest, EVP_sha256(), NULL) != 1)
        return blx_error_set(err, -EIO, "cannot make the hash of a segment");
    rc = open_segment(volume, file, err);
    if (rc == 0)
        rc = open_part(volume, file, err);
    if (rc >= 0)
        rc = hash_rest(file, err);
    if (rc < 0)
        return rc;
    file->is_resumed = file->done_bytes > 0;
    volume->last_source = told->number;
    *offset_bytes = file->done_bytes;
    return 0;
}

int blx_pulled_write(struct blx_pulled *pulled, const void *data, size_t bytes,
                     struct blx_error *err)
{
    struct pulled_file *file = &pulled->file;
    if (file->fd < 0 || bytes > file->bytes - file->done_bytes)
        return blx_error_set(err, -EBADMSG, "the source sends more than it has told");
    int rc = 0;
    if (file->unlooked_bytes == 0 || file->unlooked_bytes >= LOOK_BYTES) {
        rc = blx_reserve_check(pulled->store, err);
        file->unlooked_bytes = 0;
    }
    if (rc < 0)
        return rc;
    rc = blx_pwrite_full(file->fd, data, bytes, file->done_bytes);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot write '%s'", file->path);
    if (EVP_DigestUpdate(file->digest, data, bytes) != 1)
        return blx_error_set(err, -EIO, "cannot make the hash of '%s'", file->path);
    file->done_bytes += bytes;
    file->unlooked_bytes += bytes;
    return 0;
}

/* Nothing of a wrong file stays. */
static int reject(struct pulled_file *file, const char *why, struct blx_error *err)
{
    blx_sys->unlink(file->path);
    if (file->is_resumed)
        return blx_error_set(err, -EAGAIN, "'%s' was not a part of what the source has now",
                             file->path);
    return blx_error_set(err, -EBADMSG, "the segment %" PRIu32 " that came is not good: %s",
                         file->source_number, why);
}

/* Whether it is a segment of this volume, and without damage. */
static int check_segment(const struct blx_pulled *pulled, struct pulled_volume *volume,
                         struct pulled_file *file, struct blx_error *err)
{
    const struct blx_manifest_volume *entry = &pulled->next.volumes[file->volume];
    struct blx_segment_reader *reader = NULL;
    const struct blx_segment_request request = {
        .volume_dir = volume->dir,
        .number = file->number,
        .block_shift = entry->block_shift,
        .blocks = blx_blocks_of_bytes(entry->size_bytes, entry->block_shift)};
    BLX_CLEANUP(blx_segment_findings_done) struct blx_segment_findings findings = {0};
    struct blx_error cause = {0};
    int rc = blx_segment_check(&request, &findings, err);
    if (rc < 0)
        return rc;
    if (findings.fault_count > 0)
        return reject(file, findings.faults[0].what, err);
    if (findings.hole_count > 0)
        return reject(file, "it lacks frames", err);
    rc = blx_segment_reader_open(volume->dir, file->number, &reader, &cause);
    if (rc == -EBADMSG)
        return reject(file, cause.message, err);
    if (rc < 0)
        return blx_error_copy(err, rc, &cause);
    const struct blx_segment_summary *summary = blx_segment_reader_summary(reader);
    if (memcmp(&summary->key_id, &entry->key_id, sizeof(entry->key_id)) != 0)
        rc = reject(file, "it is encrypted with another key than its volume", err);
    volume->changed_blocks += summary->changed_blocks;
    volume->stored_bytes += summary->stored_bytes;
    blx_segment_reader_close(reader);
    return rc;
}

/* The whole file gets its number and its place. */
static int place_segment(const struct pulled_volume *volume, struct pulled_file *file,
                         struct blx_error *err)
{
    char path[PATH_MAX];
    struct blx_error cause = {0};
    int rc = blx_segment_path(volume->dir, file->number, path, err);
    if (rc < 0 || file->is_segment)
        return rc;
    if (blx_sys->fsync(file->fd) != 0)
        return blx_error_errno(err, -errno, "cannot flush '%s'", file->path);
    if (file->number != file->source_number) {
        rc = blx_segment_set_number(file->path, file->source_number, file->number, &cause);
        if (rc == -EBADMSG)
            return reject(file, cause.message, err);
        if (rc < 0)
            return blx_error_copy(err, rc, &cause);
    }
    if (blx_sys->rename(file->path, path) != 0)
        return blx_error_errno(err, -errno, "cannot rename '%s' to '%s'", file->path, path);
    blx_text_set(file->path, path);
    return blx_fsync_dir(volume->dir, err);
}

int blx_pulled_end(struct blx_pulled *pulled, const uint8_t hash[BLX_COPY_HASH_BYTES],
                   struct blx_error *err)
{
    struct pulled_file *file = &pulled->file;
    uint8_t found[BLX_COPY_HASH_BYTES];
    if (file->fd < 0 || file->done_bytes != file->bytes)
        return blx_error_set(err, -EBADMSG, "the source ends a file before all of it has come");
    struct pulled_volume *volume = &pulled->volumes[file->volume];
    if (EVP_DigestFinal_ex(file->digest, found, NULL) != 1)
        return blx_error_set(err, -EIO, "cannot make the hash of '%s'", file->path);
    int rc = memcmp(found, hash, sizeof(found)) == 0
                 ? 0
                 : reject(file, "it does not have the hash that the source tells", err);
    if (rc == 0)
        rc = place_segment(volume, file, err);
    if (rc == 0)
        rc = check_segment(pulled, volume, file, err);
    if (rc == 0 && blx_array_make_room(volume->numbers, volume->count) < 0)
        rc = no_memory(pulled, err);
    if (rc == 0)
        volume->numbers[volume->count++] = file->number;
    end_file(file);
    return rc;
}

/* The manifest's entry gets the segments that came. */
static int complete_volume(struct blx_pulled *pulled, uint32_t number, struct blx_error *err)
{
    struct blx_manifest_volume *entry = &pulled->next.volumes[number];
    const struct pulled_volume *volume = &pulled->volumes[number];
    uint32_t *segments = calloc(volume->count + 1, sizeof(segments[0]));
    if (segments == NULL)
        return no_memory(pulled, err);
    for (size_t i = 0; i < volume->count; i++)
        segments[i] = volume->numbers[volume->count - 1 - i];
    free(entry->segments);
    entry->segments = segments;
    entry->segment_count = (uint32_t)volume->count;
    entry->stored_bytes = volume->stored_bytes;
    entry->changed_bytes = volume->changed_blocks << entry->block_shift;
    if (entry->changed_bytes > entry->size_bytes)
        entry->changed_bytes = entry->size_bytes;
    uint64_t next = (uint64_t)volume->first_number + entry->next_segment - volume->first_source;
    if (entry->next_segment < volume->first_source || next > UINT32_MAX ||
        (volume->count > 0 && next <= volume->numbers[0]))
        return blx_error_set(err, -EBADMSG, "the numbers of the volume '%s' contradict each other",
                             entry->name);
    entry->next_segment = (uint32_t)next;
    return 0;
}

/* Whatever is uncommitted here belongs to nobody: an agent that comes here has to compare. */
static int write_state(const struct pulled_volume *volume, const struct blx_manifest_volume *entry,
                       struct blx_error *err)
{
    struct blx_volume_file file = {.size_bytes = entry->size_bytes,
                                   .block_shift = entry->block_shift};
    blx_text_set(file.device, entry->device);
    blx_text_set(file.identity, entry->identity);
    return blx_volume_file_write(volume->dir, &file, err);
}

int blx_pulled_commit(struct blx_pulled *pulled, const uint8_t hash[BLX_COPY_HASH_BYTES],
                      struct blx_error *err)
{
    uint8_t found[BLX_COPY_HASH_BYTES];
    struct blx_manifest *next = &pulled->next;
    blx_assert(next->timestamp != 0 && pulled->file.fd < 0);
    int rc = blx_copy_identity(next, found, err);
    if (rc == 0 && memcmp(found, hash, sizeof(found)) != 0)
        rc = blx_error_set(err, -EBADMSG, "the checkpoint that came is not the one that was told");
    for (uint32_t i = 0; rc == 0 && i < blx_manifest_count_entries(next); i++) {
        rc = complete_volume(pulled, i, err);
        if (rc == 0)
            rc = write_state(&pulled->volumes[i], &next->volumes[i], err);
    }
    next->parent = pulled->last.timestamp;
    pulled->origin.newest = next->timestamp;
    if (rc == 0)
        rc = blx_origin_write(agent_of(pulled), &pulled->origin, err);
    if (rc == 0)
        rc = blx_manifest_write(agent_of(pulled), next, err);
    if (rc < 0)
        return rc;
    blx_manifest_done(&pulled->last);
    pulled->last = *next;
    memcpy(pulled->last_hash, found, sizeof(found));
    for (uint32_t i = 0; i < blx_manifest_count_entries(&pulled->last); i++)
        free(pulled->volumes[i].numbers);
    free(pulled->volumes);
    pulled->volumes = NULL;
    *next = (struct blx_manifest){0};
    return 0;
}

int blx_pulled_settle(struct blx_pulled *pulled, struct blx_error *err)
{
    pulled->origin.looked_s = (uint64_t)time(NULL);
    return blx_origin_write(agent_of(pulled), &pulled->origin, err);
}

int blx_pulled_adopt(struct blx_pulled *pulled, struct blx_error *err)
{
    return blx_origin_remove(agent_of(pulled), err);
}
