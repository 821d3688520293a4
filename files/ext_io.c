/* SPDX-License-Identifier: Apache-2.0 */
#include "files/ext_io_private.h"

#include <errno.h>
#include <ext2fs/ext2_err.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
    CHUNK_SHIFT = 16,
    CHUNK_BYTES = 1 << CHUNK_SHIFT,
    CHUNKS = 64,
    LEAST_GRANT = 4096,
    GRANT_SHIFT = 12
};

struct ext_io {
    struct files_source *source;
    uint32_t disk;
    uint64_t size_bytes;
    uint64_t granted; /* calls that are left */
    struct blx_error failure;
    struct ext_journal_table journal;
    uint32_t journal_block_bytes;
    uint64_t chunk_numbers[CHUNKS]; /* UINT64_MAX: none */
    uint8_t chunks[CHUNKS][CHUNK_BYTES];
};

static struct struct_io_manager manager;
/* The manager's open function gets nothing but a name. */
static struct ext_io *opening;

struct ext_io *ext_io_new(struct files_source *source, uint32_t disk, uint64_t size_bytes)
{
    struct ext_io *io = malloc(sizeof(*io));
    if (io == NULL)
        return NULL;
    io->source = source;
    io->disk = disk;
    io->size_bytes = size_bytes;
    io->journal = (struct ext_journal_table){0};
    blx_error_clear(&io->failure);
    memset(io->chunk_numbers, 0xff, sizeof(io->chunk_numbers));
    ext_io_grant(io);
    return io;
}

void ext_io_free(struct ext_io *io)
{
    if (io != NULL)
        ext_journal_table_done(&io->journal);
    free(io);
}

void ext_io_lay(struct ext_io *io, struct ext_journal_table *table, uint32_t block_bytes)
{
    io->journal = *table;
    io->journal_block_bytes = block_bytes;
    *table = (struct ext_journal_table){0};
}

void ext_io_grant(struct ext_io *io)
{
    io->granted = LEAST_GRANT + (io->size_bytes >> GRANT_SHIFT);
    blx_error_clear(&io->failure);
}

static int read_directly(struct ext_io *io, void *buffer, size_t bytes, uint64_t offset_bytes)
{
    blx_error_clear(&io->failure);
    return io->source->kind->read(io->source, io->disk, buffer, bytes, offset_bytes, &io->failure);
}

/* The chunk; NULL: it cannot be read. */
static const uint8_t *find_chunk(struct ext_io *io, uint64_t number)
{
    size_t slot = number % CHUNKS;
    uint64_t offset = number << CHUNK_SHIFT;
    uint64_t left = io->size_bytes - offset;
    size_t bytes = left < CHUNK_BYTES ? (size_t)left : CHUNK_BYTES;
    if (io->chunk_numbers[slot] == number)
        return io->chunks[slot];
    io->chunk_numbers[slot] = UINT64_MAX;
    if (read_directly(io, io->chunks[slot], bytes, offset) < 0)
        return NULL;
    io->chunk_numbers[slot] = number;
    return io->chunks[slot];
}

/* A chunk may be unreadable for damage that lies beside what is asked for. */
static int read_place(struct ext_io *io, void *buffer, size_t bytes, uint64_t offset_bytes)
{
    uint64_t number = offset_bytes >> CHUNK_SHIFT, within = offset_bytes & (CHUNK_BYTES - 1);
    if (offset_bytes > io->size_bytes || bytes > io->size_bytes - offset_bytes)
        return blx_error_set(&io->failure, -EBADMSG, "the filesystem reaches beyond its device");
    const uint8_t *chunk = bytes <= CHUNK_BYTES - within ? find_chunk(io, number) : NULL;
    if (chunk == NULL)
        return read_directly(io, buffer, bytes, offset_bytes);
    memcpy(buffer, chunk + within, bytes);
    return 0;
}

/* Within one block of the filesystem. */
static int read_journaled(struct ext_io *io, void *buffer, size_t bytes, uint64_t offset_bytes)
{
    static const uint8_t magic[] = {0xc0, 0x3b, 0x39, 0x98};
    uint64_t block = offset_bytes / io->journal_block_bytes;
    uint64_t within = offset_bytes % io->journal_block_bytes;
    const struct ext_journal_block *found = ext_journal_find(&io->journal, block);
    if (found == NULL)
        return read_place(io, buffer, bytes, offset_bytes);
    int rc = read_place(io, buffer, bytes, found->journal_block * io->journal_block_bytes + within);
    for (size_t i = 0; rc == 0 && found->escaped != 0 && i < sizeof(magic); i++)
        if (i >= within && i - within < bytes)
            ((uint8_t *)buffer)[i - within] = magic[i];
    return rc;
}

