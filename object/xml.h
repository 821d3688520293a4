/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An object store's answer in XML, as a walk over its texts. The store is not trusted: the depth,
 * the length of a text and the size of the whole are bounded, and a document type, which could
 * define entities, is refused.
 *
 * Threads: any. Nothing here blocks.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"

enum {
    OBJECT_XML_DEPTH = 8,
    OBJECT_XML_PATH_BYTES = 256,
    OBJECT_XML_TEXT_BYTES = 2048,
};

/* `path` names the element without its namespace: "ListVersionsResult/Version/Key". */
struct object_xml_walk {
    void *arg;
    /* An element begins. NULL: not asked for. */
    int (*begin)(void *arg, const char *path);
    /* It has ended, and its own text was `text`. Less than 0 ends the walk with this error. */
    int (*end)(void *arg, const char *path, const char *text);
};

/* -EBADMSG: no XML, or beyond the bounds. */
int object_xml_read(const void *document, size_t bytes, const struct object_xml_walk *walk,
                    struct blx_error *err);
