/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The option table, and how an option's text becomes a value. For flags.c, file.c, document.c,
 * config.c and help.c. Private to lib/config.
 *
 * Threads: the table is constant; a config belongs to one thread while it is filled.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "config/config.h"

enum blx_option_kind {
    BLX_OPTION_HELP,
    BLX_OPTION_VERSION,
    BLX_OPTION_TEXT,
    BLX_OPTION_NAME,       /* an agent's ID */
    BLX_OPTION_TIME,       /* YYYYMMDDHHMM[SS] */
    BLX_OPTION_CHECKPOINT, /* a time, or "latest" */
    BLX_OPTION_DIAL,       /* HOST:PORT to connect to, or several, which add up in one text */
    BLX_OPTION_LISTEN,     /* [HOST]:PORT to listen on */
    BLX_OPTION_LIST,       /* texts that add up */
    BLX_OPTION_MODE,
    BLX_OPTION_LOG_FORMAT,
    BLX_OPTION_CODEC,
    BLX_OPTION_IMAGE_FORMAT,
    BLX_OPTION_BOOL,
    BLX_OPTION_DURATION,
    BLX_OPTION_SIZE,
    BLX_OPTION_COUNT, /* a whole number */
    BLX_OPTION_BANDWIDTH,
    BLX_OPTION_SPARE_TEXT, /* a text that may be missing: then it is empty */
    BLX_OPTION_CHOICE,     /* one of the words that `argument` has; an enum in their order */
};

enum { BLX_KEEP_MOST = 1000000 }; /* of a rule of retention */

struct blx_option {
    struct blx_option_info info;
    enum blx_option_kind kind;
    uint64_t flag_only_for; /* commands for which the file's value does not count */
    uint64_t word_for;      /* commands that take the value also as a word without a name */
    size_t offset;          /* of the field in struct blx_config */
    size_t count_offset;    /* for a list: of the field with the number of its texts */
    const char *too_many; /* for a list, which has at most BLX_MAX_VOLUMES: of what, the way out */
    const char *fallback; /* the default as text; NULL: none */
    const char *example;  /* a valid value as the file writes it */
    uint64_t unit_ms;     /* the unit of a duration without a suffix */
    uint64_t low, high; /* bounds of a duration in ms, a size in bytes or a count, both included */
};

/* The option number `index`; NULL after the last. */
const struct blx_option *blx_option_at(size_t index);

/* By name, of which `length` bytes count; NULL if there is none. */
const struct blx_option *blx_option_find(const char *name, size_t length);

/* The same. If several options have that name (they never share a command) the one that `commands`
 * take. */
const struct blx_option *blx_option_find_for(const char *name, size_t length, uint64_t commands);

/* The name nearest to `name`, among the flags that `command` takes or among the file's keys; NULL
 * if none is near. */
const char *blx_option_nearest_flag(const char *name, enum blx_command command);
const char *blx_option_nearest_key(const char *name);

/* Sets the option's field from text; of a LIST or a DIAL, appends. -EINVAL with cause and hint, but
 * without the option's name. */
int blx_option_set(const struct blx_option *option, const char *text, struct blx_config *config,
                   struct blx_error *err);

/* "yes", "true", "on", "1" and their opposites. */
bool blx_bool_parse(const char *text, bool *value);

/* Whether its values add up. */
bool blx_option_adds_up(const struct blx_option *option);

/* Frees what has added up. */
void blx_option_clear(const struct blx_option *option, struct blx_config *config);

/* A command line. */
struct blx_flags {
    enum blx_command command;
    int argc;
    char **argv;
};

/*
 * Lays the flags over `config`. `result` says whether --help or --version was among them. Every
 * flag is checked, so that a second call with the same flags succeeds.
 */
int blx_flags_apply(const struct blx_flags *flags, struct blx_config *config,
                    enum blx_config_result *result, struct blx_error *err);

/* Lays the file over `config`; `lines` counts its lines. -ENOENT if it is missing. */
int blx_config_file_apply(const char *path, struct blx_config *config, unsigned *lines,
                          struct blx_error *err);
