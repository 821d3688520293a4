/* SPDX-License-Identifier: Apache-2.0 */
#include "config/policy.h"

#include <errno.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"

static char folder[64];
static struct blx_policies policies;
static struct blx_error err;
static const struct blx_policy_verdict own = {.sync_freq_ms = 60000, .retention = {{5}}};

static int setup(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/blxrep-policy-XXXXXX");
    assert_non_null(mkdtemp(folder));
    blx_error_clear(&err);
    return 0;
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int teardown(void **state)
{
    (void)state;
    blx_policies_done(&policies);
    return nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static void write_policy(const char *name, const char *text)
{
    char path[PATH_MAX];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(blx_file_replace(path, text, strlen(text), 0600, NULL), 0);
}

static void read_all(void)
{
    blx_policies_done(&policies);
    if (blx_policies_read(folder, &policies, &err) < 0)
        fail_msg("%s", err.message);
}

static struct blx_policy_verdict judge(const char *agent_id)
{
    struct blx_policy_verdict verdict;
    blx_policies_judge(&policies, &own, agent_id, &verdict);
    return verdict;
}

static void patterns_match_whole_ids(void **state)
{
    (void)state;
    write_policy("a.yaml", "agents: [\"web*\", \"db[1-3]\", \"x?\"]\nsync-freq: \"10s\"\n");
    read_all();
    static const struct {
        const char *id;
        bool matches;
    } cases[] = {{"web", true},  {"web10", true}, {"web.x", true}, {"aweb", false}, {"db1", true},
                 {"db4", false}, {"db10", false}, {"x1", true},    {"x", false},    {"x12", false}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t expected = cases[i].matches ? 10000 : 60000;
        if (judge(cases[i].id).sync_freq_ms != expected)
            fail_msg("%s", cases[i].id);
    }
}

static void last_file_wins_for_each_key_by_itself(void **state)
{
    (void)state;
    /* Not written in the order of their names. */
    write_policy("20.yaml", "agents: \"web1\"\nsync-freq: 2\nexclude: [ ]\n");
    write_policy("10.yaml",
                 "agents: \"*\"\nsync-freq: 1\nretention: { keep-daily: 7, keep-last: 1 }"
                 "\nexclude: [\"sdb\", \"/dev/loop*\"]\nbandwidth-limit: \"10M\"\n");
    write_policy("30.yaml", "agents: [\"web2\", \"web*\"]\nretention: { keep-yearly: 3 }\n");
    write_policy("9.txt", "not read");
    write_policy(".40.yaml", "not read either");
    read_all();
    assert_int_equal(policies.count, 3);
    struct blx_policy_verdict web1 = judge("web1"), db1 = judge("db1");
    assert_int_equal(web1.sync_freq_ms, 120000);
    assert_int_equal(web1.exclude_bytes, 0);
    assert_string_equal(web1.bandwidth_limit, "10M");
    assert_int_equal(web1.retention.keep[BLX_KEEP_YEARLY], 3);
    assert_int_equal(web1.retention.keep[BLX_KEEP_DAILY], 0); /* the group is one value */
    assert_int_equal(db1.sync_freq_ms, 60000);
    assert_int_equal(db1.retention.keep[BLX_KEEP_DAILY], 7);
    assert_int_equal(db1.exclude_bytes, 4 + 11);
    assert_memory_equal(db1.exclude, "sdb\0/dev/loop*", 15);
    const char *pattern = NULL;
    const struct blx_policy *by =
        blx_policies_find(&policies, BLX_POLICY_RETENTION, "web1", &pattern);
    assert_non_null(strstr(by->path, "/30.yaml"));
    assert_string_equal(pattern, "web*");
    assert_null(blx_policies_find(&policies, BLX_POLICY_EXCLUDE, "", NULL)->settings.devices);
}

static void what_no_policy_says_is_the_dispatchers_own(void **state)
{
    (void)state;
    write_policy("a.yaml", "agents: \"web*\"\nretention: { }\n");
    read_all();
    assert_int_equal(judge("db1").retention.keep[0], 5);
    assert_true(blx_retention_is_none(&(struct blx_retention){{0}}));
    struct blx_retention web = judge("web1").retention;
    assert_true(blx_retention_is_none(&web)); /* everything is kept */
    assert_int_equal(judge("web1").sync_freq_ms, 60000);
    assert_string_equal(judge("web1").bandwidth_limit, "");
}

static void a_wrong_file_is_named_with_line_key_and_hint(void **state)
{
    (void)state;
    static const struct {
        const char *text, *place, *hint;
    } cases[] = {
        {"agents: \"a\"\nsync-frek: 3\n", "line 2, key 'sync-frek'", "a policy has agents"},
        {"agents: \"a\"\ndata-dir: \"/x\"\n", "line 2, key 'data-dir'", "a policy has agents"},
        {"sync-freq: 3\n", "line 2, key 'agents'", "agents: [\"web*\""},
        {"agents: []\nsync-freq: 3\n", "key 'agents'", "which agents"},
        {"agents: 3\nsync-freq: 3\n", "line 1, key 'agents'", "this is a number, but"},
        {"agents: [\"a\", \"\"]\nsync-freq: 3\n", "line 1, key 'agents'", "empty"},
        {"agents: \"a\"\n", "sets nothing", "remove the file"},
        {"agents: \"a\"\nsync-freq: \"0s\"\n", "line 2, key 'sync-freq'", "out of range"},
        {"agents: \"a\"\nretention: { keep-lst: 1 }\n", "line 2, key 'retention.keep-lst'",
         "keep-last"},
        {"agents: \"a\"\nbandwidth-limit: \"fast\"\n", "line 2, key 'bandwidth-limit'", ""},
        {"agents: \"a\"\nbandwidth-limit: [\"1M\"]\n", "line 2, key 'bandwidth-limit'", "a list"},
        {"agents: \"a\"\nexclude: [\"x\", \"x\"]\n", "line 2, key 'exclude'", "twice"},
        {"agents: \"a\"\nexclude: \"x\\ty\"\n", "line 2, key 'exclude'", "printable"},
        {"agents:\n  - \"a\"\n", "line 1", "flow style"},
        {"agents: web1\n", "line 1, key 'agents'", "agents: \"web1\""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct blx_policies found = {.count = 77};
        blx_error_clear(&err);
        write_policy("a.yaml", cases[i].text);
        assert_int_equal(blx_policies_read(folder, &found, &err), -EINVAL);
        assert_int_equal(found.count, 77);
        if (strstr(err.message, "/a.yaml'") == NULL ||
            strstr(err.message, cases[i].place) == NULL ||
            strstr(err.message, cases[i].hint) == NULL)
            fail_msg("%s: %s", cases[i].text, err.message);
    }
}

static void excludes_fit_into_what_an_agent_can_be_sent(void **state)
{
    (void)state;
    char text[4096] = "agents: \"a\"\nexclude: [";
    size_t used = strlen(text);
    for (unsigned i = 0; i < 32; i++)
        used +=
            (size_t)snprintf(text + used, sizeof(text) - used, "%s\"%031u\"", i > 0 ? "," : "", i);
    strcpy(text + used, "]\n");
    write_policy("a.yaml", text);
    read_all();
    assert_int_equal(judge("a").exclude_bytes, BLX_POLICY_TEXT_BYTES);
    strcpy(text + used, ",\"x\"]\n");
    write_policy("a.yaml", text);
    struct blx_policies found = {0};
    assert_int_equal(blx_policies_read(folder, &found, &err), -EINVAL);
    assert_non_null(strstr(err.message, "1026 characters"));
}

static void a_folder_that_is_named_must_be_there(void **state)
{
    (void)state;
    struct blx_policies found = {0};
    char path[80];
    snprintf(path, sizeof(path), "%s/none", folder);
    assert_int_equal(blx_policies_read(path, &found, &err), -ENOENT);
    assert_non_null(strstr(err.message, path));
    assert_non_null(strstr(err.message, "--policy-dir"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void quota_is_one_value_of_sizes_and_counts(void **state)
{
    (void)state;
    write_policy("10.yaml", "agents: \"*\"\nquota: { bytes: \"2G\", segments: 9 }\n");
    write_policy("20.yaml", "agents: \"web*\"\nquota: { bytes-a-day: \"1M\", volumes: 2, "
                            "checkpoints: 3 }\n");
    read_all();
    struct blx_policy_verdict web1 = judge("web1"), db1 = judge("db1");
    assert_int_equal(db1.quota.of[BLX_QUOTA_BYTES], UINT64_C(2) << 30);
    assert_int_equal(db1.quota.of[BLX_QUOTA_SEGMENTS], 9);
    assert_int_equal(web1.quota.of[BLX_QUOTA_BYTES], 0);
    assert_int_equal(web1.quota.of[BLX_QUOTA_BYTES_A_DAY], 1 << 20);
    assert_int_equal(web1.quota.of[BLX_QUOTA_VOLUMES], 2);
    assert_int_equal(web1.quota.of[BLX_QUOTA_CHECKPOINTS], 3);
    write_policy("30.yaml", "agents: \"web*\"\nquota: { inodes: 3 }\n");
    blx_policies_done(&policies);
    assert_int_equal(blx_policies_read(folder, &policies, &err), -EINVAL);
    assert_non_null(strstr(err.message, "'quota' has bytes, bytes-a-day, volumes"));
    blx_error_clear(&err);
    write_policy("30.yaml", "agents: \"web*\"\nquota: { bytes: \"many\" }\n");
    assert_int_equal(blx_policies_read(folder, &policies, &err), -EINVAL);
    assert_non_null(strstr(err.message, "quota.bytes"));
}

static void the_signal_has_a_sensitivity_or_is_off(void **state)
{
    (void)state;
    write_policy("10.yaml", "agents: \"*\"\nsuspicious: { sensitivity: \"high\" }\n");
    write_policy("20.yaml", "agents: \"db1\"\nsuspicious: { off: true, sensitivity: \"low\" }\n");
    write_policy("30.yaml", "agents: \"db2\"\nsuspicious: { off: false }\n");
    read_all();
    assert_int_equal(judge("web1").suspicious, BLX_SENSITIVITY_HIGH);
    assert_int_equal(judge("db1").suspicious, BLX_SENSITIVITY_OFF);
    assert_int_equal(judge("db2").suspicious, BLX_SENSITIVITY_DEFAULT);
    static const char *const wrong[][2] = {
        {"\"high\"", "a group"},
        {"{ sensitivity: \"higher\" }", "key 'suspicious.sensitivity'"},
        {"{ sensitivity: 3 }", "a text"},
        {"{ off: 1 }", "true or false"},
        {"{ on: true }", "'suspicious' has sensitivity and off"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char text[128];
        snprintf(text, sizeof(text), "agents: \"*\"\nsuspicious: %s\n", wrong[i][0]);
        write_policy("40.yaml", text);
        blx_policies_done(&policies);
        assert_int_equal(blx_policies_read(folder, &policies, &err), -EINVAL);
        assert_non_null(strstr(err.message, wrong[i][1]));
        blx_error_clear(&err);
    }
}

static void encryption_is_demanded_or_not(void **state)
{
    (void)state;
    write_policy("10.yaml", "agents: \"*\"\nencryption: \"required\"\n");
    write_policy("20.yaml", "agents: \"db1\"\nencryption: \"optional\"\n");
    read_all();
    assert_int_equal(judge("web1").encryption, BLX_POLICY_ENCRYPTION_REQUIRED);
    assert_int_equal(judge("db1").encryption, BLX_POLICY_ENCRYPTION_OPTIONAL);
    static const char *const wrong[] = {"\"require\"", "true"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char text[128];
        snprintf(text, sizeof(text), "agents: \"*\"\nencryption: %s\n", wrong[i]);
        write_policy("30.yaml", text);
        blx_policies_done(&policies);
        assert_int_equal(blx_policies_read(folder, &policies, &err), -EINVAL);
        assert_non_null(strstr(err.message, "key 'encryption'"));
        assert_non_null(strstr(err.message, "\"required\""));
        blx_error_clear(&err);
    }
}

static void restore_test_is_one_value(void **state)
{
    (void)state;
    write_policy("10.yaml", "agents: \"*\"\nrestore-test: { every: \"1d\", at: \"02:00-05:00\", "
                            "within: \"10m\", expect: \"login:\", command: \"true\" }\n");
    write_policy("20.yaml", "agents: \"web*\"\nrestore-test: { every: 7, level: 1 }\n");
    write_policy("30.yaml", "agents: \"old*\"\nrestore-test: { }\n");
    read_all();
    const struct blx_policy_test db1 = judge("db1").test, web1 = judge("web1").test;
    assert_int_equal(db1.every_ms, 86400 * 1000);
    assert_int_equal(db1.hours.from_minute, 120);
    assert_int_equal(db1.hours.end_minute, 300);
    assert_int_equal(db1.within_ms, 600 * 1000);
    assert_string_equal(db1.expect, "login:");
    assert_string_equal(db1.command, "true");
    assert_int_equal(db1.level, 2);
    assert_int_equal(web1.every_ms, UINT64_C(7) * 86400 * 1000);
    assert_int_equal(web1.level, 1);
    assert_int_equal(web1.hours.end_minute, 0);
    assert_string_equal(web1.expect, "");
    assert_int_equal(judge("old1").test.every_ms, 0);
    static const struct {
        const char *group, *says;
    } wrong[] = {
        {"{ at: \"02:00-05:00\" }", "'every' is missing"},
        {"{ every: \"1d\", at: \"2-5\" }", "restore-test.at': '2-5' are no hours"},
        {"{ every: \"1d\", at: \"02:00-02:00\" }", "are no hours"},
        {"{ every: \"1d\", level: 3 }", "restore-test.level"},
        {"{ every: \"1d\", level: 1, expect: \"x\" }", "level 1 boots nothing"},
        {"{ every: \"1d\", user: \"x\" }", "'restore-test' has every, at, within"},
        {"\"1d\"", "a group is wanted"},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        char text[200];
        snprintf(text, sizeof(text), "agents: \"*\"\nrestore-test: %s\n", wrong[i].group);
        write_policy("40.yaml", text);
        blx_policies_done(&policies);
        assert_int_equal(blx_policies_read(folder, &policies, &err), -EINVAL);
        if (strstr(err.message, wrong[i].says) == NULL)
            fail_msg("%s", err.message);
        blx_error_clear(&err);
    }
}

static void verdict_survives_its_messages(void **state)
{
    (void)state;
    write_policy("10.yaml",
                 "agents: \"*\"\nsync-freq: 5\nretention: { keep-last: 3, keep-within: "
                 "\"2d\" }\nquota: { bytes: \"2G\", segments: 9 }\nexclude: [\"sdb\", "
                 "\"loop*\"]\nbandwidth-limit: \"2M\"\nencryption: \"required\"\n"
                 "restore-test: { every: \"1d\", at: \"22:00-06:00\", expect: \"login:\" }\n"
                 "suspicious: { sensitivity: \"low\" }\n");
    read_all();
    const struct blx_policy_verdict web1 = judge("web1");
    struct blx_policy_verdict heard = {.sync_freq_ms = 1};
    for (unsigned key = 0; key < BLX_POLICY_KEYS; key++) {
        struct blx_message message = {.type = BLX_MESSAGE_CONTROL_VERDICT}, got;
        uint8_t bytes[BLX_MESSAGE_ENCODED_BYTES];
        size_t length = 0;
        assert_false(blx_policy_verdict_agrees(&web1, &heard, key));
        blx_policy_verdict_put(&web1, key, &message.control_verdict);
        assert_int_equal(blx_message_encode(&message, bytes, sizeof(bytes), &length), 0);
        assert_int_equal(blx_message_decode(message.type, bytes + BLX_MESSAGE_HEADER_BYTES,
                                            length - BLX_MESSAGE_HEADER_BYTES, &got, &err),
                         0);
        assert_int_equal(blx_policy_verdict_take(&got.control_verdict, &heard, &err), 0);
        assert_true(blx_policy_verdict_agrees(&web1, &heard, key));
    }
    struct blx_control_verdict strange = {.key = BLX_POLICY_KEYS};
    assert_int_equal(blx_policy_verdict_take(&strange, &heard, &err), -EBADMSG);
    blx_error_clear(&err);
    strange = (struct blx_control_verdict){.key = BLX_POLICY_ENCRYPTION, .numbers = {7}};
    assert_int_equal(blx_policy_verdict_take(&strange, &heard, &err), -EBADMSG);
    blx_error_clear(&err);
    static const struct blx_control_verdict tests[] = {
        {.numbers = {9, 9, 3}},          /* no such level */
        {.numbers = {9, 9, 2, 1440, 9}}, /* no such minute */
        {.numbers = {9, 9, 2, 9, 1441}},
    };
    strange = (struct blx_control_verdict){
        .key = BLX_POLICY_RESTORE_TEST, .numbers = {9, 9, 2}, .texts_bytes = 400};
    memset(strange.texts, 'x', 399);
    memcpy(strange.texts, "expect=", 7);
    assert_int_equal(blx_policy_verdict_take(&strange, &heard, &err), -EBADMSG);
    blx_error_clear(&err);
    for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
        strange = tests[i];
        strange.key = BLX_POLICY_RESTORE_TEST;
        assert_int_equal(blx_policy_verdict_take(&strange, &heard, &err), -EBADMSG);
        blx_error_clear(&err);
    }
    strange = (struct blx_control_verdict){.key = BLX_POLICY_SUSPICIOUS, .numbers = {4}};
    assert_int_equal(blx_policy_verdict_take(&strange, &heard, &err), -EBADMSG);
    blx_error_clear(&err);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(patterns_match_whole_ids),
        TEST(last_file_wins_for_each_key_by_itself),
        TEST(what_no_policy_says_is_the_dispatchers_own),
        TEST(a_wrong_file_is_named_with_line_key_and_hint),
        TEST(excludes_fit_into_what_an_agent_can_be_sent),
        TEST(a_folder_that_is_named_must_be_there),
        TEST(quota_is_one_value_of_sizes_and_counts),
        TEST(encryption_is_demanded_or_not),
        TEST(restore_test_is_one_value),
        TEST(the_signal_has_a_sensitivity_or_is_off),
        TEST(verdict_survives_its_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
