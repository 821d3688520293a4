/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel comes out of a bzImage, and whatever is none, or is cut, is left as it is. */
#include "files/unpack.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

enum { KERNEL_BYTES = 100000, SETUP_BYTES = 2 * 512, IMAGE_BYTES = SETUP_BYTES + KERNEL_BYTES };

static const uint8_t note[] = {4, 0, 0, 0, 4, 0, 0, 0, 18, 0, 0, 0, 'X', 'e', 'n', 0};
static uint8_t kernel[KERNEL_BYTES], image[IMAGE_BYTES];

static void put(size_t at, uint32_t number)
{
    for (size_t i = 0; i < 4; i++)
        image[at + i] = (uint8_t)(number >> 8 * i);
}

/* One setup sector, and the kernel packed by gzip. */
static size_t make_image(void)
{
    z_stream stream = {.next_in = kernel,
                       .avail_in = sizeof(kernel),
                       .next_out = image + SETUP_BYTES,
                       .avail_out = KERNEL_BYTES};
    memset(image, 0, sizeof(image));
    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    size_t bytes = stream.total_out;
    deflateEnd(&stream);
    image[0x1f1] = 1;
    memcpy(image + 0x202, "HdrS\x0f\x02", 6);
    put(0x248, 0);
    put(0x24c, (uint32_t)bytes);
    return SETUP_BYTES + bytes;
}

static void make_kernel(size_t note_at)
{
    for (size_t i = 0; i < sizeof(kernel); i++)
        kernel[i] = (uint8_t)(i * i >> 7);
    memcpy(kernel + note_at, note, sizeof(note));
}

static void a_kernel_comes_out_of_its_image(void **state)
{
    (void)state;
    void *content;
    size_t bytes;
    make_kernel(50000);
    size_t image_bytes = make_image();
    assert_int_equal(files_unpack_kernel(image, image_bytes, &content, &bytes), 0);
    assert_int_equal(bytes, sizeof(kernel));
    assert_memory_equal(content, kernel, sizeof(kernel));
    free(content);
}

static void what_cannot_be_started_so_is_refused(void **state)
{
    (void)state;
    void *content;
    size_t bytes;
    make_kernel(50000);
    kernel[50008] = 17; /* another note */
    size_t image_bytes = make_image();
    assert_int_equal(files_unpack_kernel(image, image_bytes, &content, &bytes), -ENOEXEC);
    make_kernel(50000);
    image_bytes = make_image();
    for (size_t cut = 1; cut < image_bytes; cut += 97)
        assert_int_equal(files_unpack_kernel(image, image_bytes - cut, &content, &bytes), -ENOEXEC);
    put(0x248, UINT32_MAX);
    assert_int_equal(files_unpack_kernel(image, image_bytes, &content, &bytes), -ENOEXEC);
    put(0x248, 0);
    put(0x24c, UINT32_MAX);
    assert_int_equal(files_unpack_kernel(image, image_bytes, &content, &bytes), -ENOEXEC);
    memcpy(image + 0x202, "none", 4);
    assert_int_equal(files_unpack_kernel(image, image_bytes, &content, &bytes), -ENOEXEC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_kernel_comes_out_of_its_image),
        cmocka_unit_test(what_cannot_be_started_so_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
