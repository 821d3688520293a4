/* SPDX-License-Identifier: Apache-2.0 */
/* Large objects in parts, as bucket.h says. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "object/bucket_private.h"
#include "object/xml.h"

enum { PART_TEXT_BYTES = OBJECT_VALUE_BYTES * 6 + 96 };

/* "partNumber=7&uploadId=ID" or "uploadId=ID" */
static void make_part_query(char query[OBJECT_QUERY_BYTES], unsigned number, const char *upload)
{
    query[0] = '\0';
    if (number > 0)
        snprintf(query, OBJECT_QUERY_BYTES, "partNumber=%u&", number);
    strcat(query, "uploadId=");
    object_query_append(query, upload);
}

struct upload_walk {
    char *id;
};

static int take_upload_id(void *arg, const char *path, const char *text)
{
    const struct upload_walk *walk = arg;
    if (strcmp(path, "InitiateMultipartUploadResult/UploadId") == 0)
        blx_text_copy(walk->id, OBJECT_UPLOAD_BYTES, text);
    return 0;
}

int object_bucket_begin_parts(struct object_bucket *bucket, const char *key,
                              const struct object_lock *lock, char upload[OBJECT_UPLOAD_BYTES],
                              struct blx_error *err)
{
    OBJECT_CLEANUP_ANSWER struct object_answer answer = {0};
    struct object_header headers[2];
    char until[OBJECT_DATE_TEXT_BYTES];
    const struct object_request request = {.method = "POST",
                                           .key = key,
                                           .query = "uploads=",
                                           .headers = headers,
                                           .header_count =
                                               object_bucket_add_lock(lock, headers, 0, until),
                                           .body = "",
                                           .limit_bytes = OBJECT_TEXT_LIMIT_BYTES};
    struct upload_walk found = {.id = upload};
    const struct object_xml_walk walk = {.arg = &found, .end = take_upload_id};
    upload[0] = '\0';
    int rc = object_bucket_ask(bucket, &request, 200, "write", &answer, err);
    if (rc == 0)
        rc = object_xml_read(answer.body, answer.body_bytes, &walk, err);
    if (rc == 0 && upload[0] == '\0')
        rc = blx_error_set(err, -EBADMSG, "the object store gives no upload for '%s'", key);
    return rc;
}

int object_bucket_put_part(struct object_bucket *bucket, const char *key, const char *upload,
                           unsigned number, const struct object_file *file, size_t bytes,
                           char etag[OBJECT_VALUE_BYTES], struct blx_error *err)
{
    OBJECT_CLEANUP_ANSWER struct object_answer answer = {0};
    char query[OBJECT_QUERY_BYTES];
    make_part_query(query, number, upload);
    const struct object_request request = {.method = "PUT",
                                           .key = key,
                                           .query = query,
                                           .file = file,
                                           .body_bytes = bytes,
                                           .limit_bytes = OBJECT_TEXT_LIMIT_BYTES};
    int rc = object_bucket_ask(bucket, &request, 200, "write", &answer, err);
    if (rc == 0 && answer.etag[0] == '\0')
        rc = blx_error_set(err, -EBADMSG, "the object store gives no etag for a part of '%s'", key);
    blx_text_copy(etag, OBJECT_VALUE_BYTES, answer.etag);
    return rc;
}

/* The text with what XML would read itself as entities. */
static void append_text(char *out, size_t bytes, const char *text)
{
    for (size_t at = strlen(out); *text != '\0' && at + 7 < bytes; text++) {
        const char *entity = *text == '"'   ? "&quot;"
                             : *text == '&' ? "&amp;"
                             : *text == '<' ? "&lt;"
                                            : NULL;
        at += (size_t)(entity != NULL ? snprintf(out + at, bytes - at, "%s", entity)
                                      : snprintf(out + at, bytes - at, "%c", *text));
    }
}

static char *list_parts(const char (*etags)[OBJECT_VALUE_BYTES], unsigned count)
{
    size_t bytes = 128 + (size_t)count * PART_TEXT_BYTES;
    char *text = malloc(bytes);
    if (text == NULL)
        return NULL;
    snprintf(text, bytes, "<CompleteMultipartUpload>");
    for (unsigned i = 0; i < count; i++) {
        char part[PART_TEXT_BYTES];
        snprintf(part, sizeof(part), "<Part><PartNumber>%u</PartNumber><ETag>", i + 1);
        append_text(part, sizeof(part) - 32, etags[i]);
        strcat(part, "</ETag></Part>");
        strcat(text, part);
    }
    strcat(text, "</CompleteMultipartUpload>");
    return text;
}

