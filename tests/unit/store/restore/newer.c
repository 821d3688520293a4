/* SPDX-License-Identifier: Apache-2.0 */
/* A file of a newer version is refused by name, and not called damaged. */
#include "history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "store/layout_private.h"
#include "store/checkpoint/beside_private.h"
#include "store/checkpoint/tested.h"
#include "store/receive/volume_file_private.h"

/* Writes the version after `newest` into the file's first `bytes` (0: all of it), and the checksum
 * that fits. */
static void make_newer(const char *path, uint8_t newest, size_t bytes, size_t checksum_offset)
{
    struct blx_error err = {0};
    BLX_CLEANUP_FREE void *content = NULL;
    size_t total;
    test_ok(blx_file_read(path, 1 << 20, &content, &total, &err), &err);
    if (bytes == 0)
        bytes = total;
    uint8_t *at = content;
    assert_in_range(at[4], BLX_LAYOUT_VERSION, newest);
    at[4] = newest + 1;
    blx_le64 checksum = blx_le64_of(blx_layout_checksum(at, bytes, checksum_offset));
    memcpy(at + checksum_offset, &checksum, sizeof(checksum));
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, at, total, 0), (ssize_t)total);
    close(fd);
}

static void expect_newer(int rc, const struct blx_error *err)
{
    assert_int_equal(rc, -ENOTSUP);
    assert_non_null(strstr(err->message, "use a newer blxrep"));
}

static void every_file_says_that_it_is_newer(void **state)
{
    (void)state;
    char dir[PATH_MAX], path[PATH_MAX + 16];
    struct history history;
    struct blx_manifest manifest;
    struct blx_segment_reader *reader;
    struct blx_volume_file file;
    history_init(&history, 61);
    history_commit(&history);
    blx_agent_writer_close(history.writer);
    history.writer = NULL;

    struct blx_error err = {0};
    test_ok(blx_manifest_path(blx_store_agent(&history.test.store, "web1"), history.timestamps[0],
                              path, &err),
            &err);
    make_newer(path, BLX_MANIFEST_VERSION, 0, offsetof(struct blx_manifest_disk, checksum));
    expect_newer(blx_manifest_read(blx_store_agent(&history.test.store, "web1"),
                                   history.timestamps[0], &manifest, &err),
                 &err);

    err = (struct blx_error){0};
    test_ok(
        blx_agent_store_volume_path(blx_store_agent(&history.test.store, "web1"), "sda", dir, &err),
        &err);
    test_ok(blx_segment_path(dir, 1, path, &err), &err);
    make_newer(path, BLX_SEGMENT_VERSION, sizeof(struct blx_segment_header_disk),
               offsetof(struct blx_segment_header_disk, checksum));
    expect_newer(blx_segment_reader_open(dir, 1, &reader, &err), &err);

    err = (struct blx_error){0};
    struct blx_tested tested = {.checkpoint = history.timestamps[0],
                                .level = BLX_TEST_LEVEL_FILESYSTEM};
    const struct blx_agent_store web1 = blx_store_agent(&history.test.store, "web1");
    test_ok(blx_tested_write(web1, &tested, &err), &err);
    test_ok(blx_beside_path(web1, tested.checkpoint, ".tested", path, &err), &err);
    make_newer(path, BLX_LAYOUT_VERSION, 0, offsetof(struct blx_tested_disk, checksum));
    expect_newer(blx_tested_read(web1, tested.checkpoint, &tested, &err), &err);

    err = (struct blx_error){0};
    snprintf(path, sizeof(path), "%s/volume", dir);
    make_newer(path, BLX_LAYOUT_VERSION, 0, offsetof(struct blx_volume_file_disk, checksum));
    expect_newer(blx_volume_file_read(dir, &file, &err), &err);
    history_done(&history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_says_that_it_is_newer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
