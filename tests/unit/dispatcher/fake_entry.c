/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/units.h"
#include "fake_entry.h"

struct fake_entry *fake_entry_connect(struct dispatcher_registry *registry)
{
    struct fake_entry *fake = calloc(1, sizeof(*fake));
    int fds[2];
    assert_non_null(fake);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    fake->entry.socket_fd = fds[0];
    fake->agent_fd = fds[1];
    fake->entry.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    fake->entry.connected_ns = blx_clock_ns();
    snprintf(fake->entry.peer, sizeof(fake->entry.peer), "192.0.2.1:4711");
    assert_int_equal(dispatcher_registry_connect(registry, &fake->entry, NULL), 0);
    return fake;
}

struct fake_entry *fake_entry_ready(struct dispatcher_registry *registry, const char *agent_id,
                                    blx_timestamp last_checkpoint)
{
    const struct blx_policy_message policy = {.sync_freq_ms = FAKE_ENTRY_SYNC_FREQ_MS};
    struct fake_entry *fake = fake_entry_connect(registry);
    assert_int_equal(dispatcher_registry_enter(registry, &fake->entry, agent_id, NULL), 0);
    dispatcher_registry_set_last_checkpoint(registry, &fake->entry, last_checkpoint,
                                            last_checkpoint);
    dispatcher_registry_set_policy(registry, &fake->entry, &policy);
    dispatcher_registry_set_ready(registry, &fake->entry, BLX_PASS_RESUME);
    return fake;
}

void fake_entry_leave(struct dispatcher_registry *registry, struct fake_entry *fake,
                      const char *reason)
{
    dispatcher_registry_leave(registry, &fake->entry, reason);
    close(fake->entry.socket_fd);
    close(fake->entry.wake_fd);
    close(fake->agent_fd);
    free(fake);
}

bool fake_entry_is_readable(int fd)
{
    struct pollfd fds = {.fd = fd, .events = POLLIN};
    return poll(&fds, 1, 0) == 1;
}
