/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/track/note.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "base/io.h"
#include "base/text.h"

enum { MODE = 0600 };

int agent_note_write(const char *run_dir, const char *why, struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = blx_path_format(path, sizeof(path), err, "%s/reboot.note", run_dir);
    return rc < 0 ? rc : blx_file_replace(path, why, strlen(why), MODE, err);
}

void agent_note_read(const char *run_dir, char why[BLX_TEXT_BYTES])
{
    char path[PATH_MAX];
    ssize_t got = -1;
    if (blx_path_format(path, sizeof(path), NULL, "%s/reboot.note", run_dir) == 0)
        got = blx_file_read_small(AT_FDCWD, path, why, BLX_TEXT_BYTES);
    why[got > 0 ? got : 0] = '\0';
    blx_text_clean(why);
}
