/* SPDX-License-Identifier: Apache-2.0 */
/* The help text of one command, made from the option table. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "config/option_private.h"

enum { HELP_COLUMN = 30, HELP_WIDTH = 98, USAGE_INDENT = 11, INDENT = 2, NARROW = 60 };

/* Each line of `text` on its own; the first one has `column` columns already. */
static void print_lines(const char *text, size_t column, size_t indent, size_t width, FILE *out)
{
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        BLX_CLEANUP_FREE char *line = strndup(text, length);
        blx_text_wrap(out, line != NULL ? line : "", column, indent, width);
        text += length + (text[length] == '\n');
        column = 0;
    }
}

static void print_option(const struct blx_option *option, size_t width, FILE *out)
{
    const struct blx_option_info *info = &option->info;
    const size_t at = width < NARROW ? 2 * INDENT : HELP_COLUMN;
    char text[256];
    const char *fallback = option->offset == offsetof(struct blx_config, config_path) &&
                                   option->kind == BLX_OPTION_TEXT
                               ? BLX_DEFAULT_CONFIG_PATH
                               : option->fallback;
    bool tell = fallback != NULL && info->argument != NULL;
    snprintf(text, sizeof(text), "%s%s%s%s", info->help, tell ? " (default: " : "",
             tell ? fallback : "", tell ? ")" : "");
    size_t used = (size_t)fprintf(out, "  --%s%s%s", info->name, info->argument != NULL ? "=" : "",
                                  info->argument != NULL ? info->argument : "");
    if (used + INDENT > at) {
        fputc('\n', out);
        used = 0;
    }
    fprintf(out, "%*s", (int)(at - used), "");
    blx_text_wrap(out, text, at, at, width);
}

void blx_config_print_help(enum blx_command command, const struct blx_help *help, FILE *out)
{
    const size_t width = help->width > 0 ? help->width : HELP_WIDTH;
    fputs("Usage: ", out);
    print_lines(help->usage, strlen("Usage: "), USAGE_INDENT, width, out);
    fputs("\n", out);
    print_lines(help->description, 0, 0, width, out);
    fputs("\nOptions:\n", out);
    bool from_file = false;
    for (size_t i = 0; blx_option_at(i) != NULL; i++) {
        const struct blx_option *option = blx_option_at(i);
        if ((option->info.commands & command) == 0)
            continue;
        print_option(option, width, out);
        from_file = from_file || (option->info.in_file && (option->flag_only_for & command) == 0);
    }
    fputs("\n", out);
    print_lines(from_file
                    ? "--name value is the same as --name=value. Options are also keys of the "
                      "configuration file, see blxrep-config(5); a flag overrides the file."
                    : "--name value is the same as --name=value.",
                0, 0, width, out);
    if (help->examples != NULL) {
        fputs("\nExamples:\n", out);
        print_lines(help->examples, 0, 2 * INDENT, width, out);
    }
}
