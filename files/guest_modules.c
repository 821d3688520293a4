/* SPDX-License-Identifier: Apache-2.0 */
#include "files/guest_modules.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Another group may have had it; a driver for another processor finds nothing to drive. */
static int load(const char *path)
{
    BLX_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (syscall(SYS_finit_module, fd, "", 0) != 0 && errno != EEXIST && errno != ENODEV)
        fprintf(stderr, "cannot load the module '%s': %s\n", path, strerror(errno));
    return 0;
}

void files_guest_load(const char *group)
{
    char path[PATH_MAX];
    int rc = 0;
    for (unsigned i = 0; rc == 0; i++) {
        snprintf(path, sizeof(path), FILES_MODULES_FOLDER "/%s/%03u", group, i);
        rc = load(path);
    }
}
