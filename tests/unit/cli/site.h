/* SPDX-License-Identifier: Apache-2.0 */
/* A store with an agent "web1", one or two volumes and three checkpoints, for runs of `blxrep`. */
#pragma once

#include "../store/fixture.h"
#include "run.h"

enum {
    SITE_CHECKPOINTS = 3,
    SITE_VOLUME_BYTES = 64 * TEST_BLOCK_BYTES,
    SITE_FIRST_SECOND = 1795000000
};

struct site {
    struct test_store store;
    struct test_volume volumes[2]; /* "sda" and "sdb" */
    uint8_t *images[SITE_CHECKPOINTS][2];
    blx_timestamp timestamps[SITE_CHECKPOINTS];
    char data_dir[96]; /* "--data-dir=..." */
    struct run run;
};

/* For cmocka: *state becomes a site with one volume, or two. */
int site_setup(void **state);
int site_setup_two(void **state);
int site_teardown(void **state);

/* "--NAME=DIR/text" into `option`. */
void site_option(const struct site *site, char option[128], const char *name, const char *text);

/* Asserts that a file equals a volume at a checkpoint. */
void site_image_is(const struct site *site, const char *path, size_t checkpoint, size_t volume);
