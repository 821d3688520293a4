/* SPDX-License-Identifier: Apache-2.0 */
#include "object/examine.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <openssl/rand.h>

#include "base/assert.h"

enum {
    CANARY_LOCK_S = 600, /* long enough for the trial, and short enough for the next one */
    SHORTER_LOCK_S = 60,
    CANARY_BYTES = 64,
    RANGE_OFFSET = 16,
    RANGE_BYTES = 8,
    CLOCK_WARNING_S = 30,
    CLOCK_LIMIT_S = 300, /* stores refuse what is 15 minutes off */
    OLD_CANARIES = 64,
    KEY_BYTES = 64,
};

#define CANARIES "canary/"

struct trial {
    struct object_bucket *bucket;
    enum blx_object_lock mode; /* the configured one */
    struct object_examination *out;
    bool versioned;
    char key[KEY_BYTES];              /* of the canary without a lock */
    char version[OBJECT_VALUE_BYTES]; /* its first version */
    char locked_key[2 * KEY_BYTES];   /* of the one with a lock */
    char locked_version[OBJECT_VALUE_BYTES];
    unsigned char content[CANARY_BYTES];
};

__attribute__((format(printf, 4, 5))) static void find(struct trial *trial, const char *promise,
                                                       enum object_result result,
                                                       const char *format, ...)
{
    struct object_examination *out = trial->out;
    blx_assert(out->count < OBJECT_FINDINGS);
    struct object_finding *finding = &out->findings[out->count++];
    *finding = (struct object_finding){.result = result, .promise = promise};
    va_list args;
    va_start(args, format);
    vsnprintf(finding->text, sizeof(finding->text), format, args);
    va_end(args);
}

/* Old canaries, which are removed if their lock lets them go. */
struct old_canaries {
    struct object_version versions[OLD_CANARIES];
    size_t count;
};

static int remember_canary(void *arg, const struct object_version *version)
{
    struct old_canaries *old = arg;
    if (old->count < OLD_CANARIES)
        old->versions[old->count++] = *version;
    return 0;
}

static void remove_canaries(struct trial *trial, const struct old_canaries *old)
{
    for (size_t i = 0; i < old->count; i++)
        object_bucket_delete(trial->bucket, old->versions[i].key, old->versions[i].id,
                             OBJECT_RESPECT_LOCK, NULL); /* or its lock has not ended */
}

/* Also removes what earlier examinations left. */
static bool try_to_reach(struct trial *trial)
{
    struct blx_error err = {0};
    char software[OBJECT_VALUE_BYTES];
    int64_t ahead_s;
    struct old_canaries *old = calloc(1, sizeof(*old));
    int rc = old == NULL
                 ? blx_error_errno(&err, -ENOMEM, "cannot examine the object store")
                 : object_bucket_list(trial->bucket, CANARIES, 1000, remember_canary, old, &err);
    if (rc == 0)
        remove_canaries(trial, old);
    free(old);
    if (rc < 0) {
        find(trial, "reachable", OBJECT_NOT_KEPT, "%.500s", err.message);
        return false;
    }
    bool told = object_bucket_describe(trial->bucket, software, &ahead_s);
    find(trial, "reachable", OBJECT_KEPT, "it answers%s%s", software[0] != '\0' ? " as " : "",
         software);
    if (!told)
        find(trial, "clock", OBJECT_DOUBTFUL, "the store does not tell its time");
    else
        find(trial, "clock",
             llabs(ahead_s) > CLOCK_LIMIT_S     ? OBJECT_NOT_KEPT
             : llabs(ahead_s) > CLOCK_WARNING_S ? OBJECT_DOUBTFUL
                                                : OBJECT_KEPT,
             "the store's clock is %" PRIu64 " s %s ours", (uint64_t)llabs(ahead_s),
             ahead_s < 0 ? "behind" : "ahead of");
    return true;
}

static void try_versions(struct trial *trial)
{
    struct blx_error err = {0};
    int rc = object_bucket_get_versioning(trial->bucket, &trial->versioned, &err);
    if (rc < 0)
        find(trial, "versions", OBJECT_DOUBTFUL, "%.500s", err.message);
    else if (trial->versioned)
        find(trial, "versions", OBJECT_KEPT, "the bucket keeps the versions of a key");
    else
        find(trial, "versions", OBJECT_NOT_KEPT,
             "the bucket keeps no versions, so whatever is written over is lost: turn versioning "
             "on");
}

static void make_canary(struct trial *trial)
{
    unsigned char random[8];
    char date[OBJECT_DATE_BYTES];
    bool made =
        RAND_bytes(random, sizeof(random)) == 1 && RAND_bytes(trial->content, CANARY_BYTES) == 1;
    blx_assert(made);
    object_format_date(time(NULL), date);
    uint64_t name = 0;
    for (size_t i = 0; i < sizeof(random); i++)
        name = name << 8 | random[i];
    snprintf(trial->key, sizeof(trial->key), CANARIES "%s-%016" PRIx64, date, name);
    snprintf(trial->locked_key, sizeof(trial->locked_key), "%s-locked", trial->key);
}

