/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/track/volume.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/bitmap.h"
#include "base/clock.h"
#include "base/log.h"

static uint64_t load(const uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

/* Set there, then clear here: a mark is never in neither place. */
static void set_bits(uint64_t *word, uint64_t bits)
{
    if (bits != 0)
        __atomic_fetch_or(word, bits, __ATOMIC_SEQ_CST);
}

static void clear_bits(uint64_t *word, uint64_t bits)
{
    if (bits != 0)
        __atomic_fetch_and(word, ~bits, __ATOMIC_SEQ_CST);
}

static int open_tracker(struct agent_volume *volume, struct blx_error *err)
{
    int rc = agent_tracker_open(&volume->device, &volume->tracker, err);
    if (rc < 0)
        return rc;
    volume->dirty = agent_tracker_get_dirty(volume->tracker);
    volume->blocks = agent_tracker_get_blocks(volume->tracker);
    volume->block_shift = agent_tracker_get_block_shift(volume->tracker);
    return 0;
}

static int open_ledger(struct agent_volume *volume, const char *run_dir,
                       enum agent_ledger_kind kind, struct blx_error *err)
{
    return agent_ledger_open(run_dir, volume->device.kernel_name,
                             agent_tracker_get_generation(volume->tracker), volume->blocks, kind,
                             &volume->ledger, err);
}

static int open_tracker_and_ledger(struct agent_volume *volume, const char *run_dir,
                                   struct blx_error *err)
{
    int rc = open_tracker(volume, err);
    if (rc < 0)
        return rc;
    if (!agent_tracker_is_adopted(volume->tracker))
        return open_ledger(volume, run_dir, AGENT_LEDGER_FRESH, err);
    rc = open_ledger(volume, run_dir, AGENT_LEDGER_EXISTING, err);
    if (rc != -ESTALE)
        return rc;
    blx_log_warning("'%s': nobody knows which blocks were in flight ('%s' has no ledger of this "
                    "tracker that this release can read): tracking starts again",
                    volume->device.path, run_dir);
    agent_tracker_destroy(volume->tracker);
    volume->tracker = NULL;
    rc = open_tracker(volume, err);
    return rc < 0 ? rc : open_ledger(volume, run_dir, AGENT_LEDGER_FRESH, err);
}

int agent_volume_open(const char *device_path, const char *run_dir, uint32_t index,
                      struct agent_volume *volume, struct blx_error *err)
{
    *volume = (struct agent_volume){.index = index};
    int rc = agent_device_find(device_path, &volume->device, err);
    if (rc == -ENOMEDIUM)
        agent_tracker_forget(&volume->device);
    if (rc == 0)
        rc = open_tracker_and_ledger(volume, run_dir, err);
    if (rc == 0)
        rc = agent_bad_blocks_init(&volume->bad, volume->blocks, err);
    /* Before anything is read: the witness must know where the counting begins. */
    if (rc == 0)
        rc =
            agent_witness_ask(&volume->ledger.head->witness, volume->tracker, &volume->device, err);
    if (rc < 0) {
        agent_volume_close(volume);
        return rc;
    }
    agent_volume_requeue_all(volume);
    return 0;
}

void agent_volume_close(struct agent_volume *volume)
{
    agent_bad_blocks_done(&volume->bad);
    agent_ledger_close(&volume->ledger);
    agent_tracker_close(volume->tracker);
    volume->tracker = NULL;
}

void agent_volume_abandon(struct agent_volume *volume)
{
    agent_bad_blocks_done(&volume->bad);
    agent_ledger_close(&volume->ledger);
    agent_tracker_destroy(volume->tracker);
    volume->tracker = NULL;
}

/* The claimable bits of a word. Pending is read before dirty: a block that is aged in between would
 * only look hot. */
static uint64_t claimable(const struct agent_volume *volume, enum agent_claim kind, uint64_t index)
{
    uint64_t pending = load(&volume->ledger.pending[index]);
    uint64_t dirty = load(&volume->dirty[index]);
    uint64_t bad = agent_bad_blocks_get_word(&volume->bad, index) & ~dirty;
    uint64_t bits = (kind == AGENT_CLAIM_QUIET ? pending & ~dirty : pending | dirty) & ~bad;
    if (kind == AGENT_CLAIM_BAD)
        bits = pending & bad;
    return bits == 0 ? 0 : bits & ~load(&volume->ledger.in_flight[index]);
}

static void mark_in_flight(struct agent_volume *volume, uint64_t index, uint64_t bits)
{
    blx_assert((load(&volume->ledger.in_flight[index]) & bits) == 0); /* never there twice */
    set_bits(&volume->ledger.in_flight[index], bits);
}

/* The bits in flight are still set: only an acknowledgement clears them, and nothing was sent
 * yet. */
static void clear_marks(struct agent_volume *volume, uint64_t index, uint64_t bits)
{
    blx_assert((load(&volume->ledger.in_flight[index]) & bits) == bits);
    clear_bits(&volume->ledger.pending[index], bits);
    clear_bits(&volume->dirty[index], bits);
}

/* I1: in flight first; then the marks go; the read comes after. */
static void claim_bits(struct agent_volume *volume, uint64_t index, uint64_t bits)
{
    mark_in_flight(volume, index, bits);
    clear_marks(volume, index, bits);
}

/* After the marks are cleared and before the caller reads: an atomic made of load-exclusive and
 * store-exclusive (arm64 without LSE) lets later loads pass its store. */
static void full_fence(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

struct claim {
    struct blx_extent *extents;
    uint32_t count, max_count;
    uint32_t blocks, max_blocks;
};

/* Adds one block to the claim's extents; false if there is no room for it. */
static bool claim_block(struct claim *claim, uint64_t block)
{
    if (claim->blocks == claim->max_blocks)
        return false;
    struct blx_extent *last = claim->count > 0 ? &claim->extents[claim->count - 1] : NULL;
    if (last != NULL && last->start_block + last->block_count == block) {
        last->block_count++;
    } else if (claim->count < claim->max_count) {
        claim->extents[claim->count++] = (struct blx_extent){block, 1};
    } else {
        return false;
    }
    claim->blocks++;
    return true;
}

/* Claims as many of one word's bits as fit. False if some did not; *cursor then points at the first
 * of those. */
static bool claim_word(struct agent_volume *volume, struct claim *claim, uint64_t index,
                       uint64_t bits, uint64_t *cursor)
{
    uint64_t taken = 0;
    for (uint64_t left = bits; left != 0; left &= left - 1) {
        uint64_t block = index * 64 + (uint64_t)__builtin_ctzll(left);
        if (!claim_block(claim, block)) {
            *cursor = block;
            break;
        }
        taken |= left & -left;
    }
    claim_bits(volume, index, taken);
    return taken == bits;
}

uint32_t agent_volume_claim(struct agent_volume *volume, enum agent_claim kind, uint64_t *cursor,
                            uint32_t max_blocks, uint32_t max_extents, struct blx_extent *extents)
{
    struct claim claim = {.extents = extents, .max_count = max_extents, .max_blocks = max_blocks};
    uint64_t index = *cursor / 64;
    uint64_t words = blx_bitmap_words(volume->blocks);
    for (uint64_t mask = ~UINT64_C(0) << (*cursor % 64); index < words;
         index++, mask = ~UINT64_C(0)) {
        uint64_t bits = claimable(volume, kind, index) & mask;
        if (bits != 0 && !claim_word(volume, &claim, index, bits, cursor)) {
            full_fence();
            return claim.count;
        }
    }
    *cursor = volume->blocks;
    full_fence();
    return claim.count;
}

/* For asserts: whether the caller holds a claim on all of the extent's blocks. */
static bool is_in_flight(const struct agent_volume *volume, struct blx_extent extent)
{
    uint64_t end = extent.start_block + extent.block_count;
    for (uint64_t block = extent.start_block; block < end; block++) {
        if (!blx_bitmap_test(volume->ledger.in_flight, block))
            return false;
    }
    return true;
}

void agent_volume_requeue(struct agent_volume *volume, const struct blx_extent *extents,
                          uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        blx_assert(is_in_flight(volume, extents[i]));
        blx_bitmap_set(volume->ledger.pending, extents[i]);
        blx_bitmap_clear(volume->ledger.in_flight, extents[i]);
    }
}

void agent_volume_mark_unreadable(struct agent_volume *volume, struct blx_extent extent, int rc)
{
    /* Bad before it is pending: otherwise a claim would take it at once, and again and again. */
    agent_bad_blocks_add(&volume->bad, extent, rc);
    agent_volume_requeue(volume, &extent, 1);
}

void agent_volume_requeue_all(struct agent_volume *volume)
{
    for (uint64_t index = 0; index < blx_bitmap_words(volume->blocks); index++) {
        uint64_t bits = load(&volume->ledger.in_flight[index]);
        set_bits(&volume->ledger.pending[index], bits);
        clear_bits(&volume->ledger.in_flight[index], bits);
    }
}

void agent_volume_age(struct agent_volume *volume)
{
    for (uint64_t index = 0; index < blx_bitmap_words(volume->blocks); index++) {
        uint64_t bits = load(&volume->dirty[index]);
        agent_bad_blocks_remove_word(&volume->bad, index, bits);
        set_bits(&volume->ledger.pending[index], bits);
        clear_bits(&volume->dirty[index], bits);
    }
}

void agent_volume_clear_acked(struct agent_volume *volume, const struct blx_extent *extents,
                              uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        blx_assert(is_in_flight(volume, extents[i]));
        blx_bitmap_clear(volume->ledger.in_flight, extents[i]);
    }
}

