/* SPDX-License-Identifier: Apache-2.0 */
/* Reading policies gives all of them or none, whatever fails on the way, and leaves the old set
 * untouched. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config/policy.h"
#include "loop.h"

static char folder[64];

struct reading {
    struct blx_policies policies;
};

static void write_policy(const char *name, const char *text)
{
    char path[96];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int run(void *arg, struct blx_error *err)
{
    struct reading *reading = arg;
    return blx_policies_read(folder, &reading->policies, err);
}

static void check(void *arg, int rc)
{
    struct reading *reading = arg;
    struct blx_policy_verdict verdict;
    const struct blx_policy_verdict own = {.sync_freq_ms = 60000};
    assert_int_equal(reading->policies.count, rc == 0 ? 2 : 0);
    if (rc < 0)
        return;
    blx_policies_judge(&reading->policies, &own, "web1", &verdict);
    assert_int_equal(verdict.sync_freq_ms, 30000);
    assert_int_equal(verdict.exclude_bytes, 4 + 6);
}

static void teardown(void *arg)
{
    blx_policies_done(&((struct reading *)arg)->policies);
}

static void policies_are_read_whole_or_not_at_all(void **state)
{
    (void)state;
    struct reading reading = {0};
    fault_loop(&(struct fault_case){NULL, run, check, teardown, 0}, &reading);
}

int main(void)
{
    strcpy(folder, "/tmp/blxrep-policies-XXXXXX");
    if (mkdtemp(folder) == NULL)
        return 1;
    write_policy("a.yaml", "agents: [\"web*\", \"db1\"]\nexclude: [\"sdb\", \"loop*\"]\n");
    write_policy("b.yaml", "agents: \"*\"\nsync-freq: \"30s\"\nretention: { keep-last: 3 }\n");
    const struct CMUnitTest tests[] = {cmocka_unit_test(policies_are_read_whole_or_not_at_all)};
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char path[96];
    for (const char *name = "ab"; *name != '\0'; name++) {
        snprintf(path, sizeof(path), "%s/%c.yaml", folder, *name);
        unlink(path);
    }
    rmdir(folder);
    return failed;
}