static bool try_to_write(struct trial *trial)
{
    struct blx_error err = {0};
    unsigned char got[RANGE_BYTES];
    int rc = object_bucket_put(trial->bucket, trial->key, trial->content, CANARY_BYTES, NULL,
                               OBJECT_WRITE_ANYWAY, trial->version, &err);
    if (rc < 0) {
        find(trial, "writable", OBJECT_NOT_KEPT, "%.500s", err.message);
        return false;
    }
    find(trial, "writable", OBJECT_KEPT, "a canary was written");
    rc = object_bucket_get(trial->bucket, trial->key, trial->version, RANGE_OFFSET, got,
                           sizeof(got), &err);
    bool equal = rc == 0 && memcmp(got, trial->content + RANGE_OFFSET, sizeof(got)) == 0;
    if (rc < 0)
        find(trial, "readable", OBJECT_NOT_KEPT, "%.500s", err.message);
    else if (!equal)
        find(trial, "readable", OBJECT_NOT_KEPT,
             "a part of the canary comes back with other bytes");
    else
        find(trial, "readable", OBJECT_KEPT, "any part of it comes back as it was written");
    return equal;
}

static bool reads_as_written(struct trial *trial, const char *key, const char *version,
                             struct blx_error *err)
{
    unsigned char got[CANARY_BYTES];
    blx_error_clear(err);
    int rc = object_bucket_get(trial->bucket, key, version, 0, got, sizeof(got), err);
    if (rc == 0 && memcmp(got, trial->content, sizeof(got)) != 0)
        blx_error_set(err, -EBADMSG, "'%s' comes back with other bytes", key);
    return err->code == 0;
}

static void try_write_once(struct trial *trial)
{
    struct blx_error err = {0};
    unsigned char other[CANARY_BYTES] = {0};
    char version[OBJECT_VALUE_BYTES];
    int rc = object_bucket_put(trial->bucket, trial->key, other, sizeof(other), NULL,
                               OBJECT_WRITE_ONCE, version, &err);
    if (rc == -EEXIST)
        find(trial, "write once", OBJECT_KEPT, "a second write of a key is refused");
    else if (rc < 0)
        find(trial, "write once", OBJECT_DOUBTFUL, "%.500s", err.message);
    else
        find(trial, "write once", trial->versioned ? OBJECT_DOUBTFUL : OBJECT_NOT_KEPT,
             "If-None-Match is ignored: a key can be written twice%s",
             trial->versioned ? ", so its oldest version is the one that is read" : "");
}

/* Somebody with the credentials writes over the key and deletes it; the first version must stay. */
static void try_history(struct trial *trial)
{
    struct blx_error err = {0};
    unsigned char other[CANARY_BYTES] = {0};
    char version[OBJECT_VALUE_BYTES];
    if (trial->version[0] == '\0')
        return; /* the finding about versions says it */
    int rc = object_bucket_put(trial->bucket, trial->key, other, sizeof(other), NULL,
                               OBJECT_WRITE_ANYWAY, version, &err);
    if (rc == 0)
        rc = object_bucket_delete(trial->bucket, trial->key, "", OBJECT_RESPECT_LOCK, &err);
    if (rc < 0 && rc != -EACCES)
        find(trial, "history", OBJECT_DOUBTFUL, "%.500s", err.message);
    else if (reads_as_written(trial, trial->key, trial->version, &err))
        find(trial, "history", OBJECT_KEPT,
             "the first version of a key stays when it is written over and deleted");
    else
        find(trial, "history", OBJECT_NOT_KEPT,
             "the first version of a key is lost when it is written over and deleted: %.350s",
             err.message);
}

struct counted {
    const struct trial *trial;
    bool found;
};

static int look_for_canary(void *arg, const struct object_version *version)
{
    struct counted *counted = arg;
    if (strcmp(version->key, counted->trial->key) == 0 &&
        strcmp(version->id, counted->trial->version) == 0)
        counted->found = true;
    return 0;
}

static void try_list(struct trial *trial)
{
    struct blx_error err = {0};
    struct counted counted = {.trial = trial};
    if (trial->version[0] == '\0')
        return;
    int rc = object_bucket_list(trial->bucket, CANARIES, 1, look_for_canary, &counted, &err);
    if (rc < 0)
        find(trial, "list", OBJECT_NOT_KEPT, "%.500s", err.message);
    else if (!counted.found)
        find(trial, "list", OBJECT_NOT_KEPT, "a version that is there is not listed");
    else
        find(trial, "list", OBJECT_KEPT, "all versions are listed, page by page");
}

/* The lock is there, as it was given. */
static bool try_to_lock(struct trial *trial)
{
    struct blx_error err = {0};
    const struct object_lock lock = {trial->mode, time(NULL) + CANARY_LOCK_S};
    struct object_lock got = {0};
    int rc = object_bucket_put(trial->bucket, trial->locked_key, trial->content, CANARY_BYTES,
                               &lock, OBJECT_WRITE_ANYWAY, trial->locked_version, &err);
    if (rc == 0)
        rc = object_bucket_get_lock(trial->bucket, trial->locked_key, trial->locked_version, &got,
                                    &err);
    if (rc < 0)
        find(trial, "lock", OBJECT_NOT_KEPT, "%.500s", err.message);
    else if (trial->locked_version[0] == '\0' || got.mode != lock.mode || got.until < lock.until)
        find(trial, "lock", OBJECT_NOT_KEPT,
             "the store accepts the lock of an object, and does not have it afterwards");
    else
        return true;
    return false;
}

