/* SPDX-License-Identifier: Apache-2.0 */
/* The names of a folder. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "files/places.h"

/* A folder of a hostile filesystem may have more names than there is memory for. */
enum { MAX_NAMES = 10000000 };

void files_names_done(struct files_names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->names[i].text);
    free(names->names);
    *names = (struct files_names){0};
}

static int add(void *arg, const char *name, size_t length, uint64_t number)
{
    struct files_names *names = arg;
    if (length > 255 || memchr(name, '/', length) != NULL || memchr(name, '\0', length) != NULL) {
        names->strange++;
        return 0;
    }
    if (names->count == MAX_NAMES)
        return -E2BIG;
    char *copy = strndup(name, length);
    if (copy == NULL || blx_array_make_room(names->names, names->count) < 0) {
        free(copy);
        return -ENOMEM;
    }
    names->names[names->count++] = (struct files_name){.text = copy, .number = number};
    return 0;
}

static int compare(const void *a, const void *b)
{
    const struct files_name *first = a, *second = b;
    return strcmp(first->text, second->text);
}

int files_names_read(struct files_tree *tree, struct files_node folder, struct files_names *names,
                     struct blx_error *err)
{
    *names = (struct files_names){0};
    int rc = tree->kind->list(tree, folder, add, names, err);
    if (rc < 0)
        files_names_done(names);
    else if (names->count > 0)
        qsort(names->names, names->count, sizeof(names->names[0]), compare);
    return rc;
}
