/* SPDX-License-Identifier: Apache-2.0 */
/* Restores, verifications, prunes and rewrites at once, in processes of their own: a restore is
 * right or says that its checkpoint is gone. */
#include "history.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/verify/verify.h"

enum { CHECKPOINTS = 120, READERS = 3, ROUNDS = 60, NEWEST_KEPT = 6 };

static void fail_child(const char *what, const struct blx_error *err)
{
    fprintf(stderr, "%s: %s\n", what, err->message);
    _exit(1);
}

/* 1: it was removed meanwhile; 0: it is what it was. */
static int restore_one(const struct history *history, size_t at, unsigned reader)
{
    struct blx_error err = {0};
    char path[PATH_MAX];
    static uint8_t got[HISTORY_BYTES];
    test_path(&history->test, path, "restored-%u.img", reader);
    struct blx_restore_target target = {.path = path};
    int rc = blx_restore(blx_store_agent(&history->test.store, "web1"), history->timestamps[at],
                         "sda", &target, NULL, &err);
    if (rc == -ENOENT)
        return 1;
    if (rc < 0)
        fail_child("restore", &err);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || pread(fd, got, sizeof(got), 0) != (ssize_t)sizeof(got) ||
        memcmp(got, history->images[at], sizeof(got)) != 0)
        fail_child("restore", &(struct blx_error){.message = "another image"});
    close(fd);
    unlink(path);
    return 0;
}

static void read_on(const struct history *history, unsigned reader)
{
    uint64_t random = 1000 + reader;
    unsigned good = 0;
    for (unsigned i = 0; i < ROUNDS; i++)
        good += restore_one(history, test_random(&random) % CHECKPOINTS, reader) == 0;
    for (size_t at = CHECKPOINTS - NEWEST_KEPT; at < CHECKPOINTS; at++)
        if (restore_one(history, at, reader) != 0)
            fail_child("restore", &(struct blx_error){.message = "a kept checkpoint is gone"});
    _exit(good > 0 ? 0 : 1);
}

static void verify_on(const struct history *history)
{
    for (unsigned i = 0; i < 15; i++) {
        struct blx_error err = {0};
        struct blx_verify_report report;
        if (blx_verify(&history->test.store, "web1", NULL, &report, &err) < 0)
            fail_child("verify", &err);
        if (report.damage_count > 0)
            fail_child("verify", &(struct blx_error){.message = "damage"});
        blx_verify_report_done(&report);
    }
    _exit(0);
}

/* Few at a time, the oldest last, until only the newest are left. */
static void prune_on(const struct history *history, uint64_t random)
{
    for (unsigned i = 0; i < 400; i++) {
        struct blx_error err = {0};
        struct blx_prune_report report;
        blx_timestamp doomed[CHECKPOINTS];
        size_t count = 0;
        for (size_t at = 0; at < CHECKPOINTS - NEWEST_KEPT; at++)
            if (i == 399 || test_random(&random) % 40 == 0)
                doomed[count++] = history->timestamps[at];
        struct blx_prune_request request = {
            .checkpoints = doomed, .count = count, .wait_ms = 60000};
        int rc = blx_prune(blx_store_agent(&history->test.store, "web1"), &request, &report, &err);
        if (rc < 0)
            fail_child("prune", &err);
    }
    _exit(0);
}

/* Until nothing is left to be rewritten and no prune makes more. */
static void rewrite_on(const struct history *history)
{
    size_t replaced = 0;
    for (unsigned i = 0; i < 150; i++) {
        struct blx_error err = {0};
        struct blx_rewrite_report report;
        const struct blx_rewrite_request request = {.wait_ms = 200};
        int rc =
            blx_rewrite(blx_store_agent(&history->test.store, "web1"), &request, &report, &err);
        if (rc < 0)
            fail_child("rewrite", &err);
        if (report.damaged > 0)
            fail_child("rewrite", &(struct blx_error){.message = "damage"});
        replaced += report.replaced;
        usleep(2000);
    }
    _exit(replaced > 0 ? 0 : 1);
}

static void restores_are_right_while_checkpoints_are_removed(void **state)
{
    (void)state;
    struct history history;
    pid_t children[READERS + 4];
    history_init(&history, 31);
    history_grow(&history, CHECKPOINTS);
    for (unsigned i = 0; i < READERS + 4; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0 && i < READERS)
            read_on(&history, i);
        else if (children[i] == 0 && i == READERS)
            verify_on(&history);
        else if (children[i] == 0 && i == READERS + 1)
            rewrite_on(&history);
        else if (children[i] == 0)
            prune_on(&history, i);
    }
    for (unsigned i = 0; i < READERS + 4; i++) {
        int status;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    for (size_t at = 0; at < CHECKPOINTS - NEWEST_KEPT; at++)
        history_forget(&history, at);
    history_check(&history);
    history_done(&history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(restores_are_right_while_checkpoints_are_removed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
