/* SPDX-License-Identifier: Apache-2.0 */
#include "loop.h"

#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "memory.h"
#include "network.h"
#include "openssl.h"
#include "sys.h"

enum { MAX_TURNS = 2000, POISON = 0x5a };

struct fault {
    const char *name;
    void (*arm)(unsigned after, bool for_ever);
    bool (*disarm)(void);
    bool for_ever;
    bool memory;
};

static const struct fault faults[] = {
    {"no memory once", memory_arm, memory_disarm, false, true},
    {"no memory any more", memory_arm, memory_disarm, true, true},
    {"a disk error", sys_arm, sys_disarm, false, false},
    {"disk errors from here on", sys_arm, sys_disarm, true, false},
    {"a network error", network_arm, network_disarm, false, false},
    {"network errors from here on", network_arm, network_disarm, true, false},
    {"OpenSSL fails once", openssl_arm, openssl_disarm, false, false},
    {"OpenSSL fails from here on", openssl_arm, openssl_disarm, true, false},
};

/* For programs without openssl.c. */
__attribute__((weak)) void openssl_arm(unsigned after, bool for_ever)
{
    (void)after, (void)for_ever;
}

__attribute__((weak)) bool openssl_disarm(void)
{
    return false;
}

static unsigned count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    unsigned count = 0;
    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

static void check_error(const struct fault *fault, unsigned after, int rc,
                        const struct blx_error *err)
{
    if (rc == 0)
        return;
    if (err->code != rc || err->message[0] == '\0')
        fail_msg("%s, call %u: %d, but the error says %d, \"%s\"", fault->name, after, rc,
                 err->code, err->message);
    /* After a disk error a function may return an error of its own; short memory is always
     * -ENOMEM. */
    if (fault->memory && rc != -ENOMEM)
        fail_msg("%s, call %u: %d: %s", fault->name, after, rc, err->message);
}

/* True if the fault occurred. */
static bool run_turn(const struct fault_case *fault_case, const struct fault *fault, unsigned after,
                     void *state)
{
    struct blx_error err = {0};
    sys_use_fast();
    unsigned fds = count_fds();
    if (fault_case->setup != NULL)
        fault_case->setup(state);
    fault->arm(after, fault->for_ever);
    int rc = fault_case->run(state, &err);
    bool failed = fault->disarm();
    if (!failed && rc != 0)
        fail_msg("%s: nothing failed, and yet %d: %s", fault->name, rc, err.message);
    if (!fault_case->silent)
        check_error(fault, after, rc, &err);
    fault_case->check(state, rc);
    if (fault_case->teardown != NULL)
        fault_case->teardown(state);
    if (count_fds() != fds)
        fail_msg("%s, call %u: a descriptor is lost", fault->name, after);
    return failed;
}

void fault_loop(const struct fault_case *fault_case, void *state)
{
    unsigned total = 0;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        unsigned after = 0;
        while (run_turn(fault_case, &faults[i], after, state)) {
            if (++after > MAX_TURNS)
                fail_msg("%s: no end after %d calls", faults[i].name, MAX_TURNS);
        }
        total += after;
    }
    /* A loop in which nothing can fail would show nothing. */
    assert_true(total > 0);
    print_message("%u faults\n", total);
}

void fault_poison(void *output, size_t bytes)
{
    memset(output, POISON, bytes);
}

void fault_assert_poisoned(const void *output, size_t bytes)
{
    const uint8_t *at = output;
    for (size_t i = 0; i < bytes; i++)
        assert_int_equal(at[i], POISON);
}
