/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/wait.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>

#include "base/units.h"

uint64_t blx_wait_deadline(uint64_t timeout_ms)
{
    uint64_t now = blx_clock_ns();
    if (timeout_ms > (UINT64_MAX - now) / BLX_WAIT_NS_PER_MS)
        return BLX_WAIT_FOR_EVER;
    return now + timeout_ms * BLX_WAIT_NS_PER_MS;
}

/* Rounded up, so that a wait never ends before its deadline. */
static int poll_timeout(uint64_t deadline_ns)
{
    if (deadline_ns == BLX_WAIT_FOR_EVER)
        return -1;
    uint64_t now = blx_clock_ns();
    if (now >= deadline_ns)
        return 0;
    uint64_t ms = (deadline_ns - now + BLX_WAIT_NS_PER_MS - 1) / BLX_WAIT_NS_PER_MS;
    return ms > INT_MAX ? INT_MAX : (int)ms;
}

int blx_wait_fd(int fd, short events, uint64_t deadline_ns)
{
    for (;;) {
        struct pollfd waited = {.fd = fd, .events = events};
        int timeout = poll_timeout(deadline_ns);
        int ready = poll(&waited, 1, timeout);
        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return -errno;
        if (ready == 0 && timeout != INT_MAX)
            return -ETIMEDOUT;
    }
}
