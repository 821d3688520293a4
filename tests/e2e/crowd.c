/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many agents in one process, without disks: they connect to a real dispatcher, send a few blocks,
 * answer its requests and say how they are.
 *
 *     crowd DATA_DIR FOLDER HOST:PORT COUNT [STATUS_MS]
 *
 * Agent number N is called aNNN. a000 is in a first sync that does not end; every tenth other one
 * rescans. "ready" is printed when all are connected; then each line of the standard input is a
 * number: so many of the last agents disconnect, without GOODBYE. The end of the input ends all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_agent.h"
#include "tls/pki.h"

enum { MAX_AGENTS = 1000 };

static uint64_t status_ms = 500; /* how often each says how it is */

static struct fake_site site; /* only the folder and the address of it */

static struct member {
    unsigned number;
    struct fake_agent *agent;
    pthread_t thread;
    atomic_bool leaves;
} members[MAX_AGENTS];

static struct blx_message status_of(unsigned number, uint64_t beat)
{
    struct blx_message message = {.type = BLX_MESSAGE_STATUS,
                                  .status = {.state = BLX_AGENT_LIVE,
                                             .dirty_bytes = number * UINT64_C(1048576),
                                             .tracked_events = beat * 100}};
    struct blx_status *status = &message.status;
    if (number % 10 == 0) {
        status->state = number == 0 ? BLX_AGENT_FULL_SYNC : BLX_AGENT_RESCAN;
        status->total_bytes = UINT64_C(80) << 30;
        status->done_bytes = UINT64_C(20) << 30;
        status->eta_seconds = 240;
        snprintf(status->reason, sizeof(status->reason), "%s",
                 number == 0 ? "nothing is stored yet" : "the machine was rebooted");
    }
    return message;
}

/* Lives until it is to leave, or the dispatcher ends. */
static void *live(void *arg)
{
    struct member *member = arg;
    for (uint64_t beat = 0; !atomic_load(&member->leaves); beat++) {
        struct blx_message message = status_of(member->number, beat);
        if (blx_conn_send(member->agent->conn, &message, NULL) < 0)
            return NULL;
        int rc = blx_conn_recv(member->agent->conn, status_ms, &message, NULL);
        if (rc < 0 && rc != -ETIMEDOUT)
            return NULL;
        if (rc == 0 && message.type == BLX_MESSAGE_CHECKPOINT_REQUEST && member->number != 0)
            fake_agent_cut(member->agent, message.checkpoint_request.request, member->agent->seq);
    }
    return NULL;
}

static void join(struct member *member, unsigned number)
{
    char id[BLX_NAME_BYTES], pem[256];
    struct blx_error err = {0};
    snprintf(id, sizeof(id), "a%03u", number);
    snprintf(pem, sizeof(pem), "%s/%s.pem", site.dir, id);
    if (blx_pki_enroll(site.data_dir, id, pem, &err) < 0)
        fail_msg("%s", err.message);
    member->number = number;
    member->agent = fake_agent_online(&site, id);
    fake_agent_write(member->agent, 0, 16, (uint8_t)number);
    assert_int_equal(pthread_create(&member->thread, NULL, live, member), 0);
}

static void leave(struct member *member)
{
    atomic_store(&member->leaves, true);
    pthread_join(member->thread, NULL);
    fake_agent_close(member->agent);
}

int main(int argc, char **argv)
{
    char line[32];
    unsigned count = argc == 5 || argc == 6 ? (unsigned)atoi(argv[4]) : 0;
    if (argc == 6)
        status_ms = (uint64_t)atoi(argv[5]);
    if (count == 0 || count > MAX_AGENTS || strlen(argv[2]) >= sizeof(site.dir)) {
        fprintf(stderr, "usage: crowd DATA_DIR FOLDER HOST:PORT COUNT [STATUS_MS]\n");
        return 2;
    }
    snprintf(site.data_dir, sizeof(site.data_dir), "%s", argv[1]);
    snprintf(site.dir, sizeof(site.dir), "%s", argv[2]);
    snprintf(site.address, sizeof(site.address), "%s", argv[3]);
    for (unsigned i = 0; i < count; i++)
        join(&members[i], i);
    printf("ready\n");
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin) != NULL) {
        for (int left = atoi(line); left > 0 && count > 0; left--)
            leave(&members[--count]);
        printf("left\n");
        fflush(stdout);
    }
    while (count > 0)
        leave(&members[--count]);
    return 0;
}
