/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/watch.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "base/units.h"

enum {
    LOOK_MS = 1000,         /* between two looks at what nothing tells */
    ANSWER_MS = 60 * 1000,  /* for an answer, even if it is emulated on a busy host */
    ANSWERS = 2,            /* of a console: a panic's own text comes at once, and once */
    QUESTIONS = 4,          /* on a console until two answers are alike */
    SILENCE_MS = 10 * 1000, /* of the unit, which begins before any getty does */
    ANSWER_BYTES = 200,
    STARVED_PERCENT = 80, /* of its time waiting for a processor: such a host tells nothing */
    SCREEN_LINES = 40,
    PANIC_LINES = 60,
};

/* A getty's prompt at the end of the console. */
#define LOGIN_PROMPT "(^|[^[:alnum:]])login: *$"
/* What is neither the kernel's, "[    1.234567] ...", nor systemd's, "[  OK  ] ...". */
#define ANSWER "^[^[:space:][]|^\\[[^[:space:]0-9]"

struct trial {
    const struct proof_watch *watch;
    struct blx_tested *tested;
    struct boot_guest *guest;
    uint64_t begun_ns, deadline_ns;
    uint64_t span_ms;   /* that ends at the deadline */
    uint64_t waited_ns; /* for a processor of this host, before that span */
    struct proof_report report;
    /* On the unit that reports (plant.h):
     *
     *     ABSENT ◄──not planted        AWAITED ──it reports──► REPORTS
     *      ▲  │                           │                       ▲
     *      │  └───────────────────────────┼──it reports, late─────┘
     *      └──────────────────────────────┘ a prompt came, and no unit: another system booted */
    enum unit_state { UNIT_ABSENT, UNIT_AWAITED, UNIT_REPORTS } unit;
    uint64_t said_ns; /* when the console had said what was expected; 0: it has not */
    bool ended;       /* the guest is off */
    bool timeout;     /* the deadline has passed */
};

static bool is_planted(const struct trial *trial)
{
    return trial->unit != UNIT_ABSENT;
}

/* Whether a line on the console is waited for at all. */
static bool needs_console(const struct trial *trial)
{
    return trial->tested->expect[0] != '\0' || !is_planted(trial);
}

