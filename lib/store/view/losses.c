/* SPDX-License-Identifier: Apache-2.0 */
#include "store/view/losses.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/text.h"

void blx_losses_done(struct blx_losses *losses)
{
    free(losses->list);
    *losses = (struct blx_losses){0};
}

int blx_losses_add(struct blx_losses *losses, uint64_t offset_bytes, uint64_t bytes,
                   enum blx_loss_content content, const char *cause)
{
    if (blx_array_make_room(losses->list, losses->count) < 0)
        return -ENOMEM;
    struct blx_loss *loss = &losses->list[losses->count++];
    *loss = (struct blx_loss){.offset_bytes = offset_bytes, .bytes = bytes, .content = content};
    blx_text_set(loss->cause, cause);
    return 0;
}

static int compare_losses(const void *a, const void *b)
{
    const struct blx_loss *x = a, *y = b;
    if ((x->bytes == 0) != (y->bytes == 0))
        return x->bytes == 0 ? -1 : 1;
    if (x->offset_bytes != y->offset_bytes)
        return x->offset_bytes < y->offset_bytes ? -1 : 1;
    return strcmp(x->cause, y->cause);
}

void blx_losses_sort(struct blx_losses *losses)
{
    size_t kept = 0;
    if (losses->count > 0)
        qsort(losses->list, losses->count, sizeof(losses->list[0]), compare_losses);
    for (size_t i = 0; i < losses->count; i++) {
        const struct blx_loss *loss = &losses->list[i];
        struct blx_loss *last = kept == 0 ? NULL : &losses->list[kept - 1];
        if (last != NULL && last->bytes == 0 && loss->bytes == 0 &&
            strcmp(last->cause, loss->cause) == 0)
            continue;
        if (last != NULL && last->bytes > 0 && last->content == loss->content &&
            last->offset_bytes + last->bytes == loss->offset_bytes &&
            strcmp(last->cause, loss->cause) == 0)
            last->bytes += loss->bytes;
        else
            losses->list[kept++] = *loss;
    }
    losses->count = kept;
}
