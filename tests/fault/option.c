/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of lib/config: an option's text, the flags, a file's settings, a policy. An option that
 * could not be set keeps its value, and the lists stay whole. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/config/fixture.h"
#include "config/document_private.h"
#include "config/option_private.h"
#include "config/policy.h"
#include "loop.h"

static const char settings[] =
    "id: \"web1\"\n"
    "device: [ \"/dev/vda\", \"/dev/vdb\" ]\n"
    "tls: { ca: \"/ca\", cert: \"/cert\", key: \"/key\" }\n"
    "retention: { keep-last: 3 }\n"
    "object-store: { url: \"https://h/bucket\", lock: \"compliance 30d\" }\n"
    "source: { addr: \"h:1\", agents: [\"a\", \"b*\"], checkpoints: \"hourly\" }\n";
static const char policy_text[] = "agents: [\"web*\", \"db1\"]\n"
                                  "sync-freq: \"30s\"\n"
                                  "exclude: [\"sdb\"]\n"
                                  "restore-test: { every: \"1d\", at: \"22:00-06:00\", "
                                  "expect: \"login:\", command: \"true\" }\n";

struct setting {
    struct fixture *fixture;
    struct blx_config config;
    enum blx_config_result result;
    unsigned lines;
    struct blx_policy policy;
    struct blx_policy_test test;
};

static void setup(void *arg)
{
    struct setting *setting = arg;
    struct fixture *fixture = setting->fixture;
    *setting = (struct setting){.fixture = fixture};
    fault_poison(&setting->policy, sizeof(setting->policy));
    fault_poison(&setting->test, sizeof(setting->test));
    fault_poison(&setting->lines, sizeof(setting->lines));
    fixture_write(fixture, settings, strlen(settings));
}

static void teardown(void *arg)
{
    blx_config_done(&((struct setting *)arg)->config);
}

static int set(struct setting *setting, const char *name, const char *text, struct blx_error *err)
{
    return blx_option_set(blx_option_find(name, strlen(name)), text, &setting->config, err);
}

static void setup_set(void *arg)
{
    setup(arg);
    assert_int_equal(set(arg, "id", "old", NULL), 0);
    assert_int_equal(set(arg, "device", "/dev/vda", NULL), 0);
}

static int run_text(void *arg, struct blx_error *err)
{
    return set(arg, "id", "newer", err);
}

static int run_list(void *arg, struct blx_error *err)
{
    return set(arg, "device", "/dev/vdb", err);
}

static void check_text(void *arg, int rc)
{
    assert_string_equal(((struct setting *)arg)->config.id, rc == 0 ? "newer" : "old");
}

static void check_list(void *arg, int rc)
{
    const struct blx_config *config = &((struct setting *)arg)->config;
    assert_int_equal(config->device_count, rc == 0 ? 2 : 1);
    assert_string_equal(config->devices[0], "/dev/vda");
    if (rc == 0)
        assert_string_equal(config->devices[1], "/dev/vdb");
}

static void an_option_has_its_old_value_or_the_new_one(void **state)
{
    struct setting setting = {.fixture = *state};
    fault_loop(&(struct fault_case){setup_set, run_text, check_text, teardown, 0}, &setting);
    fault_loop(&(struct fault_case){setup_set, run_list, check_list, teardown, 0}, &setting);
}

static int run_flags(void *arg, struct blx_error *err)
{
    struct setting *setting = arg;
    char *words[] = {(char[]){"program"},  (char[]){"--id=web1"}, (char[]){"--device=/dev/vda"},
                     (char[]){"--device"}, (char[]){"/dev/vdb"},  NULL};
    const struct blx_flags flags = {.command = BLX_COMMAND_AGENT, .argc = 5, .argv = words};
    return blx_flags_apply(&flags, &setting->config, &setting->result, err);
}

static int run_file(void *arg, struct blx_error *err)
{
    struct setting *setting = arg;
    return blx_config_file_apply(setting->fixture->path, &setting->config, &setting->lines, err);
}

/* Half of it may have been laid over the configuration; all of that is whole. */
static void check_config(void *arg, int rc)
{
    const struct blx_config *config = &((struct setting *)arg)->config;
    if (config->id != NULL)
        assert_string_equal(config->id, "web1");
    for (size_t i = 0; i < config->device_count; i++)
        assert_string_equal(config->devices[i], i == 0 ? "/dev/vda" : "/dev/vdb");
    if (rc == 0) {
        assert_non_null(config->id);
        assert_int_equal(config->device_count, 2);
    }
}

