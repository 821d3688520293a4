/* SPDX-License-Identifier: Apache-2.0 */
/* The mark of a suspicious checkpoint and the history's rows: what decodes encodes to what decodes
 * to the same. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "repair.h"
#include "store/signal/history_codec_private.h"
#include "store/signal/suspicion_codec_private.h"

static void check_mark(const uint8_t *data, size_t size)
{
    struct blx_suspicion suspicion, again;
    struct blx_suspicion_disk disk;
    struct blx_error err = {0};
    int rc = blx_suspicion_decode(data, size, &suspicion, &err);
    if (rc < 0) {
        fuzz_assert_refusal(rc, &err);
        FUZZ_ASSERT(rc == -EBADMSG || rc == -ENOTSUP);
        return;
    }
    FUZZ_ASSERT(suspicion.kind > BLX_SIGNAL_NONE && suspicion.kind < BLX_SIGNAL_KINDS);
    FUZZ_ASSERT(strlen(blx_sensitivity_name(suspicion.sensitivity)) > 0);
    for (const char *at = suspicion.reason; *at != '\0'; at++)
        FUZZ_ASSERT((unsigned char)*at >= 0x20);
    blx_suspicion_encode(&suspicion, &disk);
    FUZZ_ASSERT(blx_suspicion_decode(&disk, sizeof(disk), &again, NULL) == 0);
    FUZZ_ASSERT(memcmp(&suspicion, &again, sizeof(suspicion)) == 0);
}

static void check_row(const uint8_t *data, size_t size)
{
    struct blx_history_row_disk disk, encoded;
    struct blx_history_row row, again;
    struct blx_signal signal;
    if (size < sizeof(disk))
        return;
    memcpy(&disk, data, sizeof(disk));
    if (!blx_history_row_decode(&disk, &row))
        return;
    blx_history_row_encode(&row, &encoded);
    FUZZ_ASSERT(blx_history_row_decode(&encoded, &again));
    FUZZ_ASSERT(again.checkpoint == row.checkpoint && again.suspicious == row.suspicious &&
                memcmp(&again.change, &row.change, sizeof(row.change)) == 0);
    const struct blx_history history = {.rows = {row}, .count = 1};
    for (unsigned level = 0; level < BLX_SENSITIVITIES; level++)
        blx_signal_judge(&history, &row, level, BLX_SIGNAL_ANSWERED, &signal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_mark(data, size);
    check_row(data, size);
    uint8_t *repaired = fuzz_copy(data, size);
    repair_whole(repaired, size, offsetof(struct blx_suspicion_disk, checksum));
    check_mark(repaired, size);
    free(repaired);
    if (size < sizeof(struct blx_history_row_disk))
        return 0;
    repaired = fuzz_copy(data, sizeof(struct blx_history_row_disk));
    repair_whole(repaired, sizeof(struct blx_history_row_disk),
                 offsetof(struct blx_history_row_disk, checksum));
    check_row(repaired, sizeof(struct blx_history_row_disk));
    free(repaired);
    return 0;
}
