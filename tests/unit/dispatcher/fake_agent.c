/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/units.h"
#include "fake_agent.h"

struct fake_agent *fake_agent_connect(const struct fake_site *site, const char *certificate_id,
                                      const struct fake_agent *earlier)
{
    struct fake_agent *agent = calloc(1, sizeof(*agent));
    struct blx_error err = {0};
    char pem[64];
    assert_non_null(agent);
    snprintf(pem, sizeof(pem), "%s/%s.pem", site->dir, certificate_id);
    const struct blx_tls_files files = {.ca = pem, .cert = pem, .key = pem};
    assert_int_equal(blx_tls_context_new_client(&files, &agent->tls, NULL), 0);
    if (blx_tls_connect(agent->tls, site->address, 10000, &agent->conn, &err) < 0)
        fail_msg("%s", err.message);
    if (earlier != NULL)
        agent->generation = earlier->generation;
    else
        assert_int_equal(blx_generation_create(&agent->generation), 0);
    return agent;
}

void fake_agent_close(struct fake_agent *agent)
{
    blx_conn_free(agent->conn);
    blx_tls_context_free(agent->tls);
    free(agent);
}

void fake_agent_send(struct fake_agent *agent, const struct blx_message *message)
{
    struct blx_error err = {0};
    if (blx_conn_send(agent->conn, message, &err) < 0)
        fail_msg("%s", err.message);
}

static struct blx_message receive(struct fake_agent *agent)
{
    struct blx_message message = {.type = BLX_MESSAGE_PING};
    struct blx_error err = {0};
    while (message.type == BLX_MESSAGE_PING) {
        if (blx_conn_recv(agent->conn, FAKE_RECV_MS, &message, &err) < 0)
            fail_msg("%s", err.message);
    }
    return message;
}

struct blx_message fake_agent_expect(struct fake_agent *agent, enum blx_message_type type)
{
    struct blx_message message = receive(agent);
    if (message.type == BLX_MESSAGE_ERROR && type != BLX_MESSAGE_ERROR)
        fail_msg("expected %s, got ERROR: %s", blx_message_name(type), message.error.text);
    if (message.type != type)
        fail_msg("expected %s, got %s", blx_message_name(type), blx_message_name(message.type));
    return message;
}

