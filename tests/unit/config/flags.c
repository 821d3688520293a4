/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config/option_private.h"
#include "fixture.h"

/* An empty file, so that no file of the machine counts. */
static int setup(void **state)
{
    fixture_setup(state);
    fixture_write(*state, "", 0);
    return 0;
}

#define LOAD(f, command, ...) fixture_load(f, command, FIXTURE_FILE_AND_FLAGS, __VA_ARGS__, NULL)
#define REFUSED(f, command, text, ...)                                                             \
    do {                                                                                           \
        assert_int_equal(LOAD(f, command, __VA_ARGS__), -EINVAL);                                  \
        if (strstr((f)->err.message, text) == NULL)                                                \
            fail_msg("'%s' is not in: %s", text, (f)->err.message);                                \
    } while (0)

static const enum blx_command agent = BLX_COMMAND_AGENT;
static const enum blx_command show = BLX_COMMAND_SHOW;

static void both_ways_to_write_a_value_are_taken(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(LOAD(f, agent, "--id=a", "--run-dir", "/r", "--pre-freeze=x=y"), 0);
    assert_string_equal(f->config.id, "a");
    assert_string_equal(f->config.run_dir, "/r");
    assert_string_equal(f->config.pre_freeze, "x=y");
}

static void last_of_a_repeated_flag_wins_and_devices_add_up(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(LOAD(f, agent, "--id=a", "--device=/x", "--id=b", "--device=/y"), 0);
    assert_string_equal(f->config.id, "b");
    assert_int_equal(f->config.device_count, 2);
    assert_string_equal(f->config.devices[1], "/y");
    REFUSED(f, agent, "named twice", "--device=/x", "--device=/x");
}

static void switches_stand_alone_or_take_yes_and_no(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(LOAD(f, show, "--json"), 0);
    assert_true(f->config.json);
    assert_int_equal(LOAD(f, show, "--json=off"), 0);
    assert_false(f->config.json);
    static const char *const negatives[] = {"no", "false", "off", "0", "No"};
    for (size_t i = 0; i < sizeof(negatives) / sizeof(negatives[0]); i++) {
        char word[32];
        snprintf(word, sizeof(word), "--freeze=%s", negatives[i]);
        assert_int_equal(LOAD(f, agent, word, "--skip-free-space"), 0);
        assert_false(f->config.freeze);
        assert_true(f->config.skip_free_space);
    }
    assert_int_equal(LOAD(f, agent, "--freeze", "no", "--id", "x"), 0);
    assert_false(f->config.freeze);
    REFUSED(f, agent, "neither yes nor no", "--freeze=maybe");
}

static void sync_freq_is_in_minutes_unless_it_has_a_unit(void **state)
{
    struct fixture *f = *state;
    const struct {
        const char *word;
        uint64_t ms;
    } cases[] = {{"--sync-freq=3", 180000},
                 {"--sync-freq=0.5", 30000},
                 {"--sync-freq=2s", 2000},
                 {"--sync-freq=5m", 300000},
                 {"--sync-freq=1.5h", 5400000}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(LOAD(f, BLX_COMMAND_DISPATCHER, cases[i].word), 0);
        assert_int_equal(f->config.sync_freq_ms, cases[i].ms);
    }
    REFUSED(f, BLX_COMMAND_DISPATCHER, "--sync-freq", "--sync-freq=0");
    REFUSED(f, BLX_COMMAND_DISPATCHER, "--sync-freq", "--sync-freq=500ms");
    REFUSED(f, BLX_COMMAND_DISPATCHER, "--sync-freq", "--sync-freq=soon");
    REFUSED(f, BLX_COMMAND_DISPATCHER, "--sync-freq", "--sync-freq=-1");
}

static void unknown_flags_are_refused_with_the_nearest_one(void **state)
{
    struct fixture *f = *state;
    REFUSED(f, show, "did you mean --data-dir?", "--datadir=/x");
    REFUSED(f, show, "did you mean --agent?", "--agnet", "x");
    REFUSED(f, agent, "did you mean --skip-free-space?", "--skip-free");
    REFUSED(f, agent, "unknown option '--zzzzzzz'", "--zzzzzzz");
    REFUSED(f, agent, "not an option of this command", "--data-dir=/x");
    REFUSED(f, show, "not an option of this command", "--force");
    REFUSED(f, agent, "unknown option", "--=x");
    char endless[5000];
    memset(endless, 'a', sizeof(endless) - 1);
    endless[0] = endless[1] = '-';
    endless[sizeof(endless) - 1] = '\0';
    REFUSED(f, agent, "unknown option", endless);
}