/* The marks of a word, without the bad blocks. */
static uint64_t marks(const struct agent_volume *volume, uint64_t index)
{
    return (load(&volume->ledger.pending[index]) &
            ~agent_bad_blocks_get_word(&volume->bad, index)) |
           load(&volume->dirty[index]);
}

bool agent_volume_has_marked(const struct agent_volume *volume, uint64_t block)
{
    uint64_t mask = ~UINT64_C(0) << (block % 64);
    for (uint64_t index = block / 64; index < blx_bitmap_words(volume->blocks);
         index++, mask = ~UINT64_C(0)) {
        if ((marks(volume, index) & mask) != 0)
            return true;
    }
    return false;
}

uint64_t agent_volume_count_marked(const struct agent_volume *volume)
{
    uint64_t count = 0;
    for (uint64_t index = 0; index < blx_bitmap_words(volume->blocks); index++) {
        uint64_t bits = marks(volume, index);
        if (bits != 0) /* nearly always none, and counting takes longer than looking */
            count += (uint64_t)__builtin_popcountll(bits);
    }
    return count;
}

uint64_t agent_volume_count_in_flight(const struct agent_volume *volume)
{
    return blx_bitmap_count(volume->ledger.in_flight, volume->blocks);
}

void agent_volume_mark_all(struct agent_volume *volume, const uint64_t *wanted, const char *reason)
{
    uint64_t total = 0;
    for (uint64_t index = 0; index < blx_bitmap_words(volume->blocks); index++) {
        uint64_t bits = wanted != NULL ? wanted[index] : ~UINT64_C(0);
        uint64_t end = (index + 1) * 64;
        if (end > volume->blocks)
            bits &= ~UINT64_C(0) >> (end - volume->blocks);
        set_bits(&volume->ledger.pending[index], bits);
        total += (uint64_t)__builtin_popcountll(bits);
    }
    struct agent_ledger_head *head = volume->ledger.head;
    head->pass_total_blocks = total;
    head->pass_is_rescan = false;
    head->rescan_active = false;
    volume->pass_is_swept = false;
    volume->pass_since_ns = blx_clock_ns();
    snprintf(head->pass_reason, sizeof(head->pass_reason), "%s", reason);
}

