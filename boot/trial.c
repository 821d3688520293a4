/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/trial.h"

/* Linux's kernel, and most others of 64 bits, live in the upper half. */
#define UPPER_HALF (UINT64_C(1) << 63)

/* At two places: it runs, and was not thrown there. */
static bool kernel_moves(struct boot_trial *trial, uint64_t program_counter)
{
    if (program_counter < UPPER_HALF)
        return false;
    if (trial->kernel_counter == 0)
        trial->kernel_counter = program_counter;
    return program_counter != trial->kernel_counter;
}

enum boot_verdict boot_trial_judge(struct boot_trial *trial, const struct boot_sample *sample,
                                   uint64_t now_ms)
{
    bool moved = trial->moved_ms == 0 || sample->read_bytes != trial->last.read_bytes ||
                 sample->said_bytes != trial->last.said_bytes;
    if (moved)
        trial->moved_ms = now_ms;
    trial->last = *sample;
    if (trial->verdict != BOOT_UNDECIDED)
        return trial->verdict;
    if (sample->written_bytes > 0 || kernel_moves(trial, sample->program_counter))
        trial->verdict = BOOT_GETS_ON;
    else if (!sample->running || now_ms - trial->moved_ms >= BOOT_TRIAL_STILL_MS)
        trial->verdict = BOOT_STUCK;
    return trial->verdict;
}
