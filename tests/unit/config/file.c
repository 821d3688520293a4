/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "config/agent_file.h"
#include "fixture.h"

#define WRITE(fixture, text) fixture_write(fixture, text, sizeof(text) - 1)

static const enum blx_command start = BLX_COMMAND_START;
static const enum blx_command agent = BLX_COMMAND_AGENT;
static const enum blx_command dispatcher = BLX_COMMAND_DISPATCHER;

static const char seed[] =
    "mode: \"dispatcher\"  # or \"agent\"\n"
    "id: \"agent1\"  # required for agent mode\n"
    "dispatcher-addr: \"localhost:8080\"  # required for agent mode\n"
    "device: \"/dev/xvda\"  # required for agent mode\n"
    "data-dir: \"/data\"  # required for dispatcher mode\n"
    "sync-freq: 3  # sync frequency in minutes, required for dispatcher mode\n";

static void file_of_both_daemons_serves_start_agent_and_dispatcher(void **state)
{
    struct fixture *f = *state;
    const enum blx_command commands[] = {start, agent, dispatcher};
    WRITE(f, seed);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(fixture_load(f, commands[i], FIXTURE_FILE_AND_FLAGS, NULL), 0);
        assert_int_equal(blx_config_require(commands[i], &f->config, &f->err), 0);
        assert_int_equal(f->config.mode, BLX_MODE_DISPATCHER);
        assert_string_equal(f->config.id, "agent1");
        assert_string_equal(f->config.dispatcher_addr, "localhost:8080");
        assert_int_equal(f->config.device_count, 1);
        assert_string_equal(f->config.devices[0], "/dev/xvda");
        assert_string_equal(f->config.data_dir, "/data");
        assert_int_equal(f->config.sync_freq_ms, 180000);
        assert_string_equal(f->config.config_path, f->path);
        assert_int_equal(f->config.config_lines, 6);
    }
}

static void every_key_of_the_file_is_read(void **state)
{
    struct fixture *f = *state;
    WRITE(f, "device: [\"/dev/a\", \"/dev/b\"]\nlisten: \"[::1]:9000\"\ncredentials: \"/c\"\n"
             "retention: { keep-last: 10, keep-yearly: 2 }\n"
             "run-dir: \"/r\"\ntls: { ca: \"1\", cert: \"2\", key: \"3\" }\nsync-freq: \"90s\"\n"
             "compression: \"zlib\"\nbandwidth-limit: 4096\nskip-free-space: true\npre-freeze: \"a "
             "\\\"b\\\"\"\n"
             "post-thaw: \"c\"\nhook-timeout: 2.5\nfreeze-budget: 0.05\nfreeze-limit: \"750ms\"\n"
             "freeze-buffer: 2097152\nfreeze: false\nverbose: true\n");
    assert_int_equal(fixture_load(f, agent, FIXTURE_FILE_AND_FLAGS, NULL), 0);
    const struct blx_config *c = &f->config;
    assert_int_equal(c->device_count, 2);
    assert_string_equal(c->devices[1], "/dev/b");
    assert_string_equal(c->listen, "[::1]:9000");
    assert_string_equal(c->credentials, "/c");
    assert_string_equal(c->run_dir, "/r");
    assert_string_equal(c->tls.ca, "1");
    assert_string_equal(c->tls.cert, "2");
    assert_string_equal(c->tls.key, "3");
    assert_int_equal(c->retention.keep[BLX_KEEP_LAST], 10);
    assert_int_equal(c->retention.keep[BLX_KEEP_YEARLY], 2);
    assert_int_equal(c->retention.keep[BLX_KEEP_DAILY], 0);
    assert_int_equal(c->sync_freq_ms, 90000);
    assert_int_equal(c->compression, BLX_CODEC_ZLIB);
    assert_int_equal(c->bandwidth_limit.rule_count, 1);
    assert_int_equal(c->bandwidth_limit.rules[0].bytes_per_second, 4096);
    assert_true(c->skip_free_space);
    assert_string_equal(c->pre_freeze, "a \"b\"");
    assert_string_equal(c->post_thaw, "c");
    assert_int_equal(c->hook_timeout_ms, 2500);
    assert_int_equal(c->freeze_budget_ms, 50);
    assert_int_equal(c->freeze_limit_ms, 750);
    assert_int_equal(c->freeze_buffer_bytes, 2 << 20);
    assert_false(c->freeze);
    assert_true(c->verbose);
}

