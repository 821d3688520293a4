/* SPDX-License-Identifier: Apache-2.0 */
/* What both halves of keep.h need. Threads: pure. */
#pragma once

#include "wire/message.h"

/* The node of a device by the kernel's name, in which sysfs writes '!' for '/'. */
void agent_keep_format_node(const char *kernel_name, char path[BLX_TEXT_BYTES]);
