/* SPDX-License-Identifier: Apache-2.0 */
#include "dispatcher/places.h"

#include <errno.h>
#include <sys/socket.h>

#include "base/assert.h"
#include "dispatcher/registry.h"

static bool is_known(const struct dispatcher_places *places, uint64_t source)
{
    for (size_t i = 0; i < places->known_count && i < DISPATCHER_PLACES_KNOWN; i++)
        if (places->known[i] == source)
            return true;
    return false;
}

void dispatcher_places_know_locked(struct dispatcher_places *places, uint64_t source)
{
    if (!is_known(places, source))
        places->known[places->known_count++ % DISPATCHER_PLACES_KNOWN] = source;
}

/* Whether it holds one of the places. */
static bool is_stranger(const struct dispatcher_registry_entry *entry)
{
    return entry->claim == DISPATCHER_CLAIM_NONE && !entry->live;
}

static unsigned count_from(const struct dispatcher_registry *registry, uint64_t source)
{
    unsigned count = 0;
    for (const struct dispatcher_registry_entry *at = registry->entries; at != NULL; at = at->next)
        count += is_stranger(at) && at->source == source;
    return count;
}

/* Whether `a` goes before `b`: unknown before known, then of the source with the most places, then
 * the one that has had its place for longer. */
static bool goes_before(const struct dispatcher_registry *registry,
                        const struct dispatcher_registry_entry *a,
                        const struct dispatcher_registry_entry *b)
{
    bool a_known = is_known(&registry->places, a->source);
    bool b_known = is_known(&registry->places, b->source);
    if (a_known != b_known)
        return b_known;
    unsigned a_count = count_from(registry, a->source), b_count = count_from(registry, b->source);
    if (a_count != b_count)
        return a_count > b_count;
    return a->connected_ns < b->connected_ns;
}

/* Shuts down the connection that goes first; of that source only, unless it is NULL. False: each
 * is too new. */
static bool displace(struct dispatcher_registry *registry, const uint64_t *source, uint64_t now_ns)
{
    struct dispatcher_registry_entry *first = NULL;
    for (struct dispatcher_registry_entry *at = registry->entries; at != NULL; at = at->next) {
        if (!is_stranger(at) || (source != NULL && at->source != *source) ||
            now_ns < at->connected_ns + DISPATCHER_PLACES_TIME_MS * UINT64_C(1000000))
            continue;
        if (first == NULL || goes_before(registry, at, first))
            first = at;
    }
    if (first == NULL)
        return false;
    first->claim = DISPATCHER_CLAIM_DISPLACED;
    registry->pending--;
    shutdown(first->socket_fd, SHUT_RDWR);
    return true;
}

int dispatcher_places_take_locked(struct dispatcher_registry *registry,
                                  const struct dispatcher_registry_entry *entry, uint64_t now_ns,
                                  struct blx_error *err)
{
    struct dispatcher_places *places = &registry->places;
    blx_assert_held(&registry->lock);
    bool known = is_known(places, entry->source);
    unsigned from_source = count_from(registry, entry->source);
    unsigned most = known ? places->limit : places->source_limit;
    if (from_source >= most && !displace(registry, &entry->source, now_ns)) {
        places->kept_out += known;
        return blx_error_set(err, -EAGAIN,
                             "%u connections from there are waiting already that have not "
                             "identified themselves",
                             from_source);
    }
    if (registry->pending >= places->limit && !displace(registry, NULL, now_ns)) {
        places->kept_out++;
        return blx_error_set(
            err, -EAGAIN, "%u connections are waiting already that have not identified themselves",
            registry->pending);
    }
    return 0;
}
