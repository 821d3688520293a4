/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/reboot/proof.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* A reboot that is believed, and what one change makes of it. */
static struct agent_save save;
static struct agent_save_volume volume;
static struct agent_proof_boot boot;
static struct agent_proof_disk disk;

static void make_good(void)
{
    save = (struct agent_save){.verb = AGENT_SAVE_REBOOT};
    volume = (struct agent_save_volume){.refusal = ""};
    boot = (struct agent_proof_boot){.away_s = 12, .history = {.count = 2, .seconds = {14, 10}}};
    disk = (struct agent_proof_disk){.counts = true, .is_same_size = true, .has_superblocks = true};
}

static const char *judge(void)
{
    static char reason[BLX_TEXT_BYTES];
    return agent_proof_judge(&save, &volume, &boot, &disk, reason);
}

#define ASSERT_REFUSED(words)                                                                      \
    do {                                                                                           \
        const char *why = judge();                                                                 \
        assert_non_null(why);                                                                      \
        assert_non_null(strstr(why, words));                                                       \
        make_good();                                                                               \
    } while (0)

static void planned_reboot_is_believed(void **state)
{
    (void)state;
    make_good();
    assert_null(judge());
}

static void each_doubt_is_a_reason(void **state)
{
    (void)state;
    make_good();
    strcpy(volume.refusal, "the agent did not end in order");
    ASSERT_REFUSED("did not end in order");
    disk.is_same_size = false;
    ASSERT_REFUSED("another size");
    disk.counts = false;
    ASSERT_REFUSED("does not count");
    disk.sectors = 8;
    ASSERT_REFUSED("8 sectors were written");
    disk.is_busy = true;
    ASSERT_REFUSED("in flight");
    disk.has_superblocks = false;
    ASSERT_REFUSED("superblocks");
    disk.commands = AGENT_PROOF_SOME;
    ASSERT_REFUSED("write commands");
    boot.is_same_boot = true;
    ASSERT_REFUSED("this very boot");
    boot.away_s = -3600;
    ASSERT_REFUSED("from the future");
    boot.history.count = 0;
    ASSERT_REFUSED("first reboot");
    for (int verb = 0; verb < AGENT_SAVE_VERBS; verb++) {
        save.verb = (enum agent_save_verb)verb;
        if (verb == AGENT_SAVE_REBOOT)
            continue;
        ASSERT_REFUSED(verb == AGENT_SAVE_UNKNOWN
                           ? "how the machine went down"
                           : agent_save_name_verb((enum agent_save_verb)verb));
    }
}

static void shortest_reboot_is_the_measure(void **state)
{
    (void)state;
    make_good();
    assert_int_equal(agent_proof_limit_s(&boot.history), 17);
    boot.away_s = 17;
    assert_null(judge());
    boot.away_s = 18;
    ASSERT_REFUSED("away for 18 s, and its reboots take 17 s at most");
    boot.away_s = -2; /* both clocks tell whole seconds */
    assert_null(judge());
    boot.away_s = 100;
    boot.history.seconds[0] = 100; /* one that was long is no excuse */
    ASSERT_REFUSED("away for 100 s");
    boot.history = (struct agent_save_history){0};
    assert_int_equal(agent_proof_limit_s(&boot.history), 0);
}

/* The drive itself knows that nobody wrote: time and a power-off do not matter then. */
static void drive_that_counts_needs_no_clock(void **state)
{
    (void)state;
    make_good();
    disk.commands = AGENT_PROOF_NONE;
    boot.away_s = 100000;
    boot.history.count = 0;
    save.verb = AGENT_SAVE_POWEROFF;
    assert_null(judge());
    disk.sectors = 1;
    assert_non_null(judge());
    disk.sectors = 0;
    disk.has_superblocks = false;
    assert_non_null(judge());
    disk.has_superblocks = true;
    boot.is_same_boot = true;
    assert_non_null(judge());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(planned_reboot_is_believed),
        cmocka_unit_test(each_doubt_is_a_reason),
        cmocka_unit_test(shortest_reboot_is_the_measure),
        cmocka_unit_test(drive_that_counts_needs_no_clock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
