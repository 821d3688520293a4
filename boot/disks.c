/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/disks.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/nbdkit_plugin.h"
#include "base/program.h"
#include "base/text.h"
#include "boot/said.h"
#include "crypt/keyring.h"

enum { FIXED_WORDS = 10, OVERLAY_FD = 4 /* in nbdkit */ };

struct boot_disks {
    pid_t pid; /* 0: none */
    int end_fd, error_fd;
    size_t count;
    struct boot_said said;
    char complaint[BOOT_SAID_BYTES];
    int connections[];
};

void boot_disks_free(struct boot_disks *disks)
{
    if (disks == NULL)
        return;
    if (disks->pid > 0)
        blx_program_kill(disks->pid);
    for (size_t i = 0; i < disks->count; i++)
        blx_cleanup_fd(&disks->connections[i]);
    blx_cleanup_fd(&disks->end_fd);
    blx_cleanup_fd(&disks->error_fd);
    free(disks);
}

static int connect_all(struct boot_disks *disks, const struct sockaddr_un *address)
{
    for (size_t i = 0; i < disks->count; i++) {
        disks->connections[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (disks->connections[i] < 0 ||
            connect(disks->connections[i], (const struct sockaddr *)address, sizeof(*address)) != 0)
            return -errno;
    }
    return 0;
}

/* A socket that listens, and has all its connections already, in a folder that is gone again. */
static int make_socket(struct boot_disks *disks, int *listening, struct blx_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char folder[] = "/tmp/blxrep-boot-XXXXXX";
    if (mkdtemp(folder) == NULL)
        return blx_error_errno(err, -errno, "cannot make a folder in '/tmp'");
    snprintf(address.sun_path, sizeof(address.sun_path), "%s/disks", folder);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = fd < 0 ? -errno : 0;
    if (rc == 0 && (bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
                    listen(fd, (int)disks->count) != 0))
        rc = -errno;
    if (rc == 0)
        rc = connect_all(disks, &address);
    unlink(address.sun_path);
    rmdir(folder);
    if (rc < 0) {
        blx_cleanup_fd(&fd);
        return blx_error_errno(err, rc, "cannot connect to the checkpoint's disks");
    }
    *listening = fd;
    return 0;
}

struct words {
    char *list[FIXED_WORDS + BLX_KEYRING_MAX + 1];
    size_t count;
};

static void add(struct words *words, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void add(struct words *words, const char *format, ...)
{
    va_list list;
    char *word = NULL;
    va_start(list, format);
    if (vasprintf(&word, format, list) < 0)
        word = NULL;
    va_end(list);
    words->list[words->count++] = word;
}

static void words_done(struct words *words)
{
    for (size_t i = 0; i < words->count; i++)
        free(words->list[i]);
}

static int make_words(const struct boot_disks_config *config, struct words *words,
                      struct blx_error *err)
{
    if (config->key_count > BLX_KEYRING_MAX)
        return blx_error_set(err, -E2BIG, "at most %d keys are taken: leave some out",
                             BLX_KEYRING_MAX);
    add(words, "nbdkit");
    add(words, "--foreground");
    add(words, "%s", config->plugin);
    add(words, "data-dir=%s", config->data_dir);
    add(words, "agent=%s", config->agent);
    add(words, "checkpoint=%" PRIu64, config->checkpoint);
    if (config->overlay_fd > 0)
        add(words, "overlay-fd=%d", OVERLAY_FD);
    else
        add(words, "overlay=%s", config->overlay);
    for (size_t i = 0; i < config->key_count; i++)
        add(words, "key=%s", config->keys[i]);
    for (size_t i = 0; i < words->count; i++)
        if (words->list[i] == NULL)
            return blx_error_errno(err, -ENOMEM, "cannot start nbdkit");
    return 0;
}

static int start_nbdkit(struct boot_disks *disks, const struct boot_disks_config *config,
                        int listening, struct blx_error *err)
{
    BLX_CLEANUP(words_done) struct words words = {0};
    int errors[2];
    int rc = make_words(config, &words, err);
    if (rc < 0)
        return rc;
    if (pipe2(errors, O_CLOEXEC) != 0)
        return blx_error_errno(err, -errno, "cannot start nbdkit");
    disks->error_fd = errors[0];
    const int fds[] = {-1, errors[1], errors[1], listening, config->overlay_fd};
    const struct blx_program program = {.words = (const char *const *)words.list,
                                        .fds = fds,
                                        .fd_count = config->overlay_fd > 0 ? 5 : 4,
                                        .package = "nbdkit",
                                        .listens = BLX_PROGRAM_LISTENS};
    rc = blx_program_start(&program, &disks->pid, err);
    close(errors[1]);
    if (rc < 0)
        return rc;
    disks->end_fd = (int)syscall(SYS_pidfd_open, disks->pid, 0);
    return disks->end_fd < 0 ? blx_error_errno(err, -errno, "cannot watch nbdkit") : 0;
}

/* It speaks first, as soon as the checkpoint is open, which may take a long history its time. */
static int await_greeting(struct boot_disks *disks, struct blx_error *err)
{
    struct pollfd pollers[] = {{.fd = disks->connections[0], .events = POLLIN},
                               {.fd = disks->end_fd, .events = POLLIN},
                               {.fd = disks->error_fd, .events = POLLIN}};
    while (pollers[0].revents == 0 && pollers[1].revents == 0) {
        if (poll(pollers, 3, -1) < 0 && errno != EINTR)
            return blx_error_errno(err, -errno, "cannot wait for nbdkit");
        if (pollers[2].revents != 0 && !boot_said_read(&disks->said, disks->error_fd))
            pollers[2].fd = -1;
    }
    if (pollers[1].revents == 0)
        return 0;
    boot_said_read(&disks->said, disks->error_fd);
    return blx_error_set(err, -EIO, "%s",
                         disks->said.cause[0] != '\0' ? disks->said.cause
                                                      : "nbdkit does not begin");
}

int boot_disks_start(const struct boot_disks_config *config, size_t connections,
                     struct boot_disks **disks, struct blx_error *err)
{
    BLX_CLEANUP_FD int listening = -1;
    int rc = blx_nbdkit_plugin_check(config->plugin, err);
    if (rc < 0)
        return rc;
    struct boot_disks *made = calloc(1, sizeof(*made) + connections * sizeof(made->connections[0]));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot open the checkpoint's disks");
    made->count = connections;
    made->end_fd = made->error_fd = -1;
    for (size_t i = 0; i < connections; i++)
        made->connections[i] = -1;
    rc = make_socket(made, &listening, err);
    if (rc == 0)
        rc = start_nbdkit(made, config, listening, err);
    if (rc == 0)
        rc = await_greeting(made, err);
    if (rc < 0) {
        boot_disks_free(made);
        return rc;
    }
    *disks = made;
    return 0;
}

int *boot_disks_connections(struct boot_disks *disks)
{
    return disks->connections;
}

int boot_disks_end_fd(const struct boot_disks *disks)
{
    return disks->end_fd;
}

int boot_disks_error_fd(const struct boot_disks *disks)
{
    return disks->error_fd;
}

const char *boot_disks_complaint(struct boot_disks *disks)
{
    if (disks->error_fd >= 0 && !boot_said_read(&disks->said, disks->error_fd)) {
        close(disks->error_fd);
        disks->error_fd = -1;
    }
    blx_text_set(disks->complaint, disks->said.cause);
    disks->said.cause[0] = '\0';
    return disks->complaint;
}
