/* SPDX-License-Identifier: Apache-2.0 */
#include "object/bucket_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "object/xml.h"

enum {
    FOLDERS_A_PAGE = 1000,
    MOST_PAGES = 1 << 20, /* a store whose list has no end */
};

struct object_bucket {
    struct object_place place;
    struct object_credentials credentials;
    struct object_http *http;
    char name[OBJECT_HOST_BYTES + OBJECT_BUCKET_BYTES + OBJECT_KEY_BYTES + 16];
    char software[OBJECT_VALUE_BYTES];
    time_t store_time; /* 0: not told */
    time_t our_time;
};

static const char *const mode_names[] = {
    [BLX_OBJECT_LOCK_NONE] = "",
    [BLX_OBJECT_LOCK_GOVERNANCE] = "GOVERNANCE",
    [BLX_OBJECT_LOCK_COMPLIANCE] = "COMPLIANCE",
};

const char *object_lock_name(enum blx_object_lock mode)
{
    return mode_names[mode];
}

static enum blx_object_lock lock_mode_of(const char *name)
{
    for (int mode = BLX_OBJECT_LOCK_GOVERNANCE; mode <= BLX_OBJECT_LOCK_COMPLIANCE; mode++) {
        if (strcmp(name, mode_names[mode]) == 0)
            return (enum blx_object_lock)mode;
    }
    return BLX_OBJECT_LOCK_NONE;
}

