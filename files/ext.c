/* SPDX-License-Identifier: Apache-2.0 */
#include "files/ext.h"

#include <errno.h>
#include <ext2fs/ext2fs.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/array.h"
#include "files/ext_io_private.h"

/* Blocks belong to one file, so a copy reads each once; a path may be asked for more than once. */
enum { MOST_COPIES = 8 };

enum { OPEN_FLAGS = EXT2_FLAG_64BITS | EXT2_FLAG_SKIP_MMP };

enum { MAX_RUNS = 1 << 22, GOOD_OLD_INODE_BYTES = EXT2_GOOD_OLD_INODE_SIZE };

/* Blocks of a file that follow each other on the disk, too. */
struct run {
    uint64_t logical, physical, count;
};

struct ext {
    struct files_tree tree;
    struct ext_io *io;
    ext2_filsys fs;
    uint64_t read_blocks; /* of files, so far */
    /* The file that was mapped last. */
    ext2_ino_t mapped; /* 0: none */
    uint64_t mapped_bytes;
    struct run *runs; /* ascending */
    size_t run_count, run;
    uint8_t *inline_data; /* NULL: its data lies in blocks */
    size_t inline_bytes;
};

union inode {
    struct ext2_inode small;
    struct ext2_inode_large large;
};

static int fail(struct ext *ext, errcode_t code, const char *action, struct blx_error *err)
{
    return ext_io_explain(ext->io, code, action, err);
}

static int corrupt(const char *what, struct blx_error *err)
{
    return blx_error_set(err, -EBADMSG, "the filesystem is damaged: %s", what);
}

static int read_inode(struct ext *ext, struct files_node node, union inode *inode,
                      struct blx_error *err)
{
    if (node.number == 0 || node.number > ext->fs->super->s_inodes_count)
        return corrupt("there is no such inode", err);
    ext_io_grant(ext->io);
    memset(inode, 0, sizeof(*inode));
    errcode_t code =
        ext2fs_read_inode_full(ext->fs, (ext2_ino_t)node.number, &inode->small, sizeof(*inode));
    if (code != 0)
        return fail(ext, code, "cannot read its inode", err);
    if (inode->small.i_links_count == 0)
        return corrupt("a name leads to an inode that is free", err);
    return 0;
}

/* The extra part has the nanoseconds, and two more bits of the seconds. */
static void get_time(uint32_t low, uint32_t extra, int64_t *seconds, uint32_t *nanoseconds)
{
    *seconds = (int64_t)(int32_t)low + ((int64_t)(extra & 3) << 32);
    *nanoseconds = (extra >> 2) % 1000000000;
}

static bool has_extra(const struct ext *ext, const union inode *inode, size_t end)
{
    size_t bytes = EXT2_INODE_SIZE(ext->fs->super);
    return bytes >= end && inode->large.i_extra_isize <= bytes - GOOD_OLD_INODE_BYTES &&
           (size_t)GOOD_OLD_INODE_BYTES + inode->large.i_extra_isize >= end;
}

#define END_OF(field) (offsetof(struct ext2_inode_large, field) + sizeof(uint32_t))

static void get_device(const struct ext2_inode *inode, struct files_stat *stat)
{
    uint32_t old = inode->i_block[0], new = inode->i_block[1];
    stat->major = old != 0 ? (old >> 8) & 0xff : (new & 0xfff00) >> 8;
    stat->minor = old != 0 ? old & 0xff : (new & 0xff) | ((new >> 12) & 0xfff00);
}

