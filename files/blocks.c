/* SPDX-License-Identifier: Apache-2.0 */
#include "files/blocks.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "files/ext.h"
#include "files/mounting.h"

/* Both ends are one program, so fields are as the machine has them. */
enum ask { FILES_ASK_LIST, FILES_ASK_READ, FILES_ASK_WRITE, FILES_ASK_COUNT };

/* So much is counted by one request. */
enum { COUNT_MAX_BYTES = 1 << 30 };

struct request {
    uint32_t kind; /* of enum ask */
    uint32_t disk, bytes;
    uint32_t reserved;
    uint64_t offset_bytes;
};

struct answer {
    int32_t status;
    uint32_t bytes;
};

/* -ENODATA if the other side closed it before the first byte; -EPIPE in the middle. */
static int take(int fd, void *buffer, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t got = read(fd, (uint8_t *)buffer + done, bytes - done);
        if (got == 0)
            return done == 0 ? -ENODATA : -EPIPE;
        if (got < 0 && errno != EINTR)
            return -errno;
        done += got > 0 ? (size_t)got : 0;
    }
    return 0;
}

static int give(int fd, const void *data, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t wrote = write(fd, (const uint8_t *)data + done, bytes - done);
        if (wrote < 0 && errno != EINTR)
            return -errno;
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    return 0;
}

struct blocks {
    struct files_source source;
    int fd;
};

static int cannot_ask(int rc, struct blx_error *err)
{
    return blx_error_errno(err, rc == -ENODATA ? -EPIPE : rc,
                           "cannot ask for the checkpoint's blocks");
}

/* Sends the request, and takes the answer's head. A failure's text goes to `err`. */
static int ask(const struct blocks *blocks, struct request request, const void *data,
               struct answer *answer, struct blx_error *err)
{
    char text[FILES_TEXT_BYTES];
    int rc = give(blocks->fd, &request, sizeof(request));
    if (rc == 0 && request.kind == FILES_ASK_WRITE)
        rc = give(blocks->fd, data, request.bytes);
    if (rc == 0)
        rc = take(blocks->fd, answer, sizeof(*answer));
    if (rc < 0)
        return cannot_ask(rc, err);
    if (answer->status == 0)
        return 0;
    size_t bytes = answer->bytes < sizeof(text) ? answer->bytes : sizeof(text) - 1;
    rc = take(blocks->fd, text, bytes);
    if (rc < 0)
        return cannot_ask(rc, err);
    text[bytes] = '\0';
    return blx_error_set(err, answer->status, "%s", text);
}

static int list_disks(struct files_source *source, struct files_disk **disks, size_t *count,
                      struct blx_error *err)
{
    const struct blocks *blocks = (struct blocks *)source;
    struct answer answer;
    int rc = ask(blocks, (struct request){.kind = FILES_ASK_LIST}, NULL, &answer, err);
    if (rc < 0)
        return rc;
    struct files_disk *listed = malloc(answer.bytes + 1);
    rc = listed == NULL ? -ENOMEM : take(blocks->fd, listed, answer.bytes);
    if (rc < 0) {
        free(listed);
        return cannot_ask(rc, err);
    }
    *disks = listed;
    *count = answer.bytes / sizeof(**disks);
    return 0;
}

static int read_disk(struct files_source *source, uint32_t disk, void *buffer, size_t bytes,
                     uint64_t offset_bytes, struct blx_error *err)
{
    const struct blocks *blocks = (struct blocks *)source;
    while (bytes > 0) {
        struct answer answer;
        struct request request = {.kind = FILES_ASK_READ,
                                  .disk = disk,
                                  .bytes = bytes < FILES_ASK_MAX_BYTES ? (uint32_t)bytes
                                                                       : FILES_ASK_MAX_BYTES,
                                  .offset_bytes = offset_bytes};
        int rc = ask(blocks, request, NULL, &answer, err);
        if (rc == 0 && answer.bytes != request.bytes)
            rc = -EPIPE;
        if (rc == 0)
            rc = take(blocks->fd, buffer, request.bytes);
        if (rc < 0)
            return cannot_ask(rc, err);
        buffer = (uint8_t *)buffer + request.bytes;
        bytes -= request.bytes;
        offset_bytes += request.bytes;
    }
    return 0;
}

int files_blocks_write(struct files_source *source, uint32_t disk, const void *data, size_t bytes,
                       uint64_t offset_bytes, struct blx_error *err)
{
    const struct blocks *blocks = (struct blocks *)source;
    int rc = 0;
    while (rc == 0 && bytes > 0) {
        struct answer answer;
        const struct request request = {.kind = FILES_ASK_WRITE,
                                        .disk = disk,
                                        .bytes = bytes < FILES_ASK_MAX_BYTES ? (uint32_t)bytes
                                                                             : FILES_ASK_MAX_BYTES,
                                        .offset_bytes = offset_bytes};
        rc = ask(blocks, request, data, &answer, err);
        data = (const uint8_t *)data + request.bytes;
        bytes -= request.bytes;
        offset_bytes += request.bytes;
    }
    return rc;
}

static int count_piece(const struct blocks *blocks, struct request request, uint64_t *written_bytes,
                       struct blx_error *err)
{
    struct answer answer;
    uint64_t count = 0;
    int rc = ask(blocks, request, NULL, &answer, err);
    if (rc == 0 && answer.bytes != sizeof(count))
        rc = cannot_ask(-EPIPE, err);
    if (rc == 0) {
        rc = take(blocks->fd, &count, sizeof(count));
        rc = rc < 0 ? cannot_ask(rc, err) : 0;
    }
    *written_bytes += count;
    return rc;
}

