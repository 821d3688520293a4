/* SPDX-License-Identifier: Apache-2.0 */
#include "page/feed.h"

#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "page/html.h"
#include "page/reply.h"

enum { PIECE_BYTES = 16 * 1024, HELLO_BYTES = 128 };

/* A text that listeners get. Shared: the lock guards the count. */
struct event {
    unsigned holders;
    size_t bytes;
    char *text;
};

struct page_feed {
    struct page_ask *ask;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* an event came, a listener came, or the end */
    bool stopping;          /* the lock guards it and what follows */
    unsigned listeners;
    uint64_t looks;  /* since somebody listens: 0 means that there is nothing to compare with yet */
    uint64_t newest; /* the number of the newest event; 0: none yet */
    struct event *events[PAGE_FEED_KEPT]; /* the newest at newest % KEPT */
    json_t *before;                       /* the thread's own: the last status */
    bool failed;                          /* the thread's own: the last one could not be asked */
};

struct listener {
    struct page_feed *feed;
    uint64_t seen;       /* the newest event that it has */
    struct event *event; /* that it is sent just now; held; NULL: none */
    size_t at;           /* how far */
    bool greeted;
};

static void drop_locked(struct event *event)
{
    if (event == NULL || --event->holders > 0)
        return;
    free(event->text);
    free(event);
}

/* `data` becomes the callee's; one line of JSON. */
static struct event *make_event(const char *name, char *data)
{
    struct event *event = calloc(1, sizeof(*event));
    size_t room = (data != NULL ? strlen(data) : 0) + HELLO_BYTES;
    char *text = malloc(room);
    if (event == NULL || data == NULL || text == NULL) {
        free(event);
        free(data);
        free(text);
        return NULL;
    }
    event->holders = 1;
    event->text = text;
    event->bytes = (size_t)snprintf(text, room, "event: %s\ndata: %s\n\n", name, data);
    free(data);
    return event;
}

static void publish(struct page_feed *feed, struct event *event)
{
    if (event == NULL)
        return;
    pthread_mutex_lock(&feed->lock);
    feed->newest++;
    struct event **place = &feed->events[feed->newest % PAGE_FEED_KEPT];
    drop_locked(*place);
    *place = event;
    pthread_cond_broadcast(&feed->changed);
    pthread_mutex_unlock(&feed->lock);
}

/* The same agent, but for what only the clock moves. */
static bool is_same(const json_t *now, const json_t *before)
{
    static const char *const moving[] = {"age", "away_ms", "connected_ms"};
    json_t *a = json_copy((json_t *)(uintptr_t)now), *b = json_copy((json_t *)(uintptr_t)before);
    for (size_t i = 0; i < sizeof(moving) / sizeof(moving[0]); i++) {
        json_object_del(a, moving[i]);
        json_object_del(b, moving[i]);
    }
    bool same = json_equal(a, b) != 0;
    json_decref(a);
    json_decref(b);
    return same;
}

static const json_t *find_agent(const json_t *status, const char *id, size_t hint)
{
    const json_t *near = json_array_get(status, hint);
    if (strcmp(page_json_text(near, "id"), id) == 0)
        return near;
    for (size_t i = 0; i < json_array_size(status); i++)
        if (strcmp(page_json_text(json_array_get(status, i), "id"), id) == 0)
            return json_array_get(status, i);
    return NULL;
}

static void add_changed(const json_t *now, const json_t *before, json_t *changed)
{
    for (size_t i = 0; i < json_array_size(now); i++) {
        json_t *agent = json_array_get(now, i);
        const json_t *was = find_agent(before, page_json_text(agent, "id"), i);
        if (was == NULL || !is_same(agent, was))
            json_array_append(changed, agent);
    }
}

static void add_removed(const json_t *now, const json_t *before, json_t *removed)
{
    for (size_t i = 0; i < json_array_size(before); i++) {
        const char *id = page_json_text(json_array_get(before, i), "id");
        if (find_agent(now, id, i) == NULL)
            json_array_append_new(removed, json_string(id));
    }
}

/* NULL: nothing changed, or there is no memory. */
static struct event *compare(const json_t *now, const json_t *before)
{
    json_t *changed = json_array(), *removed = json_array();
    struct event *event = NULL;
    add_changed(now, before, changed);
    add_removed(now, before, removed);
    json_t *told = json_pack("{s:O, s:O}", "agents", changed, "removed", removed);
    if (told != NULL && json_array_size(changed) + json_array_size(removed) > 0)
        event = make_event("status", json_dumps(told, JSON_COMPACT));
    json_decref(told);
    json_decref(changed);
    json_decref(removed);
    return event;
}

static struct event *tell_failure(const char *message)
{
    json_t *told = json_pack("{s:s}", "error", message);
    struct event *event = make_event("error", json_dumps(told, JSON_COMPACT));
    json_decref(told);
    return event;
}

static void look(struct page_feed *feed)
{
    const struct page_question question = {.words = {"status", "--json"},
                                           .fresh_ms = PAGE_ASK_KEPT_MS};
    struct page_answer *answer = NULL;
    struct blx_error err = {0};
    int rc = page_ask(feed->ask, &question, &answer, &err);
    json_t *now = rc == 0 ? json_loadb(answer->text, answer->bytes, 0, NULL) : NULL;
    if (rc == 0)
        page_ask_drop(feed->ask, answer);
    if (now == NULL) {
        if (!feed->failed)
            publish(feed, tell_failure(rc < 0 ? err.message : "status printed no JSON"));
        feed->failed = true;
        return;
    }
    if (feed->failed) /* all pages show that it could not be asked */
        publish(feed, make_event("reload", strdup("{}")));
    else if (feed->before != NULL)
        publish(feed, compare(now, feed->before));
    json_decref(feed->before);
    feed->before = now;
    feed->failed = false;
}