static int look(struct files_tree *tree, struct files_node node, struct files_stat *stat,
                struct blx_error *err)
{
    struct ext *ext = (struct ext *)tree;
    union inode inode;
    int rc = read_inode(ext, node, &inode, err);
    if (rc < 0)
        return rc;
    uint32_t mtime_extra =
        has_extra(ext, &inode, END_OF(i_mtime_extra)) ? inode.large.i_mtime_extra : 0;
    uint32_t atime_extra =
        has_extra(ext, &inode, END_OF(i_atime_extra)) ? inode.large.i_atime_extra : 0;
    *stat = (struct files_stat){.mode = inode.small.i_mode,
                                .uid = inode_uid(inode.small),
                                .gid = inode_gid(inode.small),
                                .links = inode.small.i_links_count};
    get_time(inode.small.i_mtime, mtime_extra, &stat->mtime_s, &stat->mtime_ns);
    get_time(inode.small.i_atime, atime_extra, &stat->atime_s, &stat->atime_ns);
    if (S_ISREG(stat->mode) || S_ISLNK(stat->mode) || S_ISDIR(stat->mode))
        stat->size_bytes = EXT2_I_SIZE(&inode.small);
    if (S_ISCHR(stat->mode) || S_ISBLK(stat->mode))
        get_device(&inode.small, stat);
    if (!files_mode_is_known(stat->mode))
        return corrupt("nothing is of that kind", err);
    return stat->size_bytes > FILES_MAX_SIZE_BYTES ? corrupt("its size is impossible", err) : 0;
}

struct listing {
    files_visit_name *visit;
    void *arg;
    int rc;
};

static int visit_entry(ext2_ino_t folder, int entry, struct ext2_dir_entry *dirent, int offset,
                       int block_bytes, char *buffer, void *arg)
{
    struct listing *listing = arg;
    size_t length = (size_t)ext2fs_dirent_name_len(dirent);
    bool dots = (length == 1 && dirent->name[0] == '.') ||
                (length == 2 && dirent->name[0] == '.' && dirent->name[1] == '.');
    (void)folder, (void)entry, (void)offset, (void)block_bytes, (void)buffer;
    if (dirent->inode == 0 || length == 0 || dots)
        return 0;
    listing->rc = listing->visit(listing->arg, dirent->name, length, dirent->inode);
    return listing->rc < 0 ? DIRENT_ABORT : 0;
}

static int list(struct files_tree *tree, struct files_node folder, files_visit_name *visit,
                void *arg, struct blx_error *err)
{
    struct ext *ext = (struct ext *)tree;
    struct listing listing = {.visit = visit, .arg = arg};
    union inode inode;
    int rc = read_inode(ext, folder, &inode, err);
    if (rc == 0 && (inode.small.i_flags & EXT4_ENCRYPT_FL) != 0)
        return blx_error_set(err, -EACCES, "the filesystem encrypts it with a key of its own");
    if (rc < 0)
        return rc;
    errcode_t code =
        ext2fs_dir_iterate2(ext->fs, (ext2_ino_t)folder.number, 0, NULL, visit_entry, &listing);
    if (listing.rc < 0)
        return blx_error_errno(err, listing.rc, "cannot list it");
    return code != 0 ? fail(ext, code, "cannot list it", err) : 0;
}

static void forget_map(struct ext *ext)
{
    free(ext->runs);
    free(ext->inline_data);
    ext->runs = NULL;
    ext->inline_data = NULL;
    ext->run_count = ext->run = 0;
    ext->mapped = 0;
}

/* -EBADMSG for a run that goes back, or lies outside of the filesystem. */
static int add_run(struct ext *ext, struct run run)
{
    struct run *last = ext->run_count > 0 ? &ext->runs[ext->run_count - 1] : NULL;
    uint64_t blocks = ext2fs_blocks_count(ext->fs->super);
    if (run.count == 0)
        return 0;
    if ((last != NULL && run.logical < last->logical + last->count) || run.physical >= blocks ||
        run.count > blocks - run.physical || run.logical > UINT32_MAX)
        return -EBADMSG;
    if (last != NULL && run.logical == last->logical + last->count &&
        run.physical == last->physical + last->count) {
        last->count += run.count;
        return 0;
    }
    if (ext->run_count == MAX_RUNS)
        return -EBADMSG;
    if (blx_array_make_room(ext->runs, ext->run_count) < 0)
        return -ENOMEM;
    ext->runs[ext->run_count++] = run;
    return 0;
}

