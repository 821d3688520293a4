/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file in the house's format: libconfig's, in the part that is YAML in flow style at the same
 * time. Here a file becomes settings, and a setting the value of an option; which keys there are is
 * the caller's. Every refusal names the file, the line and the key, and says what to write.
 *
 * Threads: no shared state. Reading a document blocks on the disk.
 */
#pragma once

#include <libconfig.h>

#include "config/option_private.h"

/* Where a setting stands, for messages. */
struct blx_place {
    const char *path;
    const char *group; /* "tls." or "" */
    const config_setting_t *setting;
};

typedef int blx_document_visit(void *arg, const struct blx_place *place, struct blx_error *err);

/*
 * Calls visit() for every setting at the top of the file, in order, until one returns less than 0.
 * `hint` ends the message where the file cannot be read; `lines` gets how many it has. -ENOENT,
 * -EINVAL and what visit() returns.
 */
int blx_document_read(const char *path, const char *hint, blx_document_visit *visit, void *arg,
                      unsigned *lines, struct blx_error *err);

/* Puts "'path', line 3, key 'tls.ca'" before the message. */
void blx_place_prefix(const struct blx_place *place, struct blx_error *err);

/* -EINVAL; `value` is the setting, or an entry of its list. */
int blx_place_wrong_type(const struct blx_place *place, const config_setting_t *value,
                         const char *wanted, const char *example, struct blx_error *err);

/* The value of `setting` as the text that a flag would have; NULL where its type does not fit. */
const char *blx_setting_text(const struct blx_option *option, const config_setting_t *setting,
                             char buffer[64]);

/* The setting's value, or each entry of its list, becomes that of `option`. */
int blx_place_option(const struct blx_place *place, const struct blx_option *option,
                     struct blx_config *config, struct blx_error *err);

/* The group `retention`: config->retention. */
int blx_place_retention(const struct blx_place *place, struct blx_config *config,
                        struct blx_error *err);
