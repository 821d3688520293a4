/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes the corpora in tests/fuzz/corpus/ that come out of the codecs themselves; run it again when
 * a format changes. The texts among the corpora (config_file, flags, address, text) are written by
 * hand.
 *
 *     fuzz_seeds tests/fuzz/corpus proto/vectors
 */
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/reboot/save.h"
#include "base/io.h"
#include "fuzz.h"
#include "store/checkpoint/manifest_codec_private.h"
#include "store/copy/copied.h"
#include "store/segment/segment_writer_private.h"
#include "store/checkpoint/tested_codec_private.h"
#include "store/signal/history_codec_private.h"
#include "store/signal/suspicion_codec_private.h"
#include "store/receive/volume_file_private.h"
#include "tls/join.h"
#include "tls/pki.h"
#include "wire/message.h"

enum { BLOCK_BYTES = 4096, BLOCKS = 64, LIMIT_BYTES = 65536 };

static const char *corpus;
static const struct blx_generation generation = {
    {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}};

struct bytes {
    uint8_t data[LIMIT_BYTES];
    size_t size;
};

static void put(struct bytes *bytes, const void *data, size_t size)
{
    FUZZ_ASSERT(size <= sizeof(bytes->data) - bytes->size);
    memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

static void save(const char *target, const char *name, const void *data, size_t size)
{
    char path[PATH_MAX];
    struct blx_error err = {0};
    FUZZ_ASSERT(blx_path_format(path, sizeof(path), NULL, "%s/%s", corpus, target) == 0);
    FUZZ_ASSERT(blx_mkdir_parents(path, 0755, &err) == 0);
    FUZZ_ASSERT(blx_path_format(path, sizeof(path), NULL, "%s/%s/%s", corpus, target, name) == 0);
    fuzz_write_file(path, data, size);
    FUZZ_ASSERT(chmod(path, 0644) == 0);
}

/* A vector is hexadecimal numbers, and comments after '#'. */
static void read_vector(const char *path, struct bytes *bytes)
{
    void *content = NULL;
    size_t size = 0;
    FUZZ_ASSERT(blx_file_read(path, 1024 * 1024, &content, &size, NULL) == 0);
    for (const char *at = content; *at != '\0';) {
        if (*at == '#') {
            at += strcspn(at, "\n");
        } else if (isxdigit((unsigned char)*at)) {
            char *end;
            uint8_t byte = (uint8_t)strtoul(at, &end, 16);
            put(bytes, &byte, 1);
            at = end;
        } else {
            at++;
        }
    }
    free(content);
}

static void save_vectors(const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    FUZZ_ASSERT(dir != NULL);
    while ((entry = readdir(dir)) != NULL) {
        char path[PATH_MAX], name[128];
        struct bytes bytes = {.size = 0};
        const char *end = strstr(entry->d_name, ".hex");
        if (end == NULL)
            continue;
        snprintf(name, sizeof(name), "%.*s", (int)(end - entry->d_name), entry->d_name);
        FUZZ_ASSERT(blx_path_format(path, sizeof(path), NULL, "%s/%s", folder, entry->d_name) == 0);
        read_vector(path, &bytes);
        save(strncmp(name, "frame-", 6) == 0 ? "frame" : "message", name, bytes.data, bytes.size);
    }
    closedir(dir);
}

/* Blocks `start` to `start + count - 1` filled with `fill`, and as many zero ones after them. */
static void make_keyed_frame(struct bytes *frame, const struct blx_volume_key *key,
                             enum blx_codec codec, uint64_t seq, uint64_t start, uint32_t count,
                             uint8_t fill)
{
    uint8_t data[8 * BLOCK_BYTES];
    const struct blx_frame_extent extents[] = {{{start, count}, false},
                                               {{start + count, count}, true}};
    const struct blx_frame_content content = {
        .codec = codec,
        .block_shift = 12,
        .generation = generation,
        .extents = extents,
        .extent_count = 2,
        .data = data,
        .data_bytes = count * BLOCK_BYTES,
        .key = key,
    };
    memset(data, fill, count * (size_t)BLOCK_BYTES);
    frame->size = 0;
    FUZZ_ASSERT(blx_frame_pack(&content, frame->data, &frame->size, NULL) == 0);
    blx_frame_seal(frame->data, seq);
}

static void make_frame(struct bytes *frame, enum blx_codec codec, uint64_t seq, uint64_t start,
                       uint32_t count, uint8_t fill)
{
    make_keyed_frame(frame, NULL, codec, seq, start, count, fill);
}

static const struct blx_volume_key *seed_key(void)
{
    static struct blx_volume_key derived;
    const struct blx_key key = {.secret = "the key of the seeds", .id = {{1, 2, 3}}};
    FUZZ_ASSERT(blx_volume_key_derive(&key, "web1", "vda", &derived, NULL) == 0);
    return &derived;
}

static void save_frames(void)
{
    static const char *const names[] = {"small-none", "small-zlib", "small-zstd"};
    struct bytes frame;
    for (int codec = BLX_CODEC_NONE; codec <= BLX_CODEC_ZSTD; codec++) {
        make_frame(&frame, (enum blx_codec)codec, 7, 3, 1, 0x5a);
        save("frame", names[codec], frame.data, frame.size);
    }
    make_keyed_frame(&frame, seed_key(), BLX_CODEC_ZSTD, 7, 3, 1, 0x5a);
    save("frame", "small-encrypted", frame.data, frame.size);
}

static void save_key_file(void)
{
    static const char text[] = "blxrep encryption key 1\n# a comment\nid: 119b567cd219200f\nkey: "
                               "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
    save("key_file", "good", text, sizeof(text) - 1);
    save("key_file", "without-a-key", text, strlen(text) - 70);
}

static void save_file(const char *target, const char *name, const char *path)
{
    void *content = NULL;
    size_t size = 0;
    FUZZ_ASSERT(blx_file_read(path, LIMIT_BYTES, &content, &size, NULL) == 0);
    save(target, name, content, size);
    free(content);
}

static void save_segments(void)
{
    char path[PATH_MAX], name[32];
    struct blx_segment_writer *writer = NULL;
    struct bytes frame;
    struct blx_frame parsed;
    FUZZ_ASSERT(blx_segment_writer_open(fuzz_folder(), 1, 12, &writer, NULL, NULL) == 0);
    fuzz_path(path, "open.seg");
    save_file("open_segment", "empty", path);
    for (uint64_t seq = 1; seq <= 3; seq++) {
        make_frame(&frame, seq == 2 ? BLX_CODEC_ZLIB : BLX_CODEC_ZSTD, seq, seq * 3, 2,
                   (uint8_t)seq);
        FUZZ_ASSERT(blx_frame_parse(frame.data, frame.size, &parsed, NULL) == 0);
        FUZZ_ASSERT(blx_segment_writer_append(writer, &parsed, NULL) == 0);
        snprintf(name, sizeof(name), "%d-frames", (int)seq);
        save_file("open_segment", name, path);
    }
    FUZZ_ASSERT(blx_segment_writer_seal(writer, NULL, NULL) == 0);
    fuzz_path(path, "00000001.seg");
    save_file("sealed_segment", "3-frames", path);
    /* Sealed, and the crash came before its rename. */
    save_file("open_segment", "sealed", path);
    FUZZ_ASSERT(blx_segment_writer_open(fuzz_folder(), 1, 12, &writer, NULL, NULL) == 0);
    fuzz_remove(path);
    FUZZ_ASSERT(blx_segment_writer_seal(writer, NULL, NULL) == 0);
    save_file("sealed_segment", "empty", path);
}

/* A rewrite's result from frames of two segments. Those of the older one come first; its generation
 * ended with a larger number. */
static void save_rewritten_segment(void)
{
    char path[PATH_MAX];
    struct bytes frame;
    struct blx_frame parsed;
    struct blx_segment_writer writer = {
        .summary = {.number = 1, .block_shift = 12, .rewritten = true}};
    fuzz_path(path, "rewrite.tmp");
    snprintf(writer.path, sizeof(writer.path), "%s", path);
    writer.fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FUZZ_ASSERT(writer.fd >= 0 && blx_segment_writer_begin(&writer, NULL) == 0);
    for (uint64_t seq = 9; seq >= 3; seq -= 3) {
        make_frame(&frame, BLX_CODEC_ZSTD, seq, seq, 2, (uint8_t)seq);
        FUZZ_ASSERT(blx_frame_parse(frame.data, frame.size, &parsed, NULL) == 0);
        FUZZ_ASSERT(blx_segment_writer_append(&writer, &parsed, NULL) == 0);
    }
    FUZZ_ASSERT(blx_segment_writer_finish(&writer, NULL) == 0);
    save_file("sealed_segment", "rewritten", path);
    fuzz_remove(path);
    close(writer.fd);
    blx_digest_log_close(&writer.log);
    blx_index_done(&writer.index);
}

static void save_manifests(void)
{
    uint32_t segments[] = {1, 2, 5};
    struct blx_extent unreadable[] = {{3, 2}, {255, 1}};
    struct blx_manifest_volume volumes[] = {
        {.name = "vda",
         .device = "/dev/vda",
         .identity = "serial-1",
         .size_bytes = 1 << 20,
         .block_shift = 12,
         .generation = generation,
         .last_seq = 9,
         .base = true,
         .changed_bytes = 8192,
         .stored_bytes = 300,
         .next_segment = 6,
         .segment_count = 3,
         .segments = segments,
         .unreadable_count = 2,
         .unreadable = unreadable},
        {.name = "sdb",
         .device = "/dev/sdb",
         .size_bytes = 512,
         .block_shift = 18,
         .generation = generation,
         .next_segment = 1},
    };
    struct blx_manifest manifest = {
        .timestamp = UINT64_C(20261122203600),
        .parent = UINT64_C(20261122203500),
        .consistency = BLX_CONSISTENCY_FILESYSTEM,
        .agent_realtime_ns = UINT64_C(1795379760000000000),
        .freeze_ns = 20000000,
        .note = "a note",
        .volume_count = 2,
        .volumes = volumes,
    };
    void *content = NULL;
    size_t size = 0;
    for (; manifest.volume_count > 0; manifest.volume_count--) {
        FUZZ_ASSERT(blx_manifest_encode(&manifest, &content, &size, NULL) == 0);
        save("manifest", manifest.volume_count == 2 ? "two-volumes" : "one-volume", content, size);
        free(content);
    }
    manifest.volume_count = 1;
    volumes[0].key_id = seed_key()->id;
    FUZZ_ASSERT(blx_manifest_encode(&manifest, &content, &size, NULL) == 0);
    save("manifest", "encrypted", content, size);
    free(content);
}

static void save_copied(void)
{
    uint32_t segments[] = {2, 9};
    struct blx_manifest_volume volume = {.name = "vda",
                                         .device = "/dev/vda",
                                         .size_bytes = 1 << 20,
                                         .block_shift = 12,
                                         .generation = generation,
                                         .base = true,
                                         .next_segment = 10,
                                         .segment_count = 2,
                                         .segments = segments};
    struct blx_copied_object objects[] = {
        {.hash = {1}, .bytes = 4096}, {.hash = {2}, .bytes = 512, .locked_until_s = 1795379760}};
    const struct blx_copied copied = {
        .manifest = {.timestamp = UINT64_C(20261122203600), .volume_count = 1, .volumes = &volume},
        .copied_realtime_ns = UINT64_C(1795379761000000000),
        .objects = objects,
        .object_count = 2};
    void *content = NULL;
    size_t size = 0;
    FUZZ_ASSERT(blx_copied_encode(&copied, &content, &size, NULL) == 0);
    save("copied", "two-objects", content, size);
    free(content);
}

static void save_member(void)
{
    static const struct blx_message messages[] = {
        {.type = BLX_MESSAGE_CONTROL_HOST,
         .control_host = {.name = "backup1", .role = BLX_HOST_SHARES, .listen = ":8080"}},
        {.type = BLX_MESSAGE_CONTROL_DISPATCHER, .control_dispatcher = {.uptime_ms = 1000}},
        {.type = BLX_MESSAGE_CONTROL_AGENT, .control_agent = {.agent_id = "web1"}},
        {.type = BLX_MESSAGE_CONTROL_AGENT, .control_agent = {.agent_id = "web2"}},
    };
    uint8_t bytes[4 * BLX_MESSAGE_ENCODED_BYTES];
    size_t used = 0;
    for (size_t i = 0; i < sizeof(messages) / sizeof(messages[0]); i++) {
        size_t length = 0;
        FUZZ_ASSERT(blx_message_encode(&messages[i], bytes + used, sizeof(bytes) - used, &length) ==
                    0);
        used += length;
        if (i == 0)
            save("member", "host", bytes, used);
    }
    save("member", "two-agents", bytes, used);
}

static void save_volume_files(void)
{
    char path[PATH_MAX];
    struct blx_volume_file file = {.generation = generation,
                                   .size_bytes = 1 << 20,
                                   .block_shift = 12,
                                   .device = "/dev/vda",
                                   .identity = "serial-1"};
    fuzz_path(path, "volume");
    FUZZ_ASSERT(blx_volume_file_write(fuzz_folder(), &file, NULL) == 0);
    save_file("volume_file", "following", path);
    file.full_since = 3;
    file.seq_before = 77;
    file.full_after = UINT64_C(20261122203600);
    FUZZ_ASSERT(blx_volume_file_write(fuzz_folder(), &file, NULL) == 0);
    save_file("volume_file", "full-pass", path);
}

/* As the target takes it: the head's fields, then the body. */
static void put_reboot(const char *name, const struct agent_save *of)
{
    enum { FIELD_BYTES = 608 };
    static uint8_t area[LIMIT_BYTES];
    struct bytes bytes = {.size = 0};
    size_t used = 0;
    FUZZ_ASSERT(agent_save_encode(of, area, sizeof(area), &used, NULL) == 0);
    put(&bytes, area, FIELD_BYTES);
    put(&bytes, area + AGENT_SAVE_BODY_AT, used - AGENT_SAVE_BODY_AT);
    save("reboot_save", name, bytes.data, bytes.size);
}

static void save_reboot(void)
{
    static const uint64_t marks[BLOCKS / 64 + 1] = {UINT64_C(0xf00000ff00010001)};
    static struct agent_save of = {.boot_id = "2fdf7f4b-4d2f-49cb-822d-e99df1285b41",
                                   .verb = AGENT_SAVE_REBOOT,
                                   .saved_s = 1000};
    put_reboot("none", &of);
    of.volume_count = 2;
    of.volumes[0] = (struct agent_save_volume){.kernel_name = "vda",
                                               .identity = "serial-1",
                                               .volume = "vda",
                                               .size_bytes = (uint64_t)BLOCKS * BLOCK_BYTES,
                                               .blocks = BLOCKS,
                                               .block_shift = 12,
                                               .stream = generation,
                                               .stream_used = true,
                                               .acked_seq = 3,
                                               .sent_seq = 4,
                                               .pass_reason = "first sync",
                                               .above_count = 1,
                                               .write_commands = 7,
                                               .marks = marks};
    of.volumes[1] =
        (struct agent_save_volume){.kernel_name = "vdb", .refusal = "it was resized or replaced"};
    put_reboot("two", &of);
}

static void save_tested(void)
{
    struct blx_tested_disk disk;
    struct blx_tested tested = {.checkpoint = UINT64_C(20261122203600),
                                .begun_realtime_ns = 1,
                                .took_ms = 50000,
                                .booted_ms = 41000,
                                .within_ms = 300000,
                                .level = BLX_TEST_LEVEL_BOOT,
                                .machine = BLX_TEST_KVM,
                                .results = {BLX_TEST_GOOD, BLX_TEST_GOOD, BLX_TEST_BAD},
                                .expect = "login:",
                                .seen = "1 filesystem is clean",
                                .reason = "a unit failed",
                                .screen = "Debian\nlogin: \n"};
    blx_tested_encode(&tested, &disk);
    save("tested", "boot", &disk, sizeof(disk));
    tested = (struct blx_tested){.checkpoint = tested.checkpoint, .level = 1, .results = {1}};
    blx_tested_encode(&tested, &disk);
    save("tested", "filesystem", &disk, sizeof(disk));
}

static void save_suspicion(void)
{
    struct blx_suspicion_disk disk;
    struct blx_history_row_disk row_disk;
    const struct blx_suspicion suspicion = {
        .checkpoint = UINT64_C(20261122203600),
        .since = UINT64_C(20261122203500),
        .calm = UINT64_C(20261122203400),
        .judged_realtime_ns = 1,
        .kind = BLX_SIGNAL_SLOW,
        .sensitivity = BLX_SENSITIVITY_HIGH,
        .change = {.data_bytes = 1 << 30, .replaced_bytes = 1 << 25, .hardened_bytes = 1 << 24},
        .reason = "16.0 MiB of data that packed well"};
    const struct blx_history_row row = {
        .checkpoint = suspicion.checkpoint, .suspicious = true, .change = suspicion.change};
    blx_suspicion_encode(&suspicion, &disk);
    save("suspicion", "slow", &disk, sizeof(disk));
    blx_history_row_encode(&row, &row_disk);
    save("suspicion", "row", &row_disk, sizeof(row_disk));
}

/* Keys that open nothing: the CA is thrown away with the folder. */
static void save_credentials(void)
{
    char data[PATH_MAX], bundle[PATH_MAX], path[PATH_MAX];
    fuzz_path(data, "data");
    fuzz_path(bundle, "bundle");
    FUZZ_ASSERT(mkdir(data, 0700) == 0);
    FUZZ_ASSERT(blx_pki_enroll(data, "web1", bundle, NULL) == 0);
    save_file("credentials", "agent", bundle);
    fuzz_path(path, "data/pki/ca.pem");
    save_file("credentials", "ca", path);
    fuzz_path(path, "data/pki/dispatcher.key");
    save_file("credentials", "key", path);
}

static void save_requests(void)
{
    EVP_PKEY *key = NULL;
    struct blx_request_message request;
    unsigned char private_key[512], *end = private_key;
    FUZZ_ASSERT(blx_renew_request(&key, &request, NULL) == 0);
    save("certificate_request", "request", request.bytes, request.request_bytes);
    FUZZ_ASSERT(i2d_PrivateKey(key, NULL) <= (int)sizeof(private_key));
    save("certificate_request", "key", private_key, (size_t)i2d_PrivateKey(key, &end));
    EVP_PKEY_free(key);
}

static void say(struct bytes *script, const struct blx_message *message)
{
    uint8_t encoded[BLX_MESSAGE_ENCODED_BYTES];
    size_t length = 0;
    FUZZ_ASSERT(blx_message_encode(message, encoded, sizeof(encoded), &length) == 0);
    put(script, encoded, length);
    if (message->type == BLX_MESSAGE_FRAME)
        put(script, message->frame.bytes, message->frame.frame_bytes);
}

static void say_hello(struct bytes *script, uint32_t volume_count, uint64_t features)
{
    struct blx_message hello = {.type = BLX_MESSAGE_HELLO,
                                .hello = {.version_min = 1,
                                          .version_max = 1,
                                          .features = features,
                                          .volume_count = volume_count,
                                          .agent_id = "web1",
                                          .software = "seed"}};
    say(script, &hello);
}

static void say_volumes(struct bytes *script, uint32_t volume_count, enum blx_pass pass)
{
    for (uint32_t i = 0; i < volume_count; i++) {
        struct blx_message volume = {.type = BLX_MESSAGE_VOLUME,
                                     .volume = {.volume = i,
                                                .block_shift = 12,
                                                .size_bytes = BLOCKS * BLOCK_BYTES,
                                                .generation = generation,
                                                .device = "/dev/vd"}};
        snprintf(volume.volume.name, sizeof(volume.volume.name), "vd%c", (char)('a' + i));
        say(script, &volume);
    }
    for (uint32_t i = 0; i < volume_count; i++) {
        const struct blx_message begin = {
            .type = BLX_MESSAGE_BEGIN,
            .begin = {.volume = i,
                      .pass = pass,
                      .full_bytes = pass == BLX_PASS_FULL ? BLOCKS * BLOCK_BYTES : 0}};
        say(script, &begin);
    }
}

static void say_greeting(struct bytes *script, uint32_t volume_count, enum blx_pass pass)
{
    say_hello(script, volume_count, 0);
    say_volumes(script, volume_count, pass);
}

static void say_frame(struct bytes *script, uint32_t volume, uint64_t seq)
{
    struct bytes frame;
    make_frame(&frame, BLX_CODEC_ZSTD, seq, seq % 8 * 4, 2, (uint8_t)seq);
    const struct blx_message message = {
        .type = BLX_MESSAGE_FRAME,
        .frame = {.volume = volume, .bytes = frame.data, .frame_bytes = frame.size}};
    say(script, &message);
}

static void say_cut(struct bytes *script, uint64_t request, uint32_t volume_count, uint64_t seq)
{
    struct blx_message cut = {.type = BLX_MESSAGE_CHECKPOINT,
                              .checkpoint = {.request = request,
                                             .cut_realtime_ns = UINT64_C(1795379760000000000),
                                             .consistency = BLX_CONSISTENCY_CRASH,
                                             .volume_count = volume_count,
                                             .note = "a note"}};
    for (uint32_t i = 0; i < volume_count; i++)
        cut.checkpoint.last_seq[i] = seq;
    say(script, &cut);
}

/* A full pass and a checkpoint; in a second session a resume and another checkpoint, a damaged
 * one. */
static void save_two_checkpoints(uint32_t volume_count, const char *name)
{
    const struct blx_message status = {.type = BLX_MESSAGE_STATUS,
                                       .status = {.state = BLX_AGENT_LIVE, .dirty_bytes = 4096}};
    const struct blx_message goodbye = {.type = BLX_MESSAGE_GOODBYE};
    const struct blx_message ping = {.type = BLX_MESSAGE_PING};
    const struct blx_message unreadable = {
        .type = BLX_MESSAGE_UNREADABLE,
        .unreadable = {.extent_count = 2, .extents = {{3, 2}, {60, 4}}}};
    struct bytes script = {.data = {2}, .size = 1};
    say_greeting(&script, volume_count, BLX_PASS_FULL);
    for (uint64_t seq = 1; seq <= 2; seq++)
        for (uint32_t i = 0; i < volume_count; i++)
            say_frame(&script, i, seq);
    say(&script, &status);
    say_cut(&script, 1, volume_count, 2);
    say(&script, &ping);
    say(&script, &goodbye);
    say_greeting(&script, volume_count, BLX_PASS_RESUME);
    for (uint32_t i = 0; i < volume_count; i++)
        say_frame(&script, i, 3);
    say(&script, &unreadable);
    say_cut(&script, 2, volume_count, 3);
    say(&script, &goodbye);
    save("session", name, script.data, script.size);
}

/* The connection is lost in the middle of a frame. The next session begins from nothing. */
static void save_sessions(void)
{
    const struct blx_message goodbye = {.type = BLX_MESSAGE_GOODBYE};
    struct blx_message failed = {.type = BLX_MESSAGE_CHECKPOINT_FAILED,
                                 .checkpoint_failed = {.request = 1, .reason = "no freeze"}};
    struct blx_message error = {.type = BLX_MESSAGE_ERROR, .error = {.text = "gone"}};
    struct bytes script = {.data = {2}, .size = 1};
    save_two_checkpoints(1, "two-checkpoints");
    save_two_checkpoints(3, "three-volumes");
    say_greeting(&script, 1, BLX_PASS_FULL);
    say_frame(&script, 0, 1);
    say(&script, &failed);
    say(&script, &goodbye);
    say_greeting(&script, 1, BLX_PASS_FULL);
    say_frame(&script, 0, 2);
    say(&script, &error);
    save("session", "failed-checkpoint", script.data, script.size);
    script.size -= 300;
    save("session", "cut-off", script.data, script.size);
    script = (struct bytes){.data = {6}, .size = 1};
    say_greeting(&script, 1, BLX_PASS_FULL);
    say_frame(&script, 0, 1);
    say_cut(&script, 2, 1, 1);
    say_frame(&script, 0, 2);
    say_cut(&script, 1, 1, 2);
    save("session", "two-requests", script.data, script.size);
}

/* A frame with the key that the agent named, and one that is not encrypted. */
static void save_encrypted_session(void)
{
    const struct blx_message key = {.type = BLX_MESSAGE_KEY, .key.key_id = seed_key()->id};
    struct blx_message message = {.type = BLX_MESSAGE_FRAME};
    struct bytes frame, script = {.data = {2}, .size = 1};
    say_hello(&script, 1, BLX_FEATURE_ENCRYPTION);
    say(&script, &key);
    say_volumes(&script, 1, BLX_PASS_FULL);
    make_keyed_frame(&frame, seed_key(), BLX_CODEC_ZSTD, 1, 3, 1, 0x5a);
    message.frame.bytes = frame.data;
    message.frame.frame_bytes = frame.size;
    say(&script, &message);
    say_cut(&script, 1, 1, 1);
    say_frame(&script, 0, 2);
    save("session", "encrypted", script.data, script.size);
}

static void say_welcome(struct bytes *script, uint64_t durable_seq, uint64_t image_bytes)
{
    const struct blx_message welcome = {.type = BLX_MESSAGE_WELCOME,
                                        .welcome = {.version = 1,
                                                    .sync_freq_ms = 60000,
                                                    .heartbeat_ms = 10000,
                                                    .window_bytes = 1 << 20,
                                                    .last_checkpoint = UINT64_C(20261122203600)}};
    say(script, &welcome);
    for (uint32_t i = 0; i < 2; i++) {
        struct blx_message state = {
            .type = BLX_MESSAGE_VOLUME_STATE,
            .volume_state = {.volume = i, .durable_seq = durable_seq, .image_bytes = image_bytes}};
        /* The generations of agent_session.c's volumes. */
        if (durable_seq > 0)
            state.volume_state.generation = (struct blx_generation){{(uint8_t)(i + 1), 2, 3, 4}};
        say(script, &state);
    }
}

static void say_acks(struct bytes *script, uint64_t from, uint64_t to)
{
    for (; from <= to; from++) {
        const struct blx_message ack = {
            .type = BLX_MESSAGE_ACK, .ack = {.volume = (uint32_t)(from % 2), .durable_seq = from}};
        say(script, &ack);
    }
}

/* A dispatcher's messages to fuzz_agent_session's agent. */
static void save_agent_sessions(void)
{
    const struct blx_message request = {.type = BLX_MESSAGE_CHECKPOINT_REQUEST,
                                        .checkpoint_request = {.request = 1}};
    const struct blx_message done = {
        .type = BLX_MESSAGE_CHECKPOINT_DONE,
        .checkpoint_done = {.request = 1, .timestamp = UINT64_C(20261122203700)}};
    const struct blx_message rescan = {.type = BLX_MESSAGE_RESCAN_REQUEST,
                                       .rescan_request = {.text = "by hand"}};
    const struct blx_message goodbye = {.type = BLX_MESSAGE_GOODBYE};
    const struct blx_message refusal = {.type = BLX_MESSAGE_ERROR, .error = {.text = "no"}};
    struct blx_message digests = {.type = BLX_MESSAGE_DIGESTS,
                                  .digests = {.request = 1, .digest_bytes = 32, .count = 2}};
    struct bytes script = {.data = {0}, .size = 1};
    say_welcome(&script, 0, 0);
    say_acks(&script, 1, 3);
    say(&script, &request);
    say(&script, &goodbye);
    say_welcome(&script, 3, 0);
    say_acks(&script, 4, 6);
    say(&script, &refusal);
    save("agent_session", "full-pass", script.data, script.size);

    script = (struct bytes){.data = {3}, .size = 1};
    say_welcome(&script, 7, 1 << 20);
    say_acks(&script, 8, 10);
    say(&script, &done);
    say(&script, &rescan);
    say(&script, &digests);
    digests.digests.request = 2;
    memset(digests.digests.bytes, 5, sizeof(digests.digests.bytes));
    say(&script, &digests);
    say(&script, &goodbye);
    say_welcome(&script, 9, 1 << 20);
    save("agent_session", "resume", script.data, script.size);

    script = (struct bytes){.data = {1}, .size = 1};
    say_welcome(&script, 3, 1 << 20);
    say_welcome(&script, 0, 1 << 20);
    say(&script, &goodbye);
    say_welcome(&script, 0, 1 << 20);
    say(&script, &digests);
    say_acks(&script, 1, 2);
    say(&script, &goodbye);
    say_welcome(&script, INT64_MAX, 1 << 20);
    save("agent_session", "lost-frames", script.data, script.size);
}

/* What a machine that restores sends to fuzz_restore_session's dispatcher. */
static void save_restores(void)
{
    const struct blx_message hello = {.type = BLX_MESSAGE_RESTORE,
                                      .restore = {.machine = "a machine", .software = "seeds"}};
    const struct blx_message plan = {.type = BLX_MESSAGE_PLAN_REQUEST};
    const struct blx_message frames = {.type = BLX_MESSAGE_FRAMES_REQUEST,
                                       .frames_request = {.first = 1, .count = 2}};
    const struct blx_message done = {.type = BLX_MESSAGE_RESTORE_DONE};
    struct bytes script = {.size = 0};
    say(&script, &hello);
    say(&script, &plan);
    say(&script, &frames);
    say(&script, &plan);
    say(&script, &frames);
    say(&script, &frames);
    save("restore_session", "cut-off", script.data, script.size);
    say(&script, &done);
    save("restore_session", "whole", script.data, script.size);

    const struct blx_message question = {
        .type = BLX_MESSAGE_DIGEST_REQUEST,
        .digest_request = {
            .request = 1, .blocks_per_digest = 4, .extent_count = 2, .extents = {{0, 8}, {4, 3}}}};
    const struct blx_message wanted = {.type = BLX_MESSAGE_DELTA_WANTED,
                                       .delta_wanted = {.count = 2, .extents = {{0, 2}, {5, 1}}}};
    script = (struct bytes){.size = 0};
    say(&script, &hello);
    say(&script, &(struct blx_message){.type = BLX_MESSAGE_DELTA_REQUEST});
    say(&script, &question);
    say(&script, &wanted);
    say(&script, &plan);
    say(&script, &frames);
    say(&script, &question);
    say(&script, &done);
    save("restore_session", "delta", script.data, script.size);
}

/* A dispatcher's messages to fuzz_pull's target: two frames of one volume, in one window. */
static void save_pulls(void)
{
    struct bytes script = {.size = 0}, frames[2];
    struct blx_message message = {.type = BLX_MESSAGE_RESTORE_OFFER,
                                  .restore_offer = {.agent_id = "web1",
                                                    .checkpoint = UINT64_C(20261122203700),
                                                    .volume_count = 1,
                                                    .heartbeat_ms = 10000,
                                                    .window_bytes = BLX_FRAME_MAX_BYTES}};
    say(&script, &message);
    message = (struct blx_message){.type = BLX_MESSAGE_RESTORE_VOLUME,
                                   .restore_volume = {.block_shift = 12,
                                                      .size_bytes = 64 * BLOCK_BYTES,
                                                      .name = "vda",
                                                      .device = "/dev/vda"}};
    say(&script, &message);
    message = (struct blx_message){.type = BLX_MESSAGE_PLAN,
                                   .plan = {.frame_count = 2, .end_block = 64, .piece_count = 3}};
    say(&script, &message);
    for (uint32_t i = 0; i < 2; i++)
        make_frame(&frames[i], BLX_CODEC_ZSTD, i + 1, 8 * i, 4, (uint8_t)(i + 1));
    message = (struct blx_message){
        .type = BLX_MESSAGE_PLAN_PIECES,
        .plan_pieces = {
            .count = 3,
            .pieces = {
                {.block_count = 4, .frame_bytes = (uint32_t)frames[0].size},
                {.start_block = 8, .block_count = 1, .frame_bytes = (uint32_t)frames[1].size},
                {.start_block = 10, .block_count = 2, .data_block = 2}}}};
    say(&script, &message);
    for (uint32_t i = 0; i < 2; i++) {
        message = (struct blx_message){.type = BLX_MESSAGE_FRAME};
        message.frame.bytes = frames[i].data;
        message.frame.frame_bytes = frames[i].size;
        say(&script, &message);
        if (i == 0)
            save("pull", "cut-off", script.data, script.size);
    }
    say(&script, &(struct blx_message){.type = BLX_MESSAGE_GOODBYE});
    save("pull", "whole", script.data, script.size);
}

/* The same for a target that is compared: all of its 64 blocks differ, at each level. */
static void save_delta_pulls(void)
{
    struct bytes script = {.size = 0}, frame;
    struct blx_message message = {.type = BLX_MESSAGE_RESTORE_OFFER,
                                  .restore_offer = {.agent_id = "web1",
                                                    .checkpoint = UINT64_C(20261122203700),
                                                    .volume_count = 1,
                                                    .heartbeat_ms = 10000,
                                                    .window_bytes = BLX_FRAME_MAX_BYTES}};
    say(&script, &message);
    message = (struct blx_message){.type = BLX_MESSAGE_RESTORE_VOLUME,
                                   .restore_volume = {.block_shift = 12,
                                                      .size_bytes = 64 * BLOCK_BYTES,
                                                      .name = "vda",
                                                      .device = "/dev/vda"}};
    say(&script, &message);
    message = (struct blx_message){.type = BLX_MESSAGE_DELTA_KEY, .delta_key = {.key = {1}}};
    say(&script, &message);
    static const uint32_t counts[] = {1, 1, 8, 64};
    for (uint32_t i = 0; i < 4; i++) {
        message = (struct blx_message){
            .type = BLX_MESSAGE_DIGESTS,
            .digests = {.request = i + 1, .digest_bytes = i < 3 ? 32 : 16, .count = counts[i]}};
        say(&script, &message);
    }
    message = (struct blx_message){.type = BLX_MESSAGE_PLAN,
                                   .plan = {.frame_count = 1, .end_block = 64, .piece_count = 1}};
    say(&script, &message);
    make_frame(&frame, BLX_CODEC_ZSTD, 1, 0, 4, 1);
    message = (struct blx_message){
        .type = BLX_MESSAGE_PLAN_PIECES,
        .plan_pieces = {.count = 1,
                        .pieces = {{.block_count = 4, .frame_bytes = (uint32_t)frame.size}}}};
    say(&script, &message);
    message = (struct blx_message){.type = BLX_MESSAGE_FRAME};
    message.frame.bytes = frame.data;
    message.frame.frame_bytes = frame.size;
    say(&script, &message);
    say(&script, &(struct blx_message){.type = BLX_MESSAGE_GOODBYE});
    save("pull", "delta", script.data, script.size);
}

/* POLICY after WELCOME, which changes nothing at first, and in the middle of a session. */
static void save_policies(void)
{
    struct bytes script = {.data = {1}, .size = 1};
    const struct blx_message welcome = {
        .type = BLX_MESSAGE_WELCOME,
        .welcome = {.version = 1,
                    .features = BLX_FEATURE_POLICY | BLX_FEATURE_CUT_AGE,
                    .sync_freq_ms = 60000,
                    .heartbeat_ms = 10000,
                    .window_bytes = 1 << 20}};
    struct blx_message policy = {.type = BLX_MESSAGE_POLICY,
                                 .policy = {.sync_freq_ms = 30000, .bandwidth_limit = "2M"}};
    struct bytes plain = {0};
    say_welcome(&plain, 3, 1 << 20);
    say(&script, &welcome);
    say(&script, &policy);
    /* Its VOLUME_STATEs, without its WELCOME. */
    size_t welcome_bytes = BLX_MESSAGE_HEADER_BYTES + 48;
    memcpy(script.data + script.size, plain.data + welcome_bytes, plain.size - welcome_bytes);
    script.size += plain.size - welcome_bytes;
    policy.policy.paused = true;
    say(&script, &policy);
    policy.policy.exclude_bytes = 4;
    memcpy(policy.policy.exclude, "sdb", 4);
    say(&script, &policy);
    save("agent_session", "policies", script.data, script.size);
}

/* The requests of `blxrep` to fuzz_control's dispatcher. */
static void save_control(void)
{
    struct blx_message checkpoint = {.type = BLX_MESSAGE_CONTROL_CHECKPOINT};
    struct blx_message rescan = {.type = BLX_MESSAGE_CONTROL_RESCAN};
    const struct blx_message status = {.type = BLX_MESSAGE_CONTROL_STATUS};
    static const char *const names[] = {"web1", "web2", "nobody"};
    for (unsigned i = 0; i < 3; i++) {
        struct bytes script = {0};
        snprintf(checkpoint.control_checkpoint.agent_id, BLX_NAME_BYTES, "%s", names[i]);
        say(&script, &checkpoint);
        save("control", names[i], script.data, script.size);
        script.size = 0;
        snprintf(rescan.control_rescan.agent_id, BLX_NAME_BYTES, "%s", names[i]);
        say(&script, &rescan);
        say(&script, &status);
        char name[BLX_NAME_BYTES];
        snprintf(name, sizeof(name), "rescan-%s", names[i]);
        save("control", name, script.data, script.size);
    }
    struct bytes script = {0};
    say(&script, &status);
    save("control", "status", script.data, script.size);
    script.size = 0;
    const struct blx_message pause = {.type = BLX_MESSAGE_CONTROL_PAUSE,
                                      .control_pause = {.agent_id = "web1"}};
    say(&script, &pause);
    save("control", "pause-web1", script.data, script.size);
    script.size = 0;
    const struct blx_message rename = {.type = BLX_MESSAGE_CONTROL_RENAME,
                                       .control_rename = {.agent_id = "web1", .to = "db1"}};
    say(&script, &rename);
    save("control", "rename-web1", script.data, script.size);
    script.size = 0;
    const struct blx_message pin = {
        .type = BLX_MESSAGE_CONTROL_PIN,
        .control_pin = {.agent_id = "web1", .timestamp = 20261122203600}};
    say(&script, &pin);
    save("control", "pin-web1", script.data, script.size);
}

static void put_number(uint8_t *at, uint32_t number)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(number >> 8 * i);
}

