/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An agent that was broken into: it has a certificate, speaks the protocol, and lies at random. Its
 * sizes, times, numbers, generations and requests are wrong; volumes come twice; frames are torn,
 * foreign or beyond the end; messages come out of order, and in floods.
 *
 *     liar ADDRESS CREDENTIALS AGENT-ID SESSIONS SEED
 *
 * Prints what it did, and ends with 0 if the dispatcher let it in each time. Each session ends by
 * the dispatcher's ERROR or after some dozens of messages.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/units.h"
#include "tls/tls.h"
#include "wire/conn.h"
#include "wire/frame.h"

enum {
    VOLUMES = 3,
    BLOCKS = 64,
    BLOCK_SHIFT = 12,
    MESSAGES = 60, /* of a session */
    CONNECT_MS = 30 * 1000,
    ANSWER_MS = 3000, /* then it has lied itself into a corner */
    LOOK_MS = 2,
    FLOOD = 200,
};

static struct {
    struct blx_conn *conn;
    uint64_t random;
    uint64_t request; /* the dispatcher's open one; 0: none */
    bool has_waited;  /* for the session's first one */
    bool did_say;     /* the last message was sent */
    uint64_t seqs[VOLUMES];
    struct blx_generation generations[VOLUMES];
    struct {
        unsigned long sessions, greeted, sent, lies, errors, checkpoints;
    } did;
} liar;

static uint64_t any(uint64_t below)
{
    uint64_t x = liar.random += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    x ^= x >> 31;
    return below == 0 ? x : x % below;
}

static bool lies(void)
{
    bool now = any(40) == 0;
    liar.did.lies += now;
    return now;
}

static uint64_t strange_number(void)
{
    static const uint64_t strange[] = {0, 1, 511, 4097, UINT32_MAX, INT64_MAX, UINT64_MAX};
    return any(2) == 0 ? any(0) : strange[any(sizeof(strange) / sizeof(strange[0]))];
}

/* A lie that cannot be encoded is not told. False if the session is over. */
static bool say(const struct blx_message *message)
{
    int rc = blx_conn_send(liar.conn, message, NULL);
    liar.did_say = rc == 0;
    liar.did.sent += rc == 0;
    return rc == 0 || rc == -EINVAL || rc == -EPROTO || rc == -EBADMSG;
}

/* 1: a message; 0: none came; below: the session is over. */
static int hear(uint64_t wait_ms, struct blx_message *message)
{
    struct blx_error err = {0};
    int rc = blx_conn_recv(liar.conn, wait_ms, message, &err);
    if (rc == -ETIMEDOUT || rc == -EAGAIN)
        return 0;
    if (rc < 0)
        return rc;
    if (message->type == BLX_MESSAGE_ERROR) {
        liar.did.errors++;
        return -EPROTO;
    }
    if (message->type == BLX_MESSAGE_CHECKPOINT_REQUEST)
        liar.request = message->checkpoint_request.request;
    liar.did.checkpoints += message->type == BLX_MESSAGE_CHECKPOINT_DONE;
    return 1;
}

/* Waits for an answer of that type. */
static bool await(enum blx_message_type type, struct blx_message *message)
{
    uint64_t end_ns = blx_deadline_in_ms(ANSWER_MS);
    while (blx_clock_ns() < end_ns) {
        int rc = hear(ANSWER_MS, message);
        if (rc < 0)
            return false;
        if (rc == 1 && message->type == type)
            return true;
    }
    return false;
}

static bool announce(uint32_t number)
{
    struct blx_message message = {
        .type = BLX_MESSAGE_VOLUME,
        .volume = {.volume = number,
                   .block_shift = BLOCK_SHIFT,
                   .size_bytes = BLOCKS << BLOCK_SHIFT,
                   .generation = liar.generations[number],
                   .device = "/dev/vda"},
    };
    snprintf(message.volume.name, sizeof(message.volume.name), "vd%c", (char)('a' + number));
    if (lies())
        message.volume.volume = (uint32_t)strange_number();
    if (lies())
        message.volume.size_bytes = strange_number();
    if (lies())
        message.volume.block_shift = (uint32_t)any(70);
    if (lies())
        strcpy(message.volume.name, any(2) == 0 ? "../../etc" : "vda");
    if (lies())
        message.volume.generation = (struct blx_generation){0};
    if (!say(&message))
        return false;
    if (!liar.did_say)
        return announce(number);
    if (!await(BLX_MESSAGE_VOLUME_STATE, &message))
        return false;
    bool same = blx_generation_equal(&message.volume_state.generation, &liar.generations[number]);
    liar.seqs[number] = same ? message.volume_state.durable_seq : 0;
    return true;
}

