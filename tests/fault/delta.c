/* SPDX-License-Identifier: Apache-2.0 */
/* A restore onto what a target holds already, on both sides: a supply answers or tells an error, a
 * comparison finds what differs or nothing, and what it is compared with stays as it is. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "folder.h"
#include "loop.h"
#include "store/restore/compare_private.h"
#include "store/restore/cut_frame_private.h"
#include "store/restore/supply.h"
#include "store/view/image.h"
#include "store/view/view_private.h"
#include "store_state.h"

enum { SCRIPT_BYTES = 256 * 1024 };

/* What a dispatcher says in a whole conversation, as it was recorded: nothing that the other side
 * does changes it. */
static uint8_t script[SCRIPT_BYTES];
static size_t script_bytes;

/* Any question about the first blocks. */
static const struct blx_digest_request question = {
    .request = 1, .blocks_per_digest = 4, .extent_count = 1, .extents = {{.block_count = 8}}};

struct delta {
    struct blx_supply *supply;
    struct blx_supply_window window;
    struct blx_image *image;
    struct blx_view_source source;
    struct blx_digests digests;
    struct blx_delta_key key;
    const uint8_t *bytes; /* of a frame; the supply's */
    uint32_t frame_bytes;
    char dir[FOLDER_BYTES], path[128], journal_path[128];
    struct blx_pull *pull;
    struct blx_compare *compare;
    struct blx_pull_delta *plans;
    struct blx_restore_output output;
    struct blx_plan plan;
    struct blx_cut_frame cut;
};

/* Between two tries to connect nobody needs to wait here. */
int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left);
int __wrap_nanosleep(const struct timespec *wanted, struct timespec *left)
{
    (void)wanted, (void)left;
    return 0;
}

static struct blx_agent_store web1(void)
{
    return blx_store_agent(&store_state.test.store, "web1");
}

static void setup(void *arg)
{
    struct delta *delta = arg;
    memset(delta, 0, sizeof(*delta));
    delta->output.fd = delta->output.direct_fd = -1;
    folder_make(delta->dir);
    snprintf(delta->path, sizeof(delta->path), "%s/image", delta->dir);
    snprintf(delta->journal_path, sizeof(delta->journal_path), "%s/journal", delta->dir);
}

static void teardown(void *arg)
{
    struct delta *delta = arg;
    blx_supply_close(delta->supply);
    blx_image_close(delta->image);
    if (delta->source.done != NULL)
        delta->source.done(delta->source.arg);
    blx_compare_free(delta->compare);
    blx_pull_delta_free(delta->plans);
    blx_pull_close(delta->pull);
    blx_restore_output_done(&delta->output);
    blx_plan_done(&delta->plan);
    blx_cut_frame_done(&delta->cut);
    folder_remove(delta->dir);
}

static void check_nothing(void *arg, int rc)
{
    (void)arg, (void)rc;
}

/* The dispatcher's side. */

static int run_source(void *arg, struct blx_error *err)
{
    struct delta *delta = arg;
    const struct blx_view_request request = {
        .agent = web1(), .checkpoint = store_state.checkpoints[1], .volume = "vda"};
    return blx_view_take_checkpoint(&request, &delta->source, err);
}

static void check_source(void *arg, int rc)
{
    const struct delta *delta = arg;
    assert_int_equal(delta->source.done != NULL, rc == 0);
}

static int run_image(void *arg, struct blx_error *err)
{
    struct delta *delta = arg;
    struct blx_volume_key key = {.digest = {1}, .id = {{1}}};
    return blx_image_open_checkpoint(web1(), store_state.checkpoints[1], "vda", &key.id, &key,
                                     &delta->image, err);
}

static void check_image(void *arg, int rc)
{
    const struct delta *delta = arg;
    assert_int_equal(delta->image != NULL, rc == 0);
}

static void setup_image(void *arg)
{
    setup(arg);
    assert_int_equal(run_image(arg, NULL), 0);
}

static int run_digest(void *arg, struct blx_error *err)
{
    struct delta *delta = arg;
    struct blx_error damage;
    return blx_image_digest(delta->image, &question, &delta->digests, &damage, err);
}

