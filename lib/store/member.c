/* SPDX-License-Identifier: Apache-2.0 */
#include "store/member.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/sys.h"
#include "base/text.h"
#include "store/directory_private.h"

enum {
    NAMES = 9,             /* of one host */
    STATE_LIMIT = 1 << 28, /* a hundred thousand agents */
};

static const char state_end[] = ".state";

static int file_path(const struct blx_store *store, const char *name, const char *end,
                     char path[PATH_MAX], struct blx_error *err)
{
    return blx_path_format(path, PATH_MAX, err, "%s/dispatchers/%s%s", store->data_dir, name, end);
}

static int apply_lock(int fd, int command, struct flock *range)
{
    *range = (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 1};
    int rc;
    do
        rc = fcntl(fd, command, range);
    while (rc != 0 && errno == EINTR);
    return rc != 0 ? -errno : 0;
}

/* The descriptor; -EAGAIN if the name is taken. */
static int take_name(const struct blx_store *store, const char *name, struct blx_error *err)
{
    char path[PATH_MAX];
    struct flock range;
    int rc = file_path(store, name, ".lock", path, err);
    if (rc < 0)
        return rc;
    BLX_CLEANUP_FD int fd = blx_open(path, O_RDWR | O_CREAT | O_NOFOLLOW, 0600, err);
    if (fd < 0)
        return fd;
    rc = apply_lock(fd, F_OFD_SETLK, &range);
    if (rc == -EAGAIN || rc == -EACCES)
        return -EAGAIN;
    return rc < 0 ? blx_error_errno(err, rc, "cannot lock '%s'", path) : blx_take_fd(&fd);
}

int blx_member_enter(const struct blx_store *store, struct blx_member *member,
                     struct blx_error *err)
{
    struct blx_member entered = {.lock_fd = -EAGAIN};
    char host[BLX_NAME_BYTES], path[PATH_MAX];
    blx_name_of_host(host);
    int rc = blx_path_format(path, sizeof(path), err, "%s/dispatchers", store->data_dir);
    if (rc == 0)
        rc = blx_directory_make(path, err);
    if (rc < 0)
        return rc;
    for (int i = 1; i <= NAMES && entered.lock_fd == -EAGAIN; i++) {
        if (i == 1)
            blx_text_set(entered.name, host);
        else
            snprintf(entered.name, sizeof(entered.name), "%.60s-%d", host, i);
        entered.lock_fd = take_name(store, entered.name, err);
    }
    if (entered.lock_fd == -EAGAIN)
        return blx_error_set(err, -EBUSY,
                             "%d dispatchers of the host '%s' are running on '%s' already: give "
                             "each host a name of its own",
                             NAMES, host, store->data_dir);
    if (entered.lock_fd < 0)
        return entered.lock_fd;
    *member = entered;
    return 0;
}

void blx_member_leave(const struct blx_store *store, struct blx_member *member)
{
    char path[PATH_MAX];
    if (member->lock_fd < 0)
        return;
    if (file_path(store, member->name, state_end, path, NULL) == 0)
        blx_sys->unlink(path); /* or it stays: whoever reads it looks at the lock first */
    close(member->lock_fd);
    member->lock_fd = -1;
}

static int put(FILE *out, const struct blx_message *message)
{
    uint8_t bytes[BLX_MESSAGE_ENCODED_BYTES];
    size_t length = 0;
    int rc = blx_message_encode(message, bytes, sizeof(bytes), &length);
    return rc < 0 ? rc : fwrite(bytes, 1, length, out) == length ? 0 : -ENOMEM;
}

static int put_report(FILE *out, const struct blx_member_report *report)
{
    struct blx_message message = {.type = BLX_MESSAGE_CONTROL_HOST, .control_host = report->host};
    int rc = put(out, &message);
    if (rc == 0 && report->has_dispatcher) {
        message = (struct blx_message){.type = BLX_MESSAGE_CONTROL_DISPATCHER,
                                       .control_dispatcher = report->dispatcher};
        rc = put(out, &message);
    }
    message = (struct blx_message){.type = BLX_MESSAGE_CONTROL_AGENT};
    for (size_t i = 0; rc == 0 && i < report->agent_count; i++) {
        message.control_agent = report->agents[i];
        rc = put(out, &message);
    }
    return rc;
}

int blx_member_tell(const struct blx_store *store, const struct blx_member *member,
                    const struct blx_member_report *report, struct blx_error *err)
{
    BLX_CLEANUP_FREE char *bytes = NULL;
    size_t count = 0;
    char path[PATH_MAX];
    int rc = file_path(store, member->name, state_end, path, err);
    if (rc < 0)
        return rc;
    FILE *out = open_memstream(&bytes, &count);
    rc = out == NULL ? -ENOMEM : put_report(out, report);
    if (out != NULL && fclose(out) != 0 && rc == 0)
        rc = -ENOMEM;
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot write '%s'", path);
    return blx_file_replace(path, bytes, count, 0600, err);
}

