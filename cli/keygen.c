/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep keygen`: makes a key with which agents encrypt what they send, prints one for paper, or
 * tells which checkpoints one opens. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/describe.h"
#include "crypt/key.h"
#include "store/checkpoint/manifest_file.h"

static enum blx_exit make(const char *output, struct blx_error *err)
{
    BLX_CLEANUP_SECRET_KEY struct blx_key key = {0};
    if (blx_key_create(&key, err) < 0 || blx_key_write(output, &key, err) < 0)
        return BLX_EXIT_FAILED;
    char id[BLX_KEY_ID_TEXT_BYTES];
    blx_key_id_format(&key.id, id);
    printf("%s\n", output);
    cli_note("this is the key %s: name its file as encryption-key in the agent's configuration, "
             "and restore with --key=FILE",
             id);
    cli_note("KEEP COPIES of the file away from the servers and the dispatcher: lose the key, and "
             "nobody can ever restore a checkpoint that was encrypted with it");
    return BLX_EXIT_OK;
}

static enum blx_exit print(const char *path, struct blx_error *err)
{
    BLX_CLEANUP_SECRET_KEY struct blx_key key = {0};
    char text[BLX_KEY_PAPER_BYTES];
    if (blx_key_read(path, &key, err) < 0)
        return BLX_EXIT_FAILED;
    blx_key_format_for_paper(&key, text);
    fputs(text, stdout);
    explicit_bzero(text, sizeof(text));
    return BLX_EXIT_OK;
}

/* Of an agent's checkpoints. */
struct tally {
    const struct blx_key_id *key;
    size_t all, opened, plain, damaged;
    struct blx_key_id other; /* the newest other key that one needs; none: there is no such one */
};

static int count_one(void *arg, const struct blx_manifest *manifest, const struct blx_error *damage,
                     struct blx_error *err)
{
    (void)err;
    struct tally *tally = arg;
    uint32_t fitting = 0, plain = 0;
    tally->all++;
    if (damage != NULL) {
        cli_note("%s", damage->message);
        tally->damaged++;
        return 0;
    }
    for (uint32_t i = 0; i < manifest->volume_count; i++) {
        const struct blx_key_id *id = &manifest->volumes[i].key_id;
        if (blx_key_id_equal(id, tally->key))
            fitting++;
        else if (blx_key_id_is_none(id))
            plain++;
        else
            tally->other = *id;
    }
    tally->opened += fitting == manifest->volume_count;
    tally->plain += fitting < manifest->volume_count && fitting + plain == manifest->volume_count;
    return 0;
}

static void print_tally(const char *agent, const struct tally *tally)
{
    char other[BLX_KEY_ID_TEXT_BYTES];
    printf("opens %zu of %zu checkpoint%s of %s", tally->opened, tally->all, cli_plural(tally->all),
           agent);
    if (tally->plain > 0)
        printf("; %zu %s not encrypted", tally->plain, tally->plain == 1 ? "is" : "are");
    if (!blx_key_id_is_none(&tally->other)) {
        const size_t count = tally->all - tally->opened - tally->plain - tally->damaged;
        printf("; %zu need%s another key, such as %s", count, count == 1 ? "s" : "",
               cli_key_format(&tally->other, other));
    }
    printf("\n");
}

/* Adds whether the key opens all checkpoints of the agent. */
static int check_agent(const struct blx_store *store, const char *agent,
                       const struct blx_key_id *key, enum blx_exit *status, struct blx_error *err)
{
    BLX_CLEANUP_FREE blx_timestamp *timestamps = NULL;
    struct tally tally = {.key = key};
    size_t count = 0;
    int rc =
        blx_manifest_list(blx_store_agent(store, agent), 0, UINT64_MAX, &timestamps, &count, err);
    if (rc == 0)
        rc = blx_manifest_each(blx_store_agent(store, agent), timestamps, count, count_one, &tally,
                               err);
    if (rc < 0)
        return rc;
    print_tally(agent, &tally);
    if (tally.opened < tally.all)
        *status = BLX_EXIT_FAILED;
    return 0;
}

/* The key is read before the process becomes the owner of the data directory, who may not. */
static enum blx_exit check(const struct blx_config *config, struct blx_error *err)
{
    BLX_CLEANUP_SECRET_KEY struct blx_key key = {0};
    BLX_CLEANUP(blx_store_close) struct blx_store store = {.lock_fd = -1};
    char id[BLX_KEY_ID_TEXT_BYTES];
    if (blx_key_read(config->check_key, &key, err) < 0)
        return BLX_EXIT_FAILED;
    printf("'%s' is whole: it is the key %s\n", config->check_key, cli_key_format(&key.id, id));
    if (config->data_dir == NULL)
        return BLX_EXIT_OK;
    enum blx_exit status = BLX_EXIT_OK;
    int rc = cli_store_open(config->data_dir, BLX_STORE_READ, &store, err);
    if (rc == 0 && config->agent != NULL)
        return check_agent(&store, config->agent, &key.id, &status, err) < 0 ? BLX_EXIT_FAILED
                                                                             : status;
    char **ids = NULL;
    size_t count = 0;
    if (rc == 0)
        rc = blx_store_list_agents(&store, &ids, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = check_agent(&store, ids[i], &key.id, &status, err);
    blx_store_free_agents(ids, count);
    return rc < 0 ? BLX_EXIT_FAILED : status;
}

enum blx_exit cli_keygen(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    if ((config->output != NULL) + (config->check_key != NULL) + (config->print_key != NULL) > 1) {
        blx_error_set(err, -EINVAL,
                      "--output, --check and --print exclude each other: give one of them");
        return BLX_EXIT_USAGE;
    }
    if (config->print_key != NULL)
        return print(config->print_key, err);
    if (config->check_key != NULL)
        return check(config, err);
    return make(config->output != NULL ? config->output : "blxrep.key", err);
}