static void check_digests(void *arg, int rc)
{
    const struct delta *delta = arg;
    assert_int_not_equal(rc, -EBADMSG);
    assert_true(rc < 0 || delta->digests.count == 2);
}

static void setup_supply(void *arg)
{
    struct delta *delta = arg;
    const struct blx_supply_request request = {
        .agent = web1(), .checkpoint = store_state.checkpoints[1], .volume = "vda"};
    setup(arg);
    assert_int_equal(blx_supply_open(&request, &delta->supply, NULL), 0);
}

static int run_begin(void *arg, struct blx_error *err)
{
    struct delta *delta = arg;
    return blx_supply_begin_delta(delta->supply, &delta->key, err);
}

static void setup_begun(void *arg)
{
    setup_supply(arg);
    assert_int_equal(run_begin(arg, NULL), 0);
}

static int run_supply_digest(void *arg, struct blx_error *err)
{
    struct delta *delta = arg;
    struct blx_error damage;
    return blx_supply_digest(delta->supply, &question, &delta->digests, &damage, err);
}

static int run_want(void *arg, struct blx_error *err)
{
    struct delta *delta = arg;
    const struct blx_delta_wanted wanted = {.count = 2, .extents = {{1, 2}, {5, 1}}};
    return blx_supply_want(delta->supply, &wanted, err);
}

/* What was not taken whole is no more than was said. */
static void check_want(void *arg, int rc)
{
    struct delta *delta = arg;
    if (rc < 0)
        return;
    assert_int_equal(blx_supply_plan(delta->supply, 0, &delta->window, NULL), 0);
    assert_int_equal(delta->window.end_block, 6);
    assert_true(delta->window.piece_count <= 3);
}

static int run_read(void *arg, struct blx_error *err)
{
    struct delta *delta = arg;
    return blx_supply_read(delta->supply, 0, &delta->bytes, &delta->frame_bytes, err);
}

/* Without the supply around it. */
static int run_cut(void *arg, struct blx_error *err)
{
    struct delta *delta = arg;
    return blx_cut_frame_make(&delta->cut, &delta->plan, &delta->plan.frames[0], &delta->bytes,
                              &delta->frame_bytes, err);
}

static void setup_cut_alone(void *arg)
{
    static const struct blx_extent wanted = {1, 1};
    struct delta *delta = arg;
    setup(arg);
    delta->plan.wanted = &wanted;
    delta->plan.wanted_count = 1;
    assert_int_equal(blx_plan_make(web1(), store_state.checkpoints[1], "vda", &delta->plan, NULL),
                     0);
}

static void check_cut(void *arg, int rc)
{
    const struct delta *delta = arg;
    struct blx_frame frame;
    if (rc == 0)
        assert_int_equal(blx_frame_parse(delta->bytes, delta->frame_bytes, &frame, NULL), 0);
}

static void check_read(void *arg, int rc)
{
    const struct delta *delta = arg;
    struct blx_frame frame;
    if (rc < 0)
        return;
    assert_true(delta->frame_bytes <= blx_supply_frame_bytes(delta->supply, 0));
    assert_int_equal(blx_frame_parse(delta->bytes, delta->frame_bytes, &frame, NULL), 0);
    assert_int_equal(frame.extent_count, 1);
}

/* One block of a frame of several. */
static void setup_cut(void *arg)
{
    struct delta *delta = arg;
    const struct blx_delta_wanted wanted = {.count = 1, .extents = {{1, 1}}};
    setup_begun(arg);
    assert_int_equal(blx_supply_want(delta->supply, &wanted, NULL), 0);
    assert_int_equal(blx_supply_plan(delta->supply, 0, &delta->window, NULL), 0);
    assert_int_equal(delta->window.frame_count, 1);
}

static void a_supply_answers_or_tells_an_error(void **state)
{
    (void)state;
    static struct delta d;
    fault_loop(&(struct fault_case){setup, run_source, check_source, teardown, 0}, &d);
    fault_loop(&(struct fault_case){setup, run_image, check_image, teardown, 0}, &d);
    fault_loop(&(struct fault_case){setup_image, run_digest, check_digests, teardown, 0}, &d);
    fault_loop(&(struct fault_case){setup_supply, run_begin, check_nothing, teardown, 0}, &d);
    fault_loop(&(struct fault_case){setup_begun, run_supply_digest, check_digests, teardown, 0},
               &d);
    fault_loop(&(struct fault_case){setup_begun, run_want, check_want, teardown, 0}, &d);
    fault_loop(&(struct fault_case){setup_cut, run_read, check_read, teardown, 0}, &d);
    fault_loop(&(struct fault_case){setup_cut_alone, run_cut, check_cut, teardown, 0}, &d);
}