static void words_that_are_no_flags_are_refused(void **state)
{
    struct fixture *f = *state;
    REFUSED(f, show, "unexpected argument 'web1'", "web1");
    REFUSED(f, show, "unexpected argument '--'", "--");
    REFUSED(f, show, "unexpected argument '-x'", "-x");
    REFUSED(f, show, "unexpected argument 'yes'", "--json", "yes");
}

static void forgotten_value_does_not_swallow_the_next_flag(void **state)
{
    struct fixture *f = *state;
    REFUSED(f, agent, "'--id' needs a value", "--id");
    REFUSED(f, agent, "'--id' needs a value", "--id", "--device=/x");
    REFUSED(f, agent, "--id: the value is empty", "--id=");
}

static void ids_and_times_are_checked(void **state)
{
    struct fixture *f = *state;
    char long_id[301];
    memset(long_id, 'a', 300);
    long_id[300] = '\0';
    REFUSED(f, show, "--agent", "--agent", long_id);
    REFUSED(f, show, "--agent", "--agent=a/b");
    REFUSED(f, show, "--agent", "--agent=..");
    REFUSED(f, show, "--start", "--start=2026");
    REFUSED(f, show, "--end", "--end=202613010000");
    assert_int_equal(LOAD(f, show, "--start=202611222036", "--end=20261122203659"), 0);
    REFUSED(f, BLX_COMMAND_RESTORE, "--checkpoint", "--checkpoint=newest");
    assert_int_equal(LOAD(f, BLX_COMMAND_RESTORE, "--checkpoint=latest"), 0);
    assert_int_equal(LOAD(f, BLX_COMMAND_RESTORE, "--checkpoint=20261122203659"), 0);
}

static void help_and_version_are_answered_before_the_file_is_read(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(fixture_load(f, agent, FIXTURE_FLAGS, "--config=/nonexistent", "--help", NULL),
                     0);
    assert_int_equal(f->result, BLX_CONFIG_HELP);
    assert_int_equal(fixture_load(f, agent, FIXTURE_FLAGS, "-h", NULL), 0);
    assert_int_equal(f->result, BLX_CONFIG_HELP);
    assert_int_equal(fixture_load(f, agent, FIXTURE_FLAGS, "--version", NULL), 0);
    assert_int_equal(f->result, BLX_CONFIG_VERSION);
    REFUSED(f, agent, "takes no value", "--help=x");
}