/* A store may answer 200 and then tell an error, since putting the parts together takes time. */
static int take_end(void *arg, const char *path, const char *text)
{
    bool *is_done = arg;
    (void)text;
    if (strncmp(path, "CompleteMultipartUploadResult", 29) == 0)
        *is_done = true;
    return 0;
}

int object_bucket_end_parts(struct object_bucket *bucket, const char *key, const char *upload,
                            const char (*etags)[OBJECT_VALUE_BYTES], unsigned count,
                            char version[OBJECT_VALUE_BYTES], struct blx_error *err)
{
    OBJECT_CLEANUP_ANSWER struct object_answer answer = {0};
    BLX_CLEANUP_FREE char *body = list_parts(etags, count);
    char query[OBJECT_QUERY_BYTES];
    bool is_done = false;
    if (body == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot write '%s'", key);
    make_part_query(query, 0, upload);
    const struct object_request request = {.method = "POST",
                                           .key = key,
                                           .query = query,
                                           .body = body,
                                           .body_bytes = strlen(body),
                                           .limit_bytes = OBJECT_TEXT_LIMIT_BYTES};
    const struct object_xml_walk walk = {.arg = &is_done, .end = take_end};
    int rc = object_bucket_ask(bucket, &request, 200, "write", &answer, err);
    if (rc == 0)
        rc = object_xml_read(answer.body, answer.body_bytes, &walk, err);
    if (rc == 0 && !is_done)
        rc = blx_error_set(err, -EIO, "the object store does not put the parts of '%s' together",
                           key);
    blx_text_copy(version, OBJECT_VALUE_BYTES, answer.version);
    return rc;
}

int object_bucket_abort_parts(struct object_bucket *bucket, const char *key, const char *upload,
                              struct blx_error *err)
{
    OBJECT_CLEANUP_ANSWER struct object_answer answer = {0};
    char query[OBJECT_QUERY_BYTES];
    make_part_query(query, 0, upload);
    const struct object_request request = {
        .method = "DELETE", .key = key, .query = query, .limit_bytes = OBJECT_TEXT_LIMIT_BYTES};
    return object_bucket_ask(bucket, &request, 204, "give up", &answer, err);
}

/* An upload of the list. */
struct uploads {
    const struct object_place *place;
    object_visit_upload *visit;
    void *arg;
    char key[OBJECT_KEY_BYTES], id[OBJECT_UPLOAD_BYTES];
    time_t begun;
};

static int take_upload(void *arg, const char *path, const char *text)
{
    struct uploads *uploads = arg;
    static const char head[] = "ListMultipartUploadsResult/Upload";
    if (strncmp(path, head, sizeof(head) - 1) != 0)
        return 0;
    path += sizeof(head) - 1;
    if (strcmp(path, "/Key") == 0)
        object_strip_prefix(uploads->place, text, uploads->key);
    else if (strcmp(path, "/UploadId") == 0)
        blx_text_set(uploads->id, text);
    else if (strcmp(path, "/Initiated") == 0)
        uploads->begun = object_read_date(text);
    else if (strcmp(path, "") == 0 && uploads->key[0] != '\0')
        return uploads->visit(uploads->arg, uploads->key, uploads->id, uploads->begun);
    return 0;
}

static int begin_upload(void *arg, const char *path)
{
    struct uploads *uploads = arg;
    if (strcmp(path, "ListMultipartUploadsResult/Upload") == 0) {
        uploads->key[0] = uploads->id[0] = '\0';
        uploads->begun = 0;
    }
    return 0;
}

int object_bucket_list_uploads(struct object_bucket *bucket, const char *prefix,
                               object_visit_upload *visit, void *arg, struct blx_error *err)
{
    OBJECT_CLEANUP_ANSWER struct object_answer answer = {0};
    char query[OBJECT_QUERY_BYTES] = "prefix=";
    struct uploads uploads = {.place = object_bucket_place(bucket), .visit = visit, .arg = arg};
    object_query_append(query, uploads.place->prefix);
    object_query_append(query, prefix);
    strcat(query, "&uploads=");
    const struct object_request request = {
        .method = "GET", .key = "", .query = query, .limit_bytes = OBJECT_LIST_LIMIT_BYTES};
    const struct object_xml_walk walk = {
        .arg = &uploads, .begin = begin_upload, .end = take_upload};
    int rc = object_bucket_ask(bucket, &request, 200, "list", &answer, err);
    return rc == 0 ? object_xml_read(answer.body, answer.body_bytes, &walk, err) : rc;
}
