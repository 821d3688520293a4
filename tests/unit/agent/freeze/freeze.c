/* SPDX-License-Identifier: Apache-2.0 */
/* The guard against every way in which an agent can fail to thaw. Real filesystems, real FIFREEZE.
 */
#include "agent/freeze/freeze.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/units.h"
#include "disk.h"

enum { MIB = 1 << 20, FILESYSTEMS = 2 };

static const uint64_t long_ms = 60000;
static const uint64_t short_ms = 1000; /* longer than freezing takes on a busy machine */

static struct disk disks[FILESYSTEMS];
static struct agent_mounts mounts;
static struct blx_error err;

static void ok(int r)
{
    if (r < 0)
        fail_msg("%d: %s", r, err.message);
}

/* Two ext4 filesystems on /mnt/0 and /mnt/1, found as the agent finds them. */
static int group_setup(void **state)
{
    (void)state;
    struct agent_device devices[FILESYSTEMS];
    for (int i = 0; i < FILESYSTEMS; i++) {
        disk_loop(&disks[i], 32 * MIB, -1);
        disk_shell("mkfs.ext4 -q -F %s && mkdir /mnt/%d && mount %s /mnt/%d", disks[i].path, i,
                   disks[i].path, i);
        ok(agent_device_find(disks[i].path, &devices[i], &err));
    }
    ok(agent_mounts_find(devices, FILESYSTEMS, &mounts, &err));
    assert_int_equal(mounts.count, FILESYSTEMS);
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    agent_mounts_done(&mounts);
    for (int i = 0; i < FILESYSTEMS; i++) {
        disk_shell("umount /mnt/%d", i);
        disk_done(&disks[i]);
    }
    return 0;
}

/* After each test: one that failed must not leave the next one, or its own processes, hanging. */
static int thaw_all(void **state)
{
    (void)state;
    for (size_t i = 0; i < mounts.count; i++)
        (void)ioctl(mounts.mounts[i].fd, FITHAW, 0); /* fails unless it is frozen */
    return 0;
}

/* A write hangs in the kernel as long as the filesystem is frozen; so a process does it. */
static pid_t start_writer(int filesystem)
{
    pid_t pid = fork();
    if (pid == 0) {
        char path[64];
        snprintf(path, sizeof(path), "/mnt/%d/file", filesystem);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        _exit(fd >= 0 && write(fd, "x", 1) == 1 ? 0 : 1);
    }
    assert_true(pid > 0);
    return pid;
}

static void expect_thawed(void)
{
    for (int i = 0; i < FILESYSTEMS; i++)
        assert_int_equal(disk_wait(start_writer(i), 10), 0);
}

/* Frozen = a second freeze is refused. */
static bool is_frozen(int filesystem)
{
    if (ioctl(mounts.mounts[filesystem].fd, FIFREEZE, 0) < 0)
        return errno == EBUSY;
    assert_int_equal(ioctl(mounts.mounts[filesystem].fd, FITHAW, 0), 0);
    return false;
}

static struct agent_freezer *start(void)
{
    struct agent_freezer *freezer = NULL;
    blx_error_clear(&err);
    ok(agent_freezer_start(NULL, &freezer, &err));
    return freezer;
}

static void freeze_holds_all_until_it_is_told_to_thaw(void **state)
{
    (void)state;
    struct agent_freezer *freezer = start();
    struct agent_freeze_result result;
    uint64_t held_ns = 0;
    for (int round = 0; round < 3; round++) {
        uint64_t before_ns = blx_clock_ns();
        ok(agent_freeze(freezer, &mounts, long_ms, &result, &err));
        assert_int_equal(result.frozen, FILESYSTEMS);
        assert_int_equal(result.unsupported + result.foreign, 0);
        assert_string_equal(result.not_frozen, "");
        assert_true(before_ns < result.first_frozen_at_ns);
        assert_true(result.first_frozen_at_ns <= result.frozen_at_ns);
        assert_true(is_frozen(0) && is_frozen(1));
        assert_false(agent_freeze_expired(freezer));
        ok(agent_thaw(freezer, &held_ns, &err));
        assert_true(held_ns > 0 && held_ns <= blx_clock_ns() - before_ns);
        expect_thawed();
    }
    agent_freezer_stop(freezer);
}

