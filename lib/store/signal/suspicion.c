/* SPDX-License-Identifier: Apache-2.0 */
#include "store/signal/suspicion.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/when.h"
#include "store/agent_lock.h"
#include "store/checkpoint/beside_private.h"
#include "store/signal/suspicion_codec_private.h"

#define SUFFIX ".suspicious"

/* Under the chains' lock, as a pin is. */
int blx_suspicion_write(struct blx_agent_store agent, const struct blx_suspicion *suspicion,
                        struct blx_error *err)
{
    char path[PATH_MAX];
    struct blx_suspicion_disk disk;
    BLX_CLEANUP(blx_agent_lock_close) struct blx_agent_lock lock = {.fd = -1};
    blx_suspicion_encode(suspicion, &disk);
    int rc = blx_beside_path(agent, suspicion->checkpoint, SUFFIX, path, err);
    if (rc == 0)
        rc = blx_agent_lock_open(agent, &lock, err);
    if (rc == 0)
        rc = blx_agent_lock_share(&lock, BLX_LOCK_CHAINS, err);
    if (rc == 0)
        rc = blx_beside_check(agent, suspicion->checkpoint, err);
    return rc == 0 ? blx_file_replace(path, &disk, sizeof(disk), 0600, err) : rc;
}

int blx_suspicion_read(struct blx_agent_store agent, blx_timestamp checkpoint,
                       struct blx_suspicion *suspicion, struct blx_error *err)
{
    char path[PATH_MAX];
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes = 0;
    struct blx_suspicion found = {0};
    struct blx_error cause = {0};
    int rc = blx_beside_path(agent, checkpoint, SUFFIX, path, err);
    if (rc == 0)
        rc = blx_file_read(path, 2 * sizeof(struct blx_suspicion_disk), &content, &bytes, err);
    if (rc < 0)
        return rc;
    rc = blx_suspicion_decode(content, bytes, &found, &cause);
    if (rc == 0 && found.checkpoint != checkpoint)
        rc = blx_error_set(&cause, -EBADMSG, "it is another checkpoint's");
    if (rc < 0)
        return blx_error_set(err, rc, "cannot use the mark '%s': %s; remove it if it is not needed",
                             path, cause.message);
    *suspicion = found;
    return 0;
}

int blx_suspicion_list(struct blx_agent_store agent, blx_timestamp **timestamps, size_t *count,
                       struct blx_error *err)
{
    return blx_beside_list(agent, SUFFIX, timestamps, count, err);
}

int blx_suspicion_find_newest(struct blx_agent_store agent, struct blx_suspicion *suspicion,
                              struct blx_error *err)
{
    BLX_CLEANUP_FREE blx_timestamp *timestamps = NULL;
    size_t count = 0;
    int rc = blx_suspicion_list(agent, &timestamps, &count, err);
    for (size_t i = count; rc == 0 && i > 0; i--) {
        int read = blx_suspicion_read(agent, timestamps[i - 1], suspicion, NULL);
        if (read == 0)
            return 0;
        if (read != -ENOENT && read != -EBADMSG && read != -ENOTSUP)
            rc = blx_error_errno(err, read, "cannot read the mark of a checkpoint of '%s'",
                                 agent.id);
    }
    return rc == 0
               ? blx_error_set(err, -ENOENT, "no checkpoint of '%s' counts as suspicious", agent.id)
               : rc;
}

int blx_suspicion_remove_locked(struct blx_agent_store agent, blx_timestamp checkpoint,
                                struct blx_error *err)
{
    return blx_beside_remove(agent, checkpoint, SUFFIX, err);
}

static void print_timestamp(struct blx_json *json, const char *key, blx_timestamp timestamp)
{
    char digits[BLX_TIMESTAMP_TEXT_BYTES];
    if (timestamp == 0) {
        blx_json_null(json, key);
        return;
    }
    blx_timestamp_format(timestamp, digits);
    blx_json_string(json, key, digits);
}

void blx_suspicion_print_json(struct blx_json *json, const char *key,
                              const struct blx_suspicion *suspicion)
{
    const struct blx_change *change = &suspicion->change;
    const int64_t judged_s = (int64_t)(suspicion->judged_realtime_ns / BLX_NS_PER_S);
    char time[BLX_WHEN_TEXT_BYTES];
    blx_json_open(json, key, '{');
    print_timestamp(json, "checkpoint", suspicion->checkpoint);
    print_timestamp(json, "since", suspicion->since);
    print_timestamp(json, "calm", suspicion->calm);
    blx_json_string(json, "time",
                    blx_when_format(blx_timestamp_from_unix(judged_s), BLX_ZONE_UTC, time));
    blx_json_string(json, "kind", blx_signal_kind_name(suspicion->kind));
    blx_json_string(json, "sensitivity", blx_sensitivity_name(suspicion->sensitivity));
    blx_json_string(json, "reason", suspicion->reason);
    blx_json_number(json, "data_bytes", change->data_bytes);
    blx_json_number(json, "hard_bytes", change->hard_bytes);
    blx_json_number(json, "changed_bytes", change->changed_bytes);
    blx_json_number(json, "zeroed_bytes", change->zeroed_bytes);
    blx_json_number(json, "fresh_bytes", change->fresh_bytes);
    blx_json_number(json, "fresh_hard_bytes", change->fresh_hard_bytes);
    blx_json_number(json, "replaced_bytes", change->replaced_bytes);
    blx_json_number(json, "packed_before_bytes", change->packed_before_bytes);
    blx_json_number(json, "packed_after_bytes", change->packed_after_bytes);
    blx_json_number(json, "hardened_bytes", change->hardened_bytes);
    blx_json_close(json, '}');
}
