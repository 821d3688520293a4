/* SPDX-License-Identifier: Apache-2.0 */
/* The command line: its words become options of the table. */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "config/option_private.h"

enum { LIST_WORDS = 4 };

struct cursor {
    const struct blx_flags *flags;
    int next;
    uint64_t lists_begun[LIST_WORDS]; /* bits by the option's place in the table */
};

static const char *peek(const struct cursor *at)
{
    return at->next < at->flags->argc ? at->flags->argv[at->next] : NULL;
}

static int unknown_flag(const char *name, enum blx_command command, struct blx_error *err)
{
    const char *nearest = blx_option_nearest_flag(name, command);
    if (blx_option_find(name, strlen(name)) != NULL)
        return blx_error_set(err, -EINVAL,
                             "'--%s' is not an option of this command: --help lists its options",
                             name);
    if (nearest != NULL)
        return blx_error_set(err, -EINVAL, "unknown option '--%.80s': did you mean --%s?", name,
                             nearest);
    return blx_error_set(err, -EINVAL, "unknown option '--%.80s': --help lists the options", name);
}

/* A switch stands alone or has "=value". If its help names values, the next word can be one too. */
static const char *take_bool(const struct blx_option *option, struct cursor *at)
{
    bool ignored;
    const char *word = peek(at);
    if (option->info.argument == NULL || word == NULL || !blx_bool_parse(word, &ignored))
        return "yes";
    at->next++;
    return word;
}

static int take_value(const struct blx_option *option, struct cursor *at, const char **value,
                      struct blx_error *err)
{
    const char *word = peek(at);
    if (option->kind == BLX_OPTION_BOOL) {
        *value = take_bool(option, at);
        return 0;
    }
    if (option->kind == BLX_OPTION_SPARE_TEXT) {
        *value = "";
        return 0;
    }
    /* So that a forgotten value never swallows the option after it. */
    if (word == NULL || strncmp(word, "--", 2) == 0)
        return blx_error_set(err, -EINVAL, "'--%s' needs a value: write --%s=%s", option->info.name,
                             option->info.name, option->info.argument);
    *value = word;
    at->next++;
    return 0;
}

static int apply_option(const struct blx_option *option, const char *value, struct cursor *at,
                        struct blx_config *config, struct blx_error *err)
{
    size_t place = (size_t)(option - blx_option_at(0));
    blx_assert(place / 64 < LIST_WORDS);
    uint64_t *word = &at->lists_begun[place / 64], bit = UINT64_C(1) << place % 64;
    if (blx_option_adds_up(option) && (*word & bit) == 0) {
        blx_option_clear(option, config);
        *word |= bit;
    }
    int rc = blx_option_set(option, value, config, err);
    if (rc < 0)
        blx_error_prefix(err, "--%s", option->info.name);
    return rc;
}

/* --help or --version; false for any other option. */
static bool is_question(const struct blx_option *option, enum blx_config_result *result)
{
    if (option->kind == BLX_OPTION_HELP)
        *result = BLX_CONFIG_HELP;
    else if (option->kind == BLX_OPTION_VERSION)
        *result = BLX_CONFIG_VERSION;
    else
        return false;
    return true;
}

/* The option whose value the command takes as a word of its own; NULL: none. */
static const struct blx_option *option_of_word(enum blx_command command)
{
    const struct blx_option *option;
    for (size_t i = 0; (option = blx_option_at(i)) != NULL; i++)
        if ((option->word_for & command) != 0)
            return option;
    return NULL;
}

static int apply_word(struct cursor *at, struct blx_config *config, enum blx_config_result *result,
                      struct blx_error *err)
{
    const char *word = at->flags->argv[at->next++];
    if (strcmp(word, "-h") == 0)
        word = "--help";
    const struct blx_option *unnamed = word[0] != '-' ? option_of_word(at->flags->command) : NULL;
    if (unnamed != NULL)
        return apply_option(unnamed, word, at, config, err);
    if (strncmp(word, "--", 2) != 0 || word[2] == '\0')
        return blx_error_set(err, -EINVAL,
                             "unexpected argument '%.80s': options are written --name=value", word);
    const char *name = word + 2;
    size_t length = strcspn(name, "=");
    const struct blx_option *option = blx_option_find_for(name, length, at->flags->command);
    if (option == NULL || (option->info.commands & at->flags->command) == 0) {
        char copy[81];
        snprintf(copy, sizeof(copy), "%.*s", (int)(length < 80 ? length : 80), name);
        return unknown_flag(copy, at->flags->command, err);
    }
    const char *value = name[length] == '=' ? name + length + 1 : NULL;
    if (is_question(option, result)) {
        if (value == NULL)
            return 0;
        return blx_error_set(err, -EINVAL, "'--%s' takes no value", option->info.name);
    }
    int rc = value != NULL ? 0 : take_value(option, at, &value, err);
    return rc < 0 ? rc : apply_option(option, value, at, config, err);
}

int blx_flags_apply(const struct blx_flags *flags, struct blx_config *config,
                    enum blx_config_result *result, struct blx_error *err)
{
    struct cursor at = {.flags = flags, .next = 1};
    *result = BLX_CONFIG_RUN;
    while (at.next < flags->argc) {
        int rc = apply_word(&at, config, result, err);
        if (rc < 0 || *result != BLX_CONFIG_RUN)
            return rc;
    }
    return 0;
}
