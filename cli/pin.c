/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep pin` and `blxrep unpin`: keep a checkpoint from being pruned, or no longer. */
#include "store/checkpoint/pin.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "cli/command.h"
#include "cli/control.h"
#include "cli/describe.h"
#include "store/checkpoint/manifest_file.h"

/* The page's unit mounts the store read-only: then the dispatcher pins, but takes no pin off. */
static int pin_it(const struct blx_store *store, const struct blx_config *config,
                  blx_timestamp timestamp, enum blx_pin pin, struct blx_error *err)
{
    struct blx_error cause = {0};
    int rc = blx_pin_write(blx_store_agent(store, config->agent), timestamp, pin, &cause);
    if (rc == -EROFS && pin == BLX_PIN_ON)
        return cli_control_pin(config->data_dir, config->agent, timestamp, err);
    return rc < 0 ? blx_error_copy(err, rc, &cause) : 0;
}

static enum blx_exit write_pin(const struct blx_config *config, enum blx_pin pin,
                               struct blx_error *err)
{
    BLX_CLEANUP(blx_store_close) struct blx_store store = {.lock_fd = -1};
    blx_timestamp timestamp;
    int rc = cli_store_open(config->data_dir, BLX_STORE_READ, &store, err);
    if (rc == 0)
        rc = blx_manifest_resolve(blx_store_agent(&store, config->agent), config->checkpoint,
                                  &timestamp, err);
    if (rc == 0)
        rc = pin_it(&store, config, timestamp, pin, err);
    if (rc < 0)
        return BLX_EXIT_FAILED;
    cli_note_checkpoint(config, timestamp);
    const struct blx_audit_entry entry = {.event = pin == BLX_PIN_ON ? "pin" : "unpin",
                                          .agent = config->agent,
                                          .checkpoints = &timestamp,
                                          .checkpoint_count = 1};
    cli_audit(config->data_dir, &entry);
    printf("%" PRIu64 "\n", timestamp);
    return BLX_EXIT_OK;
}

enum blx_exit cli_pin(const struct cli_request *request, struct blx_error *err)
{
    return write_pin(request->config, BLX_PIN_ON, err);
}

enum blx_exit cli_unpin(const struct cli_request *request, struct blx_error *err)
{
    return write_pin(request->config, BLX_PIN_OFF, err);
}
