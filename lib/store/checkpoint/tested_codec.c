/* SPDX-License-Identifier: Apache-2.0 */
#include "store/checkpoint/tested_codec_private.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/text.h"
#include "base/timestamp.h"

enum { CHECKSUM_OFFSET = (int)offsetof(struct blx_tested_disk, checksum) };

#define FIELD_BYTES(field) sizeof(((struct blx_tested *)0)->field)
_Static_assert(FIELD_BYTES(expect) == BLX_TESTED_EXPECT_BYTES, "record of a test");
_Static_assert(FIELD_BYTES(command) == BLX_TESTED_COMMAND_BYTES, "record of a test");
_Static_assert(FIELD_BYTES(seen) == BLX_TESTED_TEXT_BYTES, "record of a test");
_Static_assert(FIELD_BYTES(reason) == BLX_TESTED_TEXT_BYTES, "record of a test");
_Static_assert(FIELD_BYTES(screen) == BLX_TESTED_SCREEN_BYTES, "record of a test");
_Static_assert((int)BLX_TEST_CHECKS == (int)BLX_TESTED_CHECKS_DISK, "record of a test");

/* The field's rest is zero. */
static void put_text(char *field, size_t bytes, const char *text)
{
    memset(field, 0, bytes);
    blx_text_copy(field, bytes, text);
    blx_text_clean(field);
}

static void put_lines(char *field, size_t bytes, const char *text)
{
    memset(field, 0, bytes);
    blx_text_copy(field, bytes, text);
    for (char *line = field, *end; *line != '\0'; line = end) {
        end = strchrnul(line, '\n');
        char kept = *end;
        *end = '\0';
        blx_text_clean(line);
        *end = kept;
        end += kept != '\0';
    }
}

void blx_tested_encode(const struct blx_tested *tested, struct blx_tested_disk *disk)
{
    *disk = (struct blx_tested_disk){
        .magic = blx_le32_of(BLX_TESTED_MAGIC),
        .version = BLX_LAYOUT_VERSION,
        .level = (uint8_t)tested->level,
        .machine = (uint8_t)tested->machine,
        .checkpoint = blx_le64_of(tested->checkpoint),
        .begun_realtime_ns = blx_le64_of(tested->begun_realtime_ns),
        .took_ms = blx_le64_of(tested->took_ms),
        .booted_ms = blx_le64_of(tested->booted_ms),
        .within_ms = blx_le64_of(tested->within_ms),
    };
    for (size_t i = 0; i < BLX_TEST_CHECKS; i++)
        disk->results[i] = (uint8_t)tested->results[i];
    put_text(disk->expect, sizeof(disk->expect), tested->expect);
    put_text(disk->command, sizeof(disk->command), tested->command);
    put_text(disk->seen, sizeof(disk->seen), tested->seen);
    put_text(disk->reason, sizeof(disk->reason), tested->reason);
    put_lines(disk->screen, sizeof(disk->screen), tested->screen);
    disk->checksum = blx_le64_of(blx_layout_checksum(disk, sizeof(*disk), CHECKSUM_OFFSET));
}

static bool lines_are_sound(char screen[BLX_TESTED_SCREEN_BYTES])
{
    char flat[BLX_TESTED_SCREEN_BYTES];
    memcpy(flat, screen, sizeof(flat));
    for (size_t i = 0; i < sizeof(flat); i++)
        if (flat[i] == '\n')
            flat[i] = ' ';
    return blx_layout_text_ok(flat, sizeof(flat));
}

static bool is_sound(struct blx_tested_disk *disk)
{
    blx_timestamp checkpoint = blx_le64_get(disk->checkpoint), parsed;
    char digits[BLX_TIMESTAMP_TEXT_BYTES];
    bool sound = disk->level >= BLX_TEST_LEVEL_FILESYSTEM && disk->level <= BLX_TEST_LEVEL_BOOT &&
                 disk->machine < BLX_TEST_MACHINES;
    for (size_t i = 0; i < BLX_TEST_CHECKS; i++)
        sound = sound && disk->results[i] < BLX_TEST_RESULTS;
    blx_timestamp_format(checkpoint, digits);
    return sound && blx_timestamp_parse(digits, &parsed, NULL) == 0 && parsed == checkpoint &&
           blx_layout_text_ok(disk->expect, sizeof(disk->expect)) &&
           blx_layout_text_ok(disk->command, sizeof(disk->command)) &&
           blx_layout_text_ok(disk->seen, sizeof(disk->seen)) &&
           blx_layout_text_ok(disk->reason, sizeof(disk->reason)) && lines_are_sound(disk->screen);
}

static void take(const struct blx_tested_disk *disk, struct blx_tested *tested)
{
    *tested = (struct blx_tested){
        .checkpoint = blx_le64_get(disk->checkpoint),
        .begun_realtime_ns = blx_le64_get(disk->begun_realtime_ns),
        .took_ms = blx_le64_get(disk->took_ms),
        .booted_ms = blx_le64_get(disk->booted_ms),
        .within_ms = blx_le64_get(disk->within_ms),
        .level = (enum blx_test_level)disk->level,
        .machine = (enum blx_test_machine)disk->machine,
    };
    for (size_t i = 0; i < BLX_TEST_CHECKS; i++)
        tested->results[i] = (enum blx_test_result)disk->results[i];
    put_text(tested->expect, sizeof(tested->expect), disk->expect);
    put_text(tested->command, sizeof(tested->command), disk->command);
    put_text(tested->seen, sizeof(tested->seen), disk->seen);
    put_text(tested->reason, sizeof(tested->reason), disk->reason);
    put_lines(tested->screen, sizeof(tested->screen), disk->screen);
}

int blx_tested_decode(const void *content, size_t bytes, struct blx_tested *tested,
                      struct blx_error *err)
{
    struct blx_tested_disk disk;
    if (bytes != sizeof(disk))
        return blx_error_set(err, -EBADMSG, "it has %zu bytes in place of %zu", bytes,
                             sizeof(disk));
    memcpy(&disk, content, sizeof(disk));
    if (blx_le32_get(disk.magic) != BLX_TESTED_MAGIC ||
        blx_layout_checksum(&disk, sizeof(disk), CHECKSUM_OFFSET) != blx_le64_get(disk.checksum))
        return blx_error_set(err, -EBADMSG, "its checksum is wrong");
    if (disk.version != BLX_LAYOUT_VERSION)
        return blx_error_set(err, -ENOTSUP,
                             "it has version %u, this program knows %d; use a newer blxrep",
                             disk.version, BLX_LAYOUT_VERSION);
    if (!is_sound(&disk))
        return blx_error_set(err, -EBADMSG, "a field has a value that it cannot have");
    take(&disk, tested);
    return 0;
}
