/* SPDX-License-Identifier: Apache-2.0 */
#include "store/restore/compare_private.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "crypt/block_digest.h"
#include "store/crew_private.h"
#include "wire/digest.h"

enum {
    PART_BYTES = 1 << 30, /* of the volume, compared at a time */
    READ_BYTES = 1 << 20, /* of it, by a worker */
    COARSE_BYTES = 4 << 20,
    MIDDLE_BYTES = 256 << 10,
    FINE_BYTES = 32 << 10,
    LEVELS = 4,
    /* Questions under way: they fit into any socket's buffer, and so do the answers. */
    MAX_QUESTIONS = 16,
};

struct blx_compare {
    struct blx_pull *pull;
    uint32_t volume;
    uint64_t blocks; /* of the volume */
    unsigned block_shift;
    bool encrypted;
    bool begun; /* the dispatcher knows of the comparison, and `key` is what it compares with */
    struct blx_volume_key key;
    const struct blx_restore_output *output;
    const struct blx_restore_progress *progress;
    struct blx_digester *digester; /* owned */
    uint64_t questions;            /* asked so far; each has its number */
    uint64_t part_block;           /* where the part begins */
    uint32_t part_blocks;
    uint8_t *digests; /* owned; of the part's blocks, as the target has them */
};

int blx_compare_new(struct blx_pull *pull, uint32_t volume, const struct blx_volume_key *key,
                    struct blx_compare **compare, struct blx_error *err)
{
    const struct blx_restore_volume *info = &pull->volumes[volume];
    struct blx_compare *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot compare");
    made->pull = pull;
    made->volume = volume;
    made->block_shift = info->block_shift;
    made->blocks = blx_blocks_of_bytes(info->size_bytes, info->block_shift);
    made->encrypted = key != NULL;
    if (key != NULL)
        made->key = *key;
    made->digests = malloc(((size_t)PART_BYTES >> info->block_shift) << BLX_BLOCK_DIGEST_SHIFT);
    int rc = made->digests == NULL ? blx_error_errno(err, -ENOMEM, "cannot compare")
                                   : blx_digester_new(&made->digester, err);
    if (rc < 0) {
        blx_compare_free(made);
        return rc;
    }
    *compare = made;
    return 0;
}

void blx_compare_free(struct blx_compare *compare)
{
    if (compare == NULL)
        return;
    blx_volume_key_wipe(&compare->key);
    blx_digester_free(compare->digester);
    free(compare->digests);
    free(compare);
}

void blx_compare_attach(struct blx_compare *compare, const struct blx_restore_output *output,
                        const struct blx_restore_progress *progress)
{
    compare->output = output;
    compare->progress = progress;
}

void blx_compare_reconnected(struct blx_compare *compare)
{
    compare->begun = false;
}

static int take_key(struct blx_compare *compare, const struct blx_delta_key *told,
                    struct blx_error *err)
{
    const struct blx_key_id *wanted = &compare->pull->volumes[compare->volume].key_id;
    if (told->volume != compare->volume || !blx_key_id_equal(&told->key_id, wanted))
        return blx_error_set(err, -EPROTO,
                             "the dispatcher compares with another key than it "
                             "offered");
    if (!compare->encrypted)
        memcpy(compare->key.digest, told->key, sizeof(compare->key.digest));
    compare->begun = true;
    return 0;
}

static int begin(struct blx_compare *compare, struct blx_error *err)
{
    const struct blx_message request = {.type = BLX_MESSAGE_DELTA_REQUEST,
                                        .delta_request = {.volume = compare->volume}};
    struct blx_message answer;
    if (compare->begun)
        return 0;
    int rc = blx_pull_send(compare->pull, &request, err);
    if (rc == 0)
        rc = blx_pull_receive(compare->pull, BLX_MESSAGE_DELTA_KEY, &answer, err);
    if (rc == -EREMOTEIO)
        blx_error_prefix(err, "cannot compare (a dispatcher that is older than this program does "
                              "not know --delta)");
    if (rc < 0)
        return rc;
    rc = take_key(compare, &answer.delta_key, err);
    OPENSSL_cleanse(&answer, sizeof(answer));
    return rc;
}

