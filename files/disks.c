/* SPDX-License-Identifier: Apache-2.0 */
#include "files/disks.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/name.h"
#include "base/text.h"

/* "/dev/vda2"; a volume's name is the node's, if the agent named another path. */
static bool is_named(const char *wanted, const char *device, const char *name)
{
    const char *node = strncmp(wanted, "/dev/", 5) == 0 ? wanted + 5 : wanted;
    return strcmp(wanted, device) == 0 || strcmp(node, name) == 0;
}

int files_disks_find(const struct blx_partitioned *disk, const struct files_disk_names *names,
                     files_visit_disk *visit, void *arg)
{
    struct blx_partition found[BLX_MAX_PARTITIONS];
    const char *wanted = names->wanted;
    bool whole = wanted == NULL || is_named(wanted, names->device, names->name);
    struct files_disk listed = {.size_bytes = disk->size_bytes, .is_wanted = whole};
    blx_text_set(listed.device, names->device);
    snprintf(listed.image, sizeof(listed.image), "%.*s.img", FILES_DEVICE_BYTES - 5, names->name);
    int count = blx_partitions_find(disk, found);
    if (count <= 0)
        return visit(arg, &listed, 0, 0);
    int rc = 0;
    for (int i = 0; rc == 0 && i < count; i++) {
        char name[BLX_NAME_BYTES + 16];
        blx_partition_name(names->device, found[i].number, listed.device, sizeof(listed.device));
        blx_partition_name(names->name, found[i].number, name, sizeof(name));
        snprintf(listed.image, sizeof(listed.image), "%s.img", name);
        blx_text_set(listed.part_id, found[i].id);
        listed.size_bytes = found[i].bytes;
        listed.is_wanted = whole || is_named(wanted, listed.device, name);
        rc = visit(arg, &listed, found[i].number, found[i].offset_bytes);
    }
    return rc;
}
