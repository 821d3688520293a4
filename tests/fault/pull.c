/* SPDX-License-Identifier: Apache-2.0 */
/* A restore from elsewhere, on both sides: a supply gives what is stored or an error, and a pull
 * makes a whole image or none. What fails leaves the next try what it needs. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "folder.h"
#include "loop.h"
#include "store/agent_lock.h"
#include "store/restore/pull_private.h"
#include "store/restore/pull_view.h"
#include "store/restore/supply.h"
#include "store_state.h"

enum { SCRIPT_BYTES = 256 * 1024 };

/* What a dispatcher says in a whole conversation: nothing that the other side does changes it. */
static uint8_t script[SCRIPT_BYTES];
static size_t script_bytes;

struct pulling {
    struct blx_supply *supply;
    struct blx_supply_window window;
    const uint8_t *bytes;
    char dir[FOLDER_BYTES];
    char path[128], journal_path[128];
    struct blx_pull *pull;
    struct blx_journal *journal;
    struct blx_restore_output output;
    struct blx_plan plan;
    struct blx_stored_frame stored;
    struct blx_message message;
    struct blx_error ignored;
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
    struct pulling *pulling = arg;
    memset(pulling, 0, sizeof(*pulling));
    pulling->output.fd = pulling->output.direct_fd = -1;
    folder_make(pulling->dir);
    snprintf(pulling->path, sizeof(pulling->path), "%s/image", pulling->dir);
    snprintf(pulling->journal_path, sizeof(pulling->journal_path), "%s/journal", pulling->dir);
}

static void teardown(void *arg)
{
    struct pulling *pulling = arg;
    blx_supply_close(pulling->supply);
    blx_pull_close(pulling->pull);
    blx_journal_close(pulling->journal);
    blx_restore_output_done(&pulling->output);
    blx_plan_done(&pulling->plan);
    blx_stored_frame_done(&pulling->stored);
    folder_remove(pulling->dir);
}

/* The dispatcher's side. */

static int run_supply(void *arg, struct blx_error *err)
{
    struct pulling *pulling = arg;
    const struct blx_supply_request request = {
        .agent = web1(), .checkpoint = store_state.checkpoints[1], .volume = "vda"};
    return blx_supply_open(&request, &pulling->supply, err);
}

/* Nobody holds the checkpoint after an error. */
static void check_supply(void *arg, int rc)
{
    struct pulling *pulling = arg;
    struct blx_agent_lock lock = {.fd = -1};
    assert_int_equal(pulling->supply != NULL, rc == 0);
    assert_int_not_equal(rc, -ENOENT);
    blx_supply_close(pulling->supply);
    pulling->supply = NULL;
    assert_int_equal(blx_agent_lock_open(web1(), &lock, NULL), 0);
    int held = blx_agent_lock_alone(&lock, BLX_LOCK_CHAINS, 0, NULL);
    if (held == 0)
        held = blx_agent_lock_is_held(&lock, 1, UINT64_MAX >> 1, NULL);
    blx_agent_lock_close(&lock);
    assert_int_equal(held, 0);
}

static void setup_supply(void *arg)
{
    setup(arg);
    assert_int_equal(run_supply(arg, NULL), 0);
}

static int run_supply_plan(void *arg, struct blx_error *err)
{
    struct pulling *pulling = arg;
    return blx_supply_plan(pulling->supply, 0, &pulling->window, err);
}

static void check_supply_plan(void *arg, int rc)
{
    struct pulling *pulling = arg;
    assert_int_equal(pulling->window.end_block == STATE_BLOCKS, rc == 0);
    assert_int_not_equal(rc, -EBADMSG);
    assert_int_equal(run_supply_plan(arg, NULL), 0);
    assert_true(pulling->window.frame_count > 0);
}

static void setup_planned(void *arg)
{
    setup_supply(arg);
    assert_int_equal(run_supply_plan(arg, NULL), 0);
}

static int run_supply_read(void *arg, struct blx_error *err)
{
    struct pulling *pulling = arg;
    uint32_t bytes = 0;
    return blx_supply_read(pulling->supply, 0, &pulling->bytes, &bytes, err);
}

