/* SPDX-License-Identifier: Apache-2.0 */
#include "store/restore/pull_private.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "crypt/volume_key.h"

enum {
    PAUSE_FIRST_MS = 250, /* before the next try to connect; doubled each time */
    PAUSE_MAX_MS = 10 * 1000,
    REQUEST_FRAMES = 64, /* of one FRAMES_REQUEST, at most */
};

void blx_pull_hang_up(struct blx_pull *pull)
{
    blx_conn_free(pull->conn);
    pull->conn = NULL;
    pull->planned = false;
}

/* Only a shortage of memory is not the connection's. */
static int lost(struct blx_pull *pull, int rc, const char *why, struct blx_error *err)
{
    blx_pull_hang_up(pull);
    return blx_error_set(err, rc == -ENOMEM ? rc : -ENOLINK,
                         "the connection to the dispatcher was lost: %s", why);
}

int blx_pull_send(struct blx_pull *pull, const struct blx_message *message, struct blx_error *err)
{
    struct blx_error why = {0};
    struct blx_message last;
    if (pull->conn == NULL)
        return blx_error_set(err, -ENOLINK, "there is no connection to the dispatcher");
    int rc = blx_conn_send(pull->conn, message, &why);
    if (rc == 0)
        return 0;
    /* An ERROR may have arrived that says why. */
    if (blx_conn_recv(pull->conn, 0, &last, NULL) == 0 && last.type == BLX_MESSAGE_ERROR)
        return blx_error_set(err, -EREMOTEIO, "the dispatcher says: %s", last.error.text);
    return lost(pull, rc, why.message, err);
}

/* What comes beside the answer: HANDOVER only before the offer. */
static bool is_remark(enum blx_message_type type, enum blx_message_type wanted)
{
    return type == BLX_MESSAGE_PING ||
           (type == BLX_MESSAGE_HANDOVER && wanted == BLX_MESSAGE_RESTORE_OFFER);
}

int blx_pull_receive(struct blx_pull *pull, enum blx_message_type wanted,
                     struct blx_message *message, struct blx_error *err)
{
    struct blx_error why = {0};
    int rc;
    if (pull->conn == NULL)
        return blx_error_set(err, -ENOLINK, "there is no connection to the dispatcher");
    do {
        rc = blx_conn_recv(pull->conn, BLX_PULL_ANSWER_MS, message, &why);
        if (rc == -EBADMSG)
            return blx_error_set(err, -EPROTO, "the dispatcher sends nonsense: %s", why.message);
        if (rc < 0)
            return lost(pull, rc, why.message, err);
        if (is_remark(message->type, wanted))
            pull->takes_over |= message->type == BLX_MESSAGE_HANDOVER;
    } while (is_remark(message->type, wanted));
    if (message->type == BLX_MESSAGE_GOODBYE && wanted != BLX_MESSAGE_GOODBYE)
        return lost(pull, 0, "the dispatcher is stopping", err);
    if (message->type == BLX_MESSAGE_ERROR)
        return blx_error_set(err, -EREMOTEIO, "the dispatcher says: %s", message->error.text);
    if (message->type != wanted)
        return blx_error_set(err, -EPROTO, "the dispatcher sent %s in place of %s",
                             blx_message_name(message->type), blx_message_name(wanted));
    pull->heard_ns = blx_clock_ns();
    return 0;
}

static int take_volume(struct blx_pull *pull, uint32_t number, struct blx_restore_volume *volume,
                       struct blx_error *err)
{
    struct blx_message message;
    int rc = blx_pull_receive(pull, BLX_MESSAGE_RESTORE_VOLUME, &message, err);
    if (rc == 0 && message.restore_volume.volume != number)
        rc = blx_error_set(err, -EPROTO, "the dispatcher lists its volumes in disorder");
    if (rc == 0)
        *volume = message.restore_volume;
    return rc;
}

