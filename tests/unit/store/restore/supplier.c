/* SPDX-License-Identifier: Apache-2.0 */
#include "restore/supplier.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/text.h"

enum { WINDOW_BYTES = 2 * 1024 * 1024, MAX_RANGES = 4096 };

struct service {
    struct supplier *supplier;
    struct blx_conn *conn;
    struct blx_supply *supply;
    uint64_t size_bytes;
    struct blx_supply_window window;
    struct blx_frames_request ranges[MAX_RANGES]; /* a ring */
    unsigned first, count;
    unsigned sent, answered;
};

static int tell(struct service *service, const struct blx_message *message)
{
    return blx_conn_send(service->conn, message, NULL);
}

static bool lies(const struct service *service, enum supplier_lie lie)
{
    return service->supplier->lie == lie;
}

static int offer(struct service *service)
{
    const struct supplier *supplier = service->supplier;
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    if (blx_manifest_read(supplier->agent, supplier->checkpoint, &manifest, NULL) < 0)
        return -EIO;
    const struct blx_manifest_volume *volume = blx_manifest_find(&manifest, "sda");
    struct blx_message message = {
        .type = BLX_MESSAGE_RESTORE_OFFER,
        .restore_offer = {.checkpoint = supplier->checkpoint,
                          .consistency = BLX_CONSISTENCY_FILESYSTEM,
                          .volume_count = 1,
                          .heartbeat_ms = 1000,
                          .window_bytes = WINDOW_BYTES},
    };
    if (lies(service, SUPPLIER_CHANGES_THE_OFFER) && supplier->connections > 1)
        message.restore_offer.checkpoint++;
    blx_text_set(message.restore_offer.agent_id, supplier->agent.id);
    int rc = tell(service, &message);
    service->size_bytes = volume->size_bytes;
    message = (struct blx_message){.type = BLX_MESSAGE_RESTORE_VOLUME,
                                   .restore_volume = {.block_shift = volume->block_shift,
                                                      .size_bytes = volume->size_bytes,
                                                      .key_id = volume->key_id}};
    blx_text_set(message.restore_volume.name, volume->name);
    blx_text_set(message.restore_volume.device, volume->device);
    return rc == 0 ? tell(service, &message) : rc;
}

static void falsify(const struct service *service, struct blx_plan_pieces *pieces)
{
    struct blx_plan_piece *last = &pieces->pieces[pieces->count - 1];
    if (lies(service, SUPPLIER_OVERLAPS) && pieces->count > 1)
        last->start_block = pieces->pieces[0].start_block;
    if (lies(service, SUPPLIER_LEAVES_THE_WINDOW))
        last->start_block = service->window.end_block;
    if (lies(service, SUPPLIER_NAMES_OTHER_BLOCKS))
        last->start_block = service->window.end_block - last->block_count;
    if (lies(service, SUPPLIER_MOVES_DATA))
        last->data_block++;
}

static int send_pieces(struct service *service)
{
    struct blx_message message = {.type = BLX_MESSAGE_PLAN_PIECES};
    struct blx_plan_pieces *pieces = &message.plan_pieces;
    size_t count = 0;
    int rc = 0;
    while (rc == 0 && (count = blx_supply_list_pieces(service->supply, pieces->pieces, 7)) > 0) {
        pieces->count = (uint32_t)count;
        falsify(service, pieces);
        rc = tell(service, &message);
        if (service->supplier->replan_cut && service->supplier->cuts_left > 0) {
            service->supplier->cuts_left--;
            return -EPIPE;
        }
    }
    while (rc == 0 && lies(service, SUPPLIER_SENDS_ENDLESS_PIECES))
        rc = tell(service, &message);
    return rc;
}

