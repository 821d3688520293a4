/* SPDX-License-Identifier: Apache-2.0 */
/* The settings of one agent: between a verdict and the messages that tell of it, and compared. */
#include <errno.h>
#include <string.h>

#include "base/text.h"
#include "config/policy.h"

_Static_assert((int)BLX_KEEP_RULES <= (int)BLX_VERDICT_NUMBERS, "retention");
_Static_assert((int)BLX_QUOTA_KINDS <= (int)BLX_VERDICT_NUMBERS, "quota");

void blx_policy_verdict_put(const struct blx_policy_verdict *verdict, enum blx_policy_key key,
                            struct blx_control_verdict *told)
{
    told->key = (uint32_t)key;
    memset(told->numbers, 0, sizeof(told->numbers));
    told->texts_bytes = 0;
    switch (key) {
    case BLX_POLICY_SYNC_FREQ:
        told->numbers[0] = verdict->sync_freq_ms;
        return;
    case BLX_POLICY_RETENTION:
        memcpy(told->numbers, verdict->retention.keep, sizeof(verdict->retention.keep));
        return;
    case BLX_POLICY_BANDWIDTH_LIMIT:
        if (verdict->bandwidth_limit[0] != '\0')
            told->texts_bytes = strlen(verdict->bandwidth_limit) + 1;
        memcpy(told->texts, verdict->bandwidth_limit, told->texts_bytes);
        return;
    case BLX_POLICY_EXCLUDE:
        told->texts_bytes = verdict->exclude_bytes;
        memcpy(told->texts, verdict->exclude, told->texts_bytes);
        return;
    case BLX_POLICY_QUOTA:
        memcpy(told->numbers, verdict->quota.of, sizeof(verdict->quota.of));
        return;
    case BLX_POLICY_ENCRYPTION:
        told->numbers[0] = (uint64_t)verdict->encryption;
        return;
    case BLX_POLICY_KEYS:
        return;
    }
}

int blx_policy_verdict_take(const struct blx_control_verdict *told,
                            struct blx_policy_verdict *verdict, struct blx_error *err)
{
    switch (told->key) {
    case BLX_POLICY_SYNC_FREQ:
        verdict->sync_freq_ms = told->numbers[0];
        return 0;
    case BLX_POLICY_RETENTION:
        memcpy(verdict->retention.keep, told->numbers, sizeof(verdict->retention.keep));
        return 0;
    case BLX_POLICY_BANDWIDTH_LIMIT:
        verdict->bandwidth_limit[0] = '\0';
        if (told->texts_bytes > 0)
            blx_text_set(verdict->bandwidth_limit, told->texts);
        return 0;
    case BLX_POLICY_EXCLUDE:
        verdict->exclude_bytes = told->texts_bytes;
        memcpy(verdict->exclude, told->texts, told->texts_bytes);
        return 0;
    case BLX_POLICY_QUOTA:
        memcpy(verdict->quota.of, told->numbers, sizeof(verdict->quota.of));
        return 0;
    case BLX_POLICY_ENCRYPTION:
        if (told->numbers[0] >= BLX_POLICY_ENCRYPTIONS)
            break;
        verdict->encryption = (enum blx_policy_encryption)told->numbers[0];
        return 0;
    default:
        break;
    }
    return blx_error_set(err, -EBADMSG, "the setting %u is not known here", told->key);
}

bool blx_policy_verdict_agrees(const struct blx_policy_verdict *a,
                               const struct blx_policy_verdict *b, enum blx_policy_key key)
{
    struct blx_control_verdict one = {.key = 0}, other = {.key = 0};
    blx_policy_verdict_put(a, key, &one);
    blx_policy_verdict_put(b, key, &other);
    return memcmp(one.numbers, other.numbers, sizeof(one.numbers)) == 0 &&
           one.texts_bytes == other.texts_bytes &&
           memcmp(one.texts, other.texts, one.texts_bytes) == 0;
}