/* The workers' digests of a part. `lock` guards `failure`. */
struct reading {
    struct blx_compare *compare;
    atomic_uint_fast32_t next; /* the next block of the part that nobody has */
    pthread_mutex_t lock;
    struct blx_error failure; /* code 0: none */
};

static void report_reading(void *arg)
{
    struct reading *reading = arg;
    const struct blx_compare *compare = reading->compare;
    uint64_t next = atomic_load(&reading->next);
    next = compare->part_block + (next < compare->part_blocks ? next : compare->part_blocks);
    if (compare->progress != NULL)
        compare->progress->report(compare->progress->arg, next << compare->block_shift,
                                  compare->output->size_bytes);
}

/* The digests of the blocks at `data`; what the last one lacks of a whole block is zero. */
static int digest_blocks(struct blx_compare *compare, struct blx_block_digester *digester,
                         uint32_t first, uint32_t count, uint8_t *data, struct blx_error *err)
{
    uint64_t block = compare->part_block + first;
    uint64_t offset = block << compare->block_shift;
    uint64_t wanted = (uint64_t)count << compare->block_shift;
    uint64_t left = compare->output->size_bytes - offset;
    size_t bytes = (size_t)(wanted < left ? wanted : left);
    memset(data + bytes, 0, (size_t)wanted - bytes);
    int rc = blx_restore_output_read(compare->output, data, bytes, offset, err);
    for (uint32_t i = 0; rc == 0 && i < count; i++)
        rc = blx_block_digest(digester, block + i, data + ((size_t)i << compare->block_shift),
                              (size_t)1 << compare->block_shift,
                              compare->digests + ((size_t)(first + i) << BLX_BLOCK_DIGEST_SHIFT),
                              err);
    return rc;
}

static int read_blocks(struct reading *reading, struct blx_block_digester *digester, uint8_t *data,
                       struct blx_error *err)
{
    struct blx_compare *compare = reading->compare;
    uint32_t step = READ_BYTES >> compare->block_shift;
    int rc = 0;
    while (rc == 0) {
        uint_fast32_t first = atomic_fetch_add(&reading->next, step);
        if (first >= compare->part_blocks)
            return 0;
        uint32_t left = compare->part_blocks - (uint32_t)first;
        rc =
            digest_blocks(compare, digester, (uint32_t)first, left < step ? left : step, data, err);
    }
    return rc;
}

static void work(void *arg)
{
    struct reading *reading = arg;
    struct blx_block_digester *digester = NULL;
    struct blx_error err = {0};
    BLX_CLEANUP_FREE uint8_t *data = aligned_alloc(BLX_RESTORE_ALIGNMENT, READ_BYTES);
    int rc = data == NULL ? blx_error_errno(&err, -ENOMEM, "cannot compare")
                          : blx_block_digester_new(&reading->compare->key, &digester, &err);
    if (rc == 0)
        rc = read_blocks(reading, digester, data, &err);
    blx_block_digester_free(digester);
    if (rc == 0)
        return;
    atomic_store(&reading->next, UINT32_MAX / 2); /* the others stop */
    pthread_mutex_lock(&reading->lock);
    if (reading->failure.code == 0)
        blx_error_copy(&reading->failure, rc, &err);
    pthread_mutex_unlock(&reading->lock);
}

static int read_part(struct blx_compare *compare, struct blx_error *err)
{
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    uint64_t bytes = (uint64_t)compare->part_blocks << compare->block_shift;
    struct reading reading = {.compare = compare};
    pthread_mutex_init(&reading.lock, NULL);
    const struct blx_crew crew = {.workers = blx_crew_size(online < 1 ? 1 : (size_t)online, bytes,
                                                           (size_t)(bytes / READ_BYTES) + 1),
                                  .work = work,
                                  .report = report_reading,
                                  .arg = &reading};
    int rc = blx_crew_run(&crew);
    pthread_mutex_destroy(&reading.lock);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot start a thread for the comparison");
    if (reading.failure.code != 0)
        return blx_error_copy(err, reading.failure.code, &reading.failure);
    return 0;
}

