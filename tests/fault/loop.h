/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop over a function's faults: call 0 for memory fails, then call 1, 2, ... until the
 * function gets by without a failure; the same with that call and all behind it; the same with the
 * calls for the disk, for the network, and (openssl.h) to OpenSSL. Leaks of memory are the leak
 * sanitizer's to find, at the end of the program; descriptors are counted here.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"

struct fault_case {
    /* Before each turn: `state` as it is when the function is called. May be NULL. */
    void (*setup)(void *state);

    /* Calls the function, once. The outputs it fills lie in `state`. */
    int (*run)(void *state, struct blx_error *err);

    /* Behind it, with nothing failing any more: asserts that the outputs are untouched where `rc`
     * is an error and right where not, and that what is on the disk is good. */
    void (*check)(void *state, int rc);

    /* After each turn. May be NULL. */
    void (*teardown)(void *state);

    /* The function has only this failure, told by its number alone: it takes no blx_error. */
    int silent;
};

/* `state` is handed through. Fails the test where anything does not hold. */
void fault_loop(const struct fault_case *fault_case, void *state);

/* What an output holds before the call, and still holds where the call fails. */
void fault_poison(void *output, size_t bytes);
void fault_assert_poisoned(const void *output, size_t bytes);
