/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The name and the secret with which requests to an object store are signed. They come from
 *
 *     a file      of mode 0600, as AWS's own tools write it: aws_access_key_id = ..., and so on
 *     otherwise   AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN in the environment
 *
 * They never appear in a message, an argument or a log.
 *
 * Threads: filled once and then only read. Waits for the disk.
 */
#pragma once

#include "base/cleanup.h"
#include "base/error.h"

enum {
    OBJECT_NAME_BYTES = 129,
    OBJECT_SECRET_BYTES = 257,
    OBJECT_TOKEN_BYTES = 4097,
};

struct object_credentials {
    char name[OBJECT_NAME_BYTES];     /* the access key's ID */
    char secret[OBJECT_SECRET_BYTES]; /* the secret access key */
    char token[OBJECT_TOKEN_BYTES];   /* of a session; "": none */
};

/* `path` NULL: from the environment. -EACCES: the file is not its owner's alone. -EINVAL: it lacks
 * something, or has a line that is not understood. -ENOKEY: there are none. */
int object_credentials_load(const char *path, struct object_credentials *credentials,
                            struct blx_error *err);

/* Forgets them. */
void object_credentials_done(struct object_credentials *credentials);
#define OBJECT_CLEANUP_CREDENTIALS BLX_CLEANUP(object_credentials_done)
