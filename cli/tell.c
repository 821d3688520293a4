/* SPDX-License-Identifier: Apache-2.0 */
/* What a command prints on stderr beside its result: remarks and its progress. */
#include <stdarg.h>
#include <stdio.h>

#include "base/progress.h"
#include "cli/command.h"

void cli_note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("blxrep: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
}

void cli_progress(void *progress, uint64_t done_bytes, uint64_t total_bytes)
{
    struct blx_progress *bar = progress;
    bar->total_bytes = total_bytes;
    blx_progress_update(bar, done_bytes);
}