/* Room that was set aside and not written reads as zeros: it is no run. */
static errcode_t map_extents(struct ext *ext, struct ext2_inode *inode, int *rc)
{
    ext2_extent_handle_t handle;
    struct ext2fs_extent extent;
    errcode_t code = ext2fs_extent_open2(ext->fs, ext->mapped, inode, &handle);
    if (code != 0)
        return code;
    code = ext2fs_extent_get(handle, EXT2_EXTENT_ROOT, &extent);
    while (code == 0 && *rc == 0) {
        bool leaf = (extent.e_flags & EXT2_EXTENT_FLAGS_LEAF) != 0;
        if (leaf && (extent.e_flags & EXT2_EXTENT_FLAGS_UNINIT) == 0)
            *rc = add_run(ext, (struct run){.logical = extent.e_lblk,
                                            .physical = extent.e_pblk,
                                            .count = extent.e_len});
        if (*rc == 0)
            code = ext2fs_extent_get(handle, EXT2_EXTENT_NEXT_LEAF, &extent);
    }
    ext2fs_extent_free(handle);
    return code == EXT2_ET_EXTENT_NO_NEXT || code == EXT2_ET_NO_CURRENT_NODE ? 0 : code;
}

struct block_walk {
    struct ext *ext;
    int rc;
};

static int visit_block(ext2_filsys fs, blk64_t *block, e2_blkcnt_t logical, blk64_t ref_block,
                       int ref_offset, void *arg)
{
    struct block_walk *walk = arg;
    (void)fs, (void)ref_block, (void)ref_offset;
    if (logical < 0 || *block == 0)
        return 0;
    walk->rc = add_run(walk->ext,
                       (struct run){.logical = (uint64_t)logical, .physical = *block, .count = 1});
    return walk->rc < 0 ? BLOCK_ABORT : 0;
}

static errcode_t map_blocks(struct ext *ext, int *rc)
{
    struct block_walk walk = {.ext = ext};
    errcode_t code =
        ext2fs_block_iterate3(ext->fs, ext->mapped, BLOCK_FLAG_READ_ONLY | BLOCK_FLAG_DATA_ONLY,
                              NULL, visit_block, &walk);
    *rc = walk.rc;
    return code;
}

static errcode_t map_inline(struct ext *ext, struct ext2_inode *inode)
{
    size_t bytes = 0;
    errcode_t code = ext2fs_inline_data_size(ext->fs, ext->mapped, &bytes);
    if (code != 0)
        return code;
    ext->inline_data = calloc(1, bytes + 1);
    if (ext->inline_data == NULL)
        return EXT2_ET_NO_MEMORY;
    code = ext2fs_inline_data_get(ext->fs, ext->mapped, inode, ext->inline_data, &bytes);
    ext->inline_bytes = code == 0 ? bytes : 0;
    return code;
}

static int make_map(struct ext *ext, struct files_node node, struct ext2_inode *inode,
                    struct blx_error *err)
{
    int rc = 0;
    errcode_t code;
    forget_map(ext);
    ext->mapped = (ext2_ino_t)node.number;
    ext->mapped_bytes = EXT2_I_SIZE(inode);
    ext_io_grant(ext->io);
    if ((inode->i_flags & EXT4_INLINE_DATA_FL) != 0)
        code = map_inline(ext, inode);
    else if ((inode->i_flags & EXT4_EXTENTS_FL) != 0)
        code = map_extents(ext, inode, &rc);
    else
        code = map_blocks(ext, &rc);
    if (rc == -EBADMSG)
        return corrupt("its blocks are out of order", err);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot find its blocks");
    return code != 0 ? fail(ext, code, "cannot find its blocks", err) : 0;
}

static int visit_run(const struct ext *ext, const struct run *run, files_visit_segment *visit,
                     void *arg)
{
    uint64_t offset = run->logical * ext->fs->blocksize, bytes = run->count * ext->fs->blocksize;
    if (offset >= ext->mapped_bytes)
        return 0;
    uint64_t left = ext->mapped_bytes - offset;
    return visit(arg, offset, bytes < left ? bytes : left);
}

