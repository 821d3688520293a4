/* SPDX-License-Identifier: Apache-2.0 */
#include "page/session.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/text.h"

enum { SECRET_BYTES = 32 };

struct entry {
    bool used;
    uint8_t hash[SHA256_DIGEST_LENGTH]; /* of the cookie's text */
    uint64_t begun_ns, asked_ns;
    struct page_session session;
};

struct page_sessions {
    pthread_mutex_t lock; /* guards the list */
    struct entry list[PAGE_SESSIONS];
};

int page_sessions_new(struct page_sessions **sessions, struct blx_error *err)
{
    struct page_sessions *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot keep sessions");
    pthread_mutex_init(&made->lock, NULL);
    *sessions = made;
    return 0;
}

void page_sessions_free(struct page_sessions *sessions)
{
    if (sessions == NULL)
        return;
    OPENSSL_cleanse(sessions->list, sizeof(sessions->list));
    pthread_mutex_destroy(&sessions->lock);
    free(sessions);
}

static int make_secret(char text[PAGE_SECRET_TEXT_BYTES])
{
    uint8_t secret[SECRET_BYTES];
    if (RAND_bytes(secret, sizeof(secret)) != 1)
        return -EIO;
    for (size_t i = 0; i < sizeof(secret); i++)
        snprintf(text + 2 * i, 3, "%02x", secret[i]);
    OPENSSL_cleanse(secret, sizeof(secret));
    return 0;
}

static bool is_over(const struct entry *entry, uint64_t now_ns)
{
    return now_ns - entry->asked_ns > PAGE_SESSION_IDLE_S * BLX_NS_PER_S ||
           now_ns - entry->begun_ns > PAGE_SESSION_MOST_S * BLX_NS_PER_S;
}

/* A free place, or that of the session that was used longest ago. */
static struct entry *find_place_locked(struct page_sessions *sessions)
{
    struct entry *place = &sessions->list[0];
    for (size_t i = 0; i < PAGE_SESSIONS && place->used; i++) {
        struct entry *at = &sessions->list[i];
        if (!at->used || at->asked_ns < place->asked_ns)
            place = at;
    }
    return place;
}

int page_session_begin(struct page_sessions *sessions, enum page_role role, const char *address,
                       char cookie[PAGE_SECRET_TEXT_BYTES], struct blx_error *err)
{
    struct entry made = {.used = true, .session.role = role};
    if (make_secret(cookie) < 0 || make_secret(made.session.csrf) < 0)
        return blx_error_set(err, -EIO, "cannot get random numbers for a session");
    blx_text_set(made.session.address, address);
    made.begun_ns = made.asked_ns = blx_clock_ns();
    made.session.ends_s = (int64_t)time(NULL) + PAGE_SESSION_MOST_S;
    SHA256((const uint8_t *)cookie, strlen(cookie), made.hash);
    pthread_mutex_lock(&sessions->lock);
    *find_place_locked(sessions) = made;
    pthread_mutex_unlock(&sessions->lock);
    return 0;
}

static struct entry *find_locked(struct page_sessions *sessions, const char *cookie)
{
    uint8_t hash[SHA256_DIGEST_LENGTH];
    struct entry *found = NULL;
    SHA256((const uint8_t *)cookie, strlen(cookie), hash);
    for (size_t i = 0; i < PAGE_SESSIONS; i++) {
        struct entry *at = &sessions->list[i];
        if (at->used && CRYPTO_memcmp(at->hash, hash, sizeof(hash)) == 0)
            found = at;
    }
    return found;
}

int page_session_find(struct page_sessions *sessions, const char *cookie, const char *address,
                      struct page_session *session)
{
    int rc = -EACCES;
    pthread_mutex_lock(&sessions->lock);
    const uint64_t now_ns = blx_clock_ns(); /* under the lock, so that no asked_ns is later */
    struct entry *entry = find_locked(sessions, cookie);
    if (entry != NULL && is_over(entry, now_ns))
        *entry = (struct entry){.used = false};
    if (entry != NULL && entry->used && strcmp(entry->session.address, address) == 0) {
        entry->asked_ns = now_ns;
        *session = entry->session;
        rc = 0;
    }
    pthread_mutex_unlock(&sessions->lock);
    return rc;
}

void page_session_end(struct page_sessions *sessions, const char *cookie)
{
    pthread_mutex_lock(&sessions->lock);
    struct entry *entry = find_locked(sessions, cookie);
    if (entry != NULL)
        *entry = (struct entry){.used = false};
    pthread_mutex_unlock(&sessions->lock);
}
