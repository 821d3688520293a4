/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kinds of image that a restore writes (`restore --format`). Everything but raw is made by
 * qemu-img (restore_convert.h).
 *
 * Threads: all functions are pure.
 */
#pragma once

#include <stdint.h>

#include "base/error.h"

enum blx_image_format {
    BLX_IMAGE_RAW, /* byte for byte as the disk */
    BLX_IMAGE_QCOW2,
    BLX_IMAGE_VMDK,
    BLX_IMAGE_VHD,
    BLX_IMAGE_VHDX,
};

/* "qcow2". -EINVAL, with the names that there are. */
int blx_image_format_parse(const char *text, enum blx_image_format *format, struct blx_error *err);

const char *blx_image_format_name(enum blx_image_format format);

/* Of a file's name, without the dot: "img" of a raw image. */
const char *blx_image_format_extension(enum blx_image_format format);

/* What qemu-img calls it, and the options that it is made with: "subformat=...,..."; "": none. */
const char *blx_image_format_driver(enum blx_image_format format);
const char *blx_image_format_options(enum blx_image_format format);

/* -EFBIG if a disk of that size has no room in an image of the format. */
int blx_image_format_check_size(enum blx_image_format format, uint64_t size_bytes,
                                struct blx_error *err);
