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
 * - Some bio-based drivers hand the bio that they are given on to the disk below, as it is (md
 *   linear and raid0, bcache without a cache). Kernels trace a bio's queueing once and its
 *   completion once, so that for such a device block_bio_complete never comes: the request below
 *   has been traced, and that is all. So the bios of every request that completes are looked up in
 *   the table, whatever disk it is of. And a bio that comes to our device this way was queued to
 *   another one: block_bio_remap tells of it.
 * - Discards may be merged from bios that do not touch each other. Their request has no one range,
 *   so the bios are walked.
 * - Every operation with the lowest bit set changes data. Failed ones are marked too: what the disk
 *   holds then is unknown.
 *
 * A range in the table is owed until its completion was seen. What nobody sees complete stays owed.
 * It is marked by the next bio at the same address (the write has landed, for its bio is free), and
 * by the agent at each cut, before it claims. For a write W of block B:
 *
 *     W   queued ------------------ lands -- completes
 *     B   | owed --------------------------------| forgotten, marked     if that is seen
 *         | owed ----------------------------------------------------->  if not: see below
 *
 *     cut         | mark what is owed | claim: clear | read B |
 *
 *   1. queued after the marking: W is not in this cut, as it is after it. Owed at the next one.
 *   2. queued before it, landed before the reading: B is marked, claimed, and read with W in it.
 *      Read once more at the next cut if it is owed still, which costs time only.
 *   3. queued before the marking, landed after the reading: B was read without W, and its mark is
 *      gone. W completes later than it lands: either that is seen and marks B (I1), or W is owed
 *      still and the next cut marks B. A mark at the queueing alone would lose W here.
 *   4. completed during the marking: the completion marks B before it forgets W, so that B is
 *      marked by it, by the agent, or by both.
 *   5. the bio's memory is used again before the next cut: that marks B before it takes the place.
 *
 * A range is forgotten by its completion only, with one exception (agent/track/owed_private.h).
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
    MINOR_BITS = 20,
    WORD_BITS = 64,
    INLINE_WORDS = 8,     /* 2 MiB of 4 KiB blocks: nearly every write is smaller */
    BOUNDED_WORDS = 1024, /* the longest loop that the verifier accepts without bpf_loop() */
    DISCARD_BIOS = 256,   /* in one request: the most that nvme and virtio take */
    REQUEST_BIOS = 256,   /* in one request that are looked at; the rest stays owed */
};

char LICENSE[] SEC("license") = "GPL";

/* Set by the agent before the programs are loaded. */
const volatile __u32 disk_major = 0;
const volatile __u32 disk_minor = 0;
const volatile __u64 first_sector = 0;
const volatile __u64 end_sector = 0;
const volatile __u32 block_shift = 12;
const volatile bool bio_based = false;
/* In a bio's bi_flags: that it was queued has been traced. The bit differs from kernel to kernel.
 * 0: unknown, then every bio is taken for one that was. */
const volatile __u32 traced_flag = 0;

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
    __uint(map_flags, BPF_F_MMAPABLE);
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

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct blx_tracker_state);
} state SEC(".maps");

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
    volatile __u64 *running = &c->running[tracepoint];
    if (*running >= BLX_TRACKER_COPIES)
        c->saturated[tracepoint]++;
    --*running;
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
static __always_inline struct blx_tracker_place *place_of(__u64 bio)
{
    __u32 index = (__u32)bio * 0x9e3779b1U >> (32 - BLX_TRACKER_PLACES_SHIFT);
    return bpf_map_lookup_elem(&places, &index);
}

static __always_inline bool is_same(const struct blx_tracker_range *range, __u64 sector,
                                    __u32 sectors)
{
    return range->sector == sector && range->sectors == sectors;
}

/* Where the place is taken by another bio. A call, and so is the next: what is rare must not cost
 * the others registers. */
