/* SPDX-License-Identifier: Apache-2.0 */
/* How an option's text becomes a value: one function for each kind of option. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/bandwidth.h"
#include "base/cleanup.h"
#include "base/name.h"
#include "base/timestamp.h"
#include "base/units.h"
#include "base/when.h"
#include "config/option_private.h"
#include "store/restore/image_format.h"
#include "tls/tls.h"
#include "wire/frame.h"

bool blx_bool_parse(const char *text, bool *value)
{
    static const char *const words[][2] = {
        {"no", "yes"}, {"false", "true"}, {"off", "on"}, {"0", "1"}};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        for (int truth = 0; truth < 2; truth++) {
            if (strcasecmp(text, words[i][truth]) == 0) {
                *value = truth == 1;
                return true;
            }
        }
    }
    return false;
}

static int set_text(void *field, const char *text, struct blx_error *err)
{
    char *copy = strdup(text);
    if (copy == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot keep '%.40s'", text);
    char **target = field;
    free(*target);
    *target = copy;
    return 0;
}

struct list {
    char ***texts;
    size_t *count;
};

static struct list list_of(const struct blx_option *option, struct blx_config *config)
{
    return (struct list){.texts = (void *)((char *)config + option->offset),
                         .count = (void *)((char *)config + option->count_offset)};
}

static int append_text(const struct blx_option *option, struct blx_config *config, const char *text,
                       struct blx_error *err)
{
    struct list list = list_of(option, config);
    if (*list.count >= BLX_MAX_VOLUMES)
        return blx_error_set(err, -EINVAL, "more than %d %s", BLX_MAX_VOLUMES, option->too_many);
    for (size_t i = 0; i < *list.count; i++) {
        if (strcmp((*list.texts)[i], text) == 0)
            return blx_error_set(err, -EINVAL, "'%s' is named twice: leave one out", text);
    }
    int rc = blx_array_make_room(*list.texts, *list.count);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot keep '%.40s'", text);
    char **entry = &(*list.texts)[*list.count];
    *entry = NULL;
    rc = set_text(entry, text, err);
    if (rc == 0)
        ++*list.count;
    return rc;
}

bool blx_option_adds_up(const struct blx_option *option)
{
    return option->kind == BLX_OPTION_LIST || option->kind == BLX_OPTION_DIAL;
}

void blx_option_clear(const struct blx_option *option, struct blx_config *config)
{
    if (option->kind == BLX_OPTION_DIAL) {
        char **text = (void *)((char *)config + option->offset);
        free(*text);
        *text = NULL;
    }
    if (option->kind != BLX_OPTION_LIST)
        return;
    struct list list = list_of(option, config);
    for (size_t i = 0; i < *list.count; i++)
        free((*list.texts)[i]);
    free(*list.texts);
    *list.texts = NULL;
    *list.count = 0;
}

static int set_mode(enum blx_mode *mode, const char *text, struct blx_error *err)
{
    if (strcmp(text, "agent") == 0)
        *mode = BLX_MODE_AGENT;
    else if (strcmp(text, "dispatcher") == 0)
        *mode = BLX_MODE_DISPATCHER;
    else
        return blx_error_set(err, -EINVAL, "'%.40s' is not a mode: write agent or dispatcher",
                             text);
    return 0;
}

static int set_log_format(enum blx_log_format *format, const char *text, struct blx_error *err)
{
    if (strcmp(text, "text") == 0)
        *format = BLX_LOG_TIMED;
    else if (strcmp(text, "json") == 0)
        *format = BLX_LOG_JSON;
    else
        return blx_error_set(err, -EINVAL, "'%.40s' is no format of the log: write text or json",
                             text);
    return 0;
}

static int check_bounds(const struct blx_option *option, const char *text, uint64_t value,
                        struct blx_error *err)
{
    if (value >= option->low && value <= option->high)
        return 0;
    char low[BLX_UNIT_TEXT_BYTES], high[BLX_UNIT_TEXT_BYTES];
    if (option->kind == BLX_OPTION_SIZE) {
        blx_size_format(option->low, low);
        blx_size_format(option->high, high);
    } else {
        blx_duration_format(option->low, low);
        blx_duration_format(option->high, high);
    }
    return blx_error_set(err, -EINVAL, "'%.40s' is out of range: give %s to %s", text, low, high);
}

static int set_amount(const struct blx_option *option, uint64_t *field, const char *text,
                      struct blx_error *err)
{
    uint64_t value = 0;
    int rc = option->kind == BLX_OPTION_SIZE
                 ? blx_size_parse(text, &value, err)
                 : blx_duration_parse(text, option->unit_ms, &value, err);
    if (rc == 0)
        rc = check_bounds(option, text, value, err);
    if (rc == 0)
        *field = value;
    return rc;
}

static int set_count(const struct blx_option *option, uint64_t *field, const char *text,
                     struct blx_error *err)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0 || value < option->low ||
        value > option->high)
        return blx_error_set(err, -EINVAL,
                             "'%.40s' is not a whole number from %" PRIu64 " to %" PRIu64, text,
                             option->low, option->high);
    *field = value;
    return 0;
}

/* "none|user": the number of the word that the text is. */
static int set_choice(const char *choices, unsigned *field, const char *text, struct blx_error *err)
{
    unsigned number = 0;
    for (const char *word = choices; *word != '\0'; number++) {
        size_t length = strcspn(word, "|");
        if (strlen(text) == length && strncmp(word, text, length) == 0) {
            *field = number;
            return 0;
        }
        word += length + (word[length] == '|');
    }
    return blx_error_set(err, -EINVAL, "'%.40s' is none of %s: write one of them", text, choices);
}

