/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The readable pages of a store: `/`, /agent?id=, /checkpoint?agent=&checkpoint= and /files. Each
 * is the answer of one command as a table.
 *
 * Threads: no shared state.
 */
#pragma once

#include "page/html.h"

/* `answer`: of `status --json`, `show --json`, `info --json`, `files --json`. */
void page_view_overview(FILE *out, const struct page_request *request, const json_t *answer);
void page_view_agent(FILE *out, const struct page_request *request, const json_t *answer);
void page_view_checkpoint(FILE *out, const struct page_request *request, const json_t *answer);
void page_view_files(FILE *out, const struct page_request *request, const json_t *answer);