/* An entry of the DOS table in that sector. */
static void put_dos(uint8_t *disk, unsigned sector, unsigned entry, uint8_t type, uint32_t start)
{
    uint8_t *table = disk + 512 * sector, *at = table + 446 + 16 * entry;
    at[4] = type;
    put_number(at + 8, start);
    put_number(at + 12, 1);
    table[510] = 0x55;
    table[511] = 0xaa;
}

/* Disks of a few sectors, to which partitions.c sends every pointer. */
static void save_partitions(void)
{
    uint8_t disk[16 * 512] = {0};
    put_dos(disk, 0, 0, 0x83, 1);
    put_dos(disk, 0, 1, 0x05, 4);
    put_dos(disk, 4, 0, 0x83, 1);
    put_dos(disk, 4, 1, 0x05, 2);
    put_dos(disk, 6, 0, 0x83, 1);
    save("partitions", "dos", disk, sizeof(disk));
    put_dos(disk, 6, 1, 0x05, 0);
    put_dos(disk, 0, 2, 0x0f, 6);
    save("partitions", "dos-loop", disk, sizeof(disk));
    memset(disk, 0, sizeof(disk));
    put_dos(disk, 0, 0, 0xee, 1);
    memcpy(disk + 512, "EFI PART", 8);
    put_number(disk + 512 + 72, 2);
    put_number(disk + 512 + 80, 8);
    put_number(disk + 512 + 84, 128);
    for (unsigned i = 0; i < 8; i += 2) {
        uint8_t *entry = disk + 1024 + 128 * i;
        memset(entry, 0x11, 16);
        put_number(entry + 32, 6 + i);
        put_number(entry + 40, 7 + i);
    }
    save("partitions", "gpt", disk, sizeof(disk));
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: %s CORPUS VECTORS\n", argv[0]);
        return 2;
    }
    corpus = argv[1];
    save_vectors(argv[2]);
    save_frames();
    save_key_file();
    save_segments();
    save_rewritten_segment();
    save_manifests();
    save_copied();
    save_member();
    save_volume_files();
    save_reboot();
    save_tested();
    save_suspicion();
    save_credentials();
    save_requests();
    save_sessions();
    save_encrypted_session();
    save_agent_sessions();
    save_restores();
    save_pulls();
    save_delta_pulls();
    save_policies();
    save_control();
    save_partitions();
    return 0;
}
