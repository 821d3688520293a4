/* SPDX-License-Identifier: Apache-2.0 */
#include "object/recovery.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/rand.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/le.h"
#include "base/secret_file.h"
#include "base/timestamp.h"
#include "crypt/xaes.h"
#include "store/copy/copied.h"
#include "store/own_id.h"

enum {
    MAGIC = 0x52584c42, /* "BLXR" */
    VERSION = 1,
    PATH_LIMIT = 512,
    MOST_BYTES = 64 << 20,
    MOST_FILE_BYTES = 1 << 20,
    DEEPEST = 4,
};

static const char folder[] = "host/", mark_name[] = "recovery-copied", info[] = "blxrep recovery 1";

struct head {
    blx_le32 magic;
    uint8_t version;
    uint8_t reserved[3];
    uint8_t nonce[BLX_XAES_NONCE_BYTES];
    uint8_t tag[BLX_XAES_TAG_BYTES];
} __attribute__((packed));
_Static_assert(sizeof(struct head) == 48, "recovery");

/* The files one after the other: the path's length, the content's, the path, the content. */
struct file_head {
    blx_le32 path_bytes;
    blx_le32 content_bytes;
} __attribute__((packed));

struct bundle {
    uint8_t *bytes; /* owned; secret */
    size_t count, room;
};

static void bundle_done(struct bundle *bundle)
{
    if (bundle->bytes != NULL)
        OPENSSL_cleanse(bundle->bytes, bundle->room);
    free(bundle->bytes);
}

static int no_memory(struct blx_error *err)
{
    return blx_error_errno(err, -ENOMEM, "cannot copy the host's keys");
}

/* The old memory is wiped, which realloc() would not do. */
static int append(struct bundle *bundle, const void *bytes, size_t count)
{
    if (bundle->count + count > MOST_BYTES)
        return -EFBIG;
    if (bundle->count + count > bundle->room) {
        struct bundle grown = {.room = 2 * (bundle->count + count), .count = bundle->count};
        grown.bytes = malloc(grown.room);
        if (grown.bytes == NULL)
            return -ENOMEM;
        if (bundle->count > 0)
            memcpy(grown.bytes, bundle->bytes, bundle->count);
        bundle_done(bundle);
        *bundle = grown;
    }
    memcpy(bundle->bytes + bundle->count, bytes, count);
    bundle->count += count;
    return 0;
}

/* `name` is the path below the data directory. A file that is gone meanwhile is left out. */
static int add_file(struct bundle *bundle, const char *path, const char *name,
                    struct blx_error *err)
{
    void *content = NULL;
    size_t bytes = 0;
    struct blx_error cause = {0};
    int rc = blx_file_read(path, MOST_FILE_BYTES, &content, &bytes, &cause);
    if (rc == -ENOENT)
        return 0;
    if (rc < 0)
        return blx_error_copy(err, rc, &cause);
    const struct file_head head = {.path_bytes = blx_le32_of((uint32_t)strlen(name)),
                                   .content_bytes = blx_le32_of((uint32_t)bytes)};
    rc = append(bundle, &head, sizeof(head));
    if (rc == 0)
        rc = append(bundle, name, strlen(name));
    if (rc == 0)
        rc = append(bundle, content, bytes);
    OPENSSL_cleanse(content, bytes);
    free(content);
    return rc < 0 ? blx_error_errno(err, rc, "cannot copy '%s'", path) : 0;
}

