/* SPDX-License-Identifier: Apache-2.0 */
#include "base/when.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/units.h"

/* What is read so far: a broken-down time, and how much of it was given. */
struct reading {
    struct tm tm;
    enum { WHOLE_DAY, WHOLE_MINUTE, SECOND } length;
    enum blx_zone zone;
    int offset_s; /* east of UTC, if the zone is UTC */
};

/* Exactly `digits` digits, as a number; -1 if there are not. Moves `text` past them. */
static int read_number(const char **text, int digits)
{
    int value = 0;
    for (int i = 0; i < digits; i++) {
        char c = (*text)[i];
        if (c < '0' || c > '9')
            return -1;
        value = value * 10 + (c - '0');
    }
    *text += digits;
    return value;
}

static bool skip(const char **text, char c)
{
    if (**text != c)
        return false;
    ++*text;
    return true;
}

static bool skip_word(const char **text, const char *word)
{
    size_t length = strlen(word);
    if (strncmp(*text, word, length) != 0)
        return false;
    *text += length;
    return true;
}

/* "2026-11-28" */
static bool read_date(const char **text, struct reading *reading)
{
    int year = read_number(text, 4);
    bool dashed = year >= 1970 && skip(text, '-');
    int month = dashed ? read_number(text, 2) : -1;
    int day = month > 0 && month <= 12 && skip(text, '-') ? read_number(text, 2) : -1;
    if (day < 1 || day > 31)
        return false;
    reading->tm.tm_year = year - 1900;
    reading->tm.tm_mon = month - 1;
    reading->tm.tm_mday = day;
    return true;
}

/* "18:00" or "18:00:05" */
static bool read_time(const char **text, struct reading *reading)
{
    int hour = read_number(text, 2);
    int minute = hour >= 0 && skip(text, ':') ? read_number(text, 2) : -1;
    if (hour > 23 || minute < 0 || minute > 59)
        return false;
    reading->tm.tm_hour = hour;
    reading->tm.tm_min = minute;
    reading->length = WHOLE_MINUTE;
    if (!skip(text, ':'))
        return true;
    reading->tm.tm_sec = read_number(text, 2);
    reading->length = SECOND;
    return reading->tm.tm_sec >= 0 && reading->tm.tm_sec <= 59;
}

/* "", "Z" or "+01:00" */
static bool read_zone(const char **text, struct reading *reading)
{
    while (skip(text, ' '))
        ;
    char sign = **text;
    if (sign == '\0')
        return true;
    reading->zone = BLX_ZONE_UTC;
    if (skip(text, 'Z'))
        return true;
    if (!skip(text, '+') && !skip(text, '-'))
        return false;
    int hours = read_number(text, 2);
    skip(text, ':');
    int minutes = hours >= 0 ? read_number(text, 2) : -1;
    if (hours > 14 || minutes < 0 || minutes > 59)
        return false;
    reading->offset_s = (sign == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
    return true;
}

/* A day and perhaps a time of it. */
static bool read_calendar(const char *text, time_t now, struct reading *reading)
{
    struct tm today;
    localtime_r(&now, &today);
    reading->tm = (struct tm){
        .tm_year = today.tm_year, .tm_mon = today.tm_mon, .tm_mday = today.tm_mday, .tm_isdst = -1};
    bool has_day = skip_word(&text, "today");
    if (!has_day && skip_word(&text, "yesterday")) {
        reading->tm.tm_mday--;
        has_day = true;
    }
    if (!has_day && strlen(text) > 4 && text[4] == '-') {
        if (!read_date(&text, reading))
            return false;
        has_day = true;
    }
    if (has_day && !skip(&text, 'T'))
        while (skip(&text, ' '))
            ;
    bool has_time = *text >= '0' && *text <= '9';
    if (!has_day && !has_time)
        return false;
    return (!has_time || read_time(&text, reading)) && read_zone(&text, reading) && *text == '\0';
}

/* -1 if there is no such time. A date such as February 30 comes back as another one. */
static time_t to_seconds(const struct reading *reading)
{
    struct tm tm = reading->tm;
    bool is_utc = reading->zone == BLX_ZONE_UTC;
    time_t seconds = is_utc ? timegm(&tm) - reading->offset_s : mktime(&tm);
    bool same_day = tm.tm_mon == reading->tm.tm_mon && tm.tm_mday == reading->tm.tm_mday;
    return same_day || reading->tm.tm_mday < 1 ? seconds : -1;
}

static time_t end_of(const struct reading *reading, time_t begin)
{
    struct reading next = *reading;
    next.tm.tm_mday++;
    struct tm tm = next.tm;
    if (reading->length == SECOND)
        return begin;
    if (reading->length == WHOLE_MINUTE)
        return begin + 59;
    return (reading->zone == BLX_ZONE_UTC ? timegm(&tm) - reading->offset_s : mktime(&tm)) - 1;
}

/* "2h ago" */
static bool read_ago(const char *text, time_t now, time_t *seconds)
{
    char amount[32];
    size_t length = strlen(text);
    uint64_t ms;
    if (length < 5 || length >= sizeof(amount) + 4 || strcmp(text + length - 4, " ago") != 0)
        return false;
    snprintf(amount, sizeof(amount), "%.*s", (int)(length - 4), text);
    if (blx_duration_parse(amount, 0, &ms, NULL) < 0 || ms == 0 || (time_t)(ms / 1000) > now)
        return false;
    *seconds = now - (time_t)(ms / 1000);
    return true;
}

int blx_when_parse(const char *text, uint64_t now_realtime_ns, blx_timestamp *first,
                   blx_timestamp *last, struct blx_error *err)
{
    time_t now = (time_t)(now_realtime_ns / BLX_NS_PER_S), begin = -1, end = -1;
    struct reading reading = {.zone = BLX_ZONE_LOCAL};
    if (text[strspn(text, "0123456789")] == '\0' && text[0] != '\0')
        return blx_timestamp_parse_range(text, first, last, err);
    if (strcmp(text, "now") == 0) {
        begin = end = now;
    } else if (read_ago(text, now, &begin)) {
        end = begin;
    } else if (read_calendar(text, now, &reading)) {
        begin = to_seconds(&reading);
        end = begin < 0 ? -1 : end_of(&reading, begin);
    }
    if (begin < 0 || blx_timestamp_from_unix(begin) == 0 || blx_timestamp_from_unix(end) == 0)
        return blx_error_set(err, -EINVAL,
                             "'%.40s' is no time: write 2026-11-28 18:00 (local, or with Z), "
                             "yesterday 18:00, 2h ago, or YYYYMMDDHHMM in UTC",
                             text);
    *first = blx_timestamp_from_unix(begin);
    *last = blx_timestamp_from_unix(end);
    return 0;
}

const char *blx_when_format(blx_timestamp timestamp, enum blx_zone zone,
                            char text[BLX_WHEN_TEXT_BYTES])
{
    time_t seconds = (time_t)blx_timestamp_to_unix(timestamp);
    struct tm tm;
    if (zone == BLX_ZONE_UTC) {
        blx_timestamp_format_rfc3339(timestamp, text);
        return text;
    }
    localtime_r(&seconds, &tm);
    size_t used = strftime(text, BLX_WHEN_TEXT_BYTES, "%Y-%m-%d %H:%M:%S ", &tm);
    long minutes = labs(tm.tm_gmtoff) / 60;
    snprintf(text + used, BLX_WHEN_TEXT_BYTES - used, "%c%02ld:%02ld", tm.tm_gmtoff < 0 ? '-' : '+',
             minutes / 60 % 100, minutes % 60);
    return text;
}
