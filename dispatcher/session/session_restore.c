/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "base/units.h"
#include "dispatcher/audit.h"
#include "dispatcher/policy_book.h"
#include "dispatcher/pulse.h"
#include "dispatcher/session/restore_private.h"
#include "store/checkpoint/manifest_file.h"
#include "store/own_id.h"
#include "tls/handover.h"

static void restore_free(struct dispatcher_restore *restore)
{
    blx_supply_close(restore->supply);
    OPENSSL_cleanse(&restore->hello, sizeof(restore->hello));
    dispatcher_registry_list_restore(&restore->session->dispatcher->registry,
                                     &restore->session->entry, NULL);
    free(restore->listed);
    free(restore);
}

static void move(struct dispatcher_restore *restore, enum dispatcher_restore_state to)
{
    blx_assert(restore->state != DISPATCHER_RESTORE_FINISHED && to > DISPATCHER_RESTORE_STRANGER);
    restore->state = to;
}

static struct blx_agent_store store_of(const struct dispatcher_restore *restore)
{
    return blx_store_agent(restore->session->dispatcher->store, restore->session->agent_id);
}

static int take_hello(struct dispatcher_restore *restore, struct blx_error *err)
{
    struct dispatcher_session *session = restore->session;
    struct blx_message message;
    uint64_t deadline_ns = blx_clock_ns() + DISPATCHER_JOIN_MS * BLX_NS_PER_MS;
    blx_conn_restrict(session->conn, sizeof(message), DISPATCHER_JOIN_MS);
    int rc = dispatcher_session_receive(session, deadline_ns, &message, err);
    blx_conn_restrict(session->conn, BLX_MESSAGE_ENCODED_BYTES, BLX_FOR_EVER);
    if (rc == 0 && message.type != BLX_MESSAGE_RESTORE)
        rc = dispatcher_session_protest(err, "expected RESTORE, got %s",
                                        blx_message_name(message.type));
    if (rc == 0)
        restore->hello = message.restore;
    OPENSSL_cleanse(&message, sizeof(message));
    return rc;
}

/* By which the registry knows connections with one token, without its secret. */
static void name_token(struct dispatcher_restore *restore)
{
    uint8_t digest[SHA256_DIGEST_LENGTH] = {0};
    SHA256(restore->hello.secret, sizeof(restore->hello.secret), digest);
    memcpy(restore->session->entry.instance.bytes, digest, BLX_GENERATION_BYTES);
}

static void audit_start(const struct dispatcher_restore *restore, enum blx_restore_turn turn)
{
    const struct dispatcher_session *session = restore->session;
    const char *agent_id = session->agent_id;
    blx_log_notice("a machine at %s %s the checkpoint %" PRIu64 " of agent '%s' with a token",
                   session->entry.peer,
                   turn == BLX_RESTORE_FIRST ? "restores" : "goes on with restoring",
                   restore->grant.checkpoint, agent_id);
    dispatcher_audit(session->dispatcher, "restore", agent_id,
                     "%" PRIu64 " %s by the machine at %s", restore->grant.checkpoint,
                     turn == BLX_RESTORE_FIRST ? "is restored" : "goes on being restored",
                     session->entry.peer);
}

/* The agent's limit of the moment holds for what goes to another machine, too. */
static int take_limit(struct dispatcher_restore *restore, struct blx_error *err)
{
    struct blx_policy_verdict verdict;
    struct blx_bandwidth limit = {.rule_count = 0};
    dispatcher_policy_book_look(restore->session->dispatcher->book, restore->session->agent_id,
                                &verdict);
    int rc = verdict.bandwidth_limit[0] == '\0'
                 ? 0
                 : blx_bandwidth_parse(verdict.bandwidth_limit, &limit, err);
    blx_limiter_set(&restore->limiter, &limit);
    return rc;
}

/* A token is made for the agent's ID. Everything here goes by its name, except what the machine is
 * told: keys are derived from the ID. */
