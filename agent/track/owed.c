/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/track/owed_private.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/bitmap.h"

static const size_t places_bytes = BLX_TRACKER_PLACES * sizeof(struct blx_tracker_place);
/* A write takes no longer than this on a disk that is at rest now and then, and no longer than that
 * on any. */
static const uint64_t old_ns = 60 * UINT64_C(1000000000);
static const uint64_t very_old_ns = 600 * UINT64_C(1000000000);

/* Since when the range of a place has been owed, by this process's looks. */
struct agent_owed_age {
    uint64_t since_ns; /* 0: it is not */
    uint64_t bio;
    uint32_t serial;
    uint32_t done;
    bool stuck; /* and was found to be */
};

int agent_owed_open(struct agent_owed *owed, int places_fd)
{
    owed->ages = calloc(BLX_TRACKER_PLACES, sizeof(*owed->ages));
    if (owed->ages == NULL)
        return -ENOMEM;
    void *places = mmap(NULL, places_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, places_fd, 0);
    if (places == MAP_FAILED)
        return -errno;
    owed->places = places;
    return 0;
}

void agent_owed_close(struct agent_owed *owed)
{
    if (owed->places != NULL)
        munmap(owed->places, places_bytes);
    free(owed->ages);
    owed->places = NULL;
    owed->ages = NULL;
}

/* As mark() does in the programs. */
static void mark(const struct agent_owed *owed, const struct blx_tracker_range *range)
{
    const struct blx_tracker_identity *of = &owed->identity;
    uint64_t start = range->sector > of->first_sector ? range->sector : of->first_sector;
    uint64_t end = range->sector + range->sectors;
    end = end < of->end_sector ? end : of->end_sector;
    if (start >= end)
        return;
    unsigned shift = of->block_shift - 9;
    uint64_t first = (start - of->first_sector) >> shift;
    uint64_t last = (end - 1 - of->first_sector) >> shift;
    blx_bitmap_set(owed->dirty, (struct blx_extent){first, last - first + 1});
}

/* One whose memory the programs write: what is read is at most torn between two owners, of which
 * the later one is not in flight before its place is whole. */
static struct blx_tracker_place read_place(const struct blx_tracker_place *place)
{
    struct blx_tracker_place copy;
    copy.bio = __atomic_load_n(&place->bio, __ATOMIC_ACQUIRE);
    copy.serial = __atomic_load_n(&place->serial, __ATOMIC_RELAXED);
    copy.spilled = __atomic_load_n(&place->spilled, __ATOMIC_RELAXED);
    copy.range.sector = __atomic_load_n(&place->range.sector, __ATOMIC_RELAXED);
    copy.range.sectors = __atomic_load_n(&place->range.sectors, __ATOMIC_RELAXED);
    copy.range.done = __atomic_load_n(&place->range.done, __ATOMIC_RELAXED);
    return copy;
}

static bool is_of(const struct agent_owed_age *age, const struct blx_tracker_place *place)
{
    return age->since_ns != 0 && age->bio == place->bio && age->serial == place->serial &&
           age->done == place->range.done;
}

/* Those for which there was no place. */
static bool mark_spilled(const struct agent_owed *owed)
{
    bool in_flight = false;
    uint64_t key, next;
    struct blx_tracker_range range;
    /* A key that was deleted meanwhile leads to the first one again: bounded, and whatever is
     * there all the time is found. */
    int r = bpf_map_get_next_key(owed->pending_fd, NULL, &next);
    for (unsigned i = 0; r == 0 && i < 4 * BLX_TRACKER_PENDING_BIOS; i++) {
        key = next;
        if (bpf_map_lookup_elem(owed->pending_fd, &key, &range) == 0) {
            mark(owed, &range);
            in_flight |= range.sectors != 0;
        }
        r = bpf_map_get_next_key(owed->pending_fd, &key, &next);
    }
    return in_flight || r == 0;
}

bool agent_owed_mark(struct agent_owed *owed)
{
    bool in_flight = false, spilled = false;
    for (size_t i = 0; owed->places != NULL && i < BLX_TRACKER_PLACES; i++) {
        struct blx_tracker_place place = read_place(&owed->places[i]);
        spilled |= place.spilled != 0;
        if (place.bio == 0)
            continue;
        mark(owed, &place.range);
        const struct agent_owed_age *age = &owed->ages[i];
        bool is_over = is_of(age, &place) && (age->done != 0 || age->stuck);
        in_flight |= place.range.sectors != 0 && !is_over;
    }
    return (spilled && mark_spilled(owed)) || in_flight;
}

/* Marked first: from then on it is in nobody's keeping. */
static bool take_back(const struct agent_owed *owed, size_t index,
                      const struct blx_tracker_place *place)
{
    __u64 bio = place->bio;
    mark(owed, &place->range);
    return __atomic_compare_exchange_n(&owed->places[index].bio, &bio, 0, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_SEQ_CST);
}

static void look_at(struct agent_owed *owed, size_t index, uint64_t now_ns, bool idle,
                    struct agent_owed_findings *findings)
{
    struct blx_tracker_place place = read_place(&owed->places[index]);
    struct agent_owed_age *age = &owed->ages[index];
    if (place.bio == 0) {
        age->since_ns = 0;
        return;
    }
    if (!is_of(age, &place)) {
        *age = (struct agent_owed_age){
            .since_ns = now_ns, .bio = place.bio, .serial = place.serial, .done = place.range.done};
        return;
    }
    uint64_t age_ns = now_ns - age->since_ns;
    if (age_ns < (idle ? old_ns : very_old_ns))
        return;
    if (age->done != 0 || place.range.sectors == 0) {
        findings->forgotten += take_back(owed, index, &place);
    } else if (!age->stuck) {
        findings->stuck++;
        age->stuck = true;
    }
}

void agent_owed_look(struct agent_owed *owed, uint64_t now_ns, bool idle,
                     struct agent_owed_findings *findings)
{
    *findings = (struct agent_owed_findings){0};
    for (size_t i = 0; owed->places != NULL && i < BLX_TRACKER_PLACES; i++)
        look_at(owed, i, now_ns, idle, findings);
}