static bool begin(uint32_t number)
{
    struct blx_message message = {
        .type = BLX_MESSAGE_BEGIN,
        .begin = {.volume = number, .pass = BLX_PASS_FULL, .full_bytes = BLOCKS << BLOCK_SHIFT},
    };
    if (lies())
        message.begin.pass = (enum blx_pass)any(6);
    if (lies())
        message.begin.full_bytes = strange_number();
    if (lies())
        message.begin.volume = (uint32_t)strange_number();
    return say(&message) && (liar.did_say || begin(number));
}

static bool greet(const char *agent_id)
{
    struct blx_message message = {
        .type = BLX_MESSAGE_HELLO,
        .hello = {.version_min = 1, .version_max = 1, .volume_count = VOLUMES, .software = "liar"},
    };
    snprintf(message.hello.agent_id, sizeof(message.hello.agent_id), "%s", agent_id);
    if (lies())
        message.hello.features = any(0);
    if (lies())
        message.hello.volume_count = (uint32_t)strange_number();
    if (lies())
        strcpy(message.hello.agent_id, "server1");
    if (!say(&message) || !liar.did_say || !await(BLX_MESSAGE_WELCOME, &message))
        return false;
    liar.did.greeted++;
    for (uint32_t i = 0; i < VOLUMES; i++)
        if (!announce(i))
            return false;
    for (uint32_t i = 0; i < VOLUMES; i++)
        if (!begin(i))
            return false;
    return true;
}

static bool send_frame(void)
{
    static uint8_t data[16 << BLOCK_SHIFT], bytes[BLX_FRAME_MAX_BYTES];
    uint32_t number = (uint32_t)any(VOLUMES), count = (uint32_t)(1 + any(16));
    uint64_t start = any(BLOCKS - count + 1);
    struct blx_frame_extent extent = {.extent = {start, count}};
    struct blx_frame_content content = {
        .codec = BLX_CODEC_ZSTD,
        .block_shift = BLOCK_SHIFT,
        .generation = liar.generations[number],
        .extents = &extent,
        .extent_count = 1,
        .data = data,
        .data_bytes = count << BLOCK_SHIFT,
    };
    size_t frame_bytes = 0;
    memset(data, (int)any(256), sizeof(data));
    if (lies())
        extent.extent.start_block = strange_number();
    if (lies())
        content.generation = liar.generations[(number + 1) % VOLUMES];
    if (blx_frame_pack(&content, bytes, &frame_bytes, NULL) < 0)
        return true;
    blx_frame_seal(bytes, lies() ? strange_number() : ++liar.seqs[number]);
    if (lies())
        bytes[any(frame_bytes)] ^= (uint8_t)(1 + any(255));
    const struct blx_message message = {
        .type = BLX_MESSAGE_FRAME,
        .frame = {.volume = lies() ? (uint32_t)strange_number() : number,
                  .bytes = bytes,
                  .frame_bytes = frame_bytes},
    };
    return say(&message);
}

static bool send_checkpoint(void)
{
    struct blx_message message = {
        .type = BLX_MESSAGE_CHECKPOINT,
        .checkpoint = {.request = liar.request,
                       .cut_realtime_ns = blx_clock_realtime_ns(),
                       .cut_age_ns = BLX_CUT_AGE_UNKNOWN,
                       .consistency = BLX_CONSISTENCY_FILESYSTEM,
                       .volume_count = VOLUMES},
    };
    if (liar.request == 0 && !liar.has_waited) {
        struct blx_message heard;
        liar.has_waited = true;
        if (!await(BLX_MESSAGE_CHECKPOINT_REQUEST, &heard))
            return false;
        message.checkpoint.request = liar.request;
    }
    if (liar.request == 0 && !lies())
        return true;
    for (size_t i = 0; i < VOLUMES; i++)
        message.checkpoint.last_seq[i] = lies() ? strange_number() : liar.seqs[i];
    if (any(2) == 0)
        message.checkpoint.cut_realtime_ns = strange_number();
    if (lies())
        message.checkpoint.freeze_ns = strange_number();
    if (lies())
        message.checkpoint.volume_count = (uint32_t)any(BLX_MAX_VOLUMES + 1);
    if (lies())
        message.checkpoint.request = strange_number();
    if (lies())
        message.checkpoint.consistency = (enum blx_consistency)any(5);
    liar.request = 0;
    return say(&message);
}

