/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shared by the parts of a writer (agent_writer.h is the public side): agent_writer.c opens,
 * appends and syncs; commit.c makes a checkpoint; received_image.c makes an image of the received
 * frames. Private to lib/store.
 */
#pragma once

#include "store/agent_lock.h"
#include "store/receive/agent_writer.h"
#include "store/receive/received_recover_private.h"
#include "store/receive/received_volume_private.h"

struct blx_agent_writer {
    char agent_id[BLX_NAME_BYTES];
    struct blx_received_agent agent; /* with this ID */
    struct blx_agent_lock lock;      /* BLX_LOCK_SESSION, as long as the writer is open */
    struct blx_received_volume *volumes[BLX_MAX_VOLUMES];
    uint32_t volume_count;
    int broken;              /* the disk's first error; nothing may be written any more */
    bool looked;             /* at the reserve, since the session began */
    uint64_t unlooked_bytes; /* appended since then */
};

/* Remembers the first disk error; returns rc. */
int blx_agent_writer_fail(struct blx_agent_writer *writer, int rc);

/* -EIO after a disk error. */
int blx_agent_writer_check(const struct blx_agent_writer *writer, struct blx_error *err);
