/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files of a checkpoint, by `blxrep dispatcher files`, whose reader sits in a jail: the filesystem
 * of a server that was broken into is hostile.
 *
 *     /api/files?agent=&checkpoint=[&device=][&path=]   the list, as `files --json` prints it
 *     /files?...                                        the same as a table
 *     /download?...                                     a file as it is
 *     /download?...&as=tar                              a file or a folder with all in it, as tar
 *
 * A file comes out of the tar archive that the command writes, as it is written. If the command
 * fails after the answer has begun the connection breaks off, so that nobody takes half a file for
 * a whole one. PAGE_DOWNLOADS run at a time.
 *
 * Threads: any; one lock guards the count.
 */
#pragma once

#include "page/ask.h"
#include "page/request.h"

enum { PAGE_DOWNLOADS = 8 };

/* Room for the words of `files`. */
struct page_files_words {
    char agent[BLX_NAME_BYTES + 16], checkpoint[BLX_TIMESTAMP_TEXT_BYTES + 16];
    char device[PAGE_DEVICE_BYTES + 16], path[PAGE_PATH_BYTES + 16];
};

/* The question for a list. -EINVAL: a word of the request is wrong. */
int page_files_ask(const struct page_request *request, struct page_files_words *words,
                   struct page_question *question, struct blx_error *err);

enum MHD_Result page_download_serve(const struct page_request *request);
