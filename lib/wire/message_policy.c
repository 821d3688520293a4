/* SPDX-License-Identifier: Apache-2.0 */
/* The body of POLICY: what the dispatcher has decided for an agent. */
#include <errno.h>
#include <string.h>

#include "wire/message_disk_private.h"
#include "wire/text_private.h"

enum { FLAG_PAUSED = 1 };

size_t blx_message_put_policy(const struct blx_message *message, uint8_t *body)
{
    const struct blx_policy_message *policy = &message->policy;
    size_t bandwidth_bytes = strnlen(policy->bandwidth_limit, BLX_POLICY_TEXT_BYTES - 1);
    size_t exclude_bytes = policy->exclude_bytes;
    if (exclude_bytes > sizeof(policy->exclude))
        exclude_bytes = sizeof(policy->exclude);
    const struct blx_policy_disk disk = {
        .sync_freq_ms = blx_le64_of(policy->sync_freq_ms),
        .flags = blx_le32_of(policy->paused ? FLAG_PAUSED : 0),
        .bandwidth_bytes = blx_le32_of((uint32_t)bandwidth_bytes),
        .exclude_bytes = blx_le32_of((uint32_t)exclude_bytes),
    };
    memcpy(body, &disk, sizeof(disk));
    memcpy(body + sizeof(disk), policy->bandwidth_limit, bandwidth_bytes);
    memcpy(body + sizeof(disk) + bandwidth_bytes, policy->exclude, exclude_bytes);
    return sizeof(disk) + bandwidth_bytes + exclude_bytes;
}

static int get_head(const struct blx_policy_disk *disk, size_t texts_bytes,
                    struct blx_policy_message *policy, struct blx_error *err)
{
    uint32_t bandwidth_bytes = blx_le32_get(disk->bandwidth_bytes);
    policy->sync_freq_ms = blx_le64_get(disk->sync_freq_ms);
    policy->exclude_bytes = blx_le32_get(disk->exclude_bytes);
    policy->paused = blx_le32_get(disk->flags) == FLAG_PAUSED;
    if (policy->sync_freq_ms == 0 || blx_le32_get(disk->flags) > FLAG_PAUSED)
        return blx_error_set(err, -EBADMSG,
                             "the time between checkpoints or the flags are out of range");
    if (bandwidth_bytes >= BLX_POLICY_TEXT_BYTES || policy->exclude_bytes > BLX_POLICY_TEXT_BYTES ||
        texts_bytes != (size_t)bandwidth_bytes + policy->exclude_bytes)
        return blx_error_set(err, -EBADMSG, "its texts have another size than its header says");
    return blx_field_check_reserved(disk->reserved, err);
}

int blx_message_get_policy(const uint8_t *body, size_t body_bytes, struct blx_message *message,
                           struct blx_error *err)
{
    struct blx_policy_disk disk;
    struct blx_policy_message *policy = &message->policy;
    memset(policy, 0, sizeof(*policy));
    memcpy(&disk, body, sizeof(disk));
    int rc = get_head(&disk, body_bytes - sizeof(disk), policy, err);
    if (rc < 0)
        return rc;
    size_t bandwidth_bytes = blx_le32_get(disk.bandwidth_bytes);
    memcpy(policy->bandwidth_limit, body + sizeof(disk), bandwidth_bytes);
    memcpy(policy->exclude, body + sizeof(disk) + bandwidth_bytes, policy->exclude_bytes);
    if (strlen(policy->bandwidth_limit) != bandwidth_bytes ||
        !blx_text_is_valid(policy->bandwidth_limit, sizeof(policy->bandwidth_limit)) ||
        !blx_field_are_texts(policy->exclude, policy->exclude_bytes))
        return blx_error_set(err, -EBADMSG, "one of its texts is not printable text");
    return 0;
}