static int find_name(struct dispatcher_session *session, struct blx_error *err)
{
    char name[BLX_NAME_BYTES];
    int rc = blx_own_id_find(session->dispatcher->store, session->agent_id, name, err);
    if (rc < 0)
        return rc;
    blx_text_set(session->agent_id, name);
    return 0;
}

static int admit(struct dispatcher_restore *restore, struct blx_error *err)
{
    struct dispatcher_session *session = restore->session;
    enum blx_restore_turn turn;
    int rc = blx_pki_use_restore_token(session->dispatcher->data_dir, &restore->hello,
                                       &restore->grant, &turn, err);
    /* A refusal is logged, and audited if it is known whose token it was, as any other. */
    blx_text_set(session->agent_id, restore->grant.agent_id);
    if (rc == 0)
        rc = find_name(session, err);
    if (rc < 0)
        return rc;
    name_token(restore);
    rc = dispatcher_registry_admit_restore(&session->dispatcher->registry, &session->entry,
                                           session->agent_id, err);
    if (rc == 0)
        rc = take_limit(restore, err);
    if (rc == 0)
        audit_start(restore, turn);
    restore->looked_ns = blx_clock_ns();
    return rc;
}

/* With what was asked for of it. */
static void drop_window(struct dispatcher_restore *restore)
{
    restore->range_count = 0;
    restore->queued_bytes = 0;
    restore->window = (struct blx_supply_window){.frame_count = 0};
}

/* The new one is open before the old one is closed, so that the checkpoint is held all the time. A
 * window is of the old one, and goes with it. */
static int open_volume(struct dispatcher_restore *restore, uint32_t volume, struct blx_error *err)
{
    struct blx_supply *supply = NULL;
    if (restore->supply != NULL && restore->volume == volume)
        return 0;
    const struct blx_supply_request request = {.agent = store_of(restore),
                                               .checkpoint = restore->grant.checkpoint,
                                               .volume = restore->grant.volumes[volume]};
    int rc = blx_supply_open(&request, &supply, err);
    if (rc < 0)
        return rc;
    drop_window(restore);
    blx_supply_close(restore->supply);
    restore->supply = supply;
    restore->volume = volume;
    return 0;
}

/* The same numbers as in the offer. */
static int list(struct dispatcher_restore *restore, struct blx_error *err)
{
    struct dispatcher_session *session = restore->session;
    restore->listed = calloc(1, sizeof(*restore->listed));
    if (restore->listed == NULL)
        return blx_error_set(err, -ENOMEM, "out of memory");
    struct blx_control_restore *facts = &restore->listed->facts;
    blx_text_set(facts->agent_id, restore->session->agent_id);
    blx_text_set(facts->volume, restore->grant.volumes[0]);
    facts->checkpoint = restore->grant.checkpoint;
    facts->volume_count = restore->grant.volume_count;
    facts->takes_over = restore->grant.takes_over;
    dispatcher_registry_list_restore(&session->dispatcher->registry, &session->entry,
                                     restore->listed);
    return 0;
}

static int describe_volume(struct dispatcher_restore *restore, const struct blx_manifest *manifest,
                           uint32_t number, struct blx_message *message, struct blx_error *err)
{
    const char *name = restore->grant.volumes[number];
    const struct blx_manifest_volume *volume = blx_manifest_find(manifest, name);
    if (volume == NULL || !blx_manifest_has(manifest, name))
        return blx_error_set(err, -ENOENT, "the checkpoint %" PRIu64 " has no volume '%s'",
                             manifest->timestamp, name);
    *message = (struct blx_message){.type = BLX_MESSAGE_RESTORE_VOLUME};
    struct blx_restore_volume *told = &message->restore_volume;
    told->volume = number;
    told->block_shift = volume->block_shift;
    told->size_bytes = volume->size_bytes;
    restore->volumes[number] = (struct dispatcher_restore_volume){
        .size_bytes = volume->size_bytes, .block_shift = volume->block_shift};
    told->key_id = volume->key_id;
    blx_text_set(told->name, volume->name);
    blx_text_set(told->device, volume->device);
    return 0;
}

