/* SPDX-License-Identifier: Apache-2.0 */
/* Any disk: the walk over it ends, and what it tells keeps the rules that its receiver checks. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "files/ext.h"
#include "files/places.h"
#include "files/probe.h"
#include "files/records.h"
#include "files/walk.h"
#include "fuzz.h"

enum { PROBE_FD = 200 };

struct image {
    struct files_source source;
    const uint8_t *data;
    size_t size;
};

static int list_disks(struct files_source *source, struct files_disk **disks, size_t *count,
                      struct blx_error *err)
{
    const struct image *image = (struct image *)source;
    (void)err;
    *disks = calloc(1, sizeof(**disks));
    FUZZ_ASSERT(*disks != NULL);
    strcpy((*disks)->device, "/dev/vda");
    (*disks)->size_bytes = image->size;
    (*disks)->is_wanted = true;
    *count = 1;
    return 0;
}

static int read_disk(struct files_source *source, uint32_t disk, void *buffer, size_t bytes,
                     uint64_t offset_bytes, struct blx_error *err)
{
    const struct image *image = (struct image *)source;
    (void)err;
    FUZZ_ASSERT(disk == 0 && offset_bytes <= image->size && bytes <= image->size - offset_bytes);
    memcpy(buffer, image->data + offset_bytes, bytes);
    return 0;
}

/* Whatever libblkid thinks of it. */
static int open_disk(struct files_source *source, uint32_t disk, uint64_t size_bytes,
                     const char *filesystem, struct files_tree **tree, struct blx_error *err)
{
    (void)filesystem;
    return files_ext_open(source, disk, size_bytes, tree, err);
}

/* True if it ends with END. */
static bool check_stream(int fd)
{
    struct files_receiver *receiver = files_receiver_new(fd);
    struct files_record record = {0};
    struct blx_error err = {0};
    FUZZ_ASSERT(receiver != NULL && lseek(fd, 0, SEEK_SET) == 0);
    int rc = 0;
    while (rc == 0 && record.kind != FILES_RECORD_END)
        rc = files_receive(receiver, &record, &err);
    FUZZ_ASSERT(rc == 0 || rc == -ENODATA);
    files_receiver_free(receiver);
    return rc == 0;
}

static void walk(struct files_places *places, enum files_task task, char *path)
{
    struct files_sender sender;
    struct blx_error err = {0};
    int fd = memfd_create("records", MFD_CLOEXEC);
    FUZZ_ASSERT(fd >= 0 && files_sender_init(&sender, fd) == 0);
    int rc = files_walk(places, task, &path, 1, &sender, &err);
    if (rc < 0)
        fuzz_assert_refusal(rc, &err);
    FUZZ_ASSERT(check_stream(fd) == (rc == 0));
    files_sender_done(&sender);
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct files_source_kind kind = {list_disks, read_disk, open_disk};
    static struct files_probe *probe;
    static char all[] = "/", pattern[] = "/*/?*", deep[] = "/folder/../folder/link/x";
    uint8_t *copy = fuzz_copy(data, size);
    struct image image = {.source.kind = &kind, .data = copy, .size = size};
    struct files_places *places = NULL;
    struct blx_error err = {0};
    FUZZ_ASSERT(probe != NULL || files_probe_new(PROBE_FD, &probe, &err) == 0);
    int rc = files_places_open(&image.source, probe, "/dev/vda", &places, &err);
    if (rc < 0)
        fuzz_assert_refusal(rc, &err);
    if (rc == 0) {
        walk(places, FILES_COPY_PATHS, all);
        walk(places, FILES_LIST, pattern);
        walk(places, FILES_COPY, deep);
    }
    files_places_close(places);
    free(copy);
    return 0;
}
