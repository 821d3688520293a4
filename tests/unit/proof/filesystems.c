/* SPDX-License-Identifier: Apache-2.0 */
/* What a disk's first bytes say: only what is known is checked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proof/filesystems.h"

static uint8_t head[PROOF_HEAD_BYTES];

static void expect(size_t bytes, enum proof_kind kind, const char *name)
{
    struct proof_filesystem found;
    uint8_t *copy = malloc(bytes + 1); /* so that a read beyond it is seen */
    assert_non_null(copy);
    uint8_t *exact = realloc(copy, bytes > 0 ? bytes : 1);
    assert_non_null(exact);
    memcpy(exact, head, bytes);
    proof_filesystem_tell(exact, bytes, &found);
    assert_int_equal(found.kind, kind);
    assert_string_equal(found.name, name);
    free(exact);
}

static int setup(void **state)
{
    (void)state;
    memset(head, 0, sizeof(head));
    return 0;
}

static void ext_is_told_by_its_features(void **state)
{
    (void)state;
    struct proof_filesystem found;
    memcpy(head + 1024 + 0x38, "\x53\xef", 2);
    expect(sizeof(head), PROOF_KIND_EXT, "ext2");
    head[1024 + 0x5c] = 4;
    expect(sizeof(head), PROOF_KIND_EXT, "ext3");
    head[1024 + 0x60] = 0x44;
    expect(2048, PROOF_KIND_EXT, "ext4");
    proof_filesystem_tell(head, sizeof(head), &found);
    assert_int_equal(found.needs_recovery, 1);
}

static void others_are_named(void **state)
{
    (void)state;
    expect(sizeof(head), PROOF_KIND_NONE, "");
    memcpy(head, "XFSB", 4);
    expect(sizeof(head), PROOF_KIND_XFS, "xfs");
    memcpy(head, "LUKS\xba\xbe", 6);
    expect(sizeof(head), PROOF_KIND_OTHER, "LUKS");
    memset(head, 0, 6);
    memcpy(head + 512, "LABELONE", 8);
    expect(sizeof(head), PROOF_KIND_OTHER, "LVM");
}

static void btrfs_of_several_disks_is_not_checked(void **state)
{
    (void)state;
    memcpy(head + 65536 + 64, "_BHRfS_M", 8);
    head[65536 + 0x88] = 1;
    expect(sizeof(head), PROOF_KIND_BTRFS, "btrfs");
    head[65536 + 0x88] = 2;
    expect(sizeof(head), PROOF_KIND_OTHER, "btrfs of several disks");
}

static void small_disks_hold_nothing(void **state)
{
    (void)state;
    memset(head, 0xff, sizeof(head));
    for (size_t bytes = 0; bytes < 5000; bytes += 7)
        expect(bytes, PROOF_KIND_NONE, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(ext_is_told_by_its_features, setup),
        cmocka_unit_test_setup(others_are_named, setup),
        cmocka_unit_test_setup(btrfs_of_several_disks_is_not_checked, setup),
        cmocka_unit_test_setup(small_disks_hold_nothing, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
