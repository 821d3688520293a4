/* SPDX-License-Identifier: Apache-2.0 */
#include "base/text.h"

#include <string.h>

#include "base/assert.h"

void blx_text_copy(char *to, size_t bytes, const char *from)
{
    blx_assert(bytes > 0);
    size_t length = strnlen(from, bytes - 1);
    memmove(to, from, length);
    to[length] = '\0';
}
