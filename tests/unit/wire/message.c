/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "wire/message.h"

/* BLX_PROTO_DIR is the source folder proto/. With --write the program writes the vectors instead of
 * comparing them. */
static bool write_vectors;

#define SEQ16                                                                                      \
    {                                                                                              \
        {                                                                                          \
            0x10, 0x21, 0x32, 0x43, 0x54, 0x65, 0x46, 0x87, 0x98, 0xa9, 0xba, 0xcb, 0xdc, 0xed,    \
                0xfe, 0x0f                                                                         \
        }                                                                                          \
    }

/* One example of each type. Each field has a value of its own, so that a swap of two is found. */
static const struct blx_message examples[] = {
    {.type = BLX_MESSAGE_HELLO,
     .hello = {.version_min = 1,
               .version_max = 3,
               .features = 0x0102030405060708,
               .volume_count = 2,
               .agent_id = "web1",
               .software = "blxrep-agent 0.1.0",
               .instance = SEQ16}},
    {.type = BLX_MESSAGE_WELCOME,
     .welcome = {.version = 1,
                 .features = 0x0102030405060708,
                 .sync_freq_ms = 900000,
                 .heartbeat_ms = 10000,
                 .window_bytes = 67108864,
                 .last_checkpoint = 20261122203600}},
    {.type = BLX_MESSAGE_KEY,
     .key = {.key_id = {{0x11, 0x9b, 0x56, 0x7c, 0xd2, 0x19, 0x20, 0x0f}}}},
    {.type = BLX_MESSAGE_DIGEST_KEY, .digest_key = {"thirty-two bytes that are secret"}},
    {.type = BLX_MESSAGE_VOLUME,
     .volume = {.volume = 1,
                .block_shift = 12,
                .size_bytes = 1099511627776,
                .generation = SEQ16,
                .name = "disk-by-id-ata-X-1",
                .device = "/dev/disk/by-id/ata-X:1",
                .identity = "S3Z9NB0K"}},
    {.type = BLX_MESSAGE_VOLUME_STATE,
     .volume_state = {.volume = 1,
                      .generation = SEQ16,
                      .durable_seq = 4711,
                      .image_bytes = 1099511627264,
                      .reason = "its size changed"}},
    {.type = BLX_MESSAGE_BEGIN,
     .begin = {.volume = 1, .pass = BLX_PASS_FULL, .full_bytes = 123456789012}},
    {.type = BLX_MESSAGE_ACK, .ack = {.volume = 1, .durable_seq = 4712}},
    {.type = BLX_MESSAGE_DIGEST_REQUEST,
     .digest_request = {.volume = 1,
                        .request = 0x2122232425262728,
                        .fresh = true,
                        .blocks_per_digest = 200,
                        .first_block = 0x3132333435,
                        .extent_count = 3,
                        .extents = {{0, 300}, {0xfffe, 7}, {1, 0x102}}}},
    {.type = BLX_MESSAGE_DIGESTS,
     .digests = {.volume = 1,
                 .request = 0x2122232425262728,
                 .digest_bytes = 16,
                 .count = 2,
                 .bytes = "sixteen bytes onsixteen more two"}},
    {.type = BLX_MESSAGE_RESCAN_REQUEST, .rescan_request = {.text = "asked for by hand"}},
    {.type = BLX_MESSAGE_CHECKPOINT_REQUEST, .checkpoint_request = {.request = 0x1122334455667788}},
    {.type = BLX_MESSAGE_CHECKPOINT,
     .checkpoint = {.request = 0x1122334455667788,
                    .cut_realtime_ns = 1795380960123456789,
                    .cut_age_ns = 1234567890,
                    .consistency = BLX_CONSISTENCY_CRASH,
                    .volume_count = 2,
                    .freeze_ns = 43000000,
                    .note = "'/srv' has no freeze (vfat) \xe2\x80\xa6",
                    .last_seq = {4713, 9}}},
    {.type = BLX_MESSAGE_UNREADABLE,
     .unreadable = {.volume = 1,
                    .extent_count = 2,
                    .extents = {{0x3132333435, 0x36}, {0x4142434445, 0x464748}}}},
    {.type = BLX_MESSAGE_CHECKPOINT_DONE,
     .checkpoint_done = {.request = 0x1122334455667788, .timestamp = 20261122203601}},
    {.type = BLX_MESSAGE_CHECKPOINT_FAILED,
     .checkpoint_failed = {.request = 0x1122334455667788,
                           .reason = "the pre-freeze hook '/etc/hook' failed: exit 3"}},
    {.type = BLX_MESSAGE_STATUS,
     .status = {.state = BLX_AGENT_FULL_SYNC,
                .dirty_bytes = 4096,
                .unreadable_bytes = 12288,
                .done_bytes = 8192,
                .total_bytes = 1048576,
                .missed_events = 5,
                .tracked_events = 0x7172737475,
                .passthrough_commands = 6,
                .unseen_sectors = 7,
                .eta_seconds = 90061,
                .reason = "no generation is known here"}},
    {.type = BLX_MESSAGE_PING},
    {.type = BLX_MESSAGE_ERROR,
     .error = {.text = "the certificate is for 'web1', not for 'web10'"}},
    {.type = BLX_MESSAGE_GOODBYE},
    {.type = BLX_MESSAGE_CONTROL_CHECKPOINT, .control_checkpoint = {.agent_id = "web10"}},
    {.type = BLX_MESSAGE_CONTROL_DONE,
     .control_done = {.ok = true, .timestamp = 20261122203602, .text = "taken"}},
    {.type = BLX_MESSAGE_CONTROL_STATUS},
    {.type = BLX_MESSAGE_POLICY,
     .policy = {.sync_freq_ms = 30000,
                .paused = true,
                .bandwidth_limit = "mon-fri 08:00-18:00 2M, 20M",
                .exclude_bytes = 20,
                .exclude = "sdb\0/dev/nvme[12]n1"}},
    {.type = BLX_MESSAGE_CONTROL_PAUSE, .control_pause = {.agent_id = "web3"}},
    {.type = BLX_MESSAGE_CONTROL_RENAME, .control_rename = {.agent_id = "web3", .to = "db1"}},
    {.type = BLX_MESSAGE_CONTROL_PIN,
     .control_pin = {.agent_id = "web3", .timestamp = 20261122203600}},
    {.type = BLX_MESSAGE_CONTROL_HOST,
     .control_host = {.name = "backup1",
                      .role = BLX_HOST_STANDBY,
                      .since = 20261130094200,
                      .told = 20261130094205,
                      .listen = ":8080",
                      .software = "blxrep-dispatcher 0.1.0"}},
    {.type = BLX_MESSAGE_CONTROL_PLACE, .control_place = {.agent_id = "web1", .host = "backup2"}},
    {.type = BLX_MESSAGE_CONTROL_RESCAN, .control_rescan = {.agent_id = "web2"}},
    {.type = BLX_MESSAGE_CONTROL_REVOKE, .control_revoke = {.agent_id = "web3"}},
    {.type = BLX_MESSAGE_JOIN,
     .join = {.secret = "twenty random bytes",
              .request = {.request_bytes = 9, .bytes = "a request"}}},
    {.type = BLX_MESSAGE_CERTIFICATE,
     .certificate =
         {.cert_bytes = 13, .ca_bytes = 18, .cert = "a certificate", .ca = "and that of its CA"}},
    {.type = BLX_MESSAGE_RENEW, .renew = {.request_bytes = 10, .bytes = "another one"}},
    {.type = BLX_MESSAGE_AUTHORITY,
     .authority = {.ca_bytes = 9, .proof_bytes = 8, .ca = "a new CA ", .proof = "a proof"}},
    {.type = BLX_MESSAGE_RENEWED, .renewed = {.ca_fingerprint = "thirty-two bytes of its digest"}},
    {.type = BLX_MESSAGE_RENEW_FAILED, .renew_failed = {.text = "ca.key is missing"}},
    {.type = BLX_MESSAGE_RESTORE,
     .restore = {.secret = "a secret of twenty b",
                 .machine = "thirty-two bytes of one machine",
                 .software = "blxrep 0.1.0"}},
    {.type = BLX_MESSAGE_RESTORE_OFFER,
     .restore_offer = {.agent_id = "web1",
                       .checkpoint = 20261122203603,
                       .consistency = BLX_CONSISTENCY_FILESYSTEM,
                       .volume_count = 2,
                       .heartbeat_ms = 10000,
                       .window_bytes = 16777216}},
    {.type = BLX_MESSAGE_RESTORE_VOLUME,
     .restore_volume = {.volume = 1,
                        .block_shift = 12,
                        .size_bytes = 1099511627776,
                        .key_id = {{1, 2, 3, 4, 5, 6, 7, 8}},
                        .name = "vda",
                        .device = "/dev/vda"}},
    {.type = BLX_MESSAGE_PLAN_REQUEST, .plan_request = {.volume = 1, .start_block = 0x4142434445}},
    {.type = BLX_MESSAGE_PLAN,
     .plan = {.volume = 1,
              .frame_count = 2,
              .start_block = 0x4142434445,
              .end_block = 0x4142534445,
              .piece_count = 3}},
    {.type = BLX_MESSAGE_PLAN_PIECES,
     .plan_pieces = {.volume = 1,
                     .count = 3,
                     .pieces = {{.start_block = 0x4142434445,
                                 .block_count = 0x464748,
                                 .data_block = 7,
                                 .frame_bytes = 0x10203},
                                {.start_block = 0x5152535455, .block_count = 2, .data_block = 9},
                                {.start_block = 0x4142334445,
                                 .block_count = 1,
                                 .frame_bytes = 0x20304}}}},
    {.type = BLX_MESSAGE_FRAMES_REQUEST,
     .frames_request = {.volume = 1, .first = 0x11121314, .count = 0x212223}},
    {.type = BLX_MESSAGE_RESTORE_DONE, .restore_done = {.written_bytes = 0x3132333435363738}},
    {.type = BLX_MESSAGE_COPY_REQUEST,
     .copy_request = {.kind = BLX_COPY_CHECKPOINT,
                      .agent_id = "web1",
                      .checkpoint = 20260102030405,
                      .have = 20260101020304,
                      .hash = {1, 2, 3, 4, [31] = 5}}},
    {.type = BLX_MESSAGE_COPY_ITEM,
     .copy_item = {.agent_id = "web1", .checkpoint = 20260102030405}},
    {.type = BLX_MESSAGE_COPY_FILE,
     .copy_file = {.volume = 1, .number = 0x21222324, .bytes = 0x3132333435}},
    {.type = BLX_MESSAGE_COPY_TAKE, .copy_take = {.offset_bytes = 0x3132333434}},
    {.type = BLX_MESSAGE_COPY_END, .copy_end = {{6, 7, 8, 9, [31] = 10}}},
    {.type = BLX_MESSAGE_COPY_DONE, .copy_done = {{11, 12, 13, 14, [31] = 15}}},
    {.type = BLX_MESSAGE_CONTROL_PULLED,
     .control_pulled = {.agent_id = "web1",
                        .checkpoint = 20260102030405,
                        .looked_s = 1767323045,
                        .source = "backup.example.com:8080"}},
    {.type = BLX_MESSAGE_HANDOVER},
    {.type = BLX_MESSAGE_HARDWARE, .hardware = {"thirty-two bytes of a machine.."}},
    {.type = BLX_MESSAGE_CONTROL_RESTORE,
     .control_restore = {.agent_id = "web1",
                         .peer = "[2001:db8::1]:40013",
                         .checkpoint = 20260101020304,
                         .volume = "vda",
                         .number = 1,
                         .volume_count = 2,
                         .volume_bytes = 0x5152535455565758,
                         .done_bytes = 0x4142434445464748,
                         .sent_bytes = 0x3132333435363738,
                         .rate_bytes_per_s = 0x2122232425262728,
                         .connected_ms = 0x1112131415161718,
                         .eta_seconds = 0x61626364,
                         .takes_over = true}},
    {.type = BLX_MESSAGE_CONTROL_HANDOVER,
     .control_handover = {.agent_id = "web1",
                          .state = BLX_HANDOVER_SETTLED,
                          .since = 20260102030405,
                          .checkpoint = 20260101020304,
                          .peer = "[2001:db8::1]:40013",
                          .refused = 0x1112131415161718,
                          .refused_ms = 0x2122232425262728,
                          .refused_peer = "192.0.2.7:40012"}},
    {.type = BLX_MESSAGE_CONTROL_COPY,
     .control_copy = {.agent_id = "web1",
                      .late = true,
                      .wants_lock = true,
                      .newest = 20260101020304,
                      .copied_s = 0x1112131415161718,
                      .locked_until_s = 0x2122232425262728,
                      .tried_s = 0x3132333435363738,
                      .waiting_s = 0x4142434445464748,
                      .strange = 0x5152535455565758,
                      .place = "https://s3.example.org/copies",
                      .not_locked = "no lock is configured",
                      .failure = "it cannot be reached"}},
    {.type = BLX_MESSAGE_DELTA_REQUEST, .delta_request = {.volume = 1}},
    {.type = BLX_MESSAGE_DELTA_KEY,
     .delta_key = {.volume = 1, .key = {1, 2, 3, 4, 5, 6, 7, 8, [63] = 9}}},
    {.type = BLX_MESSAGE_DELTA_WANTED,
     .delta_wanted = {.volume = 1,
                      .count = 2,
                      .extents = {{0x4142434445, 0x464748}, {0x5152535455, 1}}}},
    {.type = BLX_MESSAGE_CONTROL_AGENT,
     .control_agent = {.agent_id = "web1",
                       .peer = "[2001:db8::1]:40012",
                       .status = {.state = BLX_AGENT_LIVE,
                                  .dirty_bytes = 1,
                                  .done_bytes = 2,
                                  .total_bytes = 3,
                                  .missed_events = 4,
                                  .reason = "none"},
                       .last_checkpoint = 20261122203603,
                       .last_consistency = BLX_CONSISTENCY_FILESYSTEM,
                       .connected_ms = 60001,
                       .received_bytes = 70002,
                       .last_unreadable_bytes = 80003,
                       .volume_count = 3,
                       .sync_freq_ms = 180000,
                       .away_ms = 80004,
                       .rate_bytes_per_s = 90004,
                       .volume_bytes = 1099511627776,
                       .freeze_ns = 41000000,
                       .paused_since = 20261122203559,
                       .revoked = true,
                       .rescan_place = 7,
                       .archived_since = 20261122203601,
                       .quota_state = 1,
                       .unencrypted = true,
                       .cut_flags = BLX_CUT_FLAGS_TOLD | BLX_CUT_PRE_FREEZE_FAILED,
                       .cert_ends_s = 1826916960,
                       .quota = "bytes: 410 MiB of 512 MiB",
                       .changed_bytes = 8192001,
                       .stored_bytes = 4096002,
                       .saved_bytes = 4095999,
                       .note = "vfat on /boot/efi cannot be frozen",
                       .failure = "no room in the freeze buffer",
                       .checkpoints = {11, 12, 13},
                       .failed_checkpoints = 14,
                       .sessions = 15,
                       .rescans = 16,
                       .total_received_bytes = 17,
                       .total_freeze_ns = 18,
                       .trouble = {.kind = BLX_TROUBLE_FULL,
                                   .since = 20261122203500,
                                   .text = "the store '/var/lib/blxrep' is full"},
                       .enrolled_since = 20261122203400,
                       .stalled_ms = 900001}},
    {.type = BLX_MESSAGE_CONTROL_DISPATCHER,
     .control_dispatcher = {.uptime_ms = 3600001,
                            .data_bytes = 4398046511104,
                            .data_free_bytes = 1099511627777,
                            .data_inodes = 268435456,
                            .data_free_inodes = 134217729,
                            .cert_ends_s = 2111111111,
                            .ca_ends_s = 2422222222,
                            .ca_rolls = true,
                            .ca_stayed = 3,
                            .software = "blxrep-dispatcher 0.1.0",
                            .trouble = {.kind = BLX_TROUBLE_GONE,
                                        .since = 20261122203501,
                                        .text = "'/var/lib/blxrep' is another folder now"}}},
    {.type = BLX_MESSAGE_CONTROL_DAMAGE,
     .control_damage = {.agent_id = "web3", .text = "1 damage, 2 checkpoints hurt"}},
    {.type = BLX_MESSAGE_CONTROL_POLICY, .control_policy = {.agent_id = "web4"}},
    {.type = BLX_MESSAGE_CONTROL_VERDICT,
     .control_verdict = {.key = 3,
                         .source = BLX_VERDICT_POLICY,
                         .file = "/etc/blxrep/policies/10-web.yaml",
                         .pattern = "web*",
                         .numbers = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
                         .texts = "sdb\0/dev/nvme[12]n1",
                         .texts_bytes = 20}},
    {.type = BLX_MESSAGE_CONTROL_STALE,
     .control_stale = {.text = "'/etc/blxrep/config.yaml' was changed after it was read"}},
    {.type = BLX_MESSAGE_CONTROL_SELF,
     .control_self = {.dispatcher_addr = "backup.example.com:8080",
                      .software = "blxrep-agent 0.1.0",
                      .uptime_ms = 86400001,
                      .cert_ends_s = 2111111112,
                      .refusal = "the dispatcher ended the session: its store is full",
                      .refusal_ms = 3600002,
                      .encrypts = true,
                      .knows_checkpoint = true,
                      .left_over = 3}},
    {.type = BLX_MESSAGE_CONTROL_DISK,
     .control_disk = {.state = BLX_DISK_REFUSED,
                      .path = "/dev/vdb",
                      .text = "'/dev/vdb' cannot be opened",
                      .size_bytes = 1099511627777,
                      .dirty_bytes = 8193,
                      .unreadable_bytes = 4097,
                      .done_bytes = 12289,
                      .total_bytes = 16385,
                      .tracked_events = 17,
                      .missed_events = 5}},
};
enum { EXAMPLES = sizeof(examples) / sizeof(examples[0]) };

