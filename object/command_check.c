/* SPDX-License-Identifier: Apache-2.0 */
/* `object-store check`: what an object store really keeps. */
#include <errno.h>
#include <stdio.h>

#include "base/json.h"
#include "object/commands.h"
#include "object/examine.h"
#include "store/owner.h"

static const char *const results[] = {
    [OBJECT_KEPT] = "ok",
    [OBJECT_DOUBTFUL] = "doubt",
    [OBJECT_NOT_KEPT] = "FAIL",
};

static const char *judge(const struct object_examination *examination)
{
    return !examination->usable  ? "NOT USABLE: no copies can be kept there."
           : examination->locked ? "LOCKED: what is copied there cannot be deleted before its time."
                                 : "NOT LOCKED: whoever has the credentials can delete the copies.";
}

static void print_json(const char *name, const struct object_examination *examination)
{
    struct blx_json json = {.out = stdout};
    blx_json_open(&json, NULL, '{');
    blx_json_string(&json, "object_store", name);
    blx_json_bool(&json, "usable", examination->usable);
    blx_json_bool(&json, "locked", examination->locked);
    blx_json_open(&json, "findings", '[');
    for (size_t i = 0; i < examination->count; i++) {
        const struct object_finding *finding = &examination->findings[i];
        blx_json_open(&json, NULL, '{');
        blx_json_string(&json, "result", results[finding->result]);
        blx_json_string(&json, "promise", finding->promise);
        blx_json_string(&json, "text", finding->text);
        blx_json_close(&json, '}');
    }
    blx_json_close(&json, ']');
    blx_json_close(&json, '}');
}

static void print_text(const char *name, const struct object_examination *examination)
{
    printf("%s\n", name);
    for (size_t i = 0; i < examination->count; i++) {
        const struct object_finding *finding = &examination->findings[i];
        printf("  %-6s%-12s%s\n", results[finding->result], finding->promise, finding->text);
    }
    printf("%s\n", judge(examination));
}

int object_command_check(const struct blx_config *config, struct blx_error *err)
{
    const struct blx_config_object_store *store = &config->object_store;
    struct object_examination examination;
    struct object_bucket *bucket;
    if (store->url == NULL)
        return blx_error_set(err, -EINVAL,
                             "no object store is configured: write object-store: { url: "
                             "\"https://HOST/BUCKET\", credentials: \"FILE\" } into '%s'",
                             config->config_path != NULL ? config->config_path
                                                         : BLX_DEFAULT_CONFIG_PATH);
    enum blx_owner owner = BLX_OWNER_KEPT;
    int rc = config->data_dir != NULL ? blx_owner_become(config->data_dir, &owner, err) : 0;
    if (rc == 0)
        rc = object_bucket_open(store, &bucket, err);
    if (rc < 0)
        return rc;
    object_examine(bucket, store, &examination);
    if (config->json)
        print_json(object_bucket_name(bucket), &examination);
    else
        print_text(object_bucket_name(bucket), &examination);
    object_bucket_close(bucket);
    if (fflush(stdout) != 0 || ferror(stdout))
        return blx_error_errno(err, -EIO, "cannot print");
    bool wants_lock = store->lock != BLX_OBJECT_LOCK_NONE;
    return examination.usable && (examination.locked || !wants_lock) ? BLX_EXIT_OK
                                                                     : BLX_EXIT_FAILED;
}
