/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep restore`: which checkpoint, which volumes, and where the images go. */
#include "site.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define RESTORE(site, ...)                                                                         \
    run_blxrep(&(site)->run, "restore", "--agent=web1", (site)->data_dir, __VA_ARGS__, NULL)

/* Asserts that stdout is this path alone. */
static void printed(const struct site *site, const char *path)
{
    char line[PATH_MAX + 1];
    snprintf(line, sizeof(line), "%s\n", path);
    assert_string_equal(site->run.out, line);
}

static void put_file(const char *path)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "mine", 4), 4);
    close(fd);
}

static bool exists(const char *path)
{
    return access(path, F_OK) == 0;
}

static void every_checkpoint_restores_to_its_default_place(void **state)
{
    struct site *site = *state;
    for (size_t c = 0; c < SITE_CHECKPOINTS; c++) {
        char checkpoint[48], path[PATH_MAX];
        snprintf(checkpoint, sizeof(checkpoint), "--checkpoint=%" PRIu64, site->timestamps[c]);
        test_path(&site->store, path, "restore/web1-%" PRIu64 ".img", site->timestamps[c]);
        RESTORE(site, checkpoint);
        run_ended(&site->run, 0, " written in ");
        printed(site, path);
        site_image_is(site, path, c, 0);
    }
}

static void latest_and_minutes_name_a_checkpoint(void **state)
{
    struct site *site = *state;
    char checkpoint[48], output[128], path[PATH_MAX];
    site_option(site, output, "output", "a.img");
    test_path(&site->store, path, "a.img");
    RESTORE(site, "--checkpoint=latest", output);
    run_ended(&site->run, 0, " written in ");
    site_image_is(site, path, SITE_CHECKPOINTS - 1, 0);
    snprintf(checkpoint, sizeof(checkpoint), "--checkpoint=%" PRIu64, site->timestamps[0] / 100);
    RESTORE(site, checkpoint, output, "--force");
    run_ended(&site->run, 0, " written in ");
    printed(site, path);
    site_image_is(site, path, 0, 0);
    RESTORE(site, "--checkpoint=19990101000000", output);
    run_ended(&site->run, 1, "19990101000000");
    RESTORE(site, "--checkpoint=noonish", output);
    run_ended(&site->run, 2, "'noonish'");
}

static void existing_file_is_replaced_with_force_only(void **state)
{
    struct site *site = *state;
    char output[128], path[PATH_MAX];
    site_option(site, output, "output", "a.img");
    test_path(&site->store, path, "a.img");
    put_file(path);
    RESTORE(site, "--checkpoint=latest", output);
    run_ended(&site->run, 1, path);
    assert_non_null(strstr(site->run.err, "--force"));
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 4);
    RESTORE(site, "--checkpoint=latest", output, "--force");
    run_ended(&site->run, 0, " written in ");
    site_image_is(site, path, SITE_CHECKPOINTS - 1, 0);
}

static void several_volumes_become_one_image_each(void **state)
{
    struct site *site = *state;
    char output[128], path[PATH_MAX];
    site_option(site, output, "output", "images");
    test_path(&site->store, path, "images");
    RESTORE(site, "--checkpoint=latest", output);
    run_ended(&site->run, 2, "is not a directory");
    assert_int_equal(mkdir(path, 0700), 0);
    RESTORE(site, "--checkpoint=latest", output);
    run_ended(&site->run, 0, "2 disks restored, ");
    for (size_t v = 0; v < 2; v++) {
        test_path(&site->store, path, "images/web1-%" PRIu64 "-sd%c.img", site->timestamps[2],
                  (char)('a' + (int)v));
        assert_non_null(strstr(site->run.out, path));
        site_image_is(site, path, 2, v);
    }
}

static void device_selects_a_volume_by_name_or_path(void **state)
{
    struct site *site = *state;
    char output[128], path[PATH_MAX];
    site_option(site, output, "output", "b.img");
    test_path(&site->store, path, "b.img");
    RESTORE(site, "--checkpoint=latest", "--device=/dev/sdb", output);
    run_ended(&site->run, 0, " written in ");
    printed(site, path);
    site_image_is(site, path, 2, 1);
    test_path(&site->store, path, "restore/web1-%" PRIu64 "-sdb.img", site->timestamps[2]);
    RESTORE(site, "--checkpoint=latest", "--device=sdb");
    run_ended(&site->run, 0, " written in ");
    printed(site, path);
    RESTORE(site, "--checkpoint=latest", "--device=/dev/sdc");
    run_ended(&site->run, 1, "/dev/sda, /dev/sdb");
}

/* The newest checkpoint becomes one that lacks the second disk. */
static void drop_second_disk(struct site *site)
{
    struct blx_manifest manifest = {0};
    struct blx_error err = {0};
    struct blx_agent_store agent = blx_store_agent(&site->store.store, "web1");
    test_ok(blx_manifest_read(agent, site->timestamps[2], &manifest, &err), &err);
    strcpy(manifest.note, "without '/dev/sdb', which cannot be protected now");
    manifest.volume_count = 1;
    test_ok(blx_manifest_replace(agent, &manifest, &err), &err);
    manifest.volume_count = 2;
    blx_manifest_done(&manifest);
}

static void checkpoint_that_lacks_a_disk_is_refused(void **state)
{
    struct site *site = *state;
    char output[128], path[PATH_MAX], newest[48];
    drop_second_disk(site);
    site_option(site, output, "output", "a.img");
    test_path(&site->store, path, "a.img");
    snprintf(newest, sizeof(newest), "'/dev/sdb' (the newest with it: %" PRIu64,
             site->timestamps[1]);
    RESTORE(site, "--checkpoint=latest", output);
    run_ended(&site->run, 1, newest);
    assert_non_null(strstr(site->run.err, "--incomplete"));
    assert_false(exists(path));
    RESTORE(site, "--checkpoint=latest", output, "--device=/dev/sdb");
    run_ended(&site->run, 1, newest);
    RESTORE(site, "--checkpoint=latest", output, "--incomplete");
    run_ended(&site->run, 0, " written in ");
    site_image_is(site, path, 2, 0);
    RESTORE(site, "--checkpoint=latest", output, "--device=/dev/sda", "--force");
    run_ended(&site->run, 0, "1 disk restored");
    run_blxrep(&site->run, "show", "--agent=web1", site->data_dir, NULL);
    run_ended(&site->run, 0, NULL);
    assert_non_null(strstr(site->run.out, " 1 of 2 "));
    run_blxrep(&site->run, "show", "--json", "--agent=web1", site->data_dir, NULL);
    run_ended(&site->run, 0, NULL);
    assert_non_null(strstr(site->run.out, "\"missing\": [\n      \"/dev/sdb\""));
    run_blxrep(&site->run, "info", "--agent=web1", "--checkpoint=latest", site->data_dir, NULL);
    run_ended(&site->run, 0, NULL);
    assert_non_null(strstr(site->run.out, "/dev/sdb\n"));
}

static void taken_name_is_found_before_anything_is_written(void **state)
{
    struct site *site = *state;
    char first[PATH_MAX], second[PATH_MAX];
    test_path(&site->store, first, "restore");
    assert_int_equal(mkdir(first, 0700), 0);
    test_path(&site->store, first, "restore/web1-%" PRIu64 "-sda.img", site->timestamps[2]);
    test_path(&site->store, second, "restore/web1-%" PRIu64 "-sdb.img", site->timestamps[2]);
    put_file(second);
    RESTORE(site, "--checkpoint=latest");
    run_ended(&site->run, 1, second);
    assert_string_equal(site->run.out, "");
    assert_false(exists(first));
}

static void dry_run_tells_and_writes_nothing(void **state)
{
    struct site *site = *state;
    char output[128], path[PATH_MAX];
    site_option(site, output, "output", "a.img");
    test_path(&site->store, path, "a.img");
    RESTORE(site, "--checkpoint=latest", output, "--dry-run");
    run_ended(&site->run, 0, NULL);
    assert_false(exists(path));
    static const char *const parts[] = {
        "checkpoint     20261118",     " old, filesystem\n",  "/dev/sda\n",
        "to write     128.0 KiB\n",    "key          none\n", "free in its filesystem\n",
        "holds        nothing known\n"};
    for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
        if (strstr(site->run.out, parts[i]) == NULL)
            fail_msg("'%s' is not in: %s", parts[i], site->run.out);
    put_file(path);
    RESTORE(site, "--checkpoint=latest", output, "--dry-run");
    run_ended(&site->run, 1, path);
    RESTORE(site, "--checkpoint=latest", "--output=-", "--dry-run");
    run_ended(&site->run, 2, "--output=-");
    run_blxrep_on_terminal(&site->run, 120, "restore", "--agent=web1", site->data_dir,
                           "--checkpoint=latest", "--output=-", NULL);
    assert_int_equal(site->run.status, 2);
    assert_non_null(strstr(site->run.out, "the standard output is a terminal"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name, setup) cmocka_unit_test_setup_teardown(name, setup, site_teardown)
        TEST(every_checkpoint_restores_to_its_default_place, site_setup),
        TEST(latest_and_minutes_name_a_checkpoint, site_setup),
        TEST(existing_file_is_replaced_with_force_only, site_setup),
        TEST(several_volumes_become_one_image_each, site_setup_two),
        TEST(device_selects_a_volume_by_name_or_path, site_setup_two),
        TEST(checkpoint_that_lacks_a_disk_is_refused, site_setup_two),
        TEST(dry_run_tells_and_writes_nothing, site_setup),
        TEST(taken_name_is_found_before_anything_is_written, site_setup_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
