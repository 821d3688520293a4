/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What another dispatcher lacks of one checkpoint, to be sent to it (PROTOCOL.md 4.15). The copier
 * has some checkpoint of the agent, or nothing; of each volume it gets only the segments that came
 * after it, as copy_source.h has them.
 *
 * How far the copier is stands in a mark of each volume's folder, as for a copy in a folder. The
 * copier shows the identity of the checkpoint that it has. A mark counts if it is of that
 * checkpoint, and without a mark the checkpoint itself, if this store has it still. Otherwise the
 * whole chain goes: the data directory was set back, or it is another one.
 *
 * Threads: an offer belongs to one. Waits for the disk, and for a prune that replaces manifests.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/timestamp.h"
#include "store/checkpoint/manifest.h"
#include "store/store.h"
#include "wire/message.h"

struct blx_copy_offer;

/*
 * The identity of a checkpoint: SHA-256 over its times and, of each volume, what was received. No
 * prune, rewrite or copy changes it; a checkpoint that is taken again after the data directory was
 * set back has another one. -EIO if OpenSSL cannot make a digest.
 */
int blx_copy_identity(const struct blx_manifest *manifest, uint8_t hash[BLX_COPY_HASH_BYTES],
                      struct blx_error *err);

struct blx_copy_wish {
    blx_timestamp checkpoint;
    blx_timestamp have;  /* 0: the copier has none */
    const uint8_t *hash; /* its identity */
    const char *place;   /* names the copier in the marks */
};

/* Holds the checkpoint, as a restore does. -ENOENT, -EBADMSG if it cannot be read, -EBUSY if a copy
 * of the agent is under way. */
int blx_copy_offer_open(struct blx_agent_store agent, const struct blx_copy_wish *wish,
                        struct blx_copy_offer **offer, struct blx_error *err);
void blx_copy_offer_close(struct blx_copy_offer *offer);

/* The checkpoint's identity; the offer's. */
const uint8_t *blx_copy_offer_hash(const struct blx_copy_offer *offer);

/*
 * The manifest that the copier shall have, without its segments. A volume that is a base needs
 * nothing of what the copier has. Any other one names one segment in place of all, which need not
 * be there: the number from which on its files are, or none if nothing can follow. A new buffer
 * that the caller frees.
 */
int blx_copy_offer_encode(const struct blx_copy_offer *offer, void **content, size_t *bytes,
                          struct blx_error *err);

/* A file that the copier lacks, of the entry of that place in the manifest. The descriptor is
 * borrowed. */
typedef int blx_copy_offer_visit(void *arg, uint32_t entry, uint32_t number, int fd, uint64_t bytes,
                                 struct blx_error *err);

/* Calls visit() for each, volume by volume, the newest first. It ends at the first that is not 0,
 * which is returned. */
int blx_copy_offer_each(const struct blx_copy_offer *offer, blx_copy_offer_visit *visit, void *arg,
                        struct blx_error *err);

/* The copier has all of it: notes that in the marks. */
int blx_copy_offer_settle(const struct blx_copy_offer *offer, struct blx_error *err);
