/* SPDX-License-Identifier: Apache-2.0 */
#include "object/pull.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/units.h"
#include "object/copy.h"
#include "store/copy/pulled.h"

enum {
    CONNECT_MS = 20 * 1000,
    SILENCE_MS = 2 * 60 * 1000,   /* without even a PING the other side is gone */
    PATIENCE_MS = 60 * 60 * 1000, /* with nothing but PINGs */
    MOST_AGENTS = 100 * 1000,
    MOST_CHECKPOINTS = 1000 * 1000,
    ATTEMPTS = 2,
};

/* A connection, and what comes over it. */
struct pull {
    const struct object_pull_request *request;
    struct object_pull_report *report;
    const char *agent_id;
    struct blx_conn *conn;     /* owned */
    struct blx_pulled *pulled; /* owned */
};

bool object_pull_is_address(const char *where)
{
    const char *colon = strrchr(where, ':');
    size_t digits = colon == NULL ? 0 : strspn(colon + 1, "0123456789");
    return strchr(where, '/') == NULL && digits > 0 && colon[1 + digits] == '\0';
}

static int dial(struct pull *pull, struct blx_error *err)
{
    return blx_tls_connect(pull->request->tls, pull->request->address, CONNECT_MS, &pull->conn,
                           err);
}

static void hang_up(struct pull *pull)
{
    if (pull->conn != NULL)
        blx_conn_send(pull->conn, &(struct blx_message){.type = BLX_MESSAGE_GOODBYE}, NULL);
    blx_conn_free(pull->conn);
    pull->conn = NULL;
}

/* The next message that is no PING. */
static int receive(struct pull *pull, struct blx_message *message, struct blx_error *err)
{
    uint64_t end_ns = blx_deadline_in_ms(PATIENCE_MS);
    do {
        int rc = blx_conn_recv(pull->conn, SILENCE_MS, message, err);
        if (rc < 0)
            return rc;
        if (message->type == BLX_MESSAGE_ERROR)
            return blx_error_set(err, -ECONNABORTED, "the source says: %s", message->error.text);
        if (message->type == BLX_MESSAGE_GOODBYE)
            return blx_error_set(err, -EPIPE, "the source stops");
        if (message->type != BLX_MESSAGE_PING)
            return 0;
    } while (blx_clock_ns() < end_ns);
    return blx_error_set(err, -ETIMEDOUT, "the source has sent nothing for an hour");
}

/* The next message, which must be of that type. */
static int await(struct pull *pull, enum blx_message_type type, struct blx_message *message,
                 struct blx_error *err)
{
    int rc = receive(pull, message, err);
    if (rc == 0 && message->type != type)
        rc = blx_error_set(err, -EBADMSG, "the source sends %s where %s belongs",
                           blx_message_name(message->type), blx_message_name(type));
    return rc;
}

static int ask(struct pull *pull, const struct blx_copy_request *request, struct blx_error *err)
{
    const struct blx_message message = {.type = BLX_MESSAGE_COPY_REQUEST, .copy_request = *request};
    return blx_conn_send(pull->conn, &message, err);
}

/* One of a list: 1, or 0 at its end. */
static int take_item(struct pull *pull, struct blx_copy_item *item, struct blx_error *err)
{
    struct blx_message message;
    int rc = receive(pull, &message, err);
    if (rc < 0)
        return rc;
    if (message.type == BLX_MESSAGE_COPY_END)
        return 0;
    if (message.type != BLX_MESSAGE_COPY_ITEM)
        return blx_error_set(err, -EBADMSG, "the source sends %s in a list",
                             blx_message_name(message.type));
    *item = message.copy_item;
    return 1;
}

static int too_long(struct blx_error *err)
{
    return blx_error_set(err, -EBADMSG, "the source's list does not end");
}

int object_pull_list(const struct object_pull_request *request, struct object_pull_agent **agents,
                     size_t *count, struct blx_error *err)
{
    struct pull pull = {.request = request};
    BLX_CLEANUP_FREE struct object_pull_agent *list = NULL;
    struct blx_copy_item item;
    size_t found = 0;
    int rc = dial(&pull, err);
    if (rc == 0)
        rc = ask(&pull, &(struct blx_copy_request){.kind = BLX_COPY_AGENTS}, err);
    while (rc == 0 && (rc = take_item(&pull, &item, err)) == 1) {
        rc = found == MOST_AGENTS ? too_long(err) : 0;
        if (rc == 0 && blx_array_make_room(list, found) < 0)
            rc = blx_error_errno(err, -ENOMEM, "cannot list the agents");
        if (rc < 0)
            break;
        memcpy(list[found].id, item.agent_id, sizeof(list[found].id));
        list[found++].newest = item.checkpoint;
    }
    hang_up(&pull);
    if (rc < 0)
        return rc;
    *agents = blx_take_ptr(list);
    *count = found;
    return 0;
}

