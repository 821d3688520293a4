/* SPDX-License-Identifier: Apache-2.0 */
/* Random sessions with power cuts, reboots of the agent and dropped disks, against images held in
 * memory. */
#include "fixture.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    VOLUMES = 2,
    BLOCKS = 24,
    SIZE_BYTES = (BLOCKS - 1) * TEST_BLOCK_BYTES + 1024,
    MAX_CHECKPOINTS = 64,
    MAX_FRAMES = 512, /* of a generation */
    STEPS = 160,
};

struct checkpoint {
    blx_timestamp timestamp;
    uint8_t *images[VOLUMES]; /* NULL: not in it */
};

struct model {
    struct test_store test;
    struct blx_agent_writer *writer;
    struct test_volume volumes[VOLUMES];
    struct test_volume *session[VOLUMES]; /* those that it has, in its order */
    size_t session_count;
    uint64_t acked[VOLUMES];        /* by the session's number */
    uint64_t synced_bytes[VOLUMES]; /* of open.seg, by the volume */
    bool dirty[VOLUMES][BLOCKS];    /* written and in no frame that is surely stored */
    uint8_t *sent[VOLUMES];         /* the image after each frame */
    uint8_t next_generation;
    struct checkpoint checkpoints[MAX_CHECKPOINTS];
    size_t checkpoint_count;
    uint64_t random;
};

static size_t place_of(const struct model *model, const struct test_volume *volume)
{
    return (size_t)(volume - model->volumes);
}

static uint64_t any(struct model *model, uint64_t below)
{
    return test_random(&model->random) % below;
}

static uint64_t open_bytes(const struct model *model, const struct test_volume *volume)
{
    char path[PATH_MAX];
    struct stat st;
    test_path(&model->test, path, "agents/web1/volumes/%s/open.seg", volume->info.name);
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void remember_sent(struct model *model, struct test_volume *volume)
{
    assert_true(volume->seq < MAX_FRAMES);
    memcpy(model->sent[place_of(model, volume)] + volume->seq * BLOCKS * TEST_BLOCK_BYTES,
           volume->image, BLOCKS * TEST_BLOCK_BYTES);
}

static void append(struct model *model, struct test_volume *volume)
{
    struct blx_error err = {0};
    test_ok(blx_agent_writer_append(model->writer, volume->info.volume, volume->frame,
                                    volume->sent_bytes, &err),
            &err);
    remember_sent(model, volume);
}

/* A frame of the marked blocks, so that what is stored is the image again. */
static void send_dirty(struct model *model, struct test_volume *volume)
{
    uint64_t blocks[BLOCKS];
    size_t count = 0;
    bool *dirty = model->dirty[place_of(model, volume)];
    for (uint64_t block = 0; block < BLOCKS; block++)
        if (dirty[block])
            blocks[count++] = block;
    memset(dirty, 0, BLOCKS * sizeof(dirty[0]));
    if (count == 0)
        return;
    test_volume_frame(volume, blocks, count);
    append(model, volume);
}

static void write_some(struct model *model, struct test_volume *volume)
{
    for (uint64_t i = any(model, 6); i > 0; i--) {
        uint64_t block = any(model, BLOCKS);
        test_volume_write(volume, block, any(model, 3) == 0 ? 0 : any(model, 1000));
        model->dirty[place_of(model, volume)][block] = true;
    }
}

static void note_ack(void *arg, uint32_t volume, uint64_t durable_seq)
{
    struct model *model = arg;
    assert_true(durable_seq >= model->acked[volume]);
    model->acked[volume] = durable_seq;
}

static void sync_all(struct model *model)
{
    struct blx_error err = {0};
    test_ok(blx_agent_writer_sync(model->writer, note_ack, model, &err), &err);
    for (size_t i = 0; i < model->session_count; i++) {
        struct test_volume *volume = model->session[i];
        assert_int_equal(model->acked[i], volume->seq);
        model->synced_bytes[place_of(model, volume)] = open_bytes(model, volume);
    }
}

static void check_checkpoint(const struct model *model, const struct checkpoint *checkpoint)
{
    for (size_t i = 0; i < VOLUMES; i++)
        if (checkpoint->images[i] != NULL)
            test_restores_to(&model->test, checkpoint->timestamp, model->volumes[i].info.name,
                             checkpoint->images[i], SIZE_BYTES);
}

static void commit(struct model *model)
{
    if (model->checkpoint_count == MAX_CHECKPOINTS)
        return;
    struct checkpoint *checkpoint = &model->checkpoints[model->checkpoint_count++];
    for (size_t i = 0; i < model->session_count; i++) {
        send_dirty(model, model->session[i]);
        uint8_t *image = malloc(SIZE_BYTES);
        assert_non_null(image);
        memcpy(image, model->session[i]->image, SIZE_BYTES);
        checkpoint->images[place_of(model, model->session[i])] = image;
        model->synced_bytes[place_of(model, model->session[i])] = 0;
        model->acked[i] = model->session[i]->seq;
    }
    checkpoint->timestamp = test_writer_commit(model->writer, model->session, model->session_count,
                                               1500000000 + any(model, 50));
    check_checkpoint(model, checkpoint);
}

/* What was not synced is lost from some byte on, and may be followed by rubbish. */
static void cut_power(struct model *model, const struct test_volume *volume)
{
    char path[PATH_MAX];
    uint64_t bytes = open_bytes(model, volume);
    uint64_t synced = model->synced_bytes[place_of(model, volume)];
    if (bytes == 0 || any(model, 2) == 0)
        return;
    assert_true(bytes >= synced);
    uint64_t kept = synced + any(model, bytes - synced + 1);
    test_path(&model->test, path, "agents/web1/volumes/%s/open.seg", volume->info.name);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)kept), 0);
    uint8_t rubbish[200];
    for (size_t i = 0; i < sizeof(rubbish); i++)
        rubbish[i] = (uint8_t)any(model, 256);
    if (any(model, 2) == 0)
        assert_int_equal(pwrite(fd, rubbish, sizeof(rubbish), (off_t)kept), sizeof(rubbish));
    close(fd);
}

