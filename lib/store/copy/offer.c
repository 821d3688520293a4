/* SPDX-License-Identifier: Apache-2.0 */
#include "store/copy/offer.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "base/le.h"
#include "base/text.h"
#include "store/checkpoint/manifest_codec_private.h"
#include "store/checkpoint/manifest_file.h"
#include "store/copy/copy_source.h"

_Static_assert((int)BLX_COPY_HASH_BYTES == (int)BLX_COPIED_HASH_BYTES, "a mark has the identity");

struct blx_copy_offer {
    struct blx_agent_store agent;
    char place[BLX_TEXT_BYTES];
    struct blx_copy_source *source; /* owned */
    uint32_t *from;                 /* owned; of each entry, the first segment that is sent */
    uint8_t hash[BLX_COPY_HASH_BYTES];
};

static int no_memory(struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot send the checkpoint");
}

/* What the identity is made of. */
struct identity_disk {
    blx_le64 timestamp;
    blx_le64 agent_realtime_ns;
    blx_le64 committed_realtime_ns;
} __attribute__((packed));

struct identity_volume_disk {
    char name[BLX_NAME_BYTES];
    uint8_t generation[BLX_GENERATION_BYTES];
    blx_le64 last_seq;
    blx_le64 size_bytes;
} __attribute__((packed));

static bool add_volume(EVP_MD_CTX *digest, const struct blx_manifest_volume *volume)
{
    struct identity_volume_disk disk = {.last_seq = blx_le64_of(volume->last_seq),
                                        .size_bytes = blx_le64_of(volume->size_bytes)};
    memcpy(disk.name, volume->name, strlen(volume->name));
    memcpy(disk.generation, volume->generation.bytes, sizeof(disk.generation));
    return EVP_DigestUpdate(digest, &disk, sizeof(disk)) == 1;
}

int blx_copy_identity(const struct blx_manifest *manifest, uint8_t hash[BLX_COPY_HASH_BYTES],
                      struct blx_error *err)
{
    const struct identity_disk disk = {
        .timestamp = blx_le64_of(manifest->timestamp),
        .agent_realtime_ns = blx_le64_of(manifest->agent_realtime_ns),
        .committed_realtime_ns = blx_le64_of(manifest->committed_realtime_ns)};
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    if (digest == NULL)
        return no_memory(err);
    bool good = EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1 &&
                EVP_DigestUpdate(digest, &disk, sizeof(disk)) == 1;
    for (uint32_t i = 0; good && i < blx_manifest_count_entries(manifest); i++)
        good = add_volume(digest, &manifest->volumes[i]);
    good = good && EVP_DigestFinal_ex(digest, hash, NULL) == 1;
    EVP_MD_CTX_free(digest);
    return good ? 0 : blx_error_set(err, -EIO, "cannot make the identity of a checkpoint");
}

void blx_copy_offer_close(struct blx_copy_offer *offer)
{
    if (offer == NULL)
        return;
    blx_copy_source_close(offer->source);
    free(offer->from);
    free(offer);
}

const uint8_t *blx_copy_offer_hash(const struct blx_copy_offer *offer)
{
    return offer->hash;
}

static const struct blx_manifest *manifest_of(const struct blx_copy_offer *offer)
{
    return blx_copy_source_manifest(offer->source);
}

/* The checkpoint that the copier has, if this store has the same: 1; 0 if not. One that cannot be
 * read here is as good as gone. */
static int read_common(const struct blx_copy_offer *offer, const struct blx_copy_wish *wish,
                       struct blx_manifest *common, struct blx_error *err)
{
    uint8_t hash[BLX_COPY_HASH_BYTES];
    if (wish->have == 0 || blx_manifest_read(offer->agent, wish->have, common, NULL) < 0)
        return 0;
    int rc = blx_copy_identity(common, hash, err);
    return rc < 0 ? rc : memcmp(hash, wish->hash, sizeof(hash)) == 0;
}

/* All segments of the volume below `next` are in what the copier has; 0: none is. */
static int find_next(const struct blx_copy_offer *offer, const struct blx_copy_wish *wish,
                     const struct blx_manifest *common, const char *volume, uint32_t *next,
                     struct blx_error *err)
{
    struct blx_copy_mark mark;
    *next = 0;
    int rc = blx_copy_mark_read(offer->agent, volume, offer->place, &mark, err);
    if (rc < 0)
        return rc;
    const struct blx_manifest_volume *entry =
        common != NULL ? blx_manifest_find(common, volume) : NULL;
    if (rc == 1 && wish->have != 0 && mark.timestamp == wish->have &&
        memcmp(mark.hash, wish->hash, sizeof(mark.hash)) == 0)
        *next = mark.next;
    else if (entry != NULL)
        *next = entry->next_segment;
    return 0;
}

