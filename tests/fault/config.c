/* SPDX-License-Identifier: Apache-2.0 */
/* lib/config: a command line and a file become a configuration, whole or not at all. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/config/fixture.h"
#include "config/agent_file.h"
#include "loop.h"

static const char agent_file[] = "mode: \"agent\"\n"
                                 "id: \"web1\"\n"
                                 "dispatcher-addr: \"backup:8080\"\n"
                                 "device: [ \"/dev/vda\", \"/dev/vdb\" ]\n"
                                 "tls: { ca: \"/ca\", cert: \"/cert\", key: \"/key\" }\n"
                                 "freeze-limit: \"2s\"\n";
static const char dispatcher_file[] = "mode: \"dispatcher\"\n"
                                      "data-dir: \"/srv/blxrep\"\n"
                                      "sync-freq: \"30s\"\n"
                                      "retention: { keep-last: 3, keep-daily: 7 }\n";

struct loading {
    struct fixture *fixture;
    const char *file;
    enum blx_command command;
    struct blx_config config;
    enum blx_config_result result;
};

static void prepare(void *state)
{
    struct loading *loading = state;
    memset(&loading->config, 0x5a, sizeof(loading->config));
    loading->result = BLX_CONFIG_HELP;
    fixture_write(loading->fixture, loading->file, strlen(loading->file));
}

/* Through blx_config_load(), or blx_config_begin() as a program does. */
static int load_by(struct loading *loading, bool begins, struct blx_error *err)
{
    char option[128], device[] = "--device=/dev/sdx", more[] = "--device=/dev/sdy";
    char *words[] = {(char[]){"program"}, option, device, more, NULL};
    int count = loading->command == BLX_COMMAND_AGENT ? 4 : 2;
    snprintf(option, sizeof(option), "--config=%s", loading->fixture->path);
    const struct blx_config_program program = {.name = "program", .command = loading->command};
    return begins ? blx_config_begin(&program, count, words, stdout, &loading->config,
                                     &loading->result, err)
                  : blx_config_load(loading->command, count, words, &loading->config,
                                    &loading->result, err);
}

static int load(void *state, struct blx_error *err)
{
    return load_by(state, false, err);
}

static int begin(void *state, struct blx_error *err)
{
    return load_by(state, true, err);
}

static void check_untouched(const struct loading *loading)
{
    struct blx_config untouched;
    memset(&untouched, 0x5a, sizeof(untouched));
    assert_memory_equal(&loading->config, &untouched, sizeof(untouched));
    assert_int_equal(loading->result, BLX_CONFIG_HELP);
}

static void check_agent(void *state, int rc)
{
    struct loading *loading = state;
    if (rc < 0) {
        check_untouched(loading);
        return;
    }
    assert_string_equal(loading->config.id, "web1");
    assert_int_equal(loading->config.device_count, 2);
    assert_string_equal(loading->config.devices[1], "/dev/sdy");
    assert_int_equal(loading->config.freeze_limit_ms, 2000);
    assert_int_equal(blx_config_require(BLX_COMMAND_AGENT, &loading->config, NULL), 0);
    blx_config_done(&loading->config);
}

static void check_dispatcher(void *state, int rc)
{
    struct loading *loading = state;
    if (rc < 0) {
        check_untouched(loading);
        return;
    }
    assert_string_equal(loading->config.data_dir, "/srv/blxrep");
    assert_int_equal(loading->config.sync_freq_ms, 30000);
    assert_int_equal(blx_config_require(BLX_COMMAND_DISPATCHER, &loading->config, NULL), 0);
    blx_config_done(&loading->config);
}

static int join(void *state, struct blx_error *err)
{
    const struct loading *loading = state;
    char *devices[] = {(char[]){"/dev/vda"}};
    const struct blx_agent_settings settings = {
        .id = "web2", .dispatcher_addr = "backup:8080", .devices = devices, .device_count = 1};
    return blx_agent_file_write(loading->fixture->path, &settings, err);
}

static const char begun_file[] = "mode: \"agent\"\nfreeze-limit: \"2s\"\n";

static int complete(void *state, struct blx_error *err)
{
    const struct loading *loading = state;
    char *devices[] = {(char[]){"/dev/vda"}};
    const struct blx_agent_settings settings = {
        .id = "web2", .dispatcher_addr = "backup:8080", .devices = devices, .device_count = 1};
    return blx_agent_file_complete(loading->fixture->path, &settings, err);
}

/* As it was begun, or with all that was missing. */
static void check_complete(void *state, int rc)
{
    struct loading *loading = state;
    assert_int_equal(fixture_load(loading->fixture, loading->command, FIXTURE_FILE_AND_FLAGS, NULL),
                     0);
    const struct blx_config *config = &loading->fixture->config;
    assert_int_equal(config->freeze_limit_ms, 2000);
    assert_true(config->id != NULL || rc < 0);
    if (config->id != NULL)
        assert_int_equal(blx_config_require(loading->command, config, NULL), 0);
}

static void an_agents_file_is_completed_or_as_it_was(void **state)
{
    struct loading loading = {.fixture = *state, .file = begun_file, .command = BLX_COMMAND_AGENT};
    fault_loop(&(struct fault_case){.setup = prepare, .run = complete, .check = check_complete},
               &loading);
}

/* The old file, or the new one whole. */
static void check_join(void *state, int rc)
{
    struct loading *loading = state;
    assert_int_equal(fixture_load(loading->fixture, loading->command, FIXTURE_FILE_AND_FLAGS, NULL),
                     0);
    const char *id = loading->fixture->config.id;
    assert_true(strcmp(id, "web2") == 0 || (rc < 0 && strcmp(id, "web1") == 0));
    assert_int_equal(blx_config_require(loading->command, &loading->fixture->config, NULL), 0);
}

static void an_agents_file_is_the_old_one_or_the_new_one(void **state)
{
    struct loading loading = {.fixture = *state, .file = agent_file, .command = BLX_COMMAND_AGENT};
    fault_loop(&(struct fault_case){.setup = prepare, .run = join, .check = check_join}, &loading);
}

static void an_agents_configuration_is_whole_or_untouched(void **state)
{
    struct loading loading = {.fixture = *state, .file = agent_file, .command = BLX_COMMAND_AGENT};
    fault_loop(&(struct fault_case){.setup = prepare, .run = load, .check = check_agent}, &loading);
}

static void a_dispatchers_configuration_is_whole_or_untouched(void **state)
{
    struct loading loading = {
        .fixture = *state, .file = dispatcher_file, .command = BLX_COMMAND_DISPATCHER};
    fault_loop(&(struct fault_case){.setup = prepare, .run = load, .check = check_dispatcher},
               &loading);
    fault_loop(&(struct fault_case){.setup = prepare, .run = begin, .check = check_dispatcher},
               &loading);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_agents_file_is_the_old_one_or_the_new_one, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(an_agents_file_is_completed_or_as_it_was, fixture_setup,
                                        fixture_teardown),
        cmocka_unit_test_setup_teardown(an_agents_configuration_is_whole_or_untouched,
                                        fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_dispatchers_configuration_is_whole_or_untouched,
                                        fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
