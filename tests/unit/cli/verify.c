/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep verify`, and `blxrep restore` of a damaged checkpoint. */
#include "site.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void flip(const struct site *site, const char *name, off_t offset)
{
    char path[PATH_MAX];
    uint8_t byte;
    test_path(&site->store, path, "agents/web1/%s", name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

static bool said(const char *text, uint64_t timestamp)
{
    char number[32];
    snprintf(number, sizeof(number), "%" PRIu64, timestamp);
    return strstr(text, number) != NULL;
}

static void clean_store_ends_with_0_and_a_summary(void **state)
{
    struct site *site = *state;
    run_blxrep(&site->run, "dispatcher", "verify", site->data_dir, NULL);
    run_ended(&site->run, 0, NULL);
    assert_non_null(strstr(site->run.out, "1 agent, 3 checkpoints, 3 segments, "));
    assert_non_null(strstr(site->run.out, "checked: no damage\n"));
    run_blxrep(&site->run, "verify", site->data_dir, "--agent=web1", "--json", NULL);
    run_ended(&site->run, 0, NULL);
    assert_non_null(strstr(site->run.out, "\"damages\": []"));
    assert_non_null(strstr(site->run.out, "\"hurt\": []"));
}

static void damage_is_one_line_and_exit_1(void **state)
{
    struct site *site = *state;
    flip(site, "volumes/sda/00000002.seg", 100);
    run_blxrep(&site->run, "verify", site->data_dir, NULL);
    run_ended(&site->run, 1,
              "'web1' is asked to send the damaged blocks again as soon as the dispatcher runs");
    const char *line = "agents/web1/volumes/sda/00000002.seg: ";
    assert_int_equal(strncmp(site->run.out, line, strlen(line)), 0);
    assert_non_null(strstr(site->run.out, "checksum is wrong; holds 4.0 KiB of sda in 1 extent "
                                          "(bytes 4096-8191); hurts 2 checkpoints of web1: "));
    assert_false(said(site->run.out, site->timestamps[0]));
    assert_true(said(site->run.out, site->timestamps[1]));
    assert_true(said(site->run.out, site->timestamps[2]));
    assert_non_null(strstr(site->run.out, "checked: 1 damage, 2 checkpoints hurt\n"));
    run_blxrep(&site->run, "verify", site->data_dir, "--json", NULL);
    run_ended(&site->run, 1, "'web1' is asked to send the damaged blocks again");
    assert_non_null(strstr(site->run.out, "\"scope\": \"committed\""));
    assert_non_null(strstr(site->run.out, "\"volume\": \"sda\""));
    assert_true(said(site->run.out, site->timestamps[1]));
}

static void damaged_restore_names_the_place_and_force_gives_the_rest(void **state)
{
    struct site *site = *state;
    char checkpoint[48], output[128], path[PATH_MAX];
    flip(site, "volumes/sda/00000002.seg", 100);
    snprintf(checkpoint, sizeof(checkpoint), "--checkpoint=%" PRIu64, site->timestamps[2]);
    site_option(site, output, "output", "a.img");
    test_path(&site->store, path, "a.img");
    run_blxrep(&site->run, "restore", "--agent=web1", site->data_dir, checkpoint, output, NULL);
    run_ended(&site->run, 1, "00000002.seg' is damaged at byte 32");
    assert_non_null(strstr(site->run.err, "bytes 4096-8191 of the image"));
    assert_true(access(path, F_OK) != 0);
    run_blxrep(&site->run, "restore", "--agent=web1", site->data_dir, checkpoint, output, "--force",
               NULL);
    assert_int_equal(site->run.status, 1);
    assert_non_null(strstr(site->run.out, path));
    assert_non_null(strstr(site->run.err, "bytes 4096-8191 are zeros: "));
    assert_non_null(
        strstr(site->run.err, "restored from a damaged checkpoint: 4096 bytes are missing"));
    memset(site->images[2][0] + 4096, 0, 4096);
    site_image_is(site, path, 2, 0);
    snprintf(checkpoint, sizeof(checkpoint), "--checkpoint=%" PRIu64, site->timestamps[0]);
    run_blxrep(&site->run, "restore", "--agent=web1", site->data_dir, checkpoint, output, "--force",
               NULL);
    run_ended(&site->run, 0, "1 disk restored");
    site_image_is(site, path, 0, 0);
}

static void harmless_damage_says_so_and_fails(void **state)
{
    struct site *site = *state;
    flip(site, "volumes/sda/volume", 100);
    run_blxrep(&site->run, "verify", site->data_dir, NULL);
    run_ended(&site->run, 1, NULL);
    assert_non_null(strstr(site->run.out, "hurts no checkpoint (no data; "));
    assert_non_null(strstr(site->run.out, "checked: 1 damage, 0 checkpoints hurt\n"));
}

static void unknown_agent_is_named(void **state)
{
    struct site *site = *state;
    run_blxrep(&site->run, "verify", site->data_dir, "--agent=web10", NULL);
    run_ended(&site->run, 1, "'web10'");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, site_setup, site_teardown)
        TEST(clean_store_ends_with_0_and_a_summary),
        TEST(damage_is_one_line_and_exit_1),
        TEST(damaged_restore_names_the_place_and_force_gives_the_rest),
        TEST(harmless_damage_says_so_and_fails),
        TEST(unknown_agent_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
