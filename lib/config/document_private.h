/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A file in blxrep's format: the part of libconfig's format that is also YAML in flow style. Here a
 * file becomes settings, and a setting becomes the value of an option; the caller knows the keys.
 * Every refusal names the file, the line and the key, and says what to write. Private to
 * lib/config.
 *
 * Threads: no shared state. Reading a document waits for the disk.
 */
#pragma once

#include <libconfig.h>

#include "config/option_private.h"
#include "config/policy.h"

/* The place of a setting, for messages. */
struct blx_place {
    const char *path;
    const char *group; /* "tls." or "" */
    const config_setting_t *setting;
};

typedef int blx_document_visit(void *arg, const struct blx_place *place, struct blx_error *err);

/*
 * Calls visit() for every setting at the top of the file, in order, until it returns less than 0.
 * `hint` ends the message if the file cannot be read; `lines` becomes the number of its lines.
 * -ENOENT, -EINVAL, or visit()'s error.
 */
int blx_document_read(const char *path, const char *hint, blx_document_visit *visit, void *arg,
                      unsigned *lines, struct blx_error *err);

/* Puts "'path', line 3, key 'tls.ca'" before the message. */
void blx_place_prefix(const struct blx_place *place, struct blx_error *err);

/* -EINVAL; `value` is the setting, or an entry of its list. */
int blx_place_wrong_type(const struct blx_place *place, const config_setting_t *value,
                         const char *wanted, const char *example, struct blx_error *err);

/* The value of `setting` as the text that a flag would have; NULL if its type does not fit. */
const char *blx_setting_text(const struct blx_option *option, const config_setting_t *setting,
                             char buffer[64]);

/* Sets `option` to the setting's value, or to the entries of its list. */
int blx_place_option(const struct blx_place *place, const struct blx_option *option,
                     struct blx_config *config, struct blx_error *err);

/* Reads the group `retention` into config->retention. */
int blx_place_retention(const struct blx_place *group, struct blx_config *config,
                        struct blx_error *err);

/* Reads the group `source` into config->source. */
int blx_place_source(const struct blx_place *group, struct blx_config *config,
                     struct blx_error *err);

/* Reads the group `object-store` into config->object_store. */
int blx_place_object_store(const struct blx_place *group, struct blx_config *config,
                           struct blx_error *err);

/* Reads the group `restore-test`, which is empty if no test is wanted. */
int blx_place_restore_test(const struct blx_place *group, struct blx_policy_test *test,
                           struct blx_error *err);

/* Reads the group `quota` into config->quota. */
int blx_place_quota(const struct blx_place *group, struct blx_config *config,
                    struct blx_error *err);
