/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The dirty bitmap's writer: marks the blocks of one volume that writes have changed, at their
 * completion.
 *
 * Why at completion: the agent clears a bit, then reads the block. A write that lands after the
 * read began is completed even later, so its mark comes after the clearing and stays (I1). A mark
 * at queue time could be cleared before the write lands.
 *
 * What is marked:
 * - Request-based disks (virtio, nvme, scsi, loop) report block_rq_complete for each finished
 *   piece, bio-based ones (zram, dm, md) only block_bio_complete. Both are always attached: only
 *   speed depends on telling the two apart.
 * - A bio-based driver may have moved the bio's iterator on before it completes it, so for these
 *   the range is remembered at block_bio_queue. That fires once for a bio, with the whole range,
 *   and the parts that are split off it are completed before it is.
 * - The range is remembered in a table: the address of the bio names a place, which is taken with
 *   one atomic. A hash takes two locks and two lists for each bio, more time than everything else
 *   here together, so it holds only the bios whose place is taken by another bio.
 * - Discards may be merged from bios that do not touch each other. Their request has no one range,
 *   so the bios are walked.
 * - Every operation with the lowest bit set changes data. Failed ones are marked too: what the disk
 *   holds then is unknown.
 *
 * An event that cannot be marked is counted, and the agent rescans: passthrough commands, zone
 * resets and everything else that changes data without a range. A passthrough command that changes
 * data without sending any (REQ_OP_DRV_IN) cannot be told from an inquiry.
 */
#include "kernel.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "tracker.h"

enum {
    SECTOR_SHIFT = 9,
    WORD_BITS = 64,
    INLINE_WORDS = 8,     /* 2 MiB of 4 KiB blocks: nearly every write is smaller */
    BOUNDED_WORDS = 1024, /* the longest loop that the verifier accepts without bpf_loop() */
    DISCARD_BIOS = 256,   /* in one request: the most that nvme and virtio take */
};

char LICENSE[] SEC("license") = "GPL";

/* Set by the agent before the programs are loaded. */
const volatile __u32 disk_major = 0;
const volatile __u32 disk_minor = 0;
const volatile __u64 first_sector = 0;
const volatile __u64 end_sector = 0;
const volatile __u32 block_shift = 12;
const volatile bool bio_based = false;

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(map_flags, BPF_F_MMAPABLE);
    __uint(max_entries, 1); /* the agent sets the number of words */
    __type(key, __u32);
    __type(value, __u64);
} dirty SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct blx_tracker_counts);
} counts SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct blx_tracker_identity);
} identity SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1); /* BLX_TRACKER_PLACES if the device is bio-based */
    __type(key, __u32);
    __type(value, struct blx_tracker_place);
} places SEC(".maps");

/* Preallocated (no BPF_F_NO_PREALLOC): an allocation in these programs could fail, or recurse into
 * the block layer. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1); /* BLX_TRACKER_PENDING_BIOS if the device is bio-based */
    __type(key, __u64);
    __type(value, struct blx_tracker_range);
} pending SEC(".maps");

static __always_inline struct blx_tracker_counts *counts_get(void)
{
    __u32 zero = 0;
    return bpf_map_lookup_elem(&counts, &zero);
}

static __noinline int count_unmarked(void)
{
    struct blx_tracker_counts *c = counts_get();
    if (c)
        c->unmarked++;
    return 0;
}

/*
 * The plain test keeps the CPUs from fighting for the cache line of a word that is marked again and
 * again. It is safe because a full barrier (full_barrier()) lies between the landed write and the
 * test: if the test sees the bit, the agent's exchange that clears it comes later, and the read
 * after the exchange sees the write.
 */
static __always_inline void mark_word(__u64 word, __u64 bits)
{
    __u32 key = word;
    volatile __u64 *value = bpf_map_lookup_elem(&dirty, &key);
    if (!value) {
        count_unmarked();
        return;
    }
    if ((*value & bits) == bits)
        return;
    if (bits == ~0ULL)
        *value = bits; /* nothing is lost by overwriting: all bits are set */
    else
        __sync_fetch_and_or((__u64 *)value, bits);
}

static int mark_nth_word(__u32 index, const __u64 *first_word)
{
    mark_word(*first_word + index, ~0ULL);
    return 0;
}

