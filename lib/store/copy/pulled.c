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
#include "store/directory_private.h"
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
    char dir[PATH_MAX];    /* where files are made */
    char home[PATH_MAX];   /* the volume's folder: the same, unless it heals */
    uint32_t first_number; /* that the checkpoint's segments may have here */
    uint32_t first_source; /* and there */
    uint32_t last_source;  /* the number of the last file at the source; 0: none came */
    uint32_t *numbers;     /* owned; those of the files that came, descending */
    size_t count;
    bool *is_new; /* owned; whether each came now, and lies in `dir` */
    uint64_t changed_blocks, stored_bytes;
};

/* A file on its way. */
struct pulled_file {
    int fd; /* -1: none */
    EVP_MD_CTX *digest;
    char path[PATH_MAX]; /* where it lies now */
    bool is_resumed;     /* some of it was here already */
    bool is_segment;     /* all of it was, in its place */
    bool is_named;       /* and a checkpoint of this store names it */
    uint64_t bytes, done_bytes, unlooked_bytes;
    uint32_t volume, source_number, number;
};

struct blx_pulled {
    const struct blx_store *store;
    char name[BLX_NAME_BYTES]; /* here */
    struct blx_agent_lock lock;
    struct blx_origin origin;
    struct blx_manifest last;    /* the newest checkpoint, or the one before the healed one;
                                   timestamp 0: none */
    struct blx_manifest healed;  /* the checkpoint that is healed; timestamp 0: none is */
    bool needs[BLX_MAX_VOLUMES]; /* which of its entries are damaged */
    uint8_t last_hash[BLX_COPY_HASH_BYTES];
    struct blx_manifest next;      /* that comes; timestamp 0: none */
    struct pulled_volume *volumes; /* owned; of its entries */
    struct pulled_file file;
};

static struct blx_agent_store agent_of(const struct blx_pulled *pulled)
{
    return blx_store_agent(pulled->store, pulled->name);
}

static bool heals(const struct blx_pulled *pulled)
{
    return pulled->healed.timestamp != 0;
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
         i++) {
        free(pulled->volumes[i].numbers);
        free(pulled->volumes[i].is_new);
    }
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
    blx_manifest_done(&pulled->healed);
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

/* Whether the segment in the volume's folder is whole and without damage: 1. One with holes counts
 * as damaged: whether a hole is one only the checkpoints tell, and the source's has none. */
static int is_good(const struct pulled_volume *volume, uint32_t number,
                   const struct blx_manifest_volume *entry, struct blx_error *err)
{
    const struct blx_segment_request request = {
        .volume_dir = volume->home,
        .number = number,
        .block_shift = entry->block_shift,
        .blocks = blx_blocks_of_bytes(entry->size_bytes, entry->block_shift)};
    BLX_CLEANUP(blx_segment_findings_done) struct blx_segment_findings findings = {0};
    struct blx_error cause = {0};
    int rc = blx_segment_check(&request, &findings, &cause);
    if (rc == -ENOENT)
        return 0;
    return rc < 0 ? blx_error_copy(err, rc, &cause)
                  : findings.fault_count == 0 && findings.hole_count == 0;
}

/* Which entries of the healed checkpoint have a damaged segment. 1: one of them is a base. */
static int find_needs(struct blx_pulled *pulled, struct blx_error *err)
{
    int whole = 0;
    for (uint32_t i = 0; i < blx_manifest_count_entries(&pulled->healed); i++) {
        const struct blx_manifest_volume *entry = &pulled->healed.volumes[i];
        struct pulled_volume volume = {.count = 0};
        int rc = blx_agent_store_volume_path(agent_of(pulled), entry->name, volume.home, err);
        for (uint32_t s = 0; rc == 0 && s < entry->segment_count && !pulled->needs[i]; s++) {
            int good = is_good(&volume, entry->segments[s], entry, err);
            rc = good < 0 ? good : 0;
            pulled->needs[i] = good == 0;
        }
        if (rc < 0)
            return rc;
        whole |= pulled->needs[i] && entry->base;
    }
    return whole;
}

static int enter_heal(struct blx_pulled *pulled, blx_timestamp checkpoint, struct blx_error *err)
{
    int rc = blx_agent_store_check(agent_of(pulled), err);
    if (rc == 0)
        rc = blx_agent_lock_open(agent_of(pulled), &pulled->lock, err);
    if (rc == 0)
        rc = blx_agent_lock_alone(&pulled->lock, BLX_LOCK_CONTENTS, LOCK_WAIT_MS, err);
    if (rc == 0)
        rc = blx_manifest_read(agent_of(pulled), checkpoint, &pulled->healed, err);
    if (rc == 0)
        rc = find_needs(pulled, err);
    if (rc != 0 || pulled->healed.parent == 0)
        return rc < 0 ? rc : 0;
    rc = blx_manifest_read(agent_of(pulled), pulled->healed.parent, &pulled->last, err);
    return rc < 0 ? rc : blx_copy_identity(&pulled->last, pulled->last_hash, err);
}

