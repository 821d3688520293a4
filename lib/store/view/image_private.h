/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes an image of a plan (image.h is the public side). Private to lib/store: received_image.c
 * plans the received frames, and makes one.
 */
#pragma once

#include "store/view/image.h"
#include "store/view/plan_private.h"

/* Takes over the plan, which is zeroed, and flattens its index. All its frames should be encrypted
 * with `key_id`; none: they should not be. After an error the plan is still the caller's. */
int blx_image_new(struct blx_plan *plan, const struct blx_key_id *key_id, struct blx_image **image,
                  struct blx_error *err);

/* An entry of the plan's index with this segment number stands for blocks that nobody knows:
 * reading them is an error. */
#define BLX_IMAGE_UNKNOWN UINT32_MAX
