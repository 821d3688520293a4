/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files of page/ui, which the build puts into the program (cmake/Embed.cmake): as they are, and
 * packed once by gzip. Each has its SHA-256 as ETag, so that a browser asks again and gets 304
 * until an upgrade changes it. Without a session they are served, too: they tell nothing.
 *
 * Threads: made once, then constant.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"

struct page_assets;
struct page_request;

/* A file as the build has put it in. */
struct page_embedded {
    const char *name;
    const unsigned char *content; /* a NUL follows */
    size_t bytes;
};

/* Made by the build; a NULL name ends them. */
extern const struct page_embedded page_embedded[];

int page_assets_new(struct page_assets **assets, struct blx_error *err);

/* NULL is allowed. */
void page_assets_free(struct page_assets *assets);

/* ui/index.html: the frame of every page. */
const char *page_assets_shell(const struct page_assets *assets);

/* Answers with the asset of the request's path. 0: there is none; otherwise 1 + MHD's result. */
int page_assets_serve(const struct page_assets *assets, const struct page_request *request);
