/* SPDX-License-Identifier: Apache-2.0 */
#include "base/watchdog.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/notify.h"
#include "base/assert.h"
#include "base/clock.h"

/* A loop may take a quarter of the period for a turn. So even if two hands turn at the worst times
 * a ping comes within half of the period. */
enum { TURNS_PER_PERIOD = 4 };

/* 0 if the variable is unset or not a positive number. */
static uint64_t number_from_environment(const char *name)
{
    const char *text = getenv(name);
    if (text == NULL || text[0] < '0' || text[0] > '9')
        return 0;
    char *end;
    errno = 0;
    uint64_t number = strtoull(text, &end, 10);
    return *end != '\0' || errno != 0 ? 0 : number;
}

void blx_watchdog_init(struct blx_watchdog *watchdog, unsigned hands)
{
    uint64_t period_us = number_from_environment("WATCHDOG_USEC");
    uint64_t pid = number_from_environment("WATCHDOG_PID");
    bool is_for_us = getenv("WATCHDOG_PID") == NULL || pid == (uint64_t)getpid();
    blx_assert(hands >= 1 && hands <= 32);
    watchdog->hands = hands;
    watchdog->wait_ns =
        is_for_us && period_us < UINT64_MAX / 1000 ? period_us * 1000 / TURNS_PER_PERIOD : 0;
    atomic_init(&watchdog->turned, 0);
    atomic_init(&watchdog->last_attempt_ns, blx_clock_ns());
}

void blx_watchdog_turn(struct blx_watchdog *watchdog, unsigned hand)
{
    if (watchdog->wait_ns == 0)
        return;
    blx_assert(hand < watchdog->hands);
    unsigned all = watchdog->hands == 32 ? UINT32_MAX : (1U << watchdog->hands) - 1;
    unsigned turned = atomic_fetch_or(&watchdog->turned, 1U << hand) | 1U << hand;
    uint64_t now_ns = blx_clock_ns();
    if (turned != all || now_ns - atomic_load(&watchdog->last_attempt_ns) < watchdog->wait_ns)
        return;
    /* If two hands come here at once both may ping, and both pings are true. */
    atomic_store(&watchdog->turned, 0);
    atomic_store(&watchdog->last_attempt_ns, now_ns);
    blx_notify_at_once("WATCHDOG=1");
}

uint64_t blx_watchdog_wait_ns(const struct blx_watchdog *watchdog)
{
    return watchdog->wait_ns == 0 ? UINT64_MAX : watchdog->wait_ns;
}
