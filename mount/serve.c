/* SPDX-License-Identifier: Apache-2.0 */
#define FUSE_USE_VERSION 35
#include "mount/serve.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <limits.h>
#include <poll.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/log.h"
#include "base/timestamp.h"
#include "mount/ahead.h"
#include "mount/guard.h"
#include "store/mounts.h"

/*
 * Inodes: the root and the link have fixed ones. A checkpoint's folder has its number in the tree
 * plus one, shifted; its files have the folder's plus their own number plus one.
 */
enum { INODE_LATEST = 2, INODE_SHIFT = 16 };

enum {
    IDLE_VIEW_MS = 5 * 1000, /* an open checkpoint that nobody uses is closed */
    READ_AHEAD_KIB = 1024,
    LOOK_MS = 1000, /* how often the idle time is looked at, at most */
};

/* How long the kernel may rely on a name: a file never changes, a checkpoint may be pruned. */
static const double file_seconds = 60, folder_seconds = 1;

struct mount_serve {
    struct mount_serve_config config;
    struct fuse_session *session;
    struct mount_tree *tree;      /* borrowed */
    struct mount_ahead *ahead;    /* NULL: nobody runs ahead */
    atomic_uint_fast64_t used_ns; /* when the last call came */
    uid_t uid;
    gid_t gid;
    time_t began;
    struct mount_guard guard;
    bool has_handlers;
    atomic_int read_ahead_fd; /* -1: it was used, or cannot be had */
    pthread_key_t answers;    /* each thread's */
    pthread_t watcher;
    pthread_mutex_t lock; /* guards `stopping` */
    pthread_cond_t stop;
    bool stopping;
};

/* An open file. */
struct handle {
    struct mount_checkpoint *checkpoint; /* got */
    const struct mount_file *file;
    struct mount_ahead_reader reader;
    struct blx_sweep *sweep; /* owned; or NULL */
};

/* A folder as it was when it was opened. */
struct listing {
    struct mount_checkpoint *checkpoint; /* got; NULL: the root */
    blx_timestamp *timestamps;           /* owned */
    size_t count;
};

static struct mount_serve *serve_of(fuse_req_t request)
{
    struct mount_serve *serve = fuse_req_userdata(request);
    serve->used_ns = blx_clock_ns();
    return serve;
}

static fuse_ino_t folder_inode(uint64_t number)
{
    return (number + 1) << INODE_SHIFT;
}

/* NULL for the root and the link. */
static struct mount_checkpoint *checkpoint_of(struct mount_serve *serve, fuse_ino_t inode)
{
    return inode >> INODE_SHIFT == 0 ? NULL
                                     : mount_tree_at(serve->tree, (inode >> INODE_SHIFT) - 1);
}

static const struct mount_file *file_of(const struct mount_checkpoint *checkpoint, fuse_ino_t inode)
{
    size_t at = inode & ((1 << INODE_SHIFT) - 1);
    return at == 0 ? NULL : mount_checkpoint_file(checkpoint, at - 1);
}

/* A folder's time is its checkpoint's. */
static time_t time_of(const struct mount_serve *serve, const struct mount_checkpoint *checkpoint)
{
    return checkpoint == NULL ? serve->began
                              : blx_timestamp_to_unix(mount_checkpoint_timestamp(checkpoint));
}

static int describe(struct mount_serve *serve, fuse_ino_t inode, struct stat *st)
{
    struct mount_checkpoint *checkpoint = checkpoint_of(serve, inode);
    const struct mount_file *file = checkpoint != NULL ? file_of(checkpoint, inode) : NULL;
    *st = (struct stat){.st_ino = inode,
                        .st_uid = serve->uid,
                        .st_gid = serve->gid,
                        .st_nlink = 1,
                        .st_blksize = 1 << 17};
    st->st_mtime = st->st_ctime = st->st_atime = time_of(serve, checkpoint);
    if (inode == INODE_LATEST) {
        st->st_mode = S_IFLNK | 0777;
        st->st_size = BLX_TIMESTAMP_TEXT_BYTES - 1;
    } else if (file != NULL) {
        st->st_mode = S_IFREG | (serve->config.writable ? 0600 : 0400);
        st->st_size = (off_t)file->bytes;
        st->st_blocks = (blkcnt_t)(file->bytes / 512);
    } else if (inode == FUSE_ROOT_ID || checkpoint != NULL) {
        st->st_mode = S_IFDIR | 0500;
        st->st_nlink = 2;
    } else {
        return -ENOENT;
    }
    return 0;
}

