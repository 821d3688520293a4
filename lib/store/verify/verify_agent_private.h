/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One agent under verification: verify_agent.c finds its files, verify.c has them read,
 * verify_impact.c says which checkpoints a damage hurts. Private to lib/store.
 *
 * Threads: made and judged by the calling thread; meanwhile each worker owns the segment that it
 * took.
 */
#pragma once

#include "store/checkpoint/manifest.h"
#include "store/segment/segment_findings_private.h"
#include "store/store.h"
#include "store/verify/verify_report.h"

struct blx_verify_segment {
    uint32_t number; /* 0: open.seg */
    bool named;      /* by a manifest */
    bool gone;       /* no such file */
    uint64_t blocks; /* of the volume, as the manifest says; 0: not named */
    unsigned block_shift;
    struct blx_segment_findings findings; /* without its index */
    size_t first_damage; /* the report's number of its first fault; they follow each other */
    size_t damage_count;
};

struct blx_verify_checkpoint;

/* A checkpoint that has the volume, or carries it. */
struct blx_verify_link {
    const struct blx_verify_checkpoint *checkpoint;
    const struct blx_manifest_volume *entry; /* of its manifest */
};

struct blx_verify_volume {
    char name[BLX_NAME_BYTES];
    char dir[PATH_MAX];
    struct blx_verify_link *links; /* owned; oldest first */
    size_t link_count;
    size_t named_count;                  /* segments in all the lists of its links */
    struct blx_verify_segment *segments; /* owned; by number, open.seg first */
    size_t segment_count;
    bool damaged; /* a segment is */
    bool has_digest_key;
    struct blx_volume_key digest_key; /* to be wiped */
};

struct blx_verify_checkpoint {
    blx_timestamp timestamp;
    struct blx_manifest manifest; /* no volumes if it is damaged */
    bool damaged;
    size_t damage;                    /* the report's number, if it is damaged */
    blx_timestamp least_parent_after; /* of those after it that can be read; UINT64_MAX: none */
};

/*
 * A dispatcher names each segment in one manifest, and each checkpoint builds upon the one before;
 * after a prune that was cut off some do so twice. A hostile store may let every checkpoint build
 * upon another chain than the last one, or name the same segments in every manifest. So a volume's
 * way through its checkpoints may be this many times as long as the lists that it has, and a bit
 * more. What lies beyond counts as hurt, since nobody has looked.
 */
enum { BLX_VERIFY_WAYS = 16, BLX_VERIFY_MORE = 1000 };

struct blx_verify_agent {
    struct blx_agent_store store;
    struct blx_verify_checkpoint *checkpoints; /* owned; oldest first */
    size_t checkpoint_count;
    struct blx_verify_volume *volumes; /* owned; by name */
    size_t volume_count;
};

/* Reads manifests and state files, lists the segments. Their damages go into the report. Free with
 * _done() in any case. */
int blx_verify_agent_open(struct blx_agent_store agent_store, struct blx_verify_agent *agent,
                          struct blx_verify_report *report, struct blx_error *err);
void blx_verify_agent_done(struct blx_verify_agent *agent);

/* Which zeros in the segments are holes that a prune made, and which are damage. */
int blx_verify_agent_holes(struct blx_verify_agent *agent, struct blx_error *err);

/* The volume's link of that checkpoint, or NULL. */
const struct blx_verify_link *blx_verify_volume_link(const struct blx_verify_volume *volume,
                                                     blx_timestamp timestamp);

/* The segment of that number, or the next one; NULL after the last. */
struct blx_verify_segment *blx_verify_volume_segment(const struct blx_verify_volume *volume,
                                                     uint32_t number);

/* Turns the segments' faults into damages, and adds to each damage of this agent the checkpoints
 * that it hurts. */
int blx_verify_agent_judge(struct blx_verify_agent *agent, struct blx_verify_report *report,
                           struct blx_error *err);
