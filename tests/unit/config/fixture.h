/* SPDX-License-Identifier: Apache-2.0 */
/* Files and command lines for the tests of lib/config. */
#pragma once

#include "config/config.h"

enum { FIXTURE_MAX_WORDS = 32 };

struct fixture {
    char folder[64];
    char path[96]; /* a configuration file that need not exist */
    struct blx_config config;
    enum blx_config_result result;
    struct blx_error err;
};

int fixture_setup(void **state);
int fixture_teardown(void **state);

/* Writes the file: `bytes` of `content`. */
void fixture_write(struct fixture *fixture, const char *content, size_t bytes);

enum fixture_source { FIXTURE_FLAGS, FIXTURE_FILE_AND_FLAGS };

/* blx_config_load() with argv = {"program", "--config=PATH" (only with the file), words..., }; the
 * last word is NULL. */
int fixture_load(struct fixture *fixture, enum blx_command command, enum fixture_source source, ...)
    __attribute__((sentinel));

/* Writes `content`, loads it for `command` and expects a refusal whose message has each of the
 * texts; NULL ends them. */
void fixture_refused(struct fixture *fixture, enum blx_command command, const char *content, ...)
    __attribute__((sentinel));