static void addresses_add_up_within_a_file_and_within_the_flags(void **state)
{
    struct fixture *f = *state;
    WRITE(f, "dispatcher-addr: [ \"a:1\", \"b:2\" ]\n");
    assert_int_equal(fixture_load(f, agent, FIXTURE_FILE_AND_FLAGS, NULL), 0);
    assert_string_equal(f->config.dispatcher_addr, "a:1,b:2");
    blx_config_done(&f->config);
    assert_int_equal(fixture_load(f, agent, FIXTURE_FILE_AND_FLAGS, "--dispatcher-addr=c, [::1]:4",
                                  "--dispatcher-addr=e:5", NULL),
                     0);
    assert_string_equal(f->config.dispatcher_addr, "c,[::1]:4,e:5");
    fixture_refused(f, start, "dispatcher-addr: [\"a\", \"b,a\"]\n", "key 'dispatcher-addr'", "'a'",
                    "twice", NULL);
    fixture_refused(f, start, "dispatcher-addr: \"a,,b\"\n", "key 'dispatcher-addr'", "is empty",
                    NULL);
    fixture_refused(f, start, "dispatcher-addr: []\n", "key 'dispatcher-addr'", "empty list", NULL);
    char text[512] = "dispatcher-addr: \"";
    for (unsigned i = 0; i < 40; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "host%u,", i);
    snprintf(text + strlen(text), sizeof(text) - strlen(text), "z\"\n");
    fixture_refused(f, start, text, "key 'dispatcher-addr'", "more than 255", NULL);
}

static void what_is_not_given_has_its_default(void **state)
{
    struct fixture *f = *state;
    WRITE(f, "");
    assert_int_equal(fixture_load(f, agent, FIXTURE_FILE_AND_FLAGS, NULL), 0);
    const struct blx_config *c = &f->config;
    assert_int_equal(c->mode, BLX_MODE_NONE);
    assert_int_equal(c->device_count, 0);
    assert_string_equal(c->listen, ":8080");
    assert_string_equal(c->credentials, BLX_DEFAULT_CREDENTIALS_PATH);
    assert_string_equal(c->run_dir, BLX_DEFAULT_RUN_DIR);
    assert_null(c->tls.ca);
    assert_int_equal(c->sync_freq_ms, 0);
    assert_int_equal(c->compression, BLX_CODEC_ZSTD);
    assert_int_equal(c->bandwidth_limit.rules[0].bytes_per_second, 0);
    assert_true(c->skip_free_space);
    assert_int_equal(c->hook_timeout_ms, 30000);
    assert_int_equal(c->freeze_budget_ms, 200);
    assert_int_equal(c->freeze_limit_ms, 1000);
    assert_int_equal(c->freeze_buffer_bytes, 64 << 20);
    assert_true(c->freeze);
    assert_false(c->verbose);
}

static void flags_win_over_the_file(void **state)
{
    struct fixture *f = *state;
    WRITE(f, seed);
    assert_int_equal(fixture_load(f, start, FIXTURE_FILE_AND_FLAGS, "--mode=agent",
                                  "--device=/dev/a", "--device", "/dev/b", "--sync-freq=10s",
                                  "--data-dir", "/other", NULL),
                     0);
    assert_int_equal(f->config.mode, BLX_MODE_AGENT);
    assert_int_equal(f->config.device_count, 2);
    assert_string_equal(f->config.devices[0], "/dev/a");
    assert_int_equal(f->config.sync_freq_ms, 10000);
    assert_string_equal(f->config.data_dir, "/other");
    assert_string_equal(f->config.id, "agent1");
}

static void auto_is_zstd_at_a_level_that_adapts(void **state)
{
    struct fixture *f = *state;
    WRITE(f, "compression: \"auto\"\n");
    assert_int_equal(fixture_load(f, agent, FIXTURE_FILE_AND_FLAGS, NULL), 0);
    assert_int_equal(f->config.compression, BLX_CODEC_ZSTD);
    assert_true(f->config.compression_adapts);
    assert_int_equal(fixture_load(f, agent, FIXTURE_FILE_AND_FLAGS, "--compression=zlib", NULL), 0);
    assert_int_equal(f->config.compression, BLX_CODEC_ZLIB);
    assert_false(f->config.compression_adapts); /* the flag wins over both */
    WRITE(f, "compression: \"none\"\n");
    assert_int_equal(fixture_load(f, agent, FIXTURE_FILE_AND_FLAGS, "--compression=auto", NULL), 0);
    assert_int_equal(f->config.compression, BLX_CODEC_ZSTD);
    assert_true(f->config.compression_adapts);
}

