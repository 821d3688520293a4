/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ACL as the kernel keeps it in an attribute, for libarchive, which sets and packs ACLs by
 * itself. It comes from hostile input.
 *
 * Threads: no shared state.
 */
#pragma once

#include <archive_entry.h>
#include <stdbool.h>

#include "files/records.h"

/* False: the attribute is no ACL. One that makes no sense is passed over. */
bool files_acl_add(struct archive_entry *entry, const struct files_attribute *attribute);