static int map(struct files_tree *tree, struct files_node node, files_visit_segment *visit,
               void *arg, struct blx_error *err)
{
    struct ext *ext = (struct ext *)tree;
    union inode inode;
    int rc = read_inode(ext, node, &inode, err);
    if (rc == 0 && (inode.small.i_flags & EXT4_ENCRYPT_FL) != 0)
        rc = blx_error_set(err, -EACCES, "the filesystem encrypts it with a key of its own");
    if (rc == 0)
        rc = make_map(ext, node, &inode.small, err);
    if (rc == 0 && ext->inline_data != NULL && ext->mapped_bytes > 0)
        return visit(arg, 0, ext->mapped_bytes);
    for (size_t i = 0; rc == 0 && i < ext->run_count; i++)
        rc = visit_run(ext, &ext->runs[i], visit, arg);
    return rc;
}

static int locate(struct files_tree *tree, struct files_node node, files_visit_segment *visit,
                  void *arg, struct blx_error *err)
{
    struct ext *ext = (struct ext *)tree;
    union inode inode;
    int rc = read_inode(ext, node, &inode, err);
    if (rc == 0 && (S_ISREG(inode.small.i_mode) || S_ISDIR(inode.small.i_mode)))
        rc = make_map(ext, node, &inode.small, err);
    else
        forget_map(ext);
    for (size_t i = 0; rc == 0 && i < ext->run_count; i++)
        rc = visit(arg, ext->runs[i].physical * ext->fs->blocksize,
                   ext->runs[i].count * ext->fs->blocksize);
    return rc;
}

/* The run with that block, or the first one after it; NULL: there is none. */
static const struct run *find_run(struct ext *ext, uint64_t block)
{
    if (ext->run > 0 && ext->runs[ext->run - 1].logical + ext->runs[ext->run - 1].count > block)
        ext->run = 0;
    while (ext->run < ext->run_count &&
           ext->runs[ext->run].logical + ext->runs[ext->run].count <= block)
        ext->run++;
    return ext->run < ext->run_count ? &ext->runs[ext->run] : NULL;
}

/* How many bytes from the offset on were filled; -errno. */
static int64_t read_piece(struct ext *ext, uint8_t *buffer, size_t bytes, uint64_t offset)
{
    uint64_t block_bytes = ext->fs->blocksize;
    const struct run *run = find_run(ext, offset / block_bytes);
    uint64_t begin = run != NULL ? run->logical * block_bytes : UINT64_MAX;
    if (offset < begin) {
        size_t zeros = begin - offset < bytes ? (size_t)(begin - offset) : bytes;
        memset(buffer, 0, zeros);
        return (int64_t)zeros;
    }
    uint64_t left = run->count * block_bytes - (offset - begin);
    size_t wanted = left < bytes ? (size_t)left : bytes;
    int rc = ext_io_read(ext->io, buffer, wanted, run->physical * block_bytes + (offset - begin));
    return rc < 0 ? rc : (int64_t)wanted;
}

static int read_mapped(struct files_tree *tree, struct files_node node, void *buffer, size_t bytes,
                       uint64_t offset_bytes, struct blx_error *err)
{
    struct ext *ext = (struct ext *)tree;
    if (ext->mapped != node.number)
        return blx_error_set(err, -EINVAL, "it was not mapped");
    if (ext->inline_data != NULL) {
        memset(buffer, 0, bytes);
        if (offset_bytes < ext->inline_bytes) {
            size_t left = ext->inline_bytes - (size_t)offset_bytes;
            memcpy(buffer, ext->inline_data + offset_bytes, left < bytes ? left : bytes);
        }
        return 0;
    }
    ext_io_grant(ext->io);
    ext->read_blocks += bytes / ext->fs->blocksize;
    if (ext->read_blocks / MOST_COPIES > ext2fs_blocks_count(ext->fs->super))
        return corrupt("its files are larger together than it is", err);
    for (uint8_t *to = buffer; bytes > 0;) {
        int64_t got = read_piece(ext, to, bytes, offset_bytes);
        if (got < 0)
            return fail(ext, EXT2_ET_SHORT_READ, "cannot read its blocks", err);
        to += got;
        bytes -= (size_t)got;
        offset_bytes += (uint64_t)got;
    }
    return 0;
}

