/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "cli/control.h"

/* A first sync may take days: the wait has no end but the dispatcher's. */
static int ask(struct blx_conn *conn, const char *agent, struct blx_control_done *done,
               struct blx_error *err)
{
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_CHECKPOINT};
    snprintf(message.control_checkpoint.agent_id, sizeof(message.control_checkpoint.agent_id), "%s",
             agent);
    int rc = blx_conn_send(conn, &message, err);
    if (rc == 0)
        rc = blx_conn_recv(conn, UINT64_MAX, &message, err);
    if (rc == -EPIPE || rc == -ECONNRESET) {
        blx_error_clear(err);
        return blx_error_set(err, rc,
                             "the dispatcher ended before the checkpoint of '%s' was done: look "
                             "at its log and try again",
                             agent);
    }
    if (rc < 0)
        return rc;
    if (message.type != BLX_MESSAGE_CONTROL_DONE)
        return blx_error_set(err, -EPROTO, "the dispatcher answered with an unexpected %s",
                             blx_message_name(message.type));
    *done = message.control_done;
    return 0;
}

enum blx_exit cli_checkpoint(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    struct blx_conn *conn = NULL;
    struct blx_control_done done;
    int rc = cli_control_connect(config->data_dir, &conn, err);
    if (rc == 0)
        rc = ask(conn, config->agent, &done, err);
    blx_conn_free(conn);
    if (rc == 0 && !done.ok)
        rc = blx_error_set(err, -EIO, "no checkpoint of '%s': %s", config->agent, done.text);
    if (rc < 0)
        return BLX_EXIT_FAILED;
    char text[BLX_TIMESTAMP_TEXT_BYTES];
    blx_timestamp_format(done.timestamp, text);
    printf("%s\n", text);
    if (done.text[0] != '\0')
        cli_note("%s: %s", text, done.text);
    return BLX_EXIT_OK;
}