static int take_message(const struct blx_message *message, bool is_first,
                        struct blx_member_report *report)
{
    if (is_first != (message->type == BLX_MESSAGE_CONTROL_HOST))
        return -EBADMSG;
    if (is_first) {
        report->host = message->control_host;
    } else if (message->type == BLX_MESSAGE_CONTROL_DISPATCHER) {
        report->dispatcher = message->control_dispatcher;
        report->has_dispatcher = true;
    } else if (message->type == BLX_MESSAGE_CONTROL_AGENT) {
        if (blx_array_make_room(report->agents, report->agent_count) < 0)
            return -ENOMEM;
        report->agents[report->agent_count++] = message->control_agent;
    } else {
        return -EBADMSG;
    }
    return 0;
}

int blx_member_parse(const uint8_t *bytes, size_t count, struct blx_member_report *report,
                     struct blx_error *err)
{
    struct blx_member_report parsed = {0};
    int rc = count == 0 ? -EBADMSG : 0;
    for (size_t at = 0; rc == 0 && at < count;) {
        struct blx_message message;
        size_t body_bytes = 0;
        const bool is_first = at == 0;
        if (count - at < BLX_MESSAGE_HEADER_BYTES)
            rc = -EBADMSG;
        if (rc == 0)
            rc = blx_message_decode_header(bytes + at, &message.type, &body_bytes, NULL);
        at += BLX_MESSAGE_HEADER_BYTES;
        if (rc == 0 && body_bytes > count - at)
            rc = -EBADMSG;
        if (rc == 0)
            rc = blx_message_decode(message.type, bytes + at, body_bytes, &message, NULL);
        if (rc == 0)
            rc = take_message(&message, is_first, &parsed);
        at += body_bytes;
    }
    if (rc < 0) {
        free(parsed.agents);
        return blx_error_errno(err, rc, "cannot read what a dispatcher told");
    }
    *report = parsed;
    return 0;
}

/* Whether somebody has the name. */
static bool is_taken(const struct blx_store *store, const char *name)
{
    char path[PATH_MAX];
    struct flock range;
    if (file_path(store, name, ".lock", path, NULL) < 0)
        return false;
    BLX_CLEANUP_FD int fd = blx_open(path, O_RDONLY | O_NOFOLLOW, 0, NULL);
    return fd >= 0 && apply_lock(fd, F_OFD_GETLK, &range) == 0 && range.l_type != F_UNLCK;
}

struct reading {
    const struct blx_store *store;
    struct blx_member_list list;
};

static int read_state(void *arg, const char *entry, struct blx_error *err)
{
    struct reading *reading = arg;
    struct blx_member_list *list = &reading->list;
    const size_t length = strlen(entry), end = sizeof(state_end) - 1;
    char name[BLX_NAME_BYTES], path[PATH_MAX];
    BLX_CLEANUP_FREE void *bytes = NULL;
    size_t count = 0;
    if (length <= end || length - end >= sizeof(name) ||
        strcmp(entry + length - end, state_end) != 0)
        return 0;
    snprintf(name, sizeof(name), "%.*s", (int)(length - end), entry);
    if (!is_taken(reading->store, name) ||
        file_path(reading->store, name, state_end, path, NULL) < 0)
        return 0;
    int rc = blx_file_read(path, STATE_LIMIT, &bytes, &count, NULL);
    if (rc == 0)
        rc = blx_array_make_room(list->reports, list->count);
    if (rc == 0)
        rc = blx_member_parse(bytes, count, &list->reports[list->count], NULL);
    if (rc == 0)
        list->count++;
    return rc == -ENOMEM ? blx_error_errno(err, rc, "cannot list the dispatchers") : 0;
}

static int compare_names(const void *a, const void *b)
{
    const struct blx_member_report *first = a, *second = b;
    return strcmp(first->host.name, second->host.name);
}

int blx_member_list_read(const struct blx_store *store, struct blx_member_list *list,
                         struct blx_error *err)
{
    struct reading reading = {.store = store};
    char path[PATH_MAX];
    int rc = blx_path_format(path, sizeof(path), err, "%s/dispatchers", store->data_dir);
    if (rc == 0)
        rc = blx_directory_each(path, read_state, &reading, err);
    if (rc < 0) {
        blx_member_list_done(&reading.list);
        return rc;
    }
    if (reading.list.count > 0)
        qsort(reading.list.reports, reading.list.count, sizeof(reading.list.reports[0]),
              compare_names);
    *list = reading.list;
    return 0;
}

void blx_member_list_done(struct blx_member_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->reports[i].agents);
    free(list->reports);
    *list = (struct blx_member_list){0};
}
