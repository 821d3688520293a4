/* SPDX-License-Identifier: Apache-2.0 */
#include "files/first_files.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/become.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "files/guest_modules.h"
#include "files/kernel_modules.h"
#include "files/needed.h"
#include "files/request.h"
#include "files/unpack.h"

enum { FILE_MAX_BYTES = 256 << 20 };

/* The groups of files/guest_modules.h. Those for filesystems have the filesystem's name. */
static const struct {
    const char *group, *modules; /* names with blanks between them */
} groups[] = {
    {"base", "virtio_pci virtio_blk virtio_console"},
    {"md", "md-mod linear raid0 raid1 raid10 raid456"},
    {"lvm", "dm-mod dm-mirror dm-snapshot dm-thin-pool dm-raid dm-cache dm-cache-smq"},
    {"ext2", "ext4"},
    {"ext3", "ext4"},
    {"ext4", "ext4"},
    {"xfs", "xfs"},
    {"btrfs", "btrfs"},
    {"vfat", "vfat nls_cp437 nls_ascii nls_iso8859-1 nls_utf8"},
    {"exfat", "exfat nls_utf8"},
    {"f2fs", "f2fs"},
    {"jfs", "jfs"},
    {"nilfs2", "nilfs2"},
    {"reiserfs", "reiserfs"},
    {"iso9660", "isofs"},
    {"squashfs", "squashfs"},
};

struct pack {
    struct archive *out;
    struct archive_entry *entry;
    struct files_kernel_modules *modules;
    const char *group; /* whose modules are listed */
    unsigned number;   /* of the next one */
    struct blx_error *err;
};

static int failed(const struct pack *pack, const char *name)
{
    const char *cause = archive_error_string(pack->out);
    return blx_error_set(pack->err, -EIO, "cannot pack '%s' for the virtual machine: %s", name,
                         cause != NULL ? cause : "no memory");
}

static int add(struct pack *pack, const char *name, mode_t mode, const void *content, size_t bytes)
{
    archive_entry_clear(pack->entry);
    archive_entry_set_pathname(pack->entry, name + (name[0] == '/'));
    archive_entry_set_mode(pack->entry, mode);
    if (S_ISLNK(mode))
        archive_entry_set_symlink(pack->entry, content);
    archive_entry_set_size(pack->entry, S_ISREG(mode) ? (la_int64_t)bytes : 0);
    if (archive_write_header(pack->out, pack->entry) != ARCHIVE_OK ||
        (S_ISREG(mode) && archive_write_data(pack->out, content, bytes) != (la_ssize_t)bytes))
        return failed(pack, name);
    return 0;
}

/* The kernel makes no folder by itself. One that is there already is no error. */
static int add_folders_to(struct pack *pack, const char *name)
{
    int rc = 0;
    for (const char *slash = strchr(name + 1, '/'); rc == 0 && slash != NULL;
         slash = strchr(slash + 1, '/')) {
        char folder[PATH_MAX];
        snprintf(folder, sizeof(folder), "%.*s", (int)(slash - name), name);
        rc = add(pack, folder, S_IFDIR | 0755, NULL, 0);
    }
    return rc;
}

static int add_file(struct pack *pack, const char *path, const char *name)
{
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes = 0;
    int rc = blx_file_read(path, FILE_MAX_BYTES, &content, &bytes, pack->err);
    if (rc == 0)
        rc = add_folders_to(pack, name);
    return rc == 0 ? add(pack, name, S_IFREG | 0755, content, bytes) : rc;
}

/* Once for all groups; each group links to it. */
static int add_module(void *arg, const char *path, enum files_module_turn turn)
{
    struct pack *pack = arg;
    char name[PATH_MAX], link[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t length = strcspn(slash != NULL ? slash + 1 : path, ".");
    snprintf(name, sizeof(name), FILES_MODULES_FOLDER "/%.*s.ko", (int)length,
             slash != NULL ? slash + 1 : path);
    int rc = 0;
    if (turn == FILES_MODULE_FIRST) {
        BLX_CLEANUP_FREE void *content = NULL;
        size_t bytes = 0;
        rc = files_unpack_module(path, &content, &bytes, pack->err);
        if (rc == 0)
            rc = add(pack, name, S_IFREG | 0644, content, bytes);
    }
    snprintf(link, sizeof(link), FILES_MODULES_FOLDER "/%s/%03u", pack->group, pack->number++);
    return rc == 0 ? add(pack, link, S_IFLNK | 0777, name, 0) : rc;
}

static int add_groups(struct pack *pack)
{
    int rc = add(pack, FILES_MODULES_FOLDER, S_IFDIR | 0755, NULL, 0);
    for (size_t i = 0; rc == 0 && i < sizeof(groups) / sizeof(groups[0]); i++) {
        char folder[128];
        pack->group = groups[i].group;
        pack->number = 0;
        snprintf(folder, sizeof(folder), FILES_MODULES_FOLDER "/%s", pack->group);
        rc = add(pack, folder, S_IFDIR | 0755, NULL, 0);
        if (rc == 0)
            rc = files_kernel_modules_list(pack->modules, groups[i].modules, add_module, pack,
                                           pack->err);
    }
    return rc;
}

static int add_library(void *arg, const char *path)
{
    return add_file(arg, path, path);
}

/* One that this host does not have is missed by the guest if it needs it. */
static int add_program(struct pack *pack, const char *name)
{
    static const char *const folders[] = {"/usr/sbin", "/sbin", "/usr/bin", "/bin"};
    char path[PATH_MAX], target[PATH_MAX];
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", folders[i], name);
        if (access(path, R_OK | X_OK) != 0)
            continue;
        snprintf(target, sizeof(target), "/sbin/%s", name);
        int rc = add_file(pack, path, target);
        return rc == 0 ? files_needed_libraries(path, add_library, pack, pack->err) : rc;
    }
    return 0;
}

