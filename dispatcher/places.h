/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Places for connections that have not shown a valid certificate yet, so that strangers keep no
 * agent out. There are few, and fewer for each source (an IPv4 address, or the /64 network of an
 * IPv6 address). If none is free the newcomer takes the place of one that has had its time: the
 * handshake of an agent takes far less than DISPATCHER_PLACES_TIME_MS, and a stranger that idles
 * goes first. Sources from which a valid certificate came have more places, and go last.
 *
 * A connection whose certificate is valid needs none of these places any more.
 *
 * Threads: every function is called with the registry's lock held, which guards everything here.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum {
    DISPATCHER_PLACES_TIME_MS = 1000, /* nobody loses a place that is newer */
    DISPATCHER_PLACES_KNOWN = 256,    /* sources that are remembered; the oldest is replaced */
};

struct dispatcher_registry;
struct dispatcher_registry_entry;

struct dispatcher_places {
    unsigned limit;                          /* constant */
    unsigned source_limit;                   /* constant; of a source that is not known */
    uint64_t known[DISPATCHER_PLACES_KNOWN]; /* a ring of sources */
    size_t known_count;                      /* since the start */
    uint64_t kept_out; /* connections that were refused and may have been an agent's */
};

/* Finds a place for the entry, which is not linked yet. May shut another connection down; that one
 * counts as `displaced`. -EAGAIN: there is none. */
int dispatcher_places_take_locked(struct dispatcher_registry *registry,
                                  const struct dispatcher_registry_entry *entry, uint64_t now_ns,
                                  struct blx_error *err);

/* A valid certificate came from there. */
void dispatcher_places_know_locked(struct dispatcher_places *places, uint64_t source);
