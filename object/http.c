/* SPDX-License-Identifier: Apache-2.0 */
#include "object/http.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <curl/curl.h>
#include <openssl/evp.h>

#include "base/assert.h"
#include "base/io.h"
#include "base/text.h"
#include "base/version.h"
#include "object/xml.h"

enum {
    TRIES = 5,
    FIRST_PAUSE_MS = 250, /* doubled after each try */
    CONNECT_TIMEOUT_S = 15,
    SILENCE_TIMEOUT_S = 60, /* less than a byte a second for so long */
    URL_BYTES = 2048,
    MD5_BYTES = 16,
    UPLOAD_BUFFER_BYTES = 1 << 20,
    FILE_PIECE_BYTES = 64 << 10,
};

struct object_http {
    const struct object_place *place;
    const struct object_credentials *credentials;
    const char *region;
    struct object_pace *pace; /* borrowed; NULL: none */
    CURL *curl;
    char problem[CURL_ERROR_SIZE];
};

/* One try. */
struct transfer {
    struct object_answer *answer;
    size_t limit_bytes;
    size_t room_bytes; /* of its body */
    struct object_pace *pace;
    bool too_large;
    const char *body; /* NULL: it comes from the file */
    struct object_file file;
    size_t left_bytes; /* of it, to be sent */
};

void object_answer_done(struct object_answer *answer)
{
    free(answer->body);
    *answer = (struct object_answer){0};
}

/* Doubles the room for the body, so that it is not copied for each piece that comes. */
static bool make_room(struct transfer *transfer, size_t bytes)
{
    size_t room = transfer->room_bytes > 0 ? transfer->room_bytes : FILE_PIECE_BYTES;
    if (transfer->answer->body != NULL && bytes <= transfer->room_bytes)
        return true;
    while (room < bytes)
        room *= 2;
    char *body = realloc(transfer->answer->body, room);
    if (body == NULL)
        return false;
    transfer->answer->body = body;
    transfer->room_bytes = room;
    return true;
}

static size_t take_body(char *bytes, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    struct object_answer *answer = transfer->answer;
    size_t more = size * count;
    if (more > transfer->limit_bytes - answer->body_bytes) {
        transfer->too_large = true;
        return 0; /* ends the transfer */
    }
    for (size_t paced = 0; transfer->pace != NULL && paced < more;)
        paced += object_pace_take(transfer->pace, more - paced);
    if (!make_room(transfer, answer->body_bytes + more + 1))
        return 0;
    memcpy(answer->body + answer->body_bytes, bytes, more);
    answer->body_bytes += more;
    answer->body[answer->body_bytes] = '\0';
    return more;
}

static size_t give_body(char *buffer, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    size_t bytes = size * count < transfer->left_bytes ? size * count : transfer->left_bytes;
    if (transfer->pace != NULL && bytes > 0)
        bytes = object_pace_take(transfer->pace, bytes);
    if (transfer->body != NULL) {
        memcpy(buffer, transfer->body, bytes);
        transfer->body += bytes;
    } else if (blx_pread_full(transfer->file.fd, buffer, bytes, transfer->file.offset) < 0) {
        return CURL_READFUNC_ABORT;
    }
    transfer->file.offset += bytes;
    transfer->left_bytes -= bytes;
    return bytes;
}

/* "Name: value\r\n"; copies the value if the name fits, made harmless. */
static bool take_value(const char *line, size_t bytes, const char *name,
                       char value[OBJECT_VALUE_BYTES])
{
    size_t length = strlen(name);
    if (bytes <= length || strncasecmp(line, name, length) != 0 || line[length] != ':')
        return false;
    line += length + 1;
    bytes -= length + 1;
    while (bytes > 0 && (line[0] == ' ' || line[0] == '\t'))
        line++, bytes--;
    while (bytes > 0 && (line[bytes - 1] == '\r' || line[bytes - 1] == '\n'))
        bytes--;
    snprintf(value, OBJECT_VALUE_BYTES, "%.*s", (int)(bytes < 1024 ? bytes : 1024), line);
    blx_text_clean(value);
    return true;
}

