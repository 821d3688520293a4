/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dispatcher's side of a rescan: digests of a volume's stored image. The image is opened at the
 * first request. It is kept until the agent reports that its rescan is over, a checkpoint is
 * committed, or the agent asks about another volume.
 *
 * A question of some bytes may cost 64 MiB of reading and unpacking, and neither the sizes that an
 * agent has declared nor what it has sent bounds how often it asks. So the roster counts the
 * processor's time that an agent's questions take, far more than a rescan needs. After that an
 * answer is followed by a rest nine times as long, and the agent has a tenth of a processor. A
 * rescan that honest doubts repeat all day goes on, slowly.
 */
#include <errno.h>
#include <stdio.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "dispatcher/pulse.h"
#include "dispatcher/session/session_private.h"
#include "store/view/image.h"
#include "store/rescan_order.h"
#include "wire/digest.h"

enum { RESTS_OF_AN_ANSWER = 9, REST_MIN_MS = 50 };

static void drop_image(struct dispatcher_session *session)
{
    blx_image_close(session->image.image);
    session->image.image = NULL;
}

static void take_turn(struct dispatcher_session *session)
{
    (void)dispatcher_turns_take(&session->dispatcher->turns, &session->image.turn, blx_clock_ns());
}

static bool has_turn(const struct dispatcher_session *session)
{
    return atomic_load(&session->image.turn.state) == DISPATCHER_TURN_HELD;
}

void dispatcher_session_close_image(struct dispatcher_session *session)
{
    drop_image(session);
    if (atomic_load(&session->image.turn.state) != DISPATCHER_TURN_NONE)
        dispatcher_turns_leave(&session->dispatcher->turns, &session->image.turn, blx_clock_ns());
    if (session->image.asked_count > 0)
        take_turn(session);
}

/* An image that cannot be read at all has to be replaced: the next session asks for a full pass. */
static int open_failed(struct dispatcher_session *session, uint32_t volume, int rc,
                       struct blx_error *err)
{
    if (rc != -EBADMSG)
        return dispatcher_session_store_result(session, rc);
    dispatcher_session_log(session, BLX_LOG_ERROR,
                           "agent '%s': the image of %s cannot be read: %s: a full pass follows",
                           session->agent_id, session->volumes[volume].name, err->message);
    rc = blx_agent_writer_distrust(session->writer, volume, err);
    if (rc < 0)
        return dispatcher_session_store_result(session, rc);
    return blx_error_set(err, -EIO, "the stored image of %s is damaged: connect again",
                         session->volumes[volume].name);
}

static int open_image(struct dispatcher_session *session, const struct blx_digest_request *request,
                      struct blx_error *err)
{
    struct dispatcher_session_image *held = &session->image;
    if (held->image != NULL && held->volume == request->volume && !request->fresh)
        return 0;
    drop_image(session);
    unsigned held_back = 0;
    if (!dispatcher_roster_allow(&session->dispatcher->roster, session->record,
                                 DISPATCHER_ALLOW_IMAGE, blx_clock_ns(), &held_back))
        return dispatcher_session_protest(err, "the agent '%s' asks for a stored image too often",
                                          session->agent_id);
    /* Somebody doubts what is stored: then what the agent once said of it counts for nothing. */
    if (session->rescan_told)
        held->origin = BLX_IMAGE_FROM_FRAMES;
    int rc = blx_agent_writer_open_image(session->writer, request->volume, held->origin,
                                         &held->image, err);
    if (rc < 0)
        return open_failed(session, request->volume, rc, err);
    held->volume = request->volume;
    held->damage_logged = false;
    return 0;
}

static void note_damage(struct dispatcher_session *session, const struct blx_error *damage)
{
    struct dispatcher_session_image *held = &session->image;
    struct dispatcher *dispatcher = session->dispatcher;
    char text[BLX_TEXT_BYTES];
    if (damage->code == 0 || held->damage_logged)
        return;
    dispatcher_session_log(session, BLX_LOG_ERROR,
                           "agent '%s': %s: %s: the damaged blocks are fetched again",
                           session->agent_id, session->volumes[held->volume].name, damage->message);
    snprintf(text, sizeof(text), "%.*s", (int)sizeof(text) - 1, damage->message);
    dispatcher_roster_note_damage(&dispatcher->roster, dispatcher->store, session->agent_id, text,
                                  NULL);
    held->damage_logged = true;
}

static int answer(struct dispatcher_session *session, const struct blx_digest_request *request,
                  struct blx_message *message, struct blx_error *err)
{
    uint64_t size = blx_image_size_bytes(session->image.image);
    unsigned shift = blx_image_block_shift(session->image.image);
    uint64_t blocks = (size >> shift) + ((size & ((UINT64_C(1) << shift) - 1)) != 0);
    if (blx_digest_request_end(request) > blocks)
        return dispatcher_session_protest(err,
                                          "DIGEST_REQUEST asks for blocks beyond the end of %s",
                                          session->volumes[request->volume].name);
    struct blx_error damage;
    int rc = blx_image_digest(session->image.image, request, &message->digests, &damage, err);
    note_damage(session, &damage);
    return rc;
}

