/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a session reads as few files after hundreds of checkpoints as after ten. */
#include "history.h"

#include <fcntl.h>

#include "base/sys.h"

/* Disk calls since the table was put in place. */
static unsigned calls;
static struct blx_sys counting;
static const struct blx_sys *below;

static int count_openat(int dir_fd, const char *path, int flags, mode_t mode)
{
    calls++;
    return below->openat(dir_fd, path, flags, mode);
}

static ssize_t count_pread(int fd, void *buffer, size_t bytes, off_t offset)
{
    calls++;
    return below->pread(fd, buffer, bytes, offset);
}

static int count_fsync(int fd)
{
    calls++;
    return below->fsync(fd);
}

static unsigned count_opening(struct history *history)
{
    struct blx_error err = {0};
    struct blx_agent_writer *writer;
    struct blx_volume_state state;
    blx_agent_writer_close(history->writer);
    history->writer = NULL;
    below = blx_sys;
    counting = *below;
    counting.openat = count_openat;
    counting.pread = count_pread;
    counting.fsync = count_fsync;
    blx_sys = &counting;
    calls = 0;
    test_ok(
        blx_agent_writer_open(blx_store_agent(&history->test.store, "web1"), NULL, &writer, &err),
        &err);
    blx_agent_writer_set_digest_key(writer, test_digest_key());
    test_ok(blx_agent_writer_add_volume(writer, &history->volume.info, &state, &err), &err);
    test_ok(blx_agent_writer_begin(writer, 0, BLX_PASS_RESUME, &err), &err);
    blx_sys = below;
    assert_true(blx_generation_equal(&state.generation, &history->volume.info.generation));
    history->writer = writer;
    return calls;
}

static void opening_costs_the_same_after_any_number_of_checkpoints(void **state)
{
    (void)state;
    struct history history;
    history_init(&history, 51);
    for (unsigned i = 0; i < 10; i++) {
        history_change(&history);
        history_commit(&history);
    }
    unsigned few = count_opening(&history);
    for (unsigned i = 0; i < 380; i++) {
        history_change(&history);
        history_commit(&history);
    }
    assert_true(few > 5);
    assert_int_equal(count_opening(&history), few);
    history_done(&history);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_costs_the_same_after_any_number_of_checkpoints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