/* Whether the store says that the locked canary's lock is of that mode now. */
static bool is_governance(struct trial *trial)
{
    struct object_lock got = {0};
    return object_bucket_get_lock(trial->bucket, trial->locked_key, trial->locked_version, &got,
                                  NULL) == 0 &&
           got.mode == BLX_OBJECT_LOCK_GOVERNANCE;
}

/* Everything that these credentials could do against it. True: it holds. */
static bool try_to_break(struct trial *trial)
{
    struct blx_error err = {0};
    const struct object_lock shorter = {trial->mode, time(NULL) + SHORTER_LOCK_S};
    const char *key = trial->locked_key, *version = trial->locked_version;
    const char *mode = object_lock_name(trial->mode);
    const struct object_lock weaker = {BLX_OBJECT_LOCK_GOVERNANCE,
                                       time(NULL) + 2 * (time_t)CANARY_LOCK_S};
    bool weakened = trial->mode == BLX_OBJECT_LOCK_COMPLIANCE &&
                    object_bucket_set_lock(trial->bucket, key, version, &weaker, OBJECT_USE_BYPASS,
                                           NULL) == 0 &&
                    is_governance(trial);
    if (weakened)
        find(trial, "lock", OBJECT_NOT_KEPT,
             "these credentials can turn a lock of the mode COMPLIANCE into GOVERNANCE, which can "
             "be lifted");
    else if (object_bucket_set_lock(trial->bucket, key, version, &shorter, OBJECT_USE_BYPASS,
                                    NULL) == 0)
        find(trial, "lock", OBJECT_NOT_KEPT,
             "these credentials can shorten a lock of the mode %s%s", mode,
             trial->mode == BLX_OBJECT_LOCK_GOVERNANCE
                 ? ": take s3:BypassGovernanceRetention from them, or use compliance"
                 : "");
    else if (object_bucket_delete(trial->bucket, key, version, OBJECT_USE_BYPASS, NULL) == 0)
        find(trial, "lock", OBJECT_NOT_KEPT, "these credentials can delete a locked object (%s)",
             mode);
    else if (!reads_as_written(trial, key, version, &err))
        find(trial, "lock", OBJECT_NOT_KEPT, "a locked object is lost after it was deleted: %.400s",
             err.message);
    else
        return true;
    return false;
}

static void try_lock(struct trial *trial)
{
    struct blx_error err = {0};
    bool can_lock = false;
    if (object_bucket_get_locking(trial->bucket, &can_lock, &err) < 0) {
        find(trial, "lock", OBJECT_DOUBTFUL, "%.500s", err.message);
        can_lock = true; /* the trial tells */
    }
    if (trial->mode == BLX_OBJECT_LOCK_NONE)
        find(trial, "lock", OBJECT_NOT_KEPT, "none is configured: write lock: \"compliance 30d\"%s",
             can_lock ? ""
                      : ", into a bucket that was made with object lock, which this one was not");
    else if (!can_lock)
        find(trial, "lock", OBJECT_NOT_KEPT,
             "the bucket was made without object lock, which cannot be added: make another one");
    else if (try_to_lock(trial) && try_to_break(trial)) {
        find(trial, "lock", OBJECT_KEPT,
             "a locked object can neither be deleted nor its lock be shortened (%s)",
             object_lock_name(trial->mode));
        trial->out->locked = true;
    }
}

/* The canaries of this trial; the locked one is left to the next trial. */
static void clean_up(struct trial *trial)
{
    struct old_canaries *old = calloc(1, sizeof(*old));
    if (old != NULL &&
        object_bucket_list(trial->bucket, trial->key, 1000, remember_canary, old, NULL) == 0)
        remove_canaries(trial, old);
    free(old);
}

static bool is_usable(const struct object_examination *out)
{
    for (size_t i = 0; i < out->count; i++) {
        if (out->findings[i].result == OBJECT_NOT_KEPT &&
            strcmp(out->findings[i].promise, "lock") != 0)
            return false;
    }
    return true;
}

void object_examine(struct object_bucket *bucket, const struct blx_config_object_store *config,
                    struct object_examination *examination)
{
    struct trial trial = {.bucket = bucket, .mode = config->lock, .out = examination};
    *examination = (struct object_examination){0};
    if (!try_to_reach(&trial))
        return;
    try_versions(&trial);
    make_canary(&trial);
    if (try_to_write(&trial)) {
        try_write_once(&trial);
        try_history(&trial);
        try_list(&trial);
        try_lock(&trial);
    }
    clean_up(&trial);
    examination->usable = is_usable(examination);
    examination->locked = examination->locked && examination->usable;
}