/*
 * The body of the loops below. It is a call because clang turns an inlined body with its many ways
 * out into a loop whose head is reached from inside by falling through, and kernels up to 6.1
 * refuse that: "back-edge from insn".
 */
static __noinline int mark_whole_word(__u64 word)
{
    mark_word(word, ~0ULL);
    return 0;
}

/* Marks all bits of `count` words from `word` on. */
static __always_inline void mark_words(__u64 word, __u64 count)
{
    if (count <= INLINE_WORDS) {
        for (__u32 i = 0; i < INLINE_WORDS && i < count; i++)
            mark_whole_word(word + i);
    } else if (bpf_core_enum_value_exists(enum bpf_func_id, BPF_FUNC_loop)) {
        if (bpf_loop(count, mark_nth_word, &word, 0) != (long)count)
            count_unmarked();
    } else if (count <= BOUNDED_WORDS) {
        for (__u32 i = 0; i < BOUNDED_WORDS && i < count; i++)
            mark_whole_word(word + i);
    } else {
        count_unmarked();
    }
}

/*
 * Marks the blocks of the volume that the sectors touch. Global, so that the verifier checks it
 * once and not at each call.
 */
__noinline int mark(__u64 sector, __u64 sectors)
{
    if (sectors == 0 || sector >= end_sector)
        return 0;
    if (sectors > end_sector - sector)
        sectors = end_sector - sector;
    __u64 end = sector + sectors;
    if (end <= first_sector)
        return 0;
    if (sector < first_sector)
        sector = first_sector;

    __u32 shift = block_shift - SECTOR_SHIFT;
    __u64 first = (sector - first_sector) >> shift;
    __u64 last = (end - 1 - first_sector) >> shift;
    __u64 first_word = first / WORD_BITS;
    __u64 last_word = last / WORD_BITS;
    __u64 first_bits = ~0ULL << (first % WORD_BITS);
    __u64 last_bits = ~0ULL >> (WORD_BITS - 1 - last % WORD_BITS);
    if (first_word == last_word) {
        mark_word(first_word, first_bits & last_bits);
        return 0;
    }
    mark_word(first_word, first_bits);
    mark_word(last_word, last_bits);
    mark_words(first_word + 1, last_word - first_word - 1);
    return 0;
}

/* The request's bios from the first unfinished one on. */
static __always_inline void mark_bios(struct bio *bio)
{
    for (int i = 0; i < DISCARD_BIOS; i++) {
        if (!bio)
            return;
        mark(bio->bi_iter.bi_sector, bio->bi_iter.bi_size >> SECTOR_SHIFT);
        bio = bio->bi_next;
    }
    if (bio)
        count_unmarked();
}

static __always_inline bool changes_data(__u32 op)
{
    return op & 1;
}

static __always_inline bool is_our_disk(struct gendisk *disk)
{
    return disk && (__u32)disk->first_minor == disk_minor && (__u32)disk->major == disk_major;
}

static __always_inline struct gendisk *request_disk(struct request *rq)
{
    if (bpf_core_field_exists(struct request_queue, disk))
        return rq->q->disk;
    return ((struct request___with_disk *)rq)->rq_disk;
}

/* Around each run. The sums are plain: a run that interrupts this one leaves them as it found
 * them. */
static __always_inline struct blx_tracker_counts *enter(int tracepoint)
{
    struct blx_tracker_counts *c = counts_get();
    if (c && ++*(volatile __u64 *)&c->running[tracepoint] >= BLX_TRACKER_COPIES)
        c->saturated[tracepoint]++;
    return c;
}

static __always_inline void leave(struct blx_tracker_counts *c, int tracepoint)
{
    --*(volatile __u64 *)&c->running[tracepoint];
}

/*
 * Around the work on an event: the copies after the one that did it need not do it again. `handled`
 * is the last event of this CPU that was worked on, `found` is what the work found. The first copy
 * clears `handled` before it begins, the last copy when it is done. So an event whose request (or
 * bio) has the address of an earlier one is not taken for that one, even if its first copies were
 * left out. An event that interrupts changes `handled` too; then the work is done twice, which does
 * no harm. (For the work not to be done at all two interrupts would have to follow each other, one
 * within the last instructions of a last copy and one within the first instructions of a first
 * copy, with the same address and no event in between. For completed requests the witness would
 * also find it.)
 */
