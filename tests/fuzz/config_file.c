/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration file: a config that is taken keeps to its bounds and is taken again the same; a
 * refusal names the file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"
#include "fuzz.h"

static bool is_same_text(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool is_same(const struct blx_config *a, const struct blx_config *b)
{
    if (a->device_count != b->device_count)
        return false;
    for (size_t i = 0; i < a->device_count; i++)
        if (strcmp(a->devices[i], b->devices[i]) != 0)
            return false;
    return a->mode == b->mode && is_same_text(a->id, b->id) &&
           is_same_text(a->dispatcher_addr, b->dispatcher_addr) &&
           is_same_text(a->data_dir, b->data_dir) && is_same_text(a->listen, b->listen) &&
           is_same_text(a->tls.ca, b->tls.ca) && a->sync_freq_ms == b->sync_freq_ms &&
           a->compression == b->compression && a->freeze == b->freeze &&
           a->freeze_limit_ms == b->freeze_limit_ms && a->config_lines == b->config_lines;
}

static void check_config(const struct blx_config *config, const char *path)
{
    FUZZ_ASSERT(strcmp(config->config_path, path) == 0);
    FUZZ_ASSERT(config->id == NULL || blx_name_check("agent ID", config->id, NULL) == 0);
    FUZZ_ASSERT(config->device_count <= BLX_MAX_VOLUMES);
    FUZZ_ASSERT((config->tls.ca == NULL) == (config->tls.cert == NULL) &&
                (config->tls.ca == NULL) == (config->tls.key == NULL));
    FUZZ_ASSERT(config->listen != NULL && config->credentials != NULL && config->run_dir != NULL);
    for (unsigned command = BLX_COMMAND_START; command <= BLX_COMMAND_STATUS; command <<= 1) {
        struct blx_error err = {0};
        int rc = blx_config_require((enum blx_command)command, config, &err);
        if (rc < 0)
            fuzz_assert_refusal(rc, &err);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[PATH_MAX], program[] = "blxrep", flag[] = "--config";
    char *argv[] = {program, flag, path, NULL};
    BLX_CLEANUP_CONFIG struct blx_config config = {0};
    BLX_CLEANUP_CONFIG struct blx_config again = {0};
    enum blx_config_result result;
    struct blx_error err = {0};
    fuzz_path(path, "config.yaml");
    fuzz_write_file(path, data, size);
    int rc = blx_config_load(BLX_COMMAND_START, 3, argv, &config, &result, &err);
    if (rc < 0) {
        fuzz_assert_refusal(rc, &err);
        FUZZ_ASSERT(strstr(err.message, "config.yaml") != NULL);
        return 0;
    }
    FUZZ_ASSERT(result == BLX_CONFIG_RUN);
    check_config(&config, path);
    FUZZ_ASSERT(blx_config_load(BLX_COMMAND_START, 3, argv, &again, &result, NULL) == 0);
    FUZZ_ASSERT(is_same(&config, &again));
    return 0;
}
