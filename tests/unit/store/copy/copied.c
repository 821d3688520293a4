/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of a copied checkpoint never change: a copy of today is read in ten years. With --write
 * the program writes the vectors instead of comparing them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/copy/copied.h"
#include "store/layout_private.h"

enum { MOST_BYTES = 4096, OBJECTS = 2 };

static bool write_vectors;

static uint32_t numbers[OBJECTS] = {0x01020304, 0x11121314};
static struct blx_manifest_volume volume = {.name = "vda",
                                            .device = "/dev/vda",
                                            .identity = "serial of a disk",
                                            .size_bytes = 0x4142434000,
                                            .last_seq = 0x5152535455,
                                            .changed_bytes = 0x61626364000,
                                            .stored_bytes = 0x7172737475,
                                            .block_shift = 12,
                                            .base = true,
                                            .next_segment = 0x21222324,
                                            .segments = numbers,
                                            .segment_count = OBJECTS};
static struct blx_copied_object objects[OBJECTS] = {
    {.hash = "thirty-two bytes are a SHA-256.", .bytes = 0x3132333435, .locked_until_s = 0x4142},
    {.hash = "and so are these, of another one", .bytes = 0x5152535455, .locked_until_s = 0x6162}};

/* A checkpoint of which nothing is owned. */
static struct blx_copied make(void)
{
    struct blx_copied made = {.manifest = {.timestamp = 20261130060000,
                                           .agent_realtime_ns = 0x1112131415161718,
                                           .committed_realtime_ns = 0x2122232425262728,
                                           .freeze_ns = 0x31323334,
                                           .consistency = BLX_CONSISTENCY_CRASH,
                                           .note = "no filesystem is mounted",
                                           .volumes = &volume,
                                           .volume_count = 1},
                              .copied_realtime_ns = 0x5152535455565758,
                              .lock = BLX_COPIED_COMPLIANCE,
                              .objects = objects,
                              .object_count = OBJECTS};
    for (size_t i = 0; i < OBJECTS; i++) {
        objects[i].tail_bytes = 0x1000 + i;
        memset(objects[i].tail_hash, 0xa0 + (int)i, sizeof(objects[i].tail_hash));
    }
    return made;
}

static void name_vector(char path[512], int version)
{
    assert_true(snprintf(path, 512, VECTORS "/copied-%d.hex", version) < 512);
}

static void write_vector(int version, const uint8_t *bytes, size_t count)
{
    char path[512];
    name_vector(path, version);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    for (size_t i = 0; i < count; i++)
        fprintf(file, "%02x%s", bytes[i], i % 16 == 15 || i + 1 == count ? "\n" : " ");
    assert_int_equal(fclose(file), 0);
}

static size_t read_vector(int version, uint8_t bytes[MOST_BYTES])
{
    char path[512];
    unsigned byte;
    size_t count = 0;
    name_vector(path, version);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (count < MOST_BYTES && fscanf(file, "%2x", &byte) == 1)
        bytes[count++] = (uint8_t)byte;
    fclose(file);
    return count;
}

static void check(const struct blx_copied *found, int version)
{
    const struct blx_copied made = make();
    assert_true(found->manifest.timestamp == made.manifest.timestamp);
    assert_true(found->copied_realtime_ns == made.copied_realtime_ns);
    assert_int_equal(found->object_count, OBJECTS);
    assert_string_equal(found->manifest.volumes[0].name, "vda");
    assert_memory_equal(found->manifest.volumes[0].segments, numbers, sizeof(numbers));
    for (size_t i = 0; i < OBJECTS; i++) {
        assert_memory_equal(found->objects[i].hash, objects[i].hash, BLX_COPIED_HASH_BYTES);
        assert_true(found->objects[i].bytes == objects[i].bytes);
        assert_true(found->objects[i].locked_until_s == objects[i].locked_until_s);
        assert_true(found->objects[i].tail_bytes == (version == 1 ? 0 : objects[i].tail_bytes));
    }
    assert_int_equal(found->lock, version == 1 ? BLX_COPIED_NOT_LOCKED : BLX_COPIED_COMPLIANCE);
}

static void the_bytes_are_those_of_the_vector(void **state)
{
    (void)state;
    struct blx_error err = {0};
    uint8_t vector[MOST_BYTES];
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes = 0;
    const struct blx_copied made = make();
    assert_int_equal(blx_copied_encode(&made, &content, &bytes, &err), 0);
    if (write_vectors)
        write_vector(2, content, bytes);
    assert_int_equal(read_vector(2, vector), bytes);
    assert_memory_equal(vector, content, bytes);
}

/* As a program without tails and modes wrote it. */
static void write_version_1(void)
{
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes = 0;
    const struct blx_copied made = make();
    assert_int_equal(blx_copied_encode(&made, &content, &bytes, NULL), 0);
    struct blx_copied_disk *disk = content;
    bytes -= OBJECTS * sizeof(struct blx_copied_tail_disk);
    disk->version = 1;
    disk->lock = 0;
    disk->checksum = blx_le64_of(
        blx_layout_checksum(content, bytes, offsetof(struct blx_copied_disk, checksum)));
    write_vector(1, content, bytes);
}

static void every_version_is_read(void **state)
{
    (void)state;
    if (write_vectors)
        write_version_1();
    for (int version = 1; version <= 2; version++) {
        struct blx_error err = {0};
        uint8_t vector[MOST_BYTES];
        BLX_CLEANUP_COPIED struct blx_copied found = {0};
        size_t bytes = read_vector(version, vector);
        if (blx_copied_decode(vector, bytes, &found, &err) < 0)
            fail_msg("version %d: %s", version, err.message);
        check(&found, version);
    }
}

/* Whoever can write to the copy can write these. */
static void what_is_not_sound_is_refused(void **state)
{
    (void)state;
    uint8_t vector[MOST_BYTES];
    size_t bytes = read_vector(2, vector);
    for (size_t cut = 0; cut < bytes; cut += 7) {
        struct blx_copied found = {0};
        assert_int_equal(blx_copied_decode(vector, cut, &found, NULL), -EBADMSG);
    }
    struct blx_copied made = make();
    void *content = NULL;
    objects[1].tail_bytes = objects[1].bytes + 1;
    assert_int_equal(blx_copied_encode(&made, &content, &bytes, NULL), -EINVAL);
}

int main(int argc, char **argv)
{
    write_vectors = argc > 1 && strcmp(argv[1], "--write") == 0;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_bytes_are_those_of_the_vector),
        cmocka_unit_test(every_version_is_read),
        cmocka_unit_test(what_is_not_sound_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