static int check_time(const char *text, struct blx_error *err)
{
    blx_timestamp first, last;
    return blx_when_parse(text, blx_clock_realtime_ns(), &first, &last, err);
}

static int check_address(enum blx_option_kind kind, const char *text, struct blx_error *err)
{
    char host[256], port[8];
    int rc = blx_address_split(text, host, port, err);
    if (rc < 0)
        return rc;
    if (kind == BLX_OPTION_DIAL && host[0] == '\0')
        return blx_error_set(err, -EINVAL,
                             "'%.80s' has no host: write HOST:PORT, such as localhost:8080", text);
    return 0;
}

static int check_text(enum blx_option_kind kind, const char *text, struct blx_error *err)
{
    switch (kind) {
    case BLX_OPTION_NAME:
        return blx_name_check("agent ID", text, err);
    case BLX_OPTION_TIME:
        return check_time(text, err);
    case BLX_OPTION_CHECKPOINT:
        return strcmp(text, "latest") == 0 ? 0 : check_time(text, err);
    case BLX_OPTION_LISTEN:
        return check_address(kind, text, err);
    default:
        return 0;
    }
}

static bool has_address(const char *list, const char *address)
{
    char one[BLX_ADDRESS_BYTES];
    for (size_t i = 0; list != NULL && blx_address_pick(list, i, one); i++)
        if (strcmp(one, address) == 0)
            return true;
    return false;
}

static int append_address(char **list, const char *address, struct blx_error *err)
{
    const size_t used = *list != NULL ? strlen(*list) + 1 : 0;
    int rc = check_address(BLX_OPTION_DIAL, address, err);
    if (rc < 0)
        return rc;
    if (has_address(*list, address))
        return blx_error_set(err, -EINVAL, "'%.80s' is named twice: leave one out", address);
    if (used + strlen(address) >= BLX_TEXT_BYTES)
        return blx_error_set(err, -EINVAL,
                             "the addresses have more than %d characters together: give a host one "
                             "name for all of its addresses",
                             BLX_TEXT_BYTES - 1);
    char *joined = NULL;
    if (asprintf(&joined, "%s%s%s", used > 0 ? *list : "", used > 0 ? "," : "", address) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot keep '%.40s'", address);
    free(*list);
    *list = joined;
    return 0;
}

/* One address, or several with commas between them. */
static int append_addresses(char **list, const char *text, struct blx_error *err)
{
    char one[BLX_ADDRESS_BYTES];
    int rc = 0;
    for (size_t i = 0; rc == 0 && blx_address_pick(text, i, one); i++)
        rc = append_address(list, one, err);
    return rc;
}

/* "auto" means zstd at a level that adapts. The only option of the kind CODEC is `compression`. */
static int set_codec(struct blx_config *config, const char *text, struct blx_error *err)
{
    bool adapts = strcmp(text, "auto") == 0;
    int rc = blx_codec_parse(adapts ? "zstd" : text, &config->compression, err);
    if (rc == 0)
        config->compression_adapts = adapts;
    return rc;
}

static int set_bool(bool *field, const char *text, struct blx_error *err)
{
    if (!blx_bool_parse(text, field))
        return blx_error_set(err, -EINVAL, "'%.40s' is neither yes nor no: write yes or no", text);
    return 0;
}

int blx_option_set(const struct blx_option *option, const char *text, struct blx_config *config,
                   struct blx_error *err)
{
    void *field = (char *)config + option->offset;
    if (text[0] == '\0' && option->kind != BLX_OPTION_SPARE_TEXT)
        return blx_error_set(err, -EINVAL, "the value is empty: write one, such as %s",
                             option->example);
    int rc = check_text(option->kind, text, err);
    if (rc < 0)
        return rc;
    switch (option->kind) {
    case BLX_OPTION_MODE:
        return set_mode(field, text, err);
    case BLX_OPTION_LOG_FORMAT:
        return set_log_format(field, text, err);
    case BLX_OPTION_CODEC:
        return set_codec(config, text, err);
    case BLX_OPTION_IMAGE_FORMAT:
        return blx_image_format_parse(text, field, err);
    case BLX_OPTION_BOOL:
        return set_bool(field, text, err);
    case BLX_OPTION_DURATION:
    case BLX_OPTION_SIZE:
        return set_amount(option, field, text, err);
    case BLX_OPTION_COUNT:
        return set_count(option, field, text, err);
    case BLX_OPTION_BANDWIDTH:
        return blx_bandwidth_parse(text, field, err);
    case BLX_OPTION_CHOICE:
        return set_choice(option->info.argument, field, text, err);
    case BLX_OPTION_LIST:
        return append_text(option, config, text, err);
    case BLX_OPTION_DIAL:
        return append_addresses(field, text, err);
    default:
        return set_text(field, text, err);
    }
}