static int compare_names(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int add_folder(struct bundle *bundle, const struct blx_store *store, const char *name,
                      unsigned depth, struct blx_error *err);

static int add_entry(struct bundle *bundle, const struct blx_store *store, const char *name,
                     unsigned depth, struct blx_error *err)
{
    char path[PATH_MAX];
    struct stat st;
    int rc = blx_path_format(path, sizeof(path), err, "%s/%s", store->data_dir, name);
    if (rc < 0 || lstat(path, &st) != 0)
        return rc;
    if (S_ISDIR(st.st_mode))
        return add_folder(bundle, store, name, depth + 1, err);
    return S_ISREG(st.st_mode) ? add_file(bundle, path, name, err) : 0;
}

/* In the order of the names, so that the same files make the same bundle. */
static int add_folder(struct bundle *bundle, const struct blx_store *store, const char *name,
                      unsigned depth, struct blx_error *err)
{
    char path[PATH_MAX], below[PATH_LIMIT];
    struct dirent **names = NULL;
    int rc = blx_path_format(path, sizeof(path), err, "%s/%s", store->data_dir, name);
    if (rc < 0 || depth > DEEPEST)
        return rc;
    int count = scandir(path, &names, NULL, compare_names);
    if (count < 0)
        return errno == ENOENT ? 0 : blx_error_errno(err, -errno, "cannot read '%s'", path);
    for (int i = 0; i < count; i++) {
        if (rc == 0 && names[i]->d_name[0] != '.' && strcmp(names[i]->d_name, "lock") != 0)
            rc = blx_path_format(below, sizeof(below), err, "%s/%s", name, names[i]->d_name);
        if (rc == 0 && names[i]->d_name[0] != '.' && strcmp(names[i]->d_name, "lock") != 0)
            rc = add_entry(bundle, store, below, depth, err);
        free(names[i]);
    }
    free(names);
    return rc;
}

/* By the agents' IDs, as the copies have them. */
static int add_digest_keys(struct bundle *bundle, const struct blx_store *store,
                           struct blx_error *err)
{
    char **agents = NULL;
    size_t count = 0;
    int rc = blx_store_list_agents(store, &agents, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        char own_id[BLX_NAME_BYTES], path[PATH_MAX], name[PATH_LIMIT];
        rc = blx_own_id_read(blx_store_agent(store, agents[i]), own_id, err);
        if (rc == 0)
            rc = blx_path_format(path, sizeof(path), err, "%s/agents/%s/digest-key",
                                 store->data_dir, agents[i]);
        if (rc == 0)
            rc = blx_path_format(name, sizeof(name), err, "agents/%s/digest-key", own_id);
        if (rc == 0)
            rc = add_file(bundle, path, name, err);
    }
    blx_store_free_agents(agents, count);
    return rc;
}

static int hash_bytes(const void *bytes, size_t count, uint8_t hash[OBJECT_HASH_BYTES],
                      struct blx_error *err)
{
    struct object_digest digest;
    int rc = object_digest_begin(&digest, OBJECT_DIGEST_PLAIN, err);
    if (rc == 0)
        object_digest_add(&digest, bytes, count);
    object_digest_end(&digest, hash, NULL);
    return rc;
}

/* The key for this use, and what is authenticated: the head up to its tag, and the name's time. */
static int transform(const struct blx_key *key, struct head *head, blx_timestamp timestamp,
                     uint8_t *bytes, size_t count, bool encrypts, struct blx_error *err)
{
    uint8_t secret[BLX_XAES_KEY_BYTES];
    const blx_le64 time = blx_le64_of(timestamp);
    const struct blx_xaes_piece pieces[] = {{head, offsetof(struct head, tag)},
                                            {&time, sizeof(time)}};
    const struct blx_xaes_message message = {
        .key = secret, .nonce = head->nonce, .pieces = pieces, .piece_count = 2};
    int rc = blx_key_expand(key->secret, info, sizeof(info) - 1, secret, sizeof(secret), err);
    if (rc == 0)
        rc = encrypts ? blx_xaes_encrypt(&message, bytes, count, head->tag, err)
                      : blx_xaes_decrypt(&message, bytes, count, head->tag, err);
    OPENSSL_cleanse(secret, sizeof(secret));
    return rc;
}

static int mark_path(const struct blx_store *store, char path[PATH_MAX], struct blx_error *err)
{
    return blx_path_format(path, PATH_MAX, err, "%s/%s", store->data_dir, mark_name);
}

/* "HASH UNTIL PLACE" of the last copy: whether it is still good. */
static bool is_sent(const struct blx_store *store, const char *line, int64_t until_s)
{
    char path[PATH_MAX], found[PATH_MAX];
    if (mark_path(store, path, NULL) < 0)
        return false;
    ssize_t bytes = blx_file_read_small(AT_FDCWD, path, found, sizeof(found));
    if (bytes <= 0)
        return false;
    found[bytes] = '\0';
    char *end = strchr(found, '\n');
    if (end == NULL || strcmp(end + 1, line) != 0)
        return false;
    return strtoll(found, NULL, 10) >= until_s;
}

static int send(const struct blx_store *store, struct object_depot *depot,
                const struct blx_key *key, struct bundle *bundle, const struct object_lock *lock,
                const char *line, struct blx_error *err)
{
    char name[BLX_TIMESTAMP_TEXT_BYTES], text[BLX_COPIED_HASH_TEXT], path[PATH_MAX];
    char object[sizeof(folder) + BLX_TIMESTAMP_TEXT_BYTES + BLX_COPIED_HASH_TEXT];
    char mark[PATH_MAX];
    uint8_t hash[OBJECT_HASH_BYTES];
    struct head head = {.magic = blx_le32_of(MAGIC), .version = VERSION};
    blx_timestamp now = blx_timestamp_from_unix((int64_t)time(NULL));
    if (RAND_bytes(head.nonce, sizeof(head.nonce)) != 1)
        return blx_error_set(err, -EIO, "cannot make a random number");
    int rc = transform(key, &head, now, bundle->bytes, bundle->count, true, err);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_FREE uint8_t *content = malloc(sizeof(head) + bundle->count);
    if (content == NULL)
        return no_memory(err);
    memcpy(content, &head, sizeof(head));
    memcpy(content + sizeof(head), bundle->bytes, bundle->count);
    rc = hash_bytes(content, sizeof(head) + bundle->count, hash, err);
    blx_timestamp_format(now, name);
    blx_copied_hash_text(hash, text);
    snprintf(object, sizeof(object), "%s%s-%s", folder, name, text);
    if (rc == 0)
        rc = object_depot_put(depot, object, content, sizeof(head) + bundle->count, lock, err);
    if (rc >= 0)
        rc = mark_path(store, path, err);
    if (rc < 0)
        return rc;
    int length =
        snprintf(mark, sizeof(mark), "%lld\n%s", lock != NULL ? (long long)lock->until : 0, line);
    rc = blx_file_replace(path, mark, (size_t)length, 0600, err);
    return rc < 0 ? rc : 1;
}

/* The copies, the newest last. */
struct copies {
    struct found_copy {
        blx_timestamp timestamp;
        uint8_t hash[OBJECT_HASH_BYTES];
    } * all; /* owned */
    size_t count;
};

static int take_copy(void *arg, const char *name, time_t written)
{
    struct copies *copies = arg;
    struct found_copy copy;
    (void)written;
    if (blx_copied_parse_name(name, &copy.timestamp, copy.hash) < 0)
        return 0;
    if (blx_array_make_room(copies->all, copies->count) < 0)
        return -ENOMEM;
    copies->all[copies->count++] = copy;
    return 0;
}

int object_recovery_send(const struct blx_store *store, struct object_depot *depot,
                         const struct blx_key *key, const struct object_lock *lock,
                         struct blx_error *err)
{
    BLX_CLEANUP(bundle_done) struct bundle bundle = {0};
    uint8_t hash[OBJECT_HASH_BYTES];
    char text[BLX_COPIED_HASH_TEXT], id[BLX_KEY_ID_TEXT_BYTES], line[PATH_MAX];
    int64_t now_s = (int64_t)time(NULL);
    int rc = add_folder(&bundle, store, "pki", 0, err);
    if (rc == 0)
        rc = add_digest_keys(&bundle, store, err);
    if (rc < 0 || bundle.count == 0)
        return rc;
    rc = hash_bytes(bundle.bytes, bundle.count, hash, err);
    if (rc < 0)
        return rc;
    blx_copied_hash_text(hash, text);
    blx_key_id_format(&key->id, id);
    snprintf(line, sizeof(line), "%s %s %.2000s", text, id, object_depot_name(depot));
    /* It is sent again when three quarters of its lock are over. */
    int64_t until_s = lock != NULL ? now_s + ((int64_t)lock->until - now_s) / 4 : 0;
    if (is_sent(store, line, until_s)) {
        struct copies copies = {0}; /* the mark does not know what became of it there */
        rc = object_depot_list(depot, folder, take_copy, &copies, err);
        free(copies.all);
        if (rc < 0 || copies.count > 0)
            return rc < 0 ? rc : 0;
    }
    return send(store, depot, key, &bundle, lock, line, err);
}

static int compare_copies(const void *a, const void *b)
{
    const struct found_copy *x = a, *y = b;
    return (x->timestamp > y->timestamp) - (x->timestamp < y->timestamp);
}

/* Opens one: -ENOKEY if the key does not. */
static int open_copy(struct object_depot *depot, const struct found_copy *copy,
                     const struct blx_key *key, struct bundle *bundle, struct blx_error *err)
{
    char name[BLX_TIMESTAMP_TEXT_BYTES], text[BLX_COPIED_HASH_TEXT];
    char object[sizeof(folder) + BLX_TIMESTAMP_TEXT_BYTES + BLX_COPIED_HASH_TEXT];
    void *content = NULL;
    struct head head;
    blx_timestamp_format(copy->timestamp, name);
    blx_copied_hash_text(copy->hash, text);
    snprintf(object, sizeof(object), "%s%s-%s", folder, name, text);
    int rc =
        object_depot_read(depot, object, copy->hash, MOST_BYTES, &content, &bundle->count, err);
    if (rc < 0)
        return rc;
    bundle->bytes = content;
    bundle->room = bundle->count;
    if (bundle->count < sizeof(head))
        return blx_error_set(err, -EBADMSG, "'%s' is too short", object);
    memcpy(&head, content, sizeof(head));
    bundle->count -= sizeof(head);
    if (blx_le32_get(head.magic) != MAGIC || head.version != VERSION ||
        transform(key, &head, copy->timestamp, bundle->bytes + sizeof(head), bundle->count, false,
                  NULL) < 0)
        return blx_error_set(err, -ENOKEY,
                             "the key does not open '%s': give the one that `recovery-key` named",
                             object);
    memmove(bundle->bytes, bundle->bytes + sizeof(head), bundle->count);
    return 0;
}

/* No name leads out of the data directory, even if the one who made it lies. */
static bool is_sound(const char *name)
{
    if (strncmp(name, "pki/", 4) != 0 && strncmp(name, "agents/", 7) != 0)
        return false;
    for (const char *part = name; part != NULL;) {
        size_t length = strcspn(part, "/");
        if (length == 0 || part[0] == '.')
            return false;
        part = part[length] == '/' ? part + length + 1 : NULL;
    }
    return true;
}

/* Where the keys are put together. */
static const char adopting[] = "pki.adopting/";

static int write_file(const struct blx_store *store, const char *name, const void *content,
                      size_t bytes, struct blx_error *err)
{
    char path[PATH_MAX], dir[PATH_MAX];
    struct stat st;
    const bool is_pki = strncmp(name, "pki/", 4) == 0; /* it appears as a whole */
    int rc = blx_path_format(path, sizeof(path), err, "%s/%s%s", store->data_dir,
                             is_pki ? adopting : "", is_pki ? name + 4 : name);
    if (rc == 0)
        rc = blx_path_format(dir, sizeof(dir), err, "%.*s", (int)(strrchr(path, '/') - path), path);
    if (rc < 0)
        return rc;
    /* The digest key of an agent that was not adopted is nobody's. */
    if (strncmp(name, "agents/", 7) == 0 && stat(dir, &st) != 0)
        return 0;
    rc = blx_mkdir_parents(dir, 0700, err);
    if (rc == 0)
        rc = blx_secret_file_write(path, content, bytes, NULL, err);
    return rc < 0 ? rc : 1;
}

static int unpack(const struct blx_store *store, const struct bundle *bundle, size_t *files,
                  struct blx_error *err)
{
    int rc = 0;
    for (size_t at = 0; rc >= 0 && at < bundle->count;) {
        struct file_head head;
        char name[PATH_LIMIT] = "";
        if (bundle->count - at < sizeof(head))
            return blx_error_set(err, -EBADMSG, "the copy of the host's keys is cut off");
        memcpy(&head, bundle->bytes + at, sizeof(head));
        size_t name_bytes = blx_le32_get(head.path_bytes), bytes = blx_le32_get(head.content_bytes);
        at += sizeof(head);
        if (name_bytes >= sizeof(name) || bytes > MOST_FILE_BYTES ||
            bundle->count - at < name_bytes + bytes)
            return blx_error_set(err, -EBADMSG, "the copy of the host's keys is damaged");
        memcpy(name, bundle->bytes + at, name_bytes);
        if (!is_sound(name))
            return blx_error_set(err, -EBADMSG, "the copy of the host's keys names '%.80s'", name);
        rc = write_file(store, name, bundle->bytes + at + name_bytes, bytes, err);
        *files += rc == 1;
        at += name_bytes + bytes;
    }
    return rc < 0 ? rc : 0;
}

/* All files are there: from now on they count. */
static int install(const struct blx_store *store, const char *pki, struct blx_error *err)
{
    char made[PATH_MAX];
    int rc = blx_path_format(made, sizeof(made), err, "%s/pki.adopting", store->data_dir);
    if (rc == 0 && rename(made, pki) != 0)
        rc = blx_error_errno(err, -errno, "cannot rename '%s' to '%s'", made, pki);
    return rc < 0 ? rc : blx_fsync_parent(pki, err);
}

int object_recovery_fetch(const struct blx_store *store, struct object_depot *depot,
                          const struct blx_key *key, size_t *files, struct blx_error *err)
{
    struct copies copies = {0};
    char path[PATH_MAX];
    struct stat st;
    int rc = blx_path_format(path, sizeof(path), err, "%s/pki", store->data_dir);
    *files = 0;
    if (rc < 0)
        return rc;
    if (stat(path, &st) == 0)
        return blx_error_set(err, -EEXIST, "'%s' is there already, and stays", path);
    rc = object_depot_list(depot, folder, take_copy, &copies, err);
    if (rc == 0 && copies.count == 0)
        rc = blx_error_set(err, -ENOENT,
                           "'%s' has no copy of the host's keys: recovery-key was not configured",
                           object_depot_name(depot));
    if (rc == 0)
        qsort(copies.all, copies.count, sizeof(copies.all[0]), compare_copies);
    for (size_t i = copies.count; rc == 0 && i > 0; i--) {
        BLX_CLEANUP(bundle_done) struct bundle bundle = {0};
        int opened = open_copy(depot, &copies.all[i - 1], key, &bundle, err);
        if (opened == 0) {
            blx_error_clear(err);
            rc = unpack(store, &bundle, files, err);
            if (rc == 0)
                rc = install(store, path, err);
            break;
        }
        /* An older one is taken only if this one is no copy of ours, or damaged. */
        if (i == 1 || (opened != -ENOKEY && opened != -EBADMSG && opened != -ENOENT))
            rc = opened;
    }
    free(copies.all);
    return rc;
}
