/* SPDX-License-Identifier: Apache-2.0 */
#include "object/place.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LOWER    "abcdefghijklmnopqrstuvwxyz"
#define UPPER    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS   "0123456789"
#define IN_HOST  LOWER UPPER DIGITS ".-:[]"
#define IN_NAME  LOWER DIGITS ".-"
#define IN_KEY   LOWER UPPER DIGITS "._-/"
#define IN_PLAIN LOWER DIGITS "-"

static bool consists_of(const char *text, const char *characters)
{
    return text[0] != '\0' && text[strspn(text, characters)] == '\0';
}

/* No part is empty, "." or "..": clients and proxies would take these away. */
static bool is_key(const char *key)
{
    if (!consists_of(key, IN_KEY))
        return false;
    for (const char *part = key; part != NULL;) {
        size_t length = strcspn(part, "/");
        if (length == 0 || (length <= 2 && strspn(part, ".") >= length))
            return false;
        part = part[length] == '/' ? part + length + 1 : NULL;
    }
    return true;
}

/* `rest` is "BUCKET[/PREFIX]". */
static int take_bucket(const char *url, const char *rest, struct object_place *place,
                       struct blx_error *err)
{
    size_t length = strcspn(rest, "/");
    if (length < 3 || length >= sizeof(place->bucket))
        return blx_error_set(err, -EINVAL,
                             "'%.200s' names no bucket: write https://HOST/BUCKET/PREFIX or "
                             "s3://BUCKET/PREFIX; a bucket's name has 3 to 63 characters",
                             url);
    memcpy(place->bucket, rest, length);
    place->bucket[length] = '\0';
    if (!consists_of(place->bucket, IN_NAME))
        return blx_error_set(err, -EINVAL,
                             "the bucket '%s' has a character other than a-z, 0-9, '.' and '-'",
                             place->bucket);
    const char *prefix = rest + length + strspn(rest + length, "/");
    size_t kept = strlen(prefix);
    while (kept > 0 && prefix[kept - 1] == '/')
        kept--;
    if (kept == 0)
        return 0;
    /* Room for a slash, and for what follows it. */
    if (kept >= sizeof(place->prefix) / 2)
        return blx_error_set(err, -EINVAL, "the prefix in '%.200s' is longer than %zu characters",
                             url, sizeof(place->prefix) / 2);
    snprintf(place->prefix, sizeof(place->prefix), "%.*s", (int)kept, prefix);
    if (!is_key(place->prefix))
        return blx_error_set(err, -EINVAL,
                             "the prefix '%s' has a character other than A-Z, a-z, 0-9, '.', '_', "
                             "'-' and '/', or an empty part",
                             place->prefix);
    place->prefix[kept] = '/';
    place->prefix[kept + 1] = '\0';
    return 0;
}

static int take_aws(const struct blx_config_object_store *config, struct object_place *place,
                    struct blx_error *err)
{
    int rc = take_bucket(config->url, config->url + strlen("s3://"), place, err);
    if (rc < 0)
        return rc;
    if (config->region == NULL)
        return blx_error_set(
            err, -EINVAL, "'%.200s' needs a region: write region: \"eu-central-1\"", config->url);
    place->tls = true;
    /* AWS's certificate is for one name before the region's, so not for one with dots. */
    place->bucket_in_host = strchr(place->bucket, '.') == NULL;
    snprintf(place->host, sizeof(place->host), "%s%ss3.%.64s.amazonaws.com",
             place->bucket_in_host ? place->bucket : "", place->bucket_in_host ? "." : "",
             config->region);
    return 0;
}

static int take_store(const struct blx_config_object_store *config, struct object_place *place,
                      struct blx_error *err)
{
    const char *host = strstr(config->url, "://") + strlen("://");
    size_t length = strcspn(host, "/");
    char name[OBJECT_HOST_BYTES - OBJECT_BUCKET_BYTES - 1];
    place->tls = strncmp(config->url, "https:", 6) == 0;
    if (length == 0 || length >= sizeof(name))
        return blx_error_set(err, -EINVAL, "'%.200s' names no host", config->url);
    memcpy(name, host, length);
    name[length] = '\0';
    if (!consists_of(name, IN_HOST))
        return blx_error_set(err, -EINVAL,
                             "the host '%s' has a character that no host has; credentials go into "
                             "a file: credentials: \"/etc/blxrep/object-store\"",
                             name);
    int rc = take_bucket(config->url, host + length + strspn(host + length, "/"), place, err);
    place->bucket_in_host = config->virtual_host;
    if (rc == 0)
        snprintf(place->host, sizeof(place->host), "%s%s%s",
                 place->bucket_in_host ? place->bucket : "", place->bucket_in_host ? "." : "",
                 name);
    return rc;
}

int object_place_parse(const struct blx_config_object_store *config, struct object_place *place,
                       struct blx_error *err)
{
    *place = (struct object_place){0};
    if (config->region != NULL && !consists_of(config->region, IN_PLAIN))
        return blx_error_set(err, -EINVAL, "the region '%.64s' is no region's name",
                             config->region);
    if (strncmp(config->url, "s3://", 5) == 0)
        return take_aws(config, place, err);
    if (strncmp(config->url, "https://", 8) == 0 || strncmp(config->url, "http://", 7) == 0)
        return take_store(config, place, err);
    return blx_error_set(err, -EINVAL,
                         "'%.200s' is no object store: write https://HOST/BUCKET/PREFIX or "
                         "s3://BUCKET/PREFIX",
                         config->url);
}

int object_place_path(const struct object_place *place, const char *key, char *path, size_t bytes,
                      struct blx_error *err)
{
    if (key[0] != '\0' && !is_key(key))
        return blx_error_set(err, -EINVAL, "'%.200s' is no key of ours", key);
    int length =
        key[0] == '\0'
            ? snprintf(path, bytes, "/%s", place->bucket_in_host ? "" : place->bucket)
            : snprintf(path, bytes, "/%s%s%s%s", place->bucket_in_host ? "" : place->bucket,
                       place->bucket_in_host ? "" : "/", place->prefix, key);
    return length > 0 && (size_t)length < bytes
               ? 0
               : blx_error_set(err, -ENAMETOOLONG, "the key '%.200s' is too long", key);
}
