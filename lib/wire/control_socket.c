/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/control_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"

enum { BACKLOG = 16, EXHAUSTED_PAUSE_MS = 100 };

void blx_control_socket_name(const char *host, char name[BLX_CONTROL_NAME_BYTES])
{
    snprintf(name, BLX_CONTROL_NAME_BYTES, "control.%s.sock", host);
}

static struct sockaddr_un address_in(int dir_fd, const char *name)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir_fd, name);
    return address;
}

/* Binds in the directory. Mode and owner are right before the socket gets its final name. */
static int publish(int dir_fd, int fd, const char *name, struct blx_error *err)
{
    char fresh[BLX_CONTROL_NAME_BYTES + 4];
    snprintf(fresh, sizeof(fresh), "%s.new", name);
    const struct sockaddr_un address = address_in(dir_fd, fresh);
    struct stat owner;
    if (unlinkat(dir_fd, fresh, 0) < 0 && errno != ENOENT)
        return blx_error_errno(err, -errno, "removing the old '%s'", fresh);
    if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return blx_error_errno(err, -errno, "binding '%s'", fresh);
    if (fchmodat(dir_fd, fresh, 0600, 0) < 0 || fstat(dir_fd, &owner) < 0)
        return blx_error_errno(err, -errno, "setting the mode of '%s'", fresh);
    if (owner.st_uid != geteuid() &&
        fchownat(dir_fd, fresh, owner.st_uid, owner.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
        return blx_error_errno(err, -errno, "giving '%s' to the owner of its directory", fresh);
    if (listen(fd, BACKLOG) < 0)
        return blx_error_errno(err, -errno, "listening on '%s'", fresh);
    if (renameat(dir_fd, fresh, dir_fd, name) < 0)
        return blx_error_errno(err, -errno, "renaming '%s' to '%s'", fresh, name);
    return 0;
}

int blx_control_socket_open_as(const char *dir, const char *name,
                               struct blx_control_socket *control, struct blx_error *err)
{
    BLX_CLEANUP_FD int dir_fd = blx_open(dir, O_PATH | O_DIRECTORY, 0, err);
    if (dir_fd < 0)
        return dir_fd;
    BLX_CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return blx_error_errno(err, -errno, "making the control socket");
    int rc = publish(dir_fd, fd, name, err);
    if (rc < 0) {
        blx_error_prefix(err, "the control socket '%s/%s'", dir, name);
        return rc;
    }
    *control =
        (struct blx_control_socket){.dir_fd = blx_take_fd(&dir_fd), .listen_fd = blx_take_fd(&fd)};
    blx_text_set(control->name, name);
    return 0;
}

int blx_control_socket_open(const char *dir, struct blx_control_socket *control,
                            struct blx_error *err)
{
    return blx_control_socket_open_as(dir, BLX_CONTROL_SOCKET_NAME, control, err);
}

void blx_control_socket_serve(const struct blx_control_socket *control, int stop_fd,
                              blx_control_take *take, void *arg)
{
    bool exhausted = false;
    for (;;) {
        struct pollfd fds[] = {
            {.fd = stop_fd, .events = POLLIN},
            {.fd = exhausted ? -1 : control->listen_fd, .events = POLLIN},
        };
        int ready = poll(fds, 2, exhausted ? EXHAUSTED_PAUSE_MS : -1);
        exhausted = false;
        if (ready > 0 && fds[0].revents != 0)
            return;
        if (ready <= 0 || fds[1].revents == 0)
            continue;
        int fd = accept4(control->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            take(arg, fd);
        else
            exhausted = errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM;
    }
}

int blx_control_socket_close(struct blx_control_socket *control)
{
    int rc = unlinkat(control->dir_fd, control->name, 0) < 0 && errno != ENOENT ? -errno : 0;
    close(control->listen_fd);
    close(control->dir_fd);
    *control = (struct blx_control_socket){.dir_fd = -1, .listen_fd = -1};
    return rc;
}

static int connect_in(int dir_fd, int fd, const char *name)
{
    const struct sockaddr_un address = address_in(dir_fd, name);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0)
        return 0;
    if (errno == ENOENT || errno == ECONNREFUSED)
        return -ENOTCONN;
    return errno == EACCES ? -EPERM : -errno;
}

int blx_control_socket_connect(const char *dir, uint64_t send_timeout_ms, struct blx_conn **conn,
                               struct blx_error *err)
{
    BLX_CLEANUP_FD int dir_fd = blx_open(dir, O_PATH | O_DIRECTORY, 0, err);
    if (dir_fd < 0)
        return dir_fd;
    BLX_CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return blx_error_errno(err, -errno, "cannot make a socket");
    char own[BLX_CONTROL_NAME_BYTES], host[BLX_NAME_BYTES];
    blx_name_of_host(host);
    blx_control_socket_name(host, own);
    int rc = connect_in(dir_fd, fd, own);
    if (rc == -ENOTCONN)
        rc = connect_in(dir_fd, fd, BLX_CONTROL_SOCKET_NAME);
    if (rc == -ENOTCONN)
        return blx_error_set(err, rc, "nobody listens at '%s/%s'", dir, BLX_CONTROL_SOCKET_NAME);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot connect to '%s/%s'", dir, BLX_CONTROL_SOCKET_NAME);
    rc = blx_conn_new(fd, NULL, send_timeout_ms, conn, err);
    if (rc == 0)
        blx_take_fd(&fd);
    return rc;
}