int files_blocks_count(struct files_source *source, uint32_t disk, uint64_t bytes,
                       uint64_t offset_bytes, uint64_t *written_bytes, struct blx_error *err)
{
    const struct blocks *blocks = (struct blocks *)source;
    uint64_t total = 0;
    int rc = 0;
    while (rc == 0 && bytes > 0) {
        uint64_t piece = bytes < COUNT_MAX_BYTES ? bytes : COUNT_MAX_BYTES;
        rc = count_piece(blocks,
                         (struct request){.kind = FILES_ASK_COUNT,
                                          .disk = disk,
                                          .bytes = (uint32_t)piece,
                                          .offset_bytes = offset_bytes},
                         &total, err);
        bytes -= piece;
        offset_bytes += piece;
    }
    if (rc == 0)
        *written_bytes = total;
    return rc;
}

static int open_disk(struct files_source *source, uint32_t disk, uint64_t size_bytes,
                     const char *filesystem, struct files_tree **tree, struct blx_error *err)
{
    if (strncmp(filesystem, "ext", 3) == 0)
        return files_ext_open(source, disk, size_bytes, tree, err);
    if (strcmp(filesystem, "LVM2_member") != 0 && strcmp(filesystem, "linux_raid_member") != 0) {
        int rc = files_mount_check(filesystem, err);
        if (rc < 0)
            return rc;
    }
    return blx_error_set(err, FILES_ONLY_A_KERNEL, "it holds %s, which only a kernel reads",
                         filesystem);
}

struct files_source *files_blocks_new(int fd)
{
    static const struct files_source_kind kind = {list_disks, read_disk, open_disk};
    struct blocks *blocks = malloc(sizeof(*blocks));
    if (blocks == NULL)
        return NULL;
    *blocks = (struct blocks){.source.kind = &kind, .fd = fd};
    return &blocks->source;
}

static int answer_text(int fd, int status, const struct blx_error *cause)
{
    size_t length = strlen(cause->message);
    struct answer answer = {
        .status = status,
        .bytes = (uint32_t)(length < FILES_TEXT_BYTES ? length : FILES_TEXT_BYTES - 1)};
    int rc = give(fd, &answer, sizeof(answer));
    return rc == 0 ? give(fd, cause->message, answer.bytes) : rc;
}

static int answer_data(int fd, const void *data, size_t bytes)
{
    struct answer answer = {.bytes = (uint32_t)bytes};
    int rc = give(fd, &answer, sizeof(answer));
    return rc == 0 ? give(fd, data, bytes) : rc;
}

static int write_one(const struct files_answers *answers, const struct request *request,
                     const void *data, struct blx_error *err)
{
    if (answers->write == NULL)
        return blx_error_set(err, -EROFS, "the checkpoint is only read");
    return answers->write(answers->arg, request->disk, data, request->bytes, request->offset_bytes,
                          err);
}

static int answer_count(int fd, const struct files_answers *answers, const struct request *request)
{
    struct blx_error cause = {0};
    uint64_t count = 0;
    int rc = answers->count == NULL
                 ? blx_error_set(&cause, -EOPNOTSUPP, "no checkpoints are compared")
                 : answers->count(answers->arg, request->disk, request->bytes,
                                  request->offset_bytes, &count, &cause);
    return rc < 0 ? answer_text(fd, rc, &cause) : answer_data(fd, &count, sizeof(count));
}

static int answer_one(int fd, const struct files_answers *answers, const struct request *request,
                      void *buffer)
{
    struct blx_error cause = {0};
    if (request->kind == FILES_ASK_LIST)
        return answer_data(fd, answers->disks, answers->disk_count * sizeof(answers->disks[0]));
    if (request->kind > FILES_ASK_COUNT || request->disk >= answers->disk_count)
        return -EBADMSG;
    if (request->kind == FILES_ASK_COUNT)
        return answer_count(fd, answers, request);
    if (request->bytes > FILES_ASK_MAX_BYTES)
        return -EBADMSG;
    bool writes = request->kind == FILES_ASK_WRITE;
    int rc = writes ? take(fd, buffer, request->bytes) : 0;
    if (rc < 0)
        return rc;
    uint64_t size_bytes = answers->disks[request->disk].size_bytes;
    if (request->offset_bytes > size_bytes || request->bytes > size_bytes - request->offset_bytes)
        rc = blx_error_set(&cause, -ENXIO, "the filesystem reaches beyond its device");
    else if (writes)
        rc = write_one(answers, request, buffer, &cause);
    else
        rc = answers->read(answers->arg, request->disk, buffer, request->bytes,
                           request->offset_bytes, &cause);
    return rc < 0 ? answer_text(fd, rc, &cause)
                  : answer_data(fd, buffer, writes ? 0 : request->bytes);
}

int files_answer(int fd, const struct files_answers *answers, struct blx_error *err)
{
    BLX_CLEANUP_FREE void *buffer = malloc(FILES_ASK_MAX_BYTES);
    int rc = buffer == NULL ? -ENOMEM : 0;
    while (rc == 0) {
        struct request request;
        rc = take(fd, &request, sizeof(request));
        if (rc == 0)
            rc = answer_one(fd, answers, &request, buffer);
    }
    if (rc == -ENODATA || rc == -EPIPE || rc == -ECONNRESET)
        return 0; /* it has all that it wants, or is gone */
    return blx_error_errno(err, rc, "cannot answer the reader of the filesystem");
}
