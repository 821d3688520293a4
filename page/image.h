/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /image: a volume of a checkpoint as a raw image, read through a view, so that nothing is copied
 * before. A browser goes on where it was (Range); the ETag names agent, checkpoint and volume,
 * whose content never changes. PAGE_IMAGES are sent at a time. Encrypted ones are not: no key ever
 * comes here.
 *
 * Threads: any; one lock guards the count.
 */
#pragma once

#include "page/request.h"

enum { PAGE_IMAGES = 4, PAGE_IMAGE_CACHE_BYTES = 32 << 20 };

enum MHD_Result page_image_serve(const struct page_request *request);
