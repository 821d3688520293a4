/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/qmp.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

static int wait_for(int fd, short events, uint64_t deadline_ns)
{
    for (;;) {
        struct pollfd poller = {.fd = fd, .events = events};
        int n = poll(&poller, 1, blx_deadline_poll_ms(deadline_ns));
        if (n > 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (blx_deadline_left_ms(deadline_ns) == 0)
            return -ETIME;
    }
}

static int receive(struct boot_qmp *qmp, uint64_t deadline_ns)
{
    if (qmp->used + 1 >= BOOT_QMP_ANSWER_BYTES)
        return -EPROTO;
    int rc = wait_for(qmp->fd, POLLIN, deadline_ns);
    if (rc < 0)
        return rc;
    ssize_t got =
        recv(qmp->fd, qmp->text + qmp->used, BOOT_QMP_ANSWER_BYTES - 1 - qmp->used, MSG_DONTWAIT);
    if (got < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    if (got <= 0)
        return got < 0 && errno != ECONNRESET ? -errno : -EPIPE;
    qmp->used += (size_t)got;
    return 0;
}

/* The next line, with a NUL in the place of its end. */
static int take_line(struct boot_qmp *qmp, uint64_t deadline_ns, const char **line)
{
    memmove(qmp->text, qmp->text + qmp->taken, qmp->used - qmp->taken);
    qmp->used -= qmp->taken;
    qmp->taken = 0;
    for (;;) {
        char *end = memchr(qmp->text, '\n', qmp->used);
        if (end != NULL) {
            *end = '\0';
            qmp->taken = (size_t)(end - qmp->text) + 1;
            *line = qmp->text;
            return 0;
        }
        int rc = receive(qmp, deadline_ns);
        if (rc < 0)
            return rc;
    }
}

static int send_line(const struct boot_qmp *qmp, const char *line)
{
    size_t left = strlen(line);
    while (left > 0) {
        ssize_t sent = send(qmp->fd, line, left, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            return errno == ECONNRESET ? -EPIPE : -errno;
        if (sent > 0) {
            line += sent;
            left -= (size_t)sent;
        }
    }
    return 0;
}

static bool begins(const char *line, const char *with)
{
    return strncmp(line, with, strlen(with)) == 0;
}

int boot_qmp_ask(struct boot_qmp *qmp, const char *command, uint64_t deadline_ns,
                 const char **answer)
{
    const char *line = NULL;
    int rc = send_line(qmp, command);
    if (rc == 0)
        rc = send_line(qmp, "\n");
    while (rc == 0) {
        rc = take_line(qmp, deadline_ns, &line);
        if (rc < 0)
            return rc;
        if (begins(line, "{\"return\""))
            break;
        if (begins(line, "{\"error\""))
            return -EREMOTEIO;
    }
    if (rc == 0)
        *answer = line;
    return rc;
}

int boot_qmp_open(struct boot_qmp *qmp, int fd, uint64_t deadline_ns)
{
    const char *line = NULL, *answer;
    *qmp = (struct boot_qmp){.fd = fd, .text = malloc(BOOT_QMP_ANSWER_BYTES)};
    if (qmp->text == NULL)
        return -ENOMEM;
    int rc = take_line(qmp, deadline_ns, &line);
    if (rc == 0 && !begins(line, "{\"QMP\""))
        rc = -EPROTO;
    return rc == 0 ? boot_qmp_ask(qmp, "{\"execute\":\"qmp_capabilities\"}", deadline_ns, &answer)
                   : rc;
}

void boot_qmp_close(struct boot_qmp *qmp)
{
    blx_cleanup_fd(&qmp->fd);
    free(qmp->text);
    *qmp = (struct boot_qmp){.fd = -1};
}

/* The text after `"key": `; NULL: none before `end`. */
static const char *value_of(const char *from, const char *end, const char *key)
{
    char quoted[64];
    snprintf(quoted, sizeof(quoted), "\"%s\": ", key);
    const char *found = strstr(from, quoted);
    return found != NULL && found < end ? found + strlen(quoted) : NULL;
}

/* The next object of an array of them: its bounds, without what lies deeper being ended too early.
 * False: there is none. */
static bool next_object(const char **at, const char **end)
{
    const char *from = strchr(*at, '{');
    unsigned depth = 0;
    bool quoted = false;
    for (const char *c = from; c != NULL && *c != '\0'; c++) {
        if (*c == '\\' && c[1] != '\0')
            c++;
        else if (*c == '"')
            quoted = !quoted;
        else if (!quoted && *c == '{')
            depth++;
        else if (!quoted && *c == '}' && --depth == 0) {
            *at = from;
            *end = c;
            return true;
        }
    }
    return false;
}

uint64_t boot_qmp_sum(const char *answer, const char *node, const char *key)
{
    const char *at = strchr(answer, '['), *end = NULL;
    uint64_t sum = 0;
    while (at != NULL && next_object(&at, &end)) {
        const char *name = value_of(at, end, "node-name"), *number = value_of(at, end, key);
        if (name != NULL && number != NULL && *name == '"' && begins(name + 1, node))
            sum += strtoull(number, NULL, 10);
        at = end + 1;
    }
    return sum;
}

uint64_t boot_qmp_register(const char *answer, const char *name)
{
    const char *found = strstr(answer, name);
    if (found == NULL || found[strlen(name)] != '=')
        return 0;
    return strtoull(found + strlen(name) + 1, NULL, 16);
}

bool boot_qmp_text(const char *answer, const char *key, char *text, size_t bytes)
{
    const char *from = value_of(answer, answer + strlen(answer), key);
    size_t length = from != NULL && *from == '"' ? strcspn(from + 1, "\"\\") : 0;
    if (length == 0 || length >= bytes)
        return false;
    memcpy(text, from + 1, length);
    text[length] = '\0';
    return true;
}
