/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/track/tracker.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "agent/track/above_private.h"
#include "agent/track/idle_private.h"
#include "agent/track/missed_private.h"
#include "agent/track/owed_private.h"
#include "agent/track/pins_private.h"
#include "agent/track/programs_private.h"
#include "base/bitmap.h"
#include "base/cleanup.h"
#include "base/units.h"
#include "bpf/tracker.h"

enum {
    SECTOR_SHIFT = 9,
};

static const uint64_t bitmap_max_bytes = UINT64_C(128) << 20;
static const struct timespec a_moment = {.tv_nsec = 1000 * 1000};
/* The birth of a tracker waits so long for the disk's rest. */
static const uint64_t birth_ns = 2 * UINT64_C(1000000000);
static const uint64_t rest_ns = 50 * UINT64_C(1000000);
/* A disk whose rest cannot be seen is taken to have come to it after so long. */
static const uint64_t settle_ns = 60 * UINT64_C(1000000000);

/* Constant once it is open, except `counts`: reading the counters overwrites it. So only one
 * thread, the session's control thread, may read them. */
struct agent_tracker {
    struct agent_pins pins;
    struct blx_tracker_identity identity;
    struct blx_generation generation;
    bool adopted;
    uint64_t blocks;
    uint64_t *dirty;    /* the words atomic: shared with the kernel and any thread */
    size_t dirty_bytes; /* of the mapping; 0: not mapped */
    int dirty_fd;
    int counts_fd;
    int state_fd;
    int pending_fd; /* this and `owed` only of a bio-based device */
    struct blx_tracker_state state;
    struct agent_owed owed;
    struct blx_tracker_counts *counts; /* room for one of each CPU */
    int cpus;
    /*
     * The links are held, so that tracking goes on when somebody removes the pins under a running
     * agent. The programs are asked for their missed runs. -1 if a copy is not needed.
     */
    int links[AGENT_PROGRAM_COUNT];
    int programs[AGENT_PROGRAM_COUNT];
};

static int make_identity(const struct agent_device *device, struct blx_tracker_identity *identity,
                         struct blx_error *err)
{
    unsigned shift = BLX_BLOCK_SHIFT_MIN;
    while (device->size_bytes >> shift > bitmap_max_bytes * 8)
        shift++;
    if (shift > BLX_BLOCK_SHIFT_MAX)
        return blx_error_set(err, -EFBIG,
                             "device '%s' is larger than 256 TiB, the most that can be tracked",
                             device->path);
    *identity = (struct blx_tracker_identity){
        .magic = BLX_TRACKER_MAGIC,
        .layout = BLX_TRACKER_LAYOUT,
        .disk_major = device->disk_major,
        .disk_minor = device->disk_minor,
        .disk_seq = device->disk_seq,
        .first_sector = device->disk_start_bytes >> SECTOR_SHIFT,
        .end_sector = (device->disk_start_bytes + device->size_bytes) >> SECTOR_SHIFT,
        .block_shift = shift,
        .bio_based = device->bio_based,
    };
    return 0;
}

static uint64_t identity_blocks(const struct blx_tracker_identity *identity)
{
    uint64_t bytes = (identity->end_sector - identity->first_sector) << SECTOR_SHIFT;
    return (bytes + (UINT64_C(1) << identity->block_shift) - 1) >> identity->block_shift;
}

/* The same except for the generation, which only the pinned one has. */
static bool identity_matches(const struct blx_tracker_identity *pinned,
                             const struct blx_tracker_identity *wanted)
{
    struct blx_tracker_identity same = *wanted;
    memcpy(same.generation, pinned->generation, sizeof(same.generation));
    struct blx_generation generation;
    memcpy(generation.bytes, pinned->generation, sizeof(generation.bytes));
    return memcmp(pinned, &same, sizeof(same)) == 0 && !blx_generation_is_none(&generation);
}