static void reply_entry(fuse_req_t request, struct mount_serve *serve, fuse_ino_t inode,
                        double seconds)
{
    struct fuse_entry_param entry = {
        .ino = inode, .attr_timeout = seconds, .entry_timeout = seconds};
    int rc = describe(serve, inode, &entry.attr);
    if (rc < 0)
        fuse_reply_err(request, -rc);
    else
        fuse_reply_entry(request, &entry);
}

static void look_up_checkpoint(fuse_req_t request, struct mount_serve *serve, const char *name)
{
    blx_timestamp timestamp;
    uint64_t number;
    if (strcmp(name, "latest") == 0) {
        reply_entry(request, serve, INODE_LATEST, 0);
        return;
    }
    int rc = strlen(name) == BLX_TIMESTAMP_TEXT_BYTES - 1 &&
                     blx_timestamp_parse(name, &timestamp, NULL) == 0
                 ? mount_tree_find(serve->tree, timestamp, &number)
                 : -ENOENT;
    if (rc < 0)
        fuse_reply_err(request, -rc);
    else
        reply_entry(request, serve, folder_inode(number), folder_seconds);
}

/* It has to be opened once, for its partitions. */
static int learn_files(struct mount_checkpoint *checkpoint)
{
    if (mount_checkpoint_count(checkpoint) > 0)
        return 0;
    int rc = mount_checkpoint_get(checkpoint, NULL);
    if (rc == 0)
        mount_checkpoint_put(checkpoint);
    return rc;
}

/* The kernel reads 128 KiB ahead, half a frame. It forgets what was set before its first call. */
static void read_more_ahead(struct mount_serve *serve)
{
    int fd = atomic_exchange(&serve->read_ahead_fd, -1);
    if (fd < 0)
        return;
    if (dprintf(fd, "%d\n", READ_AHEAD_KIB) < 0)
        blx_log_debug("the kernel keeps its read-ahead");
    close(fd);
}

static void look_up(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    struct mount_serve *serve = serve_of(request);
    read_more_ahead(serve);
    if (parent == FUSE_ROOT_ID) {
        look_up_checkpoint(request, serve, name);
        return;
    }
    struct mount_checkpoint *checkpoint = checkpoint_of(serve, parent);
    int rc = checkpoint == NULL ? -ENOENT : learn_files(checkpoint);
    if (rc < 0) {
        fuse_reply_err(request, -rc);
        return;
    }
    for (size_t i = 0; i < mount_checkpoint_count(checkpoint); i++)
        if (strcmp(mount_checkpoint_file(checkpoint, i)->name, name) == 0) {
            reply_entry(request, serve, parent + i + 1, file_seconds);
            return;
        }
    fuse_reply_err(request, ENOENT);
}

static void get_attributes(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
    struct mount_serve *serve = serve_of(request);
    struct stat st;
    (void)info;
    int rc = describe(serve, inode, &st);
    if (rc < 0)
        fuse_reply_err(request, -rc);
    else
        fuse_reply_attr(request, &st, file_seconds);
}

/* Times and modes are nobody's to change; O_TRUNC is refused, because a disk's size is fixed. */
static void set_attributes(fuse_req_t request, fuse_ino_t inode, struct stat *st, int what,
                           struct fuse_file_info *info)
{
    struct mount_serve *serve = serve_of(request);
    struct stat now;
    int rc = describe(serve, inode, &now);
    bool keeps_size = (what & FUSE_SET_ATTR_SIZE) == 0 || st->st_size == now.st_size;
    (void)info;
    if (rc == 0 && serve->config.writable && keeps_size)
        fuse_reply_attr(request, &now, file_seconds);
    else
        fuse_reply_err(request, rc < 0 ? -rc : serve->config.writable ? EPERM : EROFS);
}

