/* SPDX-License-Identifier: Apache-2.0 */
#include "gpt_image.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { ENTRY = 128, HEADER = 92, TABLE = GPT_IMAGE_ENTRIES * ENTRY, FIRST_PARTITION = 64 };

static void put(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static uint64_t get(const uint8_t *at, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = bytes; i-- > 0;)
        value = value << 8 | at[i];
    return value;
}

static uint8_t *sector(const struct gpt_image *image, uint64_t number)
{
    return image->bytes + number * image->sector_bytes;
}

static uint64_t table_sectors(const struct gpt_image *image)
{
    return (TABLE + image->sector_bytes - 1) / image->sector_bytes;
}

void gpt_image_put32(struct gpt_image *image, unsigned at, uint32_t value)
{
    put(sector(image, 1) + at, value, 4);
}

void gpt_image_put64(struct gpt_image *image, unsigned at, uint64_t value)
{
    put(sector(image, 1) + at, value, 8);
}

uint64_t gpt_image_get64(const struct gpt_image *image, uint64_t number, unsigned at)
{
    return get(sector(image, number) + at, 8);
}

void gpt_image_put_partition(struct gpt_image *image, unsigned number, uint64_t first,
                             uint64_t last)
{
    uint8_t *entry = sector(image, 2) + (size_t)(number - 1) * ENTRY;
    memset(entry, 0x11 * (int)number, 32);
    put(entry + 32, first, 8);
    put(entry + 40, last, 8);
    for (uint64_t at = first; at <= last && last < image->sectors; at++)
        memset(sector(image, at), (int)number, image->sector_bytes);
}

void gpt_image_seal(struct gpt_image *image)
{
    uint8_t *first = sector(image, 1);
    uint64_t last = image->sectors - 1;
    put(first + 88, crc32(0, sector(image, 2), TABLE), 4);
    put(first + 16, 0, 4);
    uint8_t *second = sector(image, last);
    memcpy(second, first, HEADER);
    memcpy(sector(image, last - table_sectors(image)), sector(image, 2), TABLE);
    put(second + 24, last, 8);
    put(second + 32, 1, 8);
    put(second + 72, last - table_sectors(image), 8);
    put(first + 16, crc32(0, first, HEADER), 4);
    put(second + 16, crc32(0, second, HEADER), 4);
}

void gpt_image_make(struct gpt_image *image, uint32_t sector_bytes, uint64_t sectors)
{
    *image = (struct gpt_image){.sector_bytes = sector_bytes, .sectors = sectors};
    image->bytes = calloc(1, GPT_IMAGE_MAX_BYTES);
    assert(image->bytes != NULL && sectors * sector_bytes <= GPT_IMAGE_MAX_BYTES);
    uint64_t last = sectors - 1, last_usable = last - table_sectors(image) - 1;
    uint8_t *mbr = sector(image, 0), *header = sector(image, 1);
    mbr[446 + 4] = 0xee;
    put(mbr + 446 + 8, 1, 4);
    put(mbr + 446 + 12, last, 4);
    put(mbr + 510, 0xaa55, 2);
    memcpy(header, "EFI PART\0\0\1\0", 12);
    put(header + 12, HEADER, 4);
    put(header + 24, 1, 8);
    put(header + 32, last, 8);
    put(header + 40, 2 + table_sectors(image), 8);
    put(header + 48, last_usable, 8);
    memset(header + 56, 0x77, 16);
    put(header + 72, 2, 8);
    put(header + 80, GPT_IMAGE_ENTRIES, 4);
    put(header + 84, ENTRY, 4);
    gpt_image_put_partition(image, 1, FIRST_PARTITION, FIRST_PARTITION + 9);
    gpt_image_put_partition(image, 3, FIRST_PARTITION + 10, last_usable);
    gpt_image_seal(image);
}

void gpt_image_done(struct gpt_image *image)
{
    free(image->bytes);
    *image = (struct gpt_image){0};
}

void gpt_image_save(const struct gpt_image *image, const char *path, uint64_t sectors)
{
    size_t bytes = image->sectors * image->sector_bytes;
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert(fd >= 0);
    ssize_t written = write(fd, image->bytes, bytes);
    assert(written == (ssize_t)bytes);
    int rc = ftruncate(fd, (off_t)(sectors * image->sector_bytes));
    assert(rc == 0);
    close(fd);
}

void gpt_image_load(struct gpt_image *image, const char *path, uint32_t sector_bytes)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert(fd >= 0);
    int rc = fstat(fd, &st);
    assert(rc == 0 && st.st_size <= GPT_IMAGE_MAX_BYTES);
    *image = (struct gpt_image){.sector_bytes = sector_bytes,
                                .sectors = (uint64_t)st.st_size / sector_bytes,
                                .bytes = calloc(1, GPT_IMAGE_MAX_BYTES)};
    assert(image->bytes != NULL);
    ssize_t got = pread(fd, image->bytes, (size_t)st.st_size, 0);
    assert(got == st.st_size);
    close(fd);
}

bool gpt_image_copy_is_whole(const struct gpt_image *image, uint64_t number)
{
    uint8_t header[HEADER];
    if (number >= image->sectors)
        return false;
    memcpy(header, sector(image, number), sizeof(header));
    uint64_t entries = get(header + 72, 8);
    uint32_t sum = (uint32_t)get(header + 16, 4);
    put(header + 16, 0, 4);
    return memcmp(header, "EFI PART", 8) == 0 && sum == crc32(0, header, HEADER) &&
           get(header + 24, 8) == number && entries + table_sectors(image) <= image->sectors &&
           get(header + 88, 4) == crc32(0, sector(image, entries), TABLE);
}