static int offer(struct dispatcher_restore *restore, struct blx_error *err)
{
    struct dispatcher_session *session = restore->session;
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    struct blx_message message = {.type = BLX_MESSAGE_RESTORE_OFFER};
    int rc = open_volume(restore, 0, err);
    if (rc == 0)
        rc = blx_manifest_read(store_of(restore), restore->grant.checkpoint, &manifest, err);
    if (rc < 0)
        return rc;
    struct blx_restore_offer *told = &message.restore_offer;
    blx_text_set(told->agent_id, restore->grant.agent_id);
    told->checkpoint = restore->grant.checkpoint;
    told->consistency = manifest.consistency;
    told->volume_count = restore->grant.volume_count;
    told->heartbeat_ms = session->dispatcher->heartbeat_ms;
    told->window_bytes = DISPATCHER_RESTORE_WINDOW_BYTES;
    const struct blx_message handover = {.type = BLX_MESSAGE_HANDOVER};
    rc = restore->grant.takes_over ? dispatcher_session_send(session, &handover, err) : 0;
    if (rc == 0)
        rc = dispatcher_session_send(session, &message, err);
    for (uint32_t i = 0; rc == 0 && i < restore->grant.volume_count; i++) {
        rc = describe_volume(restore, &manifest, i, &message, err);
        if (rc == 0)
            rc = dispatcher_session_send(session, &message, err);
    }
    if (rc == 0)
        rc = list(restore, err);
    if (rc == 0)
        move(restore, DISPATCHER_RESTORE_OFFERED);
    return rc;
}

static int send_pieces(struct dispatcher_restore *restore, struct blx_error *err)
{
    struct blx_message message = {.type = BLX_MESSAGE_PLAN_PIECES};
    struct blx_plan_pieces *pieces = &message.plan_pieces;
    pieces->volume = restore->volume;
    size_t count;
    int rc = 0;
    while (rc == 0 && (count = blx_supply_list_pieces(restore->supply, pieces->pieces,
                                                      BLX_PLAN_PIECES_OF_A_MESSAGE)) > 0) {
        pieces->count = (uint32_t)count;
        rc = dispatcher_session_send(restore->session, &message, err);
    }
    return rc;
}

/* The indexes of a long chain take their time. */
static int plan_window(struct dispatcher_restore *restore, const struct blx_plan_request *request,
                       struct blx_error *err)
{
    const struct dispatcher_session *session = restore->session;
    struct dispatcher_pulse pulse;
    dispatcher_pulse_start(&pulse, session->conn, session->dispatcher->heartbeat_ms / 2);
    int rc = open_volume(restore, request->volume, err);
    if (rc == 0)
        rc = blx_supply_plan(restore->supply, request->start_block, &restore->window, err);
    dispatcher_pulse_stop(&pulse);
    return rc;
}

static uint64_t block_bytes(const struct dispatcher_restore *restore, uint64_t blocks)
{
    const struct dispatcher_restore_volume *volume = &restore->volumes[restore->volume];
    uint64_t bytes = blocks << volume->block_shift;
    return bytes < volume->size_bytes ? bytes : volume->size_bytes;
}

static void note_place(struct dispatcher_restore *restore, const struct blx_plan_request *request)
{
    const struct dispatcher_registry_place place = {
        .volume = restore->grant.volumes[restore->volume],
        .number = restore->volume + 1,
        .volume_bytes = restore->volumes[restore->volume].size_bytes,
        .done_bytes = block_bytes(restore, request->start_block)};
    restore->start_block = request->start_block;
    dispatcher_registry_note_place(&restore->session->dispatcher->registry,
                                   &restore->session->entry, &place);
}