static int read_link(struct files_tree *tree, struct files_node node, char target[FILES_PATH_BYTES],
                     struct blx_error *err)
{
    struct ext *ext = (struct ext *)tree;
    union inode inode;
    int rc = read_inode(ext, node, &inode, err);
    uint64_t bytes = rc == 0 ? EXT2_I_SIZE(&inode.small) : 0;
    if (rc == 0 && (bytes == 0 || bytes >= FILES_PATH_BYTES))
        rc = corrupt("a symbolic link's length", err);
    if (rc == 0 && (inode.small.i_flags & EXT4_ENCRYPT_FL) != 0)
        rc = blx_error_set(err, -EACCES, "the filesystem encrypts it with a key of its own");
    if (rc < 0)
        return rc;
    memset(target, 0, FILES_PATH_BYTES);
    if (ext2fs_is_fast_symlink(&inode.small)) {
        if (bytes > sizeof(inode.small.i_block))
            return corrupt("a symbolic link's length", err);
        memcpy(target, inode.small.i_block, (size_t)bytes);
        return target[0] == '\0' ? corrupt("a symbolic link to nothing", err) : 0;
    }
    rc = make_map(ext, node, &inode.small, err);
    if (rc == 0)
        rc = read_mapped(tree, node, target, (size_t)bytes, 0, err);
    if (rc == 0 && target[0] == '\0')
        rc = corrupt("a symbolic link to nothing", err);
    return rc;
}

struct attribute_walk {
    struct ext2_xattr_handle *handle;
    files_visit_attribute *visit;
    void *arg;
    errcode_t code;
    int rc;
};

static bool is_acl(const char *name)
{
    return strcmp(name, "system.posix_acl_access") == 0 ||
           strcmp(name, "system.posix_acl_default") == 0;
}

/* An ACL is stored in a form of its own, and comes here in the kernel's. */
static int visit_attribute(char *name, char *value, size_t bytes, void *arg)
{
    struct attribute_walk *walk = arg;
    struct files_attribute attribute = {.name = name, .value = value, .bytes = bytes};
    void *acl = NULL;
    if (strncmp(name, "system.", strlen("system.")) == 0 && !is_acl(name))
        return 0; /* such as the data of a small file */
    if (is_acl(name)) {
        walk->code = ext2fs_xattr_get(walk->handle, name, &acl, &attribute.bytes);
        attribute.value = acl;
    }
    if (walk->code == 0)
        walk->rc = walk->visit(walk->arg, &attribute);
    ext2fs_free_mem(&acl);
    return walk->code != 0 || walk->rc < 0 ? XATTR_ABORT : 0;
}

static int list_attributes(struct files_tree *tree, struct files_node node,
                           files_visit_attribute *visit, void *arg, struct blx_error *err)
{
    struct ext *ext = (struct ext *)tree;
    struct attribute_walk walk = {.visit = visit, .arg = arg};
    ext_io_grant(ext->io);
    errcode_t code = ext2fs_xattrs_open(ext->fs, (ext2_ino_t)node.number, &walk.handle);
    if (code != 0)
        return fail(ext, code, "cannot read its attributes", err);
    code = ext2fs_xattrs_read(walk.handle);
    if (code == 0)
        code = ext2fs_xattrs_iterate(walk.handle, visit_attribute, &walk);
    ext2fs_xattrs_close(&walk.handle);
    if (walk.rc < 0)
        return walk.rc;
    if (code == 0)
        code = walk.code;
    return code != 0 ? fail(ext, code, "cannot read its attributes", err) : 0;
}

static void close_ext(struct files_tree *tree)
{
    struct ext *ext = (struct ext *)tree;
    forget_map(ext);
    if (ext->fs != NULL)
        ext2fs_free(ext->fs);
    ext_io_free(ext->io);
    free(ext);
}