static void check_supply_read(void *arg, int rc)
{
    struct pulling *pulling = arg;
    struct blx_frame frame;
    assert_int_equal(pulling->bytes != NULL, rc == 0);
    assert_int_not_equal(rc, -EBADMSG);
    assert_int_equal(run_supply_read(arg, NULL), 0);
    uint32_t bytes = blx_supply_frame_bytes(pulling->supply, 0);
    assert_int_equal(blx_frame_parse(pulling->bytes, bytes, &frame, NULL), 0);
}

static void a_supply_gives_what_is_stored_or_an_error(void **state)
{
    (void)state;
    static struct pulling pulling;
    fault_loop(&(struct fault_case){setup, run_supply, check_supply, teardown, 0}, &pulling);
    fault_loop(&(struct fault_case){setup_supply, run_supply_plan, check_supply_plan, teardown, 0},
               &pulling);
    fault_loop(&(struct fault_case){setup_planned, run_supply_read, check_supply_read, teardown, 0},
               &pulling);
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

static int run_pull(void *arg, struct blx_error *err)
{
    return blx_pull_open(&request, &((struct pulling *)arg)->pull, err);
}

static void check_pull(void *arg, int rc)
{
    struct pulling *pulling = arg;
    assert_int_equal(pulling->pull != NULL, rc == 0);
    assert_true(rc < 0 || blx_pull_get_offer(pulling->pull)->volume_count == 1);
}

static void setup_pull(void *arg)
{
    setup(arg);
    assert_int_equal(run_pull(arg, NULL), 0);
}

static int run_volume(void *arg, struct blx_error *err)
{
    struct pulling *pulling = arg;
    const struct blx_pull_target target = {.target = {.path = pulling->path},
                                           .journal = pulling->journal_path};
    return blx_pull_volume(pulling->pull, 0, &target, NULL, err);
}

static void check_volume(void *arg, int rc)
{
    struct pulling *pulling = arg;
    static uint8_t found[STATE_BYTES + 1];
    int fd = open(pulling->path, O_RDONLY | O_CLOEXEC);
    assert_true(rc < 0 || fd >= 0);
    if (fd < 0)
        return;
    assert_int_equal(read(fd, found, sizeof(found)), STATE_BYTES);
    close(fd);
    assert_memory_equal(found, store_state.images[1], STATE_BYTES);
}

static int run_finish(void *arg, struct blx_error *err)
{
    return blx_pull_finish(((struct pulling *)arg)->pull, 1, err);
}

static void setup_written(void *arg)
{
    struct blx_error err = {0};
    setup_pull(arg);
    if (run_volume(arg, &err) < 0)
        fail_msg("%s", err.message);
}

/* The script gives a connection what the one before has got. */
static void setup_verify(void *arg)
{
    struct pulling *pulling = arg;
    setup_written(arg);
    blx_pull_close(pulling->pull);
    pulling->pull = NULL;
    assert_int_equal(run_pull(arg, NULL), 0);
}

static int run_verify(void *arg, struct blx_error *err)
{
    struct pulling *pulling = arg;
    const struct blx_restore_target target = {.path = pulling->path};
    return blx_pull_verify(pulling->pull, 0, &target, NULL, err);
}

static void check_nothing(void *arg, int rc)
{
    (void)arg, (void)rc;
}

static int run_send(void *arg, struct blx_error *err)
{
    const struct blx_message ask = {.type = BLX_MESSAGE_PLAN_REQUEST};
    return blx_pull_send(((struct pulling *)arg)->pull, &ask, err);
}

static int run_receive(void *arg, struct blx_error *err)
{
    struct pulling *pulling = arg;
    return blx_pull_receive(pulling->pull, BLX_MESSAGE_PLAN, &pulling->message, err);
}

static void check_link(void *arg, int rc)
{
    const struct pulling *pulling = arg;
    assert_true(rc == 0 || rc == -ENOLINK || rc == -ENOMEM);
    assert_true(rc == 0 || pulling->pull->conn == NULL || rc == -ENOMEM);
}

/* Reads all of it, so that each frame is fetched. */
static int run_view(void *arg, struct blx_error *err)
{
    struct pulling *pulling = arg;
    static uint8_t found[STATE_BYTES];
    struct blx_view *view = NULL;
    struct blx_frame_cache *cache = blx_frame_cache_new(1 << 20);
    if (cache == NULL)
        return blx_error_errno(err, -ENOMEM, "no cache");
    int rc = blx_pull_view_open(pulling->pull, 0, NULL, cache, &view, err);
    if (rc == 0)
        rc = blx_view_read(view, found, sizeof(found), 0, err);
    if (rc == 0)
        assert_memory_equal(found, store_state.images[1], STATE_BYTES);
    blx_view_close(view);
    blx_frame_cache_free(cache);
    return rc;
}

static void setup_lost(void *arg)
{
    setup_pull(arg);
    blx_pull_hang_up(((struct pulling *)arg)->pull);
}

static int run_reconnect(void *arg, struct blx_error *err)
{
    return blx_pull_reconnect(((struct pulling *)arg)->pull, err);
}

static void check_reconnect(void *arg, int rc)
{
    const struct pulling *pulling = arg;
    assert_true(rc < 0 || pulling->pull->conn != NULL);
}

static void a_pull_makes_a_whole_image_or_none(void **state)
{
    (void)state;
    static struct pulling pulling;
    fault_loop(&(struct fault_case){setup, run_pull, check_pull, teardown, 0}, &pulling);
    fault_loop(&(struct fault_case){setup_pull, run_send, check_link, teardown, 0}, &pulling);
    fault_loop(&(struct fault_case){setup_pull, run_receive, check_link, teardown, 0}, &pulling);
    fault_loop(&(struct fault_case){setup_pull, run_volume, check_volume, teardown, 0}, &pulling);
    fault_loop(&(struct fault_case){setup_pull, run_view, check_nothing, teardown, 0}, &pulling);
    fault_loop(&(struct fault_case){setup_lost, run_reconnect, check_reconnect, teardown, 0},
               &pulling);
    fault_loop(&(struct fault_case){setup_verify, run_verify, check_volume, teardown, 0}, &pulling);
    fault_loop(&(struct fault_case){setup_written, run_finish, check_nothing, teardown, 0},
               &pulling);
}

/* The journal. */

static const struct blx_journal_head head = {.agent_id = "web1",
                                             .volume = "vda",
                                             .checkpoint = 20261122203603,
                                             .size_bytes = STATE_BYTES,
                                             .block_shift = TEST_BLOCK_SHIFT};

static int run_begin(void *arg, struct blx_error *err)
{
    struct pulling *pulling = arg;
    return blx_journal_open(pulling->journal_path, &head, BLX_JOURNAL_BEGIN, &pulling->journal,
                            err);
}

static void check_journal(void *arg, int rc)
{
    const struct pulling *pulling = arg;
    assert_int_equal(pulling->journal != NULL, rc == 0);
}

/* A plan of one frame with the blocks 2 and 3, and an output for it. */
static void setup_journal(void *arg)
{
    struct pulling *pulling = arg;
    const struct blx_restore_target target = {.path = pulling->path};
    const struct blx_index_entry entry = {.extent = {2, 2}, .frame_bytes = 100};
    setup(arg);
    assert_int_equal(run_begin(arg, NULL), 0);
    assert_int_equal(blx_restore_output_open(&target, STATE_BYTES, &pulling->output, NULL), 0);
    pulling->plan.size_bytes = STATE_BYTES;
    pulling->plan.block_shift = TEST_BLOCK_SHIFT;
    assert_int_equal(blx_index_add(&pulling->plan.index, &entry), 0);
    assert_int_equal(blx_plan_group_frames(&pulling->plan, NULL), 0);
}

static int run_attach(void *arg, struct blx_error *err)
{
    struct pulling *pulling = arg;
    return blx_journal_attach(pulling->journal, &pulling->output, err);
}

static int run_note(void *arg, struct blx_error *err)
{
    struct pulling *pulling = arg;
    return blx_journal_note(pulling->journal, &pulling->plan, pulling->plan.frames, err);
}

static void setup_attached(void *arg)
{
    setup_journal(arg);
    assert_int_equal(run_attach(arg, NULL), 0);
}

static void setup_noted(void *arg)
{
    setup_attached(arg);
    assert_int_equal(run_note(arg, NULL), 0);
}

static int run_save(void *arg, struct blx_error *err)
{
    return blx_journal_save(((struct pulling *)arg)->journal, BLX_JOURNAL_NOW, err);
}

static int run_advance(void *arg, struct blx_error *err)
{
    return blx_journal_advance(((struct pulling *)arg)->journal, 5, err);
}

/* Opened again, it knows of nothing that was not saved, and of all that was. */
static uint64_t reopened_bytes(struct pulling *pulling)
{
    struct blx_error err = {0};
    blx_journal_close(pulling->journal);
    pulling->journal = NULL;
    if (blx_journal_open(pulling->journal_path, &head, BLX_JOURNAL_RESUME, &pulling->journal,
                         &err) < 0)
        fail_msg("%s", err.message);
    return blx_journal_get_done_bytes(pulling->journal);
}

static void check_save(void *arg, int rc)
{
    uint64_t done = reopened_bytes(arg);
    assert_true(done == 2 * TEST_BLOCK_BYTES || (rc < 0 && done == 0));
}

static void check_advance(void *arg, int rc)
{
    uint64_t done = reopened_bytes(arg);
    assert_true(done == 5 * TEST_BLOCK_BYTES ||
                (rc < 0 && (done == 0 || done == 2 * TEST_BLOCK_BYTES)));
}

static void setup_saved(void *arg)
{
    setup_noted(arg);
    assert_int_equal(run_save(arg, NULL), 0);
}

static void setup_closed(void *arg)
{
    struct pulling *pulling = arg;
    setup_saved(arg);
    blx_journal_close(pulling->journal);
    pulling->journal = NULL;
}

static int run_resume(void *arg, struct blx_error *err)
{
    struct pulling *pulling = arg;
    return blx_journal_open(pulling->journal_path, &head, BLX_JOURNAL_RESUME, &pulling->journal,
                            err);
}

static void check_resume(void *arg, int rc)
{
    struct pulling *pulling = arg;
    assert_int_equal(pulling->journal != NULL, rc == 0);
    assert_int_not_equal(rc, -ESTALE);
    assert_int_equal(reopened_bytes(pulling), 2 * TEST_BLOCK_BYTES);
}

/* It is attached when its samples are those of the target. */
static void setup_resumed(void *arg)
{
    setup_closed(arg);
    assert_int_equal(run_resume(arg, NULL), 0);
}

static void check_attach(void *arg, int rc)
{
    (void)arg;
    assert_int_not_equal(rc, -ESTALE);
}

static void setup_trim(void *arg)
{
    struct pulling *pulling = arg;
    const struct blx_index_entry open_entry = {.extent = {6, 1}, .frame_bytes = 100, .segment = 1};
    setup_saved(arg);
    assert_int_equal(blx_index_add(&pulling->plan.index, &open_entry), 0);
}

static int run_trim(void *arg, struct blx_error *err)
{
    struct pulling *pulling = arg;
    return blx_journal_trim(pulling->journal, &pulling->plan.index, err);
}

static void check_trim(void *arg, int rc)
{
    const struct pulling *pulling = arg;
    assert_int_equal(pulling->plan.index.count, rc == 0 ? 1 : 2);
}

static int run_output_read(void *arg, struct blx_error *err)
{
    struct pulling *pulling = arg;
    uint8_t buffer[512];
    return blx_restore_output_read(&pulling->output, buffer, sizeof(buffer), 0, err);
}

static int run_output_sync(void *arg, struct blx_error *err)
{
    return blx_restore_output_sync(&((struct pulling *)arg)->output, err);
}

static void a_journal_never_says_too_much(void **state)
{
    (void)state;
    static struct pulling p;
    fault_loop(&(struct fault_case){setup, run_begin, check_journal, teardown, 0}, &p);
    fault_loop(&(struct fault_case){setup_resumed, run_attach, check_attach, teardown, 0}, &p);
    fault_loop(&(struct fault_case){setup_attached, run_note, check_nothing, teardown, 0}, &p);
    fault_loop(&(struct fault_case){setup_noted, run_save, check_save, teardown, 0}, &p);
    fault_loop(&(struct fault_case){setup_noted, run_advance, check_advance, teardown, 0}, &p);
    fault_loop(&(struct fault_case){setup_closed, run_resume, check_resume, teardown, 0}, &p);
    fault_loop(&(struct fault_case){setup_trim, run_trim, check_trim, teardown, 0}, &p);
    fault_loop(&(struct fault_case){setup_journal, run_output_read, check_nothing, teardown, 0},
               &p);
    fault_loop(&(struct fault_case){setup_journal, run_output_sync, check_nothing, teardown, 0},
               &p);
}

/* The parts of a plan and of a frame that came from elsewhere. */

static int run_holes(void *arg, struct blx_error *err)
{
    return blx_plan_split_off_holes(&((struct pulling *)arg)->plan, err);
}

static void check_holes(void *arg, int rc)
{
    assert_true(rc < 0 || ((struct pulling *)arg)->plan.hole_count == 2);
}

static int run_group(void *arg, struct blx_error *err)
{
    struct pulling *pulling = arg;
    free(pulling->plan.frames);
    pulling->plan.frames = NULL;
    pulling->plan.frame_count = 0;
    return blx_plan_group_frames(&pulling->plan, err);
}

static void check_group(void *arg, int rc)
{
    assert_int_equal(((struct pulling *)arg)->plan.frame_count, rc == 0);
}

static int run_pull_plan(void *arg, struct blx_error *err)
{
    struct pulling *pulling = arg;
    blx_plan_done(&pulling->plan);
    return blx_pull_plan(pulling->pull, 0, pulling->journal, &pulling->plan, err);
}

static void setup_pull_plan(void *arg)
{
    setup_pull(arg);
    assert_int_equal(run_begin(arg, NULL), 0);
}

static void check_pull_plan(void *arg, int rc)
{
    const struct pulling *pulling = arg;
    assert_int_not_equal(rc, -EPROTO);
    assert_true(rc < 0 || pulling->plan.frame_count > 0);
}

static int run_copy(void *arg, struct blx_error *err)
{
    struct pulling *pulling = arg;
    uint32_t bytes = blx_supply_frame_bytes(pulling->supply, 0);
    return blx_stored_frame_copy(&pulling->stored, pulling->bytes, bytes, err);
}

static void setup_read(void *arg)
{
    setup_planned(arg);
    assert_int_equal(run_supply_read(arg, NULL), 0);
}

static void setup_copied(void *arg)
{
    setup_read(arg);
    assert_int_equal(run_copy(arg, NULL), 0);
}

static int run_parse(void *arg, struct blx_error *err)
{
    struct pulling *pulling = arg;
    uint32_t bytes = blx_supply_frame_bytes(pulling->supply, 0);
    return blx_stored_frame_parse(&pulling->stored, bytes, NULL, err);
}

static void check_parse(void *arg, int rc)
{
    (void)arg;
    assert_int_not_equal(rc, -EBADMSG);
}

static void a_plan_from_elsewhere_is_whole_or_an_error(void **state)
{
    (void)state;
    static struct pulling p;
    fault_loop(&(struct fault_case){setup_journal, run_holes, check_holes, teardown, 0}, &p);
    fault_loop(&(struct fault_case){setup_journal, run_group, check_group, teardown, 0}, &p);
    fault_loop(&(struct fault_case){setup_pull_plan, run_pull_plan, check_pull_plan, teardown, 0},
               &p);
    fault_loop(&(struct fault_case){setup_read, run_copy, check_nothing, teardown, 0}, &p);
    fault_loop(&(struct fault_case){setup_copied, run_parse, check_parse, teardown, 0}, &p);
}

/* A run whose source has nothing: what is left is opening the output and giving it its name. */
static int plan_nothing(void *arg, struct blx_plan *plan, struct blx_error *err)
{
    (void)arg, (void)err;
    plan->size_bytes = STATE_BYTES;
    plan->block_shift = TEST_BLOCK_SHIFT;
    return 0;
}

static int run_run(void *arg, struct blx_error *err)
{
    struct pulling *pulling = arg;
    const struct blx_restore_source source = {.plan = plan_nothing};
    const struct blx_restore_target target = {.path = pulling->path};
    struct blx_restore_run run = {.source = &source, .target = &target};
    return blx_restore_run(&run, err);
}

static void check_run(void *arg, int rc)
{
    const struct pulling *pulling = arg;
    assert_true(rc < 0 || access(pulling->path, F_OK) == 0);
    assert_int_equal(folder_count(pulling->dir) > 1, 0);
}

static void a_run_gives_its_image_a_name_or_leaves_nothing(void **state)
{
    (void)state;
    static struct pulling p;
    fault_loop(&(struct fault_case){setup, run_run, check_run, teardown, 0}, &p);
}

static void say(struct blx_conn *conn, int fd, const struct blx_message *message)
{
    assert_int_equal(blx_conn_send(conn, message, NULL), 0);
    ssize_t got;
    while ((got = recv(fd, script + script_bytes, sizeof(script) - script_bytes, MSG_DONTWAIT)) > 0)
        script_bytes += (size_t)got;
}

static void say_plan(struct blx_conn *conn, int fd, struct pulling *p)
{
    struct blx_message message = {.type = BLX_MESSAGE_PLAN};
    message.plan = (struct blx_plan_message){.frame_count = p->window.frame_count,
                                             .end_block = p->window.end_block,
                                             .piece_count = p->window.piece_count};
    say(conn, fd, &message);
    message = (struct blx_message){.type = BLX_MESSAGE_PLAN_PIECES};
    message.plan_pieces.count = (uint32_t)blx_supply_list_pieces(
        p->supply, message.plan_pieces.pieces, BLX_PLAN_PIECES_OF_A_MESSAGE);
    assert_int_equal(message.plan_pieces.count, p->window.piece_count);
    say(conn, fd, &message);
    for (uint32_t i = 0; i < p->window.frame_count; i++) {
        message = (struct blx_message){.type = BLX_MESSAGE_FRAME};
        uint32_t bytes = 0;
        assert_int_equal(blx_supply_read(p->supply, i, &message.frame.bytes, &bytes, NULL), 0);
        message.frame.frame_bytes = bytes;
        say(conn, fd, &message);
    }
}

static int write_script(void **state)
{
    static struct pulling p;
    struct blx_conn *conn = NULL;
    int pair[2];
    int rc = store_state_setup(state);
    setup_planned(&p);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    assert_int_equal(blx_conn_new(pair[0], NULL, BLX_FOR_EVER, &conn, NULL), 0);
    struct blx_message message = {.type = BLX_MESSAGE_RESTORE_OFFER,
                                  .restore_offer = {.agent_id = "web1",
                                                    .checkpoint = store_state.checkpoints[1],
                                                    .volume_count = 1,
                                                    .heartbeat_ms = 1000,
                                                    .window_bytes = BLX_FRAME_MAX_BYTES}};
    say(conn, pair[1], &message);
    message = (struct blx_message){.type = BLX_MESSAGE_RESTORE_VOLUME,
                                   .restore_volume = {.block_shift = TEST_BLOCK_SHIFT,
                                                      .size_bytes = STATE_BYTES,
                                                      .name = "vda",
                                                      .device = "/dev/vda"}};
    say(conn, pair[1], &message);
    say_plan(conn, pair[1], &p);
    say(conn, pair[1], &(struct blx_message){.type = BLX_MESSAGE_GOODBYE});
    blx_conn_free(conn);
    close(pair[1]);
    teardown(&p);
    /* The descriptor that dial() keeps is there from now on. */
    assert_int_equal(dial(NULL, &conn, NULL), 0);
    blx_conn_free(conn);
    return rc;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_supply_gives_what_is_stored_or_an_error),
        cmocka_unit_test(a_pull_makes_a_whole_image_or_none),
        cmocka_unit_test(a_journal_never_says_too_much),
        cmocka_unit_test(a_plan_from_elsewhere_is_whole_or_an_error),
        cmocka_unit_test(a_run_gives_its_image_a_name_or_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, write_script, store_state_teardown);
}