/* How far the volume is, if the window's frames follow each other as its blocks do. */
static uint64_t done_bytes(const struct dispatcher_restore *restore, uint32_t frames)
{
    const struct blx_supply_window *window = &restore->window;
    uint64_t blocks = window->end_block - restore->start_block;
    double part = (double)frames / (double)window->frame_count;
    return block_bytes(restore, restore->start_block + (uint64_t)((double)blocks * part));
}

static int answer_plan(struct dispatcher_restore *restore, const struct blx_plan_request *request,
                       struct blx_error *err)
{
    if (request->volume >= restore->grant.volume_count)
        return dispatcher_session_protest(err, "PLAN_REQUEST for volume number %" PRIu32,
                                          request->volume);
    drop_window(restore);
    int rc = plan_window(restore, request, err);
    if (rc < 0)
        return rc;
    const struct blx_message plan = {
        .type = BLX_MESSAGE_PLAN,
        .plan = {.volume = request->volume,
                 .frame_count = restore->window.frame_count,
                 .start_block = request->start_block,
                 .end_block = restore->window.end_block,
                 .piece_count = restore->window.piece_count},
    };
    move(restore, DISPATCHER_RESTORE_SERVING);
    note_place(restore, request);
    rc = dispatcher_session_send(restore->session, &plan, err);
    return rc == 0 ? send_pieces(restore, err) : rc;
}

/* Once in a connection: the key makes the digests of blocks that the agent will send, too. */
static void audit_key(struct dispatcher_restore *restore, const struct blx_delta_key *told)
{
    const struct dispatcher_session *session = restore->session;
    if (restore->told_key || !blx_key_id_is_none(&told->key_id))
        return;
    restore->told_key = true;
    dispatcher_audit(session->dispatcher, "restore", session->agent_id,
                     "the machine at %s compares its disks, and is told the key of the digests",
                     session->entry.peer);
}

static int begin_delta(struct dispatcher_restore *restore, const struct blx_delta_request *request,
                       struct blx_error *err)
{
    struct blx_message message = {.type = BLX_MESSAGE_DELTA_KEY};
    if (request->volume >= restore->grant.volume_count)
        return dispatcher_session_protest(err, "DELTA_REQUEST for volume number %" PRIu32,
                                          request->volume);
    int rc = open_volume(restore, request->volume, err);
    if (rc == 0)
        rc = blx_supply_begin_delta(restore->supply, &message.delta_key, err);
    message.delta_key.volume = request->volume;
    if (rc == 0)
        audit_key(restore, &message.delta_key);
    if (rc == 0)
        rc = dispatcher_session_send(restore->session, &message, err);
    OPENSSL_cleanse(&message, sizeof(message));
    return rc;
}

static int refuse_volume(const struct dispatcher_restore *restore, uint32_t volume,
                         const char *name, struct blx_error *err)
{
    if (restore->supply != NULL && volume == restore->volume)
        return 0;
    return dispatcher_session_protest(err, "%s for another volume than DELTA_REQUEST", name);
}

static int answer_digest(struct dispatcher_restore *restore,
                         const struct blx_digest_request *request, struct blx_error *err)
{
    const struct dispatcher_session *session = restore->session;
    struct blx_message message = {.type = BLX_MESSAGE_DIGESTS};
    struct blx_error damage = {0};
    struct dispatcher_pulse pulse;
    int rc = refuse_volume(restore, request->volume, "DIGEST_REQUEST", err);
    if (rc < 0)
        return rc;
    drop_window(restore);
    dispatcher_pulse_start(&pulse, session->conn, session->dispatcher->heartbeat_ms / 2);
    rc = blx_supply_digest(restore->supply, request, &message.digests, &damage, err);
    dispatcher_pulse_stop(&pulse);
    if (damage.code != 0 && !restore->told_damage)
        blx_log_error("agent '%s': %s: a machine that restores asks for these blocks",
                      session->agent_id, damage.message);
    restore->told_damage |= damage.code != 0;
    return rc < 0 ? rc : dispatcher_session_send(restore->session, &message, err);
}