static __always_inline bool work_begin(struct blx_tracker_counts *c, int tracepoint, int copy,
                                       const void *event)
{
    volatile __u64 *handled = &c->handled[tracepoint];
    if (copy > 0 && *handled == (__u64)event)
        return false;
    *handled = 0;
    return true;
}

/* Between a completion and the marking, for mark_word(). An atomic that fetches is a full barrier;
 * this one works on the CPU's own cache line. */
static __always_inline bool full_barrier(struct blx_tracker_counts *c)
{
    return __sync_fetch_and_add(&c->barriers, 1) != ~0ULL;
}

static __always_inline void work_end(struct blx_tracker_counts *c, int tracepoint, int copy,
                                     const void *event)
{
    volatile __u64 *handled = &c->handled[tracepoint];
    *handled = copy == BLX_TRACKER_COPIES - 1 ? 0 : (__u64)event;
}

/* By the lower half of the address, because the verifier allows no arithmetic with a whole one. Its
 * upper bits count most, so that neighbours in memory have different places. */
static __always_inline struct blx_tracker_place *place_of(const struct bio *bio)
{
    __u32 index = (__u32)(__u64)bio * 0x9e3779b1U >> (32 - BLX_TRACKER_PLACES_SHIFT);
    return bpf_map_lookup_elem(&places, &index);
}

/*
 * A place belongs to the bio whose address it has, from here to the end of that bio's completion. A
 * bio that is never completed (because the driver that took it does not report it) keeps its place
 * until its memory is a bio again. False if there is no room for it anywhere.
 */
static __always_inline bool remember(struct bio *bio, __u64 sectors)
{
    struct blx_tracker_place *place = place_of(bio);
    __u64 key = (__u64)bio;
    if (place) {
        volatile __u64 *owner = &place->bio;
        if (*owner == key ||
            (*owner == 0 && __sync_val_compare_and_swap(&place->bio, 0, key) == 0)) {
            place->range.sector = bio->bi_iter.bi_sector;
            place->range.sectors = sectors;
            return true;
        }
    }
    struct blx_tracker_range range = {bio->bi_iter.bi_sector, sectors};
    return bpf_map_update_elem(&pending, &key, &range, BPF_ANY) == 0;
}

/* The bio's range, valid until it is forgotten; NULL: none is remembered. */
static __always_inline struct blx_tracker_range *recall(struct bio *bio)
{
    struct blx_tracker_place *place = place_of(bio);
    __u64 key = (__u64)bio;
    if (place && place->bio == key)
        return &place->range;
    return bpf_map_lookup_elem(&pending, &key);
}

static __always_inline void forget(struct bio *bio)
{
    struct blx_tracker_place *place = place_of(bio);
    __u64 key = (__u64)bio;
    if (place && place->bio == key)
        *(volatile __u64 *)&place->bio = 0;
    else
        bpf_map_delete_elem(&pending, &key);
}

static __always_inline void queue(struct blx_tracker_counts *c, int copy, struct bio *bio)
{
    __u32 op = bio->bi_opf & REQ_OP_MASK;
    __u64 sectors = bio->bi_iter.bi_size >> SECTOR_SHIFT;
    /* A write without data is a flush. */
    if (sectors != 0 || op != REQ_OP_WRITE)
        c->queued[copy]++;
    if (bio_based && !remember(bio, sectors))
        c->unmarked++;
}

static __always_inline void complete_request(struct blx_tracker_counts *c, int copy,
                                             struct request *rq, __u32 bytes)
{
    __u32 op = rq->cmd_flags & REQ_OP_MASK;
    c->sectors[copy] += bytes >> SECTOR_SHIFT;
    if (op >= REQ_OP_FIRST_PASSTHROUGH) {
        c->passthrough++;
        return;
    }
    if (bytes == 0) {
        /* A write without data is the end of a flush. Anything else has a range that we do not know
         * (zone reset). */
        if (op != REQ_OP_WRITE)
            c->unmarked++;
        return;
    }
    c->events[copy]++;
    mark(rq->__sector, ((__u64)bytes + (1 << SECTOR_SHIFT) - 1) >> SECTOR_SHIFT);
    if (op == REQ_OP_DISCARD)
        mark_bios(rq->bio);
}

/* True if the bio's range was remembered. It is looked up before the disk is compared, because the
 * driver may have sent the bio on to another disk. */
