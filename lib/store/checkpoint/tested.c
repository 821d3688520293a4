/* SPDX-License-Identifier: Apache-2.0 */
#include "store/checkpoint/tested.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/text.h"
#include "store/agent_lock.h"
#include "store/checkpoint/beside_private.h"
#include "store/checkpoint/tested_codec_private.h"
#include "store/standing_private.h"

#define SUFFIX ".tested"

const char *blx_test_check_name(enum blx_test_check check)
{
    static const char *const names[BLX_TEST_CHECKS] = {
        [BLX_TEST_FILESYSTEM] = "filesystem",
        [BLX_TEST_BOOT] = "boot",
        [BLX_TEST_SERVICES] = "services",
        [BLX_TEST_COMMAND] = "command",
    };
    return check < BLX_TEST_CHECKS ? names[check] : "?";
}

const char *blx_test_machine_name(enum blx_test_machine machine)
{
    switch (machine) {
    case BLX_TEST_KVM:
        return "KVM";
    case BLX_TEST_EMULATED:
        return "TCG";
    default:
        return "none";
    }
}

bool blx_tested_is_good(const struct blx_tested *tested)
{
    for (size_t i = 0; i < BLX_TEST_CHECKS; i++)
        if (tested->results[i] == BLX_TEST_BAD)
            return false;
    enum blx_test_check aim =
        tested->level == BLX_TEST_LEVEL_BOOT ? BLX_TEST_BOOT : BLX_TEST_FILESYSTEM;
    return tested->results[aim] == BLX_TEST_GOOD;
}

const char *blx_tested_verdict(const struct blx_tested *tested)
{
    if (!blx_tested_is_good(tested))
        return "failed";
    size_t last = BLX_TEST_CHECKS - 1;
    while (tested->results[last] != BLX_TEST_GOOD)
        last--;
    return last == BLX_TEST_BOOT ? "booted" : blx_test_check_name((enum blx_test_check)last);
}

void blx_tested_set_screen(struct blx_tested *tested, const char *text)
{
    size_t length = strlen(text), most = sizeof(tested->screen) - 1;
    if (length > most) {
        const char *from = text + length - most, *line = strchr(from, '\n');
        text = line != NULL && line[1] != '\0' ? line + 1 : from;
    }
    blx_text_set(tested->screen, text);
}

/* Under the chains' lock, as a pin is: either a prune has removed the checkpoint, or it sees us. */
int blx_tested_write(struct blx_agent_store agent, const struct blx_tested *tested,
                     struct blx_error *err)
{
    char path[PATH_MAX];
    struct blx_tested_disk disk;
    BLX_CLEANUP(blx_agent_lock_close) struct blx_agent_lock lock = {.fd = -1};
    blx_tested_encode(tested, &disk);
    int rc = blx_beside_path(agent, tested->checkpoint, SUFFIX, path, err);
    if (rc == 0)
        rc = blx_agent_lock_open(agent, &lock, err);
    if (rc == 0)
        rc = blx_agent_lock_share(&lock, BLX_LOCK_CHAINS, err);
    if (rc == 0)
        rc = blx_beside_check(agent, tested->checkpoint, err);
    return rc == 0 ? blx_file_replace(path, &disk, sizeof(disk), 0600, err) : rc;
}

int blx_tested_read(struct blx_agent_store agent, blx_timestamp checkpoint,
                    struct blx_tested *tested, struct blx_error *err)
{
    char path[PATH_MAX];
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes = 0;
    struct blx_tested found = {0};
    struct blx_error cause = {0};
    int rc = blx_beside_path(agent, checkpoint, SUFFIX, path, err);
    if (rc == 0)
        rc = blx_file_read(path, 2 * sizeof(struct blx_tested_disk), &content, &bytes, err);
    if (rc < 0)
        return rc;
    rc = blx_tested_decode(content, bytes, &found, &cause);
    if (rc == 0 && found.checkpoint != checkpoint)
        rc = blx_error_set(&cause, -EBADMSG, "it is another checkpoint's");
    if (rc < 0)
        return blx_error_set(err, rc,
                             "cannot use the record of a test '%s': %s; remove it, and test again",
                             path, cause.message);
    *tested = found;
    return 0;
}

int blx_tested_list(struct blx_agent_store agent, blx_timestamp **timestamps, size_t *count,
                    struct blx_error *err)
{
    return blx_beside_list(agent, SUFFIX, timestamps, count, err);
}

enum wanted { ANY, PASSED };

static int find(struct blx_agent_store agent, enum wanted wanted, struct blx_tested *tested,
                struct blx_error *err)
{
    BLX_CLEANUP_FREE blx_timestamp *timestamps = NULL;
    size_t count = 0;
    int rc = blx_tested_list(agent, &timestamps, &count, err);
    for (size_t i = count; rc == 0 && i > 0; i--) {
        struct blx_tested found;
        int read = blx_tested_read(agent, timestamps[i - 1], &found, NULL);
        if (read == 0 && (wanted == ANY || blx_tested_is_good(&found))) {
            *tested = found;
            return 0;
        }
        if (read < 0 && read != -ENOENT && read != -EBADMSG && read != -ENOTSUP)
            rc = blx_error_errno(err, read, "cannot read a record of a test of '%s'", agent.id);
    }
    return rc == 0 ? blx_error_set(err, -ENOENT, "no checkpoint of '%s' %s a test", agent.id,
                                   wanted == ANY ? "has the record of" : "passed")
                   : rc;
}

int blx_tested_find_newest(struct blx_agent_store agent, struct blx_tested *tested,
                           struct blx_error *err)
{
    return find(agent, ANY, tested, err);
}

int blx_tested_find_proven(struct blx_agent_store agent, struct blx_tested *tested,
                           struct blx_error *err)
{
    return find(agent, PASSED, tested, err);
}

static const char told_name[] = "test-told";

static blx_timestamp begin_of(const struct blx_tested *tested)
{
    return blx_timestamp_from_unix((int64_t)(tested->begun_realtime_ns / BLX_NS_PER_S));
}

int blx_tested_note_told(struct blx_agent_store agent, const struct blx_tested *tested,
                         struct blx_error *err)
{
    int rc = blx_standing_end(agent, told_name, err);
    return rc == 0 ? blx_standing_begin(agent, told_name, begin_of(tested), err) : rc;
}

bool blx_tested_is_told(struct blx_agent_store agent, const struct blx_tested *tested)
{
    blx_timestamp told = 0;
    return blx_standing_look(agent, told_name, &told, NULL) == 1 && begin_of(tested) <= told;
}

int blx_tested_remove_locked(struct blx_agent_store agent, blx_timestamp checkpoint,
                             struct blx_error *err)
{
    return blx_beside_remove(agent, checkpoint, SUFFIX, err);
}