static int plan(struct service *service, const struct blx_plan_request *request)
{
    struct blx_message message = {.type = BLX_MESSAGE_PLAN};
    service->count = 0;
    service->supplier->windows++;
    if (lies(service, SUPPLIER_SENDS_WELCOME)) {
        message =
            (struct blx_message){.type = BLX_MESSAGE_WELCOME,
                                 .welcome = {.version = 1, .heartbeat_ms = 1, .window_bytes = 1}};
        return tell(service, &message);
    }
    int rc = blx_supply_plan(service->supply, request->start_block, &service->window, NULL);
    if (rc < 0)
        return rc;
    message.plan = (struct blx_plan_message){.frame_count = service->window.frame_count,
                                             .start_block = request->start_block,
                                             .end_block = service->window.end_block,
                                             .piece_count = service->window.piece_count};
    if (lies(service, SUPPLIER_COUNTS_WRONG))
        message.plan.frame_count--;
    if (lies(service, SUPPLIER_LEAVES_THE_VOLUME))
        message.plan.end_block++;
    rc = tell(service, &message);
    return rc == 0 ? send_pieces(service) : rc;
}

static int send_frame(struct service *service)
{
    struct supplier *supplier = service->supplier;
    struct blx_frames_request *range = &service->ranges[service->first];
    uint32_t number = range->first;
    struct blx_message message = {.type = BLX_MESSAGE_FRAME};
    if (lies(service, SUPPLIER_SWAPS_FRAMES))
        number = number == 0 ? 1 : 0;
    const uint8_t *bytes = NULL;
    uint32_t frame_bytes = 0;
    if (blx_supply_read(service->supply, number, &bytes, &frame_bytes, NULL) < 0)
        return -EIO;
    message.frame.frame_bytes = frame_bytes;
    supplier->frame_bytes += frame_bytes;
    uint8_t *copy = calloc(1, message.frame.frame_bytes + 1);
    memcpy(copy, bytes, message.frame.frame_bytes);
    message.frame.bytes = copy;
    if (lies(service, SUPPLIER_FLIPS_A_BIT) && service->sent == 2)
        copy[message.frame.frame_bytes - 1] ^= 1;
    if (lies(service, SUPPLIER_SENDS_TOO_MUCH))
        message.frame.frame_bytes++;
    if (lies(service, SUPPLIER_SENDS_ANOTHER_VOLUME))
        message.frame.volume = 1;
    if (lies(service, SUPPLIER_SAYS_ERROR) && service->sent == 1)
        message = (struct blx_message){.type = BLX_MESSAGE_ERROR, .error = {"the disk is broken"}};
    int rc = tell(service, &message);
    free(copy);
    service->sent++;
    supplier->frames++;
    range->first++;
    if (--range->count == 0) {
        service->first = (service->first + 1) % MAX_RANGES;
        service->count--;
    }
    return rc;
}

static int begin_delta(struct service *service)
{
    struct blx_message message = {.type = BLX_MESSAGE_DELTA_KEY};
    if (lies(service, SUPPLIER_KNOWS_NO_DELTA))
        message = (struct blx_message){.type = BLX_MESSAGE_ERROR,
                                       .error = {"the header names an unknown type"}};
    else if (blx_supply_begin_delta(service->supply, &message.delta_key, NULL) < 0)
        return -EIO;
    if (lies(service, SUPPLIER_NAMES_ANOTHER_KEY)) {
        memset(&message.delta_key, 0, sizeof(message.delta_key));
        message.delta_key.key_id.bytes[0] = 1;
    }
    return tell(service, &message);
}

static int digest(struct service *service, const struct blx_digest_request *request)
{
    struct blx_message message = {.type = BLX_MESSAGE_DIGESTS};
    struct blx_error damage;
    if (blx_supply_digest(service->supply, request, &message.digests, &damage, NULL) < 0)
        return -EIO;
    if (lies(service, SUPPLIER_ANSWERS_ANOTHER_QUESTION))
        message.digests.request++;
    service->answered++;
    service->supplier->answers++;
    return tell(service, &message);
}

