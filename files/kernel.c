/* SPDX-License-Identifier: Apache-2.0 */
#include "files/kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/become.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "files/folder_tree.h"
#include "files/mounting.h"

enum { MAX_TRIES = 16 };

struct kernel {
    struct files_source source;
    struct files_source *blocks;
    char folder[PATH_MAX - 64];
    char images[PATH_MAX];
};

static int wait_for(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : BLX_EXIT_FAILED;
}

/* The first process of a PID namespace takes all others with it. */
int files_kernel_enter(struct blx_error *err)
{
    if (geteuid() != 0)
        return blx_error_set(err, -EPERM, "--kernel mounts filesystems, so only root can use it");
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || unshare(CLONE_NEWNS | CLONE_NEWPID) != 0)
        return blx_error_errno(err, -errno, "cannot make namespaces");
    pid_t pid = fork();
    if (pid < 0)
        return blx_error_errno(err, -errno, "cannot make namespaces");
    if (pid > 0) {
        int code = wait_for(pid);
        return code < 0 ? code : code + 1;
    }
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 ||
        mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        return blx_error_errno(err, -errno, "cannot make namespaces");
    return 0;
}

/* Returns only if it fails. The process ends then. */
static void become_mount(const struct blx_config *config, const char *view)
{
    char program[] = "blxrep-mount";
    BLX_CLEANUP_FREE char **words = calloc(config->key_count + 6, sizeof(*words));
    size_t count = 0;
    struct blx_error err = {0};
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    bool ready = words != NULL && null >= 0 && dup2(null, STDIN_FILENO) >= 0 &&
                 dup2(null, STDOUT_FILENO) >= 0;
    if (ready)
        words[count++] = program;
    for (size_t i = 0; ready && i < config->key_count; i++)
        ready = asprintf(&words[count++], "--key=%s", config->keys[i]) >= 0;
    ready = ready && asprintf(&words[count++], "--agent=%s", config->agent) >= 0 &&
            asprintf(&words[count++], "--data-dir=%s", config->data_dir) >= 0 &&
            asprintf(&words[count++], "--checkpoint=%s", config->checkpoint) >= 0 &&
            asprintf(&words[count++], "--mountpoint=%s", view) >= 0;
    if (ready)
        blx_become_program(words, &err);
    else
        blx_error_errno(&err, -ENOMEM, "cannot start blxrep-mount");
    fprintf(stderr, "blxrep: %s\n", err.message);
}

/* It returns when the mount is ready. */
static int run_mount(const struct blx_config *config, const char *view, struct blx_error *err)
{
    pid_t pid = fork();
    if (pid == 0) {
        become_mount(config, view);
        _exit(BLX_EXIT_FAILED);
    }
    int code = pid < 0 ? -errno : wait_for(pid);
    if (code < 0)
        return blx_error_errno(err, code, "cannot start blxrep-mount");
    return code == 0 ? 0 : blx_error_set(err, -EIO, "blxrep-mount does not show the checkpoint");
}

/* The folder of the only checkpoint that is shown. */
static int find_images(struct kernel *kernel, const char *view, struct blx_error *err)
{
    BLX_CLEANUP_DIR DIR *dir = opendir(view);
    const struct dirent *entry;
    while (dir != NULL && (entry = readdir(dir)) != NULL)
        if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9')
            return blx_path_format(kernel->images, sizeof(kernel->images), err, "%s/%s", view,
                                   entry->d_name);
    return blx_error_set(err, -ENOENT, "blxrep-mount does not show the checkpoint");
}

static int list_disks(struct files_source *source, struct files_disk **disks, size_t *count,
                      struct blx_error *err)
{
    struct files_source *blocks = ((struct kernel *)source)->blocks;
    return blocks->kind->list(blocks, disks, count, err);
}

static int read_disk(struct files_source *source, uint32_t disk, void *buffer, size_t bytes,
                     uint64_t offset_bytes, struct blx_error *err)
{
    struct files_source *blocks = ((struct kernel *)source)->blocks;
    return blocks->kind->read(blocks, disk, buffer, bytes, offset_bytes, err);
}

