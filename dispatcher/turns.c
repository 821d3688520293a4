/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/turns.h"

#include <sys/eventfd.h>
#include <sys/sysinfo.h>

#include "base/assert.h"
#include "store/view/image.h"

void dispatcher_turns_init(struct dispatcher_turns *turns, uint64_t memory_bytes)
{
    struct sysinfo machine;
    if (memory_bytes == 0 && sysinfo(&machine) == 0)
        memory_bytes = (uint64_t)machine.totalram * machine.mem_unit / 2;
    *turns = (struct dispatcher_turns){.places = (size_t)(memory_bytes / BLX_IMAGE_MEMORY_BYTES)};
    if (turns->places == 0)
        turns->places = 1;
    pthread_mutex_init(&turns->lock, NULL);
}

void dispatcher_turns_done(struct dispatcher_turns *turns)
{
    blx_assert(turns->held == 0 && turns->first == NULL);
    pthread_mutex_destroy(&turns->lock);
}

static void hold_locked(struct dispatcher_turns *turns, struct dispatcher_turn *turn,
                        uint64_t now_ns)
{
    turns->held++;
    turn->since_ns = now_ns;
    atomic_store(&turn->state, DISPATCHER_TURN_HELD);
}

static void queue_locked(struct dispatcher_turns *turns, struct dispatcher_turn *turn)
{
    turn->next = NULL;
    if (turns->last != NULL)
        turns->last->next = turn;
    else
        turns->first = turn;
    turns->last = turn;
    turns->waiting++;
    atomic_store(&turn->state, DISPATCHER_TURN_WAITING);
}

static void unqueue_locked(struct dispatcher_turns *turns, struct dispatcher_turn *turn)
{
    struct dispatcher_turn *before = NULL;
    for (struct dispatcher_turn *at = turns->first; at != turn; at = at->next)
        before = at;
    if (before != NULL)
        before->next = turn->next;
    else
        turns->first = turn->next;
    if (turns->last == turn)
        turns->last = before;
    turns->waiting--;
}

/* Gives free places to those that wait. */
static void go_on_locked(struct dispatcher_turns *turns, uint64_t now_ns)
{
    while (turns->first != NULL && turns->held < turns->places) {
        struct dispatcher_turn *next = turns->first;
        unqueue_locked(turns, next);
        hold_locked(turns, next, now_ns);
        (void)eventfd_write(next->wake_fd, 1); /* it refuses only if it is readable anyway */
    }
}

enum dispatcher_turn_state dispatcher_turns_take(struct dispatcher_turns *turns,
                                                 struct dispatcher_turn *turn, uint64_t now_ns)
{
    pthread_mutex_lock(&turns->lock);
    enum dispatcher_turn_state state = atomic_load(&turn->state);
    if (state == DISPATCHER_TURN_NONE && turns->held < turns->places)
        hold_locked(turns, turn, now_ns);
    else if (state == DISPATCHER_TURN_NONE)
        queue_locked(turns, turn);
    state = atomic_load(&turn->state);
    pthread_mutex_unlock(&turns->lock);
    return state;
}

int dispatcher_turns_is_over(struct dispatcher_turns *turns, const struct dispatcher_turn *turn,
                             uint64_t now_ns)
{
    pthread_mutex_lock(&turns->lock);
    int over = atomic_load(&turn->state) == DISPATCHER_TURN_HELD && turns->waiting > 0 &&
               now_ns - turn->since_ns >= DISPATCHER_TURN_MS * UINT64_C(1000000);
    pthread_mutex_unlock(&turns->lock);
    return over;
}

void dispatcher_turns_leave(struct dispatcher_turns *turns, struct dispatcher_turn *turn,
                            uint64_t now_ns)
{
    pthread_mutex_lock(&turns->lock);
    enum dispatcher_turn_state state = atomic_load(&turn->state);
    if (state == DISPATCHER_TURN_WAITING)
        unqueue_locked(turns, turn);
    else if (state == DISPATCHER_TURN_HELD)
        turns->held--;
    atomic_store(&turn->state, DISPATCHER_TURN_NONE);
    go_on_locked(turns, now_ns);
    pthread_mutex_unlock(&turns->lock);
}

uint32_t dispatcher_turns_place(struct dispatcher_turns *turns, const struct dispatcher_turn *turn)
{
    uint32_t place = 0;
    pthread_mutex_lock(&turns->lock);
    if (atomic_load(&turn->state) == DISPATCHER_TURN_WAITING) {
        place = 1;
        for (const struct dispatcher_turn *at = turns->first; at != turn; at = at->next)
            place++;
    }
    pthread_mutex_unlock(&turns->lock);
    return place;
}
