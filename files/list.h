/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints a listing: like `ls -l`, or as JSON. Owners are the server's numbers, and times are UTC.
 *
 * Threads: one.
 */
#pragma once

#include <stdio.h>

#include "base/json.h"
#include "files/records.h"

enum files_listing_form { FILES_LISTING_TEXT, FILES_LISTING_JSON };

struct files_listing {
    FILE *out;
    enum files_listing_form form;
    struct blx_json json;
    size_t headings;
    char folder[FILES_PATH_BYTES]; /* of the last heading; "": names are whole paths */
    char device[256], filesystem[64];
};

void files_listing_begin(struct files_listing *listing, FILE *out, enum files_listing_form form);

/* A HEADING or an ENTRY. */
void files_listing_add(struct files_listing *listing, const struct files_record *record);

/* -errno of the output. */
int files_listing_end(struct files_listing *listing);
