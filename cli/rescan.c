#include <errno.h>
#include <stdio.h>

#include "cli/command.h"
#include "cli/control.h"

enum { ANSWER_TIMEOUT_MS = 30000 };

static int ask(struct blx_conn *conn, const char *agent, struct blx_error *err)
{
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_RESCAN};
    snprintf(message.control_rescan.agent_id, sizeof(message.control_rescan.agent_id), "%s", agent);
    int rc = blx_conn_send(conn, &message, err);
    if (rc == 0)
        rc = blx_conn_recv(conn, ANSWER_TIMEOUT_MS, &message, err);
    if (rc < 0) {
        blx_error_prefix(err, "the dispatcher does not answer");
        return rc;
    }
    if (message.type != BLX_MESSAGE_CONTROL_DONE)
        return blx_error_set(err, -EPROTO, "the dispatcher answered with an unexpected %s",
                             blx_message_name(message.type));
    if (!message.control_done.ok)
        return blx_error_set(err, -EIO, "no rescan of '%s': %s", agent, message.control_done.text);
    return 0;
}

enum blx_exit cli_rescan(const struct cli_request *request, struct blx_error *err)
{
    const struct blx_config *config = request->config;
    struct blx_conn *conn = NULL;
    int rc = cli_control_connect(config->data_dir, &conn, err);
    if (rc == 0)
        rc = ask(conn, config->agent, err);
    blx_conn_free(conn);
    if (rc < 0)
        return BLX_EXIT_FAILED;
    printf("the rescan of '%s' begins: `blxrep dispatcher status` shows how far it is\n",
           config->agent);
    return BLX_EXIT_OK;
}
