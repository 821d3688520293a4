/* SPDX-License-Identifier: Apache-2.0 */
/* What blxrep-static knows without a library: what mkfs and sfdisk make of an image is called as
 * libblkid calls it. */
#include "cli/holds.h"

#include <blkid.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { IMAGE_BYTES = 320 << 20 };

static char folder[64], image[80];

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "%s/blxrep-holds-XXXXXX",
             getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp");
    assert_non_null(mkdtemp(folder));
    snprintf(image, sizeof(image), "%s/image", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    unlink(image);
    rmdir(folder);
    return 0;
}

/* A new image that a command fills; it knows the path as $image. */
static int make(const char *command)
{
    char line[512];
    unlink(image);
    int fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0 && ftruncate(fd, IMAGE_BYTES) == 0);
    snprintf(line, sizeof(line), "image='%s' PATH=$PATH:/sbin:/usr/sbin; { %s; } >/dev/null 2>&1",
             image, command);
    if (system(line) != 0) /* NOLINT(cert-env33-c) */
        fail_msg("failed: %s", line);
    return fd;
}

/* By libblkid, as holds.c asks it. */
static void ask_library(int fd, char text[CLI_HOLDS_BYTES])
{
    const char *type = NULL, *label = NULL, *table = NULL;
    blkid_probe probe = blkid_new_probe();
    assert_int_equal(blkid_probe_set_device(probe, fd, 0, 0), 0);
    blkid_probe_enable_superblocks(probe, 1);
    blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL);
    blkid_probe_enable_partitions(probe, 1);
    assert_int_equal(blkid_do_safeprobe(probe), 0);
    blkid_probe_lookup_value(probe, "TYPE", &type, NULL);
    blkid_probe_lookup_value(probe, "LABEL", &label, NULL);
    blkid_probe_lookup_value(probe, "PTTYPE", &table, NULL);
    if (type != NULL)
        snprintf(text, CLI_HOLDS_BYTES, "%s%s%s%s", type, label != NULL ? " '" : "",
                 label != NULL ? label : "", label != NULL ? "'" : "");
    else
        snprintf(text, CLI_HOLDS_BYTES, "a %s partition table", table);
    blkid_free_probe(probe);
}

static void the_same_names_as_libblkid_has(void **state)
{
    static const struct {
        const char *command, *holds;
    } images[] = {
        {"mkfs.ext4 -q -F -L data $image", "ext4 'data'"},
        {"mke2fs -q -F -t ext2 $image", "ext2"},
        {"mke2fs -q -F -t ext3 -L old $image", "ext3 'old'"},
        {"mkfs.xfs -q -f -L archive $image", "xfs 'archive'"},
        {"mkfs.btrfs -q -f -L pool $image", "btrfs 'pool'"},
        {"mkswap -L page $image", "swap 'page'"},
        {"echo 'size=10M' | sfdisk -q --label=gpt $image", "a gpt partition table"},
        {"echo 'size=10M' | sfdisk -q --label=dos $image", "a dos partition table"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(images) / sizeof(images[0]); i++) {
        char known[CLI_HOLDS_BYTES], asked[CLI_HOLDS_BYTES];
        int fd = make(images[i].command);
        cli_holds_describe(fd, known);
        ask_library(fd, asked);
        close(fd);
        assert_string_equal(known, images[i].holds);
        assert_string_equal(known, asked);
    }
}

/* From the formats' own documents: programs that make them need devices. */
static void signatures_that_no_file_can_get_here_are_known(void **state)
{
    static const struct {
        size_t at;
        const char *bytes, *holds;
    } cases[] = {
        {512 + 24, "LVM2 001", "LVM2_member"},
        {0, "LUKS\xba\xbe", "crypto_LUKS"},
        {4096, "\xfc\x4e\x2b\xa9", "linux_raid_member"},
        {3, "NTFS    ", "ntfs"},
        {82, "FAT32   ", "vfat"},
        {0x8001, "CD001", "iso9660"},
        {100, "nothing", ""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char known[CLI_HOLDS_BYTES];
        int fd = make("true");
        size_t length = strlen(cases[i].bytes);
        assert_int_equal(pwrite(fd, cases[i].bytes, length, (off_t)cases[i].at), length);
        cli_holds_describe(fd, known);
        close(fd);
        assert_string_equal(known, cases[i].holds);
    }
}

/* A label of the disk cannot command the terminal, and a short disk is no error. */
static void a_hostile_disk_is_shown_harmless(void **state)
{
    char known[CLI_HOLDS_BYTES];
    (void)state;
    int fd = make("true");
    assert_int_equal(pwrite(fd, "XFSB", 4, 0), 4);
    assert_int_equal(pwrite(fd, "\033[2J'\nabcdef", 12, 108), 12);
    cli_holds_describe(fd, known);
    assert_string_equal(known, "xfs '?[2J'?abcdef'");
    assert_int_equal(ftruncate(fd, 700), 0);
    cli_holds_describe(fd, known);
    assert_string_equal(known, "xfs '?[2J'?abcdef'");
    assert_int_equal(ftruncate(fd, 0), 0);
    cli_holds_describe(fd, known);
    assert_string_equal(known, "");
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_same_names_as_libblkid_has, setup, teardown),
        cmocka_unit_test_setup_teardown(signatures_that_no_file_can_get_here_are_known, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_hostile_disk_is_shown_harmless, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