static void check_file(void *arg, int rc)
{
    const struct setting *setting = arg;
    check_config(arg, rc);
    if (rc == 0) {
        assert_string_equal(setting->config.tls.key, "/key");
        assert_int_equal(setting->config.retention.keep[BLX_KEEP_LAST], 3);
        assert_int_equal(setting->lines, 6);
    }
}

static void flags_and_file_are_laid_over_a_configuration(void **state)
{
    struct setting setting = {.fixture = *state};
    fault_loop(&(struct fault_case){setup, run_flags, check_config, teardown, 0}, &setting);
    fault_loop(&(struct fault_case){setup, run_file, check_file, teardown, 0}, &setting);
}

static int take_setting(void *arg, const struct blx_place *place, struct blx_error *err)
{
    struct setting *setting = arg;
    const char *name = config_setting_name(place->setting);
    if (strcmp(name, "tls") == 0)
        return 0;
    if (strcmp(name, "quota") == 0)
        return blx_place_quota(place, &setting->config, err);
    if (strcmp(name, "retention") == 0)
        return blx_place_retention(place, &setting->config, err);
    if (strcmp(name, "object-store") == 0)
        return blx_place_object_store(place, &setting->config, err);
    if (strcmp(name, "source") == 0)
        return blx_place_source(place, &setting->config, err);
    return blx_place_option(place, blx_option_find(name, strlen(name)), &setting->config, err);
}

static int run_document(void *arg, struct blx_error *err)
{
    struct setting *setting = arg;
    return blx_document_read(setting->fixture->path, "", take_setting, setting, &setting->lines,
                             err);
}

static void check_document(void *arg, int rc)
{
    const struct setting *setting = arg;
    check_config(arg, rc);
    if (rc < 0)
        return;
    assert_int_equal(setting->config.retention.keep[BLX_KEEP_LAST], 3);
    assert_int_equal(setting->config.object_store.lock, BLX_OBJECT_LOCK_COMPLIANCE);
    assert_int_equal(setting->config.source.agent_count, 2);
    assert_int_equal(setting->config.source.checkpoints, BLX_SOURCE_HOURLY);
}

static void setup_policy(void *arg)
{
    struct setting *setting = arg;
    setup(arg);
    fixture_write(setting->fixture, policy_text, strlen(policy_text));
}

static int take_test(void *arg, const struct blx_place *place, struct blx_error *err)
{
    struct setting *setting = arg;
    if (strcmp(config_setting_name(place->setting), "restore-test") != 0)
        return 0;
    return blx_place_restore_test(place, &setting->test, err);
}

static int run_test_group(void *arg, struct blx_error *err)
{
    struct setting *setting = arg;
    return blx_document_read(setting->fixture->path, "", take_test, setting, &setting->lines, err);
}

static void check_test_group(void *arg, int rc)
{
    const struct setting *setting = arg;
    if (rc < 0) {
        fault_assert_poisoned(&setting->test, sizeof(setting->test));
        return;
    }
    assert_string_equal(setting->test.expect, "login:");
    assert_string_equal(setting->test.command, "true");
    assert_int_equal(setting->test.hours.from_minute, 22 * 60);
}

static int run_policy(void *arg, struct blx_error *err)
{
    struct setting *setting = arg;
    return blx_policy_read(setting->fixture->path, &setting->policy, err);
}

static void check_policy(void *arg, int rc)
{
    struct setting *setting = arg;
    if (rc < 0) {
        fault_assert_poisoned(&setting->policy, sizeof(setting->policy));
        return;
    }
    assert_int_equal(setting->policy.agent_count, 2);
    assert_int_equal(setting->policy.settings.sync_freq_ms, 30000);
    blx_policy_done(&setting->policy);
}

static void a_document_is_read_setting_by_setting(void **state)
{
    struct setting setting = {.fixture = *state};
    fault_loop(&(struct fault_case){setup, run_document, check_document, teardown, 0}, &setting);
    fault_loop(&(struct fault_case){setup_policy, run_policy, check_policy, teardown, 0}, &setting);
    fault_loop(&(struct fault_case){setup_policy, run_test_group, check_test_group, teardown, 0},
               &setting);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_option_has_its_old_value_or_the_new_one, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(flags_and_file_are_laid_over_a_configuration, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(a_document_is_read_setting_by_setting, fixture_setup,
                                        fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
