/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/reboot/proof.h"

#include <inttypes.h>
#include <stdio.h>

/* Two clocks that tell whole seconds are read for it. */
enum { CLOCK_S = 2 };

uint32_t agent_proof_limit_s(const struct agent_save_history *history)
{
    uint32_t least = UINT32_MAX / 4;
    for (uint32_t i = 0; i < history->count; i++)
        least = history->seconds[i] < least ? history->seconds[i] : least;
    return history->count == 0 ? 0 : least + least / 2 + CLOCK_S;
}

const char *agent_proof_judge_boot(const struct agent_save *save,
                                   const struct agent_proof_boot *boot, char reason[BLX_TEXT_BYTES])
{
    const uint32_t limit_s = agent_proof_limit_s(&boot->history);
    if (boot->is_same_boot)
        return "its save is of this very boot: nobody watched the disk since";
    if (save->verb == AGENT_SAVE_UNKNOWN)
        return "its save does not tell how the machine went down";
    if (save->verb != AGENT_SAVE_REBOOT) {
        snprintf(reason, BLX_TEXT_BYTES,
                 "the machine went down by '%s', not by a reboot: the disk may have been elsewhere",
                 agent_save_name_verb(save->verb));
        return reason;
    }
    if (boot->away_s < -CLOCK_S)
        return "its save is from the future: the machine's clock was set back";
    if (limit_s == 0)
        return "this was the first reboot: how long one takes is not known before";
    if (boot->away_s <= (int64_t)limit_s)
        return NULL;
    snprintf(reason, BLX_TEXT_BYTES,
             "the machine was away for %" PRId64 " s, and its reboots take %" PRIu32
             " s at most: another system may have run",
             boot->away_s, limit_s);
    return reason;
}

const char *agent_proof_judge(const struct agent_save *save, const struct agent_save_volume *volume,
                              const struct agent_proof_boot *boot,
                              const struct agent_proof_disk *disk, char reason[BLX_TEXT_BYTES])
{
    if (volume->refusal[0] != '\0')
        return volume->refusal;
    if (!disk->is_same_size)
        return "it has another size, or begins elsewhere on its disk, than at the save";
    if (!disk->counts)
        return "the kernel does not count what is written to it since boot";
    if (disk->sectors != 0) {
        snprintf(reason, BLX_TEXT_BYTES,
                 "%" PRIu64 " sectors were written to it before the tracking could begin, as by an "
                 "initramfs that mounts the root writable, or an xfs as the root",
                 disk->sectors);
        return reason;
    }
    if (disk->is_busy)
        return "writes to it were in flight when the tracking began";
    if (disk->commands == AGENT_PROOF_SOME)
        return "its drive has counted other write commands than those before the save";
    if (!disk->has_superblocks)
        return "its superblocks, or those of the volumes on it, are not those of the save";
    return disk->commands == AGENT_PROOF_NONE && !boot->is_same_boot
               ? NULL
               : agent_proof_judge_boot(save, boot, reason);
}
