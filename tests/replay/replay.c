/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Crash replay: the store's writes are recorded at the seam, and before each flush states are made
 * that a power cut may leave then; each of them must keep what the store has promised (check.h).
 *
 *   crash_replay [--seed=N] [--histories=N] [--states=N] [--steps=N]
 *
 * A history is a session of an agent with two disks, at random, with the prunes, the rewrites and
 * the audit log of its dispatcher. These come in between each other's calls. Every other history
 * runs on a disk that gets full again and again. Now and then the disk refuses to flush, as if the
 * process had died before; or the power is cut for good, and the history goes on with what was
 * left; and it is cut again while the store recovers.
 */
#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/sys.h"
#include "check.h"

enum { RESERVE_BYTES = 8 << 10, MORE_BYTES = 300 << 10 };

static struct {
    uint64_t seed, histories, states, steps;
} options = {.seed = 1, .histories = 6, .states = 1, .steps = 50};

/* The dispatcher's threads: an agent's session, and what works on the store beside it. */
enum actor { ACTOR_SESSION, ACTOR_CHORES };

struct replay {
    struct site site;
    struct recorder recorder;
    char dir[64];     /* all of it lies below */
    unsigned lives;   /* the store's folder has this number */
    enum actor actor; /* whose call is under way */
    bool is_nested;   /* the other one has come in between */
    uint64_t random;
    uint64_t states, cuts;
};

static struct replay replay;

/* Where it was when a check failed. */
static char place[256];