static int get_pin(const struct agent_tracker *tracker, const char *name)
{
    char path[PATH_MAX];
    int r = agent_pins_format_path(&tracker->pins, name, path, NULL);
    return r < 0 ? r : bpf_obj_get(path);
}

/* The link of a program and, through it, the program. */
static int get_program(struct agent_tracker *tracker, unsigned program)
{
    char name[AGENT_PROGRAM_NAME_BYTES];
    agent_program_format_name(program, name);
    tracker->links[program] = get_pin(tracker, name);
    if (tracker->links[program] < 0)
        return tracker->links[program];
    struct bpf_link_info info = {0};
    uint32_t bytes = sizeof(info);
    int r = bpf_obj_get_info_by_fd(tracker->links[program], &info, &bytes);
    if (r < 0)
        return r;
    tracker->programs[program] = bpf_prog_get_fd_by_id(info.prog_id);
    return tracker->programs[program] < 0 ? tracker->programs[program] : 0;
}

static int get_maps(struct agent_tracker *tracker)
{
    tracker->dirty_fd = get_pin(tracker, "dirty");
    if (tracker->dirty_fd < 0)
        return tracker->dirty_fd;
    tracker->counts_fd = get_pin(tracker, "counts");
    if (tracker->counts_fd < 0)
        return tracker->counts_fd;
    tracker->state_fd = get_pin(tracker, "state");
    if (tracker->state_fd < 0)
        return tracker->state_fd;
    struct bpf_map_info info = {0};
    uint32_t bytes = sizeof(info);
    int r = bpf_obj_get_info_by_fd(tracker->dirty_fd, &info, &bytes);
    if (r < 0)
        return r;
    if (info.max_entries != blx_bitmap_words(tracker->blocks) ||
        info.value_size != sizeof(uint64_t))
        return -ESTALE;
    return 0;
}

static int map_bitmap(struct agent_tracker *tracker)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint64_t bytes = blx_bitmap_words(tracker->blocks) * sizeof(uint64_t);
    bytes = (bytes + page - 1) / page * page;
    void *dirty = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, tracker->dirty_fd, 0);
    if (dirty == MAP_FAILED)
        return -errno;
    tracker->dirty = dirty;
    tracker->dirty_bytes = bytes;
    return 0;
}

static int get_owed(struct agent_tracker *tracker)
{
    tracker->pending_fd = get_pin(tracker, "pending");
    if (tracker->pending_fd < 0)
        return tracker->pending_fd;
    BLX_CLEANUP_FD int places_fd = get_pin(tracker, "places");
    if (places_fd < 0)
        return places_fd;
    tracker->owed.pending_fd = tracker->pending_fd;
    tracker->owed.dirty = tracker->dirty;
    tracker->owed.identity = tracker->identity;
    return agent_owed_open(&tracker->owed, places_fd);
}

static int save_state(struct agent_tracker *tracker, struct blx_error *err)
{
    uint32_t zero = 0;
    int r = bpf_map_update_elem(tracker->state_fd, &zero, &tracker->state, BPF_ANY);
    if (r < 0)
        return blx_error_errno(err, r, "cannot write the state of the tracker in '%s'",
                               tracker->pins.path);
    return 0;
}

static void let_go(struct agent_tracker *tracker)
{
    agent_owed_close(&tracker->owed);
    for (unsigned i = 0; i < AGENT_PROGRAM_COUNT; i++) {
        blx_cleanup_fd(&tracker->programs[i]);
        blx_cleanup_fd(&tracker->links[i]);
        tracker->programs[i] = tracker->links[i] = -1;
    }
    if (tracker->dirty_bytes != 0)
        munmap(tracker->dirty, tracker->dirty_bytes);
    tracker->dirty_bytes = 0;
    blx_cleanup_fd(&tracker->dirty_fd);
    blx_cleanup_fd(&tracker->counts_fd);
    blx_cleanup_fd(&tracker->state_fd);
    blx_cleanup_fd(&tracker->pending_fd);
    tracker->dirty_fd = tracker->counts_fd = tracker->state_fd = tracker->pending_fd = -1;
}