static void each_command_names_what_it_misses(void **state)
{
    struct fixture *f = *state;
    const struct {
        enum blx_command command;
        const char *words[3]; /* enough of them */
        const char *missing;
    } cases[] = {
        {BLX_COMMAND_ENROLL, {"--data-dir=/d"}, "--agent"},
        {BLX_COMMAND_ENROLL, {"--agent=a"}, "data-dir"},
        {BLX_COMMAND_SHOW, {"--data-dir=/d"}, "--agent"},
        {BLX_COMMAND_SHOW, {"--agent=a"}, "data-dir"},
        {BLX_COMMAND_RESTORE, {"--data-dir=/d", "--agent=a"}, "--checkpoint"},
        {BLX_COMMAND_RESTORE, {"--data-dir=/d", "--checkpoint=latest"}, "--agent"},
        {BLX_COMMAND_CHECKPOINT, {"--data-dir=/d"}, "--agent"},
        {BLX_COMMAND_VERIFY, {"--agent=a"}, "data-dir"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        assert_int_equal(LOAD(f, cases[i].command, cases[i].words[0], cases[i].words[1]), 0);
        assert_int_equal(blx_config_require(cases[i].command, &f->config, &f->err), -EINVAL);
        assert_non_null(strstr(f->err.message, cases[i].missing));
        assert_non_null(strstr(f->err.message, "missing"));
    }
    assert_int_equal(LOAD(f, BLX_COMMAND_STATUS, "--data-dir=/d"), 0);
    assert_int_equal(blx_config_require(BLX_COMMAND_STATUS, &f->config, &f->err), 0);
}

static void budget_must_lie_below_the_limit(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(
        LOAD(f, agent, "--id=a", "--dispatcher-addr=h", "--device=/d", "--freeze-budget=1s"), 0);
    assert_int_equal(blx_config_require(agent, &f->config, &f->err), -EINVAL);
    assert_non_null(strstr(f->err.message, "freeze-budget"));
    assert_int_equal(LOAD(f, agent, "--id=a", "--dispatcher-addr=h", "--device=/d",
                          "--freeze-budget=1s", "--freeze-limit=1.5"),
                     0);
    assert_int_equal(blx_config_require(agent, &f->config, &f->err), 0);
}

static void token_is_a_switch_for_enroll_and_has_a_value_for_join(void **state)
{
    struct fixture *f = *state;
    const enum blx_command enroll = BLX_COMMAND_ENROLL;
    const enum blx_command join = BLX_COMMAND_JOIN;
    assert_int_equal(LOAD(f, enroll, "--agent=a", "--token", "--data-dir=d"), 0);
    assert_true(f->config.make_token);
    assert_null(f->config.token);
    assert_int_equal(LOAD(f, join, "--dispatcher-addr=h", "--token", "blxrep1x"), 0);
    assert_string_equal(f->config.token, "blxrep1x");
    assert_int_equal(LOAD(f, join, "--dispatcher-addr=h", "--token-file=-"), 0);
    assert_string_equal(f->config.token_file, "-");
    assert_null(f->config.token);
}

/* The sanitizers find one that is left, and one that is freed twice. */
static void every_text_is_freed_once(void **state)
{
    struct fixture *f = *state;
    for (size_t i = 0; blx_option_at(i) != NULL; i++) {
        const struct blx_option *option = blx_option_at(i);
        if (option->kind == BLX_OPTION_TEXT)
            assert_int_equal(blx_option_set(option, "text", &f->config, &f->err), 0);
    }
    assert_string_equal(f->config.to, "text");
    blx_config_done(&f->config);
    assert_null(f->config.to);
}

/* Two options may share a name only if no command takes both and the file knows neither. */
static void every_option_has_a_help_text_and_a_name_of_its_own(void **state)
{
    (void)state;
    for (size_t i = 0; blx_config_option(i) != NULL; i++) {
        const struct blx_option_info *option = blx_config_option(i);
        assert_true(strlen(option->help) > 0);
        assert_true(option->commands != 0);
        for (size_t j = 0; j < i; j++) {
            const struct blx_option_info *other = blx_config_option(j);
            if ((option->commands & other->commands) != 0 || option->in_file || other->in_file)
                assert_string_not_equal(option->name, other->name);
        }
    }
}

static void a_mountpoint_may_stand_alone(void **state)
{
    struct fixture *f = *state;
    enum blx_command mount = BLX_COMMAND_MOUNT;
    assert_int_equal(LOAD(f, mount, "--agent=a", "/mnt", "--data-dir", "/d", "--writable"), 0);
    assert_string_equal(f->config.mountpoint, "/mnt");
    assert_string_equal(f->config.data_dir, "/d");
    assert_string_equal(f->config.writable, "");
    assert_int_equal(f->config.idle_ms, 24 * 3600 * 1000);
    assert_int_equal(blx_config_require(mount, &f->config, NULL), -EINVAL); /* no checkpoint */
    assert_int_equal(
        LOAD(f, mount, "--writable=/o", "--mountpoint=/m", "--agent=a", "--data-dir=/d"), 0);
    assert_string_equal(f->config.mountpoint, "/m");
    assert_string_equal(f->config.writable, "/o");
    assert_int_equal(LOAD(f, mount, "--agent=a", "--data-dir=/d"), 0);
    assert_null(f->config.writable);
    assert_int_equal(blx_config_require(mount, &f->config, NULL), -EINVAL);
    REFUSED(f, mount, "unexpected argument '-x'", "-x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)
        TEST(a_mountpoint_may_stand_alone),
        TEST(both_ways_to_write_a_value_are_taken),
        TEST(last_of_a_repeated_flag_wins_and_devices_add_up),
        TEST(switches_stand_alone_or_take_yes_and_no),
        TEST(token_is_a_switch_for_enroll_and_has_a_value_for_join),
        TEST(sync_freq_is_in_minutes_unless_it_has_a_unit),
        TEST(unknown_flags_are_refused_with_the_nearest_one),
        TEST(words_that_are_no_flags_are_refused),
        TEST(forgotten_value_does_not_swallow_the_next_flag),
        TEST(ids_and_times_are_checked),
        TEST(help_and_version_are_answered_before_the_file_is_read),
        TEST(each_command_names_what_it_misses),
        TEST(budget_must_lie_below_the_limit),
        TEST(every_text_is_freed_once),
        TEST(every_option_has_a_help_text_and_a_name_of_its_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