static void fail(struct trial *trial, enum blx_test_check check, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void fail(struct trial *trial, enum blx_test_check check, const char *format, ...)
{
    va_list list;
    trial->tested->results[check] = BLX_TEST_BAD;
    if (trial->tested->reason[0] != '\0')
        return;
    va_start(list, format);
    vsnprintf(trial->tested->reason, sizeof(trial->tested->reason), format, list);
    va_end(list);
}

static void see(struct trial *trial, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void see(struct trial *trial, const char *format, ...)
{
    char *seen = trial->tested->seen;
    size_t used = strlen(seen), bytes = sizeof(trial->tested->seen);
    va_list list;
    if (used > 0 && used + 3 < bytes) {
        memcpy(seen + used, "; ", 3);
        used += 2;
    }
    va_start(list, format);
    vsnprintf(seen + used, bytes - used, format, list);
    va_end(list);
}

/* A step of at most a second, and what it tells. */
static int step(struct trial *trial, struct blx_error *err)
{
    struct boot_step step;
    struct proof_report later;
    uint64_t look_ns = blx_deadline_in_ms(LOOK_MS);
    if (look_ns > trial->deadline_ns)
        look_ns = trial->deadline_ns;
    int rc = boot_guest_step(trial->guest, trial->watch->wake_fd, look_ns, &step, err);
    if (rc < 0)
        return rc;
    if (step.event == BOOT_EVENT_WOKEN)
        return blx_error_set(err, -EINTR, "stopped by a signal");
    if (step.event == BOOT_EVENT_TIME && boot_guest_lacks_room(trial->guest))
        return blx_error_set(err, -ENOSPC,
                             "there is no room on this host for what the server writes: make room "
                             "in $TMPDIR, or /var/tmp, or name another folder with $TMPDIR");
    trial->ended = step.event == BOOT_EVENT_ENDED;
    trial->timeout = blx_deadline_left_ms(trial->deadline_ns) == 0;
    if (step.event == BOOT_EVENT_TOLD) {
        proof_report_read(boot_guest_reports(trial->guest), trial->watch->plant->number, &later);
        proof_report_add(&trial->report, &later);
        if (trial->report.up)
            trial->unit = UNIT_REPORTS;
    }
    return 0;
}

static bool has_panicked(const struct trial *trial)
{
    return strstr(boot_guest_tail(trial->guest, PANIC_LINES), "Kernel panic - not syncing") != NULL;
}

/* An isolated emergency.target; systemd calls it maintenance. */
static bool is_in_emergency(const struct trial *trial)
{
    return strcmp(trial->report.state, "maintenance") == 0;
}

static void set_deadline(struct trial *trial, uint64_t span_ms)
{
    trial->deadline_ns = blx_deadline_in_ms(span_ms);
    trial->span_ms = span_ms;
    trial->waited_ns = boot_guest_waited_ns(trial->guest);
    trial->timeout = false;
}

/* A server that was not let run says nothing about its checkpoint. */
static int check_starved(const struct trial *trial, struct blx_error *err)
{
    char waited[BLX_UNIT_TEXT_BYTES], span[BLX_UNIT_TEXT_BYTES];
    if (!trial->timeout)
        return 0;
    const uint64_t waited_ns = boot_guest_waited_ns(trial->guest);
    const uint64_t waited_ms =
        waited_ns > trial->waited_ns ? (waited_ns - trial->waited_ns) / BLX_NS_PER_MS : 0;
    if (trial->span_ms == 0 || waited_ms * 100 < trial->span_ms * STARVED_PERCENT)
        return 0;
    return blx_error_set(err, -EBUSY,
                         "this host was too busy: the server waited %s of %s for a processor; test "
                         "it at another time, or give it more time",
                         blx_duration_format(waited_ms, waited),
                         blx_duration_format(trial->span_ms, span));
}

/* True: it has failed, and the reason is told. */
static bool is_lost(struct trial *trial)
{
    char within[BLX_UNIT_TEXT_BYTES];
    if (has_panicked(trial))
        fail(trial, BLX_TEST_BOOT, "its kernel panicked");
    else if (trial->ended)
        fail(trial, BLX_TEST_BOOT, "the server switched itself off, or restarted, while it booted");
    else if (is_in_emergency(trial))
        fail(trial, BLX_TEST_BOOT, "systemd ended in its emergency shell");
    else if (trial->timeout)
        fail(trial, BLX_TEST_BOOT, "it did not boot within %s: %s",
             blx_duration_format(trial->tested->within_ms, within),
             is_planted(trial) && !trial->report.up ? "systemd never started the unit that tells"
             : is_planted(trial) && !trial->report.done
                 ? "services are still starting, or the command is still running"
                 : "its console did not say what was expected");
    return trial->tested->results[BLX_TEST_BOOT] == BLX_TEST_BAD;
}

/* An old system beside the root that boots has the unit, too. Whoever prompts without it is another
 * one, and is judged by the console; but a command cannot be run there. */
static int give_up_unit(struct trial *trial, struct blx_error *err)
{
    if (trial->said_ns == 0 && boot_guest_found(trial->guest))
        trial->said_ns = blx_clock_ns();
    if (trial->unit != UNIT_AWAITED || trial->said_ns == 0 ||
        blx_clock_ns() - trial->said_ns < SILENCE_MS * BLX_NS_PER_MS)
        return 0;
    const bool has_command = trial->tested->command[0] != '\0';
    if (has_command && !trial->timeout)
        return 0;
    if (has_command)
        return blx_error_set(err, -EOPNOTSUPP,
                             "the command cannot be run: the system that boots does not start the "
                             "unit in '%s'; leave out the command",
                             trial->watch->plant->where);
    trial->unit = UNIT_ABSENT;
    return 0;
}

static int await_signs(struct trial *trial, struct blx_error *err)
{
    const char *expect = trial->tested->expect[0] != '\0' ? trial->tested->expect : LOGIN_PROMPT;
    int rc = boot_guest_expect(trial->guest, expect, err);
    while (rc == 0) {
        rc = give_up_unit(trial, err);
        if (rc < 0)
            return rc;
        /* What came before the unit did counts, since that is what answers at the end. */
        bool said = !needs_console(trial) || boot_guest_found(trial->guest) ||
                    (trial->unit == UNIT_REPORTS && trial->said_ns != 0);
        bool told = !is_planted(trial) || (trial->report.done && !is_in_emergency(trial));
        rc = check_starved(trial, err);
        if (rc < 0 || is_lost(trial) || (said && told))
            return rc;
        rc = step(trial, err);
    }
    return rc;
}

/* The unit repeats what it is sent. */
static int ask_unit(struct trial *trial, bool *answered, struct blx_error *err)
{
    uint32_t random = 0;
    char word[16], line[20];
    if (getrandom(&random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return blx_error_errno(err, -errno, "cannot choose a number");
    snprintf(word, sizeof(word), "%08x", random);
    snprintf(line, sizeof(line), "%s\n", word);
    boot_guest_answer(trial->guest, line, strlen(line));
    int rc = 0;
    while (rc == 0 && !trial->ended && !trial->timeout && strcmp(trial->report.answer, word) != 0)
        rc = step(trial, err);
    *answered = strcmp(trial->report.answer, word) == 0;
    return rc;
}

static bool goes_on(const struct trial *trial)
{
    return !trial->ended && !trial->timeout;
}

static int await_quiet(struct trial *trial, struct blx_error *err)
{
    size_t before;
    int rc = 0;
    do {
        before = boot_guest_said(trial->guest);
        uint64_t quiet_ns = blx_deadline_in_ms(LOOK_MS);
        while (rc == 0 && goes_on(trial) && blx_deadline_left_ms(quiet_ns) > 0)
            rc = step(trial, err);
    } while (rc == 0 && goes_on(trial) && boot_guest_said(trial->guest) != before);
    return rc;
}

/* The newest line that has something. */
static void take_answer(const struct trial *trial, char answer[ANSWER_BYTES])
{
    const char *text = boot_guest_tail(trial->guest, 3);
    answer[0] = '\0';
    while (*text != '\0') {
        size_t length = strcspn(text, "\n");
        if (strspn(text, " \r") < length)
            snprintf(answer, ANSWER_BYTES, "%.*s", (int)length, text);
        text += length + (text[length] != '\0');
    }
}

/* A getty prompts again, and whatever else reads the console says something. The end of a line
 * alone is no answer: the kernel echoes it, whether anybody reads it or not. */
static int ask_console(struct trial *trial, bool *answered, struct blx_error *err)
{
    const char *answer = trial->tested->expect[0] == '\0' ? LOGIN_PROMPT : ANSWER;
    int rc = await_quiet(trial, err);
    size_t before = boot_guest_lines(trial->guest);
    boot_guest_type(trial->guest, "\r", 1);
    /* The prompt that stands there is on the line that has just ended. */
    while (rc == 0 && goes_on(trial) && boot_guest_lines(trial->guest) == before)
        rc = step(trial, err);
    *answered = false;
    if (rc < 0 || boot_guest_lines(trial->guest) == before)
        return rc;
    rc = boot_guest_expect(trial->guest, answer, err);
    while (rc == 0 && goes_on(trial) && !boot_guest_found(trial->guest))
        rc = step(trial, err);
    *answered = boot_guest_found(trial->guest);
    return rc;
}

/* Whoever prompts says the same again. Messages that come by chance differ, but one of them may
 * come in between. */
static int ask_console_twice(struct trial *trial, bool *answered, struct blx_error *err)
{
    char one[ANSWER_BYTES] = "", other[ANSWER_BYTES];
    bool alike = false;
    int rc = 0;
    *answered = true;
    for (unsigned i = 0; rc == 0 && *answered && !alike && i < QUESTIONS; i++) {
        rc = ask_console(trial, answered, err);
        if (rc == 0)
            rc = await_quiet(trial, err); /* an answer comes in pieces */
        take_answer(trial, other);
        alike = one[0] != '\0' && strcmp(one, other) == 0;
        memcpy(one, other, sizeof(one));
    }
    *answered = *answered && alike;
    return rc;
}

/* A prompt that something had printed early: the unit has begun since. */
static bool has_unit_come(const struct trial *trial, enum unit_state before)
{
    return before == UNIT_ABSENT && trial->unit == UNIT_REPORTS;
}

/* *again: the signs are to be waited for once more. */
static int ask(struct trial *trial, bool *again, struct blx_error *err)
{
    const enum unit_state unit = trial->unit;
    const uint64_t deadline_ns = trial->deadline_ns;
    bool answered = true;
    int rc = 0;
    set_deadline(trial, ANSWER_MS);
    if (!is_planted(trial))
        rc = ask_console_twice(trial, &answered, err);
    for (unsigned i = 0; rc == 0 && is_planted(trial) && answered && i < ANSWERS; i++)
        rc = ask_unit(trial, &answered, err);
    *again = rc == 0 && !answered && !trial->ended && has_unit_come(trial, unit);
    if (*again) {
        set_deadline(trial, blx_deadline_left_ms(deadline_ns));
        return 0;
    }
    if (rc == 0 && !answered)
        rc = check_starved(trial, err);
    if (rc < 0)
        return rc;
    if (has_panicked(trial))
        fail(trial, BLX_TEST_BOOT, "its kernel panicked");
    else if (trial->ended)
        fail(trial, BLX_TEST_BOOT, "the server switched itself off, or restarted, after it booted");
    else if (!answered)
        fail(trial, BLX_TEST_BOOT,
             "the console had what was expected, but nobody answers there: the text was printed "
             "by something else, or the server stopped after it");
    return 0;
}

static void judge_services(struct trial *trial)
{
    const struct proof_report *report = &trial->report;
    bool running = strcmp(report->state, "running") == 0;
    bool excused = strcmp(report->state, "degraded") == 0 && report->failed[0] == '\0';
    if (running || excused) {
        trial->tested->results[BLX_TEST_SERVICES] = BLX_TEST_GOOD;
        see(trial, running ? "systemd is running, no unit failed"
                           : "systemd is running, and only units that wait for a network failed");
        return;
    }
    see(trial, "systemd is %.23s", report->state);
    fail(trial, BLX_TEST_SERVICES, "units failed: %s",
         report->failed[0] != '\0' ? report->failed : "systemd does not say which");
}

static void judge_command(struct trial *trial)
{
    const struct proof_report *report = &trial->report;
    if (trial->tested->command[0] == '\0')
        return;
    see(trial, "the command ended with %d%s%s", report->status,
        report->said[0] != '\0' ? " and said: " : "", report->said);
    if (report->status == 0)
        trial->tested->results[BLX_TEST_COMMAND] = BLX_TEST_GOOD;
    else
        fail(trial, BLX_TEST_COMMAND, "the command ended with %d: %s", report->status,
             report->said);
}

static void judge(struct trial *trial)
{
    if (trial->tested->results[BLX_TEST_BOOT] == BLX_TEST_BAD)
        return;
    trial->tested->results[BLX_TEST_BOOT] = BLX_TEST_GOOD;
    if (needs_console(trial))
        see(trial, "the console had '%.100s'",
            trial->tested->expect[0] != '\0' ? trial->tested->expect : "login:");
    see(trial, "it booted and answered");
    if (is_planted(trial)) {
        judge_services(trial);
        judge_command(trial);
    } else if (trial->watch->plant->planted) {
        see(trial,
            "services were not looked at: the system that booted does not start the unit in '%s'",
            trial->watch->plant->where);
    } else {
        see(trial, "services were not looked at: %s", trial->watch->plant->why);
    }
}

static int follow(struct trial *trial, struct blx_error *err)
{
    uint64_t ready_ns = 0;
    bool again = true;
    int rc = 0;
    while (rc == 0 && again) {
        again = false;
        rc = await_signs(trial, err);
        ready_ns = blx_clock_ns();
        if (rc == 0 && trial->tested->results[BLX_TEST_BOOT] != BLX_TEST_BAD)
            rc = ask(trial, &again, err);
    }
    if (rc < 0)
        return rc;
    judge(trial);
    if (trial->tested->results[BLX_TEST_BOOT] == BLX_TEST_GOOD)
        trial->tested->booted_ms = blx_ns_to_ms_up(ready_ns - trial->begun_ns);
    trial->tested->machine =
        boot_guest_accelerator(trial->guest) == BOOT_KVM ? BLX_TEST_KVM : BLX_TEST_EMULATED;
    blx_tested_set_screen(trial->tested, boot_guest_tail(trial->guest, SCREEN_LINES));
    return 0;
}

int proof_watch(const struct proof_watch *watch, struct blx_tested *tested, struct blx_error *err)
{
    struct boot_guest_config config = watch->guest;
    struct trial trial = {.watch = watch,
                          .tested = tested,
                          .report.status = -1,
                          .unit = watch->plant->planted ? UNIT_AWAITED : UNIT_ABSENT};
    config.hardware.restart = BOOT_ENDS;
    config.hardware.reports = BOOT_REPORTS;
    trial.begun_ns = blx_clock_ns();
    int rc = boot_guest_start(&config, &trial.guest, err);
    if (rc == 0) {
        set_deadline(&trial, tested->within_ms);
        rc = follow(&trial, err);
    }
    boot_guest_free(trial.guest);
    return rc;
}
