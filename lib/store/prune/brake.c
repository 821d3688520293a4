/* SPDX-License-Identifier: Apache-2.0 */
#include "store/prune/brake.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

#include "base/cleanup.h"
#include "base/io.h"

uint64_t blx_brake_rules(const struct blx_retention *retention)
{
    /* Whoever does not use the newest rule has the same rules as before there was one. */
    const size_t rules = retention->keep[BLX_KEEP_TESTED] == 0 ? BLX_KEEP_TESTED : BLX_KEEP_RULES;
    return XXH3_64bits(retention->keep, rules * sizeof(retention->keep[0]));
}

/* How many go without a question: twice what sync-freq has let come since the last prune, because a
 * beat may be skipped then and made up now. */
static uint64_t explained(const struct blx_brake_case *prune, const struct blx_prune_mark *mark)
{
    uint64_t elapsed_ms =
        prune->now_ns > mark->pruned_ns ? (prune->now_ns - mark->pruned_ns) / 1000000 : 0;
    if (prune->sync_freq_ms == 0)
        return UINT64_MAX;
    return BLX_BRAKE_FLOOR + 2 * (elapsed_ms / prune->sync_freq_ms);
}

static bool is_usual(const struct blx_brake_case *prune, const struct blx_prune_mark *mark)
{
    if (prune->doomed <= BLX_BRAKE_FLOOR)
        return true;
    return prune->doomed <= explained(prune, mark) && prune->doomed <= prune->checkpoints / 2;
}

static enum blx_brake announce(const struct blx_brake_case *prune, struct blx_prune_mark *mark)
{
    *mark = (struct blx_prune_mark){.rules = blx_brake_rules(prune->retention),
                                    .not_before_ns = prune->now_ns + prune->grace_ns};
    return BLX_BRAKE_ANNOUNCED;
}

enum blx_brake blx_brake_judge(const struct blx_brake_case *prune, struct blx_prune_mark *mark)
{
    bool same = mark->rules == blx_brake_rules(prune->retention);
    if (!same && prune->doomed > 0)
        return announce(prune, mark);
    /* A clock that was set back must not hold the announced prune off for ever. */
    bool waits = mark->not_before_ns > prune->now_ns &&
                 mark->not_before_ns - prune->now_ns <= prune->grace_ns;
    if (same && waits)
        return BLX_BRAKE_ANNOUNCED;
    if (same && mark->not_before_ns == 0 && !is_usual(prune, mark))
        return BLX_BRAKE_HELD;
    *mark = (struct blx_prune_mark){.rules = blx_brake_rules(prune->retention),
                                    .pruned_ns = prune->now_ns};
    return BLX_BRAKE_FREE;
}

static int mark_path(struct blx_agent_store agent, char path[PATH_MAX], struct blx_error *err)
{
    char dir[PATH_MAX];
    int rc = blx_agent_store_path(agent, dir, err);
    return rc < 0 ? rc : blx_path_format(path, PATH_MAX, err, "%s/pruned", dir);
}

int blx_prune_mark_read(struct blx_agent_store agent, struct blx_prune_mark *mark,
                        struct blx_error *err)
{
    enum { MOST_BYTES = 128 };
    char path[PATH_MAX];
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes = 0;
    struct blx_error why = {0};
    struct blx_prune_mark found = {0};
    int rc = mark_path(agent, path, err);
    if (rc < 0)
        return rc;
    rc = blx_file_read(path, MOST_BYTES, &content, &bytes, &why);
    if (rc < 0 && rc != -ENOENT && rc != -EFBIG)
        return blx_error_set(err, rc, "%s", why.message);
    char text[MOST_BYTES + 1] = "";
    if (rc == 0)
        snprintf(text, sizeof(text), "%.*s", (int)bytes, (const char *)content);
    if (sscanf(text, "blxrep pruned 1\n%16" SCNx64 " %20" SCNu64 " %20" SCNu64, &found.rules,
               &found.pruned_ns, &found.not_before_ns) != 3)
        found = (struct blx_prune_mark){0};
    *mark = found;
    return 0;
}

int blx_prune_mark_write(struct blx_agent_store agent, const struct blx_prune_mark *mark,
                         struct blx_error *err)
{
    char path[PATH_MAX], text[128];
    int rc = mark_path(agent, path, err);
    if (rc < 0)
        return rc;
    int bytes =
        snprintf(text, sizeof(text), "blxrep pruned 1\n%016" PRIx64 " %" PRIu64 " %" PRIu64 "\n",
                 mark->rules, mark->pruned_ns, mark->not_before_ns);
    return blx_file_replace(path, text, (size_t)bytes, 0644, err);
}
