/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/send/effort_private.h"

#include <stdbool.h>
#include <stddef.h>

/* Levels of zstd that are worth having on frames of 256 KiB: those left out are slower than the
 * next one here, or make frames no smaller. `cost` is relative to the first. */
static const struct rung {
    int level;
    double cost;
} rungs[] = {{-5, 1}, {1, 2}, {3, 2.5}, {7, 6}, {9, 10}};

enum {
    RUNG_COUNT = sizeof(rungs) / sizeof(rungs[0]),
    FIRST_RUNG = 1,
    LOOK_NS = 500 * 1000 * 1000, /* of work, and at least so many frames: */
    LOOK_FRAMES = 4,
    UPS = 3,
    DOWNS = 2,
    REST = 20,
};

static const double share = 0.25;   /* of all processors that packing may take */
static const double blocked = 0.7;  /* of the time: the network holds us back */
static const double starved = 0.5;  /* of the time: something before the sender holds us back, */
static const double packing = 0.75; /* of a processor: and that is packing, not the disk */

void agent_effort_init(struct agent_effort *effort, unsigned processors)
{
    *effort = (struct agent_effort){.processors = processors, .rung = FIRST_RUNG};
}

static bool wants_down(const struct agent_effort *effort, double work_ns)
{
    double packing_ns = (double)effort->sum.packing_ns;
    return packing_ns > share * effort->processors * work_ns ||
           ((double)effort->sum.starved_ns > starved * work_ns && packing_ns > packing * work_ns);
}

static bool wants_up(const struct agent_effort *effort, double work_ns)
{
    if (effort->rung + 1 == RUNG_COUNT || (double)effort->sum.blocked_ns < blocked * work_ns)
        return false;
    double then =
        (double)effort->sum.packing_ns * rungs[effort->rung + 1].cost / rungs[effort->rung].cost;
    return then <= share * effort->processors * work_ns;
}

static void look(struct agent_effort *effort, double work_ns)
{
    bool down = wants_down(effort, work_ns);
    bool up = !down && wants_up(effort, work_ns);
    effort->downs = down ? effort->downs + 1 : 0;
    effort->ups = up ? effort->ups + 1 : 0;
    effort->rest -= effort->rest > 0;
    if (effort->downs >= DOWNS && effort->rung > 0) {
        effort->rung--;
        effort->downs = 0;
        effort->rest = REST;
    } else if (effort->ups >= UPS && effort->rest == 0) {
        effort->rung++;
        effort->ups = 0;
    }
}

int agent_effort_add(struct agent_effort *effort, const struct agent_effort_times *times)
{
    struct agent_effort_times *sum = &effort->sum;
    sum->blocked_ns += times->blocked_ns;
    sum->starved_ns += times->starved_ns;
    sum->packing_ns += times->packing_ns;
    sum->frames += times->frames;
    uint64_t work_ns = sum->blocked_ns + sum->starved_ns;
    if (work_ns >= LOOK_NS && sum->frames >= LOOK_FRAMES) {
        look(effort, (double)work_ns);
        *sum = (struct agent_effort_times){0};
    }
    return rungs[effort->rung].level;
}