static int add(struct blx_compare_list *list, struct blx_extent extent, struct blx_error *err)
{
    if (list->count > 0 && blx_extent_end(list->extents[list->count - 1]) == extent.start_block) {
        list->extents[list->count - 1].block_count += extent.block_count;
        return 0;
    }
    if (blx_array_make_room(list->extents, list->count) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot compare");
    list->extents[list->count++] = extent;
    return 0;
}

static void drop(struct blx_compare_list *list)
{
    free(list->extents);
    *list = (struct blx_compare_list){.count = 0};
}

/* The questions of one level: about these ranges, whose sizes are multiples of `unit`, except for
 * what lies at the volume's end. */
struct level {
    const struct blx_compare_list *ranges;
    struct blx_compare_list *differ;                /* gets the pieces that do */
    uint32_t unit;                                  /* blocks of a piece */
    size_t range;                                   /* that is asked about next, */
    uint64_t from;                                  /* from this block of it on */
    struct blx_digest_request asked[MAX_QUESTIONS]; /* a ring */
    unsigned first, count;
};

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* How many blocks of the current range the request has room for; 0: it is full. */
static uint32_t room_for(const struct level *level, const struct blx_digest_request *request,
                         uint64_t end_block, uint32_t pieces_left, uint32_t blocks_left)
{
    if (level->range == level->ranges->count || request->extent_count == BLX_DIGEST_MAX_EXTENTS)
        return 0;
    uint64_t start = level->ranges->extents[level->range].start_block + level->from;
    if (request->extent_count > 0 && start - end_block > UINT16_MAX)
        return 0;
    uint64_t most = least((uint64_t)pieces_left * level->unit, blocks_left);
    return (uint32_t)least(most, level->ranges->extents[level->range].block_count - level->from);
}

/* The next question; false: all was asked. */
static bool make_question(struct blx_compare *compare, struct level *level,
                          struct blx_digest_request *request)
{
    uint32_t pieces_left = BLX_DIGESTS_MAX_BYTES / blx_digest_bytes(level->unit);
    uint32_t blocks_left = BLX_DIGEST_MAX_BLOCKS, count;
    uint64_t end_block = 0;
    request->volume = compare->volume;
    request->request = compare->questions + 1;
    request->fresh = false;
    request->blocks_per_digest = level->unit;
    request->extent_count = 0;
    while ((count = room_for(level, request, end_block, pieces_left, blocks_left)) > 0) {
        const struct blx_extent *range = &level->ranges->extents[level->range];
        uint64_t start = range->start_block + level->from;
        if (request->extent_count == 0)
            request->first_block = end_block = start;
        request->extents[request->extent_count++] = (struct blx_digest_extent){
            .gap_blocks = (uint16_t)(start - end_block), .block_count = (uint16_t)count};
        end_block = start + count;
        pieces_left -= (count + level->unit - 1) / level->unit;
        blocks_left -= count;
        level->from += count;
        if (level->from == range->block_count) {
            level->range++;
            level->from = 0;
        }
    }
    compare->questions += request->extent_count > 0;
    return request->extent_count > 0;
}

static int ask(struct blx_compare *compare, struct level *level, struct blx_error *err)
{
    int rc = 0;
    while (rc == 0 && level->count < MAX_QUESTIONS) {
        struct blx_message message = {.type = BLX_MESSAGE_DIGEST_REQUEST};
        if (!make_question(compare, level, &message.digest_request))
            return 0;
        level->asked[(level->first + level->count++) % MAX_QUESTIONS] = message.digest_request;
        rc = blx_pull_send(compare->pull, &message, err);
    }
    return rc;
}

/* What the target would answer. */
static int digest_own(struct blx_compare *compare, const struct blx_digest_request *request,
                      struct blx_digests *own, struct blx_error *err)
{
    uint64_t block = request->first_block - compare->part_block;
    int rc = 0;
    blx_digester_begin(compare->digester, request, BLX_BLOCK_DIGEST_SHIFT, own);
    for (uint32_t i = 0; rc == 0 && i < request->extent_count; i++) {
        block += request->extents[i].gap_blocks;
        rc = blx_digester_add(compare->digester,
                              compare->digests + (block << BLX_BLOCK_DIGEST_SHIFT),
                              request->extents[i].block_count, err);
        block += request->extents[i].block_count;
    }
    return rc < 0 ? rc : blx_digester_end(compare->digester, err);
}

/* No piece lies in two extents. */
static int note_differences(const struct level *level, const struct blx_digest_request *request,
                            const struct blx_digests *own, const struct blx_digests *told,
                            struct blx_error *err)
{
    uint64_t block = request->first_block;
    uint32_t piece = 0;
    int rc = 0;
    for (uint32_t i = 0; i < request->extent_count; i++) {
        block += request->extents[i].gap_blocks;
        for (uint32_t left = request->extents[i].block_count; rc == 0 && left > 0; piece++) {
            uint32_t count = left < level->unit ? left : level->unit;
            if (!blx_digests_equal(own, told, piece))
                rc = add(level->differ, (struct blx_extent){block, count}, err);
            block += count;
            left -= count;
        }
    }
    return rc;
}

static int take_answer(struct blx_compare *compare, struct level *level, struct blx_error *err)
{
    const struct blx_digest_request *request = &level->asked[level->first];
    struct blx_message message;
    struct blx_digests own;
    int rc = blx_pull_receive(compare->pull, BLX_MESSAGE_DIGESTS, &message, err);
    if (rc == 0)
        rc = digest_own(compare, request, &own, err);
    if (rc < 0)
        return rc;
    const struct blx_digests *told = &message.digests;
    if (told->volume != own.volume || told->request != own.request || told->count != own.count ||
        told->digest_bytes != own.digest_bytes)
        return blx_error_set(err, -EPROTO,
                             "the dispatcher answers another question than it was "
                             "asked");
    rc = note_differences(level, request, &own, told, err);
    level->first = (level->first + 1) % MAX_QUESTIONS;
    level->count--;
    return rc;
}

static int compare_level(struct blx_compare *compare, const struct blx_compare_list *ranges,
                         uint32_t unit, struct blx_compare_list *differ, struct blx_error *err)
{
    BLX_CLEANUP_FREE struct level *level = calloc(1, sizeof(*level));
    if (level == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot compare");
    level->ranges = ranges;
    level->differ = differ;
    level->unit = unit;
    int rc = ask(compare, level, err);
    while (rc == 0 && level->count > 0) {
        rc = take_answer(compare, level, err);
        if (rc == 0)
            rc = ask(compare, level, err);
    }
    return rc;
}

static int compare_part(struct blx_compare *compare, struct blx_compare_list *list,
                        struct blx_error *err)
{
    static const uint32_t level_bytes[LEVELS] = {COARSE_BYTES, MIDDLE_BYTES, FINE_BYTES, 0};
    struct blx_compare_list ranges = {.count = 0};
    int rc = add(&ranges, (struct blx_extent){compare->part_block, compare->part_blocks}, err);
    for (size_t i = 0; rc == 0 && i < LEVELS && ranges.count > 0; i++) {
        uint32_t unit = level_bytes[i] >> compare->block_shift;
        struct blx_compare_list differ = {.count = 0};
        if (unit <= 1 && i + 1 < LEVELS)
            continue; /* the last level is of single blocks */
        rc = compare_level(compare, &ranges, unit > 0 ? unit : 1, &differ, err);
        drop(&ranges);
        ranges = differ;
    }
    for (size_t i = 0; rc == 0 && i < ranges.count; i++)
        rc = add(list, ranges.extents[i], err);
    drop(&ranges);
    return rc;
}

int blx_compare_next(struct blx_compare *compare, uint64_t *block, struct blx_compare_list *list,
                     struct blx_error *err)
{
    compare->part_block = *block;
    compare->part_blocks =
        (uint32_t)least((uint64_t)PART_BYTES >> compare->block_shift, compare->blocks - *block);
    int rc = begin(compare, err);
    if (rc == 0)
        rc = read_part(compare, err);
    if (rc == 0)
        rc = compare_part(compare, list, err);
    if (rc == 0)
        *block += compare->part_blocks;
    return rc;
}