static void read_link(fuse_req_t request, fuse_ino_t inode)
{
    struct mount_serve *serve = serve_of(request);
    char text[BLX_TIMESTAMP_TEXT_BYTES];
    blx_timestamp latest = inode == INODE_LATEST ? mount_tree_latest(serve->tree) : 0;
    if (latest == 0) {
        fuse_reply_err(request, ENOENT);
        return;
    }
    blx_timestamp_format(latest, text);
    fuse_reply_readlink(request, text);
}

static void free_listing(struct listing *listing)
{
    if (listing->checkpoint != NULL)
        mount_checkpoint_put(listing->checkpoint);
    free(listing->timestamps);
    free(listing);
}

static void open_folder(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
    struct mount_serve *serve = serve_of(request);
    struct mount_checkpoint *checkpoint = checkpoint_of(serve, inode);
    struct listing *listing = calloc(1, sizeof(*listing));
    int rc = listing == NULL ? -ENOMEM : 0;
    if (rc == 0 && inode == FUSE_ROOT_ID)
        rc = mount_tree_list(serve->tree, &listing->timestamps, &listing->count, NULL);
    else if (rc == 0)
        rc = checkpoint == NULL ? -ENOENT : mount_checkpoint_get(checkpoint, NULL);
    if (rc < 0) {
        free(listing);
        fuse_reply_err(request, -rc);
        return;
    }
    listing->checkpoint = checkpoint;
    info->fh = (uintptr_t)listing;
    if (fuse_reply_open(request, info) != 0)
        free_listing(listing);
}

static void release_folder(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
    serve_of(request);
    (void)inode;
    free_listing((struct listing *)(uintptr_t)info->fh);
    fuse_reply_err(request, 0);
}

/* The name at the place, whose first two are "." and ".."; false after the last. */
static bool name_at(const struct listing *listing, size_t at, char *name, size_t bytes,
                    struct stat *st)
{
    char text[BLX_TIMESTAMP_TEXT_BYTES];
    st->st_mode = S_IFDIR;
    st->st_ino = FUSE_ROOT_ID; /* readdir's is only a hint here */
    if (at < 2) {
        snprintf(name, bytes, "%s", at == 0 ? "." : "..");
        return true;
    }
    at -= 2;
    if (listing->checkpoint != NULL) {
        const struct mount_file *file = mount_checkpoint_file(listing->checkpoint, at);
        st->st_mode = S_IFREG;
        snprintf(name, bytes, "%s", file != NULL ? file->name : "");
        return file != NULL;
    }
    if (at < listing->count) {
        blx_timestamp_format(listing->timestamps[at], text);
        snprintf(name, bytes, "%s", text);
        return true;
    }
    st->st_mode = S_IFLNK;
    snprintf(name, bytes, "latest");
    return at == listing->count && listing->count > 0;
}

static void read_folder(fuse_req_t request, fuse_ino_t inode, size_t bytes, off_t offset,
                        struct fuse_file_info *info)
{
    const struct listing *listing = (const struct listing *)(uintptr_t)info->fh;
    BLX_CLEANUP_FREE char *buffer = malloc(bytes);
    char name[MOUNT_FILE_NAME_BYTES];
    struct stat st = {0};
    size_t used = 0;
    serve_of(request);
    (void)inode;
    for (size_t at = (size_t)offset;
         buffer != NULL && name_at(listing, at, name, sizeof(name), &st); at++) {
        size_t needed =
            fuse_add_direntry(request, buffer + used, bytes - used, name, &st, (off_t)at + 1);
        if (needed > bytes - used)
            break;
        used += needed;
    }
    if (buffer == NULL)
        fuse_reply_err(request, ENOMEM);
    else
        fuse_reply_buf(request, buffer, used);
}

static void free_handle(struct handle *handle)
{
    blx_sweep_free(handle->sweep);
    mount_checkpoint_put(handle->checkpoint);
    free(handle);
}

