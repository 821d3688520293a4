/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the small virtual machine (machine.h) is asked for: a file among its first files. It is made
 * by the host, and read by nobody else.
 *
 * Threads: no shared state.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "files/source.h"
#include "files/walk.h"

/* Where the guest finds it. */
#define FILES_REQUEST_PATH "/request"

enum { FILES_REQUEST_MAX_BYTES = 16 << 20 };

/* A disk of the checkpoint, as the server called it. */
struct files_volume {
    const char *device, *name;
};

struct files_request {
    enum files_task task;
    const char *device;                 /* NULL: the server's fstab says where a path lies */
    const struct files_volume *volumes; /* in the order in which the guest has them */
    size_t volume_count;
    char *const *paths;
    size_t path_count;
};

/* The caller frees the bytes. -E2BIG, -ENOMEM. */
int files_request_encode(const struct files_request *request, void **bytes, size_t *count);

/* The texts stay in `bytes`, whose last one is a NUL; files_request_done() frees the rest.
 * -EBADMSG, -ENOMEM. */
int files_request_decode(char *bytes, size_t count, struct files_request *request);
void files_request_done(struct files_request *request);
