/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk/sysfs.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/disk/patience.h"
#include "base/cleanup.h"
#include "base/io.h"

__attribute__((format(printf, 3, 0))) static int read_line(char *text, size_t bytes,
                                                           const char *format, va_list args)
{
    char path[PATH_MAX];
    int length = vsnprintf(path, sizeof(path), format, args);
    if (length < 0 || (size_t)length >= sizeof(path))
        return -ENAMETOOLONG;
    BLX_CLEANUP_FD int fd = blx_open(path, O_RDONLY, 0, NULL);
    if (fd < 0)
        return fd;
    ssize_t got = read(fd, text, bytes - 1);
    if (got < 0)
        return -errno;
    text[got] = '\0';
    text[strcspn(text, "\n")] = '\0';
    return 0;
}

int agent_sysfs_read_text(char *text, size_t bytes, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int r = read_line(text, bytes, format, args);
    va_end(args);
    return r;
}

int agent_sysfs_read_number(uint64_t *number, const char *format, ...)
{
    char text[64];
    va_list args;
    va_start(args, format);
    int r = read_line(text, sizeof(text), format, args);
    va_end(args);
    if (r < 0)
        return r;
    char *end = NULL;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0')
        return -EINVAL;
    *number = value;
    return 0;
}

struct question {
    char name[64];
    char attribute[32];
    uint64_t number;
};

/* Beside a partition's own folder lies its disk's. */
static int ask_in_helper(void *arg, struct agent_patience_io *io)
{
    struct question *question = arg;
    (void)io;
    int r = agent_sysfs_read_number(&question->number, "/sys/class/block/%s/queue/%s",
                                    question->name, question->attribute);
    return r == 0 ? 0
                  : agent_sysfs_read_number(&question->number, "/sys/class/block/%s/../queue/%s",
                                            question->name, question->attribute);
}

int agent_sysfs_ask_queue(uint64_t *number, const char *name, const char *attribute)
{
    static const struct agent_patience_call call = {.run = ask_in_helper,
                                                    .arg_bytes = sizeof(struct question)};
    struct question question = {.number = 0};
    char who[96];
    snprintf(question.name, sizeof(question.name), "%s", name);
    snprintf(question.attribute, sizeof(question.attribute), "%s", attribute);
    snprintf(who, sizeof(who), "the queue of '%s'", question.name);
    int r = agent_patience_run(who, &call, &question, NULL, agent_patience_get_ms());
    if (r == 0)
        *number = question.number;
    return r;
}

int agent_sysfs_read_devno(uint32_t *major, uint32_t *minor, const char *format, ...)
{
    char text[64];
    va_list args;
    va_start(args, format);
    int r = read_line(text, sizeof(text), format, args);
    va_end(args);
    if (r < 0)
        return r;
    uint32_t first = 0, second = 0;
    if (sscanf(text, "%" SCNu32 ":%" SCNu32, &first, &second) != 2)
        return -EINVAL;
    *major = first;
    *minor = second;
    return 0;
}
