/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blxrep-mount: shows an agent's checkpoints as files. `blxrep dispatcher mount` becomes it.
 *
 *     parent   waits until the mount is ready, and tells how that went
 *     child    opens what is root's, mounts, becomes the data directory's owner, answers
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "config/config.h"
#include "crypt/keyring.h"
#include "mount/serve.h"
#include "mount/tree.h"
#include "store/checkpoint/manifest_file.h"
#include "store/mounts.h"
#include "store/owner.h"

static const char usage[] =
    "blxrep dispatcher mount --agent=ID --data-dir=DIR [--checkpoint=TIMESTAMP]\n"
    "       [--writable[=FILE]] [--key=FILE ...] [--foreground] [--idle=TIME] MOUNTPOINT";
static const char description[] =
    "Shows an agent's checkpoints as folders with an image of each disk and of each partition.";

struct job {
    const struct blx_config *config;
    struct blx_store store;
    struct blx_keyring keys;
    struct blx_overlay *overlay; /* owned until the tree has it */
    struct mount_serve *serve;
    struct mount_tree *tree;
    char mountpoint[PATH_MAX];
    char source[BLX_MOUNT_SOURCE_BYTES];
    int ready_fd; /* -1: in the foreground */
};

static int fail(const struct blx_error *err)
{
    fprintf(stderr, "blxrep: %s\n", err->message);
    return BLX_EXIT_FAILED;
}

static int read_keys(struct job *job, struct blx_error *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < job->config->key_count; i++)
        rc = blx_keyring_add(&job->keys, job->config->keys[i], err);
    return rc;
}

/* What is the caller's: paths that the data directory's owner may not come to. */
static int open_callers(struct job *job, struct blx_error *err)
{
    int rc = read_keys(job, err);
    if (rc == 0 && job->config->writable != NULL)
        rc = blx_overlay_open(job->config->writable, BLX_OVERLAY_WRITE, &job->overlay, err);
    if (rc == 0 && realpath(job->config->mountpoint, job->mountpoint) == NULL)
        rc = blx_error_errno(err, -errno, "cannot mount at '%s'", job->config->mountpoint);
    return rc;
}

/* The checkpoint that is asked for; 0: all of them. Its key must be there, and the newest one's. */
static int choose(const struct job *job, struct blx_agent_store agent, blx_timestamp *only,
                  struct blx_error *err)
{
    BLX_CLEANUP_MANIFEST struct blx_manifest manifest = {0};
    const char *wanted = job->config->checkpoint;
    blx_timestamp timestamp;
    int rc = blx_manifest_resolve(agent, wanted != NULL ? wanted : "latest", &timestamp, err);
    if (rc == 0)
        rc = blx_manifest_read(agent, timestamp, &manifest, err);
    for (uint32_t i = 0; rc == 0 && i < manifest.volume_count; i++) {
        const struct blx_key *key;
        rc = blx_keyring_choose(&job->keys, &manifest.volumes[i].key_id, &key, err);
    }
    *only = wanted != NULL ? timestamp : 0;
    return rc;
}

/* A checkpoint that was asked for by name is opened at once, so that what is wrong is told here. */
static int try_checkpoint(struct mount_tree *tree, blx_timestamp only, struct blx_error *err)
{
    uint64_t number;
    if (only == 0)
        return 0;
    int rc = mount_tree_find(tree, only, &number);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot open the checkpoint %llu",
                               (unsigned long long)only);
    rc = mount_checkpoint_get(mount_tree_at(tree, number), err);
    if (rc == 0)
        mount_checkpoint_put(mount_tree_at(tree, number));
    return rc;
}

/* As the owner of the data directory, from here on. */
static int open_tree(struct job *job, struct blx_error *err)
{
    const struct blx_config *config = job->config;
    struct mount_tree_config tree = {.keys = &job->keys,
                                     .cache_bytes = BLX_FRAME_CACHE_DEFAULT_BYTES};
    char data_dir[PATH_MAX]; /* not relative to the folder that is left later */
    enum blx_owner owner = BLX_OWNER_KEPT;
    int rc = blx_owner_become(config->data_dir, &owner, err);
    if (rc == 0 && realpath(config->data_dir, data_dir) == NULL)
        rc = blx_error_errno(err, -errno, "cannot find '%s'", config->data_dir);
    if (rc == 0)
        rc = blx_store_open(data_dir, BLX_STORE_READ, &job->store, err);
    if (rc < 0)
        return rc;
    tree.agent = blx_store_agent(&job->store, config->agent);
    rc = choose(job, tree.agent, &tree.only, err);
    tree.overlay = job->overlay;
    if (rc == 0)
        rc = mount_tree_new(&tree, &job->tree, err);
    if (rc == 0)
        job->overlay = NULL; /* it is the tree's now */
    return rc == 0 ? try_checkpoint(job->tree, tree.only, err) : rc;
}