/* The agent of the tests below: freezes, tells through the pipe, and does what it is told to do
 * then. */
static pid_t start_agent(uint64_t limit_ms, int *told_fd, void (*then)(struct agent_freezer *))
{
    int told[2];
    assert_int_equal(pipe2(told, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct agent_freezer *freezer = NULL;
        struct agent_freeze_result result = {0};
        if (agent_freezer_start(NULL, &freezer, NULL) < 0 ||
            agent_freeze(freezer, &mounts, limit_ms, &result, NULL) < 0 ||
            write(told[1], "f", 1) != 1)
            _exit(2);
        then(freezer);
        _exit(3);
    }
    close(told[1]);
    *told_fd = told[0];
    char c = 0;
    assert_int_equal(read(told[0], &c, 1), 1);
    return pid;
}

static void hang(struct agent_freezer *freezer)
{
    (void)freezer;
    for (;;)
        pause();
}

static void filesystems_of_a_killed_agent_are_thawed(void **state)
{
    (void)state;
    int told = -1;
    pid_t agent = start_agent(long_ms, &told, hang);
    assert_true(is_frozen(0) && is_frozen(1));
    kill(agent, SIGKILL);
    disk_wait(agent, 10);
    expect_thawed();
    close(told);
}

/* Killed while it freezes and thaws, at moments that nobody chose. */
static void agent_killed_at_any_moment_leaves_nothing_frozen(void **state)
{
    (void)state;
    for (int round = 0; round < 40; round++) {
        pid_t agent = fork();
        if (agent == 0) {
            struct agent_freezer *freezer = NULL;
            struct agent_freeze_result result;
            uint64_t held_ns;
            if (agent_freezer_start(NULL, &freezer, NULL) < 0)
                _exit(2);
            for (;;) {
                agent_freeze(freezer, &mounts, long_ms, &result, NULL);
                agent_thaw(freezer, &held_ns, NULL);
            }
        }
        struct timespec moment = {.tv_nsec = 2000000 + rand() % 20000000};
        nanosleep(&moment, NULL);
        kill(agent, SIGKILL);
        disk_wait(agent, 10);
        expect_thawed();
    }
}

static void end_by_exit(struct agent_freezer *freezer)
{
    (void)freezer;
    _exit(0);
}

static void filesystems_of_an_agent_that_ended_are_thawed(void **state)
{
    (void)state;
    int told = -1;
    pid_t agent = start_agent(long_ms, &told, end_by_exit);
    disk_wait(agent, 10);
    expect_thawed();
    close(told);
}

/* Says with its status whether the freeze has expired, once it is woken. */
static void stop_and_look(struct agent_freezer *freezer)
{
    uint64_t held_ns = 0;
    raise(SIGSTOP);
    bool expired = agent_freeze_expired(freezer);
    int r = agent_thaw(freezer, &held_ns, NULL);
    bool bounded = held_ns >= UINT64_C(250000000) && held_ns < UINT64_C(5000000000);
    agent_freezer_stop(freezer);
    _exit(expired && r == 0 && bounded ? 0 : 1);
}

static void filesystems_of_a_stopped_agent_are_thawed_at_the_limit(void **state)
{
    (void)state;
    int told = -1;
    pid_t agent = start_agent(250, &told, stop_and_look);
    expect_thawed();
    kill(agent, SIGCONT);
    assert_int_equal(disk_wait(agent, 10), 0);
    close(told);
}

static void limit_thaws_under_an_agent_that_reads_too_long(void **state)
{
    (void)state;
    struct agent_freezer *freezer = start();
    struct agent_freeze_result result;
    uint64_t held_ns = 0;
    ok(agent_freeze(freezer, &mounts, short_ms, &result, &err));
    assert_int_equal(result.frozen, FILESYSTEMS);
    expect_thawed();
    assert_true(agent_freeze_expired(freezer));
    assert_true(blx_clock_ns() - result.first_frozen_at_ns >= short_ms * 1000000);
    ok(agent_thaw(freezer, &held_ns, &err));
    /* The next one starts afresh. */
    ok(agent_freeze(freezer, &mounts, long_ms, &result, &err));
    assert_false(agent_freeze_expired(freezer));
    assert_int_equal(result.frozen, FILESYSTEMS);
    ok(agent_thaw(freezer, &held_ns, &err));
    agent_freezer_stop(freezer);
}

static void freeze_of_somebody_else_is_left_alone(void **state)
{
    (void)state;
    struct agent_freezer *freezer = start();
    struct agent_freeze_result result;
    uint64_t held_ns = 0;
    assert_int_equal(ioctl(mounts.mounts[0].fd, FIFREEZE, 0), 0);
    ok(agent_freeze(freezer, &mounts, short_ms, &result, &err));
    assert_int_equal(result.frozen, 1);
    assert_int_equal(result.foreign, 1);
    assert_string_equal(result.not_frozen, mounts.mounts[0].mount_point);
    assert_string_equal(result.cause, "was frozen by somebody else already");
    assert_int_equal(disk_wait(start_writer(1), 10), 0); /* until the limit has passed */
    assert_true(agent_freeze_expired(freezer));
    assert_true(is_frozen(0));
    ok(agent_thaw(freezer, &held_ns, &err));
    assert_true(is_frozen(0));
    agent_freezer_stop(freezer);
    assert_true(is_frozen(0));
    assert_int_equal(ioctl(mounts.mounts[0].fd, FITHAW, 0), 0);
}

static void foreign_thaw_is_told(void **state)
{
    (void)state;
    struct agent_freezer *freezer = start();
    struct agent_freeze_result result;
    uint64_t held_ns = 0;
    ok(agent_freeze(freezer, &mounts, long_ms, &result, &err));
    assert_int_equal(ioctl(mounts.mounts[1].fd, FITHAW, 0), 0);
    assert_int_equal(agent_thaw(freezer, &held_ns, &err), -ECANCELED);
    assert_non_null(strstr(err.message, mounts.mounts[1].mount_point));
    expect_thawed();
    agent_freezer_stop(freezer);
}

static void filesystem_without_a_freeze_is_counted(void **state)
{
    (void)state;
    struct agent_freezer *freezer = start();
    struct agent_freeze_result result;
    uint64_t held_ns = 0;
    struct agent_mount two[2] = {mounts.mounts[0], {.mount_point = "/mnt"}};
    two[1].fd = open("/mnt", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* tmpfs */
    struct agent_mounts some = {.mounts = two, .count = 2};
    ok(agent_freeze(freezer, &some, long_ms, &result, &err));
    assert_int_equal(result.frozen, 1);
    assert_int_equal(result.unsupported, 1);
    assert_string_equal(result.not_frozen, "/mnt");
    ok(agent_thaw(freezer, &held_ns, &err));
    close(two[1].fd);
    agent_freezer_stop(freezer);
}

static void read_name(pid_t pid, char name[32])
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/comm", pid);
    FILE *file = fopen(path, "re");
    if (file == NULL || fscanf(file, "%31s", name) != 1)
        name[0] = '\0';
    if (file != NULL)
        fclose(file);
}

/* The only child of that name: others were reaped. */
static pid_t find_guard(void)
{
    char path[64], name[32] = "";
    int pid = 0;
    snprintf(path, sizeof(path), "/proc/self/task/%d/children", getpid());
    FILE *children = fopen(path, "re");
    assert_non_null(children);
    while (strcmp(name, "blxrep-guard") != 0) {
        assert_int_equal(fscanf(children, "%d", &pid), 1);
        read_name(pid, name);
    }
    fclose(children);
    return pid;
}

static void nothing_is_frozen_without_a_guard(void **state)
{
    (void)state;
    struct agent_freezer *freezer = start();
    struct agent_freeze_result result;
    uint64_t held_ns = 0;
    pid_t guard = find_guard();
    assert_true(guard > 0);
    kill(guard, SIGKILL);
    assert_int_equal(agent_freeze(freezer, &mounts, long_ms, &result, &err), -EPIPE);
    expect_thawed();
    agent_freezer_stop(freezer);
    freezer = start();
    ok(agent_freeze(freezer, &mounts, long_ms, &result, &err));
    assert_int_equal(result.frozen, FILESYSTEMS);
    ok(agent_thaw(freezer, &held_ns, &err));
    agent_freezer_stop(freezer);
}

static void guard_does_not_end_by_signals_to_the_service(void **state)
{
    (void)state;
    struct agent_freezer *freezer = start();
    struct agent_freeze_result result;
    uint64_t held_ns = 0;
    pid_t guard = find_guard();
    assert_true(guard > 0);
    assert_int_equal(getpgid(guard), guard);
    const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGPIPE, SIGUSR1};
    for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
        kill(guard, signals[i]);
    ok(agent_freeze(freezer, &mounts, long_ms, &result, &err));
    ok(agent_thaw(freezer, &held_ns, &err));
    agent_freezer_stop(freezer);
}

