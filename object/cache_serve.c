/* SPDX-License-Identifier: Apache-2.0 */
/* The server of a cache: whoever reads a part of a segment asks it for the whole. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "object/cache_private.h"
#include "store/segment/segment_part.h"

enum { BACKLOG = 128, ASK_TIMEOUT_S = 10 };

int object_cache_listen(const struct object_cache *cache, int *listen_fd, struct blx_error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    BLX_CLEANUP_FD int dir = blx_open(cache->run_dir, O_PATH | O_DIRECTORY, 0, err);
    if (dir < 0)
        return dir;
    BLX_CLEANUP_FD int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/%s", dir,
             BLX_SEGMENT_FETCH_SOCKET);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        listen(fd, BACKLOG) != 0)
        return blx_error_errno(err, -errno, "cannot listen in '%s'", cache->run_dir);
    *listen_fd = blx_take_fd(&fd);
    return 0;
}

/* Has the piece made whole; whoever asks goes before what is fetched ahead. */
static int make_whole_locked(struct object_cache *cache, const struct object_cache_piece *piece,
                             struct blx_error *err)
{
    char path[PATH_MAX];
    struct stat st;
    int rc = blx_path_format(path, sizeof(path), err, "%s/%s", cache->run_dir, piece->path);
    if (rc < 0)
        return rc;
    if (stat(path, &st) != 0)
        return blx_error_errno(err, -errno, "cannot read '%s'", path);
    return blx_segment_is_part(&st)
               ? object_cache_place(cache, piece->key, &piece->object, path, err)
               : 0;
}

static const struct object_cache_piece *find(const struct object_cache *cache, const char *path)
{
    for (size_t i = 0; path[0] != '\0' && i < cache->count; i++)
        if (strcmp(cache->pieces[i].path, path) == 0)
            return &cache->pieces[i];
    return NULL;
}

struct asker {
    struct object_cache *cache;
    int fd; /* owned */
};

/* The line without its end; false: there is none. */
static bool read_line(int fd, char *line, size_t bytes)
{
    size_t got = 0;
    while (got + 1 < bytes) {
        ssize_t more = read(fd, line + got, bytes - 1 - got);
        if (more <= 0 && errno != EINTR)
            return false;
        got += more > 0 ? (size_t)more : 0;
        line[got] = '\0';
        char *end = strchr(line, '\n');
        if (end != NULL) {
            *end = '\0';
            return true;
        }
    }
    return false;
}

static void *answer(void *arg)
{
    struct asker *asker = arg;
    struct object_cache *cache = asker->cache;
    char line[PATH_MAX];
    struct blx_error err = {0};
    const char *text = "ok";
    if (read_line(asker->fd, line, sizeof(line))) {
        const struct object_cache_piece *piece = find(cache, line);
        pthread_mutex_lock(&cache->lock);
        cache->waiting++;
        pthread_mutex_unlock(&cache->lock);
        pthread_mutex_lock(&cache->depot_lock);
        if (piece == NULL)
            text = "it is no part of this copy";
        else if (make_whole_locked(cache, piece, &err) < 0)
            text = err.message;
        pthread_mutex_unlock(&cache->depot_lock);
        pthread_mutex_lock(&cache->lock);
        if (--cache->waiting == 0)
            pthread_cond_broadcast(&cache->changed);
        pthread_mutex_unlock(&cache->lock);
        send(asker->fd, text, strlen(text), MSG_NOSIGNAL); /* or the reader has ended */
    }
    close(asker->fd);
    pthread_mutex_lock(&cache->lock);
    cache->asking--;
    pthread_cond_broadcast(&cache->changed);
    pthread_mutex_unlock(&cache->lock);
    free(asker);
    return NULL;
}

static void take_asker(struct object_cache *cache, int fd)
{
    const struct timeval patience = {.tv_sec = ASK_TIMEOUT_S};
    pthread_t thread;
    struct asker *asker = malloc(sizeof(*asker));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    if (asker == NULL) {
        close(fd);
        return;
    }
    *asker = (struct asker){.cache = cache, .fd = fd};
    pthread_mutex_lock(&cache->lock);
    cache->asking++;
    pthread_mutex_unlock(&cache->lock);
    if (pthread_create(&thread, NULL, answer, asker) == 0)
        pthread_detach(thread);
    else
        answer(asker); /* then one after the other */
}

/* True: it is this thread's turn. */
static bool wait_for_quiet(struct object_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    while (!cache->stopped && cache->waiting > 0)
        pthread_cond_wait(&cache->changed, &cache->lock);
    bool go_on = !cache->stopped;
    pthread_mutex_unlock(&cache->lock);
    return go_on;
}

static void *fetch_ahead(void *arg)
{
    struct object_cache *cache = arg;
    for (size_t i = 0; i < cache->count && wait_for_quiet(cache); i++) {
        if (cache->pieces[i].path[0] == '\0')
            continue;
        pthread_mutex_lock(&cache->depot_lock);
        make_whole_locked(cache, &cache->pieces[i], NULL); /* or whoever needs it hears why */
        pthread_mutex_unlock(&cache->depot_lock);
    }
    return NULL;
}

static void stop(struct object_cache *cache)
{
    pthread_mutex_lock(&cache->lock);
    cache->stopped = true;
    pthread_cond_broadcast(&cache->changed);
    while (cache->asking > 0)
        pthread_cond_wait(&cache->changed, &cache->lock);
    pthread_mutex_unlock(&cache->lock);
}

void object_cache_serve(struct object_cache *cache, int listen_fd, int life_fd)
{
    pthread_t ahead;
    bool goes_ahead =
        cache->want == OBJECT_CACHE_AHEAD && pthread_create(&ahead, NULL, fetch_ahead, cache) == 0;
    struct pollfd fds[] = {{.fd = listen_fd, .events = POLLIN}, {.fd = life_fd, .events = POLLIN}};
    while (poll(fds, 2, -1) > 0 || errno == EINTR) {
        if (fds[1].revents != 0)
            break;
        if (fds[0].revents == 0)
            continue;
        int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            take_asker(cache, fd);
    }
    stop(cache);
    if (goes_ahead)
        pthread_join(ahead, NULL);
}