static int find_image(struct kernel *kernel, uint32_t disk, char path[PATH_MAX],
                      struct blx_error *err)
{
    BLX_CLEANUP_FREE struct files_disk *disks = NULL;
    size_t count = 0;
    int rc = list_disks(&kernel->source, &disks, &count, err);
    if (rc == 0 && disk >= count)
        rc = -ENOENT;
    return rc == 0
               ? blx_path_format(path, PATH_MAX, err, "%s/%s", kernel->images, disks[disk].image)
               : rc;
}

/* Another process may take the free device first. The descriptor, or -errno. */
static int attach(int image_fd, char device[64])
{
    BLX_CLEANUP_FD int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
    struct loop_config config = {.fd = (uint32_t)image_fd,
                                 .info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR};
    for (int i = 0; control >= 0 && i < MAX_TRIES; i++) {
        int number = ioctl(control, LOOP_CTL_GET_FREE);
        if (number < 0)
            break;
        snprintf(device, 64, "/dev/loop%d", number);
        int fd = open(device, O_RDONLY | O_CLOEXEC);
        if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &config) == 0)
            return fd;
        int rc = errno;
        if (fd >= 0)
            close(fd);
        errno = rc;
        if (rc != EBUSY)
            break;
    }
    return -errno;
}

static int mount_image(const char *image, const char *filesystem, const char *point,
                       struct blx_error *err)
{
    char device[64];
    BLX_CLEANUP_FD int image_fd = blx_open(image, O_RDONLY, 0, err);
    if (image_fd < 0)
        return image_fd;
    BLX_CLEANUP_FD int loop_fd = attach(image_fd, device);
    if (loop_fd < 0)
        return blx_error_errno(err, loop_fd, "cannot make a loop device");
    return files_mount(device, filesystem, point, FILES_REPLAY_NOTHING, err);
}

static int open_disk(struct files_source *source, uint32_t disk, uint64_t size_bytes,
                     const char *filesystem, struct files_tree **tree, struct blx_error *err)
{
    struct kernel *kernel = (struct kernel *)source;
    char image[PATH_MAX], point[PATH_MAX];
    (void)size_bytes;
    int rc = files_mount_check(filesystem, err);
    if (rc == 0)
        rc = find_image(kernel, disk, image, err);
    if (rc == 0)
        rc = blx_path_format(point, sizeof(point), err, "%s/%u", kernel->folder, disk);
    if (rc == 0)
        rc = mount_image(image, filesystem, point, err);
    return rc == 0 ? files_folder_tree_open(point, tree, err) : rc;
}

/*
 * What is mounted from now on is not in blxrep-mount's namespace. Whoever is killed last in a
 * namespace takes its mounts away, and for that reads their disks: blxrep-mount would wait for
 * itself for ever.
 */
static int part_from_mount(struct blx_error *err)
{
    return unshare(CLONE_NEWNS) == 0 ? 0 : blx_error_errno(err, -errno, "cannot make namespaces");
}

int files_kernel_start(const struct blx_config *config, struct files_source *blocks,
                       const char *folder, struct files_source **source, struct blx_error *err)
{
    static const struct files_source_kind kind = {list_disks, read_disk, open_disk};
    char view[PATH_MAX];
    struct kernel *kernel = calloc(1, sizeof(*kernel));
    if (kernel == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot mount filesystems");
    kernel->source.kind = &kind;
    kernel->blocks = blocks;
    int rc = blx_path_format(kernel->folder, sizeof(kernel->folder), err, "%s", folder);
    if (rc == 0)
        rc = blx_path_format(view, sizeof(view), err, "%s/view", folder);
    if (rc == 0 && (mount("blxrep", folder, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0700") != 0 ||
                    mkdir(view, 0700) != 0))
        rc = blx_error_errno(err, -errno, "cannot mount at '%s'", folder);
    if (rc == 0)
        rc = run_mount(config, view, err);
    if (rc == 0)
        rc = part_from_mount(err);
    if (rc == 0)
        rc = find_images(kernel, view, err);
    if (rc < 0)
        free(kernel);
    else
        *source = &kernel->source;
    return rc;
}
