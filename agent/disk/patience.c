/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/disk/patience.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "base/units.h"

enum { STACK_BYTES = 256 * 1024 };

/* Freed by whichever of the two comes last: the caller if the call ended in time, else the
 * thread. */
struct errand {
    struct errand *next;
    struct agent_patience_call call;
    char *name;
    void *arg;
    uint64_t begun_ns;
    int rc;
    bool ended;
    bool left_alone; /* the caller has gone */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct errand *stuck; /* guarded by `lock`: those that are left alone */

static void init(void)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static void errand_free(struct errand *errand)
{
    if (errand == NULL)
        return;
    free(errand->name);
    free(errand->arg);
    free(errand);
}

static struct errand *find_locked(const char *name)
{
    struct errand *errand = stuck;
    while (errand != NULL && strcmp(errand->name, name) != 0)
        errand = errand->next;
    return errand;
}

static void forget_locked(const struct errand *errand)
{
    struct errand **link = &stuck;
    while (*link != NULL && *link != errand)
        link = &(*link)->next;
    if (*link != NULL)
        *link = errand->next;
}

static void *errand_main(void *arg)
{
    struct errand *errand = arg;
    int rc = errand->call.run(errand->arg);
    pthread_mutex_lock(&lock);
    errand->rc = rc;
    errand->ended = true;
    bool mine = errand->left_alone;
    if (mine)
        forget_locked(errand);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    if (mine) {
        char elapsed[BLX_UNIT_TEXT_BYTES];
        blx_log_notice("%s hangs no more (%s)", errand->name,
                       blx_duration_format((blx_clock_ns() - errand->begun_ns) / 1000000, elapsed));
        if (rc == 0)
            errand->call.drop(errand->arg);
        errand_free(errand);
    }
    return NULL;
}

static struct errand *errand_new(const char *name, const struct agent_patience_call *call,
                                 const void *arg)
{
    struct errand *errand = calloc(1, sizeof(*errand));
    if (errand == NULL)
        return NULL;
    errand->call = *call;
    errand->begun_ns = blx_clock_ns();
    errand->name = strdup(name);
    errand->arg = malloc(call->arg_bytes);
    if (errand->name == NULL || errand->arg == NULL) {
        errand_free(errand);
        return NULL;
    }
    memcpy(errand->arg, arg, call->arg_bytes);
    return errand;
}

static int start(struct errand *errand)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int rc = -pthread_create(&thread, &attributes, errand_main, errand);
    pthread_attr_destroy(&attributes);
    return rc;
}

/* True if it has ended. Otherwise it is left alone, and `errand` must not be touched again. */
static bool wait_for(struct errand *errand, uint64_t timeout_ms)
{
    uint64_t until_ns = errand->begun_ns + timeout_ms * 1000000;
    struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000),
                             .tv_nsec = (long)(until_ns % 1000000000)};
    int rc = 0;
    pthread_mutex_lock(&lock);
    while (!errand->ended && rc != ETIMEDOUT)
        rc = pthread_cond_timedwait(&changed, &lock, &until);
    bool ended = errand->ended;
    if (!ended) {
        errand->left_alone = true;
        errand->next = stuck;
        stuck = errand;
    }
    pthread_mutex_unlock(&lock);
    return ended;
}

int agent_patience_run(const char *name, const struct agent_patience_call *call, void *arg,
                       uint64_t timeout_ms)
{
    pthread_once(&once, init);
    if (agent_patience_ask(name) > 0)
        return -ETIMEDOUT;
    struct errand *errand = errand_new(name, call, arg);
    if (errand == NULL)
        return -ENOMEM;
    int rc = start(errand);
    if (rc == 0 && !wait_for(errand, timeout_ms)) {
        blx_log_warning("%s hangs: it is left alone until it answers", name);
        return -ETIMEDOUT;
    }
    if (rc == 0) {
        rc = errand->rc;
        memcpy(arg, errand->arg, call->arg_bytes);
    }
    errand_free(errand);
    return rc;
}

uint64_t agent_patience_ask(const char *name)
{
    pthread_mutex_lock(&lock);
    const struct errand *errand = find_locked(name);
    uint64_t since_ns = errand != NULL ? errand->begun_ns : 0;
    pthread_mutex_unlock(&lock);
    return since_ns != 0 ? blx_clock_ns() - since_ns : 0;
}