/* The target's side: its dispatcher has said everything before it is asked. */

static int dial(void *arg, struct blx_conn **conn, struct blx_error *err)
{
    int pair[2];
    (void)arg;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return blx_error_errno(err, -errno, "no sockets");
    assert_int_equal(write(pair[1], script, script_bytes), script_bytes);
    shutdown(pair[1], SHUT_WR);
    int rc = blx_conn_new(pair[0], NULL, BLX_FOR_EVER, conn, err);
    if (rc < 0)
        close(pair[0]);
    /* The end that nobody reads stays open until the next one takes its place. */
    static int held = -1;
    if (held >= 0)
        close(held);
    held = pair[1];
    return rc;
}

static const struct blx_pull_request request = {.dial = dial, .patience_ms = 1};

/* The target holds the checkpoint before. */
static void leave_target(const struct delta *delta)
{
    int fd = open(delta->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, store_state.images[0], STATE_BYTES), STATE_BYTES);
    close(fd);
}

static void setup_pull(void *arg)
{
    struct delta *delta = arg;
    setup(arg);
    leave_target(delta);
    assert_int_equal(blx_pull_open(&request, &delta->pull, NULL), 0);
}

static int run_volume(void *arg, struct blx_error *err)
{
    struct delta *delta = arg;
    const struct blx_pull_target target = {
        .target = {.path = delta->path, .flags = BLX_RESTORE_DELTA}};
    return blx_pull_volume(delta->pull, 0, &target, NULL, err);
}

static void check_volume(void *arg, int rc)
{
    struct delta *delta = arg;
    static uint8_t found[STATE_BYTES + 1];
    int fd = open(delta->path, O_RDONLY | O_CLOEXEC);
    assert_true(rc < 0 || fd >= 0);
    if (fd < 0)
        return;
    assert_int_equal(read(fd, found, sizeof(found)), STATE_BYTES);
    close(fd);
    /* The image has its name while it is the old one, or the new one. */
    assert_memory_equal(
        found,
        store_state.images[rc == 0 || memcmp(found, store_state.images[1], STATE_BYTES) == 0],
        STATE_BYTES);
}

static int run_compare_new(void *arg, struct blx_error *err)
{
    struct delta *delta = arg;
    return blx_compare_new(delta->pull, 0, NULL, &delta->compare, err);
}

static void check_compare_new(void *arg, int rc)
{
    const struct delta *delta = arg;
    assert_int_equal(delta->compare != NULL, rc == 0);
}

static void open_target(struct delta *delta)
{
    const struct blx_restore_target target = {.path = delta->path, .flags = BLX_RESTORE_DELTA};
    assert_int_equal(blx_restore_output_open(&target, STATE_BYTES, &delta->output, NULL), 0);
}

static void setup_compare(void *arg)
{
    struct delta *delta = arg;
    setup_pull(arg);
    assert_int_equal(run_compare_new(arg, NULL), 0);
    open_target(delta);
    blx_compare_attach(delta->compare, &delta->output, NULL);
}

static int run_compare_next(void *arg, struct blx_error *err)
{
    struct delta *delta = arg;
    struct blx_compare_list list = {.count = 0};
    uint64_t block = 0;
    int rc = blx_compare_next(delta->compare, &block, &list, err);
    assert_int_equal(block, rc == 0 ? STATE_BLOCKS : 0);
    assert_true(rc < 0 || list.count > 0);
    free(list.extents);
    return rc;
}

static void check_compared(void *arg, int rc)
{
    (void)arg;
    assert_int_not_equal(rc, -EPROTO);
}

static int run_plans_new(void *arg, struct blx_error *err)
{
    struct delta *delta = arg;
    return blx_pull_delta_new(delta->pull, 0, NULL, NULL, &delta->plans, err);
}