static void devices_of_the_file_select_nothing_to_restore(void **state)
{
    struct fixture *f = *state;
    WRITE(f, seed);
    assert_int_equal(fixture_load(f, BLX_COMMAND_RESTORE, FIXTURE_FILE_AND_FLAGS, NULL), 0);
    assert_int_equal(f->config.device_count, 0);
    assert_string_equal(f->config.data_dir, "/data");
    assert_int_equal(
        fixture_load(f, BLX_COMMAND_RESTORE, FIXTURE_FILE_AND_FLAGS, "--device=/dev/q", NULL), 0);
    assert_int_equal(f->config.device_count, 1);
}

static void groups_may_span_lines_and_a_mark_may_begin_the_file(void **state)
{
    struct fixture *f = *state;
    WRITE(f,
          "\xef\xbb\xbftls: {\r\n  ca: \"1\", # the CA\r\n  cert: \"2\",\r\n  key: \"3\"\r\n}\r\n"
          "device: [\r\n  \"/dev/a#1\",\r\n  \"/dev/b\"\r\n]\r\n");
    assert_int_equal(fixture_load(f, agent, FIXTURE_FILE_AND_FLAGS, NULL), 0);
    assert_string_equal(f->config.tls.key, "3");
    assert_string_equal(f->config.devices[0], "/dev/a#1");
}

static void unknown_keys_are_refused_with_the_nearest_one(void **state)
{
    struct fixture *f = *state;
    fixture_refused(f, start, "id: \"a\"\n\ndata_dir: \"/x\"\n", "line 3", "key 'data_dir'",
                    "did you mean 'data-dir'", NULL);
    fixture_refused(f, start, "colour: \"red\"\n", "line 1", "key 'colour'", "remove the line",
                    NULL);
    fixture_refused(f, start, "checkpoint: \"latest\"\n", "line 1", "key 'checkpoint'",
                    "only a flag", NULL);
    fixture_refused(f, start, "tls: { cat: \"x\" }", "line 1", "key 'tls.cat'", "unknown key",
                    NULL);
}

static void wrong_types_are_refused_with_an_example(void **state)
{
    struct fixture *f = *state;
    fixture_refused(f, start, "\nid: 5\n", "line 2", "key 'id'", "a number", "write id: \"agent1\"",
                    NULL);
    fixture_refused(f, start, "sync-freq: true\n", "line 1", "key 'sync-freq'", "true or false",
                    "write sync-freq: 3", NULL);
    fixture_refused(f, start, "freeze: \"no\"\n", "line 1", "key 'freeze'", "a text",
                    "write freeze: true", NULL);
    fixture_refused(f, start, "device: { a: \"x\" }\n", "line 1", "key 'device'", "a group", NULL);
    fixture_refused(f, start, "device: [1, 2]\n", "line 1", "key 'device'", "a number", NULL);
    fixture_refused(f, start, "device: []\n", "line 1", "key 'device'", "empty list", NULL);
    fixture_refused(f, start, "id: [\"a\"]\n", "line 1", "key 'id'", "a list", NULL);
    fixture_refused(f, start, "tls: \"x\"\n", "line 1", "key 'tls'", "a group is wanted", NULL);
    fixture_refused(f, start, "tls: { ca: 1 }\n", "line 1", "key 'tls.ca'", "a number", NULL);
    fixture_refused(f, start, "sync-freq: { a: 1 }\n", "line 1", "key 'sync-freq'", "a group",
                    NULL);
}

