/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a new host needs beside the checkpoints, so that agents go on against it: DIR/pki, whose
 * CA they trust, and the agents' digest keys. Whoever has the CA can read from every server, so it
 * lies in the copies encrypted with a key that the operator keeps on paper (`recovery-key`), and
 * only if there is one.
 *
 *     host/TIMESTAMP-HASH    "BLXR", version, reserved, nonce, tag, and the files, encrypted
 *
 * The head and the name's time are authenticated. The newest one that the key opens is taken: so
 * who can write to the copies can bring an older one back by removing the newer ones, unless they
 * are locked, and nothing else.
 *
 * Threads: one. Waits for the disk and the network. Memory: the files, which are small.
 */
#pragma once

#include "base/error.h"
#include "crypt/key.h"
#include "object/depot.h"
#include "store/store.h"

/* Copies the files unless the last copy had the same ones and is locked for long enough. 1: they
 * were sent. `lock` NULL: none. */
int object_recovery_send(const struct blx_store *store, struct object_depot *depot,
                         const struct blx_key *key, const struct object_lock *lock,
                         struct blx_error *err);

/* Writes the files of the newest copy that the key opens into the data directory, and how many
 * there were. -EEXIST if it has a pki already, -ENOENT if there is no copy, -ENOKEY if there is one
 * and the key opens none. Digest keys come only for agents that are there. */
int object_recovery_fetch(const struct blx_store *store, struct object_depot *depot,
                          const struct blx_key *key, size_t *files, struct blx_error *err);