static __noinline bool spill(struct blx_tracker_place *place, __u64 key, __u64 sector,
                             __u32 sectors)
{
    struct blx_tracker_range range = {sector, sectors, 0};
    struct blx_tracker_range *before = bpf_map_lookup_elem(&pending, &key);
    if (before) {
        if (!is_same(before, sector, sectors))
            mark(before->sector, before->sectors);
    } else {
        __sync_fetch_and_add(&place->spilled, 1);
    }
    if (bpf_map_update_elem(&pending, &key, &range, BPF_ANY) == 0)
        return true;
    if (!before)
        __sync_fetch_and_add(&place->spilled, -1);
    return false;
}

/* `before` comes from a life of the bio whose completion was not seen, and is over. */
static __noinline int unspill(struct blx_tracker_place *place, __u64 key)
{
    struct blx_tracker_range *before = bpf_map_lookup_elem(&pending, &key);
    if (!before)
        return 0;
    mark(before->sector, before->sectors);
    if (bpf_map_delete_elem(&pending, &key) == 0)
        __sync_fetch_and_add(&place->spilled, -1);
    return 0;
}

/*
 * A place belongs to the bio whose address it has, from here to the end of that bio's completion. A
 * bio whose completion is never seen keeps its place until its memory is a bio again: then the old
 * range is marked, for it was written. False if there is no room for it anywhere.
 */
static __always_inline bool remember(struct bio *bio, __u64 sector, __u32 sectors)
{
    __u64 key = (__u64)bio;
    struct blx_tracker_place *place = place_of(key);
    if (!place)
        return false;
    volatile __u64 *owner = &place->bio;
    if (*owner == key) {
        if (!is_same(&place->range, sector, sectors))
            mark(place->range.sector, place->range.sectors);
        place->serial++;
    } else if (*owner != 0 || __sync_val_compare_and_swap(&place->bio, 0, key) != 0) {
        return spill(place, key, sector, sectors);
    } else if (place->spilled != 0) {
        unspill(place, key);
    }
    place->range.sector = sector;
    place->range.sectors = sectors;
    place->range.done = 0;
    return true;
}

/* The range of the bio at this address, valid until it is forgotten; NULL: none is remembered. */
static __always_inline struct blx_tracker_range *recall(__u64 key)
{
    struct blx_tracker_place *place = place_of(key);
    if (!place)
        return NULL;
    if (place->bio == key)
        return &place->range;
    return place->spilled != 0 ? bpf_map_lookup_elem(&pending, &key) : NULL;
}

static __always_inline void forget(__u64 key)
{
    struct blx_tracker_place *place = place_of(key);
    if (!place)
        return;
    if (place->bio == key) {
        place->serial++; /* the next owner's */
        *(volatile __u64 *)&place->bio = 0;
    } else if (place->spilled != 0 && bpf_map_delete_elem(&pending, &key) == 0) {
        __sync_fetch_and_add(&place->spilled, -1);
    }
}

static __always_inline void queue(struct blx_tracker_counts *c, int copy, struct bio *bio,
                                  __u64 sector)
{
    __u32 op = bio->bi_opf & REQ_OP_MASK;
    __u32 sectors = bio->bi_iter.bi_size >> SECTOR_SHIFT;
    /* A write without data is a flush. */
    if (sectors != 0 || op != REQ_OP_WRITE)
        c->queued[copy]++;
    if (bio_based && !remember(bio, sector, sectors))
        c->unmarked++;
}

/* Whether what is remembered of a bio is of its life now. The bio may be the rest of what it was,
 * after parts were split off it. */
static __always_inline bool is_known(struct bio *bio, __u64 sector)
{
    struct blx_tracker_range *range = recall((__u64)bio);
    __u64 sectors = bio->bi_iter.bi_size >> SECTOR_SHIFT;
    return range && (range->done & ~BLX_TRACKER_OWN_PART) < range->sectors &&
           sector >= range->sector && sector + sectors <= range->sector + range->sectors;
}

/*
 * A bio that was sent on as it is. Kernels trace a bio's queueing only once, so for the next device
 * this is all that there is: it comes to ours, or ours was not told of it and sends it on. A clone
 * that our driver makes of such a bio does it, too: its range is that of our device.
 */
static __always_inline void sent_on(struct blx_tracker_counts *c, int copy, struct bio *bio,
                                    __u64 from)
{
    __u64 sector = is_our_disk(bio->bi_bdev->bd_disk) ? bio->bi_iter.bi_sector : from;
    if (!is_known(bio, sector))
        queue(c, copy, bio, sector);
}

