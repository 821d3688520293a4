/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file: its keys, and its groups `tls`, `retention`, `source` and
 * `object-store`. */
#include <errno.h>
#include <string.h>

#include "config/document_private.h"

static int unknown_key(const struct blx_place *place, struct blx_error *err)
{
    const char *name = config_setting_name(place->setting);
    const char *nearest = blx_option_nearest_key(name);
    const struct blx_option *flag = blx_option_find(name, strlen(name));
    int rc;
    if (flag != NULL)
        rc = blx_error_set(err, -EINVAL, "only a flag, not a key; remove the line and give --%s",
                           name);
    else if (nearest != NULL)
        rc = blx_error_set(err, -EINVAL, "unknown key; did you mean '%s'?", nearest);
    else
        rc = blx_error_set(err, -EINVAL,
                           "unknown key; remove the line, or see blxrep-config(5) for the keys");
    blx_place_prefix(place, err);
    return rc;
}

static int apply_tls_key(const struct blx_place *place, struct blx_config_tls *tls,
                         struct blx_error *err)
{
    static const char example[] = "\"/etc/blxrep/site.pem\"";
    const char *name = config_setting_name(place->setting);
    char **field = strcmp(name, "ca") == 0     ? &tls->ca
                   : strcmp(name, "cert") == 0 ? &tls->cert
                   : strcmp(name, "key") == 0  ? &tls->key
                                               : NULL;
    int rc = 0;
    if (field == NULL)
        rc = blx_error_set(err, -EINVAL, "unknown key; 'tls' has ca, cert and key");
    else if (config_setting_type(place->setting) != CONFIG_TYPE_STRING)
        return blx_place_wrong_type(place, place->setting, "a text in double quotes", example, err);
    else if (config_setting_get_string(place->setting)[0] == '\0')
        rc = blx_error_set(err, -EINVAL, "the value is empty; write %s: %s", name, example);
    else if ((*field = strdup(config_setting_get_string(place->setting))) == NULL)
        rc = blx_error_errno(err, -ENOMEM, "cannot keep the file's name");
    if (rc < 0)
        blx_place_prefix(place, err);
    return rc;
}

static int apply_tls(const struct blx_place *group, struct blx_config *config,
                     struct blx_error *err)
{
    static const char example[] = "{ ca: \"ca.pem\", cert: \"cert.pem\", key: \"key.pem\" }";
    struct blx_config_tls *tls = &config->tls;
    if (config_setting_type(group->setting) != CONFIG_TYPE_GROUP)
        return blx_place_wrong_type(group, group->setting, "a group", example, err);
    for (int i = 0; i < config_setting_length(group->setting); i++) {
        struct blx_place place = {.path = group->path,
                                  .group = "tls.",
                                  .setting = config_setting_get_elem(group->setting, (unsigned)i)};
        int rc = apply_tls_key(&place, tls, err);
        if (rc < 0)
            return rc;
    }
    if (tls->ca != NULL && tls->cert != NULL && tls->key != NULL)
        return 0;
    int rc = blx_error_set(err, -EINVAL, "'%s' is missing; all three are needed: tls: %s",
                           tls->ca == NULL     ? "ca"
                           : tls->cert == NULL ? "cert"
                                               : "key",
                           example);
    blx_place_prefix(group, err);
    return rc;
}

static int apply_setting(void *arg, const struct blx_place *place, struct blx_error *err)
{
    struct blx_config *config = arg;
    const char *name = config_setting_name(place->setting);
    if (strcmp(name, "tls") == 0)
        return apply_tls(place, config, err);
    if (strcmp(name, "retention") == 0)
        return blx_place_retention(place, config, err);
    if (strcmp(name, "source") == 0)
        return blx_place_source(place, config, err);
    if (strcmp(name, "object-store") == 0)
        return blx_place_object_store(place, config, err);
    const struct blx_option *option = blx_option_find(name, strlen(name));
    if (option == NULL || !option->info.in_file)
        return unknown_key(place, err);
    return blx_place_option(place, option, config, err);
}

int blx_config_file_apply(const char *path, struct blx_config *config, unsigned *lines,
                          struct blx_error *err)
{
    return blx_document_read(path, "; give a readable file with --config=FILE", apply_setting,
                             config, lines, err);
}