/* Counts what the answer has cost. */
static void note_cost(struct dispatcher_session *session, uint64_t cost_ns)
{
    struct dispatcher_session_image *held = &session->image;
    uint64_t now_ns = blx_clock_ns(), rest_ns = cost_ns * RESTS_OF_AN_ANSWER;
    if (dispatcher_roster_allow_answer(&session->dispatcher->roster, session->record, cost_ns,
                                       now_ns))
        return;
    if (held->rest_until_ns == 0)
        dispatcher_session_log(session, BLX_LOG_WARNING,
                               "agent '%s' has compared its disks for %d hours of a processor's "
                               "time: from now on it gets its answers slowly",
                               session->agent_id, DISPATCHER_ALLOWED_ANSWERS_S / 3600);
    const uint64_t least_ns = REST_MIN_MS * BLX_NS_PER_MS;
    held->rest_until_ns = now_ns + (rest_ns > least_ns ? rest_ns : least_ns);
}

static int answer_now(struct dispatcher_session *session, const struct blx_digest_request *request,
                      struct blx_error *err)
{
    struct blx_message message = {.type = BLX_MESSAGE_DIGESTS};
    struct dispatcher_pulse pulse;
    uint64_t begun_ns = blx_clock_thread_ns();
    /* The indexes of a long chain, or many scattered blocks of an old disk, take their time. */
    dispatcher_pulse_start(&pulse, session->conn, session->dispatcher->heartbeat_ms / 2);
    int rc = open_image(session, request, err);
    if (rc == 0)
        rc = answer(session, request, &message, err);
    dispatcher_pulse_stop(&pulse);
    if (rc == 0)
        note_cost(session, blx_clock_thread_ns() - begun_ns);
    if (rc == 0 && request->fresh && session->rescan_told) {
        session->rescan_told = false;
        rc = blx_rescan_order_done(blx_store_agent(session->dispatcher->store, session->agent_id),
                                   err);
        if (rc < 0)
            return dispatcher_session_store_result(session, rc);
    }
    if (rc == 0) /* opening the image has sealed and synced what had arrived: acknowledge it */
        rc = dispatcher_session_sync(session, err);
    return rc < 0 ? rc : dispatcher_session_send(session, &message, err);
}

/* A rescan that has had its turn lets others have theirs. */
static void yield_turn(struct dispatcher_session *session)
{
    struct dispatcher_turns *turns = &session->dispatcher->turns;
    if (!dispatcher_turns_is_over(turns, &session->image.turn, blx_clock_ns()))
        return;
    drop_image(session);
    dispatcher_turns_leave(turns, &session->image.turn, blx_clock_ns());
}

static bool is_resting(const struct dispatcher_session_image *held)
{
    return blx_clock_ns() < held->rest_until_ns;
}

static int note_asked(struct dispatcher_session *session, const struct blx_digest_request *request,
                      struct blx_error *err)
{
    struct dispatcher_session_image *held = &session->image;
    if (held->asked_count == DISPATCHER_SESSION_QUESTIONS)
        return dispatcher_session_protest(err, "more than %d DIGEST_REQUESTs wait for an answer",
                                          DISPATCHER_SESSION_QUESTIONS);
    if (held->asked == NULL)
        held->asked = calloc(DISPATCHER_SESSION_QUESTIONS, sizeof(held->asked[0]));
    if (held->asked == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot keep a question");
    held->asked[held->asked_count++] = *request;
    return 0;
}

int dispatcher_session_answer_asked(struct dispatcher_session *session, struct blx_error *err)
{
    struct dispatcher_session_image *held = &session->image;
    uint32_t done = 0;
    int rc = 0;
    while (rc == 0 && done < held->asked_count && !is_resting(held))
        rc = answer_now(session, &held->asked[done++], err);
    held->asked_count -= done;
    memmove(held->asked, held->asked + done, held->asked_count * sizeof(held->asked[0]));
    return rc;
}

int dispatcher_session_answer_digest(struct dispatcher_session *session,
                                     const struct blx_digest_request *request,
                                     struct blx_error *err)
{
    if (request->volume >= session->volume_count || session->volumes[request->volume].pass == 0)
        return dispatcher_session_protest(
            err, "DIGEST_REQUEST for volume number %" PRIu32 ", which has not begun",
            request->volume);
    yield_turn(session);
    take_turn(session);
    if (session->image.asked_count == 0 && has_turn(session) && !is_resting(&session->image))
        return answer_now(session, request, err);
    return note_asked(session, request, err);
}
