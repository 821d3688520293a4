/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk/disks.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "disk.h"

enum { MIB = 1 << 20, FIRST = 341, COUNT = 3 };

static struct disk disks[COUNT]; /* /dev/loop341 to 343 */

static int setup(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT; i++)
        disk_loop(&disks[i], MIB, FIRST + i);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < COUNT; i++)
        disk_done(&disks[i]);
    return 0;
}

/* Looks for one device with one exclude (may be NULL) and a policy's (may be NULL). */
static struct agent_disks find(const char *device, const char *exclude, const char *by_policy)
{
    char *devices[] = {(char *)device}, *excludes[] = {(char *)exclude};
    const struct blx_config config = {.devices = devices,
                                      .device_count = 1,
                                      .excludes = excludes,
                                      .exclude_count = exclude != NULL};
    struct blx_policy_message policy = {0};
    struct agent_disks found;
    struct blx_error err = {0};
    if (by_policy != NULL)
        policy.exclude_bytes =
            (uint32_t)snprintf(policy.exclude, sizeof(policy.exclude), "%s", by_policy) + 1;
    if (agent_disks_find(&config, &policy, &found, &err) < 0)
        fail_msg("%s", err.message);
    return found;
}

static bool has(const struct agent_disks *found, const char *path)
{
    for (size_t i = 0; i < found->count; i++) {
        if (strcmp(found->list[i].path, path) == 0)
            return true;
    }
    return false;
}

static void pattern_stands_for_the_disks_that_it_matches(void **state)
{
    (void)state;
    struct agent_disks found = find("/dev/loop34[12]", NULL, NULL);
    assert_int_equal(found.count, 2);
    assert_string_equal(found.list[0].path, "/dev/loop341");
    assert_string_equal(found.list[1].path, "/dev/loop342");
    assert_int_equal(found.list[0].size_bytes, MIB);
    assert_false(found.list[0].named);
    assert_int_equal(find("/dev/no-such-*", NULL, NULL).count, 0);
    /* What is no disk, or has nothing in it, is none. */
    found = find("/dev/loop-cont*", NULL, NULL);
    assert_int_equal(found.count, 0);
}

static void disk_that_cannot_be_written_to_is_left_out(void **state)
{
    (void)state;
    disk_shell("blockdev --setro /dev/loop342");
    assert_int_equal(find("/dev/loop34[12]", NULL, NULL).count, 1);
    disk_shell("blockdev --setrw /dev/loop342");
    assert_int_equal(find("/dev/loop34[12]", NULL, NULL).count, 2);
}

static void excludes_go_by_name_and_by_path_and_by_link(void **state)
{
    (void)state;
    disk_shell("ln -sf /dev/loop342 /dev/blxrep-test-342");
    static const char *const excludes[] = {"loop342",
                                           "loop*2",
                                           "/dev/loop342",
                                           "/dev/*2",
                                           "/dev/blxrep-test-342",
                                           "/dev/blxrep-test-3*"};
    for (size_t i = 0; i < sizeof(excludes) / sizeof(excludes[0]); i++) {
        for (int by_policy = 0; by_policy < 2; by_policy++) {
            struct agent_disks found = find("/dev/loop34[1-3]", by_policy ? NULL : excludes[i],
                                            by_policy ? excludes[i] : NULL);
            if (found.count != 2 || has(&found, "/dev/loop342"))
                fail_msg("%s", excludes[i]);
        }
    }
    /* As udev names them, and whatever the pattern leads through is not followed. */
    disk_shell("mkdir -p /dev/blxrep-test/by-id && ln -sf ../../loop342 /dev/blxrep-test/by-id/x");
    assert_int_equal(find("/dev/loop34[1-3]", NULL, "/dev/blxrep-test/*/x").count, 2);
    assert_int_equal(find("/dev/loop34[1-3]", NULL, "/dev/../dev/loop342").count, 3);
    assert_int_equal(find("/dev/loop34[1-3]", NULL, "/dev/../*/loop342").count, 3);
    disk_shell("rm -r /dev/blxrep-test-342 /dev/blxrep-test");
    /* A name is a whole one. */
    assert_int_equal(find("/dev/loop34[1-3]", "loop34", NULL).count, 3);
}

