/* SPDX-License-Identifier: Apache-2.0 */
/* Where copies go: nothing leaves the folder, even if what the receiver refuses came so far. */
#include "files/archive.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char folder[PATH_MAX]; /* DIR/out; DIR/victim is a folder beside */
    char victim[PATH_MAX];
    struct files_archive *archive;
};

static int setup(void **state)
{
    static struct fixture fixture;
    char dir[] = "/tmp/blxrep-archive-XXXXXX";
    assert_non_null(mkdtemp(dir));
    snprintf(fixture.folder, sizeof(fixture.folder), "%s/out", dir);
    snprintf(fixture.victim, sizeof(fixture.victim), "%s/victim", dir);
    assert_int_equal(mkdir(fixture.folder, 0755), 0);
    assert_int_equal(mkdir(fixture.victim, 0755), 0);
    fixture.archive = NULL;
    *state = &fixture;
    return 0;
}

static size_t count_names(const char *path)
{
    DIR *dir = opendir(path);
    size_t count = 0;
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count - 2;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[3 * PATH_MAX + 64];
    files_archive_free(f->archive);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(count_names(f->victim), 0);
    snprintf(command, sizeof(command), "rm -rf '%s' '%s' && rmdir \"$(dirname '%s')\"", f->folder,
             f->victim, f->folder);
    return system(command);
}

static void begin(struct fixture *f, enum files_existing existing)
{
    struct blx_error err = {0};
    assert_int_equal(files_archive_to_folder(f->folder, existing, &f->archive, &err), 0);
}

static struct files_entry entry(uint32_t mode, const char *path, const char *target)
{
    return (struct files_entry){.stat = {.mode = mode, .links = 1},
                                .link = S_ISLNK(mode) ? FILES_LINK_SYMBOLIC : FILES_LINK_NONE,
                                .path = path,
                                .target = target};
}

static int add(struct fixture *f, struct files_entry added)
{
    struct blx_error err = {0};
    return files_archive_add(f->archive, &added, &err);
}

static void hostile_paths_lead_nowhere(void **state)
{
    struct fixture *f = *state;
    char through[PATH_MAX + 32];
    begin(f, FILES_EXISTING_REPLACE);
    snprintf(through, sizeof(through), "%s/absolute", f->victim);
    assert_int_not_equal(add(f, entry(S_IFREG | 0644, through, "")), 0);
    assert_int_not_equal(add(f, entry(S_IFREG | 0644, "../../victim/up", "")), 0);
    assert_int_not_equal(add(f, entry(S_IFREG | 0644, "a/../../../victim/up", "")), 0);
    assert_int_equal(add(f, entry(S_IFLNK | 0777, "link", f->victim)), 0);
    assert_int_not_equal(add(f, entry(S_IFREG | 0644, "link/file", "")), 0);
    assert_int_not_equal(add(f, entry(S_IFREG | 0644, "link/deep/file", "")), 0);
    struct files_entry hard = entry(S_IFREG | 0644, "hard", "../../victim");
    hard.link = FILES_LINK_HARD;
    assert_int_not_equal(add(f, hard), 0);
    assert_int_equal(count_names(f->victim), 0);
}

static void nothing_is_there_before_all_is(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    struct stat there;
    char path[PATH_MAX + 32];
    struct files_entry file = entry(S_IFREG | 0640, "file", "");
    const struct files_segment segment = {1 << 20, 5};
    file.stat.size_bytes = 2 << 20;
    file.segments = &segment;
    file.segment_count = 1;
    begin(f, FILES_EXISTING_REFUSE);
    assert_int_equal(files_archive_expect(f->archive, "file", &err), 0);
    assert_int_equal(add(f, file), 0);
    assert_int_equal(files_archive_write(f->archive, 1 << 20, "hello", 5, &err), 0);
    snprintf(path, sizeof(path), "%s/file", f->folder);
    assert_int_equal(lstat(path, &there), -1);
    assert_int_equal(files_archive_finish(f->archive, &err), 0);
    assert_int_equal(lstat(path, &there), 0);
    assert_int_equal(there.st_size, 2 << 20);
    assert_true(there.st_blocks * 512 < 1 << 20);
    files_archive_free(f->archive);
    assert_int_equal(count_names(f->folder), 1);
    begin(f, FILES_EXISTING_REFUSE);
    assert_int_equal(files_archive_expect(f->archive, "file", &err), -EEXIST);
    files_archive_free(f->archive);
    f->archive = NULL;
    assert_int_equal(count_names(f->folder), 1);
}

static void one_that_came_meanwhile_is_kept(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    char path[PATH_MAX + 32];
    begin(f, FILES_EXISTING_REFUSE);
    assert_int_equal(files_archive_expect(f->archive, "file", &err), 0);
    assert_int_equal(add(f, entry(S_IFREG | 0644, "file", "")), 0);
    snprintf(path, sizeof(path), "%s/file", f->folder);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "mine", 4), 4);
    close(fd);
    assert_int_equal(files_archive_finish(f->archive, &err), -EEXIST);
    struct stat there;
    assert_int_equal(stat(path, &there), 0);
    assert_int_equal(there.st_size, 4);
    files_archive_free(f->archive);
    f->archive = NULL;
    assert_int_equal(count_names(f->folder), 1);
}

/* A hole of a petabyte costs neither time nor room. */
static void a_huge_hole_fits_an_archive(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    char path[PATH_MAX + 32];
    struct files_entry file = entry(S_IFREG | 0644, "file", "");
    const struct files_segment segment = {UINT64_C(1) << 44, 4};
    file.stat.size_bytes = (UINT64_C(1) << 44) + (1 << 20);
    file.segments = &segment;
    file.segment_count = 1;
    snprintf(path, sizeof(path), "%s/tar", f->folder);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(files_archive_to_tar(fd, &f->archive, &err), 0);
    assert_int_equal(add(f, file), 0);
    assert_int_equal(files_archive_write(f->archive, segment.offset_bytes, "data", 4, &err), 0);
    assert_int_equal(files_archive_finish(f->archive, &err), 0);
    struct stat there;
    assert_int_equal(fstat(fd, &there), 0);
    assert_true(there.st_size > 1000 && there.st_size < 20000);
    close(fd);
}

static void an_archive_that_cannot_be_written_fails(void **state)
{
    struct fixture *f = *state;
    struct blx_error err = {0};
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_int_equal(files_archive_to_tar(fd, &f->archive, &err), 0);
    add(f, entry(S_IFREG | 0644, "file", ""));
    assert_int_equal(files_archive_finish(f->archive, &err), -ENOSPC);
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(hostile_paths_lead_nowhere),
        TEST(nothing_is_there_before_all_is),
        TEST(one_that_came_meanwhile_is_kept),
        TEST(a_huge_hole_fits_an_archive),
        TEST(an_archive_that_cannot_be_written_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
