/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/track/ledger.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bitmap.h"
#include "base/cleanup.h"
#include "base/io.h"

static const uint64_t ledger_magic = UINT64_C(0x72656764656c7862); /* "bxledger" */

enum {
    VERSION = 5, /* before, the magic's last character was the version: "bxledgr4" */
    HEAD_BYTES = 4096,
};
_Static_assert(sizeof(struct agent_ledger_head) <= HEAD_BYTES,
               "the bitmaps begin after the head's page");

static int map_file(int fd, uint64_t blocks, struct agent_ledger *ledger)
{
    uint64_t bitmap_bytes = blx_bitmap_words(blocks) * sizeof(uint64_t);
    uint64_t bytes = HEAD_BYTES + 2 * bitmap_bytes;
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    uint8_t *at = map;
    *ledger = (struct agent_ledger){
        .head = map,
        .pending = (uint64_t *)(void *)(at + HEAD_BYTES),
        .in_flight = (uint64_t *)(void *)(at + HEAD_BYTES + bitmap_bytes),
        .map = map,
        .map_bytes = bytes,
    };
    return 0;
}

static bool has_size(int fd, uint64_t blocks)
{
    struct stat st;
    return fstat(fd, &st) == 0 &&
           (uint64_t)st.st_size == HEAD_BYTES + 2 * blx_bitmap_words(blocks) * sizeof(uint64_t);
}

static int open_existing(const char *path, const struct blx_generation *generation, uint64_t blocks,
                         struct agent_ledger *ledger, struct blx_error *err)
{
    BLX_CLEANUP_FD int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 && errno != ENOENT)
        return blx_error_errno(err, -errno, "cannot open the ledger '%s'", path);
    if (fd < 0 || !has_size(fd, blocks))
        return -ESTALE;
    int rc = map_file(fd, blocks, ledger);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot map the ledger '%s'", path);
    const struct agent_ledger_head *head = ledger->head;
    if (head->magic == ledger_magic && head->version == VERSION && head->blocks == blocks &&
        blx_generation_equal(&head->generation, generation))
        return 0;
    agent_ledger_close(ledger);
    return -ESTALE;
}

/* Under a temporary name first: a ledger that was half made when the agent died must not count as
 * one. */
static int make_fresh(const char *path, const struct blx_generation *generation, uint64_t blocks,
                      struct agent_ledger *ledger, struct blx_error *err)
{
    char temporary[PATH_MAX];
    int rc = blx_path_format(temporary, sizeof(temporary), err, "%s.tmp", path);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_FD int fd = blx_open(temporary, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600, err);
    if (fd < 0)
        return fd;
    uint64_t bytes = HEAD_BYTES + 2 * blx_bitmap_words(blocks) * sizeof(uint64_t);
    /* Allocated now, so that a full tmpfs is an error here and no SIGBUS later. */
    rc = -posix_fallocate(fd, 0, (off_t)bytes);
    if (rc == 0)
        rc = map_file(fd, blocks, ledger);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot make the ledger '%s' of %llu bytes", path,
                               (unsigned long long)bytes);
    ledger->head->generation = *generation;
    ledger->head->stream = *generation;
    ledger->head->blocks = blocks;
    ledger->head->version = VERSION;
    ledger->head->magic = ledger_magic;
    if (rename(temporary, path) == 0)
        return 0;
    rc = blx_error_errno(err, -errno, "cannot rename '%s' to '%s'", temporary, path);
    agent_ledger_close(ledger);
    return rc;
}

int agent_ledger_open(const char *run_dir, const char *name,
                      const struct blx_generation *generation, uint64_t blocks,
                      enum agent_ledger_kind kind, struct agent_ledger *ledger,
                      struct blx_error *err)
{
    char path[PATH_MAX];
    int rc = blx_path_format(path, sizeof(path), err, "%s/%s.ledger", run_dir, name);
    if (rc < 0)
        return rc;
    return kind == AGENT_LEDGER_FRESH ? make_fresh(path, generation, blocks, ledger, err)
                                      : open_existing(path, generation, blocks, ledger, err);
}

void agent_ledger_close(struct agent_ledger *ledger)
{
    if (ledger->map != NULL)
        munmap(ledger->map, ledger->map_bytes);
    *ledger = (struct agent_ledger){0};
}
