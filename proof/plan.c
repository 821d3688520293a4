/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/plan.h"

#include <string.h>

#include "base/units.h"

enum { DAY_S = 24 * 60 * 60, CHECKS_S = 60 * 60, REST_S = 5 * 60 };

static time_t seconds_of(uint64_t ms)
{
    return (time_t)(ms / 1000);
}

static bool is_due(const struct proof_plan_agent *agent, time_t now)
{
    const time_t every_s = seconds_of(agent->test.every_ms);
    time_t begin, end;
    if (every_s == 0 || agent->untested == 0 || agent->running || now < agent->not_before ||
        !blx_hours_find(&agent->test.hours, now, &begin, &end))
        return false;
    if (agent->begun == 0)
        return true;
    if (begin > 0 && every_s >= DAY_S)
        return agent->begun < begin - (every_s - DAY_S);
    return agent->begun + every_s <= now;
}

static bool comes_before(const struct proof_plan_agent *one, const struct proof_plan_agent *other)
{
    if (one->begun != other->begun)
        return one->begun < other->begun;
    if (one->untested != other->untested)
        return one->untested > other->untested;
    return strcmp(one->agent_id, other->agent_id) < 0;
}

struct proof_plan_agent *proof_plan_choose(struct proof_plan_agent *agents, size_t count,
                                           time_t now)
{
    struct proof_plan_agent *chosen = NULL;
    for (size_t i = 0; i < count; i++)
        if (is_due(&agents[i], now) && (chosen == NULL || comes_before(&agents[i], chosen)))
            chosen = &agents[i];
    return chosen;
}

time_t proof_plan_end(const struct blx_policy_test *test, time_t now)
{
    time_t begin, end;
    const time_t within_s = seconds_of(test->within_ms);
    const time_t most = now + CHECKS_S + within_s + REST_S;
    blx_hours_find(&test->hours, now, &begin, &end);
    return begin > 0 && end + within_s < most ? end + within_s : most;
}
