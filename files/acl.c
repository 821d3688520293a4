/* SPDX-License-Identifier: Apache-2.0 */
#include "files/acl.h"

#include <stdint.h>
#include <string.h>

#include "base/le.h"

/* As the kernel gives and takes it, little-endian on every machine. */
enum {
    VERSION = 2,
    TAG_USER_OBJ = 0x01,
    TAG_USER = 0x02,
    TAG_GROUP_OBJ = 0x04,
    TAG_GROUP = 0x08,
    TAG_MASK = 0x10,
    TAG_OTHER = 0x20,
};

struct acl_head_disk {
    blx_le32 version;
} __attribute__((packed));

struct acl_entry_disk {
    uint8_t tag[2], permissions[2];
    blx_le32 id;
} __attribute__((packed));

static int find_tag(unsigned tag)
{
    static const struct {
        unsigned tag;
        int archive;
    } tags[] = {
        {TAG_USER_OBJ, ARCHIVE_ENTRY_ACL_USER_OBJ},   {TAG_USER, ARCHIVE_ENTRY_ACL_USER},
        {TAG_GROUP_OBJ, ARCHIVE_ENTRY_ACL_GROUP_OBJ}, {TAG_GROUP, ARCHIVE_ENTRY_ACL_GROUP},
        {TAG_MASK, ARCHIVE_ENTRY_ACL_MASK},           {TAG_OTHER, ARCHIVE_ENTRY_ACL_OTHER},
    };
    for (size_t i = 0; i < sizeof(tags) / sizeof(tags[0]); i++)
        if (tags[i].tag == tag)
            return tags[i].archive;
    return 0;
}

static void add_one(struct archive_entry *entry, int type, const struct acl_entry_disk *acl)
{
    unsigned tag = acl->tag[0] | (unsigned)acl->tag[1] << 8;
    int known = find_tag(tag), permissions = 0;
    bool named = tag == TAG_USER || tag == TAG_GROUP;
    if ((acl->permissions[0] & 4) != 0)
        permissions |= ARCHIVE_ENTRY_ACL_READ;
    if ((acl->permissions[0] & 2) != 0)
        permissions |= ARCHIVE_ENTRY_ACL_WRITE;
    if ((acl->permissions[0] & 1) != 0)
        permissions |= ARCHIVE_ENTRY_ACL_EXECUTE;
    if (known != 0)
        archive_entry_acl_add_entry(entry, type, permissions, known,
                                    named ? (int)blx_le32_get(acl->id) : -1, NULL);
}

bool files_acl_add(struct archive_entry *entry, const struct files_attribute *attribute)
{
    int type;
    if (strcmp(attribute->name, "system.posix_acl_access") == 0)
        type = ARCHIVE_ENTRY_ACL_TYPE_ACCESS;
    else if (strcmp(attribute->name, "system.posix_acl_default") == 0)
        type = ARCHIVE_ENTRY_ACL_TYPE_DEFAULT;
    else
        return false;
    struct acl_head_disk head;
    const uint8_t *at = attribute->value;
    size_t left = attribute->bytes;
    if (left < sizeof(head))
        return true;
    memcpy(&head, at, sizeof(head));
    if (blx_le32_get(head.version) != VERSION)
        return true;
    for (at += sizeof(head), left -= sizeof(head); left >= sizeof(struct acl_entry_disk);
         at += sizeof(struct acl_entry_disk), left -= sizeof(struct acl_entry_disk)) {
        struct acl_entry_disk acl;
        memcpy(&acl, at, sizeof(acl));
        add_one(entry, type, &acl);
    }
    return true;
}
