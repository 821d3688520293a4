/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop over a function's faults: call 0 for memory fails, then call 1, 2, ... until the
 * function gets by without a failure; the same with that call and all after it; the same with the
 * calls for the disk, for the network, and (openssl.h) to OpenSSL. The leak sanitizer finds leaks
 * of memory, at the end of the program; descriptors are counted here.
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

    /* After it, with nothing failing any more: asserts that the outputs are untouched if `rc` is an
     * error and right if not, and that the files on the disk are good. */
    void (*check)(void *state, int rc);

    /* After each turn. May be NULL. */
    void (*teardown)(void *state);

    /* The function has only this failure, and gives only its number: it takes no blx_error. */
    int silent;
};

/* `state` is handed through. Fails the test if anything does not hold. */
void fault_loop(const struct fault_case *fault_case, void *state);

/* An output's content before the call, and also after it if the call fails. */
void fault_poison(void *output, size_t bytes);
void fault_assert_poisoned(const void *output, size_t bytes);
