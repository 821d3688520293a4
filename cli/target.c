/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/target.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/units.h"
#include "cli/agents.h"
#include "cli/command.h"
#include "cli/describe.h"
#include "cli/holds.h"
#include "store/owner.h"

static void look_at_device(const char *path, struct cli_target *target)
{
    target->kind = CLI_TARGET_DEVICE;
    BLX_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_EXCL);
    target->is_free = fd >= 0;
    if (fd < 0)
        fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    if (ioctl(fd, BLKGETSIZE64, &target->size_bytes) != 0)
        target->size_bytes = 0;
    cli_holds_describe(fd, target->holds);
}

static void look_at_folder(const char *path, struct cli_target *target)
{
    char copy[PATH_MAX];
    struct statvfs room;
    snprintf(copy, sizeof(copy), "%s", path);
    if (statvfs(dirname(copy), &room) != 0)
        return;
    target->free_bytes = (uint64_t)room.f_bavail * room.f_frsize;
    target->filesystem_bytes = (uint64_t)room.f_blocks * room.f_frsize;
}

static void look(const char *path, struct cli_target *target)
{
    struct stat st;
    bool exists = stat(path, &st) == 0;
    if (exists && S_ISBLK(st.st_mode)) {
        look_at_device(path, target);
        return;
    }
    look_at_folder(path, target);
    if (!exists || !S_ISREG(st.st_mode))
        return;
    target->size_bytes = (uint64_t)st.st_size;
    snprintf(target->holds, sizeof(target->holds), "a file of %llu bytes",
             (unsigned long long)target->size_bytes);
}

void cli_target_look(const char *path, struct cli_target *target)
{
    struct blx_owner_errand errand;
    *target = (struct cli_target){.kind = CLI_TARGET_FILE};
    if (blx_owner_step_out(&errand, NULL) < 0)
        return;
    look(path, target);
    blx_owner_step_back(&errand, NULL);
}

/* 0 for a name that is not there, or cannot be looked at: the restore says why. */
static mode_t mode_of(const char *path, int flags)
{
    struct blx_owner_errand errand;
    struct stat st;
    if (blx_owner_step_out(&errand, NULL) < 0)
        return 0;
    int rc = fstatat(AT_FDCWD, path, &st, flags);
    blx_owner_step_back(&errand, NULL);
    return rc == 0 ? st.st_mode : 0;
}

bool cli_target_is_folder(const char *path)
{
    return S_ISDIR(mode_of(path, 0));
}

bool cli_target_is_taken(const char *path)
{
    mode_t mode = mode_of(path, AT_SYMLINK_NOFOLLOW);
    return mode != 0 && !S_ISLNK(mode);
}

int cli_target_check(const char *path, const struct cli_target *target, struct blx_error *err)
{
    if (target->kind != CLI_TARGET_DEVICE || !target->is_free || target->holds[0] == '\0')
        return 0;
    return blx_error_set(err, -EEXIST,
                         "the device '%s' holds %s: give another --output, --delta to bring it up "
                         "to date, or --force to overwrite it",
                         path, target->holds);
}

/* What is left to do with the disk's image. */
static void advise(const struct cli_outcome *outcome, char *text, size_t bytes)
{
    struct cli_target target;
    char more[BLX_UNIT_TEXT_BYTES];
    if (outcome->path == NULL)
        return;
    cli_target_look(outcome->path, &target);
    if (outcome->is_converted)
        snprintf(text, bytes, "`qemu-img info '%s'` describes it", outcome->path);
    else if (target.kind != CLI_TARGET_DEVICE)
        snprintf(text, bytes, "`losetup -fP '%s'` makes a disk of it", outcome->path);
    else if (target.size_bytes > outcome->disk_bytes && strstr(target.holds, "gpt") != NULL)
        snprintf(text, bytes,
                 "the device is %s larger than the disk was: `sgdisk -e %s` moves the second copy "
                 "of its partition table to the end",
                 blx_size_format(target.size_bytes - outcome->disk_bytes, more), outcome->path);
    else
        snprintf(text, bytes, "`partprobe %s` makes its partitions known", outcome->path);
}

void cli_target_sum_up(const struct cli_outcome *outcome)
{
    char next[PATH_MAX + 256] = "", size[BLX_UNIT_TEXT_BYTES], took[BLX_UNIT_TEXT_BYTES];
    char rate[BLX_UNIT_TEXT_BYTES];
    advise(outcome, next, sizeof(next));
    double seconds = (double)outcome->elapsed_ns / BLX_NS_PER_S;
    double per_second = seconds > 0 ? (double)outcome->written_bytes / seconds : 0;
    cli_note("checkpoint %llu of '%s': %d disk%s restored, %s written in %s (%s/s); next: %s",
             (unsigned long long)outcome->checkpoint, outcome->agent_id, outcome->disks,
             cli_plural((uint64_t)outcome->disks), blx_size_format(outcome->written_bytes, size),
             blx_duration_format(outcome->elapsed_ns / BLX_NS_PER_MS, took),
             blx_size_format((uint64_t)per_second, rate), next);
}