static int note_wanted(struct dispatcher_restore *restore, const struct blx_delta_wanted *wanted,
                       struct blx_error *err)
{
    int rc = refuse_volume(restore, wanted->volume, "DELTA_WANTED", err);
    return rc < 0 ? rc : blx_supply_want(restore->supply, wanted, err);
}

static int queue_frames(struct dispatcher_restore *restore,
                        const struct blx_frames_request *request, struct blx_error *err)
{
    if (restore->state != DISPATCHER_RESTORE_SERVING || request->volume != restore->volume ||
        request->first + request->count > restore->window.frame_count)
        return dispatcher_session_protest(err, "FRAMES_REQUEST for frames that no PLAN has");
    if (restore->range_count == DISPATCHER_RESTORE_MAX_REQUESTS)
        return dispatcher_session_protest(err, "more than %d requests for frames at a time",
                                          DISPATCHER_RESTORE_MAX_REQUESTS);
    for (uint32_t i = 0; i < request->count; i++) {
        /* One may always be under way. */
        if (restore->queued_bytes > DISPATCHER_RESTORE_WINDOW_BYTES)
            return dispatcher_session_protest(err, "more was asked for than the window has");
        restore->queued_bytes += blx_supply_frame_bytes(restore->supply, request->first + i);
        blx_supply_prefetch(restore->supply, request->first + i);
    }
    uint32_t last = (restore->range_first + restore->range_count) % DISPATCHER_RESTORE_MAX_REQUESTS;
    restore->ranges[last] =
        (struct dispatcher_restore_range){.first = request->first, .count = request->count};
    restore->range_count++;
    return 0;
}

/* Durable before the token is spent, so that a machine that hears nothing of it may ask again. The
 * old machine's session ends: it comes again, and is told why it is refused. */
static int hand_over(struct dispatcher_restore *restore, struct blx_error *err)
{
    struct dispatcher_session *session = restore->session;
    struct dispatcher *dispatcher = session->dispatcher;
    const char *agent_id = session->agent_id;
    struct blx_handover handover = {.since = blx_timestamp_from_unix((int64_t)time(NULL)),
                                    .checkpoint = restore->grant.checkpoint};
    struct dispatcher_pulse pulse;
    struct blx_error why = {0};
    memcpy(handover.hardware, restore->hardware, sizeof(handover.hardware));
    blx_text_set(handover.peer, session->entry.peer);
    int rc = blx_handover_begin(dispatcher->data_dir, restore->grant.agent_id, &handover, err);
    if (rc < 0)
        return rc;
    blx_log_notice("agent '%s': its name goes to the machine at %s, which has restored %" PRIu64
                   "; the old machine is refused",
                   agent_id, session->entry.peer, handover.checkpoint);
    dispatcher_audit(dispatcher, "handover", agent_id, "%" PRIu64 " to the machine at %s",
                     handover.checkpoint, session->entry.peer);
    dispatcher_pulse_start(&pulse, session->conn, dispatcher->heartbeat_ms / 2);
    /* Its socket is shut by now, even if it has not left the store. */
    if (dispatcher_registry_expel(&dispatcher->registry, agent_id, DISPATCHER_ENDING_REVOKED,
                                  &why) < 0)
        blx_log_warning("agent '%s': the old machine's session: %s", agent_id, why.message);
    dispatcher_pulse_stop(&pulse);
    return 0;
}

static int take_hardware(struct dispatcher_restore *restore,
                         const struct blx_hardware_message *hardware, struct blx_error *err)
{
    if (!restore->grant.takes_over)
        return dispatcher_session_protest(err, "HARDWARE came, and the token does not take over");
    memcpy(restore->hardware, hardware->identity, sizeof(restore->hardware));
    return 0;
}

