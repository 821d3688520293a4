/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/policy_book.h"

#include <string.h>

#include "base/text.h"

void dispatcher_policy_book_init(struct dispatcher_policy_book *book, struct blx_policies *policies,
                                 uint64_t sync_freq_ms, const struct blx_retention *retention)
{
    *book = (struct dispatcher_policy_book){
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .policies = *policies,
        .own = {.sync_freq_ms = sync_freq_ms, .retention = *retention},
    };
    *policies = (struct blx_policies){0};
}

void dispatcher_policy_book_done(struct dispatcher_policy_book *book)
{
    blx_policies_done(&book->policies);
    pthread_mutex_destroy(&book->lock);
}

bool dispatcher_policy_book_exchange(struct dispatcher_policy_book *book,
                                     struct blx_policies *policies, struct blx_policy_verdict *own)
{
    pthread_mutex_lock(&book->lock);
    const struct blx_policies old = book->policies;
    const struct blx_policy_verdict old_own = book->own;
    book->policies = *policies;
    book->own = *own;
    pthread_mutex_unlock(&book->lock);
    bool changed = !blx_policy_verdict_agrees(&old_own, own, BLX_POLICY_SYNC_FREQ) ||
                   !blx_policy_verdict_agrees(&old_own, own, BLX_POLICY_RETENTION);
    *policies = old;
    *own = old_own;
    return changed;
}

void dispatcher_policy_book_look(struct dispatcher_policy_book *book, const char *agent_id,
                                 struct blx_policy_verdict *verdict)
{
    pthread_mutex_lock(&book->lock);
    blx_policies_judge(&book->policies, &book->own, agent_id, verdict);
    pthread_mutex_unlock(&book->lock);
}

/* The dispatcher's own options are these two. */
static bool is_own(const struct dispatcher_policy_book *book, enum blx_policy_key key)
{
    return key == BLX_POLICY_SYNC_FREQ ||
           (key == BLX_POLICY_RETENTION && !blx_retention_is_none(&book->own.retention));
}

void dispatcher_policy_book_tell(struct dispatcher_policy_book *book, const char *agent_id,
                                 enum blx_policy_key key, const char *config_path,
                                 struct blx_control_verdict *told)
{
    struct blx_policy_verdict verdict;
    const char *pattern = "";
    *told = (struct blx_control_verdict){.source = BLX_VERDICT_DEFAULT};
    pthread_mutex_lock(&book->lock);
    blx_policies_judge(&book->policies, &book->own, agent_id, &verdict);
    const struct blx_policy *policy = blx_policies_find(&book->policies, key, agent_id, &pattern);
    if (policy != NULL) {
        told->source = BLX_VERDICT_POLICY;
        blx_text_set(told->file, policy->path);
        blx_text_set(told->pattern, pattern);
    } else if (is_own(book, key)) {
        told->source = BLX_VERDICT_CONFIG;
        blx_text_set(told->file, config_path != NULL ? config_path : "");
    }
    pthread_mutex_unlock(&book->lock);
    blx_policy_verdict_put(&verdict, key, told);
}
