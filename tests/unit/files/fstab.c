/* SPDX-License-Identifier: Apache-2.0 */
/* The server's fstab: what names a disk, and what does not. */
#include "files/fstab.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct files_fstab fstab;

static void parse(const char *text)
{
    files_fstab_done(&fstab);
    assert_int_equal(files_fstab_parse(text, strlen(text), &fstab), 0);
}

static void check(size_t at, const char *path, enum files_fstab_by by, const char *what)
{
    assert_true(at < fstab.count);
    assert_string_equal(fstab.entries[at].path, path);
    assert_int_equal(fstab.entries[at].by, by);
    assert_string_equal(fstab.entries[at].what, what);
}

static void disks_are_named_in_many_ways(void **state)
{
    (void)state;
    parse("# a comment\n"
          "\n"
          "UUID=abcd / ext4 errors=remount-ro 0 1\n"
          "LABEL=\"my\\040data\" /srv/ xfs defaults 0 2\n"
          "LABEL='x' //srv//deep ext4\n"
          "PARTUUID=12-01\t/boot\text4\tro 0 2\n"
          "/dev/disk/by-uuid/ef01 /usr ext4 ro\n"
          "/dev/vdb1 /home\\040of\\040all ext4 ro 0 0\n");
    assert_int_equal(fstab.count, 6);
    check(0, "/", FILES_FSTAB_BY_UUID, "abcd");
    assert_string_equal(fstab.entries[0].text, "UUID=abcd");
    check(1, "/srv", FILES_FSTAB_BY_LABEL, "my data");
    check(2, "/srv/deep", FILES_FSTAB_BY_LABEL, "x");
    check(3, "/boot", FILES_FSTAB_BY_PARTUUID, "12-01");
    check(4, "/usr", FILES_FSTAB_BY_UUID, "ef01");
    check(5, "/home of all", FILES_FSTAB_BY_DEVICE, "/dev/vdb1");
}

static void what_is_no_disk_is_passed_over(void **state)
{
    (void)state;
    parse("proc /proc proc defaults 0 0\n"
          "tmpfs /tmp tmpfs defaults 0 0\n"
          "server:/export /mnt nfs defaults 0 0\n"
          "/srv/a /srv/b none bind 0 0\n"
          "/dev/vda3 none swap sw 0 0\n"
          "/dev/vda4 relative ext4 defaults 0 0\n"
          "UUID=\n"
          "nonsense");
    assert_int_equal(fstab.count, 0);
    parse("");
    assert_int_equal(fstab.count, 0);
}

static void any_bytes_end(void **state)
{
    char text[3000];
    (void)state;
    srand(1);
    for (int turn = 0; turn < 500; turn++) {
        for (size_t i = 0; i < sizeof(text); i++)
            text[i] = "/dev UUID=\n\t\\0#\"'x"[rand() % 18];
        files_fstab_done(&fstab);
        assert_int_equal(files_fstab_parse(text, sizeof(text), &fstab), 0);
        for (size_t i = 0; i < fstab.count; i++)
            assert_int_equal(fstab.entries[i].path[0], '/');
    }
    char *many = malloc(2000 * 40);
    size_t used = 0;
    assert_non_null(many);
    for (int i = 0; i < 2000; i++)
        used += (size_t)snprintf(many + used, 40, "/dev/vda%d /x%d ext4\n", i, i);
    parse(many);
    assert_true(fstab.count <= 1024);
    free(many);
    files_fstab_done(&fstab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disks_are_named_in_many_ways),
        cmocka_unit_test(what_is_no_disk_is_passed_over),
        cmocka_unit_test(any_bytes_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