static void values_out_of_range_are_refused(void **state)
{
    struct fixture *f = *state;
    fixture_refused(f, start, "sync-freq: 0\n", "line 1", "key 'sync-freq'", "out of range", NULL);
    fixture_refused(f, start, "sync-freq: -3\n", "key 'sync-freq'", "'-3'", NULL);
    fixture_refused(f, start, "sync-freq: 0.001\n", "key 'sync-freq'", "out of range", NULL);
    fixture_refused(f, start, "sync-freq: 1e99\n", "key 'sync-freq'", NULL);
    fixture_refused(f, start, "sync-freq: \"3 weeks\"\n", "key 'sync-freq'", "not a duration",
                    NULL);
    fixture_refused(f, start, "freeze-buffer: 5\n", "key 'freeze-buffer'", "out of range", NULL);
    fixture_refused(f, start, "mode: \"server\"\n", "key 'mode'", "agent or dispatcher", NULL);
    fixture_refused(f, start, "compression: \"lz4\"\n", "key 'compression'", "'lz4'", NULL);
    fixture_refused(f, start, "bandwidth-limit: \"fast\"\n", "key 'bandwidth-limit'", "'fast'",
                    NULL);
    fixture_refused(f, start, "id: \"../x\"\n", "key 'id'", "'../x'", NULL);
    fixture_refused(f, start, "id: \"\"\n", "key 'id'", "empty", NULL);
    fixture_refused(f, start, "dispatcher-addr: \":80\"\n", "key 'dispatcher-addr'", "no host",
                    NULL);
    fixture_refused(f, start, "dispatcher-addr: \"a:99999\"\n", "key 'dispatcher-addr'", "99999",
                    NULL);
    fixture_refused(f, start, "listen: \"a:b\"\n", "key 'listen'", NULL);
    fixture_refused(f, start, "device: [\"/a\", \"/a\"]\n", "key 'device'", "twice", NULL);
    fixture_refused(f, start, "tls: { ca: \"1\", key: \"3\" }\n", "line 1", "key 'tls'",
                    "'cert' is missing", NULL);
    fixture_refused(f, start, "tls: { ca: \"\" }\n", "key 'tls.ca'", "empty", NULL);
    fixture_refused(f, start, "retention: { keep-last: -1 }\n", "line 1",
                    "key 'retention.keep-last'", "not a whole number", NULL);
    fixture_refused(f, start, "retention: { keep-daily: 2.5 }\n", "key 'retention.keep-daily'",
                    "not a whole number", NULL);
    fixture_refused(f, start, "retention: { keep-ever: 1 }\n", "key 'retention.keep-ever'",
                    "keep-monthly", NULL);
    fixture_refused(f, start, "retention: 10\n", "key 'retention'", "a group is wanted", NULL);
    fixture_refused(f, start, "keep-last: 10\n", "key 'keep-last'", "only a flag", NULL);
}

static void missing_values_are_named_with_the_line_that_would_hold_them(void **state)
{
    struct fixture *f = *state;
    fixture_refused(f, start, "", "line 1", "key 'mode'", "missing", "--mode=agent|dispatcher",
                    NULL);
    fixture_refused(f, agent, "dispatcher-addr: \"a\"\ndevice: \"/d\"\n", "line 3", "key 'id'",
                    "id: \"agent1\"", "--id=ID", NULL);
    fixture_refused(f, agent, "id: \"a\"\n", "line 2", "key 'dispatcher-addr'", NULL);
    fixture_refused(f, agent, "id: \"a\"\ndispatcher-addr: \"a\"", "line 3", "key 'device'", NULL);
    fixture_refused(f, dispatcher, "sync-freq: 3\n", "line 2", "key 'data-dir'", NULL);
    fixture_refused(f, dispatcher, "data-dir: \"/x\"\n", "line 2", "key 'sync-freq'",
                    "sync-freq: 3", NULL);
}

static void what_libconfig_misreads_is_refused(void **state)
{
    struct fixture *f = *state;
    fixture_refused(f, start, "verbose: true\nid: \"x\nmode: \"agent\"\n", "line 2", "key 'id'",
                    "does not end on this line", NULL);
    fixture_refused(f, start, "sync-freq: 99999999999\n", "line 1", "key 'sync-freq'",
                    "'99999999999' is too large", NULL);
    fixture_refused(f, start, "freeze-buffer: 0x1FFFFFFFF\n", "line 1", "too large", NULL);
    fixture_refused(f, start, "# x\n  @include \"other\"\n", "line 2", "@include", NULL);
    fixture_refused(f, start, "id: \"a\"\nid: \"b\"\n", "line 2", "key 'id'", "duplicate", NULL);
    static const char nul[] = "mode: \"agent\"\n\0id: \"x\"\n";
    fixture_write(f, nul, sizeof(nul) - 1);
    assert_int_equal(fixture_load(f, start, FIXTURE_FILE_AND_FLAGS, NULL), -EINVAL);
    assert_non_null(strstr(f->err.message, "line 2: a NUL byte"));
}

static void strings_and_comments_hide_what_they_hold(void **state)
{
    struct fixture *f = *state;
    WRITE(f,
          "/* 99999999999 \" \n @include */ // \"\npre-freeze: \"@include 99999999999 # \\\" //\"\n"
          "mode: \"agent\" # 99999999999 \"\n");
    assert_int_equal(fixture_load(f, start, FIXTURE_FILE_AND_FLAGS, NULL), 0);
    assert_string_equal(f->config.pre_freeze, "@include 99999999999 # \" //");
    assert_int_equal(f->config.mode, BLX_MODE_AGENT);
}

