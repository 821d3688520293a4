/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A connection of another dispatcher, which copies checkpoints: PROTOCOL.md 4.15. It has a copier's
 * certificate, and nothing that it can say writes to the store, except how far it is (offer.h). Its
 * session stays in the state ACCEPTED, as a restore's does, and has one of the restores' places.
 * A copier has one connection: a newer one ends the older.
 *
 *     ASKED  <------------------------------------------+
 *        |  COPY_REQUEST of a list: COPY_ITEMs, COPY_END |
 *        |  COPY_REQUEST of a checkpoint: it is held     |
 *        v                                               |
 *     SENDING  for the manifest, and for each file:      |
 *        |     COPY_FILE, then COPY_TAKE comes,          |
 *        |     FRAMEs with its bytes, COPY_END           |
 *        |  COPY_END with the checkpoint's identity      |
 *        v                                               |
 *     SENT  ---- COPY_DONE: the marks are written ------>+
 *        |  GOODBYE: it has healed one that it had
 *
 * A checkpoint is held until COPY_DONE or the end of the connection, so that no prune takes it.
 * Whatever fails ends the connection with ERROR; the copier comes again, and goes on.
 *
 * The certificate is looked at every DISPATCHER_COPY_LOOK_MS: it may be revoked meanwhile.
 *
 * Memory: a piece of a file, and what a checkpoint's chains take (store/copy/copy_source.h).
 */
#include <errno.h>
#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"
#include "base/units.h"
#include "dispatcher/audit.h"
#include "dispatcher/pulse.h"
#include "dispatcher/session/session_private.h"
#include "store/checkpoint/manifest_file.h"
#include "store/copy/offer.h"
#include "store/own_id.h"
#include "tls/pki.h"

enum {
    DISPATCHER_COPY_IDLE_MS = 30 * 60 * 1000, /* a copier that says nothing is cut then */
    DISPATCHER_COPY_LOOK_MS = 5 * 1000,
    BUFFER_BYTES = BLX_COPY_PIECE_BYTES + BLX_COPY_PIECE_LEAST_BYTES,
};

struct dispatcher_copy {
    struct dispatcher_session *session;
    char place[BLX_TEXT_BYTES]; /* names the copier in the marks */
    struct blx_copy_offer *offer;
    uint8_t *buffer; /* owned */
    uint64_t looked_ns, sent_bytes;
    uint64_t checkpoints;
    bool ended; /* the copier has said GOODBYE */
};

static const char *copier_of(const struct dispatcher_copy *copy)
{
    return copy->session->peer.name;
}

static int check_welcome(struct dispatcher_copy *copy, struct blx_error *err)
{
    const struct dispatcher_session *session = copy->session;
    copy->looked_ns = blx_clock_ns();
    return blx_pki_check_copier(session->dispatcher->data_dir, session->peer.name,
                                session->peer.serial, err);
}

/* Once in a while. */
static int look_again(struct dispatcher_copy *copy, struct blx_error *err)
{
    bool is_due = blx_clock_ns() >= copy->looked_ns + DISPATCHER_COPY_LOOK_MS * BLX_NS_PER_MS;
    return is_due ? check_welcome(copy, err) : 0;
}

/* By the copier's name, so that its newer connection ends the older. */
static int admit(struct dispatcher_copy *copy, struct blx_error *err)
{
    struct dispatcher_session *session = copy->session;
    uint8_t digest[SHA256_DIGEST_LENGTH] = {0};
    snprintf(copy->place, sizeof(copy->place), "%s%s", BLX_TLS_COPIER_PREFIX, copier_of(copy));
    SHA256((const uint8_t *)copy->place, strlen(copy->place), digest);
    memcpy(session->entry.instance.bytes, digest, BLX_GENERATION_BYTES);
    int rc = check_welcome(copy, err);
    if (rc < 0)
        dispatcher_audit(session->dispatcher, "refusal", NULL, "of the copier '%s' at %s: %s",
                         copier_of(copy), session->entry.peer, err->message);
    if (rc == 0)
        rc = dispatcher_registry_admit_restore(&session->dispatcher->registry, &session->entry,
                                               copy->place, err);
    return rc;
}

