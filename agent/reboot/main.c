/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blxrep-reboot: what `blxrep agent save` and `blxrep agent arm` become. The first runs at the end
 * of a shutdown, from system-shutdown/; the second at the beginning of a boot, from a unit.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/agent.h"
#include "agent/disk/patience.h"
#include "agent/reboot/keep.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "config/config.h"

/* A disk that hangs must not keep a shutdown or a boot for longer. */
enum { PATIENCE_MS = 10 * 1000 };

static const struct blx_config_program programs[] = {
    {.name = "blxrep-reboot",
     .command = BLX_COMMAND_SAVE,
     .help = {.usage = "blxrep agent save [--shutdown=reboot]",
              .description = "Saves the tracking at the end of a shutdown."}},
    {.name = "blxrep-reboot",
     .command = BLX_COMMAND_ARM,
     .help = {.usage = "blxrep agent arm",
              .description = "Attaches the tracking at the beginning of a boot."}},
};

static int fail(const struct blx_error *error)
{
    fprintf(stderr, "blxrep: %s\n", error->message);
    return BLX_EXIT_FAILED;
}

static int run(enum blx_command command, const struct blx_config *config, struct blx_error *err)
{
    int rc = agent_make_run_dir(config->run_dir, err);
    if (rc < 0)
        return rc;
    agent_patience_set_ms(PATIENCE_MS);
    if (agent_patience_start() < 0)
        return blx_error_set(err, -EAGAIN, "cannot start the processes that wait for disks");
    rc = command == BLX_COMMAND_SAVE ? agent_keep_save(config->save_file, config->run_dir,
                                                       agent_save_find_verb(config->shutdown), err)
                                     : agent_keep_arm(config->save_file, config->run_dir, err);
    agent_patience_stop();
    return rc;
}

int main(int argc, char **argv)
{
    BLX_CLEANUP_CONFIG struct blx_config config = {0};
    enum blx_config_result result;
    struct blx_error error = {0};
    const struct blx_config_program *program =
        argc > 1 && strcmp(argv[1], "save") == 0  ? &programs[0]
        : argc > 1 && strcmp(argv[1], "arm") == 0 ? &programs[1]
                                                  : NULL;
    blx_log_begin();
    if (program == NULL) {
        fprintf(stderr, "blxrep-reboot: use `blxrep agent save` or `blxrep agent arm`\n");
        return BLX_EXIT_USAGE;
    }
    if (blx_config_begin(program, argc - 1, argv + 1, stdout, &config, &result, &error) < 0) {
        fail(&error);
        return BLX_EXIT_USAGE;
    }
    if (result != BLX_CONFIG_RUN)
        return BLX_EXIT_OK;
    return run(program->command, &config, &error) < 0 ? fail(&error) : BLX_EXIT_OK;
}
