/* SPDX-License-Identifier: Apache-2.0 */
#include "files/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/le.h"

enum { READ_BYTES = 1 << 18, MOST_BYTES = 256 << 20 };

/* Places in a bzImage: Documentation/arch/x86/boot.rst, protocol 2.08. */
enum {
    SETUP_SECTORS_AT = 0x1f1,
    MAGIC_AT = 0x202,
    VERSION_AT = 0x206,
    PAYLOAD_OFFSET_AT = 0x248,
    PAYLOAD_BYTES_AT = 0x24c,
    HEAD_BYTES = 0x250,
    SECTOR_BYTES = 512,
    SIZE_BYTES = 4, /* the kernel's, at the end of the payload */
};

static bool allow(struct archive *in)
{
    return archive_read_support_filter_gzip(in) == ARCHIVE_OK &&
           archive_read_support_filter_xz(in) == ARCHIVE_OK &&
           archive_read_support_filter_lzma(in) == ARCHIVE_OK &&
           archive_read_support_filter_bzip2(in) == ARCHIVE_OK &&
           archive_read_support_filter_lz4(in) == ARCHIVE_OK &&
           archive_read_support_filter_zstd(in) == ARCHIVE_OK &&
           archive_read_support_format_raw(in) == ARCHIVE_OK;
}

/* Of one that was opened. -EIO if it ends with an error. */
static int read_all(struct archive *in, void **content, size_t *bytes)
{
    struct archive_entry *entry;
    char *text = NULL;
    size_t length = 0;
    FILE *file = open_memstream(&text, &length);
    int answer = archive_read_next_header(in, &entry), rc = file == NULL ? -ENOMEM : 0;
    while (rc == 0 && answer == ARCHIVE_OK) {
        const void *piece;
        size_t size = 0;
        la_int64_t offset;
        answer = archive_read_data_block(in, &piece, &size, &offset);
        if (answer == ARCHIVE_OK && fwrite(piece, 1, size, file) != size)
            rc = -ENOMEM;
        if (answer == ARCHIVE_OK && offset > MOST_BYTES)
            rc = -EFBIG;
    }
    if (rc == 0 && answer != ARCHIVE_EOF)
        rc = -EIO;
    if (file != NULL && fclose(file) != 0 && rc == 0)
        rc = -ENOMEM;
    if (rc < 0) {
        free(text);
        return rc;
    }
    *content = text;
    *bytes = length;
    return 0;
}

int files_unpack_module(const char *path, void **content, size_t *bytes, struct blx_error *err)
{
    struct archive *in = archive_read_new();
    int rc = in == NULL ? -ENOMEM : 0;
    if (rc == 0)
        rc = allow(in) && archive_read_open_filename(in, path, READ_BYTES) == ARCHIVE_OK
                 ? read_all(in, content, bytes)
                 : -EIO;
    if (rc < 0)
        blx_error_set(err, rc, "cannot read the module '%s': %s", path,
                      in != NULL && archive_error_string(in) != NULL ? archive_error_string(in)
                                                                     : strerror(-rc));
    archive_read_free(in);
    return rc;
}

static uint32_t number_at(const uint8_t *image, size_t at)
{
    blx_le32 number;
    memcpy(&number, image + at, sizeof(number));
    return blx_le32_get(number);
}

/* The packed kernel in the image. NULL: it has none. */
static const uint8_t *find_payload(const uint8_t *image, size_t image_bytes, size_t *bytes)
{
    if (image_bytes < HEAD_BYTES || memcmp(image + MAGIC_AT, "HdrS", 4) != 0 ||
        (image[VERSION_AT] | image[VERSION_AT + 1] << 8) < 0x208)
        return NULL;
    size_t sectors = image[SETUP_SECTORS_AT] != 0 ? image[SETUP_SECTORS_AT] : 4;
    size_t begin = (sectors + 1) * SECTOR_BYTES + number_at(image, PAYLOAD_OFFSET_AT);
    *bytes = number_at(image, PAYLOAD_BYTES_AT);
    return begin<image_bytes && * bytes <= image_bytes - begin && * bytes> SIZE_BYTES
               ? image + begin
               : NULL;
}

/* Whether the kernel has the entry for PVH: an ELF note of Xen's with the number 18. */
static bool has_entry(const void *kernel, size_t bytes)
{
    static const uint8_t notes[][16] = {
        {4, 0, 0, 0, 4, 0, 0, 0, 18, 0, 0, 0, 'X', 'e', 'n', 0},
        {4, 0, 0, 0, 8, 0, 0, 0, 18, 0, 0, 0, 'X', 'e', 'n', 0},
    };
    return memmem(kernel, bytes, notes[0], sizeof(notes[0])) != NULL ||
           memmem(kernel, bytes, notes[1], sizeof(notes[1])) != NULL;
}

int files_unpack_kernel(const void *image, size_t image_bytes, void **content, size_t *bytes)
{
    size_t payload_bytes, kernel_bytes = 0;
    const uint8_t *payload = find_payload(image, image_bytes, &payload_bytes);
    if (payload == NULL)
        return -ENOEXEC;
    uint32_t size_bytes = number_at(payload, payload_bytes - SIZE_BYTES);
    bool gzip = payload[0] == 0x1f && payload[1] == 0x8b; /* which ends with that number itself */
    BLX_CLEANUP_FREE void *kernel = NULL;
    struct archive *in = archive_read_new();
    int rc = in != NULL && allow(in) &&
                     archive_read_open_memory(in, payload,
                                              payload_bytes - (gzip ? 0 : SIZE_BYTES)) == ARCHIVE_OK
                 ? read_all(in, &kernel, &kernel_bytes)
                 : -ENOEXEC;
    archive_read_free(in);
    if (rc < 0 || kernel_bytes != size_bytes || !has_entry(kernel, kernel_bytes))
        return -ENOEXEC;
    *content = kernel;
    *bytes = kernel_bytes;
    kernel = NULL;
    return 0;
}