/* Some sectors of the bio at this address are complete. True if all of it is, which is forgotten
 * then. */
static __always_inline bool complete_some(__u64 key, struct blx_tracker_range *range, __u32 sectors)
{
    __u32 done = __sync_fetch_and_add(&range->done, sectors) + sectors;
    if ((done & ~BLX_TRACKER_OWN_PART) < range->sectors)
        return false;
    mark(range->sector, range->sectors);
    forget(key);
    return true;
}

/* What a request's completion means for one of its bios. */
enum part_end {
    PART_GOES_ON,  /* it is complete in part */
    PART_ENDS,     /* it ends, but something that was split off it is outstanding */
    PART_ENDS_ALL, /* it ends, and nothing of it is outstanding */
};

/* The bio itself is at its end, and so is the part of its range that was not split off it. An event
 * may be worked on twice, but this counts once. */
static __always_inline bool complete_own_part(__u64 key, struct blx_tracker_range *range,
                                              __u32 sectors, __u32 end)
{
    if (end == PART_ENDS_ALL) {
        forget(key);
        return true;
    }
    if (__sync_fetch_and_or(&range->done, BLX_TRACKER_OWN_PART) & BLX_TRACKER_OWN_PART)
        return false;
    return complete_some(key, range, sectors);
}

/*
 * A bio, by its address, of a request that completes some bytes of it. 1 if it is ours. The parts
 * that md splits off a bio are remembered, too (sent_on()), and have its address in bi_private,
 * `whole`; elsewhere that is no address of ours. Those that the disk below splits off are not
 * known: then the bio stays owed, if its own part ends before theirs.
 *
 * Global and with numbers only, so that the verifier looks at it once and not in each turn of the
 * loop.
 */
__noinline int complete_part(__u64 key, __u64 whole, __u32 sectors, __u32 end)
{
    struct blx_tracker_range *range = recall(key);
    if (!range)
        return 0;
    __u32 all = range->sectors;
    mark(range->sector, all);
    if (end != PART_GOES_ON && complete_own_part(key, range, sectors, end) && whole != 0) {
        range = recall(whole);
        if (range)
            complete_some(whole, range, all);
    }
    return 1;
}

/* The request of some disk below: its bios may be ours, if drivers have sent them on as they are.
 * After this the kernel traces their completion no more. */