static size_t take_header(char *line, size_t size, size_t count, void *arg)
{
    struct object_answer *answer = ((struct transfer *)arg)->answer;
    size_t bytes = size * count;
    char date[OBJECT_VALUE_BYTES];
    if (take_value(line, bytes, "date", date))
        answer->date = curl_getdate(date, NULL);
    else if (!take_value(line, bytes, "server", answer->server) &&
             !take_value(line, bytes, "x-amz-version-id", answer->version) &&
             !take_value(line, bytes, "etag", answer->etag) &&
             !take_value(line, bytes, "x-amz-object-lock-mode", answer->lock_mode))
        take_value(line, bytes, "x-amz-object-lock-retain-until-date", answer->locked_until);
    return bytes;
}

int object_http_new(const struct object_place *place, const struct object_credentials *credentials,
                    const char *region, const char *ca, struct object_http **http,
                    struct blx_error *err)
{
    struct object_http *made = calloc(1, sizeof(*made));
    CURL *curl = made != NULL ? curl_easy_init() : NULL;
    if (curl == NULL) {
        free(made);
        return blx_error_errno(err, -ENOMEM, "cannot prepare for the object store");
    }
    *made = (struct object_http){
        .place = place, .credentials = credentials, .region = region, .curl = curl};
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L); /* the signature names the host */
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)SILENCE_TIMEOUT_S);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "blxrep/" BLX_VERSION);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, made->problem);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_READFUNCTION, give_body);
    curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_BUFFER_BYTES);
    if (ca != NULL)
        curl_easy_setopt(curl, CURLOPT_CAINFO, ca);
    *http = made;
    return 0;
}

void object_http_set_pace(struct object_http *http, struct object_pace *pace)
{
    http->pace = pace;
}

void object_http_free(struct object_http *http)
{
    if (http == NULL)
        return;
    curl_easy_cleanup(http->curl);
    free(http);
}

/* What a request says beside what its caller gave. */
struct own_headers {
    char hash[OBJECT_HASH_TEXT_BYTES];
    char date[OBJECT_DATE_BYTES];
    char md5[4 * ((MD5_BYTES + 2) / 3) + 1]; /* base64; object locks want it */
    char authorization[OBJECT_AUTHORIZATION_BYTES];
    struct object_header all[OBJECT_HEADERS];
    size_t count;
};

static void add_header(struct own_headers *own, const char *name, const char *value)
{
    blx_assert(own->count < OBJECT_HEADERS);
    own->all[own->count++] = (struct object_header){name, value};
}

static bool has_body(const struct object_request *request)
{
    return request->body != NULL || request->file != NULL;
}

/* Both of the body, which is read once. */
static int hash_body(const struct object_request *request, char sha256[OBJECT_HASH_TEXT_BYTES],
                     unsigned char md5[MD5_BYTES], struct blx_error *err)
{
    struct object_digest digest;
    char buffer[FILE_PIECE_BYTES];
    int rc = object_digest_begin(&digest, OBJECT_DIGEST_WITH_MD5, err);
    if (rc == 0 && request->body != NULL)
        object_digest_add(&digest, request->body, request->body_bytes);
    for (size_t at = 0; rc == 0 && request->file != NULL && at < request->body_bytes;) {
        size_t left = request->body_bytes - at;
        size_t bytes = left < sizeof(buffer) ? left : sizeof(buffer);
        rc = blx_pread_full(request->file->fd, buffer, bytes, request->file->offset + at);
        if (rc < 0)
            blx_error_errno(err, rc, "cannot read what is to be copied");
        object_digest_add(&digest, buffer, bytes);
        at += bytes;
    }
    uint8_t hash[OBJECT_HASH_BYTES];
    object_digest_end(&digest, hash, md5);
    object_hash_text(hash, sha256);
    return rc;
}

