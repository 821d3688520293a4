/* SPDX-License-Identifier: Apache-2.0 */
/* The help text of one command, made from the option table. */
#include <string.h>

#include "config/option_private.h"

enum { HELP_COLUMN = 30, HELP_WIDTH = 98 };

/* Prints `text` from HELP_COLUMN on and breaks it between words at HELP_WIDTH. */
static void print_wrapped(const char *text, FILE *out)
{
    size_t column = HELP_COLUMN;
    while (*text != '\0') {
        size_t length = strcspn(text, " ");
        if (column > HELP_COLUMN && column + 1 + length > HELP_WIDTH) {
            fprintf(out, "\n%*s", HELP_COLUMN, "");
            column = HELP_COLUMN;
        } else if (column > HELP_COLUMN) {
            fputc(' ', out);
            column++;
        }
        fprintf(out, "%.*s", (int)length, text);
        column += length;
        text += length + strspn(text + length, " ");
    }
    fputc('\n', out);
}

static void print_option(const struct blx_option *option, FILE *out)
{
    const struct blx_option_info *info = &option->info;
    char text[256];
    const char *fallback = option->offset == offsetof(struct blx_config, config_path) &&
                                   option->kind == BLX_OPTION_TEXT
                               ? BLX_DEFAULT_CONFIG_PATH
                               : option->fallback;
    bool tell = fallback != NULL && info->argument != NULL;
    snprintf(text, sizeof(text), "%s%s%s%s", info->help, tell ? " (default: " : "",
             tell ? fallback : "", tell ? ")" : "");
    int used = fprintf(out, "  --%s%s%s", info->name, info->argument != NULL ? "=" : "",
                       info->argument != NULL ? info->argument : "");
    if (used > HELP_COLUMN - 2) {
        fputc('\n', out);
        used = 0;
    }
    fprintf(out, "%*s", HELP_COLUMN - used, "");
    print_wrapped(text, out);
}

void blx_config_print_help(enum blx_command command, const char *usage, const char *description,
                           FILE *out)
{
    fprintf(out, "Usage: %s\n\n%s\n\nOptions:\n", usage, description);
    bool from_file = false;
    for (size_t i = 0; blx_option_at(i) != NULL; i++) {
        const struct blx_option *option = blx_option_at(i);
        if ((option->info.commands & command) == 0)
            continue;
        print_option(option, out);
        from_file = from_file || (option->info.in_file && (option->flag_only_for & command) == 0);
    }
    fputs("\n--name value is the same as --name=value.", out);
    if (from_file)
        fputs(" Options are also keys of the configuration\n"
              "file, see blxrep-config(5); a flag overrides the file.",
              out);
    fputc('\n', out);
}