static void setup_plans(void *arg)
{
    struct delta *delta = arg;
    setup_pull(arg);
    assert_int_equal(run_plans_new(arg, NULL), 0);
    open_target(delta);
    blx_pull_delta_attach(delta->plans, &delta->output);
}

static int run_plan(void *arg, struct blx_error *err)
{
    struct delta *delta = arg;
    return blx_pull_delta_plan(delta->plans, &delta->plan, err);
}

static void check_plan(void *arg, int rc)
{
    const struct delta *delta = arg;
    assert_int_not_equal(rc, -EPROTO);
    assert_true(rc < 0 || delta->plan.index.count > 0);
}

static int run_take_plan(void *arg, struct blx_error *err)
{
    struct delta *delta = arg;
    delta->plan.size_bytes = STATE_BYTES;
    delta->plan.block_shift = TEST_BLOCK_SHIFT;
    return blx_pull_take_plan(delta->pull, 0, &delta->plan, err);
}

/* What the script says before its plan is passed over. */
static void setup_take_plan(void *arg)
{
    struct delta *delta = arg;
    struct blx_compare_list list = {.count = 0};
    uint64_t block = 0;
    setup_compare(arg);
    assert_int_equal(blx_compare_next(delta->compare, &block, &list, NULL), 0);
    free(list.extents);
}

static void a_delta_finds_what_differs_or_tells_an_error(void **state)
{
    (void)state;
    static struct delta d;
    fault_loop(&(struct fault_case){setup_pull, run_volume, check_volume, teardown, 0}, &d);
    fault_loop(&(struct fault_case){setup_pull, run_compare_new, check_compare_new, teardown, 0},
               &d);
    fault_loop(&(struct fault_case){setup_compare, run_compare_next, check_compared, teardown, 0},
               &d);
    fault_loop(&(struct fault_case){setup_pull, run_plans_new, check_nothing, teardown, 0}, &d);
    fault_loop(&(struct fault_case){setup_plans, run_plan, check_plan, teardown, 0}, &d);
    fault_loop(&(struct fault_case){setup_take_plan, run_take_plan, check_plan, teardown, 0}, &d);
}

/* A conversation is recorded: the supply answers a target in the other thread. */
struct recorder {
    struct delta delta;
    struct blx_conn *from; /* takes what the target says */
    struct blx_conn *into; /* encodes what is said to it, ... */
    int encoded_fd, to_fd; /* ... which comes out here, is recorded, and goes there */
};

static void say(const struct recorder *r, const struct blx_message *message)
{
    assert_int_equal(blx_conn_send(r->into, message, NULL), 0);
    ssize_t got;
    while ((got = recv(r->encoded_fd, script + script_bytes, sizeof(script) - script_bytes,
                       MSG_DONTWAIT)) > 0) {
        assert_int_equal(write(r->to_fd, script + script_bytes, (size_t)got), got);
        script_bytes += (size_t)got;
    }
}

static void say_offer(const struct recorder *r)
{
    struct blx_message message = {.type = BLX_MESSAGE_RESTORE_OFFER,
                                  .restore_offer = {.agent_id = "web1",
                                                    .checkpoint = store_state.checkpoints[1],
                                                    .volume_count = 1,
                                                    .heartbeat_ms = 1000,
                                                    .window_bytes = BLX_FRAME_MAX_BYTES}};
    say(r, &message);
    message = (struct blx_message){.type = BLX_MESSAGE_RESTORE_VOLUME,
                                   .restore_volume = {.block_shift = TEST_BLOCK_SHIFT,
                                                      .size_bytes = STATE_BYTES,
                                                      .name = "vda",
                                                      .device = "/dev/vda"}};
    say(r, &message);
}

static void say_plan(struct recorder *r, uint64_t start_block)
{
    struct delta *d = &r->delta;
    assert_int_equal(blx_supply_plan(d->supply, start_block, &d->window, NULL), 0);
    struct blx_message message = {.type = BLX_MESSAGE_PLAN,
                                  .plan = {.frame_count = d->window.frame_count,
                                           .start_block = start_block,
                                           .end_block = d->window.end_block,
                                           .piece_count = d->window.piece_count}};
    say(r, &message);
    message = (struct blx_message){.type = BLX_MESSAGE_PLAN_PIECES};
    message.plan_pieces.count = (uint32_t)blx_supply_list_pieces(
        d->supply, message.plan_pieces.pieces, BLX_PLAN_PIECES_OF_A_MESSAGE);
    say(r, &message);
}

