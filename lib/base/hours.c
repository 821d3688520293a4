/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hours.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum { DAY_MINUTES = 24 * 60, DAYS_AHEAD = 2 };

static bool parse_two_digits(const char *text, unsigned *value)
{
    if (text[0] < '0' || text[0] > '9' || text[1] < '0' || text[1] > '9')
        return false;
    *value = (unsigned)(text[0] - '0') * 10 + (unsigned)(text[1] - '0');
    return true;
}

/* "08:30". The caller has made sure that there are five bytes. */
static bool parse_minute(const char *text, uint16_t *minute)
{
    unsigned hours, minutes;
    if (!parse_two_digits(text, &hours) || text[2] != ':' || !parse_two_digits(text + 3, &minutes))
        return false;
    *minute = (uint16_t)(hours * 60 + minutes);
    return minutes < 60 && *minute <= DAY_MINUTES;
}

int blx_hours_parse(const char *text, struct blx_hours *hours)
{
    struct blx_hours parsed;
    if (strlen(text) != 11 || text[5] != '-' || !parse_minute(text, &parsed.from_minute) ||
        !parse_minute(text + 6, &parsed.end_minute) || parsed.from_minute >= DAY_MINUTES ||
        parsed.end_minute == 0 || parsed.from_minute == parsed.end_minute)
        return -EINVAL;
    *hours = parsed;
    return 0;
}

static bool are_given(const struct blx_hours *hours)
{
    return hours->end_minute != 0;
}

const char *blx_hours_format(const struct blx_hours *hours, char text[BLX_HOURS_TEXT_BYTES])
{
    text[0] = '\0';
    if (are_given(hours))
        snprintf(text, BLX_HOURS_TEXT_BYTES, "%02u:%02u-%02u:%02u", hours->from_minute / 60U % 100,
                 hours->from_minute % 60U, hours->end_minute / 60U % 100, hours->end_minute % 60U);
    return text;
}

/* The first time that the clock shows this minute of the day. A minute that it skips is as much
 * after the gap as it would be after its begin. */
static time_t find_minute(const struct tm *today, int days, unsigned minute)
{
    struct tm wanted = {.tm_year = today->tm_year,
                        .tm_mon = today->tm_mon,
                        .tm_mday = today->tm_mday + days,
                        .tm_min = (int)minute,
                        .tm_isdst = -1};
    struct tm summer = wanted, shown;
    time_t found = mktime(&wanted);
    if (daylight == 0)
        return found;
    summer.tm_isdst = 1;
    time_t earlier = mktime(&summer);
    bool is_same = localtime_r(&earlier, &shown) != NULL && shown.tm_hour == wanted.tm_hour &&
                   shown.tm_min == wanted.tm_min && shown.tm_mday == wanted.tm_mday;
    return is_same && earlier < found ? earlier : found;
}

bool blx_hours_find(const struct blx_hours *hours, time_t now, time_t *begin, time_t *end)
{
    struct tm today;
    *begin = 0;
    *end = (time_t)INT64_MAX;
    if (!are_given(hours) || localtime_r(&now, &today) == NULL)
        return true;
    const int later = hours->from_minute >= hours->end_minute ? 1 : 0;
    for (int day = -1; day <= DAYS_AHEAD; day++) {
        *end = find_minute(&today, day + later, hours->end_minute);
        if (now >= *end)
            continue;
        *begin = find_minute(&today, day, hours->from_minute);
        break;
    }
    return now >= *begin && now < *end;
}
