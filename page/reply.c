/* SPDX-License-Identifier: Apache-2.0 */
#include "page/reply.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "page/html.h"

enum { GZIP_WINDOW = 15 + 16, GZIP_MEMORY = 8, WORTH_PACKING = 1024 };

enum MHD_Result page_reply_guard(struct MHD_Response *response)
{
    static const char *const headers[][2] = {
        {"Content-Security-Policy",
         "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
         "object-src 'none'"},
        {"X-Content-Type-Options", "nosniff"},
        {"X-Frame-Options", "DENY"},
        {"Referrer-Policy", "no-referrer"},
        {"Cross-Origin-Opener-Policy", "same-origin"},
        {"Cross-Origin-Resource-Policy", "same-origin"},
    };
    for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
        if (MHD_add_response_header(response, headers[i][0], headers[i][1]) != MHD_YES)
            return MHD_NO;
    return MHD_YES;
}

bool page_takes_gzip(const struct page_request *request)
{
    const char *takes = page_request_header(request, MHD_HTTP_HEADER_ACCEPT_ENCODING);
    const char *found = takes != NULL ? strstr(takes, "gzip") : NULL;
    return found != NULL && strncmp(found, "gzip;q=0", 8) != 0;
}

int page_pack(const void *text, size_t bytes, char **packed, size_t *packed_bytes)
{
    z_stream stream = {.next_in = (Bytef *)(uintptr_t)text, .avail_in = (uInt)bytes};
    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    size_t room = deflateBound(&stream, bytes);
    BLX_CLEANUP_FREE char *made = malloc(room);
    stream.next_out = (Bytef *)made;
    stream.avail_out = (uInt)room;
    int rc = made != NULL ? deflate(&stream, Z_FINISH) : Z_MEM_ERROR;
    *packed_bytes = stream.total_out;
    deflateEnd(&stream);
    if (rc != Z_STREAM_END)
        return -ENOMEM;
    *packed = blx_take_ptr(made);
    return 0;
}

/* Packs the text if that is worth it. */
static const char *pack_reply(const struct page_request *request, struct page_reply *reply)
{
    char *packed = NULL;
    size_t packed_bytes = 0;
    if (reply->packing != PAGE_PACKED || reply->bytes < WORTH_PACKING ||
        !page_takes_gzip(request) ||
        page_pack(reply->text, reply->bytes, &packed, &packed_bytes) < 0)
        return NULL;
    free(reply->text);
    reply->text = packed;
    reply->bytes = packed_bytes;
    return "gzip";
}

static enum MHD_Result add_header(struct MHD_Response *response, const char *name,
                                  const char *value)
{
    return value == NULL ? MHD_YES : MHD_add_response_header(response, name, value);
}

/* A header holds no line breaks and no other letters than ASCII. */
static enum MHD_Result add_note(struct MHD_Response *response, const char *note)
{
    BLX_CLEANUP_FREE char *word = NULL;
    size_t bytes = 0;
    FILE *out = note != NULL && note[0] != '\0' ? open_memstream(&word, &bytes) : NULL;
    if (out == NULL)
        return MHD_YES;
    page_html_word(out, note);
    return fclose(out) == 0 ? add_header(response, PAGE_NOTE_HEADER, word) : MHD_NO;
}

enum MHD_Result page_reply_send(const struct page_request *request, const struct page_reply *reply)
{
    struct page_reply sent = *reply;
    const char *encoding = pack_reply(request, &sent);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(sent.bytes, sent.text, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(sent.text);
        return MHD_NO;
    }
    const char *allow = sent.status == MHD_HTTP_METHOD_NOT_ALLOWED ? "GET, HEAD, POST" : NULL;
    enum MHD_Result result = page_reply_guard(response);
    if (result == MHD_YES)
        result = add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, sent.type);
    if (result == MHD_YES)
        result = add_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (result == MHD_YES)
        result = add_header(response, MHD_HTTP_HEADER_CONTENT_ENCODING, encoding);
    if (result == MHD_YES)
        result = add_header(response, MHD_HTTP_HEADER_SET_COOKIE, sent.cookie);
    if (result == MHD_YES)
        result = add_header(response, MHD_HTTP_HEADER_ALLOW, allow);
    if (result == MHD_YES)
        result = add_note(response, sent.note);
    if (result == MHD_YES)
        result = MHD_queue_response(request->connection, sent.status, response);
    MHD_destroy_response(response);
    return result;
}

enum MHD_Result page_reply_answer(const struct page_request *request,
                                  const struct page_answer *answer)
{
    char *copy = malloc(answer->bytes + 1);
    if (copy == NULL)
        return MHD_NO;
    memcpy(copy, answer->text, answer->bytes);
    copy[answer->bytes] = '\0';
    const struct page_reply reply = {.status = MHD_HTTP_OK,
                                     .type = PAGE_TYPE_JSON,
                                     .text = copy,
                                     .bytes = answer->bytes,
                                     .packing = PAGE_PACKED,
                                     .note = answer->note};
    return page_reply_send(request, &reply);
}

unsigned page_status_of(const struct blx_error *err)
{
    switch (err->code) {
    case -EINVAL:
        return MHD_HTTP_BAD_REQUEST;
    case -EACCES:
        return MHD_HTTP_FORBIDDEN;
    case -ENOENT:
        return MHD_HTTP_NOT_FOUND;
    case -ETIMEDOUT:
        return MHD_HTTP_GATEWAY_TIMEOUT;
    case -EIO:
        return MHD_HTTP_BAD_GATEWAY;
    case -EBUSY:
        return MHD_HTTP_SERVICE_UNAVAILABLE;
    default:
        return MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
}

enum MHD_Result page_reply_error(const struct page_request *request, unsigned status,
                                 const struct blx_error *err)
{
    bool json = strncmp(request->url, "/api/", 5) == 0;
    char *text = NULL;
    size_t bytes = 0;
    FILE *out = open_memstream(&text, &bytes);
    if (out == NULL)
        return MHD_NO;
    if (json) {
        struct blx_json writer = {.out = out};
        blx_json_open(&writer, NULL, '{');
        blx_json_string(&writer, "error", err->message);
        blx_json_close(&writer, '}');
    } else {
        fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
              "<meta name=\"viewport\" content=\"width=device-width\"><title>blxrep</title>"
              "<link rel=\"stylesheet\" href=\"/page.css\"></head>\n<body><main><h1>blxrep</h1>\n"
              "<p role=\"alert\">",
              out);
        page_html_text(out, err->message);
        fputs("</p>\n</main></body></html>\n", out);
    }
    if (fclose(out) != 0) {
        free(text);
        return MHD_NO;
    }
    const struct page_reply reply = {.status = status,
                                     .type = json ? PAGE_TYPE_JSON : PAGE_TYPE_HTML,
                                     .text = text,
                                     .bytes = bytes};
    return page_reply_send(request, &reply);
}