/* Beside this program in a build tree, in a folder of its own if it is installed. */
static int add_helper(struct pack *pack)
{
    static const char *const places[] = {"blxrep-files-guest",
                                         "../libexec/blxrep/blxrep-files-guest"};
    char folder[PATH_MAX], path[2 * PATH_MAX];
    int rc = blx_own_folder(folder, pack->err);
    for (size_t i = 0; rc == 0 && i < sizeof(places) / sizeof(places[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, places[i]);
        if (access(path, R_OK) == 0)
            return add_file(pack, path, "/init");
    }
    return rc < 0 ? rc
                  : blx_error_set(pack->err, -ENOENT,
                                  "cannot find 'blxrep-files-guest' in '%s' or beside: install the "
                                  "package blxrep-dispatcher again",
                                  folder);
}

static int pack_all(struct pack *pack, const void *request, size_t request_bytes)
{
    int rc = add(pack, FILES_REQUEST_PATH, S_IFREG | 0600, request, request_bytes);
    if (rc == 0)
        rc = add_helper(pack);
    if (rc == 0)
        rc = add_groups(pack);
    if (rc == 0)
        rc = add_program(pack, "mdadm");
    if (rc == 0)
        rc = add_program(pack, "lvm");
    return rc == 0 && archive_write_close(pack->out) != ARCHIVE_OK ? failed(pack, "all") : rc;
}

static int make_initrd(struct files_kernel_modules *modules, const void *request,
                       size_t request_bytes, int fd, struct blx_error *err)
{
    struct pack pack = {
        .out = archive_write_new(), .entry = archive_entry_new(), .modules = modules, .err = err};
    int rc = pack.out == NULL || pack.entry == NULL ? -ENOMEM : 0;
    if (rc == 0 && (archive_write_set_format_cpio_newc(pack.out) != ARCHIVE_OK ||
                    archive_write_open_fd(pack.out, fd) != ARCHIVE_OK))
        rc = failed(&pack, "all");
    if (rc == 0)
        rc = pack_all(&pack, request, request_bytes);
    archive_entry_free(pack.entry);
    archive_write_free(pack.out);
    return rc < 0 ? blx_error_errno(err, rc, "cannot make the virtual machine's first files") : 0;
}

static int copy_kernel(const char *path, int fd, struct blx_error *err)
{
    BLX_CLEANUP_FREE void *image = NULL;
    BLX_CLEANUP_FREE void *kernel = NULL;
    size_t image_bytes = 0, kernel_bytes = 0;
    int rc = blx_file_read(path, FILE_MAX_BYTES, &image, &image_bytes, err);
    if (rc == 0 && files_unpack_kernel(image, image_bytes, &kernel, &kernel_bytes) == 0)
        rc = blx_pwrite_full(fd, kernel, kernel_bytes, 0);
    else if (rc == 0)
        rc = blx_pwrite_full(fd, image, image_bytes, 0);
    return rc < 0 ? blx_error_errno(err, rc, "cannot copy '%s'", path) : 0;
}

int files_first_make(const char *kernel_dir, const void *request, size_t request_bytes,
                     struct files_first *first, struct blx_error *err)
{
    struct files_kernel_modules *modules = NULL;
    char image[PATH_MAX];
    struct files_first made = {.kernel_fd = memfd_create("blxrep-kernel", MFD_CLOEXEC),
                               .initrd_fd = memfd_create("blxrep-initrd", MFD_CLOEXEC)};
    int rc = made.kernel_fd < 0 || made.initrd_fd < 0
                 ? blx_error_errno(err, -errno, "cannot make the virtual machine's first files")
                 : files_kernel_modules_open(kernel_dir, image, &modules, err);
    if (rc == 0)
        rc = copy_kernel(image, made.kernel_fd, err);
    if (rc == 0)
        rc = make_initrd(modules, request, request_bytes, made.initrd_fd, err);
    files_kernel_modules_close(modules);
    if (rc < 0)
        files_first_done(&made);
    else
        *first = made;
    return rc;
}

void files_first_done(struct files_first *first)
{
    blx_cleanup_fd(&first->kernel_fd);
    blx_cleanup_fd(&first->initrd_fd);
    *first = (struct files_first){-1, -1};
}
