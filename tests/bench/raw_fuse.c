/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ceiling of a mount: a filesystem with one file, `raw`, each read of which is a pread() of
 * another file. What a mount is slower than this, it is slower by itself.
 *
 *     raw_fuse FILE MOUNTPOINT      until it is unmounted
 */
#define FUSE_USE_VERSION 35
#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { INODE_FILE = 2 };

static int file_fd;
static struct stat file_st;

static void describe(fuse_ino_t inode, struct stat *st)
{
    *st = (struct stat){.st_ino = inode, .st_nlink = 1, .st_mode = S_IFDIR | 0500};
    if (inode == INODE_FILE) {
        st->st_mode = S_IFREG | 0400;
        st->st_size = file_st.st_size;
    }
}

static void look_up(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param entry = {.ino = INODE_FILE, .attr_timeout = 60, .entry_timeout = 60};
    describe(INODE_FILE, &entry.attr);
    if (parent == FUSE_ROOT_ID && strcmp(name, "raw") == 0)
        fuse_reply_entry(request, &entry);
    else
        fuse_reply_err(request, ENOENT);
}

static void get_attributes(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
    struct stat st;
    (void)info;
    describe(inode, &st);
    fuse_reply_attr(request, &st, 60);
}

static void open_file(fuse_req_t request, fuse_ino_t inode, struct fuse_file_info *info)
{
    (void)inode;
    info->keep_cache = 1;
    fuse_reply_open(request, info);
}

static void read_file(fuse_req_t request, fuse_ino_t inode, size_t bytes, off_t offset,
                      struct fuse_file_info *info)
{
    char *buffer = malloc(bytes);
    ssize_t got = buffer == NULL ? -1 : pread(file_fd, buffer, bytes, offset);
    (void)inode;
    (void)info;
    if (got < 0)
        fuse_reply_err(request, EIO);
    else
        fuse_reply_buf(request, buffer, (size_t)got);
    free(buffer);
}

static const struct fuse_lowlevel_ops operations = {
    .lookup = look_up, .getattr = get_attributes, .open = open_file, .read = read_file};

int main(int argc, char **argv)
{
    char name[] = "raw_fuse", option[] = "-o", value[] = "ro,fsname=raw_fuse";
    char *words[] = {name, option, value, NULL};
    struct fuse_args args = FUSE_ARGS_INIT(3, words);
    struct fuse_loop_config loop = {.max_idle_threads = 10};
    if (argc != 3 || (file_fd = open(argv[1], O_RDONLY | O_CLOEXEC)) < 0 ||
        fstat(file_fd, &file_st) != 0) {
        fprintf(stderr, "usage: raw_fuse FILE MOUNTPOINT\n");
        return 2;
    }
    struct fuse_session *session = fuse_session_new(&args, &operations, sizeof(operations), NULL);
    if (session == NULL || fuse_session_mount(session, argv[2]) != 0)
        return 1;
    fuse_session_loop_mt(session, &loop);
    fuse_session_unmount(session);
    fuse_session_destroy(session);
    return 0;
}
