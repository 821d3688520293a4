/* SPDX-License-Identifier: Apache-2.0 */
/* `blxrep agent move-gpt`: moves the second copy of a disk's GPT to its end. */
#include "base/units.h"
#include "cli/command.h"
#include "store/restore/gpt.h"

enum blx_exit cli_move_gpt(const struct cli_request *request, struct blx_error *err)
{
    const char *path = request->config->output;
    char gained[BLX_UNIT_TEXT_BYTES];
    struct blx_gpt_move move;
    if (blx_gpt_move(path, &move, err) < 0)
        return BLX_EXIT_FAILED;
    switch (move.outcome) {
    case BLX_GPT_NONE:
        cli_tell("'%s' has no GPT: nothing to move", path);
        break;
    case BLX_GPT_IN_PLACE:
        cli_tell("the second copy of the GPT is at the end of '%s' already", path);
        break;
    case BLX_GPT_MOVED:
        cli_tell("moved the second copy of the GPT to the end of '%s': partitions can grow by %s",
                 path, blx_size_format(move.gained_bytes, gained));
        break;
    }
    return BLX_EXIT_OK;
}