static const struct blx_message *example_of(enum blx_message_type type)
{
    for (size_t i = 0; i < EXAMPLES; i++) {
        if (examples[i].type == type)
            return &examples[i];
    }
    return NULL;
}

static size_t encode(const struct blx_message *message, uint8_t *buffer)
{
    size_t length = 0;
    assert_int_equal(blx_message_encode(message, buffer, BLX_MESSAGE_ENCODED_BYTES, &length), 0);
    return length;
}

static int decode_all(const uint8_t *bytes, size_t length, struct blx_message *message,
                      struct blx_error *err)
{
    enum blx_message_type type = 0;
    size_t body_bytes = 0;
    int rc = blx_message_decode_header(bytes, &type, &body_bytes, err);
    if (rc < 0)
        return rc;
    assert_int_equal(body_bytes, length - BLX_MESSAGE_HEADER_BYTES);
    return blx_message_decode(type, bytes + BLX_MESSAGE_HEADER_BYTES, body_bytes, message, err);
}

static void message_of_every_type_has_an_example(void **state)
{
    (void)state;
#define BLX_MESSAGE(NAME, name, number, direction, least, most)                                    \
    if (BLX_MESSAGE_##NAME != BLX_MESSAGE_FRAME)                                                   \
        assert_non_null(example_of(BLX_MESSAGE_##NAME));                                           \
    assert_string_equal(blx_message_name(BLX_MESSAGE_##NAME), #NAME);
#include "proto/messages.def"
#undef BLX_MESSAGE
    assert_string_equal(blx_message_name((enum blx_message_type)77), "unknown");
    assert_string_equal(blx_message_name((enum blx_message_type)0), "unknown");
}

/* Native structs are compared by their encoding, because padding between fields is undefined. */
static void message_of_every_type_round_trips(void **state)
{
    (void)state;
    for (size_t i = 0; i < EXAMPLES; i++) {
        uint8_t first[BLX_MESSAGE_ENCODED_BYTES];
        uint8_t second[BLX_MESSAGE_ENCODED_BYTES];
        size_t length = encode(&examples[i], first);
        struct blx_message back;
        assert_int_equal(decode_all(first, length, &back, NULL), 0);
        assert_int_equal(back.type, examples[i].type);
        assert_int_equal(encode(&back, second), length);
        assert_memory_equal(first, second, length);
    }
}

static void message_decodes_to_the_fields_that_were_encoded(void **state)
{
    (void)state;
    uint8_t buffer[BLX_MESSAGE_ENCODED_BYTES];
    struct blx_message back;
    decode_all(buffer, encode(example_of(BLX_MESSAGE_CHECKPOINT), buffer), &back, NULL);
    assert_int_equal(back.checkpoint.volume_count, 2);
    assert_int_equal(back.checkpoint.last_seq[0], 4713);
    assert_int_equal(back.checkpoint.last_seq[1], 9);
    assert_int_equal(back.checkpoint.last_seq[2], 0);
    assert_int_equal(back.checkpoint.freeze_ns, 43000000);
    assert_int_equal(back.checkpoint.cut_age_ns, 1234567890);
    assert_int_equal(back.checkpoint.consistency, BLX_CONSISTENCY_CRASH);
    assert_string_equal(back.checkpoint.note, example_of(BLX_MESSAGE_CHECKPOINT)->checkpoint.note);
    decode_all(buffer, encode(example_of(BLX_MESSAGE_HELLO), buffer), &back, NULL);
    assert_string_equal(back.hello.agent_id, "web1");
    assert_int_equal(back.hello.version_max, 3);
    decode_all(buffer, encode(example_of(BLX_MESSAGE_CONTROL_AGENT), buffer), &back, NULL);
    assert_string_equal(back.control_agent.peer, "[2001:db8::1]:40012");
    assert_string_equal(back.control_agent.status.reason, "none");
    decode_all(buffer, encode(example_of(BLX_MESSAGE_DIGEST_REQUEST), buffer), &back, NULL);
    assert_true(back.digest_request.fresh);
    assert_int_equal(back.digest_request.extents[1].gap_blocks, 0xfffe);
    assert_int_equal(back.digest_request.extents[2].block_count, 0x102);
    decode_all(buffer, encode(example_of(BLX_MESSAGE_DIGESTS), buffer), &back, NULL);
    assert_memory_equal(back.digests.bytes, "sixteen bytes onsixteen more two", 32);
    decode_all(buffer, encode(example_of(BLX_MESSAGE_CONTROL_AGENT), buffer), &back, NULL);
    assert_int_equal(back.control_agent.received_bytes, 70002);
    assert_int_equal(back.control_agent.last_unreadable_bytes, 80003);
    assert_true(back.control_agent.revoked);
    assert_int_equal(back.control_agent.saved_bytes, 4095999);
    decode_all(buffer, encode(example_of(BLX_MESSAGE_UNREADABLE), buffer), &back, NULL);
    assert_int_equal(back.unreadable.extents[1].start_block, 0x4142434445);
    assert_int_equal(back.unreadable.extents[1].block_count, 0x464748);
}

/* CHECKPOINT without its last field is that of an agent without BLX_FEATURE_CUT_AGE. */
static size_t shorter_bytes(enum blx_message_type type, size_t body_bytes)
{
    return type == BLX_MESSAGE_CHECKPOINT ? body_bytes - 8 : body_bytes;
}

static void message_cut_short_or_too_long_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < EXAMPLES; i++) {
        uint8_t buffer[BLX_MESSAGE_ENCODED_BYTES];
        size_t body_bytes = encode(&examples[i], buffer) - BLX_MESSAGE_HEADER_BYTES;
        for (size_t length = 0; length <= body_bytes + 9; length++) {
            if (length == body_bytes || length == shorter_bytes(examples[i].type, body_bytes))
                continue;
            /* Memory of exactly that length, so that a read past it is found. */
            BLX_CLEANUP_FREE uint8_t *body = calloc(1, length + 1);
            assert_non_null(body);
            memcpy(body, buffer + BLX_MESSAGE_HEADER_BYTES,
                   length < body_bytes ? length : body_bytes);
            struct blx_message back = {.type = BLX_MESSAGE_PING};
            assert_int_equal(blx_message_decode(examples[i].type, body, length, &back, NULL),
                             -EBADMSG);
            assert_int_equal(back.type, BLX_MESSAGE_PING);
        }
    }
}

static void message_header_of_nonsense_is_refused(void **state)
{
    (void)state;
    enum blx_message_type type;
    size_t bytes;
    struct blx_error err = {0};
    const uint8_t unknown[8] = {0, 0, 0, 0, 77, 0, 0, 0};
    assert_int_equal(blx_message_decode_header(unknown, &type, &bytes, &err), -EBADMSG);
    assert_non_null(strstr(err.message, "type 77"));
    const uint8_t flags[8] = {0, 0, 0, 0, BLX_MESSAGE_PING, 0, 1, 0};
    assert_int_equal(blx_message_decode_header(flags, &type, &bytes, NULL), -EBADMSG);
    const uint8_t large[8] = {1, 0, 0, 0, BLX_MESSAGE_PING, 0, 0, 0};
    assert_int_equal(blx_message_decode_header(large, &type, &bytes, NULL), -EBADMSG);
    const uint8_t huge[8] = {0xff, 0xff, 0xff, 0xff, BLX_MESSAGE_FRAME, 0, 0, 0};
    assert_int_equal(blx_message_decode_header(huge, &type, &bytes, NULL), -EBADMSG);
    assert_int_equal(blx_message_decode_header((const uint8_t *)"GET / HT", &type, &bytes, NULL),
                     -EBADMSG);
}

static void message_frame_prefix_names_the_whole_size(void **state)
{
    (void)state;
    uint8_t body[8 + 80] = {0};
    struct blx_message frame = {.type = BLX_MESSAGE_FRAME,
                                .frame = {.volume = 7, .bytes = body + 8, .frame_bytes = 80}};
    uint8_t prefix[BLX_FRAME_MESSAGE_PREFIX_BYTES];
    size_t length = 0;
    assert_int_equal(blx_message_encode(&frame, prefix, sizeof(prefix), &length), 0);
    assert_int_equal(length, BLX_FRAME_MESSAGE_PREFIX_BYTES);
    enum blx_message_type type = 0;
    size_t body_bytes = 0;
    assert_int_equal(blx_message_decode_header(prefix, &type, &body_bytes, NULL), 0);
    assert_int_equal(type, BLX_MESSAGE_FRAME);
    assert_int_equal(body_bytes, 88);
    memcpy(body, prefix + 8, 8);
    struct blx_message back;
    assert_int_equal(blx_message_decode(type, body, body_bytes, &back, NULL), 0);
    assert_int_equal(back.frame.volume, 7);
    assert_ptr_equal(back.frame.bytes, body + 8);
    assert_int_equal(back.frame.frame_bytes, 80);
}

static void message_frame_sizes_have_limits(void **state)
{
    (void)state;
    static const uint8_t bytes[1];
    struct blx_message frame = {.type = BLX_MESSAGE_FRAME,
                                .frame = {.bytes = bytes, .frame_bytes = BLX_FRAME_MAX_BYTES}};
    uint8_t prefix[BLX_FRAME_MESSAGE_PREFIX_BYTES];
    size_t length = 0;
    assert_int_equal(blx_message_encode(&frame, prefix, sizeof(prefix), &length), 0);
    assert_int_equal(blx_message_encode(&frame, prefix, sizeof(prefix) - 1, &length), -EMSGSIZE);
    frame.frame.frame_bytes++;
    assert_int_equal(blx_message_encode(&frame, prefix, sizeof(prefix), &length), -EINVAL);
    frame.frame.frame_bytes = 79;
    assert_int_equal(blx_message_encode(&frame, prefix, sizeof(prefix), &length), -EINVAL);
}

/* Changes one byte of the body of `type`'s example; a byte that the format forbids must be refused
 * with `reason`. */
static void refuse(enum blx_message_type type, size_t offset, uint8_t value, const char *reason)
{
    uint8_t buffer[BLX_MESSAGE_ENCODED_BYTES];
    size_t length = encode(example_of(type), buffer);
    assert_int_not_equal(buffer[BLX_MESSAGE_HEADER_BYTES + offset], value);
    buffer[BLX_MESSAGE_HEADER_BYTES + offset] = value;
    struct blx_message back;
    struct blx_error err = {0};
    int rc = decode_all(buffer, length, &back, &err);
    if (rc != -EBADMSG || strstr(err.message, reason) == NULL)
        fail_msg("%s with byte %zu = %u: %d '%s', not '%s'", blx_message_name(type), offset, value,
                 rc, err.message, reason);
}

static void message_with_a_forbidden_value_is_refused(void **state)
{
    (void)state;
    refuse(BLX_MESSAGE_HELLO, 0, 0, "versions");
    refuse(BLX_MESSAGE_HELLO, 0, 4, "versions");
    refuse(BLX_MESSAGE_HELLO, 16, 0, "number of volumes");
    refuse(BLX_MESSAGE_HELLO, 16, 65, "number of volumes");
    refuse(BLX_MESSAGE_HELLO, 20, 1, "reserved");
    refuse(BLX_MESSAGE_HELLO, 24, '.', "agent ID");
    refuse(BLX_MESSAGE_HELLO, 25, '/', "agent ID");
    refuse(BLX_MESSAGE_HELLO, 24, 0, "agent ID");
    refuse(BLX_MESSAGE_HELLO, 95, 'x', "agent ID");
    refuse(BLX_MESSAGE_HELLO, 97, '\n', "software");
    refuse(BLX_MESSAGE_HELLO, 351, 'x', "software");
    refuse(BLX_MESSAGE_WELCOME, 0, 0, "version");
    refuse(BLX_MESSAGE_WELCOME, 4, 1, "reserved");
    refuse(BLX_MESSAGE_WELCOME, 26, 0x10, "heartbeat");
    refuse(BLX_MESSAGE_WELCOME, 31, 0x80, "heartbeat");
    refuse(BLX_MESSAGE_WELCOME, 40, 99, "timestamp");
    refuse(BLX_MESSAGE_WELCOME, 47, 99, "timestamp");
    refuse(BLX_MESSAGE_CONTROL_RESTORE, 408, 3, "out of range");
    refuse(BLX_MESSAGE_CONTROL_RESTORE, 412, 65, "out of range");
    refuse(BLX_MESSAGE_CONTROL_RESTORE, 431, 0x7f, "out of range");
    refuse(BLX_MESSAGE_CONTROL_RESTORE, 460, 2, "flags");
    refuse(BLX_MESSAGE_CONTROL_HANDOVER, 72, 0, "state");
    refuse(BLX_MESSAGE_CONTROL_HANDOVER, 72, 4, "state");
    refuse(BLX_MESSAGE_CONTROL_HANDOVER, 76, 1, "reserved");
    refuse(BLX_MESSAGE_CONTROL_HANDOVER, 96, 1, "address");
    refuse(BLX_MESSAGE_CONTROL_HOST, 0, '/', "name of a host");
    refuse(BLX_MESSAGE_CONTROL_HOST, 72, 0, "role");
    refuse(BLX_MESSAGE_CONTROL_HOST, 72, 4, "role");
    refuse(BLX_MESSAGE_CONTROL_HOST, 76, 1, "reserved");
    refuse(BLX_MESSAGE_CONTROL_HOST, 96, 1, "address");
    refuse(BLX_MESSAGE_CONTROL_HOST, 352, 1, "program");
    refuse(BLX_MESSAGE_CONTROL_PLACE, 0, '/', "agent ID");
    refuse(BLX_MESSAGE_CONTROL_PLACE, 72, '/', "name of a host");
    refuse(BLX_MESSAGE_CONTROL_COPY, 72, 21, "flags");
    refuse(BLX_MESSAGE_CONTROL_COPY, 76, 1, "reserved");
    refuse(BLX_MESSAGE_CONTROL_COPY, 128, 1, "the place");
    refuse(BLX_MESSAGE_VOLUME, 0, 64, "index");
    refuse(BLX_MESSAGE_VOLUME, 4, 11, "block size");
    refuse(BLX_MESSAGE_VOLUME, 4, 19, "block size");
    refuse(BLX_MESSAGE_VOLUME, 8, 1, "size");
    refuse(BLX_MESSAGE_VOLUME, 15, 0x80, "size");
    refuse(BLX_MESSAGE_VOLUME, 32, '-', "volume name");
    refuse(BLX_MESSAGE_VOLUME, 104, 0x1b, "device");
    refuse(BLX_MESSAGE_VOLUME, 361, 0xff, "identity");
    refuse(BLX_MESSAGE_VOLUME_STATE, 3, 1, "index");
    refuse(BLX_MESSAGE_VOLUME_STATE, 4, 1, "reserved");
    refuse(BLX_MESSAGE_BEGIN, 0, 200, "index");
    refuse(BLX_MESSAGE_BEGIN, 4, 0, "pass");
    refuse(BLX_MESSAGE_VOLUME_STATE, 32, 1, "size of a disk");
    refuse(BLX_MESSAGE_VOLUME_STATE, 39, 0x80, "size of a disk");
    refuse(BLX_MESSAGE_VOLUME_STATE, 40, 7, "reason");
    refuse(BLX_MESSAGE_BEGIN, 4, 5, "pass");
    refuse(BLX_MESSAGE_BEGIN, 4, 4, "continuation");
    refuse(BLX_MESSAGE_BEGIN, 4, 3, "rescan");
    refuse(BLX_MESSAGE_BEGIN, 4, 1, "resume");
    refuse(BLX_MESSAGE_ACK, 0, 64, "index");
    refuse(BLX_MESSAGE_ACK, 7, 1, "reserved");
    refuse(BLX_MESSAGE_DIGEST_REQUEST, 0, 64, "index");
    refuse(BLX_MESSAGE_DIGEST_REQUEST, 4, 2, "flags");
    refuse(BLX_MESSAGE_DIGEST_REQUEST, 22, 0xff, "first block");
    refuse(BLX_MESSAGE_DIGEST_REQUEST, 24, 0, "blocks in a digest");
    refuse(BLX_MESSAGE_DIGEST_REQUEST, 25, 5, "blocks in a digest");
    refuse(BLX_MESSAGE_DIGEST_REQUEST, 24, 1, "too many digests");
    refuse(BLX_MESSAGE_DIGEST_REQUEST, 28, 2, "does not fit");
    refuse(BLX_MESSAGE_DIGEST_REQUEST, 29, 3, "number of extents");
    refuse(BLX_MESSAGE_DIGEST_REQUEST, 32, 1, "first extent");
    refuse(BLX_MESSAGE_DIGEST_REQUEST, 38, 0, "empty");
    refuse(BLX_MESSAGE_DIGEST_REQUEST, 43, 0x40, "too many blocks");
    refuse(BLX_MESSAGE_DIGESTS, 0, 64, "index");
    refuse(BLX_MESSAGE_DIGESTS, 4, 17, "size of its digests");
    refuse(BLX_MESSAGE_DIGESTS, 4, 32, "does not fit");
    refuse(BLX_MESSAGE_DIGESTS, 16, 129, "number of digests");
    refuse(BLX_MESSAGE_DIGESTS, 16, 0, "number of digests");
    refuse(BLX_MESSAGE_DIGESTS, 20, 1, "reserved");
    refuse(BLX_MESSAGE_RESCAN_REQUEST, 3, 7, "reason");
    refuse(BLX_MESSAGE_POLICY, 8, 2, "flags");
    refuse(BLX_MESSAGE_POLICY, 12, 26, "another size");
    refuse(BLX_MESSAGE_POLICY, 17, 4, "another size");
    refuse(BLX_MESSAGE_POLICY, 20, 1, "reserved");
    refuse(BLX_MESSAGE_POLICY, 25, 7, "not printable text");
    refuse(BLX_MESSAGE_POLICY, 51, 0, "not printable text");   /* a pattern is empty */
    refuse(BLX_MESSAGE_POLICY, 70, 'x', "not printable text"); /* the last one does not end */
    refuse(BLX_MESSAGE_CONTROL_PAUSE, 0, '.', "agent ID");
    refuse(BLX_MESSAGE_CONTROL_RENAME, 0, '.', "agent ID");
    refuse(BLX_MESSAGE_CONTROL_RENAME, 72, '/', "new name");
    refuse(BLX_MESSAGE_CONTROL_PIN, 0, '.', "agent ID");
    refuse(BLX_MESSAGE_CONTROL_PIN, 72, 99, "not a real date and time");
    refuse(BLX_MESSAGE_CONTROL_RESCAN, 0, '.', "agent ID");
    refuse(BLX_MESSAGE_CONTROL_REVOKE, 0, '.', "agent ID");
    refuse(BLX_MESSAGE_JOIN, 20, 0, "out of range");
    refuse(BLX_MESSAGE_JOIN, 20, 8, "does not fit");
    refuse(BLX_MESSAGE_JOIN, 20, 10, "does not fit");
    refuse(BLX_MESSAGE_JOIN, 21, 4, "out of range");
    refuse(BLX_MESSAGE_CERTIFICATE, 0, 0, "out of range");
    refuse(BLX_MESSAGE_CERTIFICATE, 0, 14, "does not fit");
    refuse(BLX_MESSAGE_CERTIFICATE, 4, 0, "out of range");
    refuse(BLX_MESSAGE_CERTIFICATE, 5, 4, "out of range");
    refuse(BLX_MESSAGE_AUTHORITY, 0, 0, "out of range");
    refuse(BLX_MESSAGE_AUTHORITY, 0, 10, "does not fit");
    refuse(BLX_MESSAGE_AUTHORITY, 5, 5, "out of range");
    refuse(BLX_MESSAGE_AUTHORITY, 4, 0, "does not fit");
    refuse(BLX_MESSAGE_RENEW, 0, 0, "out of range");
    refuse(BLX_MESSAGE_RENEW, 0, 11, "does not fit");
    refuse(BLX_MESSAGE_RENEW, 4, 1, "reserved");
    refuse(BLX_MESSAGE_RENEW_FAILED, 0, '\n', "reason");
    refuse(BLX_MESSAGE_RESTORE, 20, 1, "reserved");
    refuse(BLX_MESSAGE_RESTORE, 57, 7, "software");
    refuse(BLX_MESSAGE_RESTORE_OFFER, 0, '.', "agent ID");
    refuse(BLX_MESSAGE_RESTORE_OFFER, 79, 1, "timestamp");
    refuse(BLX_MESSAGE_RESTORE_OFFER, 80, 3, "consistency");
    refuse(BLX_MESSAGE_RESTORE_OFFER, 84, 65, "number of volumes");
    refuse(BLX_MESSAGE_RESTORE_OFFER, 84, 0, "number of volumes");
    refuse(BLX_MESSAGE_RESTORE_OFFER, 90, 0x10, "heartbeat");
    refuse(BLX_MESSAGE_RESTORE_OFFER, 99, 0, "smaller than a frame");
    refuse(BLX_MESSAGE_RESTORE_VOLUME, 0, 64, "index");
    refuse(BLX_MESSAGE_RESTORE_VOLUME, 4, 11, "block size");
    refuse(BLX_MESSAGE_RESTORE_VOLUME, 8, 1, "size of a disk");
    refuse(BLX_MESSAGE_RESTORE_VOLUME, 15, 0x80, "size of a disk");
    refuse(BLX_MESSAGE_RESTORE_VOLUME, 24, '-', "volume name");
    refuse(BLX_MESSAGE_RESTORE_VOLUME, 97, 0x1b, "device");
    refuse(BLX_MESSAGE_PLAN_REQUEST, 0, 64, "index");
    refuse(BLX_MESSAGE_PLAN_REQUEST, 4, 1, "reserved");
    refuse(BLX_MESSAGE_PLAN, 0, 64, "index");
    refuse(BLX_MESSAGE_PLAN, 4, 4, "pieces or frames");
    refuse(BLX_MESSAGE_PLAN, 4, 0, "pieces or frames");
    refuse(BLX_MESSAGE_PLAN, 18, 0x42, "window is empty");
    refuse(BLX_MESSAGE_PLAN, 27, 1, "pieces or frames");
    refuse(BLX_MESSAGE_PLAN, 28, 1, "reserved");
    refuse(BLX_MESSAGE_PLAN_PIECES, 0, 64, "index");
    refuse(BLX_MESSAGE_PLAN_PIECES, 4, 0, "number of its pieces");
    refuse(BLX_MESSAGE_PLAN_PIECES, 4, 109, "number of its pieces");
    refuse(BLX_MESSAGE_PLAN_PIECES, 4, 2, "does not fit");
    refuse(BLX_MESSAGE_PLAN_PIECES, 26, 0x20, "frame's size");
    refuse(BLX_MESSAGE_PLAN_PIECES, 36, 0, "empty");
    refuse(BLX_MESSAGE_FRAMES_REQUEST, 0, 64, "index");
    refuse(BLX_MESSAGE_FRAMES_REQUEST, 12, 1, "reserved");
    refuse(BLX_MESSAGE_DELTA_REQUEST, 0, 64, "index");
    refuse(BLX_MESSAGE_DELTA_REQUEST, 4, 1, "reserved");
    refuse(BLX_MESSAGE_DELTA_KEY, 0, 64, "index");
    refuse(BLX_MESSAGE_DELTA_KEY, 4, 1, "reserved");
    refuse(BLX_MESSAGE_DELTA_KEY, 8, 1, "either a key");
    refuse(BLX_MESSAGE_DELTA_WANTED, 0, 64, "index");
    refuse(BLX_MESSAGE_DELTA_WANTED, 4, 0, "number of extents");
    refuse(BLX_MESSAGE_DELTA_WANTED, 4, 129, "number of extents");
    refuse(BLX_MESSAGE_DELTA_WANTED, 4, 1, "does not fit");
    refuse(BLX_MESSAGE_DELTA_WANTED, 32, 0, "in order");
    refuse(BLX_MESSAGE_DELTA_WANTED, 28, 0x40, "in order");
    refuse(BLX_MESSAGE_CHECKPOINT, 24, 3, "consistency");
    refuse(BLX_MESSAGE_CHECKPOINT, 28, 0, "number of volumes");
    refuse(BLX_MESSAGE_CHECKPOINT, 28, 1, "out of range");
    refuse(BLX_MESSAGE_CHECKPOINT, 28, 65, "number of volumes");
    refuse(BLX_MESSAGE_CHECKPOINT, 287, 'x', "note");
    refuse(BLX_MESSAGE_CHECKPOINT_DONE, 15, 1, "timestamp");
    refuse(BLX_MESSAGE_CHECKPOINT_FAILED, 8, 0x7f, "reason");
    refuse(BLX_MESSAGE_STATUS, 0, 0, "state");
    refuse(BLX_MESSAGE_STATUS, 0, 5, "state");
    refuse(BLX_MESSAGE_STATUS, 73, 0xc2, "reason");
    refuse(BLX_MESSAGE_ERROR, 255, 'x', "text");
    refuse(BLX_MESSAGE_CONTROL_CHECKPOINT, 0, '.', "agent ID");
    refuse(BLX_MESSAGE_CONTROL_DONE, 0, 2, "outcome");
    refuse(BLX_MESSAGE_CONTROL_DONE, 4, 2, "reserved");
    refuse(BLX_MESSAGE_CONTROL_DONE, 12, 0xff, "timestamp");
    refuse(BLX_MESSAGE_CONTROL_DONE, 16, 7, "text");
    refuse(BLX_MESSAGE_CONTROL_AGENT, 0, 0, "agent ID");
    refuse(BLX_MESSAGE_CONTROL_AGENT, 72, 7, "peer");
    refuse(BLX_MESSAGE_CONTROL_AGENT, 328, 5, "state");
    refuse(BLX_MESSAGE_CONTROL_AGENT, 664, 3, "consistency");
    refuse(BLX_MESSAGE_CONTROL_AGENT, 668, 65, "number of volumes");
    refuse(BLX_MESSAGE_CONTROL_AGENT, 801, 7, "note");
    refuse(BLX_MESSAGE_CONTROL_AGENT, 1057, 7, "failure");
    refuse(BLX_MESSAGE_CONTROL_AGENT, 1317, 1, "timestamp");
    refuse(BLX_MESSAGE_CONTROL_AGENT, 1320, 2, "revocation");
    refuse(BLX_MESSAGE_CONTROL_AGENT, 1324, 2, "flags of the last cut");
    refuse(BLX_MESSAGE_CONTROL_AGENT, 1327, 1, "flags of the last cut");
    refuse(BLX_MESSAGE_CONTROL_AGENT, 2197, 1, "reserved");
    refuse(BLX_MESSAGE_CONTROL_DISPATCHER, 23, 1, "more bytes are free");
    refuse(BLX_MESSAGE_CONTROL_DISPATCHER, 39, 1, "more inodes are free");
    refuse(BLX_MESSAGE_CONTROL_DISPATCHER, 41, 7, "software");
    refuse(BLX_MESSAGE_CONTROL_DISPATCHER, 584, 2, "successor");
    refuse(BLX_MESSAGE_CONTROL_DAMAGE, 0, 0, "agent ID");
    refuse(BLX_MESSAGE_CONTROL_DAMAGE, 73, 7, "damage");
}

static void message_without_what_it_is_about_is_refused(void **state)
{
    (void)state;
    uint8_t body[1024] = {0};
    struct blx_message back;
    struct blx_error err = {0};
    assert_int_equal(blx_message_decode(BLX_MESSAGE_CHECKPOINT_DONE, body, 16, &back, &err),
                     -EBADMSG);
    assert_non_null(strstr(err.message, "no checkpoint"));
    blx_error_clear(&err);
    assert_int_equal(blx_message_decode(BLX_MESSAGE_KEY, body, 8, &back, &err), -EBADMSG);
    assert_non_null(strstr(err.message, "names no key"));
    struct blx_message volume = *example_of(BLX_MESSAGE_VOLUME);
    memset(&volume.volume.generation, 0, sizeof(volume.volume.generation));
    size_t length = 0;
    assert_int_equal(blx_message_encode(&volume, body, sizeof(body), &length), -EINVAL);
    struct blx_message nothing = {.type = BLX_MESSAGE_VOLUME_STATE, .volume_state = {.volume = 3}};
    assert_int_equal(blx_message_encode(&nothing, body, sizeof(body), &length), 0);
    nothing.volume_state.durable_seq = 1;
    assert_int_equal(blx_message_encode(&nothing, body, sizeof(body), &length), -EINVAL);
    struct blx_message last = *example_of(BLX_MESSAGE_VOLUME_STATE);
    last.volume_state.durable_seq = INT64_MAX;
    assert_int_equal(blx_message_encode(&last, body, sizeof(body), &length), 0);
    last.volume_state.durable_seq = (uint64_t)INT64_MAX + 1;
    assert_int_equal(blx_message_encode(&last, body, sizeof(body), &length), -EINVAL);
}

static void message_of_unreadable_extents_in_disorder_is_refused(void **state)
{
    (void)state;
    refuse(BLX_MESSAGE_UNREADABLE, 0, 64, "volume");
    refuse(BLX_MESSAGE_UNREADABLE, 4, 1, "does not fit");
    refuse(BLX_MESSAGE_UNREADABLE, 4, 0, "number of extents");
    refuse(BLX_MESSAGE_UNREADABLE, 4, 129, "number of extents");
    refuse(BLX_MESSAGE_UNREADABLE, 12, 0x42, "in order"); /* it begins after the next one */
    refuse(BLX_MESSAGE_UNREADABLE, 16, 0, "in order");    /* it is empty */
    refuse(BLX_MESSAGE_UNREADABLE, 23, 0xff, "in order"); /* it reaches into the next one */
}

static void message_encode_refuses_what_does_not_fit(void **state)
{
    (void)state;
    uint8_t buffer[BLX_MESSAGE_ENCODED_BYTES];
    for (size_t i = 0; i < EXAMPLES; i++) {
        size_t length = encode(&examples[i], buffer);
        size_t untouched = 4711;
        assert_int_equal(blx_message_encode(&examples[i], buffer, length - 1, &untouched),
                         -EMSGSIZE);
        assert_int_equal(untouched, 4711);
    }
    struct blx_message unknown = {.type = (enum blx_message_type)77};
    size_t length = 0;
    assert_int_equal(blx_message_encode(&unknown, buffer, sizeof(buffer), &length), -EINVAL);
}

static void text_put_reads_back_as(const char *text, const char *expected)
{
    struct blx_message message = {.type = BLX_MESSAGE_ERROR};
    snprintf(message.error.text, sizeof(message.error.text), "%s", text);
    uint8_t buffer[BLX_MESSAGE_ENCODED_BYTES];
    struct blx_message back;
    assert_int_equal(decode_all(buffer, encode(&message, buffer), &back, NULL), 0);
    assert_string_equal(back.error.text, expected);
}

static void message_texts_are_cleaned_by_the_sender(void **state)
{
    (void)state;
    text_put_reads_back_as("plain", "plain");
    text_put_reads_back_as("two\nlines\x1b[31m\x7f", "two?lines?[31m?");
    text_put_reads_back_as("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x92\xbe", "gr\xc3\xbc\xc3\x9f "
                                                                               "\xe2\x82\xac "
                                                                               "\xf0\x9f\x92\xbe");
    text_put_reads_back_as("cut \xe2\x82", "cut ??");
    text_put_reads_back_as("overlong \xc0\xaf \xe0\x80\xaf", "overlong ?? ???");
    text_put_reads_back_as("surrogate \xed\xa0\x80", "surrogate ???");
    text_put_reads_back_as("beyond \xf4\x90\x80\x80", "beyond ????");
    text_put_reads_back_as("c1 \xc2\x85", "c1 ??");
    char longest[BLX_TEXT_BYTES + 10];
    memset(longest, 'x', sizeof(longest) - 1);
    longest[sizeof(longest) - 1] = '\0';
    char cut[BLX_TEXT_BYTES];
    memset(cut, 'x', sizeof(cut) - 1);
    cut[sizeof(cut) - 1] = '\0';
    text_put_reads_back_as(longest, cut);
}

static void names_of_states_are_those_of_the_design(void **state)
{
    (void)state;
    assert_string_equal(blx_consistency_name(BLX_CONSISTENCY_NONE), "none");
    assert_string_equal(blx_consistency_name(BLX_CONSISTENCY_CRASH), "crash");
    assert_string_equal(blx_consistency_name(BLX_CONSISTENCY_FILESYSTEM), "filesystem");
    assert_string_equal(blx_agent_state_name(BLX_AGENT_OFFLINE), "OFFLINE");
    assert_string_equal(blx_agent_state_name(BLX_AGENT_FULL_SYNC), "FULL SYNC");
    assert_string_equal(blx_agent_state_name(BLX_AGENT_LIVE), "LIVE");
    assert_string_equal(blx_agent_state_name(BLX_AGENT_CHECKPOINT), "CHECKPOINT");
    assert_string_equal(blx_agent_state_name(BLX_AGENT_RESCAN), "RESCAN");
}

/* Vectors: hex digits with white space, and comments from '#' to the line's end. */
static void vector_path(char path[512], const char *name)
{
    assert_true(snprintf(path, 512, "%s/vectors/%s.hex", BLX_PROTO_DIR, name) < 512);
    for (char *at = strrchr(path, '/'); *at != '\0'; at++)
        *at = (char)tolower((unsigned char)*at);
}

static size_t vector_read(const char *name, uint8_t *bytes, size_t capacity)
{
    char path[512];
    vector_path(path, name);
    BLX_CLEANUP_FREE void *content = NULL;
    size_t length = 0;
    struct blx_error err = {0};
    if (blx_file_read(path, 1 << 20, &content, &length, &err) < 0)
        fail_msg("%s", err.message);
    size_t digits = 0;
    bool comment = false;
    for (const char *at = content; *at != '\0'; at++) {
        comment = *at == '#' || (comment && *at != '\n');
        if (comment || isspace((unsigned char)*at))
            continue;
        const char hex[2] = {*at, '\0'};
        char *end = NULL;
        uint8_t value = (uint8_t)strtoul(hex, &end, 16);
        assert_true(*end == '\0' && digits / 2 < capacity);
        bytes[digits / 2] = (uint8_t)(digits % 2 == 0 ? value << 4 : (bytes[digits / 2] | value));
        digits++;
    }
    assert_int_equal(digits % 2, 0);
    return digits / 2;
}

static void vector_write(const char *name, const char *comment, const uint8_t *bytes, size_t length)
{
    char path[512];
    vector_path(path, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fprintf(file, "# %s\n", comment);
    for (size_t i = 0; i < length; i++)
        fprintf(file, "%02x%s", bytes[i], i % 16 == 15 || i + 1 == length ? "\n" : " ");
    assert_int_equal(fclose(file), 0);
}

static void check_vector(const char *name, const char *comment, const struct blx_message *message)
{
    uint8_t encoded[BLX_MESSAGE_ENCODED_BYTES], golden[BLX_MESSAGE_ENCODED_BYTES];
    struct blx_message back;
    size_t length = encode(message, encoded);
    if (write_vectors)
        vector_write(name, comment, encoded, length);
    assert_int_equal(vector_read(name, golden, sizeof(golden)), length);
    assert_memory_equal(golden, encoded, length);
    assert_int_equal(decode_all(golden, length, &back, NULL), 0);
}

/* What a type can also be, beside the example of its kind. */
static void further_vectors_are_what_is_encoded(void **state)
{
    (void)state;
    const struct blx_message goes_on = {.type = BLX_MESSAGE_BEGIN,
                                        .begin = {.volume = 1, .pass = BLX_PASS_CONTINUE}};
    check_vector("begin-continue", "BEGIN with CONTINUE", &goes_on);
    const struct blx_message without = {.type = BLX_MESSAGE_CHECKPOINT,
                                        .checkpoint = {.request = 0x1122334455667788,
                                                       .cut_realtime_ns = 1795380960123456789,
                                                       .cut_age_ns = 1234567890,
                                                       .consistency = BLX_CONSISTENCY_FILESYSTEM,
                                                       .volume_count = 3,
                                                       .note = "without '/dev/sdb', whose first "
                                                               "pass is at 51 %",
                                                       .last_seq = {4713, 0, 9},
                                                       .left_out = 2}};
    check_vector("checkpoint-left-out", "CHECKPOINT that leaves a volume out", &without);
    struct blx_message flags = without;
    flags.checkpoint.cut_flags = BLX_CUT_FLAGS_TOLD | BLX_CUT_LACKS_FIRST_PASS;
    check_vector("checkpoint-flags", "CHECKPOINT with flags of its cut", &flags);
    flags.checkpoint.left_out = 0;
    flags.checkpoint.cut_flags = BLX_CUT_FLAGS_TOLD | BLX_CUT_POST_THAW_FAILED;
    check_vector("checkpoint-flags-alone", "CHECKPOINT with flags, of all volumes", &flags);
}

static void a_checkpoint_of_as_many_volumes_as_there_can_be_has_flags(void **state)
{
    (void)state;
    uint8_t bytes[BLX_MESSAGE_ENCODED_BYTES];
    struct blx_message back;
    const struct blx_message all = {.type = BLX_MESSAGE_CHECKPOINT,
                                    .checkpoint = {.volume_count = BLX_MAX_VOLUMES,
                                                   .left_out = 1,
                                                   .cut_flags = BLX_CUT_FLAGS_TOLD}};
    assert_int_equal(decode_all(bytes, encode(&all, bytes), &back, NULL), 0);
    assert_int_equal(back.checkpoint.cut_flags, BLX_CUT_FLAGS_TOLD);
}

static void a_checkpoint_with_flags_of_nonsense_is_refused(void **state)
{
    (void)state;
    uint8_t bytes[BLX_MESSAGE_ENCODED_BYTES];
    struct blx_message back;
    size_t length = vector_read("checkpoint-flags-alone", bytes, sizeof(bytes));
    assert_int_equal(decode_all(bytes, length, &back, NULL), 0);
    assert_int_equal(back.checkpoint.left_out, 0);
    assert_int_equal(back.checkpoint.cut_flags, BLX_CUT_FLAGS_TOLD | BLX_CUT_POST_THAW_FAILED);
    static const uint8_t refused[] = {0, 2, 16, 17, 255};
    for (size_t i = 0; i < sizeof(refused); i++) {
        bytes[length - 8] = refused[i];
        assert_int_equal(decode_all(bytes, length, &back, NULL), -EBADMSG);
    }
    bytes[length - 8] = 1;
    bytes[length - 1] = 1; /* beyond 32 bits */
    assert_int_equal(decode_all(bytes, length, &back, NULL), -EBADMSG);
}

static void a_checkpoint_that_leaves_nothing_or_everything_out_is_refused(void **state)
{
    (void)state;
    uint8_t bytes[BLX_MESSAGE_ENCODED_BYTES];
    struct blx_message back;
    size_t length = vector_read("checkpoint-left-out", bytes, sizeof(bytes));
    static const uint8_t refused[] = {0, 7, 8, 255};
    for (size_t i = 0; i < sizeof(refused); i++) {
        bytes[length - 8] = refused[i];
        assert_int_equal(decode_all(bytes, length, &back, NULL), -EBADMSG);
    }
    bytes[length - 8] = 5;
    assert_int_equal(decode_all(bytes, length, &back, NULL), 0);
    assert_int_equal(back.checkpoint.left_out, 5);
}

static void message_vectors_are_what_is_encoded(void **state)
{
    (void)state;
    for (size_t i = 0; i < EXAMPLES; i++) {
        const char *name = blx_message_name(examples[i].type);
        check_vector(name, name, &examples[i]);
    }
}

static void an_older_checkpoint_has_no_age(void **state)
{
    (void)state;
    uint8_t golden[BLX_MESSAGE_ENCODED_BYTES], again[BLX_MESSAGE_ENCODED_BYTES];
    size_t length = vector_read("checkpoint-without-age", golden, sizeof(golden));
    struct blx_message back;
    assert_int_equal(decode_all(golden, length, &back, NULL), 0);
    assert_true(back.checkpoint.cut_age_ns == BLX_CUT_AGE_UNKNOWN);
    assert_int_equal(back.checkpoint.last_seq[1], 9);
    assert_int_equal(encode(&back, again), length);
    assert_memory_equal(golden, again, length);
}

static void fill_blocks(uint8_t data[2 * 4096])
{
    for (size_t i = 0; i < 2 * 4096; i++)
        data[i] = (uint8_t)(i / 64);
}

/* From the key whose bytes are 0 to 31, for the volume vda of web1, as PROTOCOL.md says. */
static struct blx_volume_key example_key(void)
{
    struct blx_key key = {.id = {{0x11, 0x9b, 0x56, 0x7c, 0xd2, 0x19, 0x20, 0x0f}}};
    struct blx_volume_key derived;
    for (uint8_t i = 0; i < BLX_KEY_BYTES; i++)
        key.secret[i] = i;
    assert_int_equal(blx_volume_key_derive(&key, "web1", "vda", &derived, NULL), 0);
    return derived;
}

static size_t pack_example(enum blx_codec codec, const struct blx_volume_key *key,
                           const uint8_t *data, uint8_t *buffer)
{
    static const struct blx_frame_extent extents[] = {{.extent = {7, 2}},
                                                      {.extent = {9, 16}, .zero = true}};
    struct blx_frame_content content = {
        .codec = codec,
        .block_shift = 12,
        .generation = SEQ16,
        .extents = extents,
        .extent_count = 2,
        .data = data,
        .data_bytes = 2 * 4096,
        .key = key,
    };
    size_t bytes = 0;
    assert_int_equal(blx_frame_pack(&content, buffer, &bytes, NULL), 0);
    blx_frame_seal(buffer, 0x0102030405060708);
    return bytes;
}

/* Another version of a codec may pack the same data differently. So packed frames are only read;
 * the one without a codec is also compared. */
static void frame_vectors_are_read_and_the_plain_one_is_what_is_packed(void **state)
{
    (void)state;
    uint8_t data[2 * 4096];
    fill_blocks(data);
    for (int i = BLX_CODEC_NONE; i <= BLX_CODEC_ZSTD; i++) {
        enum blx_codec codec = (enum blx_codec)i;
        char name[32];
        snprintf(name, sizeof(name), "frame-%s", blx_codec_name(codec));
        uint8_t packed[64 + 32 + sizeof(data)];
        size_t length = pack_example(codec, NULL, data, packed);
        if (write_vectors)
            vector_write(name, "a frame: blocks 7 and 8 with data, 9 to 24 zero", packed, length);
        uint8_t golden[64 + 32 + sizeof(data)];
        size_t golden_length = vector_read(name, golden, sizeof(golden));
        if (codec == BLX_CODEC_NONE) {
            assert_int_equal(golden_length, length);
            assert_memory_equal(golden, packed, length);
        }
        struct blx_frame frame;
        assert_int_equal(blx_frame_parse(golden, golden_length, &frame, NULL), 0);
        assert_int_equal(frame.codec, codec);
        assert_int_equal(frame.seq, 0x0102030405060708);
        assert_int_equal(blx_frame_extent_at(&frame, 1).extent.block_count, 16);
        uint8_t back[sizeof(data)];
        assert_int_equal(blx_frame_unpack(&frame, back, NULL), 0);
        assert_memory_equal(back, data, sizeof(data));
    }
}

/* The nonce is random, so the frame is only read. */
static void encrypted_frame_vector_is_read(void **state)
{
    (void)state;
    static const uint8_t digest[] = {0x40, 0x28, 0x3d, 0x12, 0x8f, 0x75, 0xc8, 0x0d,
                                     0xe1, 0x05, 0x8b, 0x57, 0xc0, 0x12, 0xc4, 0xb3};
    uint8_t data[2 * 4096], golden[64 + 32 + 48 + 32 + sizeof(data)], back[sizeof(data)];
    const struct blx_volume_key key = example_key();
    fill_blocks(data);
    if (write_vectors)
        vector_write("frame-encrypted",
                     "a frame: blocks 7 and 8 with data, 9 to 24 zero; zstd, encrypted", golden,
                     pack_example(BLX_CODEC_ZSTD, &key, data, golden));
    size_t length = vector_read("frame-encrypted", golden, sizeof(golden));
    struct blx_frame frame;
    assert_int_equal(blx_frame_parse(golden, length, &frame, NULL), 0);
    assert_true(blx_key_id_equal(&frame.key_id, &key.id));
    assert_memory_equal(frame.digests, digest,
                        sizeof(digest)); /* that of unit/crypt/block_digest */
    assert_int_equal(blx_frame_unpack(&frame, back, NULL), -EBADMSG);
    assert_int_equal(blx_frame_decrypt(&frame, golden, &key, NULL), 0);
    assert_int_equal(blx_frame_unpack(&frame, back, NULL), 0);
    assert_memory_equal(back, data, sizeof(data));
}

static void fill_digests(const uint8_t *frame, const uint8_t *data, uint8_t digests[32])
{
    const struct blx_volume_key key = example_key();
    const struct blx_frame view = {.bytes = frame, .block_shift = 12, .extent_count = 2};
    assert_int_equal(blx_frame_digest(&view, data, &key, digests, NULL), 0);
}

/* A frame as it comes in a session with digests: these follow it. */
static void frame_with_digests_vector_is_what_is_sent(void **state)
{
    (void)state;
    uint8_t data[2 * 4096], golden[64 + 32 + 32 + sizeof(data)], sent[sizeof(golden)];
    fill_blocks(data);
    size_t bytes = pack_example(BLX_CODEC_NONE, NULL, data, sent);
    fill_digests(sent, data, sent + bytes);
    if (write_vectors)
        vector_write("frame-digests",
                     "what FRAME carries in a session with digests: the frame of frame-none.hex, "
                     "and the digests of its blocks 7 and 8",
                     sent, sizeof(sent));
    assert_int_equal(vector_read("frame-digests", golden, sizeof(golden)), sizeof(sent));
    assert_memory_equal(golden, sent, sizeof(sent));
    struct blx_frame frame, encrypted;
    assert_int_equal(blx_frame_parse_with_digests(golden, sizeof(golden), &frame, NULL), 0);
    assert_int_equal(frame.frame_bytes, bytes);
    assert_ptr_equal(frame.digests, golden + bytes);
    /* They are those that an encrypted frame with this key has inside. */
    uint8_t other[64 + 32 + 48 + 32 + sizeof(data)];
    size_t other_bytes = vector_read("frame-encrypted", other, sizeof(other));
    assert_int_equal(blx_frame_parse(other, other_bytes, &encrypted, NULL), 0);
    assert_memory_equal(frame.digests, encrypted.digests, 32);
}

static void frame_with_too_few_or_too_many_digests_is_refused(void **state)
{
    (void)state;
    uint8_t data[2 * 4096], sent[64 + 32 + 32 + sizeof(data)];
    fill_blocks(data);
    size_t bytes = pack_example(BLX_CODEC_NONE, NULL, data, sent);
    fill_digests(sent, data, sent + bytes);
    for (size_t length = 0; length <= sizeof(sent) + 16; length++) {
        BLX_CLEANUP_FREE uint8_t *copy = calloc(1, length + 1);
        assert_non_null(copy);
        memcpy(copy, sent, length < sizeof(sent) ? length : sizeof(sent));
        struct blx_frame frame = {.seq = 99};
        int rc = blx_frame_parse_with_digests(copy, length, &frame, NULL);
        assert_int_equal(rc, length == sizeof(sent) ? 0 : -EBADMSG);
        assert_int_equal(frame.seq == 99, rc != 0);
    }
    struct blx_error err = {0};
    assert_int_equal(blx_frame_parse_with_digests(sent, bytes, &(struct blx_frame){0}, &err),
                     -EBADMSG);
    assert_non_null(strstr(err.message, "does not come with a digest"));
}

static void digest_key_of_zeros_is_refused(void **state)
{
    (void)state;
    static const uint8_t none[BLX_KEY_BYTES];
    struct blx_message back;
    assert_int_equal(blx_message_decode(BLX_MESSAGE_DIGEST_KEY, none, sizeof(none), &back, NULL),
                     -EBADMSG);
}

static void frame_message_vector_is_what_is_encoded(void **state)
{
    (void)state;
    uint8_t data[2 * 4096];
    fill_blocks(data);
    uint8_t bytes[16 + 64 + 32 + sizeof(data)];
    size_t frame_bytes = pack_example(BLX_CODEC_NONE, NULL, data, bytes + 16);
    struct blx_message message = {
        .type = BLX_MESSAGE_FRAME,
        .frame = {.volume = 1, .bytes = bytes + 16, .frame_bytes = frame_bytes}};
    size_t length = 0;
    assert_int_equal(blx_message_encode(&message, bytes, 16, &length), 0);
    if (write_vectors)
        vector_write("FRAME",
                     "FRAME: the header and the volume; the frame follows, as in frame-none.hex",
                     bytes, length);
    uint8_t golden[16];
    assert_int_equal(vector_read("FRAME", golden, sizeof(golden)), 16);
    assert_memory_equal(golden, bytes, 16);
}

/* The specification's table of types says the same as messages.def. */
static void specification_names_every_message(void **state)
{
    (void)state;
    BLX_CLEANUP_FREE void *text = NULL;
    size_t bytes = 0;
    struct blx_error err = {0};
    if (blx_file_read(BLX_PROTO_DIR "/PROTOCOL.md", 1 << 20, &text, &bytes, &err) < 0)
        fail_msg("%s", err.message);
    char row[128];
#define BLX_MESSAGE(NAME, name, number, direction, least, most)                                    \
    if ((least) == (most))                                                                         \
        snprintf(row, sizeof(row), "| %d | %s | %s | %d |", number, #NAME, #direction, most);      \
    else                                                                                           \
        snprintf(row, sizeof(row), "| %d | %s | %s | %d to %d |", number, #NAME, #direction,       \
                 least, most);                                                                     \
    if (strstr(text, row) == NULL)                                                                 \
        fail_msg("PROTOCOL.md has no row '%s'", row);
#include "proto/messages.def"
#undef BLX_MESSAGE
}

int main(int argc, char **argv)
{
    write_vectors = argc > 1 && strcmp(argv[1], "--write") == 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(message_of_every_type_has_an_example),
        cmocka_unit_test(message_of_every_type_round_trips),
        cmocka_unit_test(message_decodes_to_the_fields_that_were_encoded),
        cmocka_unit_test(message_cut_short_or_too_long_is_refused),
        cmocka_unit_test(message_header_of_nonsense_is_refused),
        cmocka_unit_test(message_frame_prefix_names_the_whole_size),
        cmocka_unit_test(message_frame_sizes_have_limits),
        cmocka_unit_test(message_with_a_forbidden_value_is_refused),
        cmocka_unit_test(message_without_what_it_is_about_is_refused),
        cmocka_unit_test(message_of_unreadable_extents_in_disorder_is_refused),
        cmocka_unit_test(message_encode_refuses_what_does_not_fit),
        cmocka_unit_test(message_texts_are_cleaned_by_the_sender),
        cmocka_unit_test(names_of_states_are_those_of_the_design),
        cmocka_unit_test(message_vectors_are_what_is_encoded),
        cmocka_unit_test(an_older_checkpoint_has_no_age),
        cmocka_unit_test(further_vectors_are_what_is_encoded),
        cmocka_unit_test(a_checkpoint_of_as_many_volumes_as_there_can_be_has_flags),
        cmocka_unit_test(a_checkpoint_with_flags_of_nonsense_is_refused),
        cmocka_unit_test(a_checkpoint_that_leaves_nothing_or_everything_out_is_refused),
        cmocka_unit_test(frame_vectors_are_read_and_the_plain_one_is_what_is_packed),
        cmocka_unit_test(encrypted_frame_vector_is_read),
        cmocka_unit_test(frame_with_digests_vector_is_what_is_sent),
        cmocka_unit_test(frame_with_too_few_or_too_many_digests_is_refused),
        cmocka_unit_test(digest_key_of_zeros_is_refused),
        cmocka_unit_test(frame_message_vector_is_what_is_encoded),
        cmocka_unit_test(specification_names_every_message),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