static int make_headers(const struct object_http *http, const struct object_request *request,
                        const char *path, struct own_headers *own, struct blx_error *err)
{
    unsigned char md5[MD5_BYTES];
    own->count = 0;
    int rc = hash_body(request, own->hash, md5, err);
    if (rc < 0)
        return rc;
    object_format_date(time(NULL), own->date);
    add_header(own, "host", http->place->host);
    add_header(own, "x-amz-content-sha256", own->hash);
    add_header(own, "x-amz-date", own->date);
    if (http->credentials->token[0] != '\0')
        add_header(own, "x-amz-security-token", http->credentials->token);
    if (has_body(request)) {
        EVP_EncodeBlock((unsigned char *)own->md5, md5, sizeof(md5));
        add_header(own, "content-md5", own->md5);
    }
    for (size_t i = 0; i < request->header_count; i++)
        add_header(own, request->headers[i].name, request->headers[i].value);
    const struct object_to_sign what = {.method = request->method,
                                        .path = path,
                                        .query = request->query != NULL ? request->query : "",
                                        .headers = own->all,
                                        .header_count = own->count,
                                        .body_hash = own->hash,
                                        .date = own->date,
                                        .region = http->region};
    return object_sign(http->credentials, &what, own->authorization, err);
}

/* NULL: no memory. A header without a value ends in ';', as libcurl wants it. */
static struct curl_slist *list_headers(const struct own_headers *own)
{
    struct curl_slist *list = NULL;
    char line[OBJECT_TOKEN_BYTES + 64];
    snprintf(line, sizeof(line), "authorization: %s", own->authorization);
    for (size_t i = 0;; i++) {
        struct curl_slist *longer = curl_slist_append(list, line);
        if (longer == NULL) {
            curl_slist_free_all(list);
            return NULL;
        }
        list = longer;
        if (i == own->count)
            break;
        snprintf(line, sizeof(line), "%s: %s", own->all[i].name, own->all[i].value);
    }
    struct curl_slist *longer = curl_slist_append(list, "expect:");
    if (longer == NULL)
        curl_slist_free_all(list);
    return longer;
}

static void choose_method(CURL *curl, const struct object_request *request)
{
    curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L); /* and nothing is left of the last request */
    curl_easy_setopt(curl, CURLOPT_NOBODY, strcmp(request->method, "HEAD") == 0 ? 1L : 0L);
    if (has_body(request)) {
        curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->body_bytes);
    }
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
}

static CURLcode try_once(struct object_http *http, const struct object_request *request,
                         const char *url, const struct curl_slist *headers,
                         struct transfer *transfer)
{
    CURL *curl = http->curl;
    long status = 0;
    object_answer_done(transfer->answer);
    transfer->room_bytes = 0;
    transfer->body = request->body;
    transfer->file = request->file != NULL ? *request->file : (struct object_file){.fd = -1};
    transfer->left_bytes = request->body_bytes;
    http->problem[0] = '\0';
    choose_method(curl, request);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(curl, CURLOPT_READDATA, transfer);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_off_t content_bytes = -1;
    curl_easy_getinfo(curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &content_bytes);
    transfer->answer->status = (int)status;
    transfer->answer->content_bytes = content_bytes > 0 ? (uint64_t)content_bytes : 0;
    return code;
}

static bool means_later(CURLcode code, const struct transfer *transfer)
{
    int status = transfer->answer->status;
    if (code == CURLE_OK)
        return status == 408 || status == 429 || status == 500 || status >= 502;
    return !transfer->too_large && code != CURLE_PEER_FAILED_VERIFICATION &&
           code != CURLE_SSL_CACERT_BADFILE && code != CURLE_OUT_OF_MEMORY;
}

static int explain_silence(const struct object_http *http, CURLcode code,
                           const struct transfer *transfer, struct blx_error *err)
{
    const char *problem = http->problem[0] != '\0' ? http->problem : curl_easy_strerror(code);
    const char *host = http->place->host;
    if (transfer->too_large)
        return blx_error_set(err, -EFBIG, "the object store '%s' answers with more than %zu bytes",
                             host, transfer->limit_bytes);
    switch (code) {
    case CURLE_OUT_OF_MEMORY:
        return blx_error_errno(err, -ENOMEM, "cannot ask the object store '%s'", host);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CONNECT_ERROR:
        return blx_error_set(err, -EPROTO,
                             "the object store '%s' is not trusted: %s; if it has a CA of its own "
                             "name it by ca: \"FILE\"",
                             host, problem);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
        return blx_error_set(err, -EHOSTUNREACH,
                             "the object store '%s' cannot be reached: %s; check the URL, the "
                             "firewall and https_proxy",
                             host, problem);
    default:
        return blx_error_set(err, -EIO, "the object store '%s' does not answer: %s", host, problem);
    }
}

