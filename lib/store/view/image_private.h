/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes an image of a view's source (image.h is the public side). Private to lib/store:
 * received_image.c knows the received frames.
 */
#pragma once

#include "store/view/image.h"
#include "store/view/view_private.h"

/* Takes over source->arg, also after an error; the cache is the image's own. */
int blx_image_open(struct blx_view_source *source, struct blx_image **image, struct blx_error *err);
