/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Prints what was written between two checkpoints: as text, or as JSON.
 *
 * Threads: one.
 */
#pragma once

#include <stdio.h>

#include "base/json.h"
#include "files/list.h"
#include "files/records.h"

struct files_changes_print {
    FILE *out;
    enum files_listing_form form;
    struct blx_json json;
    size_t disks;
};

void files_changes_begin(struct files_changes_print *print, FILE *out,
                         enum files_listing_form form);

/* A CHANGES or a CHANGED. */
void files_changes_add(struct files_changes_print *print, const struct files_record *record);

/* -errno of the output. */
int files_changes_end(struct files_changes_print *print);
