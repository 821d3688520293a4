/* SPDX-License-Identifier: Apache-2.0 */
/* What an object store answers: any bytes are read within the bounds, and each element that ends
 * has begun. */
#include <string.h>

#include "fuzz.h"
#include "object/xml.h"

struct seen {
    size_t begun, ended;
    size_t depth;
};

static int begin(void *arg, const char *path)
{
    struct seen *seen = arg;
    FUZZ_ASSERT(strlen(path) < OBJECT_XML_PATH_BYTES);
    seen->begun++;
    FUZZ_ASSERT(++seen->depth <= OBJECT_XML_DEPTH);
    return 0;
}

static int end(void *arg, const char *path, const char *text)
{
    struct seen *seen = arg;
    FUZZ_ASSERT(path[0] != '\0' && strlen(path) < OBJECT_XML_PATH_BYTES);
    FUZZ_ASSERT(strlen(text) < OBJECT_XML_TEXT_BYTES);
    FUZZ_ASSERT(seen->depth-- > 0);
    FUZZ_ASSERT(++seen->ended <= seen->begun);
    return text[0] == '!' ? -1 : 0; /* some walk ends early */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct seen seen = {0};
    struct blx_error err = {0};
    const struct object_xml_walk walk = {.arg = &seen, .begin = begin, .end = end};
    if (object_xml_read(data, size, &walk, &err) == 0)
        FUZZ_ASSERT(seen.depth == 0 && seen.begun == seen.ended && seen.begun > 0);
    return 0;
}