static void say_frames(struct recorder *r, const struct blx_frames_request *asked)
{
    for (uint32_t i = asked->first; i < asked->first + asked->count; i++) {
        struct blx_message message = {.type = BLX_MESSAGE_FRAME};
        uint32_t bytes = 0;
        assert_int_equal(blx_supply_read(r->delta.supply, i, &message.frame.bytes, &bytes, NULL),
                         0);
        message.frame.frame_bytes = bytes;
        say(r, &message);
    }
}

static void *answer(void *arg)
{
    struct recorder *r = arg;
    struct delta *d = &r->delta;
    struct blx_message message;
    struct blx_error damage;
    while (blx_conn_recv(r->from, BLX_FOR_EVER, &message, NULL) == 0) {
        struct blx_message said = {.type = BLX_MESSAGE_DIGESTS};
        switch (message.type) {
        case BLX_MESSAGE_RESTORE:
            say_offer(r);
            break;
        case BLX_MESSAGE_DELTA_REQUEST:
            said.type = BLX_MESSAGE_DELTA_KEY;
            assert_int_equal(blx_supply_begin_delta(d->supply, &said.delta_key, NULL), 0);
            say(r, &said);
            break;
        case BLX_MESSAGE_DIGEST_REQUEST:
            assert_int_equal(
                blx_supply_digest(d->supply, &message.digest_request, &said.digests, &damage, NULL),
                0);
            say(r, &said);
            break;
        case BLX_MESSAGE_DELTA_WANTED:
            assert_int_equal(blx_supply_want(d->supply, &message.delta_wanted, NULL), 0);
            break;
        case BLX_MESSAGE_PLAN_REQUEST:
            say_plan(r, message.plan_request.start_block);
            break;
        case BLX_MESSAGE_FRAMES_REQUEST:
            say_frames(r, &message.frames_request);
            break;
        default:
            fail_msg("the target says %s", blx_message_name(message.type));
        }
    }
    return NULL;
}

static int dial_recorder(void *arg, struct blx_conn **conn, struct blx_error *err)
{
    return blx_conn_new(*(int *)arg, NULL, BLX_FOR_EVER, conn, err);
}

static int write_script(void **state)
{
    static struct recorder r;
    int rc = store_state_setup(state), talk[2], encoded[2];
    pthread_t thread;
    setup_supply(&r.delta);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, talk), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, encoded),
                     0);
    r.encoded_fd = encoded[1];
    r.to_fd = dup(talk[1]);
    assert_int_equal(blx_conn_new(talk[1], NULL, BLX_FOR_EVER, &r.from, NULL), 0);
    assert_int_equal(blx_conn_new(encoded[0], NULL, BLX_FOR_EVER, &r.into, NULL), 0);
    assert_int_equal(pthread_create(&thread, NULL, answer, &r), 0);
    leave_target(&r.delta);
    const struct blx_pull_request asks = {.dial = dial_recorder, .arg = &talk[0]};
    assert_int_equal(blx_pull_open(&asks, &r.delta.pull, NULL), 0);
    assert_int_equal(run_volume(&r.delta, NULL), 0);
    check_volume(&r.delta, 0);
    blx_pull_close(r.delta.pull);
    r.delta.pull = NULL;
    pthread_join(thread, NULL);
    blx_conn_free(r.from);
    blx_conn_free(r.into);
    close(r.to_fd);
    close(r.encoded_fd);
    teardown(&r.delta);
    /* The descriptor that dial() keeps is there from now on. */
    struct blx_conn *conn = NULL;
    assert_int_equal(dial(NULL, &conn, NULL), 0);
    blx_conn_free(conn);
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_supply_answers_or_tells_an_error),
        cmocka_unit_test(a_delta_finds_what_differs_or_tells_an_error),
    };
    return cmocka_run_group_tests(tests, write_script, store_state_teardown);
}
