/* SPDX-License-Identifier: Apache-2.0 */
/* A volume's state file: what is read can be written, and reads the same. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "repair.h"
#include "store/layout_private.h"
#include "store/receive/volume_file_private.h"

static void check_file(const uint8_t *data, size_t size)
{
    char path[PATH_MAX];
    struct blx_volume_file file, again;
    struct blx_error err = {0};
    fuzz_path(path, "volume");
    fuzz_write_file(path, data, size);
    int rc = blx_volume_file_read(fuzz_folder(), &file, &err);
    if (rc < 0) {
        fuzz_assert_refusal(rc, &err);
        FUZZ_ASSERT(fuzz_file_is(path, data, size));
        return;
    }
    FUZZ_ASSERT(blx_volume_file_write(fuzz_folder(), &file, NULL) == 0);
    FUZZ_ASSERT(blx_volume_file_read(fuzz_folder(), &again, NULL) == 0);
    FUZZ_ASSERT(blx_generation_equal(&file.generation, &again.generation));
    FUZZ_ASSERT(file.size_bytes == again.size_bytes && file.block_shift == again.block_shift);
    FUZZ_ASSERT(file.full_since == again.full_since && file.seq_before == again.seq_before);
    FUZZ_ASSERT(file.full_after == again.full_after);
    FUZZ_ASSERT(strcmp(file.device, again.device) == 0);
    FUZZ_ASSERT(strcmp(file.identity, again.identity) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_file(data, size);
    uint8_t *repaired = fuzz_copy(data, size);
    repair_whole(repaired, size, offsetof(struct blx_volume_file_disk, checksum));
    check_file(repaired, size);
    free(repaired);
    return 0;
}
