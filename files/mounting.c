/* SPDX-License-Identifier: Apache-2.0 */
#include "files/mounting.h"

#include <errno.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>

int files_mount_check(const char *filesystem, struct blx_error *err)
{
    if (filesystem[0] == '\0')
        return blx_error_set(err, -EOPNOTSUPP, "it holds nothing that is known");
    if (strcmp(filesystem, "crypto_LUKS") == 0)
        return blx_error_set(err, -EOPNOTSUPP,
                             "it is encrypted by LUKS: `blxrep dispatcher mount` shows it as a "
                             "file, which cryptsetup opens with its passphrase");
    if (strstr(filesystem, "_member") != NULL || strcmp(filesystem, "swap") == 0)
        return blx_error_set(err, -EOPNOTSUPP, "it holds %s, and no filesystem by itself",
                             filesystem);
    return 0;
}

static const char *options_of(const char *filesystem, enum files_replay replay)
{
    static const struct {
        const char *filesystem, *options[2];
    } table[] = {{"ext3", {"noload", NULL}},
                 {"ext4", {"noload", NULL}},
                 {"xfs", {"norecovery,nouuid", "nouuid"}},
                 {"btrfs", {"rescue=nologreplay", NULL}}};
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
        if (strcmp(table[i].filesystem, filesystem) == 0)
            return table[i].options[replay];
    return NULL;
}

int files_mount(const char *device, const char *filesystem, const char *point,
                enum files_replay replay, struct blx_error *err)
{
    unsigned long flags = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC;
    if (mkdir(point, 0700) != 0 && errno != EEXIST)
        return blx_error_errno(err, -errno, "cannot make '%s'", point);
    if (mount(device, point, filesystem, flags, options_of(filesystem, replay)) != 0)
        return blx_error_errno(err, -errno, "the kernel does not mount its %s", filesystem);
    return 0;
}
