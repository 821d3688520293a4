/* SPDX-License-Identifier: Apache-2.0 */
/* A key's file: a key that was read is written as a file that reads the same; no error message
 * holds the secret. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "crypt/key.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[PATH_MAX];
    struct blx_key key = {.secret = {1}}, again, from_file;
    const struct blx_key untouched = key;
    struct blx_error err = {0}, file_err = {0};
    uint8_t *copy = fuzz_copy(data, size);
    int rc = blx_key_parse((const char *)copy, size, &key, &err);
    free(copy);
    fuzz_path(path, "given.key");
    fuzz_write_file(path, data, size);
    int file_rc = blx_key_read(path, &from_file, &file_err);
    FUZZ_ASSERT((rc == 0) == (file_rc == 0));
    if (rc < 0) {
        fuzz_assert_refusal(rc, &err);
        fuzz_assert_refusal(file_rc, &file_err);
        FUZZ_ASSERT(memcmp(&key, &untouched, sizeof(key)) == 0);
        return 0;
    }
    FUZZ_ASSERT(memcmp(&key, &from_file, sizeof(key)) == 0);
    FUZZ_ASSERT(!blx_key_id_is_none(&key.id));
    fuzz_path(path, "written.key");
    fuzz_remove(path);
    FUZZ_ASSERT(blx_key_write(path, &key, NULL) == 0);
    FUZZ_ASSERT(blx_key_read(path, &again, NULL) == 0);
    FUZZ_ASSERT(memcmp(&key, &again, sizeof(key)) == 0);
    return 0;
}
