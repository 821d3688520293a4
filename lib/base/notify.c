/* SPDX-License-Identifier: Apache-2.0 */
#include "base/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"

static int notify_address(const char *name, struct sockaddr_un *address, socklen_t *length)
{
    size_t name_bytes = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || name_bytes < 2 ||
        name_bytes >= sizeof(address->sun_path))
        return -EINVAL;
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(address->sun_path, name, name_bytes);
    if (name[0] == '@')
        address->sun_path[0] = '\0';
    *length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + name_bytes);
    return 0;
}

static int send_to(const char *name, const char *state, int flags)
{
    struct sockaddr_un address;
    socklen_t length;
    int rc = notify_address(name, &address, &length);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_FD int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    ssize_t sent =
        sendto(fd, state, strlen(state), MSG_NOSIGNAL | flags, (struct sockaddr *)&address, length);
    return sent < 0 ? -errno : 0;
}

static int send_state(const char *state, int flags)
{
    const char *name = getenv("NOTIFY_SOCKET");
    return name == NULL || name[0] == '\0' ? 0 : send_to(name, state, flags);
}

int blx_notify_socket(const char *name, const char *text)
{
    return send_to(name, text, MSG_DONTWAIT);
}

int blx_notify(const char *state)
{
    return send_state(state, 0);
}

int blx_notify_at_once(const char *state)
{
    return send_state(state, MSG_DONTWAIT);
}