static void format_date(time_t when, char text[OBJECT_DATE_TEXT_BYTES])
{
    struct tm utc = {0};
    gmtime_r(&when, &utc);
    strftime(text, OBJECT_DATE_TEXT_BYTES, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

time_t object_read_date(const char *text)
{
    struct tm utc = {0};
    return strptime(text, "%Y-%m-%dT%H:%M:%S", &utc) != NULL ? timegm(&utc) : 0;
}

int object_bucket_open(const struct blx_config_object_store *config, struct object_bucket **bucket,
                       struct blx_error *err)
{
    struct object_bucket *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot open the object store");
    int rc = object_place_parse(config, &made->place, err);
    if (rc == 0)
        rc = object_credentials_load(config->credentials, &made->credentials, err);
    if (rc == 0)
        rc = object_http_new(&made->place, &made->credentials,
                             config->region != NULL ? config->region : "us-east-1", config->ca,
                             &made->http, err);
    if (rc < 0) {
        object_bucket_close(made);
        return rc;
    }
    const struct object_place *place = &made->place;
    snprintf(made->name, sizeof(made->name), "%s://%s/%s%s%s", place->tls ? "https" : "http",
             place->host, place->bucket_in_host ? "" : place->bucket,
             place->bucket_in_host ? "" : "/", place->prefix);
    *bucket = made;
    return 0;
}

void object_bucket_close(struct object_bucket *bucket)
{
    if (bucket == NULL)
        return;
    object_http_free(bucket->http);
    object_credentials_done(&bucket->credentials);
    free(bucket);
}

void object_bucket_set_pace(struct object_bucket *bucket, struct object_pace *pace)
{
    object_http_set_pace(bucket->http, pace);
}

const char *object_bucket_name(const struct object_bucket *bucket)
{
    return bucket->name;
}

bool object_bucket_describe(const struct object_bucket *bucket, char software[OBJECT_VALUE_BYTES],
                            int64_t *clock_ahead_s)
{
    blx_text_copy(software, OBJECT_VALUE_BYTES, bucket->software);
    *clock_ahead_s = (int64_t)bucket->store_time - (int64_t)bucket->our_time;
    return bucket->store_time != 0;
}

/* Sends, and remembers what the store says of itself. 0 if the status is one of the expected two;
 * otherwise the answer explains. `what` names the attempt: "cannot write 'KEY'". */
static int ask(struct object_bucket *bucket, const struct object_request *request, int expected,
               int also, const char *what, struct object_answer *answer, struct blx_error *err)
{
    int rc = object_http_send(bucket->http, request, answer, err);
    if (rc < 0)
        return rc;
    if (answer->server[0] != '\0')
        blx_text_set(bucket->software, answer->server);
    if (answer->date != 0) {
        bucket->store_time = answer->date;
        bucket->our_time = time(NULL);
    }
    return answer->status == expected || answer->status == also
               ? 0
               : object_answer_explain(answer, what, err);
}

/* "cannot VERB 'KEY'" */
static const char *name_attempt(char text[OBJECT_KEY_BYTES + 32], const char *verb, const char *key)
{
    snprintf(text, OBJECT_KEY_BYTES + 32, "cannot %.16s '%s'", verb, key);
    return text;
}

void object_query_append(char query[OBJECT_QUERY_BYTES], const char *text)
{
    static const char hex[] = "0123456789ABCDEF";
    size_t at = strlen(query);
    for (const unsigned char *c = (const unsigned char *)text;
         *c != '\0' && at + 4 < OBJECT_QUERY_BYTES; c++) {
        if ((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
            strchr("-._~", *c) != NULL) {
            query[at++] = (char)*c;
        } else {
            query[at++] = '%';
            query[at++] = hex[*c >> 4];
            query[at++] = hex[*c & 15];
        }
    }
    query[at] = '\0';
}

const struct object_place *object_bucket_place(const struct object_bucket *bucket)
{
    return &bucket->place;
}

int object_bucket_ask(struct object_bucket *bucket, const struct object_request *request,
                      int expected, const char *verb, struct object_answer *answer,
                      struct blx_error *err)
{
    char what[OBJECT_KEY_BYTES + 32];
    return ask(bucket, request, expected, expected, name_attempt(what, verb, request->key), answer,
               err);
}

/* "first=&versionId=ID" or shorter; NULL if nothing is asked. `first` may be NULL. */
static const char *make_query(char query[OBJECT_QUERY_BYTES], const char *first,
                              const char *version)
{
    query[0] = '\0';
    if (first != NULL)
        snprintf(query, OBJECT_QUERY_BYTES, "%s=", first);
    if (version[0] != '\0') {
        strcat(query, first != NULL ? "&versionId=" : "versionId=");
        object_query_append(query, version);
    }
    return query[0] != '\0' ? query : NULL;
}

size_t object_bucket_add_lock(const struct object_lock *lock, struct object_header *headers,
                              size_t count, char until[OBJECT_DATE_TEXT_BYTES])
{
    if (lock == NULL || lock->mode == BLX_OBJECT_LOCK_NONE)
        return count;
    format_date(lock->until, until);
    headers[count++] = (struct object_header){"x-amz-object-lock-mode", mode_names[lock->mode]};
    headers[count++] = (struct object_header){"x-amz-object-lock-retain-until-date", until};
    return count;
}

/* The request has key and body. */
static int put(struct object_bucket *bucket, struct object_request *request,
               const struct object_lock *lock, enum object_write how,
               char version[OBJECT_VALUE_BYTES], struct blx_error *err)
{
    OBJECT_CLEANUP_ANSWER struct object_answer answer = {0};
    struct object_header headers[3];
    char until[OBJECT_DATE_TEXT_BYTES], what[OBJECT_KEY_BYTES + 32];
    size_t count = 0;
    if (how == OBJECT_WRITE_ONCE)
        headers[count++] = (struct object_header){"if-none-match", "*"};
    request->method = "PUT";
    request->headers = headers;
    request->header_count = object_bucket_add_lock(lock, headers, count, until);
    request->limit_bytes = OBJECT_TEXT_LIMIT_BYTES;
    int rc =
        ask(bucket, request, 200, 200, name_attempt(what, "write", request->key), &answer, err);
    if (rc < 0 && how == OBJECT_WRITE_ONCE && (answer.status == 412 || answer.status == 409))
        rc = -EEXIST;
    if (rc == 0)
        blx_text_copy(version, OBJECT_VALUE_BYTES, answer.version);
    return rc;
}

int object_bucket_put(struct object_bucket *bucket, const char *key, const void *content,
                      size_t bytes, const struct object_lock *lock, enum object_write how,
                      char version[OBJECT_VALUE_BYTES], struct blx_error *err)
{
    struct object_request request = {.key = key, .body = content, .body_bytes = bytes};
    return put(bucket, &request, lock, how, version, err);
}

int object_bucket_put_file(struct object_bucket *bucket, const char *key,
                           const struct object_file *file, size_t bytes,
                           const struct object_lock *lock, enum object_write how,
                           char version[OBJECT_VALUE_BYTES], struct blx_error *err)
{
    struct object_request request = {.key = key, .file = file, .body_bytes = bytes};
    return put(bucket, &request, lock, how, version, err);
}

int object_bucket_look(struct object_bucket *bucket, const char *key, uint64_t *bytes,
                       struct blx_error *err)
{
    OBJECT_CLEANUP_ANSWER struct object_answer answer = {0};
    char what[OBJECT_KEY_BYTES + 32];
    const struct object_request request = {
        .method = "HEAD", .key = key, .limit_bytes = OBJECT_TEXT_LIMIT_BYTES};
    int rc = ask(bucket, &request, 200, 200, name_attempt(what, "look at", key), &answer, err);
    *bytes = answer.content_bytes;
    return rc;
}

int object_bucket_get(struct object_bucket *bucket, const char *key, const char *version,
                      uint64_t offset, void *content, size_t bytes, struct blx_error *err)
{
    OBJECT_CLEANUP_ANSWER struct object_answer answer = {0};
    char query[OBJECT_QUERY_BYTES], range[64], what[OBJECT_KEY_BYTES + 32];
    snprintf(range, sizeof(range), "bytes=%" PRIu64 "-%" PRIu64, offset, offset + bytes - 1);
    const struct object_header header = {"range", range};
    const struct object_request request = {
        .method = "GET",
        .key = key,
        .query = make_query(query, NULL, version),
        .headers = &header,
        .header_count = 1,
        /* an error's text may be longer than what is asked for */
        .limit_bytes = bytes > OBJECT_TEXT_LIMIT_BYTES ? bytes : OBJECT_TEXT_LIMIT_BYTES};
    int rc = ask(bucket, &request, 206, 206, name_attempt(what, "read", key), &answer, err);
    if (rc < 0)
        return rc;
    if (answer.body_bytes != bytes)
        return blx_error_set(err, -EBADMSG,
                             "the object store sends %zu bytes of '%s' from %" PRIu64
                             " instead of %zu",
                             answer.body_bytes, key, offset, bytes);
    memcpy(content, answer.body, bytes);
    return 0;
}

static const struct object_header bypass_header = {"x-amz-bypass-governance-retention", "true"};

int object_bucket_delete(struct object_bucket *bucket, const char *key, const char *version,
                         enum object_bypass bypass, struct blx_error *err)
{
    OBJECT_CLEANUP_ANSWER struct object_answer answer = {0};
    char query[OBJECT_QUERY_BYTES], what[OBJECT_KEY_BYTES + 32];
    const struct object_request request = {.method = "DELETE",
                                           .key = key,
                                           .query = make_query(query, NULL, version),
                                           .headers = &bypass_header,
                                           .header_count = bypass == OBJECT_USE_BYPASS ? 1 : 0,
                                           .limit_bytes = OBJECT_TEXT_LIMIT_BYTES};
    return ask(bucket, &request, 204, 200, name_attempt(what, "delete", key), &answer, err);
}

int object_bucket_set_lock(struct object_bucket *bucket, const char *key, const char *version,
                           const struct object_lock *lock, enum object_bypass bypass,
                           struct blx_error *err)
{
    OBJECT_CLEANUP_ANSWER struct object_answer answer = {0};
    char query[OBJECT_QUERY_BYTES], until[OBJECT_DATE_TEXT_BYTES], body[256],
        what[OBJECT_KEY_BYTES + 32];
    format_date(lock->until, until);
    snprintf(body, sizeof(body),
             "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Mode>%s</Mode>"
             "<RetainUntilDate>%s</RetainUntilDate></Retention>",
             mode_names[lock->mode], until);
    const struct object_request request = {.method = "PUT",
                                           .key = key,
                                           .query = make_query(query, "retention", version),
                                           .headers = &bypass_header,
                                           .header_count = bypass == OBJECT_USE_BYPASS ? 1 : 0,
                                           .body = body,
                                           .body_bytes = strlen(body),
                                           .limit_bytes = OBJECT_TEXT_LIMIT_BYTES};
    return ask(bucket, &request, 200, 204, name_attempt(what, "lock", key), &answer, err);
}

static int take_lock(void *arg, const char *path, const char *text)
{
    struct object_lock *lock = arg;
    if (strcmp(path, "Retention/Mode") == 0)
        lock->mode = lock_mode_of(text);
    else if (strcmp(path, "Retention/RetainUntilDate") == 0)
        lock->until = object_read_date(text);
    return 0;
}

int object_bucket_get_lock(struct object_bucket *bucket, const char *key, const char *version,
                           struct object_lock *lock, struct blx_error *err)
{
    OBJECT_CLEANUP_ANSWER struct object_answer answer = {0};
    char query[OBJECT_QUERY_BYTES], what[OBJECT_KEY_BYTES + 32];
    const struct object_request request = {.method = "GET",
                                           .key = key,
                                           .query = make_query(query, "retention", version),
                                           .limit_bytes = OBJECT_TEXT_LIMIT_BYTES};
    *lock = (struct object_lock){0};
    struct blx_error cause = {0};
    int rc = ask(bucket, &request, 200, 200, name_attempt(what, "see the lock of", key), &answer,
                 &cause);
    if (rc < 0 && strcmp(answer.code, "NoSuchObjectLockConfiguration") == 0)
        return 0;
    if (rc < 0)
        return blx_error_copy(err, rc, &cause);
    const struct object_xml_walk walk = {.arg = lock, .end = take_lock};
    return object_xml_read(answer.body, answer.body_bytes, &walk, err);
}

/* A question about the bucket that is answered by one word at one path. */
struct word {
    const char *path;
    const char *wanted;
    bool *found;
};

static int take_word(void *arg, const char *path, const char *text)
{
    const struct word *word = arg;
    if (strcmp(path, word->path) == 0)
        *word->found = strcmp(text, word->wanted) == 0;
    return 0;
}

static int ask_word(struct object_bucket *bucket, const char *query, struct word word,
                    const char *absent_code, struct blx_error *err)
{
    OBJECT_CLEANUP_ANSWER struct object_answer answer = {0};
    struct blx_error cause = {0};
    const struct object_request request = {
        .method = "GET", .key = "", .query = query, .limit_bytes = OBJECT_TEXT_LIMIT_BYTES};
    *word.found = false;
    int rc = ask(bucket, &request, 200, 200, "cannot look at the bucket", &answer, &cause);
    if (rc < 0 && absent_code != NULL && strcmp(answer.code, absent_code) == 0)
        return 0;
    if (rc < 0)
        return blx_error_copy(err, rc, &cause);
    const struct object_xml_walk walk = {.arg = &word, .end = take_word};
    return object_xml_read(answer.body, answer.body_bytes, &walk, err);
}

int object_bucket_get_versioning(struct object_bucket *bucket, bool *keeps, struct blx_error *err)
{
    return ask_word(bucket, "versioning=",
                    (struct word){"VersioningConfiguration/Status", "Enabled", keeps}, NULL, err);
}

int object_bucket_get_locking(struct object_bucket *bucket, bool *can_lock, struct blx_error *err)
{
    return ask_word(bucket, "object-lock=",
                    (struct word){"ObjectLockConfiguration/ObjectLockEnabled", "Enabled", can_lock},
                    "ObjectLockConfigurationNotFoundError", err);
}

/* A page of a list, while it is read. */
struct page {
    const struct object_place *place;
    object_visit *visit;
    void *arg;
    object_visit_folder *visit_folder; /* NULL: keys are listed */
    const char *folder;                /* the prefix that they lie below */
    struct object_version version;     /* the one that is being read */
    bool has_more;
    char next_key[OBJECT_KEY_BYTES];
    char next_version[OBJECT_VALUE_BYTES];
    struct blx_error *err;
};

static int begin_entry(void *arg, const char *path)
{
    struct page *page = arg;
    if (strcmp(path, "ListVersionsResult/Version") == 0)
        page->version = (struct object_version){0};
    else if (strcmp(path, "ListVersionsResult/DeleteMarker") == 0)
        page->version = (struct object_version){.is_marker = true};
    return 0;
}

bool object_strip_prefix(const struct object_place *place, const char *text,
                         char key[OBJECT_KEY_BYTES])
{
    size_t length = strlen(place->prefix);
    if (strncmp(text, place->prefix, length) != 0 || strlen(text) >= OBJECT_KEY_BYTES)
        return false;
    blx_text_copy(key, OBJECT_KEY_BYTES, text + length);
    return true;
}

static int take_entry(struct page *page, const char *field, const char *text)
{
    struct object_version *version = &page->version;
    if (strcmp(field, "") == 0)
        return version->key[0] != '\0' && page->visit != NULL ? page->visit(page->arg, version) : 0;
    if (strcmp(field, "/Key") == 0)
        object_strip_prefix(page->place, text, version->key);
    else if (strcmp(field, "/VersionId") == 0)
        blx_text_copy(version->id, sizeof(version->id), text);
    else if (strcmp(field, "/LastModified") == 0)
        version->written = object_read_date(text);
    else if (strcmp(field, "/IsLatest") == 0)
        version->is_newest = strcmp(text, "true") == 0;
    else if (strcmp(field, "/Size") == 0)
        version->bytes = strtoull(text, NULL, 10);
    return 0;
}

/* "PREFIX/folder/NAME/" */
static int take_folder(const struct page *page, const char *text)
{
    char key[OBJECT_KEY_BYTES] = "";
    size_t length = strlen(page->folder);
    if (page->visit_folder == NULL || !object_strip_prefix(page->place, text, key) ||
        strncmp(key, page->folder, length) != 0)
        return 0;
    char *name = key + length, *slash = strchr(name, '/');
    if (slash == NULL || slash == name || slash[1] != '\0')
        return 0;
    *slash = '\0';
    return page->visit_folder(page->arg, name);
}

static int end_entry(void *arg, const char *path, const char *text)
{
    static const char list[] = "ListVersionsResult/";
    static const char *const entries[] = {"Version", "DeleteMarker"};
    struct page *page = arg;
    if (strncmp(path, list, sizeof(list) - 1) != 0)
        return 0;
    path += sizeof(list) - 1;
    for (int i = 0; i < 2; i++) {
        size_t length = strlen(entries[i]);
        if (strncmp(path, entries[i], length) == 0 && (path[length] == '\0' || path[length] == '/'))
            return take_entry(page, path + length, text);
    }
    if (strcmp(path, "CommonPrefixes/Prefix") == 0)
        return take_folder(page, text);
    if (strcmp(path, "IsTruncated") == 0)
        page->has_more = strcmp(text, "true") == 0;
    else if (strcmp(path, "NextKeyMarker") == 0)
        blx_text_copy(page->next_key, sizeof(page->next_key), text);
    else if (strcmp(path, "NextVersionIdMarker") == 0)
        blx_text_copy(page->next_version, sizeof(page->next_version), text);
    return 0;
}

/* Its parts stand in the order that a signature wants. */
static void make_list_query(char query[OBJECT_QUERY_BYTES], const struct page *page,
                            const char *prefix, unsigned page_size)
{
    query[0] = '\0';
    if (page->visit_folder != NULL)
        strcat(query, "delimiter=%2F&");
    if (page->next_key[0] != '\0') {
        strcat(query, "key-marker=");
        object_query_append(query, page->next_key);
        strcat(query, "&");
    }
    snprintf(query + strlen(query), OBJECT_QUERY_BYTES - strlen(query),
             "max-keys=%u&prefix=", page_size);
    object_query_append(query, page->place->prefix);
    object_query_append(query, prefix);
    if (page->next_version[0] != '\0') {
        strcat(query, "&version-id-marker=");
        object_query_append(query, page->next_version);
    }
    strcat(query, "&versions=");
}

static int list(struct object_bucket *bucket, const char *prefix, unsigned page_size,
                struct page *page, struct blx_error *err)
{
    for (unsigned pages = 0; pages < MOST_PAGES; pages++) {
        OBJECT_CLEANUP_ANSWER struct object_answer answer = {0};
        char query[OBJECT_QUERY_BYTES], before[OBJECT_KEY_BYTES],
            before_version[OBJECT_VALUE_BYTES];
        make_list_query(query, page, prefix, page_size);
        blx_text_set(before, page->next_key);
        blx_text_set(before_version, page->next_version);
        const struct object_request request = {
            .method = "GET", .key = "", .query = query, .limit_bytes = OBJECT_LIST_LIMIT_BYTES};
        int rc = ask(bucket, &request, 200, 200, "cannot list the bucket", &answer, err);
        if (rc < 0)
            return rc;
        page->has_more = false;
        page->next_key[0] = page->next_version[0] = '\0';
        const struct object_xml_walk walk = {.arg = page, .begin = begin_entry, .end = end_entry};
        rc = object_xml_read(answer.body, answer.body_bytes, &walk, err);
        if (rc < 0 || !page->has_more)
            return rc;
        if (strcmp(before, page->next_key) == 0 && strcmp(before_version, page->next_version) == 0)
            break;
    }
    return blx_error_set(err, -EBADMSG, "the list of '%s' has no end: the object store repeats it",
                         bucket->name);
}

int object_bucket_list(struct object_bucket *bucket, const char *prefix, unsigned page_size,
                       object_visit *visit, void *arg, struct blx_error *err)
{
    struct page page = {.place = &bucket->place, .visit = visit, .arg = arg, .err = err};
    return list(bucket, prefix, page_size, &page, err);
}

int object_bucket_list_folders(struct object_bucket *bucket, const char *prefix,
                               object_visit_folder *visit, void *arg, struct blx_error *err)
{
    struct page page = {
        .place = &bucket->place, .visit_folder = visit, .folder = prefix, .arg = arg, .err = err};
    return list(bucket, prefix, FOLDERS_A_PAGE, &page, err);
}
