/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/proofs.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/array.h"
#include "base/name.h"
#include "base/text.h"
#include "store/checkpoint/manifest_file.h"
#include "store/checkpoint/pin.h"

struct dispatcher_proof_entry {
    char agent_id[BLX_NAME_BYTES];
    struct timespec changed; /* of the folder, when it was looked at */
    ino_t folder;
    struct dispatcher_proof *proof; /* owned */
};

void dispatcher_proofs_init(struct dispatcher_proofs *proofs)
{
    *proofs = (struct dispatcher_proofs){.lock = PTHREAD_MUTEX_INITIALIZER};
}

void dispatcher_proofs_done(struct dispatcher_proofs *proofs)
{
    for (size_t i = 0; i < proofs->count; i++)
        free(proofs->entries[i].proof);
    free(proofs->entries);
    pthread_mutex_destroy(&proofs->lock);
}

/* NULL: no memory. */
static struct dispatcher_proof_entry *find_locked(struct dispatcher_proofs *proofs, const char *id)
{
    for (size_t i = 0; i < proofs->count; i++)
        if (strcmp(proofs->entries[i].agent_id, id) == 0)
            return &proofs->entries[i];
    struct dispatcher_proof *proof = calloc(1, sizeof(*proof));
    if (proof == NULL || blx_array_make_room(proofs->entries, proofs->count) < 0) {
        free(proof);
        return NULL;
    }
    struct dispatcher_proof_entry *entry = &proofs->entries[proofs->count++];
    *entry = (struct dispatcher_proof_entry){.proof = proof};
    blx_text_set(entry->agent_id, id);
    return entry;
}

static bool has_changed(const struct dispatcher_proof_entry *entry, const struct stat *st)
{
    return entry->folder != st->st_ino || entry->changed.tv_sec != st->st_mtim.tv_sec ||
           entry->changed.tv_nsec != st->st_mtim.tv_nsec;
}

static void read_records(struct blx_agent_store agent, struct dispatcher_proof *proof)
{
    blx_timestamp *marked = NULL;
    blx_timestamp pinned = 0;
    proof->is_tested = blx_tested_find_newest(agent, &proof->newest, NULL) == 0;
    proof->is_told = proof->is_tested && blx_tested_is_told(agent, &proof->newest);
    proof->is_proven = proof->is_tested && blx_tested_find_proven(agent, &proof->proven, NULL) == 0;
    proof->is_suspicious = blx_suspicion_find_newest(agent, &proof->suspicion, NULL) == 0;
    proof->suspicious_count = 0;
    if (blx_suspicion_list(agent, &marked, &proof->suspicious_count, NULL) == 0)
        free(marked);
    proof->stands = blx_pin_find_automatic(agent, &pinned, NULL, NULL) == 0 && pinned != 0;
}

void dispatcher_proofs_look(struct dispatcher_proofs *proofs, struct blx_agent_store agent,
                            struct dispatcher_proof *proof)
{
    char dir[PATH_MAX];
    struct stat st;
    *proof = (struct dispatcher_proof){0};
    if (blx_manifest_dir(agent, dir, NULL) < 0 || stat(dir, &st) != 0)
        return;
    pthread_mutex_lock(&proofs->lock);
    struct dispatcher_proof_entry *entry = find_locked(proofs, agent.id);
    if (entry != NULL && has_changed(entry, &st)) {
        read_records(agent, entry->proof);
        entry->changed = st.st_mtim;
        entry->folder = st.st_ino;
    }
    if (entry != NULL)
        *proof = *entry->proof;
    pthread_mutex_unlock(&proofs->lock);
}
