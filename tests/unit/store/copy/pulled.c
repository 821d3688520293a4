/* SPDX-License-Identifier: Apache-2.0 */
/* Whatever happens to the first store, and to the second one, which copies from it: each checkpoint
 * that the second has restores to what it was. And a source that lies leaves nothing there. */
#include <errno.h>
#include <ftw.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "history.h"
#include "store/copy/offer.h"
#include "store/copy/pulled.h"

enum { STEPS = 50, SEEDS = 6, IMAGE_BYTES = HISTORY_BLOCKS * TEST_BLOCK_BYTES };

/* How a source lies. */
enum lie {
    TRUTH,
    LIE_BITS,       /* a bit of a file is another one, and its hash is right */
    LIE_HASH,       /* the hash is of something else */
    LIE_LONGER,     /* more comes than was told */
    LIE_SHORTER,    /* less comes */
    LIE_ORDER,      /* a file comes a second time */
    LIE_VOLUME,     /* a file is of a volume that the checkpoint does not have */
    LIE_CHECKPOINT, /* the manifest is of another checkpoint */
    LIE_IDENTITY,   /* the identity is another one's */
    LIES
};

struct model {
    struct history history;
    struct test_store second;
    uint8_t *images[HISTORY_CHECKPOINTS]; /* owned; of every checkpoint that ever was */
    uint64_t random;
    uint8_t generation;
    size_t saved_count; /* checkpoints of the saved state; 0: there is none */
};

