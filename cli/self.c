/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/self.h"

#include <errno.h>
#include <stdlib.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "cli/control.h"

enum { ANSWER_TIMEOUT_MS = 10000 };

void cli_self_done(struct cli_self *self)
{
    free(self->disks);
    *self = (struct cli_self){.disks = NULL};
}

static int add_disk(struct cli_self *self, const struct blx_control_disk *disk,
                    struct blx_error *err)
{
    if (blx_array_make_room(self->disks, self->disk_count) < 0)
        return blx_error_errno(err, -ENOMEM, "cannot list the disks");
    self->disks[self->disk_count++] = *disk;
    return 0;
}

/* Takes messages until one ends the answer. */
static int take_answer(struct blx_conn *conn, struct cli_self *self, struct blx_message *message,
                       struct blx_error *err)
{
    int rc = 0;
    for (;;) {
        rc = blx_conn_recv(conn, ANSWER_TIMEOUT_MS, message, err);
        if (rc == 0 && message->type == BLX_MESSAGE_CONTROL_SELF)
            self->more = message->control_self;
        else if (rc == 0 && message->type == BLX_MESSAGE_CONTROL_AGENT)
            self->agent = message->control_agent;
        else if (rc == 0 && message->type == BLX_MESSAGE_CONTROL_DISK)
            rc = add_disk(self, &message->control_disk, err);
        else
            return rc;
        if (rc < 0)
            return rc;
    }
}

static int ask(struct blx_conn *conn, const char *run_dir, struct cli_self *self,
               struct blx_error *err)
{
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_STATUS};
    int rc = blx_conn_send(conn, &message, err);
    if (rc == 0)
        rc = take_answer(conn, self, &message, err);
    if (rc < 0) {
        blx_error_prefix(err, "the agent on '%s' did not tell how it is", run_dir);
        return rc;
    }
    if (message.type != BLX_MESSAGE_CONTROL_DONE || !message.control_done.ok)
        return blx_error_set(err, -EPROTO,
                             "the agent on '%s' gave no answer: do blxrep and blxrep-agent have "
                             "the same version?",
                             run_dir);
    return 0;
}

int cli_self_collect(const char *run_dir, struct cli_self *self, struct blx_error *err)
{
    BLX_CLEANUP(cli_self_done) struct cli_self found = {.disks = NULL};
    struct blx_conn *conn = NULL;
    int rc = cli_control_connect_agent(run_dir, &conn, err);
    if (rc < 0)
        return rc;
    rc = ask(conn, run_dir, &found, err);
    blx_conn_free(conn);
    if (rc < 0)
        return rc;
    found.now_realtime_ns = blx_clock_realtime_ns();
    blx_protection_examine_self(&found.more, &found.agent, found.now_realtime_ns, &found.judgement);
    *self = found;
    found = (struct cli_self){.disks = NULL};
    return 0;
}
