/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever the order of checkpoints, prunes, rewrites, copies, crashes, adoptions and set-backs of
 * the data directory: each checkpoint that a depot has restores to what it was. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "history.h"
#include "object/adopt.h"
#include "object/copy.h"
#include "object/history.h"
#include "object/retain.h"
#include "store/rename.h"

enum { STEPS = 60, SEEDS = 10, IMAGE_BYTES = HISTORY_BLOCKS * TEST_BLOCK_BYTES };

/* The store with its history, the depot, and what every checkpoint ever was. */
struct model {
    struct history history;
    char depot_dir[64];
    struct object_depot *depot;
    uint8_t *images[HISTORY_CHECKPOINTS]; /* owned */
    uint64_t random;
    uint8_t generation;
    struct blx_retention retention; /* of the copies */
    blx_timestamp copied;           /* the newest copy */
    size_t saved_count;             /* checkpoints of the saved state; 0: there is none */
};

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void remove_tree(const char *path)
{
    struct stat st;
    if (lstat(path, &st) == 0)
        assert_int_equal(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static struct object_depot *open_depot(const char *dir)
{
    struct blx_error err = {0};
    const struct blx_config config = {0};
    struct object_depot *depot = NULL;
    test_ok(object_depot_open(dir, &config, &depot, &err), &err);
    return depot;
}

static void model_init(struct model *model, uint64_t seed)
{
    memset(model, 0, sizeof(*model));
    model->random = seed;
    model->generation = 1;
    history_init(&model->history, seed);
    test_make_dir(model->depot_dir, sizeof(model->depot_dir));
    model->depot = open_depot(model->depot_dir);
}

static void model_done(struct model *model)
{
    for (size_t i = 0; i < HISTORY_CHECKPOINTS; i++)
        free(model->images[i]);
    object_depot_close(model->depot);
    remove_tree(model->depot_dir);
    history_done(&model->history);
}

static uint64_t pick(struct model *model, uint64_t most)
{
    return test_random(&model->random) % most;
}

static void commit(struct model *model)
{
    size_t at = model->history.count;
    for (uint64_t frames = pick(model, 4); frames > 0; frames--)
        history_change(&model->history);
    if (pick(model, 3) == 0)
        history_noise(&model->history, pick(model, HISTORY_BLOCKS - 16), 1 + pick(model, 15));
    history_commit(&model->history);
    model->images[at] = malloc(IMAGE_BYTES);
    assert_non_null(model->images[at]);
    memcpy(model->images[at], model->history.images[at], IMAGE_BYTES);
}

static const uint8_t *image_of(const struct model *model, blx_timestamp timestamp)
{
    for (size_t i = 0; i < model->history.count; i++) {
        if (model->history.timestamps[i] == timestamp)
            return model->images[i];
    }
    return NULL;
}

static int try_copy(void *arg)
{
    struct model *model = arg;
    struct blx_error err = {0};
    struct object_copy_report report = {0};
    const struct object_copy_request request = {.store = &model->history.test.store,
                                                .depot = model->depot};
    return object_copy_agent(&request, "web1", &report, &err);
}

static struct object_copy_report copy(struct model *model)
{
    struct blx_error err = {0};
    struct object_copy_report report = {0};
    const struct object_copy_request request = {.store = &model->history.test.store,
                                                .depot = model->depot};
    test_ok(object_copy_agent(&request, "web1", &report, &err), &err);
    return report;
}

/* A store made of the depot alone has just what the depot has. */
static void check_depot(const struct model *model)
{
    struct blx_error err = {0};
    struct test_store fresh;
    struct object_adopt_report report = {0};
    OBJECT_CLEANUP_HISTORY struct object_history copies = {0};
    test_ok(object_history_list(model->depot, "web1", &copies, &err), &err);
    if (copies.count == 0)
        return;
    test_store_init(&fresh);
    test_ok(object_adopt_agent(&fresh.store, model->depot, "web1", NULL, &report, &err), &err);
    assert_int_equal(report.checkpoints, copies.count);
    assert_int_equal(report.unusable + report.doubles, 0);
    for (size_t i = 0; i < copies.count; i++) {
        const uint8_t *image = image_of(model, copies.entries[i].timestamp);
        assert_non_null(image);
        test_restores_to(&fresh, copies.entries[i].timestamp, "sda", image, HISTORY_BYTES);
    }
    test_no_damage(&fresh);
    test_store_done(&fresh);
}

static int try_retain(void *arg)
{
    struct model *model = arg;
    struct blx_error err = {0};
    struct object_retain_report report = {0};
    const struct object_retain_request request = {.store = &model->history.test.store,
                                                  .depot = model->depot,
                                                  .retention = &model->retention,
                                                  .newest = model->copied};
    return object_retain_agent(&request, "web1", &report, &err);
}

/* Some rule, which may be killed on the way. Whatever it removes, what is left restores:
 * check_depot() looks at that. */
static void retain(struct model *model)
{
    OBJECT_CLEANUP_HISTORY struct object_history copies = {0};
    struct blx_error err = {0};
    struct object_copy_report report = copy(model);
    uint64_t keep = 1 + pick(model, 5);
    model->retention = (struct blx_retention){.keep[BLX_KEEP_LAST] = keep};
    model->copied = report.newest;
    if (pick(model, 2) == 0) {
        test_fault_run(try_retain, model, TEST_FAULT_KILL_BEHIND, (unsigned)pick(model, 20));
        return;
    }
    assert_int_equal(try_retain(model), 0);
    test_ok(object_history_list(model->depot, "web1", &copies, &err), &err);
    assert_in_range(copies.count, 1, keep + report.strange_count);
}

static void rewrite(struct model *model)
{
    struct blx_error err = {0};
    struct blx_rewrite_report report;
    test_ok(test_rewrite(&model->history.test, &report, &err), &err);
}

/* Nobody remembers what was copied. */
static int remove_mark(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type;
    return strncmp(path + ftw->base, "copied-", 7) == 0 ? remove(path) : 0;
}

static void lose_marks(struct model *model)
{
    char path[PATH_MAX];
    test_path(&model->history.test, path, "agents");
    assert_int_equal(nftw(path, remove_mark, 16, FTW_PHYS), 0);
}

static void run(const char *program, const char *from, const char *to)
{
    char command[3 * PATH_MAX];
    snprintf(command, sizeof(command), "%s '%s' '%s'", program, from, to);
    assert_int_equal(system(command), 0);
}

static void begin_again(struct model *model, enum blx_pass pass)
{
    test_volume_generation(&model->history.volume, ++model->generation);
    history_begin(&model->history, pass);
}

static void leave(struct model *model)
{
    blx_agent_writer_close(model->history.writer);
    model->history.writer = NULL;
}

/* The host burned down: what the depot has is all that is left. */
static void lose_store(struct model *model)
{
    struct blx_error err = {0};
    struct object_adopt_report report = {0};
    char path[PATH_MAX];
    OBJECT_CLEANUP_HISTORY struct object_history copies = {0};
    copy(model);
    leave(model);
    test_path(&model->history.test, path, "agents/web1");
    remove_tree(path);
    test_ok(
        object_adopt_agent(&model->history.test.store, model->depot, "web1", NULL, &report, &err),
        &err);
    test_ok(object_history_list(model->depot, "web1", &copies, &err), &err);
    for (size_t i = 0; i < model->history.count; i++) {
        history_forget(&model->history, i);
        for (size_t k = 0; k < copies.count; k++) {
            if (copies.entries[k].timestamp == model->history.timestamps[i])
                model->history.images[i] =
                    memcpy(malloc(IMAGE_BYTES), model->images[i], IMAGE_BYTES);
        }
    }
    begin_again(model, BLX_PASS_RESCAN);
}

static void save(struct model *model)
{
    char from[PATH_MAX], to[PATH_MAX];
    leave(model);
    test_path(&model->history.test, from, "agents/web1");
    test_path(&model->history.test, to, "saved");
    remove_tree(to);
    run("cp -a", from, to);
    model->saved_count = model->history.count;
    begin_again(model, BLX_PASS_CONTINUE);
}

/* The data directory is an older one again, and the agent's rescan sends all that differs. */
static void set_back(struct model *model)
{
    char from[PATH_MAX], to[PATH_MAX];
    struct blx_error err = {0};
    BLX_CLEANUP_FREE blx_timestamp *all = NULL;
    size_t count = 0;
    if (model->saved_count == 0)
        return;
    leave(model);
    test_path(&model->history.test, from, "saved");
    test_path(&model->history.test, to, "agents/web1");
    remove_tree(to);
    run("mv", from, to);
    model->saved_count = 0;
    test_ok(blx_manifest_list(blx_store_agent(&model->history.test.store, "web1"), 0, UINT64_MAX,
                              &all, &count, &err),
            &err);
    for (size_t i = 0; i < model->history.count; i++) {
        history_forget(&model->history, i);
        for (size_t k = 0; k < count; k++) {
            if (all[k] == model->history.timestamps[i])
                model->history.images[i] =
                    memcpy(malloc(IMAGE_BYTES), model->images[i], IMAGE_BYTES);
        }
    }
    begin_again(model, BLX_PASS_RESCAN);
    test_volume_send_all(&model->history.volume, model->history.writer, 16);
    commit(model);
}

static bool is_zero(const struct model *model, uint64_t block)
{
    const uint8_t *at = model->history.volume.image + block * TEST_BLOCK_BYTES;
    return at[0] == 0 && memcmp(at, at + 1, TEST_BLOCK_BYTES - 1) == 0;
}

/* A full pass of a disk on which some blocks have come free: they are not sent, and count as
 * zero. */
static void send_used(struct model *model)
{
    struct blx_error err = {0};
    struct test_volume *volume = &model->history.volume;
    for (uint64_t block = 0; block < HISTORY_BLOCKS; block++) {
        if (pick(model, 3) == 0)
            test_volume_write(volume, block, 0);
        if (is_zero(model, block))
            continue;
        test_volume_frame(volume, &block, 1);
        test_ok(blx_agent_writer_append(model->history.writer, 0, volume->frame, volume->sent_bytes,
                                        &err),
                &err);
    }
}

/* The agent's data is removed by hand, and it begins from nothing. */
static void start_over(struct model *model)
{
    char path[PATH_MAX];
    leave(model);
    test_path(&model->history.test, path, "agents/web1");
    remove_tree(path);
    model->saved_count = 0;
    for (size_t i = 0; i < model->history.count; i++)
        history_forget(&model->history, i);
    begin_again(model, BLX_PASS_FULL);
    send_used(model);
    commit(model);
}

static void full_pass(struct model *model)
{
    leave(model);
    begin_again(model, BLX_PASS_FULL);
    send_used(model);
    commit(model);
}

static void step(struct model *model)
{
    uint64_t which = pick(model, 100);
    if (which < 40)
        commit(model);
    else if (which < 55)
        history_prune(&model->history, 40);
    else if (which < 65)
        rewrite(model);
    else if (which < 75)
        copy(model);
    else if (which < 80)
        retain(model);
    else if (which < 88)
        test_fault_run(try_copy, model, TEST_FAULT_KILL_BEHIND, (unsigned)pick(model, 60));
    else if (which < 90)
        lose_marks(model);
    else if (which < 93)
        save(model);
    else if (which < 94)
        set_back(model);
    else if (which < 96)
        lose_store(model);
    else if (which < 97)
        start_over(model);
    else
        full_pass(model);
}

static void every_order_restores(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct model model;
        model_init(&model, seed * 7919);
        commit(&model);
        for (unsigned i = 0; i < STEPS && model.history.count + 2 < HISTORY_CHECKPOINTS; i++) {
            step(&model);
            if (i % 20 == 19)
                check_depot(&model);
        }
        copy(&model);
        check_depot(&model);
        history_check(&model.history);
        model_done(&model);
    }
}

/* Small changes, each copied: the list stays short, and little is copied twice. */
static void lists_stay_short(void **state)
{
    (void)state;
    struct model model;
    struct blx_error err = {0};
    OBJECT_CLEANUP_HISTORY struct object_history copies = {0};
    BLX_CLEANUP_COPIED struct blx_copied last = {0};
    uint64_t objects = 0;
    enum { COPIES = 128, MOST_OBJECTS = 16 };
    model_init(&model, 5);
    for (unsigned i = 0; i < COPIES; i++) {
        history_change(&model.history);
        commit(&model);
        if (i % 3 == 2)
            history_prune(&model.history, 30);
        if (i % 5 == 4)
            rewrite(&model);
        objects += copy(&model).objects;
    }
    assert_int_equal(objects, COPIES);
    test_ok(object_history_list(model.depot, "web1", &copies, &err), &err);
    assert_int_equal(copies.count, COPIES);
    test_ok(object_history_read(model.depot, "web1", &copies.entries[COPIES - 1], &last, &err),
            &err);
    assert_in_range(last.object_count, 1, MOST_OBJECTS);
    check_depot(&model);
    model_done(&model);
}

/* After a prune of everything that was copied nothing but the new is sent. */
static void a_pruned_checkpoint_is_still_built_upon(void **state)
{
    (void)state;
    struct model model;
    struct object_copy_report report;
    model_init(&model, 9);
    for (unsigned i = 0; i < 8; i++)
        commit(&model);
    report = copy(&model);
    assert_int_equal(report.checkpoints, 8);
    commit(&model);
    history_prune(&model.history, 100);
    rewrite(&model);
    report = copy(&model);
    assert_int_equal(report.checkpoints, 1);
    report = copy(&model);
    assert_int_equal(report.checkpoints + report.objects, 0);
    check_depot(&model);
    model_done(&model);
}

/* Copies go by the ID: what is adopted has the name that the server's certificate has. */
static void a_renaming_does_not_begin_other_copies(void **state)
{
    (void)state;
    struct model model;
    struct blx_error err = {0};
    struct object_copy_report report;
    struct object_adopt_report adopted = {0};
    model_init(&model, 4);
    commit(&model);
    copy(&model);
    commit(&model);
    leave(&model);
    const struct blx_store *store = &model.history.test.store;
    const struct object_copy_request request = {.store = store, .depot = model.depot};
    test_ok(blx_rename(blx_store_agent(store, "web1"), "db1", 0, &err), &err);
    report = (struct object_copy_report){0};
    test_ok(object_copy_agent(&request, "db1", &report, &err), &err);
    assert_int_equal(report.checkpoints, 1);
    check_depot(&model);
    assert_int_equal(object_adopt_agent(store, model.depot, "web1", NULL, &adopted, &err), -EEXIST);
    assert_non_null(strstr(err.message, "--agent=db1"));
    test_ok(blx_rename(blx_store_agent(store, "db1"), "web1", 0, &err), &err);
    begin_again(&model, BLX_PASS_RESCAN);
    model_done(&model);
}

/* Another checkpoint of that time, with a lower hash, which came a second later. */
static void forge(const struct model *model, const struct object_history_entry *entry)
{
    struct blx_error err = {0};
    BLX_CLEANUP_COPIED struct blx_copied copied = {0};
    struct stat st;
    void *content = NULL;
    size_t bytes = 0;
    char key[BLX_COPIED_KEY_BYTES], path[PATH_MAX];
    struct object_history_entry forged = *entry;
    test_ok(object_history_read(model->depot, "web1", entry, &copied, &err), &err);
    snprintf(copied.manifest.note, sizeof(copied.manifest.note), "forged");
    while (memcmp(forged.hash, entry->hash, sizeof(forged.hash)) >= 0) {
        struct object_digest digest;
        free(content);
        copied.copied_realtime_ns++;
        test_ok(blx_copied_encode(&copied, &content, &bytes, &err), &err);
        test_ok(object_digest_begin(&digest, OBJECT_DIGEST_PLAIN, &err), &err);
        object_digest_add(&digest, content, bytes);
        object_digest_end(&digest, forged.hash, NULL);
    }
    blx_copied_checkpoint_key(key, "web1", entry->timestamp, entry->hash);
    snprintf(path, sizeof(path), "%s/%s", model->depot_dir, key);
    assert_int_equal(stat(path, &st), 0);
    blx_copied_checkpoint_key(key, "web1", entry->timestamp, forged.hash);
    test_ok(object_depot_put(model->depot, key, content, bytes, NULL, &err), &err);
    snprintf(path, sizeof(path), "%s/%s", model->depot_dir, key);
    const struct timespec times[2] = {st.st_atim, {.tv_sec = st.st_mtim.tv_sec + 1}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    free(content);
}

/* The same checkpoint under a name of the far future. */
static void forge_future(const struct model *model, const struct object_history_entry *entry)
{
    struct blx_error err = {0};
    BLX_CLEANUP_COPIED struct blx_copied copied = {0};
    BLX_CLEANUP_FREE void *content = NULL;
    size_t bytes = 0;
    uint8_t hash[BLX_COPIED_HASH_BYTES];
    char key[BLX_COPIED_KEY_BYTES];
    struct object_digest digest;
    test_ok(object_history_read(model->depot, "web1", entry, &copied, &err), &err);
    copied.manifest.timestamp = 99991231235958;
    test_ok(blx_copied_encode(&copied, &content, &bytes, &err), &err);
    test_ok(object_digest_begin(&digest, OBJECT_DIGEST_PLAIN, &err), &err);
    object_digest_add(&digest, content, bytes);
    object_digest_end(&digest, hash, NULL);
    blx_copied_checkpoint_key(key, "web1", copied.manifest.timestamp, hash);
    test_ok(object_depot_put(model->depot, key, content, bytes, NULL, &err), &err);
}

static void a_checkpoint_of_the_future_stops_nothing(void **state)
{
    (void)state;
    struct model model;
    struct test_store fresh;
    struct blx_error err = {0};
    struct object_adopt_report adopted = {0};
    OBJECT_CLEANUP_HISTORY struct object_history copies = {0};
    model_init(&model, 6);
    commit(&model);
    copy(&model);
    test_ok(object_history_list(model.depot, "web1", &copies, &err), &err);
    forge_future(&model, &copies.entries[0]);
    for (unsigned lost = 0; lost < 2; lost++) {
        commit(&model);
        if (lost == 1)
            lose_marks(&model);
        struct object_copy_report report = copy(&model);
        assert_int_equal(report.checkpoints, 1);
        assert_int_equal(report.whole, 0);
        assert_int_equal(report.strange_count, 1);
        assert_true(report.strange_newest == 99991231235958);
    }
    test_store_init(&fresh);
    test_ok(object_adopt_agent(&fresh.store, model.depot, "web1", NULL, &adopted, &err), &err);
    assert_int_equal(adopted.checkpoints, 3);
    assert_int_equal(adopted.unusable, 1);
    test_store_done(&fresh);
    test_store_init(&fresh);
    adopted = (struct object_adopt_report){0};
    test_ok(object_adopt_agent(&fresh.store, model.depot, "web1", "latest", &adopted, &err), &err);
    test_restores_to(&fresh, model.history.timestamps[2], "sda", model.images[2], HISTORY_BYTES);
    test_store_done(&fresh);
    model_done(&model);
}

static void the_first_of_two_copies_is_adopted(void **state)
{
    (void)state;
    struct model model;
    struct test_store fresh;
    struct blx_error err = {0};
    struct object_adopt_report report = {0};
    OBJECT_CLEANUP_HISTORY struct object_history copies = {0};
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    model_init(&model, 3);
    commit(&model);
    copy(&model);
    test_ok(object_history_list(model.depot, "web1", &copies, &err), &err);
    assert_int_equal(copies.count, 1);
    forge(&model, &copies.entries[0]);
    test_store_init(&fresh);
    test_ok(object_adopt_agent(&fresh.store, model.depot, "web1", NULL, &report, &err), &err);
    assert_int_equal(report.checkpoints, 1);
    assert_int_equal(report.doubles, 1);
    test_ok(blx_manifest_read(blx_store_agent(&fresh.store, "web1"), copies.entries[0].timestamp,
                              &manifest, &err),
            &err);
    assert_string_not_equal(manifest.note, "forged");
    test_store_done(&fresh);
    model_done(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_order_restores),
        cmocka_unit_test(lists_stay_short),
        cmocka_unit_test(a_pruned_checkpoint_is_still_built_upon),
        cmocka_unit_test(a_renaming_does_not_begin_other_copies),
        cmocka_unit_test(a_checkpoint_of_the_future_stops_nothing),
        cmocka_unit_test(the_first_of_two_copies_is_adopted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