/* A glob would read the whole machine for it: hundreds of thousands of names for each disk. */
static void pattern_of_the_dispatcher_costs_a_look_at_dev_only(void **state)
{
    (void)state;
    struct timespec begun, ended;
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &begun), 0);
    assert_int_equal(find("/dev/loop341", NULL, "/dev/../*/../*/../*/../*/../*/no-such").count, 1);
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ended), 0);
    assert_true(ended.tv_sec - begun.tv_sec < 2);
}

static void named_device_is_wanted_also_when_it_is_not_there(void **state)
{
    (void)state;
    struct agent_disks found = find("/dev/no-such-disk", NULL, NULL);
    assert_int_equal(found.count, 1);
    assert_true(found.list[0].named);
    assert_int_equal(find("/dev/loop341", "loop341", NULL).count, 0);
    disk_shell("ln -sf /dev/loop341 /mnt/other");
    assert_int_equal(find("/mnt/other", NULL, "loop341").count, 0);
}

static void all_is_no_loop_device_nor_memory(void **state)
{
    (void)state;
    struct disk zram;
    disk_zram(&zram, MIB);
    struct agent_disks found = find("all", NULL, NULL);
    disk_done(&zram);
    assert_false(has(&found, "/dev/loop341"));
    for (size_t i = 0; i < found.count; i++) {
        assert_null(strstr(found.list[i].path, "ram"));
        assert_true(found.list[i].size_bytes > 0);
        char path[96];
        snprintf(path, sizeof(path), "test -e /sys/block/%s && test ! -e /sys/block/%s/slaves/?*",
                 found.list[i].path + 5, found.list[i].path + 5);
        disk_shell("%s", path);
    }
    size_t count = found.count;
    assert_int_equal(find("all", "*", NULL).count, 0);
    assert_int_equal(find("all", "loop*", NULL).count, count);
}

static void another_medium_in_a_disk_is_a_difference(void **state)
{
    (void)state;
    struct agent_disks before = find("/dev/loop34[1-3]", NULL, NULL), after;
    after = find("/dev/loop34[1-3]", NULL, NULL);
    assert_true(agent_disks_equal(&before, &after));
    disk_loop_swap(&disks[1], MIB);
    after = find("/dev/loop34[1-3]", NULL, NULL);
    assert_int_equal(after.count, 3);
    assert_false(agent_disks_equal(&before, &after));
    after = find("/dev/loop34[1-2]", NULL, NULL);
    assert_false(agent_disks_equal(&before, &after));
}

static void named_device_that_goes_or_comes_is_a_difference(void **state)
{
    (void)state;
    disk_shell("ln -sf /dev/loop341 /mnt/named");
    struct agent_disks before = find("/mnt/named", NULL, NULL), after;
    after = find("/mnt/named", NULL, NULL);
    assert_true(agent_disks_equal(&before, &after));
    disk_loop_swap(&disks[0], MIB);
    after = find("/mnt/named", NULL, NULL);
    assert_false(agent_disks_equal(&before, &after));
    disk_shell("rm /mnt/named");
    before = find("/mnt/named", NULL, NULL);
    assert_int_equal(before.count, 1);
    assert_false(agent_disks_equal(&before, &after));
    after = find("/mnt/named", NULL, NULL);
    assert_true(agent_disks_equal(&before, &after));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    disk_world_enter();
    const struct CMUnitTest tests[] = {
        TEST(pattern_stands_for_the_disks_that_it_matches),
        TEST(disk_that_cannot_be_written_to_is_left_out),
        TEST(excludes_go_by_name_and_by_path_and_by_link),
        TEST(pattern_of_the_dispatcher_costs_a_look_at_dev_only),
        TEST(named_device_is_wanted_also_when_it_is_not_there),
        TEST(all_is_no_loop_device_nor_memory),
        TEST(another_medium_in_a_disk_is_a_difference),
        TEST(named_device_that_goes_or_comes_is_a_difference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
