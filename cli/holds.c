/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/holds.h"

#include <blkid.h>
#include <stdio.h>

static const char *value_of(blkid_probe probe, const char *name)
{
    const char *value = NULL;
    return blkid_probe_lookup_value(probe, name, &value, NULL) == 0 ? value : NULL;
}

void cli_holds_describe(int fd, char text[CLI_HOLDS_BYTES])
{
    text[0] = '\0';
    blkid_probe probe = blkid_new_probe();
    if (probe == NULL || blkid_probe_set_device(probe, fd, 0, 0) != 0) {
        blkid_free_probe(probe);
        return;
    }
    blkid_probe_enable_superblocks(probe, 1);
    blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_LABEL);
    blkid_probe_enable_partitions(probe, 1);
    int found = blkid_do_safeprobe(probe);
    const char *type = value_of(probe, "TYPE"), *label = value_of(probe, "LABEL");
    const char *table = value_of(probe, "PTTYPE");
    if (found == -2)
        snprintf(text, CLI_HOLDS_BYTES, "several signatures");
    else if (found == 0 && type != NULL)
        snprintf(text, CLI_HOLDS_BYTES, "%s%s%.150s%s", type, label != NULL ? " '" : "",
                 label != NULL ? label : "", label != NULL ? "'" : "");
    else if (found == 0 && table != NULL)
        snprintf(text, CLI_HOLDS_BYTES, "a %s partition table", table);
    blkid_free_probe(probe);
}