static void *run(void *arg)
{
    struct page_feed *feed = arg;
    pthread_mutex_lock(&feed->lock);
    while (!feed->stopping) {
        if (feed->listeners == 0) {
            pthread_cond_wait(&feed->changed, &feed->lock);
            continue;
        }
        pthread_mutex_unlock(&feed->lock);
        look(feed);
        pthread_mutex_lock(&feed->lock);
        feed->looks++;
        pthread_cond_broadcast(&feed->changed);
        uint64_t next_ns = blx_deadline_in_ms(PAGE_FEED_MS);
        while (!feed->stopping && blx_clock_ns() < next_ns)
            blx_cond_wait_until(&feed->changed, &feed->lock, next_ns);
    }
    pthread_mutex_unlock(&feed->lock);
    return NULL;
}

int page_feed_new(struct page_ask *ask, struct page_feed **feed, struct blx_error *err)
{
    struct page_feed *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot tell pages what changes");
    made->ask = ask;
    pthread_mutex_init(&made->lock, NULL);
    int rc = blx_cond_init(&made->changed);
    if (rc == 0)
        rc = -pthread_create(&made->thread, NULL, run, made);
    if (rc < 0) {
        free(made);
        return blx_error_errno(err, rc, "cannot tell pages what changes");
    }
    *feed = made;
    return 0;
}

void page_feed_stop(struct page_feed *feed)
{
    if (feed == NULL)
        return;
    pthread_mutex_lock(&feed->lock);
    feed->stopping = true;
    pthread_cond_broadcast(&feed->changed);
    pthread_mutex_unlock(&feed->lock);
}

void page_feed_free(struct page_feed *feed)
{
    if (feed == NULL)
        return;
    page_feed_stop(feed);
    pthread_join(feed->thread, NULL);
    for (size_t i = 0; i < PAGE_FEED_KEPT; i++)
        drop_locked(feed->events[i]);
    json_decref(feed->before);
    pthread_cond_destroy(&feed->changed);
    pthread_mutex_destroy(&feed->lock);
    free(feed);
}

/* What it is sent next, held; NULL: the end. */
static struct event *next_locked(struct listener *listener)
{
    struct page_feed *feed = listener->feed;
    uint64_t alive_ns = blx_deadline_in_ms(PAGE_FEED_ALIVE_MS);
    while (!feed->stopping && listener->seen == feed->newest && blx_clock_ns() < alive_ns)
        blx_cond_wait_until(&feed->changed, &feed->lock, alive_ns);
    if (feed->stopping)
        return NULL;
    if (listener->seen == feed->newest)
        return make_event("alive", strdup("{}"));
    if (feed->newest - listener->seen > PAGE_FEED_KEPT) {
        listener->seen = feed->newest;
        return make_event("reload", strdup("{}"));
    }
    struct event *event = feed->events[++listener->seen % PAGE_FEED_KEPT];
    event->holders++;
    return event;
}

/* Waits for the first status, so that whatever the page asks after this is newer. */
static struct event *greet_locked(struct listener *listener)
{
    struct page_feed *feed = listener->feed;
    char *text = malloc(HELLO_BYTES);
    while (!feed->stopping && feed->looks == 0)
        pthread_cond_wait(&feed->changed, &feed->lock);
    listener->seen = feed->newest;
    if (text != NULL)
        snprintf(text, HELLO_BYTES, "{\"generation\": %llu}", (unsigned long long)listener->seen);
    listener->greeted = true;
    return make_event("hello", text);
}

/* Called by the connection's thread whenever it can send. Blocks. */
static ssize_t fill(void *arg, uint64_t position, char *buffer, size_t room)
{
    struct listener *listener = arg;
    struct page_feed *feed = listener->feed;
    (void)position;
    if (listener->event == NULL) {
        pthread_mutex_lock(&feed->lock);
        listener->event = listener->greeted ? next_locked(listener) : greet_locked(listener);
        pthread_mutex_unlock(&feed->lock);
        listener->at = 0;
    }
    const struct event *event = listener->event;
    if (event == NULL)
        return MHD_CONTENT_READER_END_OF_STREAM;
    size_t bytes = event->bytes - listener->at < room ? event->bytes - listener->at : room;
    memcpy(buffer, event->text + listener->at, bytes);
    listener->at += bytes;
    if (listener->at == event->bytes) {
        pthread_mutex_lock(&feed->lock);
        drop_locked(listener->event);
        pthread_mutex_unlock(&feed->lock);
        listener->event = NULL;
    }
    return (ssize_t)bytes;
}

static void leave(void *arg)
{
    struct listener *listener = arg;
    struct page_feed *feed = listener->feed;
    pthread_mutex_lock(&feed->lock);
    if (--feed->listeners == 0)
        feed->looks = 0;
    drop_locked(listener->event);
    pthread_mutex_unlock(&feed->lock);
    free(listener);
}

enum MHD_Result page_feed_serve(struct page_feed *feed, const struct page_request *request)
{
    struct listener *listener = calloc(1, sizeof(*listener));
    if (listener == NULL)
        return MHD_NO;
    listener->feed = feed;
    pthread_mutex_lock(&feed->lock);
    feed->listeners++;
    listener->seen = feed->newest;
    pthread_cond_broadcast(&feed->changed);
    pthread_mutex_unlock(&feed->lock);
    struct MHD_Response *response =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, PIECE_BYTES, fill, listener, leave);
    if (response == NULL) {
        leave(listener);
        return MHD_NO;
    }
    enum MHD_Result result = page_reply_guard(response);
    if (result == MHD_YES)
        result =
            MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/event-stream");
    if (result == MHD_YES)
        result = MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    if (result == MHD_YES)
        result = MHD_queue_response(request->connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}