static void open_file(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
    struct mount_serve *serve = serve_of(request);
    struct mount_checkpoint *checkpoint = checkpoint_of(serve, inode);
    const struct mount_file *file = checkpoint != NULL ? file_of(checkpoint, inode) : NULL;
    struct handle *handle = calloc(1, sizeof(*handle));
    int rc = handle == NULL ? -ENOMEM : file == NULL ? -ENOENT : 0;
    if (rc == 0 && !serve->config.writable && (info->flags & O_ACCMODE) != O_RDONLY)
        rc = -EROFS;
    if (rc == 0)
        rc = mount_checkpoint_get(checkpoint, NULL);
    if (rc < 0) {
        free(handle);
        fuse_reply_err(request, -rc);
        return;
    }
    handle->checkpoint = checkpoint;
    handle->file = file;
    handle->sweep = mount_file_new_sweep(checkpoint, file);
    info->fh = (uintptr_t)handle;
    info->keep_cache = !serve->config.writable; /* it never changes */
    if (fuse_reply_open(request, info) != 0)
        free_handle(handle);
}

static void release_file(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
    serve_of(request);
    (void)inode;
    free_handle((struct handle *)(uintptr_t)info->fh);
    fuse_reply_err(request, 0);
}

/* What a thread answers with, as large as its largest answer so far. */
struct answer {
    size_t size;
    uint8_t bytes[];
};

/* NULL: no memory. */
static uint8_t *hold_answer(struct mount_serve *serve, size_t bytes)
{
    struct answer *answer = pthread_getspecific(serve->answers);
    if (answer != NULL && answer->size >= bytes)
        return answer->bytes;
    free(answer);
    answer = malloc(sizeof(*answer) + bytes);
    if (answer != NULL)
        answer->size = bytes;
    pthread_setspecific(serve->answers, answer);
    return answer != NULL ? answer->bytes : NULL;
}

/* All of the range or an error: fewer bytes would be the end of the file, and zeros after it. */
static void read_file(fuse_req_t request, fuse_ino_t inode, size_t bytes, off_t offset,
                      struct fuse_file_info *info)
{
    struct mount_serve *serve = serve_of(request);
    struct handle *handle = (struct handle *)(uintptr_t)info->fh;
    uint64_t at = (uint64_t)offset, size = handle->file->bytes;
    (void)inode;
    bytes = at >= size ? 0 : bytes < size - at ? bytes : (size_t)(size - at);
    uint8_t *buffer = hold_answer(serve, bytes);
    int rc = buffer == NULL ? -ENOMEM
                            : mount_file_read(handle->checkpoint, handle->file, handle->sweep,
                                              buffer, bytes, at);
    if (rc < 0) {
        fuse_reply_err(request, -rc);
        return;
    }
    /* The handle may be released by another thread as soon as there is an answer. */
    bool plain =
        handle->sweep == NULL || blx_sweep_is_plain(handle->sweep, handle->file->offset_bytes + at);
    if (serve->ahead != NULL && plain)
        mount_ahead_follow(serve->ahead, &handle->reader, handle->checkpoint, handle->file, bytes,
                           at);
    fuse_reply_buf(request, (const char *)buffer, bytes);
}

static void write_file(fuse_req_t request, fuse_ino_t inode, const char *buffer, size_t bytes,
                       off_t offset, struct fuse_file_info *info)
{
    struct handle *handle = (struct handle *)(uintptr_t)info->fh;
    uint64_t at = (uint64_t)offset, size = handle->file->bytes;
    serve_of(request);
    (void)inode;
    bytes = at >= size ? 0 : bytes < size - at ? bytes : (size_t)(size - at);
    int rc = bytes == 0 ? -ENOSPC /* a disk does not grow */
                        : mount_file_write(handle->checkpoint, handle->file, buffer, bytes, at);
    if (rc < 0)
        fuse_reply_err(request, -rc);
    else
        fuse_reply_write(request, bytes);
}

static void sync_file(fuse_req_t request, fuse_ino_t inode, int only_data,
                      struct fuse_file_info *info)
{
    struct mount_serve *serve = serve_of(request);
    (void)inode;
    (void)only_data;
    (void)info;
    fuse_reply_err(request, -mount_tree_sync(serve->tree));
}

