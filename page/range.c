/* SPDX-License-Identifier: Apache-2.0 */
#include "page/range.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* A number of digits alone; a larger one than there are is the largest. */
static bool read_number(const char **text, uint64_t *number)
{
    char *end = NULL;
    if (!isdigit((unsigned char)**text))
        return false;
    *number = strtoull(*text, &end, 10);
    *text = end;
    return true;
}

int page_range_parse(const char *header, uint64_t size, struct page_range *range)
{
    uint64_t first = 0, last = UINT64_MAX;
    if (header == NULL || strncmp(header, "bytes=", 6) != 0)
        return 0;
    const char *at = header + 6;
    bool has_first = read_number(&at, &first);
    if (*at++ != '-')
        return 0;
    bool has_last = read_number(&at, &last);
    if (*at != '\0' || (!has_first && !has_last) || (has_first && has_last && last < first))
        return 0;
    if (!has_first) {
        if (last == 0)
            return -ERANGE;
        first = last < size ? size - last : 0;
        last = size - 1;
    }
    if (first >= size)
        return -ERANGE;
    range->first = first;
    range->bytes = (last < size - 1 ? last : size - 1) - first + 1;
    return 1;
}