static int find_all(struct blx_copy_offer *offer, const struct blx_copy_wish *wish,
                    struct blx_error *err)
{
    BLX_CLEANUP_MANIFEST struct blx_manifest common = {0};
    const struct blx_manifest *manifest = manifest_of(offer);
    uint32_t count = blx_manifest_count_entries(manifest);
    offer->from = calloc(count, sizeof(offer->from[0]));
    if (offer->from == NULL)
        return no_memory(err);
    int rc = read_common(offer, wish, &common, err);
    bool has_common = rc == 1;
    for (uint32_t i = 0; rc >= 0 && i < count; i++) {
        struct blx_copy_before before = {.count = 0};
        size_t keep = 0;
        rc = find_next(offer, wish, has_common ? &common : NULL, manifest->volumes[i].name,
                       &before.next, err);
        if (rc == 0)
            rc = blx_copy_source_keep(offer->source, i, &before, &keep, &offer->from[i], err);
    }
    return rc < 0 ? rc : 0;
}

int blx_copy_offer_open(struct blx_agent_store agent, const struct blx_copy_wish *wish,
                        struct blx_copy_offer **offer, struct blx_error *err)
{
    struct blx_copy_offer *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return no_memory(err);
    made->agent = agent;
    blx_text_set(made->place, wish->place);
    int rc = blx_copy_source_open(agent, wish->checkpoint, &made->source, err);
    if (rc == 0)
        rc = blx_copy_identity(manifest_of(made), made->hash, err);
    if (rc == 0)
        rc = find_all(made, wish, err);
    if (rc < 0) {
        blx_copy_offer_close(made);
        return rc;
    }
    *offer = made;
    return 0;
}

static int set_beginning(struct blx_manifest_volume *volume, uint32_t from, struct blx_error *err)
{
    free(volume->segments);
    volume->segments = calloc(1, sizeof(volume->segments[0]));
    if (volume->segments == NULL)
        return no_memory(err);
    volume->segments[0] = from;
    volume->segment_count = from > 0 && from < volume->next_segment ? 1 : 0;
    volume->base = from == 0;
    volume->clearing = false;
    return 0;
}

int blx_copy_offer_encode(const struct blx_copy_offer *offer, void **content, size_t *bytes,
                          struct blx_error *err)
{
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    int rc = blx_manifest_copy(manifest_of(offer), &manifest, err);
    if (rc < 0)
        return rc;
    manifest.parent = 0;
    for (uint32_t i = 0; rc == 0 && i < blx_manifest_count_entries(&manifest); i++)
        rc = set_beginning(&manifest.volumes[i], offer->from[i], err);
    if (rc < 0)
        return rc;
    return blx_manifest_encode(&manifest, content, bytes, err);
}

struct each {
    uint32_t entry;
    blx_copy_offer_visit *visit;
    void *arg;
};

static int visit_file(void *arg, uint32_t number, int fd, uint64_t bytes, struct blx_error *err)
{
    const struct each *each = arg;
    return each->visit(each->arg, each->entry, number, fd, bytes, err);
}

int blx_copy_offer_each(const struct blx_copy_offer *offer, blx_copy_offer_visit *visit, void *arg,
                        struct blx_error *err)
{
    int rc = 0;
    for (uint32_t i = 0; rc == 0 && i < blx_manifest_count_entries(manifest_of(offer)); i++) {
        struct each each = {.entry = i, .visit = visit, .arg = arg};
        rc = blx_copy_source_each(offer->source, i, offer->from[i], visit_file, &each, err);
    }
    return rc;
}

int blx_copy_offer_settle(const struct blx_copy_offer *offer, struct blx_error *err)
{
    const struct blx_manifest *manifest = manifest_of(offer);
    struct blx_copy_mark mark = {.timestamp = manifest->timestamp};
    int rc = 0;
    memcpy(mark.hash, offer->hash, sizeof(mark.hash));
    for (uint32_t i = 0; rc == 0 && i < blx_manifest_count_entries(manifest); i++) {
        mark.next = manifest->volumes[i].next_segment;
        rc = blx_copy_mark_write(offer->agent, manifest->volumes[i].name, offer->place, &mark, err);
    }
    return rc;
}
