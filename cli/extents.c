/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/extents.h"

void cli_extents_json(struct blx_json *json, const char *key, const struct blx_extent *extents,
                      size_t count, unsigned block_shift)
{
    blx_json_open(json, key, '[');
    for (size_t i = 0; i < count; i++) {
        blx_json_open(json, NULL, '{');
        blx_json_number(json, "offset", extents[i].start_block << block_shift);
        blx_json_number(json, "length", extents[i].block_count << block_shift);
        blx_json_close(json, '}');
    }
    blx_json_close(json, ']');
}