/* The code and the message of an error's XML. */
static int take_error_text(void *arg, const char *path, const char *text)
{
    struct object_answer *answer = arg;
    char *field = strcmp(path, "Error/Code") == 0      ? answer->code
                  : strcmp(path, "Error/Message") == 0 ? answer->message
                                                       : NULL;
    if (field != NULL) {
        snprintf(field, OBJECT_VALUE_BYTES, "%.*s", OBJECT_VALUE_BYTES - 1, text);
        blx_text_clean(field);
    }
    return 0;
}

static void take_error(struct object_answer *answer)
{
    const struct object_xml_walk walk = {.arg = answer, .end = take_error_text};
    if (answer->status >= 300 && answer->body != NULL)
        object_xml_read(answer->body, answer->body_bytes, &walk, NULL); /* or it stays unknown */
}

int object_http_send(struct object_http *http, const struct object_request *request,
                     struct object_answer *answer, struct blx_error *err)
{
    char path[OBJECT_BUCKET_BYTES + OBJECT_KEY_BYTES + 2], url[URL_BYTES];
    struct transfer transfer = {
        .answer = answer, .limit_bytes = request->limit_bytes, .pace = http->pace};
    CURLcode code = CURLE_OK;
    int rc = object_place_path(http->place, request->key, path, sizeof(path), err);
    if (rc < 0)
        return rc;
    snprintf(url, sizeof(url), "%s://%s%s%s%s", http->place->tls ? "https" : "http",
             http->place->host, path, request->query != NULL ? "?" : "",
             request->query != NULL ? request->query : "");
    for (int tried = 0; tried < TRIES; tried++) {
        struct own_headers own;
        if (tried > 0)
            poll(NULL, 0, FIRST_PAUSE_MS << (tried - 1));
        rc = make_headers(http, request, path, &own, err); /* each try has its date */
        if (rc < 0)
            return rc;
        struct curl_slist *headers = list_headers(&own);
        if (headers == NULL)
            return blx_error_errno(err, -ENOMEM, "cannot ask the object store");
        code = try_once(http, request, url, headers, &transfer);
        curl_slist_free_all(headers);
        if (!means_later(code, &transfer))
            break;
    }
    if (code != CURLE_OK)
        return explain_silence(http, code, &transfer, err);
    take_error(answer);
    return 0;
}

struct known_code {
    const char *code;
    int rc;
    const char *way_out;
};

static const struct known_code known_codes[] = {
    {"AccessDenied", -EACCES, "these credentials may not do that: see the bucket's policy"},
    {"InvalidAccessKeyId", -EACCES, "the store does not know this access key"},
    {"SignatureDoesNotMatch", -EACCES, "the secret, or the region, is another one"},
    {"AuthorizationHeaderMalformed", -EACCES, "the region is another one: write region: \"...\""},
    {"RequestTimeTooSkewed", -EACCES, "the clocks differ: is this host's time right?"},
    {"ExpiredToken", -EACCES, "the session's token has expired"},
    {"NoSuchBucket", -ENOENT, "make the bucket, with object lock, or mend the URL"},
    {"NoSuchKey", -ENOENT, ""},
    {"NoSuchVersion", -ENOENT, ""},
    {"PermanentRedirect", -EIO, "the bucket is in another region"},
};

int object_answer_explain(const struct object_answer *answer, const char *what,
                          struct blx_error *err)
{
    int rc = answer->status == 403 ? -EACCES : answer->status == 404 ? -ENOENT : -EIO;
    const char *way_out = "";
    for (size_t i = 0; i < sizeof(known_codes) / sizeof(known_codes[0]); i++) {
        if (strcmp(known_codes[i].code, answer->code) != 0)
            continue;
        rc = known_codes[i].rc;
        way_out = known_codes[i].way_out;
    }
    return blx_error_set(err, rc, "%s: the object store answers %d%s%s%s%s%s%s", what,
                         answer->status, answer->code[0] != '\0' ? " " : "", answer->code,
                         answer->message[0] != '\0' ? ": " : "", answer->message,
                         way_out[0] != '\0' ? "; " : "", way_out);
}
