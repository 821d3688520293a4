/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Invariants that the program itself must keep: a sequence number ascends, a bit was clear, a lock
 * is held. An assert that fails is a bug in blxrep, never in the user's data.
 *
 * Do not assert anything about input, a disk or the network. These are checked in every build, and
 * a check that fails returns an error.
 *
 * Asserts are on (BLX_ASSERTS is defined, see cmake/Asserts.cmake) in every build with sanitizers,
 * with libFuzzer or of the type Debug. A failed assert prints file:line and the expression to
 * stderr and aborts. In every other build the expression is compiled but not evaluated: it costs
 * nothing, and a variable that only an assert reads counts as used. So an expression must not have
 * side effects.
 *
 * Threads: any.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

/* Prints the failure and aborts. Call it through the macros below. */
_Noreturn void blx_assert_failed(const char *expression, const char *file, int line,
                                 const char *function);

/*
 * Whether the calling thread holds `lock`, a mutex of the default type. glibc knows the owner; with
 * another C library the answer is whether any thread holds it.
 */
bool blx_mutex_is_held(pthread_mutex_t *lock);

#ifdef BLX_ASSERTS
#define blx_assert(expression)                                                                     \
    ((expression) ? (void)0 : blx_assert_failed(#expression, __FILE__, __LINE__, __func__))
/* For a place that no correct program reaches, such as the end of a switch over an enum. */
#define blx_assert_unreachable() blx_assert_failed("unreachable", __FILE__, __LINE__, __func__)
#else
#define blx_assert(expression)   ((void)(false && (expression)))
#define blx_assert_unreachable() ((void)0)
#endif

/* For functions that end in _locked: the calling thread holds `lock`. */
#define blx_assert_held(lock) blx_assert(blx_mutex_is_held(lock))
