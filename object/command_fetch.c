/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `fetch-lists`, `fetch-tails`, `fetch-ahead`, `fetch-wholes`: makes a data directory of copies in
 * the cache, for the command that has started us. Prints its path when it is ready, goes on in the
 * background, and removes it when the standard input ends, which the command and whatever it
 * becomes keep open.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/array.h"
#include "base/io.h"
#include "object/cache.h"
#include "object/commands.h"

struct agents {
    char (*ids)[BLX_NAME_BYTES]; /* owned */
    size_t count;
};

static int take_agent(void *arg, const char *name)
{
    struct agents *agents = arg;
    if (blx_name_check("agent ID", name, NULL) < 0)
        return 0;
    if (blx_array_make_room(agents->ids, agents->count) < 0)
        return -ENOMEM;
    snprintf(agents->ids[agents->count++], BLX_NAME_BYTES, "%s", name);
    return 0;
}

static int add_all(struct object_cache *cache, const struct blx_config *config,
                   struct blx_error *err)
{
    struct agents agents = {0};
    int rc = object_depot_list_folders(cache->depot, "agents/", take_agent, &agents, err);
    if (rc == 0 && agents.count == 0)
        rc = blx_error_set(err, -ENOENT, "'%s' has no copies", object_depot_name(cache->depot));
    for (size_t i = 0; rc == 0 && i < agents.count; i++)
        rc = object_cache_add(cache, agents.ids[i], config->checkpoint, err);
    free(agents.ids);
    return rc;
}

/* Where the cache is if nobody says it. */
static int find_cache(const struct blx_config *config, char path[PATH_MAX], struct blx_error *err)
{
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (config->cache_dir != NULL)
        return blx_path_format(path, PATH_MAX, err, "%s", config->cache_dir);
    if (geteuid() == 0)
        return blx_path_format(path, PATH_MAX, err, "/var/cache/blxrep");
    if (base != NULL && base[0] == '/')
        return blx_path_format(path, PATH_MAX, err, "%s/blxrep", base);
    if (home != NULL && home[0] == '/')
        return blx_path_format(path, PATH_MAX, err, "%s/.cache/blxrep", home);
    return blx_error_set(err, -ENOENT, "there is no place for a cache: give --cache-dir=DIR");
}

/* In the background, where the command's end does not kill us: we see it ourselves. */
static int go_on(struct object_cache *cache, int listen_fd, struct blx_error *err)
{
    printf("%s\n", cache->run_dir);
    if (fflush(stdout) != 0)
        return blx_error_errno(err, -errno, "cannot tell the cache's place");
    pid_t pid = fork();
    if (pid < 0)
        return blx_error_errno(err, -errno, "cannot go on in the background");
    if (pid > 0)
        _exit(BLX_EXIT_OK);
    setsid();
    /* Whoever reads what the command prints must not wait for us. Failures go to those who ask. */
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDOUT_FILENO);
        dup2(null, STDERR_FILENO);
        close(null);
    }
    object_cache_serve(cache, listen_fd, STDIN_FILENO);
    return 0;
}

static int fetch(const struct blx_config *config, enum object_cache_want want,
                 struct blx_error *err)
{
    struct object_depot *depot = NULL;
    struct object_cache cache = {.alive_fd = -1, .store = {.lock_fd = -1, .folder_fd = -1}};
    char path[PATH_MAX];
    int listen_fd = -1;
    int rc = find_cache(config, path, err);
    if (rc == 0)
        rc = object_depot_open(config->data_dir, config, &depot, err);
    if (rc < 0)
        return rc;
    rc = object_cache_open(&cache, path, depot, want, config->cache_bytes, err);
    if (rc == 0)
        rc = config->agent != NULL
                 ? object_cache_add(&cache, config->agent, config->checkpoint, err)
                 : add_all(&cache, config, err);
    if (rc == 0)
        rc = object_cache_listen(&cache, &listen_fd, err);
    if (rc == 0)
        rc = go_on(&cache, listen_fd, err);
    if (listen_fd >= 0)
        close(listen_fd);
    object_cache_close(&cache);
    object_depot_close(depot);
    return rc < 0 ? rc : BLX_EXIT_OK;
}

int object_command_fetch_lists(const struct blx_config *config, struct blx_error *err)
{
    return fetch(config, OBJECT_CACHE_LISTS, err);
}

int object_command_fetch_tails(const struct blx_config *config, struct blx_error *err)
{
    return fetch(config, OBJECT_CACHE_TAILS, err);
}

int object_command_fetch_ahead(const struct blx_config *config, struct blx_error *err)
{
    return fetch(config, OBJECT_CACHE_AHEAD, err);
}

int object_command_fetch_wholes(const struct blx_config *config, struct blx_error *err)
{
    return fetch(config, OBJECT_CACHE_WHOLES, err);
}