static int want(struct service *service, const struct blx_delta_wanted *wanted)
{
    if (lies(service, SUPPLIER_PLANS_WHAT_NOBODY_WANTS))
        return 0;
    return blx_supply_want(service->supply, wanted, NULL);
}

static int handle(struct service *service, const struct blx_message *message)
{
    switch (message->type) {
    case BLX_MESSAGE_RESTORE:
        return offer(service);
    case BLX_MESSAGE_PLAN_REQUEST:
        return plan(service, &message->plan_request);
    case BLX_MESSAGE_FRAMES_REQUEST:
        service->ranges[(service->first + service->count++) % MAX_RANGES] = message->frames_request;
        return 0;
    case BLX_MESSAGE_DELTA_REQUEST:
        return begin_delta(service);
    case BLX_MESSAGE_DIGEST_REQUEST:
        return digest(service, &message->digest_request);
    case BLX_MESSAGE_DELTA_WANTED:
        return want(service, &message->delta_wanted);
    case BLX_MESSAGE_RESTORE_DONE:
        service->supplier->done = true;
        service->supplier->done_bytes = message->restore_done.written_bytes;
        tell(service, &(struct blx_message){.type = BLX_MESSAGE_GOODBYE});
        return -EPIPE;
    default:
        return -EPROTO;
    }
}

static bool cuts_now(struct service *service)
{
    struct supplier *supplier = service->supplier;
    bool after_frames =
        supplier->cut_after_frames != 0 && service->sent >= supplier->cut_after_frames;
    bool after_answers =
        supplier->cut_after_answers != 0 && service->answered >= supplier->cut_after_answers;
    if (supplier->cuts_left == 0 || !(after_frames || after_answers))
        return false;
    supplier->cuts_left--;
    return true;
}

static void *serve(void *arg)
{
    struct service *service = arg;
    const struct supplier *supplier = service->supplier;
    const struct blx_supply_request request = {.agent = supplier->agent,
                                               .checkpoint = supplier->checkpoint,
                                               .volume = "sda",
                                               .max_pieces = supplier->max_pieces};
    struct blx_message message;
    int rc = blx_supply_open(&request, &service->supply, NULL);
    while (rc == 0 && !cuts_now(service)) {
        rc = blx_conn_recv(service->conn, service->count > 0 ? 0 : BLX_FOR_EVER, &message, NULL);
        if (rc == 0)
            rc = handle(service, &message);
        else if (rc == -ETIMEDOUT)
            rc = send_frame(service);
    }
    blx_supply_close(service->supply);
    blx_conn_free(service->conn);
    free(service);
    return NULL;
}

int supplier_dial(void *arg, struct blx_conn **conn, struct blx_error *err)
{
    struct supplier *supplier = arg;
    int pair[2];
    /* The one before has ended: its connection was closed by its end. */
    supplier_join(supplier);
    if (supplier->refuse_dials > 0 ||
        (supplier->stays_away && supplier->connections > 0 && supplier->cuts_left == 0)) {
        supplier->refuse_dials -= supplier->refuse_dials > 0;
        return blx_error_set(err, -ECONNREFUSED, "nobody listens");
    }
    supplier->connections++;
    struct service *service = calloc(1, sizeof(*service));
    assert_non_null(service);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    service->supplier = supplier;
    assert_int_equal(blx_conn_new(pair[0], NULL, BLX_FOR_EVER, conn, err), 0);
    assert_int_equal(blx_conn_new(pair[1], NULL, BLX_FOR_EVER, &service->conn, err), 0);
    assert_int_equal(
        pthread_create(&supplier->threads[supplier->thread_count++], NULL, serve, service), 0);
    return 0;
}

void supplier_join(struct supplier *supplier)
{
    for (unsigned i = 0; i < supplier->thread_count; i++)
        pthread_join(supplier->threads[i], NULL);
    supplier->thread_count = 0;
}