/* The source's checkpoints that are newer than what is here, which ascend. */
static int list_checkpoints(struct pull *pull, blx_timestamp **checkpoints, size_t *count,
                            struct blx_error *err)
{
    const uint8_t *hash;
    struct blx_copy_request request = {.kind = BLX_COPY_CHECKPOINTS,
                                       .have = blx_pulled_have(pull->pulled, &hash)};
    struct blx_copy_item item;
    blx_timestamp last = request.have;
    memcpy(request.agent_id, pull->agent_id, strlen(pull->agent_id) + 1);
    int rc = ask(pull, &request, err);
    while (rc == 0 && (rc = take_item(pull, &item, err)) == 1) {
        if (item.checkpoint <= last || *count == MOST_CHECKPOINTS)
            return too_long(err);
        if (blx_array_make_room(*checkpoints, *count) < 0)
            return blx_error_errno(err, -ENOMEM, "cannot list the checkpoints");
        (*checkpoints)[(*count)++] = last = item.checkpoint;
        rc = 0;
    }
    return rc;
}

/* Waits as long as the limit wants it, while the source waits for us. */
static void hold_pace(struct pull *pull, size_t bytes)
{
    while (bytes > 0)
        bytes -= object_pace_take(pull->request->pace, bytes);
}

/* A piece of a file, of at most `left` bytes. */
static int take_piece(struct pull *pull, uint64_t left, struct blx_message *message,
                      struct blx_error *err)
{
    int rc = await(pull, BLX_MESSAGE_FRAME, message, err);
    if (rc == 0 && message->frame.frame_bytes > left)
        rc = blx_error_set(err, -EBADMSG, "the source sends more than it has told");
    if (rc == 0)
        hold_pace(pull, message->frame.frame_bytes);
    return rc;
}

static int take(struct pull *pull, uint64_t offset, struct blx_error *err)
{
    const struct blx_message message = {.type = BLX_MESSAGE_COPY_TAKE,
                                        .copy_take = {.offset_bytes = offset}};
    return blx_conn_send(pull->conn, &message, err);
}