void agent_volume_mark_from(struct agent_volume *volume, const uint64_t *wanted,
                            uint64_t first_block)
{
    struct blx_extent run = {.start_block = first_block};
    while (blx_bitmap_next_run(wanted, run.start_block + run.block_count, volume->blocks,
                               UINT64_MAX, &run))
        blx_bitmap_set(volume->ledger.pending, run);
}

void agent_volume_begin_rescan(struct agent_volume *volume, uint64_t end_block, const char *reason)
{
    struct agent_ledger_head *head = volume->ledger.head;
    head->rescan_cursor_block = 0;
    head->rescan_end_block = end_block;
    snprintf(head->rescan_reason, sizeof(head->rescan_reason), "%s", reason);
    head->rescan_active = true;
    volume->rescan_done_blocks = 0;
    volume->rescan_total_blocks = 0;
    volume->rescan_found_blocks = 0;
    volume->pass_since_ns = blx_clock_ns();
}

void agent_volume_end_rescan(struct agent_volume *volume)
{
    struct agent_ledger_head *head = volume->ledger.head;
    if (head->pass_total_blocks == 0) {
        head->pass_total_blocks = agent_volume_count_marked(volume);
        head->pass_is_rescan = true;
        memcpy(head->pass_reason, head->rescan_reason, sizeof(head->pass_reason));
    }
    head->rescan_active = false;
    volume->pass_is_swept = false;
}

void agent_volume_end_pass(struct agent_volume *volume)
{
    struct agent_ledger_head *head = volume->ledger.head;
    head->pass_total_blocks = 0;
    head->pass_is_rescan = false;
    head->pass_reason[0] = '\0';
}

bool agent_volume_is_doubtful(const struct agent_volume *volume,
                              const struct agent_tracker_counters *counters,
                              char reason[BLX_TEXT_BYTES])
{
    const struct agent_ledger_head *head = volume->ledger.head;
    if (counters->missed > head->missed)
        snprintf(reason, BLX_TEXT_BYTES, "the kernel counted %" PRIu64 " missed events",
                 counters->missed - head->missed);
    else if (counters->passthrough > head->passthrough)
        snprintf(reason, BLX_TEXT_BYTES, "%" PRIu64 " passthrough commands may have written",
                 counters->passthrough - head->passthrough);
    else if (counters->unmarked > head->unmarked)
        snprintf(reason, BLX_TEXT_BYTES, "%" PRIu64 " writes could not be located",
                 counters->unmarked - head->unmarked);
    else if (head->witness.unseen_sectors > head->unseen_sectors)
        snprintf(reason, BLX_TEXT_BYTES,
                 "the kernel completed %" PRIu64 " KiB of writes without a run of the tracker",
                 (head->witness.unseen_sectors - head->unseen_sectors + 1) / 2);
    else if (head->sleep.hibernations > head->hibernations)
        snprintf(reason, BLX_TEXT_BYTES,
                 "the machine was hibernated: its disks were written meanwhile, unseen");
    else
        return false;
    return true;
}

void agent_volume_settle_doubt(struct agent_volume *volume,
                               const struct agent_tracker_counters *counters)
{
    struct agent_ledger_head *head = volume->ledger.head;
    head->missed = counters->missed;
    head->passthrough = counters->passthrough;
    head->unmarked = counters->unmarked;
    head->unseen_sectors = head->witness.unseen_sectors;
    head->hibernations = head->sleep.hibernations;
}
