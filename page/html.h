/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The readable pages: the commands' JSON as tables, which need no JavaScript. They stand in
 * ui/index.html in place of its mark, and page.js draws over them. Every text from outside goes
 * through page_html_text(), or page_html_word() within an address.
 *
 * Threads: no shared state. Errors are the stream's: check ferror(out).
 */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "page/request.h"

/* Where ui/index.html has the tables. */
#define PAGE_HTML_MARK "<!--blxrep-page-->"

/* The text, so that it stays text, also within the quotes of an attribute. */
void page_html_text(FILE *out, const char *text);

/* The same as the value of a word after "?". */
void page_html_word(FILE *out, const char *text);

/* A cell of a table's row. NULL or "" is a dash. */
void page_html_cell(FILE *out, const char *text);
void page_html_bytes(FILE *out, const json_t *number);

/* A member's text; "" if it is not there or no text. */
const char *page_json_text(const json_t *object, const char *key);

/* Sends ui/index.html with what write() prints in place of its mark. `words` is what the command
 * printed, parsed; borrowed. `note`: what it found wrong, which comes first; "": nothing. */
enum MHD_Result page_html_send(const struct page_request *request,
                               void (*write)(FILE *out, const struct page_request *request,
                                             const json_t *answer),
                               const json_t *answer, const char *note);