static __always_inline bool complete_bio(struct blx_tracker_counts *c, int copy, struct bio *bio)
{
    bool known = false;
    __u64 sectors = 0;
    if (bio_based) {
        struct blx_tracker_range *range = recall(bio);
        if (range) {
            known = true;
            sectors = range->sectors;
            mark(range->sector, sectors);
        }
    }
    if (is_our_disk(bio->bi_bdev->bd_disk)) {
        __u64 left = bio->bi_iter.bi_size >> SECTOR_SHIFT;
        mark(bio->bi_iter.bi_sector, left);
        if (bio_based && !known && left == 0)
            c->unmarked++;
        sectors |= left;
    }
    if (sectors != 0)
        c->events[copy]++;
    return known;
}

static __always_inline void on_queue(struct blx_tracker_counts *c, int copy, struct bio *bio)
{
    if (!changes_data(bio->bi_opf & REQ_OP_MASK) || !is_our_disk(bio->bi_bdev->bd_disk))
        return;
    if (work_begin(c, BLX_TRACEPOINT_QUEUE, copy, bio))
        queue(c, copy, bio);
    work_end(c, BLX_TRACEPOINT_QUEUE, copy, bio);
}

static __always_inline void on_rq_complete(struct blx_tracker_counts *c, int copy,
                                           struct request *rq, __u32 bytes)
{
    if (!changes_data(rq->cmd_flags & REQ_OP_MASK) || !is_our_disk(request_disk(rq)))
        return;
    if (work_begin(c, BLX_TRACEPOINT_RQ_COMPLETE, copy, rq) && full_barrier(c))
        complete_request(c, copy, rq, bytes);
    work_end(c, BLX_TRACEPOINT_RQ_COMPLETE, copy, rq);
}

static __always_inline void on_bio_complete(struct blx_tracker_counts *c, int copy, struct bio *bio)
{
    if (!changes_data(bio->bi_opf & REQ_OP_MASK))
        return;
    if (work_begin(c, BLX_TRACEPOINT_BIO_COMPLETE, copy, bio) && full_barrier(c))
        c->found = complete_bio(c, copy, bio);
    /* Not before the last copy, which may be the only one that works. If an interrupt has changed
     * `found` a range stays behind, which is overwritten when the address comes again. */
    if (copy == BLX_TRACKER_COPIES - 1 && c->found)
        forget(bio);
    work_end(c, BLX_TRACEPOINT_BIO_COMPLETE, copy, bio);
}

/* A program names all arguments of its tracepoint up to the last one that it needs. */
#pragma clang diagnostic ignored "-Wunused-parameter"

#define PROGRAMS(copy)                                                                             \
    SEC("tp_btf/block_bio_queue")                                                                  \
    int BPF_PROG(bio_queue_##copy, struct bio *bio)                                                \
    {                                                                                              \
        struct blx_tracker_counts *c = enter(BLX_TRACEPOINT_QUEUE);                                \
        if (!c)                                                                                    \
            return 0;                                                                              \
        on_queue(c, copy, bio);                                                                    \
        leave(c, BLX_TRACEPOINT_QUEUE);                                                            \
        return 0;                                                                                  \
    }                                                                                              \
    SEC("tp_btf/block_rq_complete")                                                                \
    int BPF_PROG(rq_complete_##copy, struct request *rq, int error, unsigned int bytes)            \
    {                                                                                              \
        struct blx_tracker_counts *c = enter(BLX_TRACEPOINT_RQ_COMPLETE);                          \
        if (!c)                                                                                    \
            return 0;                                                                              \
        on_rq_complete(c, copy, rq, bytes);                                                        \
        leave(c, BLX_TRACEPOINT_RQ_COMPLETE);                                                      \
        return 0;                                                                                  \
    }                                                                                              \
    SEC("tp_btf/block_bio_complete")                                                               \
    int BPF_PROG(bio_complete_##copy, struct request_queue *q, struct bio *bio)                    \
    {                                                                                              \
        struct blx_tracker_counts *c = enter(BLX_TRACEPOINT_BIO_COMPLETE);                         \
        if (!c)                                                                                    \
            return 0;                                                                              \
        on_bio_complete(c, copy, bio);                                                             \
        leave(c, BLX_TRACEPOINT_BIO_COMPLETE);                                                     \
        return 0;                                                                                  \
    }

PROGRAMS(0)
PROGRAMS(1)
PROGRAMS(2)
_Static_assert(BLX_TRACKER_COPIES == 3, "as many as PROGRAMS() above");