/* Puts a writer into the middle of a write on /mnt/0, where a FIFREEZE has to wait for it. Ends
 * when the pipe is fed. */
static pid_t start_writer_in_the_middle(int *feed_fd)
{
    int data[2];
    assert_int_equal(pipe2(data, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(data[1]);
        int fd = open("/mnt/0/file", O_WRONLY | O_CREAT, 0600);
        _exit(splice(data[0], NULL, fd, NULL, 4096, 0) >= 0 ? 0 : 1);
    }
    close(data[0]);
    *feed_fd = data[1];
    char path[64], text[64] = "";
    snprintf(path, sizeof(path), "/proc/%d/wchan", pid);
    /* Nothing tells when it waits inside; its state does. */
    for (int i = 0; i < 500 && strstr(text, "pipe") == NULL; i++) {
        FILE *file = fopen(path, "re");
        if (file == NULL || fgets(text, sizeof(text), file) == NULL)
            text[0] = '\0';
        if (file != NULL)
            fclose(file);
        poll(NULL, 0, 10);
    }
    print_message("writer waits in %s\n", text);
    return pid;
}

/* Whether a helper of this test, whoever has it, is in an uninterruptible wait. */
static bool has_waiting_helper(void)
{
    bool found = false;
    DIR *processes = opendir("/proc");
    assert_non_null(processes);
    for (struct dirent *entry; (entry = readdir(processes)) != NULL;) {
        char path[64], name[32] = "", state = '?';
        int group = 0;
        snprintf(path, sizeof(path), "/proc/%.20s/stat", entry->d_name);
        FILE *file = atoi(entry->d_name) > 0 ? fopen(path, "re") : NULL;
        if (file == NULL)
            continue;
        found |= fscanf(file, "%*d %31s %c %*d %d", name, &state, &group) == 3 && state == 'D' &&
                 group == getpgrp() && strcmp(name, "(blxrep-helper)") == 0;
        fclose(file);
    }
    closedir(processes);
    return found;
}

/*
 * Until a helper has been in an uninterruptible wait for longer than any other freeze here takes,
 * which nothing tells either: a FIFREEZE that goes through waits for its disk, too, but not so
 * long.
 */
static void wait_until_it_hangs(void)
{
    enum { SAMPLE_MS = 5, HANG_SAMPLES = 100 };
    int hanging = 0;
    for (int i = 0; i < 4000 && hanging < HANG_SAMPLES; i++) {
        hanging = has_waiting_helper() ? hanging + 1 : 0;
        poll(NULL, 0, SAMPLE_MS);
    }
    assert_int_equal(hanging, HANG_SAMPLES);
}

static void freeze_that_hangs_is_thawed_when_it_is_through(void **state)
{
    (void)state;
    int feed = -1;
    pid_t writer = start_writer_in_the_middle(&feed);
    pid_t agent = fork();
    if (agent == 0) {
        struct agent_freezer *freezer = NULL;
        struct agent_freeze_result result;
        close(feed);
        if (agent_freezer_start(NULL, &freezer, NULL) < 0)
            _exit(2);
        _exit(agent_freeze(freezer, &mounts, short_ms, &result, NULL) == -ETIMEDOUT &&
                      result.frozen == 0
                  ? 0
                  : 1);
    }
    /* /mnt/1, frozen first, is thawed at the limit, while the FIFREEZE of /mnt/0 still hangs. */
    wait_until_it_hangs();
    assert_int_equal(disk_wait(start_writer(1), 10), 0);
    assert_int_equal(waitpid(agent, NULL, WNOHANG), 0);
    close(feed);
    disk_wait(writer, 10);
    assert_int_equal(disk_wait(agent, 10), 0);
    expect_thawed();
}

/* As KillMode=control-group does it. What the two leave frozen the next agent thaws. */
static void filesystems_of_a_killed_agent_and_guard_are_thawed_by_the_next(void **state)
{
    (void)state;
    char dir[] = "/tmp/blx-freeze-XXXXXX";
    int told[2];
    pid_t guard = 0;
    assert_non_null(mkdtemp(dir));
    assert_int_equal(pipe2(told, O_CLOEXEC), 0);
    pid_t agent = fork();
    if (agent == 0) {
        struct agent_freezer *freezer = NULL;
        struct agent_freeze_result result;
        if (agent_freezer_start(dir, &freezer, NULL) < 0 ||
            agent_freeze(freezer, &mounts, long_ms, &result, NULL) < 0)
            _exit(2);
        guard = find_guard();
        if (write(told[1], &guard, sizeof(guard)) != sizeof(guard))
            _exit(2);
        for (;;)
            pause();
    }
    close(told[1]);
    assert_int_equal(read(told[0], &guard, sizeof(guard)), sizeof(guard));
    close(told[0]);
    agent_freeze_recover(dir); /* it lives: nothing is its predecessor's */
    assert_true(is_frozen(0) && is_frozen(1));
    kill(guard, SIGKILL);
    kill(agent, SIGKILL);
    disk_wait(agent, 10);
    assert_true(is_frozen(0) && is_frozen(1));
    agent_freeze_recover(dir);
    expect_thawed();
    assert_int_equal(rmdir(dir), 0); /* the record is gone */
}

/* A freeze that ended in order leaves no record that somebody could act on later. */
static void records_are_empty_after_the_thaw(void **state)
{
    (void)state;
    char dir[] = "/tmp/blx-freeze-XXXXXX";
    assert_non_null(mkdtemp(dir));
    struct agent_freezer *freezer = NULL;
    struct agent_freeze_result result;
    uint64_t held_ns = 0;
    ok(agent_freezer_start(dir, &freezer, &err));
    ok(agent_freeze(freezer, &mounts, long_ms, &result, &err));
    ok(agent_thaw(freezer, &held_ns, &err));
    agent_freezer_stop(freezer);
    assert_int_equal(rmdir(dir), 0);
}

/* In a copied mount namespace the listing may have them the other way round: the order comes from
 * what lies in what. A wrong one would wait for the limit, or for ever. */
static void filesystem_in_a_file_is_frozen_before_the_one_that_carries_it(void **state)
{
    (void)state;
    struct agent_device device;
    struct agent_mounts found;
    struct agent_freeze_result result;
    uint64_t held_ns = 0;
    disk_shell("truncate -s 8M /mnt/0/image && mkfs.ext4 -q -F /mnt/0/image && mkdir -p /mnt/in && "
               "mount -o loop /mnt/0/image /mnt/in && umount -l /mnt/0 && mount %s /mnt/0 && "
               "head -c 1M /dev/urandom > /mnt/in/file",
               disks[0].path);
    ok(agent_device_find(disks[0].path, &device, &err));
    ok(agent_mounts_find(&device, 1, &found, &err));
    assert_int_equal(found.count, 2);
    assert_string_equal(found.mounts[0].mount_point, "/mnt/0");
    assert_string_equal(found.mounts[1].mount_point, "/mnt/in");
    struct agent_freezer *freezer = start();
    ok(agent_freeze(freezer, &found, 5000, &result, &err));
    assert_int_equal(result.frozen, 2);
    ok(agent_thaw(freezer, &held_ns, &err));
    agent_freezer_stop(freezer);
    agent_mounts_done(&found);
    disk_shell("umount /mnt/in && rm /mnt/0/image");
}

enum { MANY = 130 };

/* More than fit one message to the guard; a second descriptor of a filesystem is refused as
 * frozen. */
static void any_number_of_filesystems_is_frozen(void **state)
{
    (void)state;
    struct agent_freezer *freezer = start();
    struct agent_freeze_result result;
    uint64_t held_ns = 0;
    struct agent_mount *many = calloc(MANY, sizeof(*many));
    assert_non_null(many);
    for (size_t i = 0; i < MANY; i++) {
        snprintf(many[i].mount_point, sizeof(many[i].mount_point), "/mnt");
        many[i].fd = open("/mnt", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* tmpfs */
    }
    for (size_t i = 0; i < FILESYSTEMS; i++) {
        close(many[i * (MANY - 1)].fd);
        many[i * (MANY - 1)] = mounts.mounts[i];
    }
    struct agent_mounts some = {.mounts = many, .count = MANY};
    ok(agent_freeze(freezer, &some, long_ms, &result, &err));
    assert_int_equal(result.frozen, FILESYSTEMS);
    assert_int_equal(result.unsupported, MANY - FILESYSTEMS);
    assert_true(agent_freeze_holds(freezer, 0) && agent_freeze_holds(freezer, MANY - 1));
    assert_false(agent_freeze_holds(freezer, 1));
    assert_true(is_frozen(0) && is_frozen(1));
    ok(agent_thaw(freezer, &held_ns, &err));
    expect_thawed();
    agent_freezer_stop(freezer);
    for (size_t i = 1; i < MANY - 1; i++)
        close(many[i].fd);
    free(many);
}

int main(void)
{
    disk_world_enter();
#define TEST(name) cmocka_unit_test_teardown(name, thaw_all)
    const struct CMUnitTest tests[] = {
        TEST(freeze_holds_all_until_it_is_told_to_thaw),
        TEST(filesystems_of_a_killed_agent_are_thawed),
        TEST(agent_killed_at_any_moment_leaves_nothing_frozen),
        TEST(filesystems_of_an_agent_that_ended_are_thawed),
        TEST(filesystems_of_a_stopped_agent_are_thawed_at_the_limit),
        TEST(limit_thaws_under_an_agent_that_reads_too_long),
        TEST(freeze_of_somebody_else_is_left_alone),
        TEST(foreign_thaw_is_told),
        TEST(filesystem_without_a_freeze_is_counted),
        TEST(nothing_is_frozen_without_a_guard),
        TEST(guard_does_not_end_by_signals_to_the_service),
        TEST(freeze_that_hangs_is_thawed_when_it_is_through),
        TEST(filesystems_of_a_killed_agent_and_guard_are_thawed_by_the_next),
        TEST(records_are_empty_after_the_thaw),
        TEST(any_number_of_filesystems_is_frozen),
        TEST(filesystem_in_a_file_is_frozen_before_the_one_that_carries_it),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
