/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent remembers and says of the disks that it cannot protect. */
#include "agent/refusals.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char gone[] = "cannot find device '/dev/vdb': No such file or directory";

static void each_disk_is_there_once_with_its_last_cause(void **state)
{
    (void)state;
    struct agent_refusals refusals = {0};
    agent_refusals_add(&refusals, "/dev/vdb", 1 << 20, "is gone");
    agent_refusals_add(&refusals, "/dev/vdc", 0, "is gone");
    agent_refusals_find(&refusals, "/dev/vdb")->was_protected = true;
    agent_refusals_add(&refusals, "/dev/vdb", 0, gone);
    assert_int_equal(refusals.count, 2);
    const struct agent_refusal *refusal = agent_refusals_find(&refusals, "/dev/vdb");
    assert_string_equal(refusal->cause, gone);
    assert_true(refusal->was_protected);
    assert_int_equal(refusal->size_bytes, 1 << 20);
    agent_refusals_remove(&refusals, "/dev/vdb");
    agent_refusals_remove(&refusals, "/dev/vdb");
    assert_null(agent_refusals_find(&refusals, "/dev/vdb"));
    assert_non_null(agent_refusals_find(&refusals, "/dev/vdc"));
}

static void each_cause_is_told_once(void **state)
{
    (void)state;
    struct agent_refusals refusals = {0};
    agent_refusals_add(&refusals, "/dev/vdb", 0, gone);
    agent_refusals_log(&refusals);
    agent_refusals_add(&refusals, "/dev/vdb", 0, gone);
    assert_true(agent_refusals_find(&refusals, "/dev/vdb")->is_logged);
    agent_refusals_add(&refusals, "/dev/vdb", 0, "device '/dev/vdb' has size zero");
    assert_false(agent_refusals_find(&refusals, "/dev/vdb")->is_logged);
}

static void what_cannot_be_read_is_their_size_or_at_least_a_block(void **state)
{
    (void)state;
    struct agent_refusals refusals = {0};
    assert_int_equal(agent_refusals_count_bytes(&refusals), 0);
    agent_refusals_add(&refusals, "/dev/vdb", 1 << 20, gone);
    agent_refusals_add(&refusals, "/dev/vdc", 0, gone);
    assert_int_equal(agent_refusals_count_bytes(&refusals), (1 << 20) + 4096);
}

static void texts_are_appended_and_cut(void **state)
{
    (void)state;
    struct agent_refusals refusals = {0};
    char text[BLX_TEXT_BYTES] = "first sync", name[64];
    agent_refusals_explain(&refusals, text);
    agent_refusals_note(&refusals, text);
    assert_string_equal(text, "first sync");
    agent_refusals_add(&refusals, "/dev/vdb", 0, gone);
    agent_refusals_explain(&refusals, text);
    assert_string_equal(text, "first sync; 1 disk is not protected: cannot find device "
                              "'/dev/vdb': No such file or directory");
    text[0] = '\0';
    agent_refusals_note(&refusals, text);
    assert_string_equal(text, "without '/dev/vdb', which cannot be protected now");
    for (int i = 0; i < BLX_MAX_VOLUMES + 1; i++) {
        snprintf(name, sizeof(name), "/dev/disk/by-id/%d", i);
        agent_refusals_add(&refusals, name, 0, gone);
    }
    assert_int_equal(refusals.count, BLX_MAX_VOLUMES);
    agent_refusals_note(&refusals, text);
    assert_int_equal(strlen(text), BLX_TEXT_BYTES - 1);
    text[0] = '\0';
    agent_refusals_explain(&refusals, text);
    assert_non_null(strstr(text, "64 disks are not protected: cannot find"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_disk_is_there_once_with_its_last_cause),
        cmocka_unit_test(each_cause_is_told_once),
        cmocka_unit_test(what_cannot_be_read_is_their_size_or_at_least_a_block),
        cmocka_unit_test(texts_are_appended_and_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