void fake_agent_expect_error(struct fake_agent *agent, const char *part)
{
    struct blx_message message = receive(agent);
    while (message.type == BLX_MESSAGE_ACK)
        message = receive(agent);
    assert_int_equal(message.type, BLX_MESSAGE_ERROR);
    if (strstr(message.error.text, part) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", message.error.text, part);
    struct blx_error err = {0};
    assert_int_equal(blx_conn_recv(agent->conn, FAKE_RECV_MS, &message, &err), -EPIPE);
}

void fake_agent_hello(struct fake_agent *agent, const char *agent_id)
{
    struct blx_message hello = {
        .type = BLX_MESSAGE_HELLO,
        .hello = {.version_min = 1,
                  .version_max = 1,
                  .features = agent->features | (agent->key != NULL ? BLX_FEATURE_ENCRYPTION : 0),
                  .volume_count = 1,
                  .software = "fake 1"},
    };
    snprintf(hello.hello.agent_id, sizeof(hello.hello.agent_id), "%s", agent_id);
    fake_agent_send(agent, &hello);
}

static void take_digest_key(struct fake_agent *agent, const char *agent_id)
{
    const struct blx_message message = fake_agent_expect(agent, BLX_MESSAGE_DIGEST_KEY);
    struct blx_key key;
    assert_int_equal(blx_key_set(&key, message.digest_key.secret, NULL), 0);
    assert_int_equal(blx_volume_key_derive(&key, agent_id, "vda", &agent->digest_keys, NULL), 0);
}

void fake_agent_greet(struct fake_agent *agent, const char *agent_id)
{
    fake_agent_hello(agent, agent_id);
    agent->welcome = fake_agent_expect(agent, BLX_MESSAGE_WELCOME).welcome;
    if ((agent->welcome.features & BLX_FEATURE_DIGESTS) != 0)
        take_digest_key(agent, agent_id);
    if (agent->key != NULL) {
        const struct blx_message key = {.type = BLX_MESSAGE_KEY, .key.key_id = agent->key->id};
        assert_int_equal(agent->welcome.features, BLX_FEATURE_ENCRYPTION);
        fake_agent_send(agent, &key);
    }
    fake_agent_announce(agent);
}

void fake_agent_announce(struct fake_agent *agent)
{
    const struct blx_message volume = {
        .type = BLX_MESSAGE_VOLUME,
        .volume = {.block_shift = 12,
                   .size_bytes = FAKE_VOLUME_BYTES,
                   .generation = agent->generation,
                   .name = "vda",
                   .device = "/dev/vda"},
    };
    fake_agent_send(agent, &volume);
    agent->state = fake_agent_expect(agent, BLX_MESSAGE_VOLUME_STATE).volume_state;
}

void fake_agent_begin(struct fake_agent *agent, enum blx_pass pass)
{
    const struct blx_message begin = {
        .type = BLX_MESSAGE_BEGIN,
        .begin = {.pass = pass, .full_bytes = pass == BLX_PASS_FULL ? FAKE_VOLUME_BYTES : 0},
    };
    fake_agent_send(agent, &begin);
    agent->seq = pass == BLX_PASS_RESUME ? agent->state.durable_seq : 0;
}

struct fake_agent *fake_agent_online(const struct fake_site *site, const char *agent_id)
{
    struct fake_agent *agent = fake_agent_connect(site, agent_id, NULL);
    fake_agent_greet(agent, agent_id);
    fake_agent_begin(agent, BLX_PASS_FULL);
    return agent;
}

void fake_agent_frame(struct fake_agent *agent, uint64_t seq, uint64_t start, uint32_t count,
                      uint8_t fill)
{
    uint8_t *data = malloc((size_t)count * FAKE_BLOCK_BYTES);
    const struct blx_frame_extent extent = {.extent = {start, count}};
    const struct blx_frame_content content = {
        .codec = BLX_CODEC_ZSTD,
        .block_shift = 12,
        .generation = agent->generation,
        .extents = &extent,
        .extent_count = 1,
        .data = data,
        .data_bytes = count * FAKE_BLOCK_BYTES,
        .key = agent->key,
    };
    assert_non_null(data);
    memset(data, fill, (size_t)count * FAKE_BLOCK_BYTES);
    uint8_t *bytes =
        malloc(blx_frame_bound(&content) + blx_frame_digest_bytes(content.data_bytes, 12));
    size_t frame_bytes = 0;
    assert_non_null(bytes);
    assert_int_equal(blx_frame_pack(&content, bytes, &frame_bytes, NULL), 0);
    blx_frame_seal(bytes, seq);
    if (!blx_key_id_is_none(&agent->digest_keys.id)) {
        const struct blx_frame view = {.bytes = bytes, .block_shift = 12, .extent_count = 1};
        assert_int_equal(
            blx_frame_digest(&view, data, &agent->digest_keys, bytes + frame_bytes, NULL), 0);
        frame_bytes += blx_frame_digest_bytes(content.data_bytes, 12);
    }
    const struct blx_message frame = {
        .type = BLX_MESSAGE_FRAME,
        .frame = {.bytes = bytes, .frame_bytes = frame_bytes},
    };
    fake_agent_send(agent, &frame);
    free(bytes);
    free(data);
}

void fake_agent_write(struct fake_agent *agent, uint64_t start, uint32_t count, uint8_t fill)
{
    fake_agent_frame(agent, ++agent->seq, start, count, fill);
    memset(agent->disk + start * FAKE_BLOCK_BYTES, fill, (size_t)count * FAKE_BLOCK_BYTES);
}

void fake_agent_wait_durable(struct fake_agent *agent, uint64_t seq)
{
    uint64_t durable_seq = 0;
    while (durable_seq < seq) {
        struct blx_message ack = fake_agent_expect(agent, BLX_MESSAGE_ACK);
        assert_int_equal(ack.ack.volume, 0);
        assert_true(ack.ack.durable_seq > durable_seq && ack.ack.durable_seq <= agent->seq);
        durable_seq = ack.ack.durable_seq;
    }
}

void fake_agent_cut(struct fake_agent *agent, uint64_t request, uint64_t last_seq)
{
    const struct blx_message cut = {
        .type = BLX_MESSAGE_CHECKPOINT,
        .checkpoint = {.request = request,
                       .cut_realtime_ns =
                           agent->clock_ns != 0 ? agent->clock_ns : blx_clock_realtime_ns(),
                       .consistency = BLX_CONSISTENCY_FILESYSTEM,
                       .volume_count = 1,
                       .freeze_ns = 20 * 1000 * 1000,
                       .last_seq = {last_seq}},
    };
    fake_agent_send(agent, &cut);
}

blx_timestamp fake_agent_checkpoint(struct fake_agent *agent)
{
    struct blx_message message = receive(agent);
    while (message.type == BLX_MESSAGE_ACK)
        message = receive(agent);
    assert_int_equal(message.type, BLX_MESSAGE_CHECKPOINT_REQUEST);
    uint64_t request = message.checkpoint_request.request;
    fake_agent_cut(agent, request, agent->seq);
    do {
        message = receive(agent);
    } while (message.type == BLX_MESSAGE_ACK);
    if (message.type == BLX_MESSAGE_ERROR)
        fail_msg("%s", message.error.text);
    assert_int_equal(message.type, BLX_MESSAGE_CHECKPOINT_DONE);
    assert_int_equal(message.checkpoint_done.request, request);
    return message.checkpoint_done.timestamp;
}
