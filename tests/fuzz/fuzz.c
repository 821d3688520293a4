/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/io.h"
#include "base/sys.h"

_Noreturn void fuzz_fail(const char *file, int line, const char *condition)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
    abort();
}

void fuzz_assert_refusal(int rc, const struct blx_error *err)
{
    FUZZ_ASSERT(rc < 0);
    FUZZ_ASSERT(err->code == rc);
    FUZZ_ASSERT(err->message[0] != '\0');
    for (const char *at = err->message; *at != '\0'; at++)
        FUZZ_ASSERT((unsigned char)*at >= 0x20 && *at != 0x7f);
}

uint8_t *fuzz_copy(const uint8_t *data, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    FUZZ_ASSERT(copy != NULL);
    if (size > 0)
        memcpy(copy, data, size);
    return copy;
}

char *fuzz_text(const uint8_t *data, size_t size)
{
    char *text = strndup((const char *)data, size);
    FUZZ_ASSERT(text != NULL);
    return text;
}

static char folder[PATH_MAX / 2];
static pid_t folder_owner;

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

void fuzz_remove(const char *path)
{
    if (unlink(path) == 0 || errno == ENOENT)
        return;
    FUZZ_ASSERT(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

/* libFuzzer's worker processes are forks, and none of them may take the folder along. */
static void remove_folder(void)
{
    if (getpid() == folder_owner)
        fuzz_remove(folder);
}

static int sync_nothing(int fd)
{
    (void)fd;
    return 0;
}

const char *fuzz_folder(void)
{
    static struct blx_sys sys;
    if (folder[0] != '\0')
        return folder;
    const char *parent = getenv("TMPDIR");
    if (parent == NULL)
        parent = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(folder, sizeof(folder), "%s/blxrep-fuzz-XXXXXX", parent);
    FUZZ_ASSERT(mkdtemp(folder) != NULL);
    folder_owner = getpid();
    atexit(remove_folder);
    sys = blx_sys_real;
    sys.fsync = sync_nothing;
    sys.fdatasync = sync_nothing;
    blx_sys = &sys;
    return folder;
}

void fuzz_path(char path[PATH_MAX], const char *name)
{
    FUZZ_ASSERT(blx_path_format(path, PATH_MAX, NULL, "%s/%s", fuzz_folder(), name) == 0);
}

void fuzz_write_file(const char *path, const uint8_t *data, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    FUZZ_ASSERT(fd >= 0);
    FUZZ_ASSERT(blx_pwrite_full(fd, data, size, 0) == 0);
    close(fd);
}

bool fuzz_file_is(const char *path, const uint8_t *data, size_t size)
{
    void *content = NULL;
    size_t bytes = 0;
    FUZZ_ASSERT(blx_file_read(path, SIZE_MAX, &content, &bytes, NULL) == 0);
    bool same = bytes == size && (size == 0 || memcmp(content, data, size) == 0);
    free(content);
    return same;
}

int fuzz_next_fd(void)
{
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    FUZZ_ASSERT(fd >= 0);
    close(fd);
    return fd;
}
