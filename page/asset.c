/* SPDX-License-Identifier: Apache-2.0 */
#include "page/asset.h"

#include <errno.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "page/reply.h"

enum { MOST = 64, TAG_BYTES = 2 * 16 + 3 };

static const char shell_name[] = "index.html";

struct asset {
    const struct page_embedded *embedded;
    const char *type;
    char *packed; /* owned */
    size_t packed_bytes;
    char tag[TAG_BYTES];
};

struct page_assets {
    struct asset list[MOST];
    size_t count;
    const char *shell;
};

static const char *type_of(const char *name)
{
    static const char *const types[][2] = {{".html", PAGE_TYPE_HTML},
                                           {".css", "text/css; charset=utf-8"},
                                           {".js", "text/javascript; charset=utf-8"},
                                           {".svg", "image/svg+xml"},
                                           {".png", "image/png"}};
    const char *ending = strrchr(name, '.');
    for (size_t i = 0; ending != NULL && i < sizeof(types) / sizeof(types[0]); i++)
        if (strcmp(ending, types[i][0]) == 0)
            return types[i][1];
    return "application/octet-stream";
}

static int make(const struct page_embedded *embedded, struct asset *asset)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    asset->embedded = embedded;
    asset->type = type_of(embedded->name);
    SHA256(embedded->content, embedded->bytes, digest);
    asset->tag[0] = '"';
    for (size_t i = 0; i < (TAG_BYTES - 3) / 2; i++)
        snprintf(asset->tag + 1 + 2 * i, 3, "%02x", digest[i]);
    strcat(asset->tag, "\"");
    return page_pack(embedded->content, embedded->bytes, &asset->packed, &asset->packed_bytes);
}

int page_assets_new(struct page_assets **assets, struct blx_error *err)
{
    struct page_assets *made = calloc(1, sizeof(*made));
    int rc = made == NULL ? -ENOMEM : 0;
    for (const struct page_embedded *at = page_embedded; rc == 0 && at->name != NULL; at++) {
        if (strcmp(at->name, shell_name) == 0)
            made->shell = (const char *)at->content;
        else
            rc = made->count < MOST ? make(at, &made->list[made->count++]) : -E2BIG;
    }
    if (rc < 0) {
        page_assets_free(made);
        return blx_error_errno(err, rc, "cannot prepare the page's files");
    }
    *assets = made;
    return 0;
}

void page_assets_free(struct page_assets *assets)
{
    if (assets == NULL)
        return;
    for (size_t i = 0; i < assets->count; i++)
        free(assets->list[i].packed);
    free(assets);
}

const char *page_assets_shell(const struct page_assets *assets)
{
    return assets->shell;
}

static enum MHD_Result add_headers(const struct asset *asset, struct MHD_Response *response)
{
    enum MHD_Result result = page_reply_guard(response);
    if (result == MHD_YES)
        result = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, asset->type);
    if (result == MHD_YES)
        result = MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-cache");
    if (result == MHD_YES)
        result = MHD_add_response_header(response, MHD_HTTP_HEADER_VARY, "Accept-Encoding");
    if (result == MHD_YES)
        result = MHD_add_response_header(response, MHD_HTTP_HEADER_ETAG, asset->tag);
    return result;
}

static enum MHD_Result serve(const struct asset *asset, const struct page_request *request)
{
    const char *has = page_request_header(request, MHD_HTTP_HEADER_IF_NONE_MATCH);
    bool same = has != NULL && strstr(has, asset->tag) != NULL;
    bool packed = page_takes_gzip(request);
    const void *content = packed ? asset->packed : (const char *)asset->embedded->content;
    size_t bytes = packed ? asset->packed_bytes : asset->embedded->bytes;
    struct MHD_Response *response = MHD_create_response_from_buffer(
        same ? 0 : bytes, (void *)(uintptr_t)content, MHD_RESPMEM_PERSISTENT);
    if (response == NULL)
        return MHD_NO;
    enum MHD_Result result = add_headers(asset, response);
    if (result == MHD_YES && packed && !same)
        result = MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_ENCODING, "gzip");
    if (result == MHD_YES)
        result = MHD_queue_response(request->connection, same ? MHD_HTTP_NOT_MODIFIED : MHD_HTTP_OK,
                                    response);
    MHD_destroy_response(response);
    return result;
}

int page_assets_serve(const struct page_assets *assets, const struct page_request *request)
{
    for (size_t i = 0; i < assets->count; i++)
        if (request->url[0] == '/' && strcmp(request->url + 1, assets->list[i].embedded->name) == 0)
            return 1 + (int)serve(&assets->list[i], request);
    return 0;
}