static uint64_t any(uint64_t below)
{
    return test_random(&replay.random) % below;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static void remove_folder(const char *path)
{
    assert_int_equal(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void below(char path[64], const char *name, unsigned number)
{
    assert_true(snprintf(path, 64, "%s/%s%u", replay.dir, name, number) < 64);
}

/* What a cut would leave of the disk now, as the folder `path`. */
static void make_state(const struct disk *disk, enum disk_kept kept, const char *name,
                       unsigned number, char path[64])
{
    below(path, name, number);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(place, sizeof(place), "seed %llu, flush %llu, state %llu (kept %u): %s",
             (unsigned long long)options.seed, (unsigned long long)replay.recorder.flushes,
             (unsigned long long)replay.states, kept, path);
    disk_cut(disk, kept, &replay.random, path);
    replay.states++;
}

static void check_one(const struct disk *disk, enum disk_kept kept, unsigned depth);

/* A flush of a recovery: the power is cut once more. */
static enum record_flush before_flush_of_recovery(void *arg)
{
    const struct recorder *recorder = arg;
    const struct blx_sys *before = blx_sys;
    if (disk_count_pending(recorder->disk) > 0 && any(2) == 0) {
        test_fsync_off();
        check_one(recorder->disk, DISK_ANY, 1);
        blx_sys = before;
    }
    return RECORD_FLUSHED;
}

static void before_change_of_recovery(void *arg)
{
    (void)arg;
}

/* Recovers first, with or without room on the disk, and with a cut in it. */
static void recover(const char *path)
{
    struct recorder second = {.before_flush = before_flush_of_recovery,
                              .before_change = before_change_of_recovery,
                              .is_limited = replay.recorder.is_limited,
                              .room_bytes = any(2) == 0 ? 0 : any(4096)};
    struct recorder *first = &replay.recorder;
    second.arg = &second;
    check_recovery(&replay.site, path, &second);
    first->refused += second.refused;
}

static void check_one(const struct disk *disk, enum disk_kept kept, unsigned depth)
{
    char path[64];
    make_state(disk, kept, "cut", depth, path);
    if (depth == 0 && any(8) == 0)
        recover(path);
    check_store(&replay.site, path);
    remove_folder(path);
}

static enum record_flush before_flush(void *arg)
{
    const struct blx_sys *before = blx_sys;
    (void)arg;
    test_fsync_off();
    if (disk_count_pending(replay.recorder.disk) > 0) {
        if (any(4) == 0)
            check_one(replay.recorder.disk, (enum disk_kept)any(DISK_ANY), 0);
        for (uint64_t i = 0; i < options.states; i++)
            check_one(replay.recorder.disk, DISK_ANY, 0);
    }
    blx_sys = before;
    return any(30) == 0 ? RECORD_REFUSED : RECORD_FLUSHED;
}

static void work_on_session(void)
{
    struct site *site = &replay.site;
    switch (any(12)) {
    case 0:
    case 1:
    case 2:
    case 3:
        site_commit(site);
        break;
    case 4:
    case 5:
        site_sync(site);
        break;
    case 6:
        site_audit(site);
        break;
    default:
        site_send(site);
        break;
    }
}

/* A prune has some room of its own. */
static void work_on_chores(void)
{
    struct recorder *recorder = &replay.recorder;
    if (recorder->room_bytes < RESERVE_BYTES)
        recorder->room_bytes = RESERVE_BYTES;
    if (any(3) != 0)
        site_prune(&replay.site);
    else
        site_rewrite(&replay.site);
}

/* The other actor comes in between, as a thread does. */
static void before_change(void *arg)
{
    (void)arg;
    if (replay.is_nested || any(12) != 0)
        return;
    replay.is_nested = true;
    if (replay.actor == ACTOR_SESSION)
        work_on_chores();
    else
        work_on_session();
    replay.is_nested = false;
}

static void step(void)
{
    replay.actor = any(4) == 0 ? ACTOR_CHORES : ACTOR_SESSION;
    replay.recorder.room_bytes += any(6) == 0 ? any(MORE_BYTES) : 0;
    if (replay.actor == ACTOR_CHORES)
        work_on_chores();
    else if (replay.site.writer == NULL || any(12) == 0)
        site_connect(&replay.site);
    else
        work_on_session();
}

/* The folder of this life becomes the store. */
static void begin_life(void)
{
    struct blx_error err = {0};
    struct test_store *test = &replay.site.test;
    *test = (struct test_store){.store.lock_fd = -1};
    below(test->dir, "store", replay.lives);
    replay.recorder.disk = disk_load(test->dir);
    record_start(&replay.recorder);
    replay.is_nested = true; /* nobody works on a store that is not open yet */
    int rc;
    do { /* until the disk flushes what it is to */
        blx_error_clear(&err);
        rc = blx_store_open(test->dir, BLX_STORE_INIT, &test->store, &err);
    } while (rc == -EIO);
    test_ok(rc, &err);
    replay.is_nested = false;
}

static void end_life(void)
{
    site_disconnect(&replay.site);
    blx_store_close(&replay.site.test.store);
    disk_free(replay.recorder.disk);
    blx_sys = &blx_sys_real;
}

/* The power is cut, and the dispatcher starts on what was left. */
static void cut_for_good(void)
{
    char before[64], after[64];
    below(before, "store", replay.lives);
    make_state(replay.recorder.disk, DISK_ANY, "store", ++replay.lives, after);
    replay.cuts++;
    end_life();
    remove_folder(before);
    begin_life();
}

static void run_history(uint64_t seed)
{
    char first[64];
    replay = (struct replay){.random = seed * 2 + 1};
    replay.recorder = (struct recorder){.before_flush = before_flush,
                                        .before_change = before_change,
                                        .is_limited = seed % 2 == 0,
                                        .room_bytes = RESERVE_BYTES + any(MORE_BYTES)};
    test_make_dir(replay.dir, sizeof(replay.dir));
    below(first, "store", 0);
    assert_int_equal(mkdir(first, 0700), 0);
    site_init(&replay.site, seed);
    begin_life();
    for (uint64_t i = 0; i < options.steps; i++) {
        step();
        if (any(15) == 0)
            cut_for_good();
    }
    end_life();
    site_done(&replay.site);
    remove_folder(replay.dir);
}

static void each_state_that_a_power_cut_leaves_is_good(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < options.histories; i++) {
        run_history(options.seed);
        printf(
            "seed %llu: %llu states at %llu flushes, %llu lives; %llu frames, %llu "
            "checkpoints, %llu prunes, %llu holes, %llu segments rewritten, %llu times full, %llu "
            "refusals\n",
            (unsigned long long)options.seed++, (unsigned long long)replay.states,
            (unsigned long long)replay.recorder.flushes, (unsigned long long)replay.cuts + 1,
            (unsigned long long)replay.site.did.frames, (unsigned long long)replay.site.did.commits,
            (unsigned long long)replay.site.did.prunes, (unsigned long long)replay.recorder.holes,
            (unsigned long long)replay.site.did.rewrites,
            (unsigned long long)replay.recorder.refused,
            (unsigned long long)replay.site.did.refusals);
        fflush(stdout);
    }
}

static uint64_t number_of(const char *text)
{
    char *end;
    errno = 0;
    uint64_t number = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || *text < '0' || *text > '9') {
        fprintf(stderr, "'%s' is no number\n", text);
        exit(2);
    }
    return number;
}

static void read_options(int argc, char **argv)
{
    static const struct option longs[] = {{"seed", required_argument, NULL, 's'},
                                          {"histories", required_argument, NULL, 'h'},
                                          {"states", required_argument, NULL, 'n'},
                                          {"steps", required_argument, NULL, 't'},
                                          {0}};
    for (int option; (option = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        if (option == 's')
            options.seed = number_of(optarg);
        else if (option == 'h')
            options.histories = number_of(optarg);
        else if (option == 'n')
            options.states = number_of(optarg);
        else if (option == 't')
            options.steps = number_of(optarg);
        else
            exit(2);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_state_that_a_power_cut_leaves_is_good),
    };
    read_options(argc, argv);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (failed == 0)
        return 0;
    fprintf(stderr, "it failed at %s; not flushed then:\n", place);
    disk_print_pending(replay.recorder.disk, stderr);
    _exit(1); /* what the failed check held is no leak */
}