static int finish(struct dispatcher_restore *restore, const struct blx_restore_done *done,
                  struct blx_error *err)
{
    struct dispatcher_session *session = restore->session;
    char written[BLX_UNIT_TEXT_BYTES], sent[BLX_UNIT_TEXT_BYTES];
    /* It may have been taken back since it was looked at, and a handover cannot be unsaid. */
    int rc = blx_pki_check_restore_token(session->dispatcher->data_dir, &restore->hello, err);
    if (rc == 0 && restore->grant.takes_over)
        rc = hand_over(restore, err);
    if (rc == 0)
        rc = blx_pki_finish_restore_token(session->dispatcher->data_dir, &restore->hello, err);
    if (rc < 0)
        return rc;
    move(restore, DISPATCHER_RESTORE_FINISHED);
    blx_log_notice("the machine at %s has restored the checkpoint %" PRIu64
                   " of agent '%s': %s written, %s sent over this connection",
                   session->entry.peer, restore->grant.checkpoint, session->agent_id,
                   blx_size_format(done->written_bytes, written),
                   blx_size_format(restore->sent_bytes, sent));
    dispatcher_audit(session->dispatcher, "restore-done", session->agent_id,
                     "%" PRIu64 " is restored by the machine at %s", restore->grant.checkpoint,
                     session->entry.peer);
    const struct blx_message goodbye = {.type = BLX_MESSAGE_GOODBYE};
    return dispatcher_session_send(session, &goodbye, err);
}

static int handle(struct dispatcher_restore *restore, const struct blx_message *message,
                  struct blx_error *err)
{
    switch (message->type) {
    case BLX_MESSAGE_PLAN_REQUEST:
        return answer_plan(restore, &message->plan_request, err);
    case BLX_MESSAGE_FRAMES_REQUEST:
        return queue_frames(restore, &message->frames_request, err);
    case BLX_MESSAGE_DELTA_REQUEST:
        return begin_delta(restore, &message->delta_request, err);
    case BLX_MESSAGE_DIGEST_REQUEST:
        return answer_digest(restore, &message->digest_request, err);
    case BLX_MESSAGE_DELTA_WANTED:
        return note_wanted(restore, &message->delta_wanted, err);
    case BLX_MESSAGE_HARDWARE:
        return take_hardware(restore, &message->hardware, err);
    case BLX_MESSAGE_RESTORE_DONE:
        return finish(restore, &message->restore_done, err);
    case BLX_MESSAGE_ERROR:
        restore->session->failures |= DISPATCHER_SESSION_LINK_LOST;
        return blx_error_set(err, -ECONNABORTED, "the machine that restores says: %s",
                             message->error.text);
    default:
        return dispatcher_session_protest(err, "%s is not expected in a restore",
                                          blx_message_name(message->type));
    }
}

static int send_frame(struct dispatcher_restore *restore, struct blx_error *err)
{
    struct dispatcher_restore_range *range = &restore->ranges[restore->range_first];
    uint32_t number = range->first, bytes = 0;
    struct blx_message message = {.type = BLX_MESSAGE_FRAME};
    int rc = blx_supply_read(restore->supply, number, &message.frame.bytes, &bytes, err);
    if (rc < 0)
        return rc;
    message.frame.volume = restore->volume;
    message.frame.frame_bytes = bytes;
    rc = dispatcher_session_send(restore->session, &message, err);
    if (rc < 0)
        return rc;
    blx_limiter_take(&restore->limiter, bytes);
    restore->sent_bytes += bytes;
    restore->queued_bytes -= blx_supply_frame_bytes(restore->supply, number);
    range->first++;
    dispatcher_registry_note_sent(&restore->session->dispatcher->registry, &restore->session->entry,
                                  bytes, done_bytes(restore, range->first));
    if (--range->count == 0) {
        restore->range_first = (restore->range_first + 1) % DISPATCHER_RESTORE_MAX_REQUESTS;
        restore->range_count--;
    }
    return 0;
}

