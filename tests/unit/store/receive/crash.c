/* SPDX-License-Identifier: Apache-2.0 */
/* Walks the steps of STORE.md: every disk call of a session fails once, fails for ever, or ends the
 * process, one after another. */
#include "fixture.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum {
    BLOCKS = 40,
    MAX_FRAMES = 64,
    SIZE_BYTES = BLOCKS * TEST_BLOCK_BYTES - 512,
    FIRST_SECOND = 1000000000,
};

/* What the session was told, in memory that outlives the process. */
struct told {
    uint64_t acked_seq;
    unsigned committed;
    uint64_t commit_seq[8];
};

struct session {
    const struct test_store *test;
    struct test_volume volume;
    struct blx_agent_writer *writer;
    struct told *told;
    uint8_t *images; /* after each frame */
};

static void remember(struct session *session)
{
    assert_true(session->volume.seq < MAX_FRAMES);
    memcpy(session->images + session->volume.seq * SIZE_BYTES, session->volume.image, SIZE_BYTES);
}

static int append(struct session *session, const uint64_t *blocks, size_t count)
{
    test_volume_frame(&session->volume, blocks, count);
    remember(session);
    return blx_agent_writer_append(session->writer, 0, session->volume.frame,
                                   session->volume.sent_bytes, NULL);
}

static int send(struct session *session, uint64_t block, uint64_t seed)
{
    test_volume_write(&session->volume, block, seed);
    return append(session, &block, 1);
}

static int send_all(struct session *session)
{
    int rc = 0;
    for (uint64_t start = 0; rc == 0 && start < BLOCKS; start += 10) {
        uint64_t blocks[10];
        for (uint64_t i = 0; i < 10; i++)
            blocks[i] = start + i;
        rc = append(session, blocks, 10);
    }
    return rc;
}

static void note_ack(void *arg, uint32_t volume, uint64_t durable_seq)
{
    struct session *session = arg;
    assert_int_equal(volume, 0);
    session->told->acked_seq = durable_seq;
}

static int sync_all(struct session *session)
{
    return blx_agent_writer_sync(session->writer, note_ack, session, NULL);
}

static int commit(struct session *session)
{
    struct blx_checkpoint_message cut = {
        .cut_realtime_ns = FIRST_SECOND * 1000000000ULL,
        .consistency = BLX_CONSISTENCY_CRASH,
        .volume_count = 1,
        .last_seq[0] = session->volume.seq,
    };
    blx_timestamp timestamp;
    const struct blx_commit_times times = {cut.cut_realtime_ns, cut.cut_realtime_ns};
    int rc = blx_agent_writer_commit(session->writer, &cut, &times, &timestamp, NULL);
    if (rc == 0) {
        session->told->commit_seq[session->told->committed++] = session->volume.seq;
        session->told->acked_seq = session->volume.seq;
    }
    return rc;
}

static int announce(struct session *session, struct blx_volume_state *state)
{
    int rc = blx_agent_writer_open(blx_store_agent(&session->test->store, "web1"), NULL,
                                   &session->writer, NULL);
    if (rc == 0)
        blx_agent_writer_set_digest_key(session->writer, test_digest_key());
    if (rc == 0)
        rc = blx_agent_writer_add_volume(session->writer, &session->volume.info, state, NULL);
    return rc;
}

/* A second full pass, while frames of the time before it lie in the open segment. */
static int run_second_pass(struct session *session)
{
    struct blx_volume_state state;
    int rc = announce(session, &state);
    if (rc == 0)
        rc = blx_agent_writer_begin(session->writer, 0, BLX_PASS_FULL, NULL);
    if (rc == 0)
        rc = send_all(session);
    if (rc == 0)
        rc = commit(session);
    if (rc == 0)
        rc = send(session, 19, 81);
    if (rc == 0)
        rc = sync_all(session);
    blx_agent_writer_close(session->writer);
    session->writer = NULL;
    return rc;
}

/* Two full passes, checkpoints, frames after them; reconnects; the first disk error ends it. */
static int run(void *arg)
{
    struct session *session = arg;
    struct blx_volume_state state;
    int rc = announce(session, &state);
    if (rc == 0)
        rc = blx_agent_writer_begin(session->writer, 0, BLX_PASS_FULL, NULL);
    if (rc == 0)
        rc = send_all(session);
    if (rc == 0)
        rc = sync_all(session);
    if (rc == 0)
        rc = send(session, 3, 77);
    if (rc == 0)
        rc = commit(session);
    if (rc == 0)
        rc = send(session, 3, 78);
    if (rc == 0)
        rc = send(session, 39, 0);
    if (rc == 0)
        rc = sync_all(session);
    if (rc == 0)
        rc = send(session, 5, 0);
    blx_agent_writer_close(session->writer);
    session->writer = NULL;
    if (rc == 0)
        rc = announce(session, &state);
    if (rc == 0)
        rc = blx_agent_writer_begin(session->writer, 0, BLX_PASS_RESUME, NULL);
    if (rc == 0)
        rc = send(session, 17, 79);
    if (rc == 0)
        rc = commit(session);
    if (rc == 0)
        rc = commit(session);
    if (rc == 0)
        rc = send(session, 18, 80);
    if (rc == 0)
        rc = sync_all(session);
    blx_agent_writer_close(session->writer);
    session->writer = NULL;
    return rc == 0 ? run_second_pass(session) : rc;
}