static bool send_unreadable(void)
{
    struct blx_message message = {
        .type = BLX_MESSAGE_UNREADABLE,
        .unreadable = {.volume = (uint32_t)any(VOLUMES), .extent_count = 1},
    };
    message.unreadable.extents[0] =
        (struct blx_extent){lies() ? strange_number() : any(BLOCKS / 2), 1 + any(BLOCKS / 2)};
    return say(&message);
}

static bool send_status(void)
{
    const struct blx_message message = {
        .type = BLX_MESSAGE_STATUS,
        .status = {.state = BLX_AGENT_LIVE,
                   .dirty_bytes = strange_number(),
                   .unreadable_bytes = strange_number(),
                   .done_bytes = strange_number(),
                   .total_bytes = strange_number(),
                   .missed_events = strange_number(),
                   .reason = "a lie\tor two"},
    };
    return say(&message);
}

static bool send_digest_request(void)
{
    struct blx_message message = {
        .type = BLX_MESSAGE_DIGEST_REQUEST,
        .digest_request = {.volume = (uint32_t)any(VOLUMES),
                           .request = any(0),
                           .fresh = any(2) == 0,
                           .blocks_per_digest = lies() ? (uint32_t)strange_number() : 8,
                           .first_block = lies() ? strange_number() : any(BLOCKS / 2),
                           .extent_count = 1},
    };
    message.digest_request.extents[0].block_count = (uint16_t)(1 + any(BLOCKS / 2));
    return say(&message);
}

/* Much of one kind, and what nobody expects. */
static bool flood(void)
{
    static const enum blx_message_type types[] = {BLX_MESSAGE_PING, BLX_MESSAGE_GOODBYE,
                                                  BLX_MESSAGE_WELCOME, BLX_MESSAGE_ACK,
                                                  BLX_MESSAGE_CHECKPOINT_FAILED};
    const struct blx_message message = {.type = types[any(sizeof(types) / sizeof(types[0]))]};
    for (unsigned i = 0; i < FLOOD; i++)
        if (!say(&message))
            return false;
    return true;
}

static bool act(void)
{
    switch (any(16)) {
    case 0:
    case 1:
    case 2:
        return send_checkpoint();
    case 3:
        return send_unreadable();
    case 4:
        return send_status();
    case 5:
        return send_digest_request();
    case 6:
        return !lies() || flood();
    case 7:
        return !lies() || announce((uint32_t)any(VOLUMES));
    case 8:
        return !lies() || begin((uint32_t)any(VOLUMES));
    default:
        return send_frame();
    }
}

static void run_session(const char *agent_id)
{
    struct blx_message heard;
    int rc = 0;
    liar.request = 0;
    liar.has_waited = false;
    for (size_t i = 0; i < VOLUMES; i++)
        if (liar.did.sessions == 1 || any(2) == 0)
            for (size_t k = 0; k < sizeof(liar.generations[i].bytes); k++)
                liar.generations[i].bytes[k] = (uint8_t)any(256);
    bool goes_on = greet(agent_id);
    for (unsigned i = 0; goes_on && i < MESSAGES; i++) {
        goes_on = act();
        while (goes_on && (rc = hear(LOOK_MS, &heard)) == 1)
            ;
        goes_on = goes_on && rc >= 0;
    }
    /* Why the session is over may still lie there. */
    for (rc = 1; !goes_on && rc == 1;)
        rc = hear(LOOK_MS, &heard);
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "usage: %s ADDRESS CREDENTIALS AGENT-ID SESSIONS SEED\n", argv[0]);
        return 2;
    }
    struct blx_error err = {0};
    struct blx_tls_context *tls = NULL;
    const struct blx_tls_files files = {.ca = argv[2], .cert = argv[2], .key = argv[2]};
    unsigned long sessions = strtoul(argv[4], NULL, 10);
    liar.random = strtoull(argv[5], NULL, 10);
    int rc = blx_tls_context_new_client(&files, &tls, &err);
    for (unsigned long i = 0; rc == 0 && i < sessions; i++) {
        rc = blx_tls_connect(tls, argv[1], CONNECT_MS, &liar.conn, &err);
        if (rc < 0)
            break;
        liar.did.sessions++;
        run_session(argv[3]);
        blx_conn_free(liar.conn);
    }
    blx_tls_context_free(tls);
    printf("%lu sessions (%lu welcomed), %lu messages, %lu lies, %lu errors, %lu checkpoints\n",
           liar.did.sessions, liar.did.greeted, liar.did.sent, liar.did.lies, liar.did.errors,
           liar.did.checkpoints);
    if (rc < 0)
        fprintf(stderr, "%s\n", err.message);
    return rc < 0 ? 1 : 0;
}
