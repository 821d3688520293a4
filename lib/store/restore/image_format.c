/* SPDX-License-Identifier: Apache-2.0 */
#include "store/restore/image_format.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/*
 * VHD: without force_size the disk would be as large as the next number of cylinders, heads and
 * sectors, and end behind its last partition table, or cut it off.
 *
 * VMDK: streamOptimized is the one kind that vSphere's import (OVF, the Content Library, govc
 * import.vmdk) and that of AWS take as it is; a host cannot run from it, and converts it on the
 * way in. lsilogic is the adapter that ESXi expects, not IDE.
 */
static const struct {
    const char *name, *extension, *driver, *options;
    uint64_t max_bytes; /* 0: no limit that a disk could reach */
} formats[] = {
    [BLX_IMAGE_RAW] = {"raw", "img", "raw", "", 0},
    [BLX_IMAGE_QCOW2] = {"qcow2", "qcow2", "qcow2", "", 0},
    [BLX_IMAGE_VMDK] = {"vmdk", "vmdk", "vmdk",
                        "subformat=streamOptimized,adapter_type=lsilogic,compat6=on", 0},
    [BLX_IMAGE_VHD] = {"vhd", "vhd", "vpc", "subformat=dynamic,force_size=on",
                       UINT64_C(2040) << 30},
    [BLX_IMAGE_VHDX] = {"vhdx", "vhdx", "vhdx", "subformat=dynamic", UINT64_C(64) << 40},
};

enum { FORMATS = sizeof(formats) / sizeof(formats[0]) };

int blx_image_format_parse(const char *text, enum blx_image_format *format, struct blx_error *err)
{
    for (unsigned i = 0; i < FORMATS; i++)
        if (strcmp(text, formats[i].name) == 0) {
            *format = (enum blx_image_format)i;
            return 0;
        }
    return blx_error_set(
        err, -EINVAL, "'%.40s' is no format of images: write raw, qcow2, vmdk, vhd or vhdx", text);
}

const char *blx_image_format_name(enum blx_image_format format)
{
    return formats[format].name;
}

const char *blx_image_format_extension(enum blx_image_format format)
{
    return formats[format].extension;
}

const char *blx_image_format_driver(enum blx_image_format format)
{
    return formats[format].driver;
}

const char *blx_image_format_options(enum blx_image_format format)
{
    return formats[format].options;
}

int blx_image_format_check_size(enum blx_image_format format, uint64_t size_bytes,
                                struct blx_error *err)
{
    const uint64_t max_bytes = formats[format].max_bytes;
    if (max_bytes == 0 || size_bytes <= max_bytes)
        return 0;
    return blx_error_set(err, -EFBIG,
                         "a disk of %" PRIu64 " bytes has no room in a %s image, which ends at "
                         "%" PRIu64 ": give another --format%s",
                         size_bytes, formats[format].name, max_bytes,
                         format == BLX_IMAGE_VHD ? ", such as vhdx" : "");
}
