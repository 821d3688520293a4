/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ownership that can be checked without leaving the function: a local marked BLX_CLEANUP_... is
 * released when its scope ends, unless it was given away with blx_take_fd() or blx_take_ptr().
 */
#pragma once

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static inline void blx_cleanup_free(void *p)
{
    free(*(void **)p);
}

static inline void blx_cleanup_fd(const int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void blx_cleanup_file(FILE **file)
{
    if (*file != NULL)
        fclose(*file);
}

static inline void blx_cleanup_dir(DIR **dir)
{
    if (*dir != NULL)
        closedir(*dir);
}

#define BLX_CLEANUP(function) __attribute__((cleanup(function)))
#define BLX_CLEANUP_FREE      BLX_CLEANUP(blx_cleanup_free)
#define BLX_CLEANUP_FD        BLX_CLEANUP(blx_cleanup_fd)
#define BLX_CLEANUP_FILE      BLX_CLEANUP(blx_cleanup_file)
#define BLX_CLEANUP_DIR       BLX_CLEANUP(blx_cleanup_dir)

/* Gives the descriptor away: the local becomes -1. */
static inline int blx_take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

/* Gives the object away: the local becomes NULL. */
#define blx_take_ptr(p)                                                                            \
    ({                                                                                             \
        __typeof__(p) blx_taken_ = (p);                                                            \
        (p) = NULL;                                                                                \
        blx_taken_;                                                                                \
    })