/* What the table of mounts shows is needed before the store may be touched. */
static int name_source(struct job *job, struct blx_error *err)
{
    struct blx_store named = {.lock_fd = -1};
    int rc =
        blx_path_format(named.data_dir, sizeof(named.data_dir), err, "%s", job->config->data_dir);
    return rc == 0 ? blx_mounts_source(blx_store_agent(&named, job->config->agent),
                                       job->config->checkpoint, job->source, err)
                   : rc;
}

static int mount_it(struct job *job, struct blx_error *err)
{
    struct mount_serve_config serve = {.mountpoint = job->mountpoint,
                                       .source = job->source,
                                       .writable = job->config->writable != NULL,
                                       .idle_ms = job->config->idle_ms};
    int rc = open_callers(job, err);
    if (rc == 0)
        rc = name_source(job, err);
    if (rc == 0)
        rc = mount_serve_open(&serve, &job->serve, err);
    return rc == 0 ? open_tree(job, err) : rc;
}

/* The parent ends; whatever it was started from gets its output's end. */
static void tell_parent(void *arg)
{
    struct job *job = arg;
    if (job->ready_fd < 0)
        return;
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    char ready = 1;
    for (int fd = STDIN_FILENO; null >= 0 && fd <= STDERR_FILENO; fd++)
        dup2(null, fd);
    while (write(job->ready_fd, &ready, 1) < 0 && errno == EINTR)
        ;
    close(job->ready_fd);
    job->ready_fd = -1;
}

static int run(const struct blx_config *config, int ready_fd)
{
    struct job job = {.config = config, .ready_fd = ready_fd, .store.lock_fd = -1};
    struct blx_error err = {0};
    blx_raise_file_limit(); /* a chain has many segments */
    int rc = mount_it(&job, &err);
    if (rc == 0 && ready_fd >= 0 && chdir("/") != 0)
        rc = blx_error_errno(&err, -errno, "cannot leave the folder");
    if (rc == 0)
        rc = mount_serve_run(job.serve, job.tree, tell_parent, &job, &err);
    if (rc < 0)
        fail(&err);
    mount_serve_close(job.serve);
    mount_tree_free(job.tree);
    blx_overlay_close(job.overlay);
    blx_store_close(&job.store);
    blx_keyring_done(&job.keys);
    return rc < 0 ? BLX_EXIT_FAILED : BLX_EXIT_OK;
}

/* The child's exit code, or 0 as soon as it is ready. */
static int await_child(pid_t child, int ready_fd)
{
    char ready = 0;
    int status;
    ssize_t got;
    do
        got = read(ready_fd, &ready, 1);
    while (got < 0 && errno == EINTR);
    if (got == 1)
        return BLX_EXIT_OK;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : BLX_EXIT_FAILED;
}

static int run_in_background(const struct blx_config *config)
{
    struct blx_error err = {0};
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        blx_error_errno(&err, -errno, "cannot start in the background");
        return fail(&err);
    }
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        setsid();
        return run(config, ends[1]);
    }
    close(ends[1]);
    if (child < 0) {
        close(ends[0]);
        blx_error_errno(&err, -errno, "cannot start in the background");
        return fail(&err);
    }
    int code = await_child(child, ends[0]);
    close(ends[0]);
    return code;
}

int main(int argc, char **argv)
{
    static const struct blx_config_program program = {
        .name = "blxrep-mount",
        .command = BLX_COMMAND_MOUNT,
        .help = {.usage = usage, .description = description}};
    BLX_CLEANUP_CONFIG struct blx_config config = {0};
    struct blx_error err = {0};
    enum blx_config_result result;
    int rc = blx_config_begin(&program, argc, argv, stdout, &config, &result, &err);
    if (rc == 0 && result != BLX_CONFIG_RUN)
        return BLX_EXIT_OK;
    if (rc < 0) {
        fail(&err);
        return BLX_EXIT_USAGE;
    }
    signal(SIGPIPE, SIG_IGN);
    return config.foreground ? run(&config, -1) : run_in_background(&config);
}