/* The next message, which must come within the time that a copier may be busy with a file. */
static int receive(struct dispatcher_copy *copy, struct blx_message *message, struct blx_error *err)
{
    uint64_t end_ns = blx_clock_ns() + DISPATCHER_COPY_IDLE_MS * BLX_NS_PER_MS;
    for (;;) {
        uint64_t until_ns = blx_clock_ns() + DISPATCHER_COPY_LOOK_MS * BLX_NS_PER_MS;
        struct blx_error why = {0};
        int rc = dispatcher_session_receive(copy->session, until_ns, message, &why);
        if (rc == 0 && message->type == BLX_MESSAGE_ERROR) {
            copy->session->failures |= DISPATCHER_SESSION_LINK_LOST;
            return blx_error_set(err, -ECONNABORTED, "the copier says: %s", message->error.text);
        }
        if (rc != -ETIMEDOUT || dispatcher_session_is_lost(copy->session) ||
            blx_clock_ns() >= end_ns)
            return rc == 0 ? 0 : blx_error_copy(err, rc, &why);
        rc = look_again(copy, err);
        if (rc < 0)
            return rc;
    }
}

/* ---- Lists ---- */

static int send_item(struct dispatcher_copy *copy, const char *agent_id, blx_timestamp checkpoint,
                     struct blx_error *err)
{
    struct blx_message message = {.type = BLX_MESSAGE_COPY_ITEM,
                                  .copy_item = {.checkpoint = checkpoint}};
    blx_text_set(message.copy_item.agent_id, agent_id);
    return dispatcher_session_send(copy->session, &message, err);
}

static int send_hash(struct dispatcher_copy *copy, const uint8_t hash[BLX_COPY_HASH_BYTES],
                     struct blx_error *err)
{
    struct blx_message message = {.type = BLX_MESSAGE_COPY_END};
    if (hash != NULL)
        memcpy(message.copy_end.hash, hash, sizeof(message.copy_end.hash));
    return dispatcher_session_send(copy->session, &message, err);
}

/* An agent of which nothing can be read now is left out; `status` here says why. */
static int send_agent(struct dispatcher_copy *copy, const char *name, struct blx_error *err)
{
    struct blx_agent_store agent = blx_store_agent(copy->session->dispatcher->store, name);
    char own_id[BLX_NAME_BYTES];
    blx_timestamp newest = 0;
    if (blx_own_id_read(agent, own_id, NULL) < 0 || blx_manifest_latest(agent, &newest, NULL) < 0)
        return 0;
    return send_item(copy, own_id, newest, err);
}