int blx_pulled_open_heal(const struct blx_store *store, const char *agent_id,
                         blx_timestamp checkpoint, struct blx_pulled **pulled,
                         struct blx_error *err)
{
    struct blx_pulled *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot heal an agent");
    made->store = store;
    made->lock.fd = made->file.fd = -1;
    int rc = blx_own_id_find(store, agent_id, made->name, err);
    if (rc >= 0)
        rc = enter_heal(made, checkpoint, err);
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
        rc = blx_agent_store_volume_path(agent_of(pulled), described->name, volume->home, err);
    if (rc == 0)
        rc = blx_path_format(volume->dir, sizeof(volume->dir), err, "%s%s", volume->home,
                             heals(pulled) ? "/heal" : "");
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

/* 1: the segment lies in its place with that size, of an earlier copy, or it is one that needs no
 * healing. */
static int open_segment(const struct blx_pulled *pulled, struct pulled_file *file,
                        struct blx_error *err)
{
    struct stat st;
    const struct pulled_volume *volume = &pulled->volumes[file->volume];
    int rc = blx_segment_path(volume->home, file->number, file->path, err);
    if (rc < 0 || file->number != file->source_number)
        return rc;
    if (heals(pulled)) {
        rc = is_good(volume, file->number, &pulled->next.volumes[file->volume], err);
        if (rc != 1)
            return rc;
    }
    file->fd = blx_open(file->path, O_RDONLY | O_NOFOLLOW, 0, NULL);
    if (file->fd < 0)
        return 0;
    if (fstat(file->fd, &st) == 0 && (uint64_t)st.st_size == file->bytes) {
        file->is_segment = true;
        file->is_named = heals(pulled);
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
    rc = open_segment(pulled, file, err);
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

/* Nothing of a wrong file stays, except a segment that a checkpoint of this store names. */
static int reject(struct pulled_file *file, const char *why, struct blx_error *err)
{
    if (file->is_named)
        return blx_error_set(err, -EBADMSG,
                             "the source has another segment of the number %" PRIu32
                             ", and the one here is good",
                             file->source_number);
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
    const char *dir = file->is_segment ? volume->home : volume->dir;
    const struct blx_segment_request request = {
        .volume_dir = dir,
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
    rc = blx_segment_reader_open(dir, file->number, &reader, &cause);
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
    if (rc == 0 && (blx_array_make_room(volume->is_new, volume->count) < 0 ||
                    blx_array_make_room(volume->numbers, volume->count) < 0))
        rc = no_memory(pulled, err);
    if (rc == 0) {
        volume->is_new[volume->count] = !file->is_segment;
        volume->numbers[volume->count++] = file->number;
    }
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

/* What came takes the places of what is here, each file by a rename. Whatever a crash leaves is the
 * checkpoint: old segments that were good, and new ones, in their order. */
static int move_home(const struct pulled_volume *volume, struct blx_error *err)
{
    for (size_t i = 0; i < volume->count; i++) {
        char from[PATH_MAX], to[PATH_MAX];
        if (!volume->is_new[i])
            continue;
        int rc = blx_segment_path(volume->dir, volume->numbers[i], from, err);
        if (rc == 0)
            rc = blx_segment_path(volume->home, volume->numbers[i], to, err);
        if (rc < 0)
            return rc;
        if (blx_sys->rename(from, to) != 0)
            return blx_error_errno(err, -errno, "cannot rename '%s' to '%s'", from, to);
    }
    return blx_fsync_dir(volume->home, err);
}

static bool has_number(const uint32_t *numbers, size_t count, uint32_t number)
{
    for (size_t i = 0; i < count; i++) {
        if (numbers[i] == number)
            return true;
    }
    return false;
}

/* Whether what came may take the places of the entry's segments, and of no other checkpoint's. */
static bool fits(const struct pulled_volume *volume, const struct blx_manifest_volume *entry)
{
    for (size_t i = 0; i < volume->count; i++) {
        char path[PATH_MAX];
        uint32_t number = volume->numbers[i];
        if (number >= entry->next_segment ||
            blx_segment_path(volume->home, number, path, NULL) < 0 ||
            (access(path, F_OK) == 0 && !has_number(entry->segments, entry->segment_count, number)))
            return false;
    }
    return true;
}

/* Those that the checkpoint had, and has no longer. */
static void remove_old(const struct pulled_volume *volume, const uint32_t *old, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char path[PATH_MAX];
        if (!has_number(volume->numbers, volume->count, old[i]) &&
            blx_segment_path(volume->home, old[i], path, NULL) == 0)
            blx_sys->unlink(path);
    }
}

/* Gives the healed checkpoint's entry the segments that came, in place of those that it had. */
static int replace_entry(struct blx_pulled *pulled, uint32_t at, struct blx_manifest *made,
                         struct blx_error *err)
{
    struct blx_manifest_volume *entry = &made->volumes[at];
    const struct blx_manifest_volume *came = blx_manifest_find(&pulled->next, entry->name);
    if (!pulled->needs[at])
        return 0;
    if (came == NULL)
        return blx_error_set(err, -EBADMSG, "the source's checkpoint has no volume '%s'",
                             entry->name);
    const struct pulled_volume *volume = &pulled->volumes[came - pulled->next.volumes];
    if (entry->base != came->base || !fits(volume, entry))
        return blx_error_set(err, -ENOTSUP,
                             "what the source has of the checkpoint %" PRIu64
                             " does not fit in here: its checkpoint before is gone, or was copied "
                             "in another way",
                             made->timestamp);
    uint32_t *segments = calloc(volume->count + 1, sizeof(segments[0]));
    if (segments == NULL)
        return no_memory(pulled, err);
    for (size_t i = 0; i < volume->count; i++)
        segments[i] = volume->numbers[volume->count - 1 - i];
    free(entry->segments);
    entry->segments = segments;
    entry->segment_count = (uint32_t)volume->count;
    entry->stored_bytes = volume->stored_bytes;
    return 0;
}

/* Everything that can be refused is refused before the first file moves. */
static int replace_all(struct blx_pulled *pulled, struct blx_error *err)
{
    BLX_CLEANUP_MANIFEST struct blx_manifest made = {0};
    uint32_t count = blx_manifest_count_entries(&pulled->healed);
    int rc = blx_manifest_copy(&pulled->healed, &made, err);
    for (uint32_t i = 0; rc == 0 && i < count; i++)
        rc = replace_entry(pulled, i, &made, err);
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        const struct blx_manifest_volume *came =
            blx_manifest_find(&pulled->next, made.volumes[i].name);
        if (pulled->needs[i])
            rc = move_home(&pulled->volumes[came - pulled->next.volumes], err);
    }
    if (rc == 0)
        rc = blx_manifest_replace(agent_of(pulled), &made, err);
    for (uint32_t i = 0; rc == 0 && i < count; i++) {
        const struct blx_manifest_volume *old = &pulled->healed.volumes[i];
        const struct blx_manifest_volume *came = blx_manifest_find(&pulled->next, old->name);
        if (pulled->needs[i])
            remove_old(&pulled->volumes[came - pulled->next.volumes], old->segments,
                       old->segment_count);
    }
    return rc;
}

/* Nobody reads the agent while segments change under their numbers. */
static int commit_heal(struct blx_pulled *pulled, const uint8_t found[BLX_COPY_HASH_BYTES],
                       struct blx_error *err)
{
    uint8_t own[BLX_COPY_HASH_BYTES];
    int rc = blx_copy_identity(&pulled->healed, own, err);
    if (rc == 0 && memcmp(own, found, sizeof(own)) != 0)
        rc = blx_error_set(err, -EBADMSG, "the source has another checkpoint %" PRIu64,
                           pulled->healed.timestamp);
    if (rc == 0)
        rc = blx_agent_lock_alone(&pulled->lock, BLX_LOCK_CHAINS, LOCK_WAIT_MS, err);
    if (rc == 0)
        rc = blx_agent_lock_check_readers(&pulled->lock, agent_of(pulled), err);
    if (rc == 0)
        rc = replace_all(pulled, err);
    for (uint32_t i = 0; rc == 0 && i < blx_manifest_count_entries(&pulled->next); i++)
        rc = blx_directory_remove(pulled->volumes[i].dir, err);
    return rc;
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
    if (rc == 0 && heals(pulled))
        return commit_heal(pulled, found, err);
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
    for (uint32_t i = 0; i < blx_manifest_count_entries(&pulled->last); i++) {
        free(pulled->volumes[i].numbers);
        free(pulled->volumes[i].is_new);
    }
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