static int fetch_manifest(struct pull *pull, blx_timestamp wanted, struct blx_error *err)
{
    struct blx_message message;
    int rc = await(pull, BLX_MESSAGE_COPY_FILE, &message, err);
    if (rc < 0)
        return rc;
    if (message.copy_file.number != 0)
        return blx_error_set(err, -EBADMSG, "the source sends a segment before its checkpoint");
    size_t bytes = (size_t)message.copy_file.bytes;
    BLX_CLEANUP_FREE uint8_t *content = malloc(bytes);
    if (content == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot receive a checkpoint");
    rc = take(pull, 0, err);
    for (size_t at = 0; rc == 0 && at < bytes;) {
        rc = take_piece(pull, bytes - at, &message, err);
        if (rc < 0)
            break;
        memcpy(content + at, message.frame.bytes, message.frame.frame_bytes);
        at += message.frame.frame_bytes;
    }
    /* Its own checksum, and the identity at the end, say whether it is whole. */
    if (rc == 0)
        rc = await(pull, BLX_MESSAGE_COPY_END, &message, err);
    return rc == 0 ? blx_pulled_begin(pull->pulled, wanted, content, bytes, err) : rc;
}

static int fetch_file(struct pull *pull, const struct blx_copy_file *file, struct blx_error *err)
{
    struct blx_message message;
    uint64_t offset = 0;
    int rc = blx_pulled_expect(pull->pulled, file, &offset, err);
    if (rc == 0)
        rc = take(pull, offset, err);
    for (uint64_t at = offset; rc == 0 && at < file->bytes;) {
        rc = take_piece(pull, file->bytes - at, &message, err);
        if (rc == 0)
            rc =
                blx_pulled_write(pull->pulled, message.frame.bytes, message.frame.frame_bytes, err);
        at += message.frame.frame_bytes;
    }
    if (rc == 0)
        rc = await(pull, BLX_MESSAGE_COPY_END, &message, err);
    if (rc == 0)
        rc = blx_pulled_end(pull->pulled, message.copy_end.hash, err);
    if (rc < 0)
        return rc;
    pull->report->files += offset < file->bytes;
    pull->report->bytes += file->bytes - offset;
    pull->report->spared_bytes += offset;
    return 0;
}

/* All of the checkpoint, up to its identity. */
static int fetch_files(struct pull *pull, blx_timestamp wanted, struct blx_copy_hash *identity,
                       struct blx_error *err)
{
    const uint8_t *hash;
    struct blx_message message = {.type = BLX_MESSAGE_COPY_FILE};
    struct blx_copy_request request = {.kind = BLX_COPY_CHECKPOINT,
                                       .checkpoint = wanted,
                                       .have = blx_pulled_have(pull->pulled, &hash)};
    memcpy(request.hash, hash, sizeof(request.hash));
    memcpy(request.agent_id, pull->agent_id, strlen(pull->agent_id) + 1);
    int rc = ask(pull, &request, err);
    if (rc == 0)
        rc = fetch_manifest(pull, wanted, err);
    while (rc == 0) {
        rc = receive(pull, &message, err);
        if (rc < 0 || message.type != BLX_MESSAGE_COPY_FILE)
            break;
        const struct blx_copy_file file = message.copy_file;
        rc = fetch_file(pull, &file, err);
    }
    if (rc < 0)
        return rc;
    if (message.type != BLX_MESSAGE_COPY_END)
        return blx_error_set(err, -EBADMSG, "the source sends %s between two files",
                             blx_message_name(message.type));
    *identity = message.copy_end;
    return 0;
}

static int fetch_checkpoint(struct pull *pull, blx_timestamp wanted, struct blx_error *err)
{
    struct blx_message done = {.type = BLX_MESSAGE_COPY_DONE};
    const uint8_t *hash;
    int rc = fetch_files(pull, wanted, &done.copy_done, err);
    if (rc == 0)
        rc = blx_pulled_commit(pull->pulled, done.copy_done.hash, err);
    if (rc < 0)
        return rc;
    pull->report->checkpoints++;
    pull->report->newest = blx_pulled_have(pull->pulled, &hash);
    return blx_conn_send(pull->conn, &done, err);
}

/* From when on the next one's time counts. A name of the future decides nothing: all are due. */
static int64_t last_time(blx_timestamp last)
{
    int64_t named_s = last == 0 ? 0 : blx_timestamp_to_unix(last);
    return named_s <= (int64_t)time(NULL) ? named_s : 0;
}

static int fetch_due(struct pull *pull, struct blx_error *err)
{
    BLX_CLEANUP_FREE blx_timestamp *all = NULL;
    const uint8_t *hash;
    size_t count = 0;
    int rc = dial(pull, err);
    if (rc == 0)
        rc = list_checkpoints(pull, &all, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        blx_timestamp last = blx_pulled_have(pull->pulled, &hash);
        enum object_copy_age age = i + 1 == count ? OBJECT_COPY_NEWEST : OBJECT_COPY_OLDER;
        if (object_copy_is_due(all[i], last_time(last), pull->request->every_ms, age))
            rc = fetch_checkpoint(pull, all[i], err);
    }
    hang_up(pull);
    return rc;
}

/* What may be otherwise at the next attempt: a connection that was cut, a checkpoint that was
 * pruned between the list and the request, a part of a file that was another one's. */
static bool is_passing(int rc)
{
    return rc == -EAGAIN || rc == -ECONNABORTED || rc == -EPIPE || rc == -ECONNRESET;
}

static int open_and_fetch(struct pull *pull, enum object_pull_end end, struct blx_error *err)
{
    const uint8_t *hash;
    int rc = blx_pulled_open(pull->request->store, pull->agent_id, pull->request->address,
                             &pull->pulled, err);
    if (rc < 0)
        return rc;
    pull->report->newest = blx_pulled_have(pull->pulled, &hash);
    rc = fetch_due(pull, err);
    if (rc == 0)
        rc = end == OBJECT_PULL_ADOPT ? blx_pulled_adopt(pull->pulled, err)
                                      : blx_pulled_settle(pull->pulled, err);
    blx_pulled_close(pull->pulled);
    pull->pulled = NULL;
    return rc;
}

int object_pull_agent(const struct object_pull_request *request, const char *agent_id,
                      enum object_pull_end end, struct object_pull_report *report,
                      struct blx_error *err)
{
    struct pull pull = {.request = request, .report = report, .agent_id = agent_id};
    struct blx_error cause = {0};
    int rc = 0;
    for (int i = 0; i < ATTEMPTS; i++) {
        blx_error_clear(&cause);
        rc = open_and_fetch(&pull, end, &cause);
        if (!is_passing(rc))
            break;
    }
    return rc < 0 ? blx_error_copy(err, rc, &cause) : 0;
}

int object_pull_heal(const struct object_pull_request *request, const char *agent_id,
                     blx_timestamp checkpoint, struct object_pull_report *report,
                     struct blx_error *err)
{
    struct pull pull = {.request = request, .report = report, .agent_id = agent_id};
    struct blx_copy_hash identity;
    int rc = blx_pulled_open_heal(request->store, agent_id, checkpoint, &pull.pulled, err);
    if (rc == 0)
        rc = dial(&pull, err);
    if (rc == 0)
        rc = fetch_files(&pull, checkpoint, &identity, err);
    if (rc == 0)
        rc = blx_pulled_commit(pull.pulled, identity.hash, err);
    report->checkpoints += rc == 0;
    hang_up(&pull);
    blx_pulled_close(pull.pulled);
    return rc;
}