static int list_agents(struct dispatcher_copy *copy, struct blx_error *err)
{
    char **names = NULL;
    size_t count = 0;
    int rc = blx_store_list_agents(copy->session->dispatcher->store, &names, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = send_agent(copy, names[i], err);
    blx_store_free_agents(names, count);
    return rc == 0 ? send_hash(copy, NULL, err) : rc;
}

/* The agent's name here, by its ID. */
static int find_name(struct dispatcher_copy *copy, const char *agent_id, char name[BLX_NAME_BYTES],
                     struct blx_error *err)
{
    int rc = blx_own_id_find(copy->session->dispatcher->store, agent_id, name, err);
    if (rc == 0)
        rc = blx_error_set(err, -ENOENT, "this dispatcher has no agent '%s'", agent_id);
    return rc < 0 ? rc : 0;
}

static int list_checkpoints(struct dispatcher_copy *copy, const struct blx_copy_request *request,
                            struct blx_error *err)
{
    BLX_CLEANUP_FREE blx_timestamp *all = NULL;
    char name[BLX_NAME_BYTES];
    size_t count = 0;
    int rc = find_name(copy, request->agent_id, name, err);
    if (rc == 0)
        rc = blx_manifest_list(blx_store_agent(copy->session->dispatcher->store, name),
                               request->have + 1, BLX_TIMESTAMP_MAX, &all, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = send_item(copy, request->agent_id, all[i], err);
    return rc == 0 ? send_hash(copy, NULL, err) : rc;
}

/* ---- A checkpoint ---- */

static int send_piece(struct dispatcher_copy *copy, const void *bytes, size_t count,
                      struct blx_error *err)
{
    const struct blx_message message = {.type = BLX_MESSAGE_FRAME,
                                        .frame = {.bytes = bytes, .frame_bytes = (uint32_t)count}};
    int rc = dispatcher_session_send(copy->session, &message, err);
    copy->sent_bytes += count;
    return rc == 0 ? look_again(copy, err) : rc;
}

/* Where the bytes of a file come from: a descriptor, or memory. */
struct content {
    int fd; /* -1: memory */
    const uint8_t *bytes;
};

static int read_content(struct dispatcher_copy *copy, const struct content *content, size_t count,
                        uint64_t at, struct blx_error *err)
{
    if (content->fd < 0) {
        memcpy(copy->buffer, content->bytes + at, count);
        return 0;
    }
    int rc = blx_pread_full(content->fd, copy->buffer, count, at);
    return rc < 0 ? blx_error_errno(err, rc, "cannot read a segment") : 0;
}

/* No piece is shorter than a FRAME may be. */
static size_t piece_bytes(uint64_t left)
{
    return left < BLX_COPY_PIECE_BYTES + BLX_COPY_PIECE_LEAST_BYTES ? (size_t)left
                                                                    : BLX_COPY_PIECE_BYTES;
}

/* All of it is hashed, and what the copier does not have yet is sent. */
static int send_content(struct dispatcher_copy *copy, const struct content *content, uint64_t bytes,
                        uint64_t offset, struct blx_error *err)
{
    uint8_t hash[BLX_COPY_HASH_BYTES];
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    bool good = digest != NULL && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1;
    int rc = 0;
    for (uint64_t at = 0; rc == 0 && good && at < bytes;) {
        /* A piece begins where the copier's part ends. */
        size_t step = piece_bytes(at < offset ? offset - at : bytes - at);
        rc = read_content(copy, content, step, at, err);
        good = rc < 0 || EVP_DigestUpdate(digest, copy->buffer, step) == 1;
        if (rc == 0 && good && at >= offset)
            rc = send_piece(copy, copy->buffer, step, err);
        at += step;
    }
    good = good && EVP_DigestFinal_ex(digest, hash, NULL) == 1;
    EVP_MD_CTX_free(digest);
    if (rc == 0 && !good)
        rc = blx_error_set(err, -EIO, "cannot make the hash of a segment");
    return rc == 0 ? send_hash(copy, hash, err) : rc;
}

static int send_file(struct dispatcher_copy *copy, const struct blx_copy_file *file,
                     const struct content *content, struct blx_error *err)
{
    struct blx_message message = {.type = BLX_MESSAGE_COPY_FILE, .copy_file = *file};
    int rc = dispatcher_session_send(copy->session, &message, err);
    if (rc == 0)
        rc = receive(copy, &message, err);
    if (rc < 0)
        return rc;
    uint64_t offset = message.copy_take.offset_bytes;
    if (message.type != BLX_MESSAGE_COPY_TAKE || offset > file->bytes ||
        (offset < file->bytes && file->bytes - offset < BLX_COPY_PIECE_LEAST_BYTES))
        return dispatcher_session_protest(err, "expected COPY_TAKE of the file, got %s",
                                          blx_message_name(message.type));
    return send_content(copy, content, file->bytes, offset, err);
}

static int visit_file(void *arg, uint32_t entry, uint32_t number, int fd, uint64_t bytes,
                      struct blx_error *err)
{
    const struct blx_copy_file file = {.volume = entry, .number = number, .bytes = bytes};
    const struct content content = {.fd = fd};
    return send_file(arg, &file, &content, err);
}

static int send_manifest(struct dispatcher_copy *copy, struct blx_error *err)
{
    BLX_CLEANUP_FREE void *bytes = NULL;
    struct blx_copy_file file = {.number = 0};
    size_t count = 0;
    int rc = blx_copy_offer_encode(copy->offer, &bytes, &count, err);
    if (rc < 0)
        return rc;
    file.bytes = count;
    const struct content content = {.fd = -1, .bytes = bytes};
    return send_file(copy, &file, &content, err);
}

static int await_done(struct dispatcher_copy *copy, struct blx_error *err)
{
    struct blx_message message;
    int rc = receive(copy, &message, err);
    if (rc < 0)
        return rc;
    /* It has healed one of its checkpoints, and is no further than before. */
    copy->ended = message.type == BLX_MESSAGE_GOODBYE;
    if (copy->ended)
        return 0;
    if (message.type != BLX_MESSAGE_COPY_DONE ||
        memcmp(message.copy_done.hash, blx_copy_offer_hash(copy->offer), BLX_COPY_HASH_BYTES) != 0)
        return dispatcher_session_protest(err, "expected COPY_DONE of the checkpoint, got %s",
                                          blx_message_name(message.type));
    return blx_copy_offer_settle(copy->offer, err);
}

static int send_held(struct dispatcher_copy *copy, struct blx_error *err)
{
    int rc = send_manifest(copy, err);
    if (rc == 0)
        rc = blx_copy_offer_each(copy->offer, visit_file, copy, err);
    if (rc == 0)
        rc = send_hash(copy, blx_copy_offer_hash(copy->offer), err);
    return rc == 0 ? await_done(copy, err) : rc;
}

/* Merging small segments takes its time, and so may reading: PINGs say that it goes on. */
static int send_checkpoint(struct dispatcher_copy *copy, const struct blx_copy_request *request,
                           struct blx_error *err)
{
    struct dispatcher_session *session = copy->session;
    const struct blx_copy_wish wish = {.checkpoint = request->checkpoint,
                                       .have = request->have,
                                       .hash = request->hash,
                                       .place = copy->place};
    char name[BLX_NAME_BYTES];
    struct dispatcher_pulse pulse;
    int rc = find_name(copy, request->agent_id, name, err);
    if (rc < 0)
        return rc;
    dispatcher_pulse_start(&pulse, session->conn, session->dispatcher->heartbeat_ms / 2);
    rc = blx_copy_offer_open(blx_store_agent(session->dispatcher->store, name), &wish, &copy->offer,
                             err);
    if (rc == 0)
        rc = send_held(copy, err);
    blx_copy_offer_close(copy->offer);
    copy->offer = NULL;
    dispatcher_pulse_stop(&pulse);
    if (rc < 0) {
        blx_error_prefix(err, "the agent '%s', checkpoint %" PRIu64, name, request->checkpoint);
        return rc;
    }
    copy->checkpoints++;
    dispatcher_audit(session->dispatcher, "copied", name, "%" PRIu64 " by the copier '%s' at %s",
                     request->checkpoint, copier_of(copy), session->entry.peer);
    return 0;
}

static int answer(struct dispatcher_copy *copy, const struct blx_copy_request *request,
                  struct blx_error *err)
{
    switch (request->kind) {
    case BLX_COPY_AGENTS:
        return list_agents(copy, err);
    case BLX_COPY_CHECKPOINTS:
        return list_checkpoints(copy, request, err);
    default:
        return send_checkpoint(copy, request, err);
    }
}

/* Until the copier says GOODBYE: 0. */
static int serve(struct dispatcher_copy *copy, struct blx_error *err)
{
    for (;;) {
        struct blx_message message;
        int rc = receive(copy, &message, err);
        if (rc < 0 || message.type == BLX_MESSAGE_GOODBYE)
            return rc;
        if (message.type != BLX_MESSAGE_COPY_REQUEST)
            return dispatcher_session_protest(err, "expected COPY_REQUEST, got %s",
                                              blx_message_name(message.type));
        const struct blx_copy_request request = message.copy_request;
        rc = check_welcome(copy, err);
        if (rc == 0)
            rc = answer(copy, &request, err);
        if (rc < 0 || copy->ended)
            return rc;
    }
}

static void log_end(const struct dispatcher_copy *copy, int rc, const struct blx_error *err)
{
    char sent[BLX_UNIT_TEXT_BYTES];
    const char *peer = copy->session->entry.peer;
    blx_size_format(copy->sent_bytes, sent);
    if (rc < 0)
        blx_log_warning("the copier '%s' at %s was served no further: %s", copier_of(copy), peer,
                        err->message);
    else if (copy->checkpoints > 0)
        blx_log_info("the copier '%s' at %s has copied %" PRIu64 " checkpoint%s: %s sent",
                     copier_of(copy), peer, copy->checkpoints, copy->checkpoints == 1 ? "" : "s",
                     sent);
}

int dispatcher_session_copy(struct dispatcher_session *session, struct blx_error *err)
{
    struct dispatcher_copy copy = {.session = session};
    BLX_CLEANUP_FREE uint8_t *buffer = malloc(BUFFER_BYTES);
    if (buffer == NULL)
        return blx_error_set(err, -ENOMEM, "out of memory");
    copy.buffer = buffer;
    blx_conn_restrict(session->conn, BLX_MESSAGE_ENCODED_BYTES, BLX_FOR_EVER);
    int rc = admit(&copy, err);
    if (rc < 0)
        return rc;
    rc = serve(&copy, err);
    session->failures |= DISPATCHER_SESSION_LOGGED;
    log_end(&copy, rc, err);
    return rc;
}
