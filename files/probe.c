/* SPDX-License-Identifier: Apache-2.0 */
#include "files/probe.h"

#include <blkid.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

enum { BEGIN_BYTES = 1 << 20 };

/* No disk is larger. */
#define MOST_BYTES (INT64_C(1) << 60)

struct files_probe {
    int fd; /* of the file in memory */
    blkid_probe blkid;
};

/* What servers' disks hold. libblkid knows many more, and of some that nobody uses any more it
 * believes lengths that the disk tells: our fuzz target has seen it read beyond its memory. */
static int choose_kinds(blkid_probe blkid)
{
    static char names[][24] = {"ext2",
                               "ext3",
                               "ext4",
                               "xfs",
                               "btrfs",
                               "vfat",
                               "exfat",
                               "ntfs",
                               "f2fs",
                               "jfs",
                               "nilfs2",
                               "reiserfs",
                               "iso9660",
                               "squashfs",
                               "swap",
                               "LVM2_member",
                               "zfs_member",
                               "crypto_LUKS",
                               "linux_raid_member"};
    enum { COUNT = sizeof(names) / sizeof(names[0]) };
    char *wanted[COUNT + 1] = {NULL};
    for (size_t i = 0; i < COUNT; i++)
        wanted[i] = names[i];
    return blkid_probe_filter_superblocks_type(blkid, BLKID_FLTR_ONLYIN, wanted) != 0 ? -EIO : 0;
}

static int set_up(struct files_probe *probe, int fd)
{
    if (probe->blkid == NULL)
        return -ENOMEM;
    int made = memfd_create("blxrep-probe", MFD_CLOEXEC);
    if (made < 0 || (made != fd && dup2(made, fd) < 0))
        return -errno;
    if (made != fd)
        close(made);
    probe->fd = fd;
    if (ftruncate(fd, MOST_BYTES) != 0)
        return -errno;
    /* It asks the descriptor what it is now, and never again. */
    if (blkid_probe_set_device(probe->blkid, fd, 0, 0) != 0)
        return -EIO;
    blkid_probe_enable_superblocks(probe->blkid, 1);
    blkid_probe_set_superblocks_flags(probe->blkid,
                                      BLKID_SUBLKS_TYPE | BLKID_SUBLKS_UUID | BLKID_SUBLKS_LABEL);
    return choose_kinds(probe->blkid);
}

int files_probe_new(int fd, struct files_probe **probe, struct blx_error *err)
{
    struct files_probe *made = malloc(sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot look for filesystems");
    *made = (struct files_probe){.fd = -1, .blkid = blkid_new_probe()};
    int rc = set_up(made, fd);
    if (rc < 0) {
        files_probe_free(made);
        return blx_error_errno(err, rc, "cannot look for filesystems");
    }
    *probe = made;
    return 0;
}

void files_probe_free(struct files_probe *probe)
{
    if (probe == NULL)
        return;
    blkid_free_probe(probe->blkid);
    if (probe->fd >= 0)
        close(probe->fd);
    free(probe);
}

static int lay(struct files_probe *probe, struct files_source *source, uint32_t disk, size_t bytes,
               struct blx_error *err)
{
    BLX_CLEANUP_FREE void *buffer = malloc(bytes);
    int rc = buffer == NULL ? -ENOMEM : 0;
    if (rc == 0)
        rc = source->kind->read(source, disk, buffer, bytes, 0, err);
    return rc == 0 ? blx_pwrite_full(probe->fd, buffer, bytes, 0) : rc;
}

static void get(blkid_probe blkid, const char *name, char *text, size_t bytes)
{
    const char *value;
    text[0] = '\0';
    if (blkid_probe_lookup_value(blkid, name, &value, NULL) == 0)
        blx_text_copy(text, bytes, value);
}

int files_probe_look(struct files_probe *probe, struct files_source *source, uint32_t disk,
                     uint64_t size_bytes, struct files_signature *signature, struct blx_error *err)
{
    *signature = (struct files_signature){0};
    if (size_bytes == 0 || size_bytes > MOST_BYTES)
        return 0;
    size_t bytes = size_bytes < BEGIN_BYTES ? (size_t)size_bytes : BEGIN_BYTES;
    int rc = ftruncate(probe->fd, 0) != 0 || ftruncate(probe->fd, MOST_BYTES) != 0 ? -errno : 0;
    if (rc == 0)
        rc = lay(probe, source, disk, bytes, err);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot look for a filesystem");
    blkid_reset_probe(probe->blkid);
    blkid_probe_reset_buffers(probe->blkid);
    if (blkid_do_safeprobe(probe->blkid) != 0)
        return 0;
    get(probe->blkid, "TYPE", signature->filesystem, sizeof(signature->filesystem));
    get(probe->blkid, "UUID", signature->uuid, sizeof(signature->uuid));
    get(probe->blkid, "LABEL", signature->label, sizeof(signature->label));
    return 0;
}