static void end_session(struct model *model)
{
    blx_agent_writer_close(model->writer);
    model->writer = NULL;
    for (size_t i = 0; i < model->session_count; i++)
        cut_power(model, model->session[i]);
}

static void begin_full(struct model *model, struct test_volume *volume,
                       const struct blx_volume_state *state)
{
    struct blx_error err = {0};
    bool same = blx_generation_equal(&state->generation, &volume->info.generation);
    volume->seq = same ? state->durable_seq : 0;
    test_ok(blx_agent_writer_begin(model->writer, volume->info.volume, BLX_PASS_FULL, &err), &err);
    /* Nothing counts as stored: should the session end here, a resumed one must send all as well.
     */
    memset(model->dirty[place_of(model, volume)], true, BLOCKS * sizeof(bool));
    memset(model->sent[place_of(model, volume)] + volume->seq * BLOCKS * TEST_BLOCK_BYTES, 0xee,
           BLOCKS * TEST_BLOCK_BYTES);
}

/* Blocks that differ from what is stored up to durable_seq are still marked on the agent. */
static void begin_resume(struct model *model, struct test_volume *volume,
                         const struct blx_volume_state *state)
{
    struct blx_error err = {0};
    size_t place = place_of(model, volume);
    test_ok(blx_agent_writer_begin(model->writer, volume->info.volume, BLX_PASS_RESUME, &err),
            &err);
    volume->seq = state->durable_seq;
    const uint8_t *stored = model->sent[place] + volume->seq * BLOCKS * TEST_BLOCK_BYTES;
    for (size_t block = 0; block < BLOCKS; block++)
        if (memcmp(stored + block * TEST_BLOCK_BYTES, volume->image + block * TEST_BLOCK_BYTES,
                   TEST_BLOCK_BYTES) != 0)
            model->dirty[place][block] = true;
}

static void begin_session(struct model *model, const uint64_t acked[VOLUMES])
{
    struct blx_volume_state states[VOLUMES];
    bool both = any(model, 5) != 0;
    model->session_count = 0;
    for (size_t i = 0; i < VOLUMES; i++)
        if (i == 0 || both)
            model->session[model->session_count++] = &model->volumes[i];
    if (any(model, 2) == 0 && both) {
        model->session[0] = &model->volumes[1];
        model->session[1] = &model->volumes[0];
    }
    bool rebooted[VOLUMES] = {false};
    for (size_t i = 0; i < VOLUMES; i++)
        if (any(model, 12) == 0 || model->volumes[i].seq > MAX_FRAMES / 2) {
            test_volume_generation(&model->volumes[i], ++model->next_generation);
            rebooted[i] = true;
        }
    model->writer = test_writer_open(&model->test, model->session, model->session_count, states);
    for (size_t i = 0; i < model->session_count; i++) {
        struct test_volume *volume = model->session[i];
        size_t place = place_of(model, volume);
        bool known = blx_generation_equal(&states[i].generation, &volume->info.generation);
        if (known && !rebooted[place])
            assert_true(states[i].durable_seq >= acked[place]);
        if (!known)
            assert_true(acked[place] == 0 || rebooted[place] ||
                        blx_agent_writer_get_reason(model->writer, (uint32_t)i)[0] != '\0');
        if (known && any(model, 8) != 0)
            begin_resume(model, volume, &states[i]);
        else
            begin_full(model, volume, &states[i]);
        model->acked[i] = volume->seq;
        model->synced_bytes[place] = open_bytes(model, volume);
    }
}

static void reconnect(struct model *model)
{
    uint64_t acked[VOLUMES] = {0};
    for (size_t i = 0; i < model->session_count; i++)
        acked[place_of(model, model->session[i])] = model->acked[i];
    end_session(model);
    begin_session(model, acked);
}

static void step(struct model *model)
{
    struct test_volume *volume = model->session[any(model, model->session_count)];
    switch (any(model, 12)) {
    case 0:
        commit(model);
        break;
    case 1:
        reconnect(model);
        break;
    case 2:
    case 3:
        sync_all(model);
        break;
    default:
        write_some(model, volume);
        send_dirty(model, volume);
        break;
    }
}

static void run(uint64_t seed)
{
    static struct model model;
    model = (struct model){.random = seed};
    test_store_init(&model.test);
    for (size_t i = 0; i < VOLUMES; i++) {
        test_volume_init(&model.volumes[i], i == 0 ? "sda" : "sdb", SIZE_BYTES,
                         ++model.next_generation);
        model.sent[i] = calloc((size_t)MAX_FRAMES * BLOCKS, TEST_BLOCK_BYTES);
        assert_non_null(model.sent[i]);
    }
    begin_session(&model, (uint64_t[VOLUMES]){0});
    for (int i = 0; i < STEPS; i++)
        step(&model);
    end_session(&model);
    for (size_t i = 0; i < model.checkpoint_count; i++) {
        check_checkpoint(&model, &model.checkpoints[i]);
        for (size_t j = 0; j < VOLUMES; j++)
            free(model.checkpoints[i].images[j]);
    }
    for (size_t i = 0; i < VOLUMES; i++) {
        free(model.sent[i]);
        test_volume_done(&model.volumes[i]);
    }
    test_store_done(&model.test);
}

static void every_checkpoint_of_random_sessions_restores(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++)
        run(seed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_checkpoint_of_random_sessions_restores),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
