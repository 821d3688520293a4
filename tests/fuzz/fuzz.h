/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzz targets share. A target is one function that takes any bytes: libFuzzer calls it in
 * a build with BLXREP_FUZZ (clang), standalone.c in every other build. It asserts what must hold
 * for good input and bad, not only that nothing crashes.
 *
 * Checksums would stop nearly every mutated input at the first check. So a target of a checksummed
 * format looks at the bytes twice: as they are, and as a copy with checksums that repair.h has made
 * right.
 *
 * Threads: one. Whatever fails in here ends the process.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FUZZ_ASSERT(condition)                                                                     \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fuzz_fail(__FILE__, __LINE__, #condition);                                             \
    } while (0)

_Noreturn void fuzz_fail(const char *file, int line, const char *condition);

/*
 * A refusal is `-errno` with one line that says why: asserts that `rc` is negative and `err` holds
 * that code and a message without control characters.
 */
void fuzz_assert_refusal(int rc, const struct blx_error *err);

/* An exact copy on the heap, so that the address sanitizer sees every read after its end. Freed by
 * the caller; never NULL. */
uint8_t *fuzz_copy(const uint8_t *data, size_t size);

/* The same as a text: it ends at the first NUL, or with the bytes. */
char *fuzz_text(const uint8_t *data, size_t size);

/*
 * A folder of this process for files, made at the first call and removed at the end: in $TMPDIR, or
 * on the tmpfs /dev/shm if there is one. From then on fsync and fdatasync do nothing: a fuzz target
 * that waited for the disk would do little else.
 */
const char *fuzz_folder(void);

/* FOLDER/name */
void fuzz_path(char path[PATH_MAX], const char *name);

void fuzz_write_file(const char *path, const uint8_t *data, size_t size);

/* Whether the file holds just these bytes. */
bool fuzz_file_is(const char *path, const uint8_t *data, size_t size);

/* Removes the file, or the folder with its content. It need not exist. */
void fuzz_remove(const char *path);

/* The lowest free descriptor: the same before and after, if nothing leaked one. */
int fuzz_next_fd(void);
