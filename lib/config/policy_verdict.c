/* SPDX-License-Identifier: Apache-2.0 */
/* The settings of one agent: between a verdict and the messages that tell of it, and compared. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "config/policy.h"

_Static_assert((int)BLX_KEEP_RULES <= (int)BLX_VERDICT_NUMBERS, "retention");
_Static_assert((int)BLX_QUOTA_KINDS <= (int)BLX_VERDICT_NUMBERS, "quota");

enum test_number { TEST_EVERY, TEST_WITHIN, TEST_LEVEL, TEST_FROM, TEST_END };

/* What the texts begin with: one that is empty has none. */
#define EXPECT  "expect="
#define COMMAND "command="

static void put_text(struct blx_control_verdict *told, const char *name, const char *text)
{
    size_t room = sizeof(told->texts) - told->texts_bytes;
    if (text[0] != '\0')
        told->texts_bytes +=
            (size_t)snprintf(told->texts + told->texts_bytes, room, "%s%s", name, text) + 1;
}

_Static_assert(sizeof(EXPECT) + sizeof(COMMAND) + BLX_POLICY_EXPECT_BYTES +
                       BLX_POLICY_COMMAND_BYTES <
                   BLX_POLICY_TEXT_BYTES,
               "they fit");

static void put_test(const struct blx_policy_test *test, struct blx_control_verdict *told)
{
    if (test->every_ms == 0)
        return;
    told->numbers[TEST_EVERY] = test->every_ms;
    told->numbers[TEST_WITHIN] = test->within_ms;
    told->numbers[TEST_LEVEL] = test->level;
    told->numbers[TEST_FROM] = test->hours.from_minute;
    told->numbers[TEST_END] = test->hours.end_minute;
    put_text(told, EXPECT, test->expect);
    put_text(told, COMMAND, test->command);
}

/* False: it does not fit. Texts of other names are passed over. */
static bool take_text(const char *text, struct blx_policy_test *test)
{
    if (strncmp(text, EXPECT, sizeof(EXPECT) - 1) == 0) {
        blx_text_set(test->expect, text + sizeof(EXPECT) - 1);
        return strlen(text) - sizeof(EXPECT) + 1 < sizeof(test->expect);
    }
    if (strncmp(text, COMMAND, sizeof(COMMAND) - 1) == 0) {
        blx_text_set(test->command, text + sizeof(COMMAND) - 1);
        return strlen(text) - sizeof(COMMAND) + 1 < sizeof(test->command);
    }
    return true;
}

/* False: it is none. */
static bool take_test(const struct blx_control_verdict *told, struct blx_policy_test *test)
{
    enum { DAY_MINUTES = 24 * 60 };
    const uint64_t *numbers = told->numbers;
    *test = (struct blx_policy_test){.every_ms = numbers[TEST_EVERY]};
    if (test->every_ms == 0)
        return true;
    if (numbers[TEST_FROM] >= DAY_MINUTES || numbers[TEST_END] > DAY_MINUTES ||
        numbers[TEST_LEVEL] < 1 || numbers[TEST_LEVEL] > 2)
        return false;
    test->within_ms = numbers[TEST_WITHIN];
    test->level = numbers[TEST_LEVEL];
    test->hours.from_minute = (uint16_t)numbers[TEST_FROM];
    test->hours.end_minute = (uint16_t)numbers[TEST_END];
    /* Each has its NUL (wire/message_rules.c). */
    for (size_t at = 0; at < told->texts_bytes; at += strlen(told->texts + at) + 1)
        if (!take_text(told->texts + at, test))
            return false;
    return true;
}

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
    case BLX_POLICY_RESTORE_TEST:
        put_test(&verdict->test, told);
        return;
    case BLX_POLICY_SUSPICIOUS:
        told->numbers[0] = (uint64_t)verdict->suspicious;
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
    case BLX_POLICY_RESTORE_TEST:
        if (!take_test(told, &verdict->test))
            break;
        return 0;
    case BLX_POLICY_SUSPICIOUS:
        if (told->numbers[0] >= BLX_SENSITIVITIES)
            break;
        verdict->suspicious = (enum blx_sensitivity)told->numbers[0];
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
