/* SPDX-License-Identifier: Apache-2.0 */
#include "store/signal/history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "store/signal/history_codec_private.h"

enum { ROW_BYTES = sizeof(struct blx_history_row_disk) };

/* The file's rows, in their places; checkpoint 0: there is none. */
struct places {
    struct blx_history_row rows[BLX_HISTORY_ROWS];
};

static int find_path(struct blx_agent_store agent, char path[PATH_MAX], struct blx_error *err)
{
    char dir[PATH_MAX];
    int rc = blx_agent_store_path(agent, dir, err);
    return rc == 0 ? blx_path_format(path, PATH_MAX, err, "%s/changes", dir) : rc;
}

static int read_rows(const char *path, struct places *places, struct blx_error *err)
{
    BLX_CLEANUP_FREE uint8_t *content = NULL;
    size_t bytes = 0;
    struct blx_error cause = {0};
    int rc = blx_file_read(path, (size_t)2 * BLX_HISTORY_ROWS * ROW_BYTES, (void **)&content,
                           &bytes, &cause);
    if (rc < 0 && rc != -ENOENT)
        return blx_error_copy(err, rc, &cause);
    for (size_t i = 0; i < BLX_HISTORY_ROWS; i++) {
        struct blx_history_row_disk disk;
        bool good = false;
        if ((i + 1) * ROW_BYTES <= bytes) {
            memcpy(&disk, content + i * ROW_BYTES, sizeof(disk));
            good = blx_history_row_decode(&disk, &places->rows[i]);
        }
        if (!good)
            places->rows[i] = (struct blx_history_row){.checkpoint = 0};
    }
    return 0;
}

static int compare_rows(const void *a_arg, const void *b_arg)
{
    const struct blx_history_row *a = a_arg, *b = b_arg;
    return (a->checkpoint > b->checkpoint) - (a->checkpoint < b->checkpoint);
}

int blx_history_read(struct blx_agent_store agent, struct blx_history *history,
                     struct blx_error *err)
{
    char path[PATH_MAX];
    struct places places;
    int rc = find_path(agent, path, err);
    if (rc == 0)
        rc = read_rows(path, &places, err);
    if (rc < 0)
        return rc;
    history->count = 0;
    for (size_t i = 0; i < BLX_HISTORY_ROWS; i++)
        if (places.rows[i].checkpoint != 0)
            history->rows[history->count++] = places.rows[i];
    qsort(history->rows, history->count, sizeof(history->rows[0]), compare_rows);
    return 0;
}

/* That checkpoint's place, or the first free one, or the oldest one's. */
static size_t choose(const struct places *places, blx_timestamp checkpoint)
{
    size_t best = 0;
    for (size_t i = 0; i < BLX_HISTORY_ROWS; i++) {
        if (places->rows[i].checkpoint == checkpoint)
            return i;
        if (places->rows[i].checkpoint < places->rows[best].checkpoint)
            best = i;
    }
    return best;
}

int blx_history_add(struct blx_agent_store agent, const struct blx_history_row *row,
                    struct blx_error *err)
{
    char path[PATH_MAX];
    struct places places;
    struct blx_history_row_disk disk;
    int rc = find_path(agent, path, err);
    if (rc == 0)
        rc = read_rows(path, &places, err);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_FD int fd = blx_open(path, O_WRONLY | O_CREAT | O_NOFOLLOW, 0600, err);
    if (fd < 0)
        return fd;
    blx_history_row_encode(row, &disk);
    rc = blx_pwrite_full(fd, &disk, sizeof(disk), choose(&places, row->checkpoint) * ROW_BYTES);
    return rc < 0 ? blx_error_errno(err, rc, "cannot write '%s'", path) : 0;
}