/*
 * Takes the pinned tracker. -ENOENT and others if something is missing, -ESTALE if it belongs to
 * another disk or layout: a new one has to be made then.
 */
static int adopt(struct agent_tracker *tracker)
{
    BLX_CLEANUP_FD int identity_fd = get_pin(tracker, "identity");
    if (identity_fd < 0)
        return identity_fd;
    struct bpf_map_info info = {0};
    uint32_t bytes = sizeof(info), zero = 0;
    int r = bpf_obj_get_info_by_fd(identity_fd, &info, &bytes);
    if (r < 0)
        return r;
    struct blx_tracker_identity pinned = {0};
    if (info.value_size != sizeof(pinned))
        return -ESTALE;
    r = bpf_map_lookup_elem(identity_fd, &zero, &pinned);
    if (r < 0)
        return r;
    if (!identity_matches(&pinned, &tracker->identity))
        return -ESTALE;
    r = get_maps(tracker);
    for (unsigned i = 0; i < AGENT_PROGRAM_COUNT && r == 0; i++)
        if (agent_program_is_needed(i, &pinned))
            r = get_program(tracker, i);
    if (r == 0)
        r = map_bitmap(tracker);
    if (r == 0 && pinned.bio_based)
        r = get_owed(tracker);
    if (r == 0)
        r = bpf_map_lookup_elem(tracker->state_fd, &zero, &tracker->state);
    if (r < 0)
        return r;
    tracker->identity = pinned;
    memcpy(tracker->generation.bytes, pinned.generation, sizeof(pinned.generation));
    return 0;
}

/*
 * Whether adopt() found nothing, or something that is not ours. Any other error means that we could
 * not look (memory, descriptors, rights), which is no reason to throw a good generation away.
 */
static bool says_unusable(int r)
{
    return r != -ENOMEM && r != -EMFILE && r != -ENFILE && r != -EPERM && r != -EACCES &&
           r != -EINTR && r != -EAGAIN;
}

/* The runs that every copy of a tracepoint's program left out at most: what the luckiest copy left
 * out. */
static int tracepoint_left_out(const struct agent_tracker *tracker, unsigned tracepoint,
                               uint64_t *left_out)
{
    uint64_t least = UINT64_MAX;
    for (unsigned copy = 0; copy < BLX_TRACKER_COPIES; copy++) {
        int fd = tracker->programs[tracepoint * BLX_TRACKER_COPIES + copy];
        if (fd < 0)
            continue;
        struct bpf_prog_info info = {0};
        uint32_t bytes = sizeof(info);
        int r = bpf_obj_get_info_by_fd(fd, &info, &bytes);
        if (r < 0)
            return r;
        if (info.recursion_misses < least)
            least = info.recursion_misses;
    }
    *left_out = least == UINT64_MAX ? 0 : least;
    return 0;
}

static uint64_t over_copies(const __u64 counts[BLX_TRACKER_COPIES])
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < BLX_TRACKER_COPIES; i++)
        sum += counts[i];
    return sum;
}

static void sum_counts(const struct agent_tracker *tracker, struct blx_tracker_counts *sum)
{
    *sum = (struct blx_tracker_counts){0};
    for (int cpu = 0; cpu < tracker->cpus; cpu++) {
        const struct blx_tracker_counts *one = &tracker->counts[cpu];
        for (unsigned i = 0; i < BLX_TRACKER_COPIES; i++) {
            sum->events[i] += one->events[i];
            sum->queued[i] += one->queued[i];
            sum->sectors[i] += one->sectors[i];
        }
        for (unsigned i = 0; i < BLX_TRACEPOINT_COUNT; i++)
            sum->saturated[i] += one->saturated[i];
        sum->suspects += one->suspects;
        sum->passthrough += one->passthrough;
        sum->unmarked += one->unmarked;
    }
}