/* One pull. */
struct pull {
    enum lie lie;
    struct blx_pulled *pulled;
    unsigned files;
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

static void model_init(struct model *model, uint64_t seed)
{
    memset(model, 0, sizeof(*model));
    model->random = seed;
    model->generation = 1;
    history_init(&model->history, seed);
    test_store_init(&model->second);
}

static void model_done(struct model *model)
{
    for (size_t i = 0; i < HISTORY_CHECKPOINTS; i++)
        free(model->images[i]);
    test_store_done(&model->second);
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

static struct blx_agent_store copy_of(const struct model *model)
{
    return blx_store_agent(&model->second.store, "web1");
}

/* A file as a source sends it, in two pieces. */
static int send_file(void *arg, uint32_t entry, uint32_t number, int fd, uint64_t bytes,
                     struct blx_error *err)
{
    struct pull *pull = arg;
    struct blx_copy_file told = {
        .volume = pull->lie == LIE_VOLUME ? entry + 1 : entry, .number = number, .bytes = bytes};
    uint8_t hash[BLX_COPY_HASH_BYTES];
    uint64_t offset = 0;
    uint8_t *content = malloc(bytes + 1);
    assert_non_null(content);
    assert_int_equal(pread(fd, content, bytes, 0), (ssize_t)bytes);
    if (pull->lie == LIE_BITS)
        content[bytes / 3] ^= 4;
    assert_int_equal(EVP_Digest(content, bytes, hash, NULL, EVP_sha256(), NULL), 1);
    hash[7] ^= pull->lie == LIE_HASH;
    pull->files++;
    int rc = blx_pulled_expect(pull->pulled, &told, &offset, err);
    uint64_t left = rc < 0 ? 0 : bytes - offset;
    if (rc == 0 && left > 0)
        rc = blx_pulled_write(pull->pulled, content + offset, left / 2, err);
    if (rc == 0 && left > 0 && pull->lie != LIE_SHORTER)
        rc = blx_pulled_write(pull->pulled, content + offset + left / 2,
                              left - left / 2 + (pull->lie == LIE_LONGER), err);
    if (rc == 0)
        rc = blx_pulled_end(pull->pulled, hash, err);
    if (rc == 0 && pull->lie == LIE_ORDER)
        rc = blx_pulled_expect(pull->pulled, &told, &offset, err);
    free(content);
    return rc;
}

static int fetch(struct model *model, struct pull *pull, blx_timestamp wanted,
                 struct blx_error *err)
{
    struct blx_copy_offer *offer = NULL;
    const uint8_t *hash;
    struct blx_copy_wish wish = {.checkpoint = wanted, .place = "copier:second"};
    BLX_CLEANUP_FREE void *manifest = NULL;
    uint8_t identity[BLX_COPY_HASH_BYTES];
    size_t bytes = 0;
    wish.have = blx_pulled_have(pull->pulled, &hash);
    wish.hash = hash;
    int rc = blx_copy_offer_open(blx_store_agent(&model->history.test.store, "web1"), &wish, &offer,
                                 err);
    if (rc == 0)
        rc = blx_copy_offer_encode(offer, &manifest, &bytes, err);
    if (rc == 0)
        rc = blx_pulled_begin(pull->pulled, wanted + (pull->lie == LIE_CHECKPOINT), manifest, bytes,
                              err);
    if (rc == 0)
        rc = blx_copy_offer_each(offer, send_file, pull, err);
    if (rc == 0) {
        memcpy(identity, blx_copy_offer_hash(offer), sizeof(identity));
        identity[3] ^= pull->lie == LIE_IDENTITY;
        rc = blx_pulled_commit(pull->pulled, identity, err);
    }
    if (rc == 0)
        rc = blx_copy_offer_settle(offer, err);
    blx_copy_offer_close(offer);
    return rc;
}

/* All that is newer, or, by the rules of the copier, now and then one. */
static int pull_all(struct model *model, struct pull *pull, unsigned one_of, struct blx_error *err)
{
    BLX_CLEANUP_FREE blx_timestamp *all = NULL;
    const uint8_t *hash;
    size_t count = 0;
    int rc = blx_pulled_open(&model->second.store, "web1", "first:8080", &pull->pulled, err);
    if (rc == 0)
        rc = blx_manifest_list(blx_store_agent(&model->history.test.store, "web1"),
                               blx_pulled_have(pull->pulled, &hash) + 1, BLX_TIMESTAMP_MAX, &all,
                               &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        if (i % one_of == 0)
            rc = fetch(model, pull, all[i], err);
    }
    blx_pulled_close(pull->pulled);
    pull->pulled = NULL;
    return rc;
}

/* A part of a file that a rewrite has changed is dropped, and the next try gets all of it. */
static void copy(struct model *model, unsigned one_of)
{
    struct blx_error err = {0};
    struct pull pull = {.lie = TRUTH};
    int rc = -EAGAIN;
    for (int i = 0; i < 20 && rc == -EAGAIN; i++) {
        blx_error_clear(&err);
        rc = pull_all(model, &pull, one_of, &err);
    }
    test_ok(rc, &err);
}

static int try_copy(void *arg)
{
    struct blx_error err = {0};
    struct pull pull = {.lie = TRUTH};
    int rc = pull_all(arg, &pull, 1, &err);
    return rc == -EAGAIN ? 0 : rc;
}

static const uint8_t *image_of(const struct model *model, blx_timestamp timestamp)
{
    for (size_t i = 0; i < model->history.count; i++) {
        if (model->history.timestamps[i] == timestamp)
            return model->images[i];
    }
    return NULL;
}

/* The checkpoints of the second store; the caller frees them. */
static blx_timestamp *list_copies(const struct model *model, size_t *count)
{
    struct blx_error err = {0};
    blx_timestamp *all = NULL;
    *count = 0;
    if (blx_agent_store_exists(copy_of(model)))
        test_ok(blx_manifest_list(copy_of(model), 0, BLX_TIMESTAMP_MAX, &all, count, &err), &err);
    return all;
}

static void check_second(const struct model *model)
{
    size_t count;
    BLX_CLEANUP_FREE blx_timestamp *all = list_copies(model, &count);
    for (size_t i = 0; i < count; i++) {
        const uint8_t *image = image_of(model, all[i]);
        assert_non_null(image);
        test_restores_to(&model->second, all[i], "sda", image, HISTORY_BYTES);
    }
    if (count > 0)
        test_no_damage(&model->second);
}

/* By rules of its own. */
static void prune_second(struct model *model)
{
    struct blx_error err = {0};
    struct blx_prune_report report = {0};
    size_t count, doomed = 0;
    BLX_CLEANUP_FREE blx_timestamp *all = list_copies(model, &count);
    for (size_t i = 0; i + 1 < count; i++) {
        if (pick(model, 2) == 0)
            all[doomed++] = all[i];
    }
    if (count > 0)
        test_ok(test_prune(&model->second, all, doomed, &report, &err), &err);
}

static void rewrite(const struct test_store *test)
{
    struct blx_error err = {0};
    struct blx_rewrite_report report;
    test_ok(test_rewrite(test, &report, &err), &err);
}

/* The first one does not remember what was copied. */
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

static void full_pass(struct model *model)
{
    leave(model);
    begin_again(model, BLX_PASS_FULL);
    test_volume_send_all(&model->history.volume, model->history.writer, 16);
    commit(model);
}

static void run(const char *program, const char *from, const char *to)
{
    char command[3 * PATH_MAX];
    snprintf(command, sizeof(command), "%s '%s' '%s'", program, from, to);
    assert_int_equal(system(command), 0);
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

/* The first one's data directory is an older one again. */
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

static void step(struct model *model)
{
    uint64_t which = pick(model, 100);
    if (which < 35)
        commit(model);
    else if (which < 47)
        history_prune(&model->history, 40);
    else if (which < 55)
        rewrite(&model->history.test);
    else if (which < 70)
        copy(model, 1 + (unsigned)pick(model, 3));
    else if (which < 78)
        test_fault_run(try_copy, model, TEST_FAULT_KILL_BEHIND, (unsigned)pick(model, 60));
    else if (which < 85)
        prune_second(model);
    else if (which < 89 && blx_agent_store_exists(copy_of(model)))
        rewrite(&model->second);
    else if (which < 91)
        lose_marks(model);
    else if (which < 94)
        save(model);
    else if (which < 96)
        set_back(model);
    else
        full_pass(model);
}

static void every_order_restores_at_the_second(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct model model;
        model_init(&model, seed * 7919);
        commit(&model);
        for (int i = 0; i < STEPS; i++)
            step(&model);
        copy(&model, 1);
        check_second(&model);
        model_done(&model);
    }
}

static void a_source_that_lies_leaves_nothing(void **state)
{
    (void)state;
    struct model model;
    size_t count;
    model_init(&model, 5);
    commit(&model);
    copy(&model, 1);
    commit(&model);
    history_noise(&model.history, 3, 15);
    commit(&model);
    for (enum lie lie = TRUTH + 1; lie < LIES; lie++) {
        struct blx_error err = {0};
        struct pull pull = {.lie = lie};
        if (pull_all(&model, &pull, 1, &err) != -EBADMSG)
            fail_msg("lie %d: %s", (int)lie, err.message);
        free(list_copies(&model, &count));
        assert_int_equal(count, 1);
        check_second(&model);
    }
    copy(&model, 1);
    free(list_copies(&model, &count));
    assert_int_equal(count, 3);
    check_second(&model);
    model_done(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_order_restores_at_the_second),
        cmocka_unit_test(a_source_that_lies_leaves_nothing),
    };
    test_fsync_off();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