static int read_journal_block(void *arg, void *buffer, uint64_t journal_block)
{
    struct ext *ext = arg;
    const struct run *run = find_run(ext, journal_block);
    if (run == NULL || run->logical > journal_block)
        return -EBADMSG;
    uint64_t block = run->physical + (journal_block - run->logical);
    ext_io_grant(ext->io);
    return ext_io_read(ext->io, buffer, ext->fs->blocksize, block * ext->fs->blocksize);
}

/* Places in the journal become places on the disk. */
static int place_journal(struct ext *ext, struct ext_journal_table *table)
{
    uint64_t blocks = ext2fs_blocks_count(ext->fs->super);
    for (size_t i = 0; i < table->count; i++) {
        struct ext_journal_block *block = &table->blocks[i];
        const struct run *run = find_run(ext, block->journal_block);
        if (run == NULL || run->logical > block->journal_block || block->block >= blocks)
            return -EBADMSG;
        block->journal_block = run->physical + (block->journal_block - run->logical);
    }
    return 0;
}

/* A filesystem that was not frozen has its newest changes in its journal. */
static int replay_journal(struct ext *ext, struct blx_error *err)
{
    struct ext_journal_table table = {0};
    union inode inode;
    struct files_node node = {.number = ext->fs->super->s_journal_inum};
    if (node.number == 0)
        return blx_error_set(err, -EOPNOTSUPP, "its journal lies on another device");
    int rc = read_inode(ext, node, &inode, err);
    if (rc == 0)
        rc = make_map(ext, node, &inode.small, err);
    const struct ext_journal_source source = {.read = read_journal_block,
                                              .arg = ext,
                                              .block_bytes = ext->fs->blocksize,
                                              .block_count =
                                                  ext->mapped_bytes / ext->fs->blocksize};
    if (rc == 0)
        rc = ext_journal_read(&source, &table, err);
    if (rc == 0)
        rc = place_journal(ext, &table);
    if (rc == 0)
        ext_io_lay(ext->io, &table, ext->fs->blocksize);
    ext_journal_table_done(&table);
    return rc;
}

static void note_caveats(struct ext *ext)
{
    if ((ext->fs->super->s_state & EXT2_ERROR_FS) != 0)
        ext->tree.caveat = "the server had found errors in this filesystem";
}

/* Nothing that was read before counts after the replay. */
static void open_again(struct ext *ext)
{
    struct blx_error ignored = {0};
    int rc = replay_journal(ext, &ignored);
    forget_map(ext);
    if (rc < 0) {
        ext->tree.caveat = "the filesystem was in use at the checkpoint, and its journal cannot be "
                           "replayed here: what changed in the seconds before may be older, or "
                           "damaged";
        return;
    }
    ext2fs_free(ext->fs);
    ext_io_grant(ext->io);
    if (ext_io_open(ext->io, OPEN_FLAGS, &ext->fs) != 0)
        ext->fs = NULL;
}

int files_ext_open(struct files_source *source, uint32_t disk, uint64_t size_bytes,
                   struct files_tree **tree, struct blx_error *err)
{
    static const struct files_tree_kind kind = {look, list,        read_link, list_attributes,
                                                map,  read_mapped, close_ext, locate};
    struct ext *ext = calloc(1, sizeof(*ext));
    struct ext_io *io = ext != NULL ? ext_io_new(source, disk, size_bytes) : NULL;
    if (io == NULL) {
        free(ext);
        return blx_error_errno(err, -ENOMEM, "cannot open the filesystem");
    }
    *ext = (struct ext){.tree = {.kind = &kind, .root = EXT2_ROOT_INO}, .io = io};
    initialize_ext2_error_table();
    errcode_t code = ext_io_open(ext->io, OPEN_FLAGS, &ext->fs);
    if (code != 0) {
        ext->fs = NULL;
        int rc = fail(ext, code, "cannot open the filesystem", err);
        close_ext(&ext->tree);
        return rc;
    }
    note_caveats(ext);
    if (ext2fs_has_feature_journal_needs_recovery(ext->fs->super))
        open_again(ext);
    if (ext->fs == NULL) {
        close_ext(&ext->tree);
        return corrupt("its journal", err);
    }
    *tree = &ext->tree;
    return 0;
}
