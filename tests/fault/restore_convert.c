/* SPDX-License-Identifier: Apache-2.0 */
/* An image made by other programs, which shell scripts stand for here: only a whole one bears the
 * final name, and no process is left. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "folder.h"
#include "loop.h"
#include "store/restore/restore_convert.h"
#include "store/store.h"

struct converting {
    char dir[FOLDER_BYTES], image[96], partial[112];
    struct blx_store store;
    struct blx_keyring keys;
    uint64_t reported_bytes;
};

static void put_script(const struct converting *converting, const char *name, const char *text)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/%s", converting->dir, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fprintf(file, "#!/bin/sh\n%s\n", text);
    assert_int_equal(fchmod(fileno(file), 0700), 0);
    fclose(file);
}

static void setup(void *arg)
{
    struct converting *converting = arg;
    char path[256];
    memset(converting, 0, sizeof(*converting));
    folder_make(converting->dir);
    snprintf(converting->image, sizeof(converting->image), "%s/image", converting->dir);
    snprintf(converting->partial, sizeof(converting->partial), "%s.partial", converting->image);
    snprintf(converting->store.data_dir, sizeof(converting->store.data_dir), "/nowhere");
    snprintf(path, sizeof(path), "%s:/usr/bin:/bin", converting->dir);
    assert_int_equal(setenv("PATH", path, 1), 0);
    assert_int_equal(blx_key_create(&converting->keys.keys[0], NULL), 0);
    converting->keys.count = 1;
    /* It has the key, and serves until nobody is connected. */
    put_script(converting, "nbdkit", "grep -q '^key' /proc/self/fd/3 || exit 1\nexec cat");
    put_script(
        converting, "qemu-img",
        "printf '    (41.25/100%%)\\r'\nprintf '%s' \"$6\" >&4\nprintf '    (100.00/100%%)\\r'");
}

static void teardown(void *arg)
{
    folder_remove(((struct converting *)arg)->dir);
}

static void take_report(void *arg, uint64_t done_bytes, uint64_t total_bytes)
{
    struct converting *converting = arg;
    assert_true(done_bytes <= total_bytes);
    converting->reported_bytes = done_bytes;
}

static int run_convert(void *arg, struct blx_error *err)
{
    struct converting *converting = arg;
    const struct blx_agent_store agent = blx_store_agent(&converting->store, "web1");
    const struct blx_restore_target target = {.path = converting->image, .keys = &converting->keys};
    const struct blx_restore_conversion conversion = {
        .format = BLX_IMAGE_QCOW2, .plugin = "/dev/null", .total_bytes = 1000};
    const struct blx_restore_progress progress = {.report = take_report, .arg = converting};
    return blx_restore_convert(agent, 20261130000000, "vda", &target, &conversion, &progress, err);
}

static void check(void *arg, int rc)
{
    const struct converting *converting = arg;
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    /* The name is given before the folder is durable, so it may be there after an error, too. */
    if (rc == 0 || access(converting->image, F_OK) == 0)
        folder_file_is(converting->image, "qcow2");
    if (rc == 0)
        assert_int_equal(converting->reported_bytes, 1000);
}

static void an_image_is_whole_or_has_no_name(void **state)
{
    (void)state;
    static struct converting converting;
    fault_loop(&(struct fault_case){setup, run_convert, check, teardown, 0}, &converting);
}

/* What each of the two may do wrong. */
static void the_first_that_is_said_is_the_cause(void **state)
{
    (void)state;
    static struct converting converting;
    static const struct {
        const char *nbdkit, *qemu_img, *cause;
    } cases[] = {
        {"echo 'nbdkit: blxrep.2: error: the frame is damaged' >&2; echo; exec cat",
         "read word <&3; echo 'qemu-img: error while reading' >&2; exit 1",
         ": the frame is damaged"},
        {"exec cat; echo 'nbdkit: error: lost' >&2",
         "echo 'qemu-img: warning: slow' >&2; echo 'qemu-img: cannot remove' >&2;"
         "echo 'qemu-img: no room' >&2; exit 1",
         ": no room"},
        {"exec cat", "exit 3", "qemu-img ended with status 3, and nbdkit with 0"},
        {"kill -9 $$", "cat <&3 >/dev/null; echo lost >&2; exit 1", "nbdkit was ended by signal 9"},
        {"exec cat", "kill -9 $$", "qemu-img was ended by signal 9"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct blx_error err = {0};
        setup(&converting);
        put_script(&converting, "nbdkit", cases[i].nbdkit);
        put_script(&converting, "qemu-img", cases[i].qemu_img);
        assert_int_equal(run_convert(&converting, &err), -EIO);
        if (strstr(err.message, cases[i].cause) == NULL)
            fail_msg("'%s' does not have '%s'", err.message, cases[i].cause);
        assert_int_not_equal(access(converting.image, F_OK), 0);
        assert_int_not_equal(access(converting.partial, F_OK), 0);
        check(&converting, -EIO);
        teardown(&converting);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_is_whole_or_has_no_name),
        cmocka_unit_test(the_first_that_is_said_is_the_cause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
