/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/firmware.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

enum { VARIABLES_LIMIT_BYTES = 16 << 20 };

/* Pairs belong together. */
static const struct {
    const char *code, *variables;
} places[] = {
    {"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
    {"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},
    {"/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"},
    {"/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"},
    {"/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"},
};

static int copy_variables(const char *path, int *fd, struct blx_error *err)
{
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes = 0;
    int rc = blx_file_read(path, VARIABLES_LIMIT_BYTES, &content, &bytes, err);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_FD int made = memfd_create("blxrep-uefi", MFD_CLOEXEC);
    rc = made < 0 ? -errno : blx_pwrite_full(made, content, bytes, 0);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot copy '%s'", path);
    *fd = blx_take_fd(&made);
    return 0;
}

int boot_ovmf_open(struct boot_ovmf *ovmf, struct blx_error *err)
{
    *ovmf = (struct boot_ovmf){-1, -1};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        BLX_CLEANUP_FD int code = open(places[i].code, O_RDONLY | O_CLOEXEC);
        if (code < 0)
            continue;
        int rc = copy_variables(places[i].variables, &ovmf->variables_fd, err);
        if (rc == 0)
            ovmf->code_fd = blx_take_fd(&code);
        return rc;
    }
    return blx_error_set(err, -ENOENT,
                         "the server boots by UEFI, whose firmware is missing: install the package "
                         "ovmf (Debian) or edk2-ovmf (RPM)");
}

void boot_ovmf_close(struct boot_ovmf *ovmf)
{
    blx_cleanup_fd(&ovmf->code_fd);
    blx_cleanup_fd(&ovmf->variables_fd);
    *ovmf = (struct boot_ovmf){-1, -1};
}