int ext_io_read(struct ext_io *io, void *buffer, size_t bytes, uint64_t offset_bytes)
{
    if (io->journal.count == 0)
        return read_place(io, buffer, bytes, offset_bytes);
    int rc = 0;
    while (rc == 0 && bytes > 0) {
        uint64_t left = io->journal_block_bytes - offset_bytes % io->journal_block_bytes;
        size_t piece = left < bytes ? (size_t)left : bytes;
        rc = read_journaled(io, buffer, piece, offset_bytes);
        buffer = (uint8_t *)buffer + piece;
        offset_bytes += piece;
        bytes -= piece;
    }
    return rc;
}

static errcode_t read_blocks(io_channel channel, unsigned long long block, int count, void *data)
{
    struct ext_io *io = channel->private_data;
    uint64_t block_bytes = (uint64_t)channel->block_size;
    uint64_t bytes = count < 0 ? (uint64_t) - (int64_t)count : (uint64_t)count * block_bytes;
    if (io->granted == 0) {
        blx_error_set(&io->failure, -EBADMSG, "its structure has no end");
        return EXT2_ET_CORRUPT_SUPERBLOCK;
    }
    io->granted--;
    if (block > UINT64_MAX / block_bytes ||
        ext_io_read(io, data, bytes, (uint64_t)block * block_bytes) < 0)
        return EXT2_ET_SHORT_READ;
    return 0;
}

static errcode_t read_blocks_32(io_channel channel, unsigned long block, int count, void *data)
{
    return read_blocks(channel, block, count, data);
}

static errcode_t open_channel(const char *name, int flags, io_channel *channel)
{
    io_channel made = calloc(1, sizeof(*made));
    char *copy = strdup(name);
    (void)flags;
    if (made == NULL || copy == NULL) {
        free(made);
        free(copy);
        return EXT2_ET_NO_MEMORY;
    }
    made->magic = EXT2_ET_MAGIC_IO_CHANNEL;
    made->manager = &manager;
    made->name = copy;
    made->block_size = 1024;
    made->refcount = 1;
    made->private_data = opening;
    *channel = made;
    return 0;
}

static errcode_t close_channel(io_channel channel)
{
    if (--channel->refcount > 0)
        return 0;
    free(channel->name);
    free(channel);
    return 0;
}

static errcode_t set_block_size(io_channel channel, int bytes)
{
    if (bytes <= 0)
        return EXT2_ET_INVALID_ARGUMENT;
    channel->block_size = bytes;
    return 0;
}

static errcode_t refuse_write(io_channel channel, unsigned long long block, int count,
                              const void *data)
{
    (void)channel, (void)block, (void)count, (void)data;
    return EXT2_ET_RO_FILSYS;
}

static errcode_t refuse_write_32(io_channel channel, unsigned long block, int count,
                                 const void *data)
{
    return refuse_write(channel, block, count, data);
}

static errcode_t flush(io_channel channel)
{
    (void)channel;
    return 0;
}

static struct struct_io_manager manager = {
    .magic = EXT2_ET_MAGIC_IO_MANAGER,
    .name = "blxrep",
    .open = open_channel,
    .close = close_channel,
    .set_blksize = set_block_size,
    .read_blk = read_blocks_32,
    .write_blk = refuse_write_32,
    .flush = flush,
    .read_blk64 = read_blocks,
    .write_blk64 = refuse_write,
};

errcode_t ext_io_open(struct ext_io *io, int flags, ext2_filsys *fs)
{
    opening = io;
    errcode_t code = ext2fs_open2("checkpoint", NULL, flags, 0, 0, &manager, fs);
    opening = NULL;
    return code;
}

/* libext2fs names errors by this file's table; errno's numbers may come, too. */
int ext_io_explain(struct ext_io *io, errcode_t code, const char *action, struct blx_error *err)
{
    if (io->failure.code != 0)
        return blx_error_set(err, io->failure.code, "%s: %s", action, io->failure.message);
    if (code == EXT2_ET_NO_MEMORY || code == ENOMEM)
        return blx_error_errno(err, -ENOMEM, "%s", action);
    return blx_error_set(err, -EBADMSG, "%s: %s", action, error_message(code));
}
