/* SPDX-License-Identifier: Apache-2.0 */
#include "base/bandwidth.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "base/units.h"

enum {
    DAY_MINUTES = 24 * 60,
    WEEK_MINUTES = 7 * DAY_MINUTES,
    RULE_MAX_BYTES = 64,
    ALL_DAYS = 0x7f
};

static const char example[] = "write RATE, or rules such as  mon-fri 08:00-18:00 2M, 20M";

static int parse_day(const char *text, size_t length)
{
    static const char *const names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
    for (int day = 0; day < 7; day++) {
        if (length == 3 && memcmp(text, names[day], 3) == 0)
            return day;
    }
    return -EINVAL;
}

/* "fri", "mon-fri", also over the weekend: "sat-mon". */
static bool parse_days(const char *word, uint8_t *days)
{
    size_t length = strcspn(word, "-");
    int first = parse_day(word, length);
    int last =
        word[length] == '-' ? parse_day(word + length + 1, strlen(word + length + 1)) : first;
    if (first < 0 || last < 0)
        return false;
    *days = 0;
    for (int day = first;; day = (day + 1) % 7) {
        *days |= (uint8_t)(1 << day);
        if (day == last)
            return true;
    }
}

static int parse_rate(const char *word, uint64_t *bytes_per_second, struct blx_error *err)
{
    uint64_t rate = 0;
    if (strcmp(word, "none") != 0 && blx_size_parse(word, &rate, NULL) < 0)
        return blx_error_set(
            err, -EINVAL, "'%.40s' is not a rate: give bytes a second, such as 10M, or none", word);
    if (rate > 0 && rate < BLX_BANDWIDTH_MIN_BYTES)
        return blx_error_set(err, -EINVAL,
                             "'%.40s' bytes a second are too few: give at least 1K, or none", word);
    *bytes_per_second = rate;
    return 0;
}

/* One rule, without its comma. */
static int parse_rule(char *text, struct blx_bandwidth_rule *rule, struct blx_error *err)
{
    char *words[4], *rest;
    size_t count = 0;
    char whole[RULE_MAX_BYTES];
    blx_text_set(whole, text);
    for (char *word = strtok_r(text, " ", &rest); word != NULL && count < 4;
         word = strtok_r(NULL, " ", &rest))
        words[count++] = word;
    if (count == 0)
        return blx_error_set(err, -EINVAL, "a rule is empty: %s", example);
    *rule = (struct blx_bandwidth_rule){.days = ALL_DAYS, .hours.end_minute = DAY_MINUTES};
    size_t used = 0;
    if (used + 1 < count && parse_days(words[used], &rule->days))
        used++;
    if (used + 1 < count && blx_hours_parse(words[used], &rule->hours) == 0)
        used++;
    if (used + 1 != count)
        return blx_error_set(
            err, -EINVAL,
            "'%.20s' in '%.60s' is neither days (mon-fri) nor a time (08:00-18:00): %s",
            words[used], whole, example);
    return parse_rate(words[used], &rule->bytes_per_second, err);
}

int blx_bandwidth_parse(const char *text, struct blx_bandwidth *limit, struct blx_error *err)
{
    struct blx_bandwidth parsed = {0};
    for (const char *from = text;; from++) {
        size_t length = strcspn(from, ",");
        char rule[RULE_MAX_BYTES];
        if (length >= sizeof(rule))
            return blx_error_set(err, -EINVAL, "'%.40s...' is not a rule: %s", from, example);
        if (parsed.rule_count == BLX_BANDWIDTH_MAX_RULES)
            return blx_error_set(err, -EINVAL, "more than %d rules", BLX_BANDWIDTH_MAX_RULES);
        memcpy(rule, from, length);
        rule[length] = '\0';
        int rc = parse_rule(rule, &parsed.rules[parsed.rule_count++], err);
        if (rc < 0)
            return rc;
        from += length;
        if (*from == '\0')
            break;
    }
    *limit = parsed;
    return 0;
}

/* `minute` counts from the beginning of Sunday. */
static bool rule_matches(const struct blx_bandwidth_rule *rule, unsigned minute)
{
    unsigned day = minute / DAY_MINUTES, of_day = minute % DAY_MINUTES;
    bool today = (rule->days >> day & 1) != 0;
    if (rule->hours.from_minute < rule->hours.end_minute)
        return today && of_day >= rule->hours.from_minute && of_day < rule->hours.end_minute;
    bool yesterday = (rule->days >> (day + 6) % 7 & 1) != 0;
    return (today && of_day >= rule->hours.from_minute) ||
           (yesterday && of_day < rule->hours.end_minute);
}

static uint64_t rate_at(const struct blx_bandwidth *limit, unsigned minute)
{
    for (uint32_t i = 0; i < limit->rule_count; i++) {
        if (rule_matches(&limit->rules[i], minute))
            return limit->rules[i].bytes_per_second;
    }
    return 0;
}

uint64_t blx_bandwidth_at(const struct blx_bandwidth *limit, const struct tm *when,
                          unsigned *minutes)
{
    unsigned now = (unsigned)(when->tm_wday * DAY_MINUTES + when->tm_hour * 60 + when->tm_min);
    uint64_t rate = rate_at(limit, now);
    if (minutes == NULL)
        return rate;
    *minutes = 0;
    for (unsigned ahead = 1; ahead < WEEK_MINUTES && *minutes == 0; ahead++) {
        if (rate_at(limit, (now + ahead) % WEEK_MINUTES) != rate)
            *minutes = ahead;
    }
    return rate;
}