static int read_counts(const struct agent_tracker *tracker, struct blx_tracker_counts *sum,
                       struct blx_error *err)
{
    uint32_t zero = 0;
    int r = bpf_map_lookup_elem(tracker->counts_fd, &zero, tracker->counts);
    if (r < 0)
        return blx_error_errno(err, r, "cannot read the counters of the tracker in '%s'",
                               tracker->pins.path);
    sum_counts(tracker, sum);
    return 0;
}

/* Several instants in a row: dm counts some writes only when its target sends them on. */
static bool wait_for_rest(const struct agent_device *device, enum agent_idle_view view)
{
    uint64_t now_ns = blx_clock_ns();
    uint64_t deadline_ns = now_ns + birth_ns, idle_since_ns = 0;
    do {
        if (!agent_is_idle(device, view))
            idle_since_ns = 0;
        else if (idle_since_ns == 0)
            idle_since_ns = now_ns;
        else if (now_ns - idle_since_ns >= rest_ns)
            return true;
        nanosleep(&a_moment, NULL);
        now_ns = blx_clock_ns();
    } while (now_ns < deadline_ns);
    return false;
}

/*
 * Nothing is read before this returns. A write that was on its way when the programs came is seen
 * at its end at most, and may have lost part of its range by then (dm splits bios): so the disk has
 * to be at rest once. If it is not, soon, all of it is to be compared, once now and once when it
 * came to rest.
 */
static int begin(struct agent_tracker *tracker, const struct agent_device *device,
                 struct blx_error *err)
{
    struct blx_tracker_counts sum;
    if (!device->bio_based)
        return 0;
    tracker->state.follows_clones = agent_is_handed_bios(device);
    tracker->state.born_ns = blx_clock_ns();
    int r = save_state(tracker, err);
    if (r < 0)
        return r;
    enum agent_idle_view view = agent_idle_choose_view(device);
    bool idle = view != AGENT_IDLE_UNKNOWN && wait_for_rest(device, view);
    r = read_counts(tracker, &sum, err);
    if (r < 0)
        return r;
    tracker->state.idle_view = view;
    tracker->state.unmarked_at_birth = sum.unmarked;
    tracker->state.unmarked = !idle;
    tracker->state.unsettled_since_ns = idle ? 0 : blx_clock_ns();
    return save_state(tracker, err);
}

/* Adopts, or makes and then adopts: so this process works with the same pins that a later one
 * finds. */
static int adopt_or_create(struct agent_tracker *tracker, const struct agent_device *device,
                           struct blx_error *err)
{
    int r = adopt(tracker);
    tracker->adopted = r == 0;
    if (tracker->adopted)
        return 0;
    let_go(tracker);
    if (!says_unusable(r))
        return blx_error_errno(err, r, "cannot open the tracker of device '%s' in '%s'",
                               device->path, tracker->pins.path);
    r = agent_pins_clear(&tracker->pins, err);
    if (r == 0)
        r = agent_programs_create(device, &tracker->identity, blx_bitmap_words(tracker->blocks),
                                  &tracker->pins, err);
    if (r == 0) {
        r = adopt(tracker);
        if (r < 0)
            blx_error_errno(err, r, "cannot open the new tracker of device '%s' in '%s'",
                            device->path, tracker->pins.path);
    }
    if (r == 0)
        r = begin(tracker, device, err);
    if (r < 0)
        agent_pins_remove(&tracker->pins);
    return r;
}

static void free_tracker(struct agent_tracker *tracker)
{
    let_go(tracker);
    free(tracker->counts);
    free(tracker);
}

