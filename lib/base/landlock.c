/* SPDX-License-Identifier: Apache-2.0 */
#include "base/landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"

#define READS                                                                                      \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
#define WRITES (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE)
#define CHANGES                                                                                    \
    (LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR |                               \
     LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_DIR | \
     LANDLOCK_ACCESS_FS_MAKE_REG | LANDLOCK_ACCESS_FS_MAKE_SOCK | LANDLOCK_ACCESS_FS_MAKE_FIFO |   \
     LANDLOCK_ACCESS_FS_MAKE_BLOCK | LANDLOCK_ACCESS_FS_MAKE_SYM)

static int show(int ruleset, int fd, uint64_t access)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -errno;
    if (!S_ISDIR(st.st_mode))
        access &= ~(uint64_t)LANDLOCK_ACCESS_FS_READ_DIR;
    const struct landlock_path_beneath_attr rule = {.allowed_access = access, .parent_fd = fd};
    if (syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0)
        return 0;
    return errno == EBADFD ? 0 : -errno; /* in memory: it is not bounded anyway */
}

static int show_place(int ruleset, const struct blx_landlock_place *place)
{
    const uint64_t access = place->access == BLX_LANDLOCK_READ ? READS : WRITES;
    if (place->path == NULL)
        return place->fd < 0 ? 0 : show(ruleset, place->fd, access);
    BLX_CLEANUP_FD int fd = open(place->path, O_PATH | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    return show(ruleset, fd, access);
}

int blx_landlock_show_only(const struct blx_landlock_place *places, size_t count)
{
    const struct landlock_ruleset_attr attr = {.handled_access_fs = READS | CHANGES};
    BLX_CLEANUP_FD int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
    int rc = ruleset < 0 ? -errno : 0;
    if (rc == -ENOSYS)
        rc = -EOPNOTSUPP;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = show_place(ruleset, &places[i]);
    if (rc == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) != 0)
        rc = -errno;
    return rc;
}
