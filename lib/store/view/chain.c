/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/chain_private.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "store/checkpoint/manifest_file_private.h"
#include "store/damage_private.h"

/* So many checkpoints are read one by one; a longer chain is worth looking for the others. */
enum { SINGLE_STEPS = 16 };

/* What blx_manifest_each() is left with: it goes on one by one. */
enum { STEP_BY_HAND = 1 };

void blx_chain_done(struct blx_chain *chain)
{
    free(chain->segments);
    free(chain->unreadable);
    *chain = (struct blx_chain){0};
}

static int no_memory(struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot plan the restore");
}

/* One checkpoint of the chain: its segments, newest first. The volume may have grown after it. */
static int add_volume(struct blx_chain *chain, blx_timestamp checkpoint,
                      const struct blx_manifest_volume *volume, struct blx_error *err)
{
    if (chain->size_bytes == 0) {
        chain->size_bytes = volume->size_bytes;
        chain->block_shift = volume->block_shift;
    }
    if (volume->size_bytes > chain->size_bytes || volume->block_shift != chain->block_shift)
        return blx_error_set(err, -EBADMSG, "the volume has another size there");
    for (uint32_t i = volume->segment_count; i > 0; i--) {
        if (blx_array_make_room(chain->segments, chain->segment_count) < 0)
            return no_memory(err);
        chain->segments[chain->segment_count++] =
            (struct blx_chain_segment){.checkpoint = checkpoint,
                                       .size_bytes = volume->size_bytes,
                                       .number = volume->segments[i - 1]};
    }
    return 0;
}

static int unknown_volume(const struct blx_manifest *manifest, const char *volume,
                          struct blx_error *err)
{
    char known[BLX_ERROR_MESSAGE_BYTES / 2] = "";
    size_t used = 0;
    for (uint32_t i = 0; i < manifest->volume_count && used + 80 < sizeof(known); i++)
        used += (size_t)snprintf(known + used, sizeof(known) - used, "%s'%s'", i == 0 ? "" : ", ",
                                 manifest->volumes[i].name);
    return blx_error_set(err, -ENOENT, "the checkpoint %llu has no volume '%s'; it has %s",
                         (unsigned long long)manifest->timestamp, volume, known);
}

/* What the checkpoint that the chain begins with lacks. */
static int note_unreadable(struct blx_chain *chain, const struct blx_manifest_volume *volume,
                           struct blx_error *err)
{
    size_t bytes = volume->unreadable_count * sizeof(volume->unreadable[0]);
    if (bytes == 0)
        return 0;
    chain->unreadable = malloc(bytes);
    if (chain->unreadable == NULL)
        return no_memory(err);
    memcpy(chain->unreadable, volume->unreadable, bytes);
    chain->unreadable_count = volume->unreadable_count;
    return 0;
}

/* A walk down the chain. */
struct descent {
    struct blx_chain *chain;
    struct blx_agent_store agent;
    const char *volume;
    enum blx_chain_rule rule;
    struct blx_manifest_folder folder; /* of the manifests */
    blx_timestamp checkpoint;          /* where it began */
    blx_timestamp at;                  /* the next one; then its parent */
    bool base;                         /* it has ended */
};

static int add_manifest(struct descent *descent, const struct blx_manifest *manifest,
                        struct blx_error *err)
{
    bool first = descent->at == descent->checkpoint;
    int rc = 0;
    const struct blx_manifest_volume *found = blx_manifest_find(manifest, descent->volume);
    if (found == NULL && first)
        return unknown_volume(manifest, descent->volume, err);
    if (first)
        rc = note_unreadable(descent->chain, found, err);
    if (rc == 0 && found != NULL)
        rc = add_volume(descent->chain, descent->at, found, err);
    if (rc < 0)
        blx_error_prefix(err, "the checkpoint %llu needs %llu, which cannot be read",
                         (unsigned long long)descent->checkpoint, (unsigned long long)descent->at);
    else if (found == NULL || (!found->base && manifest->parent == 0))
        rc = blx_error_set(err, -EBADMSG,
                           "the chain of the checkpoint %llu is broken: no base for the volume "
                           "'%s' down to %llu",
                           (unsigned long long)descent->checkpoint, descent->volume,
                           (unsigned long long)descent->at);
    descent->base = found != NULL && found->base;
    descent->at = manifest->parent;
    return rc;
}

/* Where the rule is to go as far as possible, damage below the first checkpoint ends the chain
 * there. */
static int judge(struct descent *descent, bool first, int rc, const struct blx_error *cause,
                 struct blx_error *err)
{
    if (rc >= 0)
        return rc;
    if (blx_is_damage(rc) && descent->rule == BLX_CHAIN_PARTIAL &&
        (!first || descent->chain->size_bytes > 0)) {
        snprintf(descent->chain->cut, sizeof(descent->chain->cut), "%.250s", cause->message);
        descent->base = true;
        return 0;
    }
    return blx_error_copy(err, rc, cause);
}

static int step(struct descent *descent, struct blx_error *err)
{
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    struct blx_error cause = {0};
    bool first = descent->at == descent->checkpoint;
    int rc = blx_manifest_read_in(&descent->folder, descent->at, &manifest, &cause);
    if (rc == 0)
        rc = add_manifest(descent, &manifest, &cause);
    else if (!first)
        rc = blx_missing_is_damage(rc);
    return judge(descent, first, rc, &cause, err);
}

/* A checkpoint that is no part of the chain is passed over. Of one that cannot be read the name is
 * not known here, and one that is missing was not seen: step() finds out. */
static int visit(void *arg, const struct blx_manifest *manifest, const struct blx_error *damage,
                 struct blx_error *err)
{
    struct descent *descent = arg;
    struct blx_error cause = {0};
    if (damage != NULL || manifest->timestamp < descent->at)
        return STEP_BY_HAND;
    if (manifest->timestamp > descent->at)
        return 0;
    int rc = judge(descent, false, add_manifest(descent, manifest, &cause), &cause, err);
    return rc == 0 && descent->base ? STEP_BY_HAND : rc;
}

/* The checkpoints up to the next one of the chain, many at once: the newest first. */
static int leap(struct descent *descent, struct blx_error *err)
{
    BLX_CLEANUP_FREE blx_timestamp *all = NULL;
    size_t count = 0;
    int rc = blx_manifest_list(descent->agent, 0, descent->at, &all, &count, err);
    for (size_t i = 0; i < count / 2; i++) {
        blx_timestamp kept = all[i];
        all[i] = all[count - 1 - i];
        all[count - 1 - i] = kept;
    }
    if (rc == 0)
        rc = blx_manifest_each(descent->agent, all, count, visit, descent, err);
    return rc == STEP_BY_HAND ? 0 : rc;
}

static int walk(struct descent *descent, struct blx_error *err)
{
    int rc = 0;
    for (unsigned steps = 1; rc == 0 && !descent->base; steps++) {
        rc = step(descent, err);
        if (rc == 0 && !descent->base && steps % SINGLE_STEPS == 0)
            rc = leap(descent, err);
    }
    return rc;
}

int blx_chain_walk(struct blx_agent_store agent, blx_timestamp checkpoint, const char *volume,
                   enum blx_chain_rule rule, struct blx_chain *chain, struct blx_error *err)
{
    struct descent descent = {.chain = chain,
                              .agent = agent,
                              .volume = volume,
                              .rule = rule,
                              .checkpoint = checkpoint,
                              .at = checkpoint};
    int rc = blx_manifest_folder_open(agent, &descent.folder, err);
    if (rc < 0)
        return rc;
    rc = walk(&descent, err);
    close(descent.folder.fd);
    return rc;
}