static int new_tracker(const struct agent_device *device, struct agent_tracker **out,
                       struct blx_error *err)
{
    int cpus = libbpf_num_possible_cpus();
    if (cpus < 0)
        return blx_error_errno(err, cpus, "cannot read the number of CPUs");
    struct blx_tracker_identity identity;
    int r = make_identity(device, &identity, err);
    if (r < 0)
        return r;
    struct agent_tracker *tracker = calloc(1, sizeof(*tracker));
    if (tracker == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot track device '%s'", device->path);
    tracker->cpus = cpus;
    tracker->identity = identity;
    tracker->blocks = identity_blocks(&identity);
    tracker->dirty_fd = tracker->counts_fd = tracker->pins.dir_fd = -1;
    tracker->state_fd = tracker->pending_fd = -1;
    for (unsigned i = 0; i < AGENT_PROGRAM_COUNT; i++)
        tracker->links[i] = tracker->programs[i] = -1;
    tracker->counts = calloc((size_t)cpus, sizeof(*tracker->counts));
    if (tracker->counts == NULL) {
        free_tracker(tracker);
        return blx_error_errno(err, -ENOMEM, "cannot track device '%s'", device->path);
    }
    *out = tracker;
    return 0;
}

int agent_tracker_open(const struct agent_device *device, struct agent_tracker **tracker,
                       struct blx_error *err)
{
    struct agent_tracker *opened = NULL;
    int r = new_tracker(device, &opened, err);
    if (r < 0)
        return r;
    r = agent_pins_open(device->kernel_name, &opened->pins, err);
    if (r == 0) {
        r = adopt_or_create(opened, device, err);
    }
    if (r < 0) {
        agent_pins_close(&opened->pins);
        free_tracker(opened);
        return r;
    }
    *tracker = opened;
    return 0;
}

void agent_tracker_close(struct agent_tracker *tracker)
{
    if (tracker == NULL)
        return;
    agent_pins_close(&tracker->pins);
    free_tracker(tracker);
}

void agent_tracker_destroy(struct agent_tracker *tracker)
{
    if (tracker == NULL)
        return;
    agent_pins_remove(&tracker->pins);
    free_tracker(tracker);
}

void agent_tracker_forget(const struct agent_device *device)
{
    struct agent_pins pins;
    if (agent_pins_open(device->kernel_name, &pins, NULL) == 0)
        agent_pins_remove(&pins);
}

bool agent_tracker_is_adopted(const struct agent_tracker *tracker)
{
    return tracker->adopted;
}

const struct blx_generation *agent_tracker_get_generation(const struct agent_tracker *tracker)
{
    return &tracker->generation;
}

unsigned agent_tracker_get_block_shift(const struct agent_tracker *tracker)
{
    return tracker->identity.block_shift;
}

uint64_t agent_tracker_get_blocks(const struct agent_tracker *tracker)
{
    return tracker->blocks;
}

uint64_t *agent_tracker_get_dirty(const struct agent_tracker *tracker)
{
    return tracker->dirty;
}

/* While not all copies are ever active at once, each event was seen by one of them, whatever the
 * others left out. Where a queueing leaves no range behind, nothing is lost with it. */
static int look_for_missed(struct agent_tracker *tracker, const struct blx_tracker_counts *before,
                           struct blx_error *err)
{
    struct blx_tracker_counts after;
    struct agent_missed_look looks[BLX_TRACEPOINT_COUNT];
    for (unsigned i = 0; i < BLX_TRACEPOINT_COUNT; i++) {
        looks[i].saturated_before = before->saturated[i];
        int r = tracepoint_left_out(tracker, i, &looks[i].left_out);
        if (r < 0)
            return blx_error_errno(err, r, "cannot read the missed runs of the tracker in '%s'",
                                   tracker->pins.path);
    }
    int r = read_counts(tracker, &after, err);
    if (r < 0)
        return r;
    uint64_t missed = 0;
    for (unsigned i = 0; i < BLX_TRACEPOINT_COUNT; i++) {
        looks[i].saturated_after = after.saturated[i];
        if (i != BLX_TRACEPOINT_QUEUE || tracker->identity.bio_based)
            missed += agent_missed_compare(&tracker->state, i, &looks[i]);
    }
    /* Only what is new needs to outlive us: a look that is forgotten makes the span longer. */
    return missed > 0 ? save_state(tracker, err) : 0;
}

int agent_tracker_read_counters(struct agent_tracker *tracker,
                                struct agent_tracker_counters *counters, struct blx_error *err)
{
    struct blx_tracker_counts sum;
    int r = read_counts(tracker, &sum, err);
    if (r == 0)
        r = look_for_missed(tracker, &sum, err);
    if (r < 0)
        return r;
    *counters = (struct agent_tracker_counters){
        .events = over_copies(sum.events),
        .queued = over_copies(sum.queued) + over_copies(sum.events),
        .missed = tracker->state.missed,
        .passthrough = sum.passthrough,
        .unmarked = sum.unmarked - tracker->state.unmarked_at_birth + tracker->state.unmarked,
    };
    return 0;
}

bool agent_tracker_mark_owed(struct agent_tracker *tracker)
{
    return agent_owed_mark(&tracker->owed);
}

/* Whether some CPU has met bios that no CPU knows as parts of others (was_trimmed()). Judges the
 * counts that were read last. */
static bool has_suspects(const struct agent_tracker *tracker)
{
    for (int cpu = 0; cpu < tracker->cpus; cpu++) {
        uint64_t suspect = tracker->counts[cpu].suspect_end_io;
        bool explained = suspect == 0;
        for (int other = 0; !explained && other < tracker->cpus; other++)
            explained = tracker->counts[other].chain_end_io == suspect;
        if (!explained)
            return true;
    }
    return false;
}

/* Counts the doubts of a look; `queued` is what was queued before the rest. */
static int count_doubts(struct agent_tracker *tracker, bool idle, uint64_t queued,
                        struct blx_error *err)
{
    struct blx_tracker_counts sum;
    struct agent_owed_findings found;
    uint64_t now_ns = blx_clock_ns();
    uint64_t unsettled_ns = tracker->state.unsettled_since_ns;
    agent_owed_look(&tracker->owed, now_ns, idle, &found);
    uint64_t doubts = found.stuck;
    if (found.forgotten > 0)
        nanosleep(&a_moment, NULL);
    int r = read_counts(tracker, &sum, err);
    if (r < 0)
        return r;
    if (found.forgotten > 0)
        doubts += over_copies(sum.queued) != queued;
    if (sum.suspects != tracker->state.suspects)
        doubts += has_suspects(tracker);
    tracker->state.suspects = sum.suspects;
    bool was_young = tracker->state.born_ns != 0 && now_ns - tracker->state.born_ns >= settle_ns;
    if (was_young)
        tracker->state.born_ns = 0;
    if (unsettled_ns != 0 && (idle || now_ns - unsettled_ns >= settle_ns)) {
        tracker->state.unsettled_since_ns = 0;
        doubts++;
    }
    tracker->state.unmarked += doubts;
    return doubts > 0 || was_young ? save_state(tracker, err) : 0;
}

/* If a device has come to stand on ours, what it wrote until now may not have been seen. */
static int follow_clones(struct agent_tracker *tracker, const struct agent_device *device,
                         struct blx_error *err)
{
    if (tracker->state.follows_clones != 0 || !agent_is_handed_bios(device))
        return 0;
    tracker->state.follows_clones = 1;
    tracker->state.unmarked++;
    return save_state(tracker, err);
}

int agent_tracker_look(struct agent_tracker *tracker, const struct agent_device *device,
                       struct blx_error *err)
{
    struct blx_tracker_counts sum;
    int r = read_counts(tracker, &sum, err);
    if (r < 0)
        return r;
    r = follow_clones(tracker, device, err);
    if (r < 0)
        return r;
    nanosleep(&a_moment, NULL);
    bool idle = agent_is_idle(device, (enum agent_idle_view)tracker->state.idle_view);
    return count_doubts(tracker, idle, over_copies(sum.queued), err);
}

int agent_tracker_read_sectors(const struct agent_tracker *tracker, uint64_t *sectors,
                               struct blx_error *err)
{
    struct blx_tracker_counts sum;
    int r = read_counts(tracker, &sum, err);
    if (r < 0)
        return r;
    *sectors = over_copies(sum.sectors);
    return 0;
}