static void check_checkpoints(struct session *session)
{
    struct blx_error err = {0};
    blx_timestamp *all = NULL;
    size_t count = 0;
    if (session->told->committed > 0 ||
        blx_agent_store_exists(blx_store_agent(&session->test->store, "web1")))
        test_ok(blx_manifest_list(blx_store_agent(&session->test->store, "web1"), 0, UINT64_MAX,
                                  &all, &count, &err),
                &err);
    /* One more if the fault came between the manifest's rename and the answer. */
    assert_in_range(count, session->told->committed, session->told->committed + 1);
    for (size_t i = 0; i < count; i++) {
        BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
        test_ok(blx_manifest_read(blx_store_agent(&session->test->store, "web1"), all[i], &manifest,
                                  &err),
                &err);
        uint64_t seq = manifest.volumes[0].last_seq;
        if (i < session->told->committed)
            assert_int_equal(seq, session->told->commit_seq[i]);
        test_restores_to(session->test, all[i], "sda", session->images + seq * SIZE_BYTES,
                         SIZE_BYTES);
    }
    free(all);
}

/* The agent comes back: it resumes if the store says so, and its next checkpoint equals its
 * disk. */
static void continue_after(struct session *session)
{
    struct blx_error err = {0};
    struct blx_volume_state state;
    struct test_volume *const volumes[] = {&session->volume};
    session->writer = test_writer_open(session->test, volumes, 1, &state);
    bool resumes = blx_generation_equal(&state.generation, &session->volume.info.generation);
    if (session->told->acked_seq > 0)
        assert_true(resumes);
    assert_true(state.durable_seq >= session->told->acked_seq);
    session->volume.seq = state.durable_seq;
    if (resumes)
        memcpy(session->volume.image, session->images + state.durable_seq * SIZE_BYTES, SIZE_BYTES);
    test_ok(
        blx_agent_writer_begin(session->writer, 0, resumes ? BLX_PASS_RESUME : BLX_PASS_FULL, &err),
        &err);
    /* The pass may have been cut off before it sent all: a resumed agent sends what it has marked.
     */
    test_ok(send_all(session), &err);
    test_ok(send(session, 20, 99), &err);
    test_ok(sync_all(session), &err);
    test_ok(commit(session), &err);
    blx_agent_writer_close(session->writer);
    check_checkpoints(session);
}

static void session_init(struct session *session, const struct test_store *test)
{
    *session = (struct session){.test = test};
    test_volume_init(&session->volume, "sda", SIZE_BYTES, 1);
    for (uint64_t block = 0; block < BLOCKS; block++)
        test_volume_write(&session->volume, block, block % 4);
    size_t bytes = (size_t)MAX_FRAMES * SIZE_BYTES;
    session->told =
        mmap(NULL, sizeof(struct told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    session->images = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(session->told != MAP_FAILED && session->images != MAP_FAILED);
    remember(session);
}

static void session_done(struct session *session)
{
    munmap(session->told, sizeof(struct told));
    munmap(session->images, (size_t)MAX_FRAMES * SIZE_BYTES);
    test_volume_done(&session->volume);
}

/*
 * In a walk each second call alone has its turn, from `first` on, unless BLXREP_EXHAUSTIVE is set:
 * the walks begin at different ones.
 */
static void walk(enum test_fault fault, unsigned first)
{
    const unsigned step = getenv("BLXREP_EXHAUSTIVE") != NULL ? 1 : 2;
    bool fired = true;
    for (unsigned after = step == 1 ? 0 : first; fired; after += step) {
        struct test_store test;
        struct session session;
        test_store_init(&test);
        session_init(&session, &test);
        fired = test_fault_run(run, &session, fault, after);
        check_checkpoints(&session);
        /* A checkpoint that nobody was told of counts from here on. */
        blx_timestamp *all = NULL;
        size_t count = 0;
        blx_manifest_list(blx_store_agent(&test.store, "web1"), 0, UINT64_MAX, &all, &count, NULL);
        for (size_t i = session.told->committed; i < count; i++) {
            BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
            assert_int_equal(
                blx_manifest_read(blx_store_agent(&test.store, "web1"), all[i], &manifest, NULL),
                0);
            session.told->commit_seq[session.told->committed++] = manifest.volumes[0].last_seq;
        }
        free(all);
        continue_after(&session);
        session_done(&session);
        test_store_done(&test);
        assert_true(after < 2000);
    }
}

static void store_stays_good_when_any_disk_call_fails_once(void **state)
{
    (void)state;
    walk(TEST_FAULT_ONCE, 0);
}

static void store_stays_good_when_the_disk_fails_for_ever(void **state)
{
    (void)state;
    walk(TEST_FAULT_FOR_EVER, 1);
}

static void store_stays_good_when_the_process_dies_before_any_call(void **state)
{
    (void)state;
    walk(TEST_FAULT_KILL_BEFORE, 0);
}

static void store_stays_good_when_the_process_dies_after_any_call(void **state)
{
    (void)state;
    walk(TEST_FAULT_KILL_BEHIND, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(store_stays_good_when_any_disk_call_fails_once),
        cmocka_unit_test(store_stays_good_when_the_disk_fails_for_ever),
        cmocka_unit_test(store_stays_good_when_the_process_dies_before_any_call),
        cmocka_unit_test(store_stays_good_when_the_process_dies_after_any_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
