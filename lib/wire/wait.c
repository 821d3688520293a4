/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/wait.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>

#include "base/clock.h"

int blx_wait_fd(int fd, short events, uint64_t deadline_ns)
{
    for (;;) {
        struct pollfd waited = {.fd = fd, .events = events};
        int timeout = blx_deadline_poll_ms(deadline_ns);
        int ready = poll(&waited, 1, timeout);
        if (ready > 0)
            return 0;
        if (ready < 0 && errno != EINTR)
            return -errno;
        if (ready == 0 && timeout != INT_MAX)
            return -ETIMEDOUT;
    }
}