/* For those who copy holes as holes. What was written over is data. */
static void seek_file(fuse_req_t request, fuse_ino_t inode, off_t offset, int whence,
                      struct fuse_file_info *info)
{
    struct mount_serve *serve = serve_of(request);
    struct handle *handle = (struct handle *)(uintptr_t)info->fh;
    uint64_t at = (uint64_t)offset, size = handle->file->bytes;
    (void)inode;
    int rc = offset < 0 || at >= size ? -ENXIO : 0;
    bool found = serve->config.writable && whence == SEEK_DATA;
    if (serve->config.writable && whence == SEEK_HOLE)
        at = size;
    while (rc == 0 && !found && at < size) {
        struct blx_view_extent extent;
        rc = mount_file_find_extent(handle->checkpoint, handle->file, at, &extent);
        found = rc == 0 && (extent.kind == BLX_VIEW_DATA) == (whence == SEEK_DATA);
        at += rc == 0 && !found ? extent.bytes : 0;
    }
    if (rc == 0 && at >= size && whence == SEEK_DATA)
        rc = -ENXIO;
    if (rc < 0)
        fuse_reply_err(request, -rc);
    else
        fuse_reply_lseek(request, (off_t)(at < size ? at : size));
}

static void flush_file(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
    serve_of(request);
    (void)inode;
    (void)info;
    fuse_reply_err(request, 0);
}

static const struct fuse_lowlevel_ops operations = {
    .lookup = look_up,
    .getattr = get_attributes,
    .setattr = set_attributes,
    .readlink = read_link,
    .opendir = open_folder,
    .readdir = read_folder,
    .releasedir = release_folder,
    .open = open_file,
    .read = read_file,
    .write = write_file,
    .flush = flush_file,
    .fsync = sync_file,
    .lseek = seek_file,
    .release = release_file,
};

/* "ro,fsname=...": a comma in the source is escaped. */
static int add_options(const struct mount_serve_config *config, struct fuse_args *args)
{
    char *options = NULL;
    char source[2 * PATH_MAX];
    snprintf(source, sizeof(source), "fsname=%s", config->source);
    int rc = fuse_opt_add_opt(&options, config->writable ? "rw" : "ro");
    if (rc == 0)
        rc = fuse_opt_add_opt(&options, "nosuid,nodev,subtype=" BLX_MOUNT_TYPE);
    if (rc == 0)
        rc = fuse_opt_add_opt_escaped(&options, source);
    if (rc == 0)
        rc = fuse_opt_add_arg(args, "blxrep-mount");
    if (rc == 0)
        rc = fuse_opt_add_arg(args, "-o");
    if (rc == 0)
        rc = fuse_opt_add_arg(args, options);
    free(options);
    return rc;
}

/* The kernel's setting of how far it reads ahead, which root may change; -1: it cannot be had. */
static int open_read_ahead(const struct mount_serve_config *config)
{
    char device[BLX_MOUNT_DEVICE_BYTES], path[64];
    if (!blx_mounts_find(config->mountpoint, config->source, device))
        return -1;
    snprintf(path, sizeof(path), "/sys/class/bdi/%s/read_ahead_kb", device);
    return open(path, O_WRONLY | O_CLOEXEC);
}

int mount_serve_open(const struct mount_serve_config *config, struct mount_serve **serve,
                     struct blx_error *err)
{
    struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
    struct mount_serve *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot mount at '%s'", config->mountpoint);
    made->config = *config;
    made->read_ahead_fd = -1;
    made->uid = getuid();
    made->gid = getgid();
    made->began = (time_t)(blx_clock_realtime_ns() / BLX_NS_PER_S);
    pthread_mutex_init(&made->lock, NULL);
    blx_cond_init(&made->stop);
    if (pthread_key_create(&made->answers, free) != 0) {
        free(made);
        return blx_error_set(err, -EAGAIN, "cannot mount at '%s'", config->mountpoint);
    }
    if (add_options(config, &args) == 0)
        made->session = fuse_session_new(&args, &operations, sizeof(operations), made);
    fuse_opt_free_args(&args);
    if (made->session == NULL || fuse_session_mount(made->session, config->mountpoint) != 0) {
        mount_serve_close(made);
        return blx_error_set(err, -EIO,
                             "cannot mount at '%s': it must be an empty folder of yours, and "
                             "/dev/fuse and fusermount3 (package fuse3) must be there",
                             config->mountpoint);
    }
    int rc = mount_guard_start(&made->guard, config->mountpoint, config->source, err);
    if (rc < 0) {
        fuse_session_unmount(made->session);
        mount_serve_close(made);
        return rc;
    }
    made->read_ahead_fd = open_read_ahead(config);
    *serve = made;
    return 0;
}