static void named_file_must_be_readable_and_the_default_may_be_missing(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(fixture_load(f, start, FIXTURE_FILE_AND_FLAGS, NULL), -ENOENT);
    assert_non_null(strstr(f->err.message, f->path));
    assert_int_equal(fixture_load(f, start, FIXTURE_FLAGS, "--config=/tmp", NULL), -EINVAL);
    assert_non_null(strstr(f->err.message, "'/tmp'"));
    char *big = calloc(1, 2 << 20);
    assert_non_null(big);
    fixture_write(f, big, 2 << 20);
    free(big);
    assert_int_equal(fixture_load(f, start, FIXTURE_FILE_AND_FLAGS, NULL), -EFBIG);
    struct stat st;
    if (stat(BLX_DEFAULT_CONFIG_PATH, &st) == 0)
        return; /* a machine that runs blxrep: its file counts */
    assert_int_equal(fixture_load(f, start, FIXTURE_FLAGS, "--mode=agent", NULL), 0);
    assert_null(f->config.config_path);
}

static void refused_file_leaves_the_config_as_it_was(void **state)
{
    struct fixture *f = *state;
    fixture_refused(f, start, "id: \"a\"\ndevice: [\"/x\", \"/y\"]\nnope: 1\n", "line 3", NULL);
    assert_null(f->config.id);
    assert_null(f->config.devices);
}

static void what_joining_writes_is_what_an_agent_needs(void **state)
{
    struct fixture *f = *state;
    char *devices[] = {"/dev/vda", "/dev/a \"b\"\\c"};
    const struct blx_agent_settings settings = {.id = "web1",
                                                .dispatcher_addr = "[::1]:8080",
                                                .credentials = "/srv/web1.pem",
                                                .devices = devices,
                                                .device_count = 2};
    assert_int_equal(blx_agent_file_write(f->path, &settings, &f->err), 0);
    assert_int_equal(fixture_load(f, agent, FIXTURE_FILE_AND_FLAGS, NULL), 0);
    assert_int_equal(blx_config_require(agent, &f->config, &f->err), 0);
    assert_string_equal(f->config.id, "web1");
    assert_string_equal(f->config.dispatcher_addr, "[::1]:8080");
    assert_int_equal(f->config.device_count, 2);
    assert_string_equal(f->config.devices[0], devices[0]);
    assert_string_equal(f->config.devices[1], devices[1]);
    assert_string_equal(f->config.credentials, "/srv/web1.pem");
}

static void file_that_joining_completes_keeps_what_it_had(void **state)
{
    struct fixture *f = *state;
    char *devices[] = {"/dev/vda"};
    const struct blx_agent_settings had = {.id = "web1"};
    const struct blx_agent_settings more = {
        .dispatcher_addr = "[::1]:8080", .devices = devices, .device_count = 1};
    assert_int_equal(blx_agent_file_write(f->path, &had, &f->err), 0);
    assert_int_equal(chmod(f->path, 0640), 0);
    assert_int_equal(blx_agent_file_complete(f->path, &more, &f->err), 0);
    struct stat st;
    assert_int_equal(stat(f->path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(fixture_load(f, agent, FIXTURE_FILE_AND_FLAGS, NULL), 0);
    assert_int_equal(blx_config_require(agent, &f->config, &f->err), 0);
    assert_string_equal(f->config.id, "web1");
    assert_string_equal(f->config.dispatcher_addr, "[::1]:8080");
    assert_string_equal(f->config.devices[0], "/dev/vda");
    assert_int_equal(unlink(f->path), 0);
    assert_int_equal(blx_agent_file_complete(f->path, &more, &f->err), -ENOENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)
        TEST(file_of_both_daemons_serves_start_agent_and_dispatcher),
        TEST(every_key_of_the_file_is_read),
        TEST(addresses_add_up_within_a_file_and_within_the_flags),
        TEST(what_is_not_given_has_its_default),
        TEST(flags_win_over_the_file),
        TEST(auto_is_zstd_at_a_level_that_adapts),
        TEST(devices_of_the_file_select_nothing_to_restore),
        TEST(groups_may_span_lines_and_a_mark_may_begin_the_file),
        TEST(unknown_keys_are_refused_with_the_nearest_one),
        TEST(wrong_types_are_refused_with_an_example),
        TEST(values_out_of_range_are_refused),
        TEST(missing_values_are_named_with_the_line_that_would_hold_them),
        TEST(what_libconfig_misreads_is_refused),
        TEST(strings_and_comments_hide_what_they_hold),
        TEST(named_file_must_be_readable_and_the_default_may_be_missing),
        TEST(refused_file_leaves_the_config_as_it_was),
        TEST(file_that_joining_completes_keeps_what_it_had),
        TEST(what_joining_writes_is_what_an_agent_needs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