/* The first time it is noted; after that it must be the same. */
static int take_offer(struct blx_pull *pull, struct blx_error *err)
{
    struct blx_message message;
    int rc = blx_pull_receive(pull, BLX_MESSAGE_RESTORE_OFFER, &message, err);
    if (rc == -EREMOTEIO && err != NULL)
        err->code = -EACCES;
    if (rc < 0)
        return rc == -EREMOTEIO ? -EACCES : rc;
    const struct blx_restore_offer offer = message.restore_offer;
    bool again = pull->volumes != NULL;
    bool same = !again || (strcmp(offer.agent_id, pull->offer.agent_id) == 0 &&
                           offer.checkpoint == pull->offer.checkpoint &&
                           offer.volume_count == pull->offer.volume_count);
    if (!again)
        pull->volumes = calloc(offer.volume_count, sizeof(pull->volumes[0]));
    if (pull->volumes == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot restore");
    for (uint32_t i = 0; same && i < offer.volume_count; i++) {
        struct blx_restore_volume volume;
        rc = take_volume(pull, i, &volume, err);
        if (rc < 0)
            return rc;
        same = !again || (strcmp(volume.name, pull->volumes[i].name) == 0 &&
                          volume.size_bytes == pull->volumes[i].size_bytes &&
                          volume.block_shift == pull->volumes[i].block_shift &&
                          blx_key_id_equal(&volume.key_id, &pull->volumes[i].key_id));
        if (!again)
            pull->volumes[i] = volume;
    }
    if (!same)
        return blx_error_set(err, -EPROTO, "the dispatcher offers another checkpoint than before");
    pull->offer = offer;
    return 0;
}

/* By which the dispatcher knows this machine when it comes as the agent. */
static int tell_hardware(struct blx_pull *pull, struct blx_error *err)
{
    static const uint8_t unknown[BLX_HARDWARE_BYTES];
    struct blx_message message = {.type = BLX_MESSAGE_HARDWARE};
    if (memcmp(pull->request.hardware, unknown, sizeof(unknown)) == 0)
        return blx_error_set(err, -ENODEV,
                             "the token takes '%s' over, and nothing of this machine's hardware "
                             "tells it from the old one: make a token without --takes-over, and "
                             "have the server join again afterwards",
                             pull->offer.agent_id);
    memcpy(message.hardware.identity, pull->request.hardware, sizeof(message.hardware.identity));
    return blx_pull_send(pull, &message, err);
}

static int connect_once(struct blx_pull *pull, struct blx_error *err)
{
    const struct blx_message hello = {.type = BLX_MESSAGE_RESTORE, .restore = pull->request.hello};
    blx_pull_hang_up(pull);
    int rc = pull->request.dial(pull->request.arg, &pull->conn, err);
    if (rc == 0)
        rc = blx_pull_send(pull, &hello, err);
    if (rc == 0)
        rc = take_offer(pull, err);
    return rc == 0 && pull->takes_over ? tell_hardware(pull, err) : rc;
}

int blx_pull_open(const struct blx_pull_request *request, struct blx_pull **pull,
                  struct blx_error *err)
{
    struct blx_pull *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot restore");
    made->request = *request;
    if (made->request.patience_ms == 0)
        made->request.patience_ms = BLX_PULL_PATIENCE_MS;
    if (made->request.pause_ms == 0)
        made->request.pause_ms = PAUSE_FIRST_MS;
    int rc = connect_once(made, err);
    if (rc < 0) {
        blx_pull_close(made);
        return rc;
    }
    *pull = made;
    return 0;
}

void blx_pull_close(struct blx_pull *pull)
{
    if (pull == NULL)
        return;
    blx_pull_hang_up(pull);
    explicit_bzero(&pull->request.hello, sizeof(pull->request.hello));
    free(pull->volumes);
    free(pull);
}

bool blx_pull_takes_over(const struct blx_pull *pull)
{
    return pull->takes_over;
}

const struct blx_restore_offer *blx_pull_get_offer(const struct blx_pull *pull)
{
    return &pull->offer;
}

const struct blx_restore_volume *blx_pull_get_volume(const struct blx_pull *pull, uint32_t volume)
{
    blx_assert(volume < pull->offer.volume_count);
    return &pull->volumes[volume];
}

/*
 * A volume on its way. `lock` guards what follows it. A worker that has its turn asks for further
 * frames and receives its own; the others unpack and write meanwhile.
 */
struct stream {
    struct blx_pull *pull;
    uint32_t volume;
    struct blx_journal *journal;  /* owned; NULL: of a delta, or what was written is checked */
    struct blx_pull_delta *delta; /* owned; NULL: all is asked for */
    pthread_mutex_t lock;
    pthread_cond_t turned;
    size_t next;              /* the plan's frame that comes next */
    size_t asked;             /* those before it were asked for */
    uint64_t asked_bytes;     /* of those that have not come */
    struct blx_error failure; /* of the connection; code 0: none */
};

static void note(const struct blx_pull *pull, const char *text)
{
    if (pull->request.note != NULL)
        pull->request.note(pull->request.arg, text);
}

static int plan_window(void *arg, struct blx_plan *plan, struct blx_error *err)
{
    struct stream *stream = arg;
    stream->next = stream->asked = 0;
    stream->asked_bytes = 0;
    stream->failure = (struct blx_error){0};
    if (stream->delta != NULL)
        return blx_pull_delta_plan(stream->delta, plan, err);
    return blx_pull_plan(stream->pull, stream->volume, stream->journal, plan, err);
}

static void attach(void *arg, const struct blx_restore_output *output)
{
    const struct stream *stream = arg;
    blx_pull_delta_attach(stream->delta, output);
}

static const struct blx_index_entry *first_entry(const struct blx_plan *plan, size_t number)
{
    return &plan->index.entries[plan->frames[number].first];
}

/* Whether the next frame may be asked for. One always may be under way. */
static bool has_room(const struct stream *stream, const struct blx_plan *plan)
{
    if (stream->asked == plan->frame_count)
        return false;
    return stream->asked == stream->next ||
           (stream->asked - stream->next < BLX_PULL_MAX_FRAMES &&
            stream->asked_bytes + first_entry(plan, stream->asked)->frame_bytes <=
                stream->pull->offer.window_bytes);
}

/* One request: of frames that follow each other in the dispatcher's plan too. */
static int ask_locked(struct stream *stream, const struct blx_plan *plan, struct blx_error *err)
{
    struct blx_message message = {
        .type = BLX_MESSAGE_FRAMES_REQUEST,
        .frames_request = {.volume = stream->volume,
                           .first = first_entry(plan, stream->asked)->segment},
    };
    struct blx_frames_request *request = &message.frames_request;
    do {
        stream->asked_bytes += first_entry(plan, stream->asked)->frame_bytes;
        stream->asked++;
        request->count++;
    } while (request->count < REQUEST_FRAMES && has_room(stream, plan) &&
             first_entry(plan, stream->asked)->segment == request->first + request->count);
    return blx_pull_send(stream->pull, &message, err);
}

/* Fills the window again as soon as half of it is empty, so that requests are few. */
static int top_up_locked(struct stream *stream, const struct blx_plan *plan, struct blx_error *err)
{
    int rc = 0;
    bool low = stream->asked_bytes <= stream->pull->offer.window_bytes / 2 &&
               stream->asked - stream->next <= BLX_PULL_MAX_FRAMES / 2;
    while (rc == 0 && low && has_room(stream, plan))
        rc = ask_locked(stream, plan, err);
    return rc;
}

/* Of a delta the dispatcher may have cut it: the plan then names what it has at most. */
static bool is_expected(const struct stream *stream, const struct blx_frame_message *frame,
                        uint32_t planned_bytes)
{
    return frame->volume == stream->volume &&
           (frame->frame_bytes == planned_bytes ||
            (stream->delta != NULL && frame->frame_bytes < planned_bytes));
}

static int receive_locked(struct stream *stream, const struct blx_plan *plan,
                          struct blx_stored_frame *stored, size_t *bytes, struct blx_error *err)
{
    struct blx_message message;
    uint32_t expected = first_entry(plan, stream->next)->frame_bytes;
    int rc = top_up_locked(stream, plan, err);
    if (rc == 0)
        rc = blx_pull_receive(stream->pull, BLX_MESSAGE_FRAME, &message, err);
    if (rc == 0 && !is_expected(stream, &message.frame, expected))
        rc = blx_error_set(err, -EPROTO, "the dispatcher sent another frame than it was asked for");
    if (rc == 0)
        rc = blx_stored_frame_copy(stored, message.frame.bytes, message.frame.frame_bytes, err);
    if (rc < 0)
        return rc;
    *bytes = message.frame.frame_bytes;
    stream->asked_bytes -= expected;
    stream->next++;
    return 0;
}

/* In its turn. All workers fail with what was wrong first. */
static int receive(struct stream *stream, const struct blx_plan *plan, size_t number,
                   struct blx_stored_frame *stored, size_t *bytes, struct blx_error *err)
{
    int rc = 0;
    pthread_mutex_lock(&stream->lock);
    while (stream->failure.code == 0 && stream->next != number)
        pthread_cond_wait(&stream->turned, &stream->lock);
    if (stream->failure.code == 0) {
        rc = receive_locked(stream, plan, stored, bytes, &stream->failure);
        stream->failure.code = rc;
        pthread_cond_broadcast(&stream->turned);
    }
    if (stream->failure.code != 0)
        rc = blx_error_copy(err, stream->failure.code, &stream->failure);
    pthread_mutex_unlock(&stream->lock);
    return rc;
}

static int fetch(void *arg, const struct blx_plan *plan, size_t number,
                 struct blx_stored_frame *stored, struct blx_error *err)
{
    size_t bytes = 0;
    int rc = receive(arg, plan, number, stored, &bytes, err);
    if (rc < 0)
        return rc;
    rc = blx_stored_frame_parse(stored, bytes, plan->key, err);
    if (rc == 0 && stored->frame.block_shift != plan->block_shift)
        rc = blx_error_set(err, -EBADMSG, "it has another block size than its volume");
    if (rc < 0)
        blx_error_prefix(err, "the dispatcher sent a frame that is damaged");
    return rc;
}

static int lacks(void *arg, const struct blx_plan *plan, const struct blx_index_entry *entry,
                 uint64_t seq, struct blx_error *err)
{
    (void)arg;
    (void)plan;
    return blx_error_set(err, -EBADMSG,
                         "the dispatcher sent a frame (its seq is %" PRIu64
                         ") that does not hold block %" PRIu64 ", for which it was asked",
                         seq, entry->extent.start_block);
}

static void pause_ms(uint64_t ms)
{
    const struct timespec pause = blx_ns_to_timespec(ms * BLX_NS_PER_MS);
    nanosleep(&pause, NULL);
}

int blx_pull_reconnect(struct blx_pull *pull, struct blx_error *err)
{
    uint64_t wait_ms = pull->request.pause_ms;
    for (;;) {
        struct blx_error why = {0};
        pause_ms(wait_ms);
        wait_ms = 2 * wait_ms < PAUSE_MAX_MS ? 2 * wait_ms : PAUSE_MAX_MS;
        int rc = connect_once(pull, &why);
        if (rc == 0)
            return 0;
        bool over = blx_clock_ns() > pull->heard_ns + pull->request.patience_ms * BLX_NS_PER_MS;
        if (rc == -EACCES || rc == -EPROTO || rc == -ENOMEM || over)
            return blx_error_copy(err, over && rc != -EACCES ? -ETIMEDOUT : rc, &why);
    }
}

static int recover(void *arg, int rc, struct blx_error *err)
{
    struct stream *stream = arg;
    if (rc != -ENOLINK)
        return rc;
    note(stream->pull, err->message);
    struct blx_error why = {0};
    rc = blx_pull_reconnect(stream->pull, &why);
    if (rc < 0) {
        blx_error_clear(err);
        return blx_error_copy(err, rc, &why);
    }
    if (stream->delta != NULL)
        blx_pull_delta_reconnected(stream->delta);
    note(stream->pull, "connected again: the restore goes on");
    return 0;
}

static struct blx_journal_head head_of(const struct blx_pull *pull, uint32_t volume,
                                       const char *target)
{
    const struct blx_restore_volume *info = &pull->volumes[volume];
    struct blx_journal_head head = {.checkpoint = pull->offer.checkpoint,
                                    .size_bytes = info->size_bytes,
                                    .block_shift = info->block_shift};
    blx_text_set(head.agent_id, pull->offer.agent_id);
    blx_text_set(head.volume, info->name);
    blx_text_set(head.target, target);
    return head;
}

bool blx_pull_can_resume(const struct blx_pull *pull, uint32_t volume, const char *journal,
                         const char *target)
{
    struct blx_journal *opened = NULL;
    const struct blx_journal_head head = head_of(pull, volume, target);
    int rc = blx_journal_open(journal, &head, BLX_JOURNAL_RESUME, &opened, NULL);
    bool written =
        rc == 0 && (blx_journal_get_window(opened) != 0 || blx_journal_get_done_bytes(opened) != 0);
    blx_journal_close(opened);
    return written;
}

/* The run before got as far as the name. */
static bool is_complete(const struct blx_journal *journal, const struct blx_restore_target *target,
                        uint64_t size_bytes)
{
    struct stat st;
    char partial[PATH_MAX + sizeof(".partial")];
    snprintf(partial, sizeof(partial), "%s.partial", target->path);
    return blx_journal_get_window(journal) == UINT64_MAX && lstat(partial, &st) != 0 &&
           lstat(target->path, &st) == 0 && S_ISREG(st.st_mode) &&
           (uint64_t)st.st_size == size_bytes;
}

static int run(struct stream *stream, const struct blx_restore_target *target,
               const struct blx_volume_key *key, const struct blx_restore_progress *progress,
               struct blx_error *err)
{
    uint64_t size_bytes = stream->pull->volumes[stream->volume].size_bytes;
    const struct blx_restore_source source = {.plan = plan_window,
                                              .fetch = fetch,
                                              .lacks = lacks,
                                              .recover = recover,
                                              .opened = stream->delta != NULL ? attach : NULL,
                                              .size_bytes = size_bytes,
                                              .arg = stream,
                                              .key = key,
                                              .journal = stream->journal};
    struct blx_restore_run run = {.source = &source, .target = target, .progress = progress};
    if (stream->journal != NULL && is_complete(stream->journal, target, size_bytes))
        return 0;
    pthread_mutex_init(&stream->lock, NULL);
    pthread_cond_init(&stream->turned, NULL);
    int rc = blx_restore_run(&run, err);
    pthread_cond_destroy(&stream->turned);
    pthread_mutex_destroy(&stream->lock);
    return rc;
}

/* By a comparison, or by the journal. */
static int begin(struct stream *stream, const struct blx_pull_target *target,
                 const struct blx_volume_key *key, struct blx_error *err)
{
    const struct blx_journal_head head = head_of(stream->pull, stream->volume, target->target.path);
    bool resume = (target->target.flags & BLX_RESTORE_CONTINUE) != 0;
    if (target->target.flags & BLX_RESTORE_DELTA)
        return blx_pull_delta_new(stream->pull, stream->volume, key, target->comparing,
                                  &stream->delta, err);
    return blx_journal_open(target->journal, &head, resume ? BLX_JOURNAL_RESUME : BLX_JOURNAL_BEGIN,
                            &stream->journal, err);
}

int blx_pull_volume(struct blx_pull *pull, uint32_t volume, const struct blx_pull_target *target,
                    const struct blx_restore_progress *progress, struct blx_error *err)
{
    blx_assert(volume < pull->offer.volume_count && target->target.losses == NULL);
    const struct blx_restore_volume *info = &pull->volumes[volume];
    const struct blx_key *secret = NULL;
    struct blx_volume_key derived = {.id = info->key_id};
    struct stream stream = {.pull = pull, .volume = volume};
    struct blx_restore_target wanted = target->target;
    wanted.flags |= BLX_RESTORE_KEEP;
    int rc = blx_keyring_choose(wanted.keys, &info->key_id, &secret, err);
    if (rc == 0 && secret != NULL)
        rc = blx_volume_key_derive(secret, pull->offer.agent_id, info->name, &derived, err);
    const struct blx_volume_key *key = secret != NULL ? &derived : NULL;
    if (rc == 0)
        rc = begin(&stream, target, key, err);
    if (rc == 0)
        rc = run(&stream, &wanted, key, progress, err);
    if (rc < 0)
        blx_error_prefix(err, "cannot restore '%s' of the checkpoint %" PRIu64 " of '%s'",
                         info->name, pull->offer.checkpoint, pull->offer.agent_id);
    blx_journal_close(stream.journal);
    blx_pull_delta_free(stream.delta);
    blx_volume_key_wipe(&derived);
    return rc;
}

int blx_pull_verify(struct blx_pull *pull, uint32_t volume, const struct blx_restore_target *target,
                    const struct blx_restore_progress *progress, struct blx_error *err)
{
    blx_assert(volume < pull->offer.volume_count && target->losses == NULL);
    const struct blx_restore_volume *info = &pull->volumes[volume];
    const struct blx_key *key = NULL;
    struct blx_volume_key volume_key = {.id = info->key_id};
    struct stream stream = {.pull = pull, .volume = volume};
    struct blx_restore_target wanted = *target;
    wanted.flags = BLX_RESTORE_CHECK;
    int rc = blx_keyring_choose(wanted.keys, &info->key_id, &key, err);
    if (rc == 0 && key != NULL)
        rc = blx_volume_key_derive(key, pull->offer.agent_id, info->name, &volume_key, err);
    if (rc == 0)
        rc = run(&stream, &wanted, key != NULL ? &volume_key : NULL, progress, err);
    if (rc < 0)
        blx_error_prefix(err, "'%s' of the checkpoint %" PRIu64 " of '%s' is not verified",
                         info->name, pull->offer.checkpoint, pull->offer.agent_id);
    blx_volume_key_wipe(&volume_key);
    return rc;
}

int blx_pull_finish(struct blx_pull *pull, uint64_t written_bytes, struct blx_error *err)
{
    const struct blx_message done = {.type = BLX_MESSAGE_RESTORE_DONE,
                                     .restore_done = {.written_bytes = written_bytes}};
    struct blx_message message;
    int rc = blx_pull_send(pull, &done, err);
    return rc < 0 ? rc : blx_pull_receive(pull, BLX_MESSAGE_GOODBYE, &message, err);
}
