/* SPDX-License-Identifier: Apache-2.0 */
/* The record of a test: what decodes encodes to what decodes to the same. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "fuzz.h"
#include "repair.h"
#include "store/checkpoint/tested_codec_private.h"

static void check_record(const uint8_t *data, size_t size)
{
    struct blx_tested tested, again;
    struct blx_tested_disk disk;
    struct blx_error err = {0};
    int rc = blx_tested_decode(data, size, &tested, &err);
    if (rc < 0) {
        fuzz_assert_refusal(rc, &err);
        FUZZ_ASSERT(rc == -EBADMSG || rc == -ENOTSUP);
        return;
    }
    bool bad = false;
    for (size_t i = 0; i < BLX_TEST_CHECKS; i++) {
        FUZZ_ASSERT(tested.results[i] < BLX_TEST_RESULTS);
        bad = bad || tested.results[i] == BLX_TEST_BAD;
    }
    FUZZ_ASSERT(!(bad && blx_tested_is_good(&tested)));
    FUZZ_ASSERT(strlen(blx_tested_verdict(&tested)) > 0);
    for (const char *at = tested.screen; *at != '\0'; at++)
        FUZZ_ASSERT(*at == '\n' || (unsigned char)*at >= 0x20);
    blx_tested_encode(&tested, &disk);
    FUZZ_ASSERT(blx_tested_decode(&disk, sizeof(disk), &again, NULL) == 0);
    FUZZ_ASSERT(memcmp(&tested, &again, sizeof(tested)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_record(data, size);
    uint8_t *repaired = fuzz_copy(data, size);
    repair_whole(repaired, size, offsetof(struct blx_tested_disk, checksum));
    check_record(repaired, size);
    free(repaired);
    return 0;
}