/* How long the next frame has to wait; without a frame, until the token is looked at again. */
static uint64_t wait_ns(struct dispatcher_restore *restore, uint64_t now_ns)
{
    if (restore->range_count == 0)
        return DISPATCHER_RESTORE_LOOK_MS * BLX_NS_PER_MS;
    time_t seconds = time(NULL);
    struct tm when = {0};
    localtime_r(&seconds, &when);
    return blx_limiter_get_wait_ns(&restore->limiter, now_ns, &when);
}

/* A token that was taken back ends the restore. */
static int look_at_token(struct dispatcher_restore *restore, struct blx_error *err)
{
    uint64_t now_ns = blx_clock_ns();
    if (now_ns < restore->looked_ns + DISPATCHER_RESTORE_LOOK_MS * BLX_NS_PER_MS)
        return 0;
    restore->looked_ns = now_ns;
    return blx_pki_check_restore_token(restore->session->dispatcher->data_dir, &restore->hello,
                                       err);
}

/* The next message, if one comes within the time: 1; otherwise 0. */
static int receive_within(struct dispatcher_restore *restore, uint64_t limit_ns,
                          struct blx_message *message, struct blx_error *err)
{
    struct dispatcher_session *session = restore->session;
    struct blx_error why = {0};
    int rc;
    if (limit_ns == 0)
        rc = blx_conn_recv(session->conn, 0, message, &why);
    else
        rc = dispatcher_session_receive(session, blx_clock_ns() + limit_ns, message, &why);
    if (rc == 0)
        return 1;
    if (rc == -ETIMEDOUT)
        return 0;
    session->failures |= rc == -EBADMSG || rc == -ECANCELED ? 0 : DISPATCHER_SESSION_LINK_LOST;
    return blx_error_copy(err, rc, &why);
}

static int serve(struct dispatcher_restore *restore, struct blx_error *err)
{
    uint64_t heard_ns = blx_clock_ns();
    int rc = 0;
    while (rc >= 0 && restore->state != DISPATCHER_RESTORE_FINISHED) {
        struct blx_message message;
        uint64_t now_ns = blx_clock_ns(), limit_ns = wait_ns(restore, now_ns);
        rc = receive_within(restore, limit_ns, &message, err);
        if (rc > 0) {
            heard_ns = now_ns;
            rc = handle(restore, &message, err);
        } else if (rc == 0 && restore->range_count > 0) {
            heard_ns = now_ns;
            rc = send_frame(restore, err);
        } else if (rc == 0 && now_ns > heard_ns + DISPATCHER_RESTORE_IDLE_MS * BLX_NS_PER_MS) {
            rc = blx_error_set(err, -ETIMEDOUT,
                               "the machine that restores has asked for nothing "
                               "for half an hour");
        }
        if (rc == 0 && restore->state != DISPATCHER_RESTORE_FINISHED)
            rc = look_at_token(restore, err);
    }
    return rc;
}

int dispatcher_session_restore(struct dispatcher_session *session, struct blx_error *err)
{
    struct dispatcher_restore *restore = calloc(1, sizeof(*restore));
    if (restore == NULL)
        return blx_error_set(err, -ENOMEM, "out of memory");
    restore->session = session;
    int rc = take_hello(restore, err);
    if (rc == 0)
        rc = admit(restore, err);
    if (rc == 0)
        rc = offer(restore, err);
    if (rc == 0)
        rc = serve(restore, err);
    if (restore->state > DISPATCHER_RESTORE_STRANGER)
        session->failures |= DISPATCHER_SESSION_LOGGED;
    if (rc < 0 && restore->state > DISPATCHER_RESTORE_STRANGER)
        blx_log_warning("the restore of agent '%s' by the machine at %s stopped: %s",
                        session->agent_id, session->entry.peer, err->message);
    restore_free(restore);
    return rc;
}
