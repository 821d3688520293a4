/* SPDX-License-Identifier: Apache-2.0 */
/* blxrep-copy: copies elsewhere. `blxrep dispatcher object-store check` becomes it. A program of
 * its own, so that the credentials of the copies are in no other process. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <curl/curl.h>

#include "base/json.h"
#include "config/config.h"
#include "object/examine.h"
#include "store/owner.h"

static const char usage[] =
    "blxrep dispatcher object-store check [--data-dir=DIR] [--config=FILE] [--json]";
static const char description[] =
    "Tries what an object store really keeps: whether copies can be written, read and listed, and\n"
    "whether those who have the credentials can delete them. Leaves a locked canary of 64 bytes.";

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

static int check(const struct blx_config *config, struct blx_error *err)
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

static int fail(const struct blx_error *err, enum blx_exit code)
{
    fprintf(stderr, "blxrep: %s\n", err->message);
    return code;
}

int main(int argc, char **argv)
{
    static const struct blx_config_program program = {
        .name = "blxrep-copy",
        .command = BLX_COMMAND_OBJECT_STORE,
        .help = {.usage = usage, .description = description}};
    BLX_CLEANUP_CONFIG struct blx_config config = {0};
    struct blx_error err = {0};
    enum blx_config_result result;
    if (blx_config_begin(&program, argc, argv, stdout, &config, &result, &err) < 0)
        return fail(&err, BLX_EXIT_USAGE);
    if (result != BLX_CONFIG_RUN)
        return BLX_EXIT_OK;
    signal(SIGPIPE, SIG_IGN);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    int code = check(&config, &err);
    curl_global_cleanup();
    return code < 0 ? fail(&err, BLX_EXIT_FAILED) : code;
}