static __always_inline void complete_sent_on(struct blx_tracker_counts *c, int copy,
                                             struct bio *bio, __u64 left)
{
    /* An address that was in a map is a number for the verifier. */
    volatile __u64 *key = &c->bio[copy], *whole = &c->whole[copy];
    for (int i = 0; i < REQUEST_BIOS; i++) {
        if (!bio || left == 0)
            return;
        __u64 size = bio->bi_iter.bi_size;
        __u32 end = PART_GOES_ON;
        if (left >= size)
            end = bio->__bi_remaining.counter > 1 ? PART_ENDS : PART_ENDS_ALL;
        *key = (__u64)bio;
        *whole = (__u64)bio->bi_private;
        c->events[copy] += complete_part(*key, *whole, size >> SECTOR_SHIFT, end);
        left = left > size ? left - size : 0;
        bio = bio->bi_next;
    }
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

static __always_inline const struct blx_tracker_state *state_get(void)
{
    __u32 zero = 0;
    return bpf_map_lookup_elem(&state, &zero);
}

/*
 * Whether the bio may have been queued before the programs came, and is not whole any more. Asked
 * in the tracker's first minute only. A part that was split off a part looks the same, but has the
 * bi_end_io of all parts, which is learned from those whose whole is known. It may be learned too
 * late: so the first kind of suspects is judged by the agent, at its next look.
 */
static __always_inline bool was_trimmed(struct blx_tracker_counts *c, int copy, struct bio *bio)
{
    const struct blx_tracker_state *of = state_get();
    if (!of || of->born_ns == 0)
        return false;
    if ((bio->bi_opf & REQ_OP_MASK) == REQ_OP_WRITE && bio->bi_iter.bi_idx == 0 &&
        bio->bi_iter.bi_bvec_done == 0)
        return false;
    volatile __u64 *whole = &c->whole[copy], *end_io = &c->bio[copy]; /* see complete_sent_on() */
    *whole = (__u64)bio->bi_private;
    *end_io = (__u64)bio->bi_end_io;
    if (recall(*whole)) {
        c->chain_end_io = *end_io;
        return false;
    }
    if (*end_io == c->chain_end_io)
        return false;
    if (c->suspect_end_io == 0)
        c->suspect_end_io = *end_io;
    c->suspects++;
    return *end_io != c->suspect_end_io;
}

/* A flush; not a write that the driver has moved on to its end. */
static __always_inline bool never_had_data(const struct bio *bio)
{
    return (bio->bi_opf & REQ_OP_MASK) == REQ_OP_WRITE && bio->bi_iter.bi_idx == 0 &&
           bio->bi_iter.bi_bvec_done == 0;
}

/* True if the bio's range was remembered. It is looked up before the disk is compared, because the
 * driver may have sent the bio on to another disk. */
static __always_inline bool complete_bio(struct blx_tracker_counts *c, int copy, struct bio *bio)
{
    bool known = false;
    __u64 sectors = 0;
    if (bio_based) {
        struct blx_tracker_range *range = recall((__u64)bio);
        if (range) {
            known = true;
            sectors = range->sectors;
            mark(range->sector, sectors);
            range->done = range->sectors; /* should the last copy not come to forget it */
        }
    }
    if (is_our_disk(bio->bi_bdev->bd_disk)) {
        __u64 left = bio->bi_iter.bi_size >> SECTOR_SHIFT;
        mark(bio->bi_iter.bi_sector, left);
        if (bio_based && !known && (left == 0 ? !never_had_data(bio) : was_trimmed(c, copy, bio)))
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
        queue(c, copy, bio, bio->bi_iter.bi_sector);
    work_end(c, BLX_TRACEPOINT_QUEUE, copy, bio);
}

static __always_inline bool follows_clones(void)
{
    const struct blx_tracker_state *of = state_get();
    return of && of->follows_clones != 0;
}

static __always_inline void on_remap(struct blx_tracker_counts *c, int copy, struct bio *bio,
                                     __u32 device, __u64 from)
{
    if (!changes_data(bio->bi_opf & REQ_OP_MASK))
        return;
    bool is_departure = device == (disk_major << MINOR_BITS | disk_minor);
    if (traced_flag != 0 && (bio->bi_flags & traced_flag) == 0) {
        /* The driver's clone, that it queues to a disk below. */
        if (!is_departure || !follows_clones())
            return;
    } else if (!is_departure && !is_our_disk(bio->bi_bdev->bd_disk)) {
        return;
    }
    if (work_begin(c, BLX_TRACEPOINT_REMAP, copy, bio))
        sent_on(c, copy, bio, from);
    work_end(c, BLX_TRACEPOINT_REMAP, copy, bio);
}

static __always_inline void on_rq_complete(struct blx_tracker_counts *c, int copy,
                                           struct request *rq, __u32 bytes)
{
    if (!changes_data(rq->cmd_flags & REQ_OP_MASK) ||
        (!bio_based && !is_our_disk(request_disk(rq))))
        return;
    if (work_begin(c, BLX_TRACEPOINT_RQ_COMPLETE, copy, rq) && full_barrier(c)) {
        if (bio_based)
            complete_sent_on(c, copy, rq->bio, bytes);
        else
            complete_request(c, copy, rq, bytes);
    }
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
        forget((__u64)bio);
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
    SEC("tp_btf/block_bio_remap")                                                                  \
    int BPF_PROG(bio_remap_##copy, struct bio *bio, __u32 device, __u64 from)                      \
    {                                                                                              \
        struct blx_tracker_counts *c = enter(BLX_TRACEPOINT_REMAP);                                \
        if (!c)                                                                                    \
            return 0;                                                                              \
        on_remap(c, copy, bio, device, from);                                                      \
        leave(c, BLX_TRACEPOINT_REMAP);                                                            \
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
