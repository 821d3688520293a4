/* SPDX-License-Identifier: Apache-2.0 */
/* What a command prints on stderr beside its result: remarks and its progress. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/progress.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/screen.h"
#include "cli/table.h"

/* The caller frees it; NULL: no memory. */
__attribute__((format(printf, 1, 0))) static char *make_text(const char *format, va_list args)
{
    char *text;
    return vasprintf(&text, format, args) < 0 ? NULL : text;
}

void cli_note(const char *format, ...)
{
    static const char name[] = "blxrep: ";
    va_list args;
    va_start(args, format);
    BLX_CLEANUP_FREE char *text = make_text(format, args);
    va_end(args);
    if (text != NULL)
        blx_text_clean(text);
    fputs(name, stderr);
    blx_text_wrap(stderr, text != NULL ? text : "out of memory", sizeof(name) - 1, sizeof(name) - 1,
                  cli_screen_width(STDERR_FILENO));
}

void cli_say(const char *text, size_t indent)
{
    size_t width = cli_screen_width(STDOUT_FILENO);
    while (text != NULL && *text != '\0') {
        size_t length = strcspn(text, "\n");
        BLX_CLEANUP_FREE char *line = strndup(text, length);
        if (line != NULL)
            blx_text_wrap(stdout, line, 0, indent, width);
        text += length + (text[length] == '\n');
    }
}

void cli_tell(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    BLX_CLEANUP_FREE char *text = make_text(format, args);
    va_end(args);
    cli_say(text != NULL ? text : "out of memory", 0);
}

void cli_progress(void *progress, uint64_t done_bytes, uint64_t total_bytes)
{
    struct blx_progress *bar = progress;
    bar->total_bytes = total_bytes;
    blx_progress_update(bar, done_bytes);
}
