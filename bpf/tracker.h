/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * What the tracker's programs in the kernel and the agent agree on: the layout of the small maps
 * and the names of the programs. Native byte order and alignment, because both live on one machine.
 *
 * BLX_TRACKER_LAYOUT changes whenever a tracker that an older agent has left running would act
 * differently: with maps, with meanings, and with bug fixes of the programs. An agent never adopts
 * another layout; it makes a new tracker, and the volume is rescanned.
 */
#pragma once

#ifdef __bpf__
#include "kernel.h"
#else
#include <linux/types.h>
#endif

enum {
    BLX_TRACKER_MAGIC = 0x54584c42, /* "BLXT" */
    BLX_TRACKER_LAYOUT = 5,

    /*
     * The kernel leaves a program out for an event that interrupts a run of the same program on the
     * same CPU. Each context (task, softirq, hardirq) is inside one copy at most, so of three
     * copies one is always free for the event of the innermost context.
     */
    BLX_TRACKER_COPIES = 3,

    /* Bios of a bio-based device in flight at once: each has a place, or is one of the pending ones
     * if its place is taken. */
    BLX_TRACKER_PLACES_SHIFT = 14,
    BLX_TRACKER_PLACES = 1 << BLX_TRACKER_PLACES_SHIFT,
    BLX_TRACKER_PENDING_BIOS = 65536,
};

/* In `done` of a range: the bio itself has ended. More sectors than a bio can have. */
#define BLX_TRACKER_OWN_PART (1U << 31)

/* The tracepoints: indexes of the arrays below, and the order in which programs are attached. The
 * completions come first, so that nothing is remembered whose completion goes by unseen. */
enum {
    BLX_TRACEPOINT_RQ_COMPLETE,  /* block_rq_complete */
    BLX_TRACEPOINT_BIO_COMPLETE, /* block_bio_complete */
    BLX_TRACEPOINT_REMAP,        /* block_bio_remap: for bio-based devices only */
    BLX_TRACEPOINT_QUEUE,        /* block_bio_queue */
    BLX_TRACEPOINT_COUNT,
};

/* Map `identity`, one entry: the volume that the bitmap is for. All zero until the tracker is
 * complete. */
struct blx_tracker_identity {
    __u32 magic;
    __u32 layout;
    __u8 generation[16];
    __u32 disk_major;
    __u32 disk_minor;
    __u64 disk_seq;
    __u64 first_sector; /* of the volume on its disk */
    __u64 end_sector;
    __u32 block_shift;
    __u32 bio_based;
};

/*
 * Map `counts`, one entry for each CPU. The counters of one copy are written by that copy only,
 * which never interrupts itself. The others may lose an increment to a nested run but always grow,
 * and only their growth is used.
 *
 * An event is counted by the copy that worked on it. So the sum over the copies is the number of
 * events, or slightly more, because an event that was interrupted between its copies may be worked
 * on twice.
 */
struct blx_tracker_counts {
    __u64 running[BLX_TRACEPOINT_COUNT];   /* copies that are active on this CPU now */
    __u64 saturated[BLX_TRACEPOINT_COUNT]; /* grows when all copies become active at once, and when
                                              they are so no more: only between the two can an
                                              event pass all of them */
    __u64 handled[BLX_TRACEPOINT_COUNT];   /* the last event that was worked on */
    __u64 found;                           /* whether that bio's range was known */
    __u64 bio[BLX_TRACKER_COPIES];         /* of the request that a copy works on, and what is in */
    __u64 whole[BLX_TRACKER_COPIES];       /* its bi_private */
    __u64 chain_end_io;                    /* bi_end_io of a part that was split off a bio */
    __u64 suspect_end_io;                  /* and of the first bio that was_trimmed() cannot tell */
    __u64 suspects;                        /* how many there were of the same kind */
    __u64 barriers;                        /* full barriers so far */
    __u64 queued[BLX_TRACKER_COPIES];
    __u64 events[BLX_TRACKER_COPIES];
    __u64 sectors[BLX_TRACKER_COPIES]; /* of completed requests, as the disk's statistics count
                                          them: on the whole disk, with passthrough */
    __u64 passthrough;
    __u64 unmarked;
};

/*
 * Of a bio when it was queued. The range is owed from then on, until the bio's completion was seen:
 * tracker.bpf.c has the drawing.
 */
struct blx_tracker_range {
    __u64 sector;
    __u32 sectors; /* 0: a flush without data */
    __u32 done;    /* sectors that were seen to complete, in parts */
};

/* Map `places`. The agent reads them through a mapping, and takes back a place that was forgotten
 * (agent/track/owed_private.h). */
struct blx_tracker_place {
    __u64 bio; /* the address of the bio whose range it is; 0: free */
    struct blx_tracker_range range;
    __u32 serial;  /* of the owner: grows whenever the place is taken */
    __u32 spilled; /* ranges in map `pending` whose bios would have this place */
};

/* Map `pending`: by the bio's address, the ranges for which the place was taken. */

/* Map `state`, one entry, written by the agent alone: what must outlive its process together with
 * the programs. All of it only grows, except the times and what the last look saw. */
struct blx_tracker_state {
    __u64 saturated[BLX_TRACEPOINT_COUNT]; /* seen last, see agent/track/missed_private.h */
    __u64 left_out[BLX_TRACEPOINT_COUNT];
    __u64 missed;
    __u64 unmarked;
    __u64 unmarked_at_birth;  /* counted before the first block was read: no doubt */
    __u64 idle_view;          /* enum agent_idle_view */
    __u64 follows_clones;     /* the programs read it: remember the driver's own bios, too */
    __u64 born_ns;            /* the programs read it; 0: more than a minute ago */
    __u64 suspects;           /* that were judged already */
    __u64 unsettled_since_ns; /* writes from before the birth may be in flight; 0: none is */
};
