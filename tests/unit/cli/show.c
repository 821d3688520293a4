/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep show`: its table, its JSON and its errors. */
#include "site.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/when.h"

static size_t count_of(const char *text, const char *part)
{
    size_t count = 0;
    for (; (text = strstr(text, part)) != NULL; text += strlen(part))
        count++;
    return count;
}

static void show_lists_checkpoints_oldest_first(void **state)
{
    struct site *site = *state;
    char texts[SITE_CHECKPOINTS][32];
    run_blxrep(&site->run, "show", "--agent=web1", site->data_dir, NULL);
    run_ended(&site->run, 0, NULL);
    assert_int_equal(count_of(site->run.out, "\n"), 1 + SITE_CHECKPOINTS);
    assert_int_equal(strncmp(site->run.out, "CHECKPOINT ", 11), 0);
    const char *at = site->run.out;
    for (size_t c = 0; c < SITE_CHECKPOINTS; c++) {
        snprintf(texts[c], sizeof(texts[c]), "\n%" PRIu64 "  ", site->timestamps[c]);
        at = strstr(at, texts[c]);
        assert_non_null(at);
    }
    assert_non_null(strstr(site->run.out, "filesystem"));
    assert_int_equal(count_of(site->run.out, "incremental"), 2);
}

static void show_of_several_volumes_has_a_line_for_each(void **state)
{
    struct site *site = *state;
    run_blxrep(&site->run, "show", "--agent=web1", site->data_dir, NULL);
    run_ended(&site->run, 0, NULL);
    assert_int_equal(count_of(site->run.out, "\n"), 1 + 3 * SITE_CHECKPOINTS);
    assert_int_equal(count_of(site->run.out, " sdb "), SITE_CHECKPOINTS);
}

static void json_has_all_members(void **state)
{
    struct site *site = *state;
    run_blxrep(&site->run, "dispatcher", "show", "--json", "--agent=web1", site->data_dir, NULL);
    run_ended(&site->run, 0, NULL);
    assert_int_equal(site->run.out[0], '[');
    static const char *const members[] = {"\"checkpoint\": \"",
                                          "\"time\": \"2026-",
                                          "\"consistency\": \"filesystem\"",
                                          "\"kind\": ",
                                          "\"parent\": ",
                                          "\"freeze_ms\": 0",
                                          "\"note\": \"a test\"",
                                          "\"volumes\": [",
                                          "\"name\": \"sda\"",
                                          "\"device\": \"/dev/sda\"",
                                          "\"size\": 262144",
                                          "\"changed_bytes\": ",
                                          "\"stored_bytes\": "};
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        assert_int_equal(count_of(site->run.out, members[i]), SITE_CHECKPOINTS);
    assert_int_equal(count_of(site->run.out, "\"kind\": \"full\""), 1);
    assert_int_equal(count_of(site->run.out, "\"parent\": null"), 1);
    assert_int_equal(count_of(site->run.out, "\"changed_bytes\": 4096"), 2);
}

static void range_includes_both_ends(void **state)
{
    struct site *site = *state;
    char start[32], end[32];
    snprintf(start, sizeof(start), "--start=%" PRIu64, site->timestamps[1] / 100);
    snprintf(end, sizeof(end), "--end=%" PRIu64, site->timestamps[1] / 100);
    run_blxrep(&site->run, "show", "--json", "--agent=web1", site->data_dir, start, end, NULL);
    run_ended(&site->run, 0, NULL);
    assert_int_equal(count_of(site->run.out, "\"checkpoint\""), 1);
    run_blxrep(&site->run, "show", "--json", "--agent=web1", site->data_dir, start, NULL);
    assert_int_equal(count_of(site->run.out, "\"checkpoint\""), 2);
    run_blxrep(&site->run, "show", "--json", "--agent=web1", site->data_dir, end, NULL);
    assert_int_equal(count_of(site->run.out, "\"checkpoint\""), 2);
}

static void empty_range_is_reported_on_stderr_alone(void **state)
{
    struct site *site = *state;
    run_blxrep(&site->run, "show", "--agent=web1", site->data_dir, "--end=202001010000", NULL);
    run_ended(&site->run, 0, "between --start and --end");
    assert_string_equal(site->run.out, "");
    run_blxrep(&site->run, "show", "--json", "--agent=web1", site->data_dir, "--end=202001010000",
               NULL);
    run_ended(&site->run, 0, "between --start and --end");
    assert_string_equal(site->run.out, "[]\n");
}

static void unknown_agent_fails_and_one_without_checkpoint_does_not(void **state)
{
    struct site *site = *state;
    struct blx_agent_writer *writer;
    run_blxrep(&site->run, "show", "--agent=web10", site->data_dir, NULL);
    run_ended(&site->run, 1, "'web10'");
    assert_int_equal(
        blx_agent_writer_open(blx_store_agent(&site->store.store, "web10"), NULL, &writer, NULL),
        0);
    blx_agent_writer_close(writer);
    run_blxrep(&site->run, "show", "--agent=web10", site->data_dir, NULL);
    run_ended(&site->run, 0, "no checkpoint yet");
}

static void damaged_manifest_is_named_and_hides_no_other(void **state)
{
    struct site *site = *state;
    char path[PATH_MAX], name[32];
    test_path(&site->store, path, "agents/web1/checkpoints/%" PRIu64, site->timestamps[1]);
    snprintf(name, sizeof(name), "%" PRIu64, site->timestamps[1]);
    FILE *file = fopen(path, "r+e");
    assert_non_null(file);
    fputs("garbage", file);
    assert_int_equal(fclose(file), 0);
    run_blxrep(&site->run, "show", "--json", "--agent=web1", site->data_dir, NULL);
    run_ended(&site->run, 1, name);
    assert_int_equal(count_of(site->run.out, "\"checkpoint\""), SITE_CHECKPOINTS - 1);
}

static void times_in_words_are_echoed_and_local(void **state)
{
    struct site *site = *state;
    char local[BLX_WHEN_TEXT_BYTES], option[64];
    setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", 1);
    tzset();
    run_blxrep(&site->run, "show", "--agent=web1", site->data_dir, "--last=1", NULL);
    run_ended(&site->run, 0, NULL);
    assert_int_equal(count_of(site->run.out, "\n"), 2);
    blx_when_format(site->timestamps[SITE_CHECKPOINTS - 1], BLX_ZONE_LOCAL, local);
    assert_non_null(strstr(site->run.out, local));
    assert_non_null(strstr(local, "+01:00"));
    run_blxrep(&site->run, "show", "--agent=web1", site->data_dir, "--utc", NULL);
    assert_null(strstr(site->run.out, "+01:00"));
    snprintf(option, sizeof(option), "--start=%.19s", local);
    run_blxrep(&site->run, "show", "--agent=web1", site->data_dir, option, NULL);
    run_ended(&site->run, 0, local);
    assert_int_equal(count_of(site->run.out, "\n"), 2);
    run_blxrep(&site->run, "show", "--agent=web1", site->data_dir, "--start=noon", NULL);
    run_ended(&site->run, 2, "yesterday 18:00");
    run_blxrep(&site->run, "show", "--agent=web1", site->data_dir, "--start=now", "--since=2d",
               NULL);
    run_ended(&site->run, 2, "exclude each other");
    snprintf(option, sizeof(option), "--checkpoint=%.16s", local); /* the newest until then */
    run_blxrep(&site->run, "info", "--agent=web1", site->data_dir, option, NULL);
    run_ended(&site->run, 0, "is the checkpoint ");
    run_blxrep(&site->run, "info", "--agent=web1", site->data_dir, "--checkpoint=1999-01-01", NULL);
    run_ended(&site->run, 1, "no checkpoint of '1999-01-01' or before");
    unsetenv("TZ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, site_setup, site_teardown)
        TEST(show_lists_checkpoints_oldest_first),
        TEST(times_in_words_are_echoed_and_local),
        cmocka_unit_test_setup_teardown(show_of_several_volumes_has_a_line_for_each, site_setup_two,
                                        site_teardown),
        TEST(json_has_all_members),
        TEST(range_includes_both_ends),
        TEST(empty_range_is_reported_on_stderr_alone),
        TEST(unknown_agent_fails_and_one_without_checkpoint_does_not),
        TEST(damaged_manifest_is_named_and_hides_no_other),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