/* Closes checkpoints that nobody uses, and ends it all after a long time without a call. */
static void *watch(void *arg)
{
    struct mount_serve *serve = arg;
    pthread_mutex_lock(&serve->lock);
    while (!serve->stopping) {
        uint64_t now_ns = blx_clock_ns(), used_ns = serve->used_ns;
        uint64_t idle_ms = now_ns > used_ns ? (now_ns - used_ns) / BLX_NS_PER_MS : 0;
        if (idle_ms >= serve->config.idle_ms) {
            kill(getpid(), SIGTERM); /* as whoever else ends it */
            break;
        }
        uint64_t left_ms = serve->config.idle_ms - idle_ms;
        blx_cond_wait_until(&serve->stop, &serve->lock,
                            blx_deadline_in_ms(left_ms < LOOK_MS ? left_ms : LOOK_MS));
        if (now_ns > IDLE_VIEW_MS * BLX_NS_PER_MS)
            mount_tree_close_idle(serve->tree, now_ns - IDLE_VIEW_MS * BLX_NS_PER_MS);
    }
    pthread_mutex_unlock(&serve->lock);
    return NULL;
}

static void stop_watching(struct mount_serve *serve)
{
    pthread_mutex_lock(&serve->lock);
    serve->stopping = true;
    pthread_cond_signal(&serve->stop);
    pthread_mutex_unlock(&serve->lock);
    pthread_join(serve->watcher, NULL);
}

/* Signals are the main thread's: it waits for the session's end, and they wake it. */
static int start_threads(struct mount_serve *serve)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int rc = -pthread_create(&serve->watcher, NULL, watch, serve);
    if (rc == 0)
        serve->ahead = mount_ahead_new();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return rc;
}

int mount_serve_run(struct mount_serve *serve, struct mount_tree *tree, void (*ready)(void *arg),
                    void *arg, struct blx_error *err)
{
    struct fuse_loop_config loop = {.clone_fd = 0, .max_idle_threads = 10};
    serve->tree = tree;
    serve->used_ns = blx_clock_ns();
    serve->has_handlers = fuse_set_signal_handlers(serve->session) == 0;
    if (!serve->has_handlers)
        return blx_error_set(err, -EIO, "cannot take signals");
    int rc = start_threads(serve);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot start a thread for the mount");
    ready(arg);
    rc = fuse_session_loop_mt(serve->session, &loop);
    stop_watching(serve);
    mount_ahead_free(serve->ahead);
    serve->ahead = NULL;
    return rc < 0 ? blx_error_errno(err, rc, "the mount ended") : 0;
}

/* Whether the kernel has no use for it any more: it was unmounted, and no file is open. */
static bool is_severed(struct fuse_session *session)
{
    struct pollfd device = {.fd = fuse_session_fd(session)};
    return poll(&device, 1, 0) == 1 && (device.revents & POLLERR) != 0;
}

void mount_serve_close(struct mount_serve *serve)
{
    if (serve == NULL)
        return;
    if (serve->has_handlers)
        fuse_remove_signal_handlers(serve->session);
    mount_guard_finish(&serve->guard);
    /* libfuse forgets its mount. If files are open it would unmount whatever lies below ours. */
    if (serve->session != NULL && is_severed(serve->session))
        fuse_session_unmount(serve->session);
    if (serve->session != NULL)
        fuse_session_destroy(serve->session);
    if (serve->read_ahead_fd >= 0)
        close(serve->read_ahead_fd);
    free(pthread_getspecific(serve->answers));
    pthread_key_delete(serve->answers);
    pthread_cond_destroy(&serve->stop);
    pthread_mutex_destroy(&serve->lock);
    free(serve);
}
