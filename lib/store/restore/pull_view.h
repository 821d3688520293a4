/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A volume of a checkpoint at a dispatcher, readable at any place (view/view.h): for files out of
 * it, not for all of it. Its frames come as they are needed, some more when they are needed in
 * order, and go through the cache; the key is here alone, and nothing that comes is believed.
 *
 * Frames are asked for by their number in a plan, and the dispatcher has one plan: if a view has
 * more than one window, or a pull several views, the plan is asked for again at a change.
 *
 * Memory: that of a view, and 2 MiB of frames that were fetched ahead.
 *
 * Threads: as a view's; but only one view of a pull at a time may be in use. Waits for the network,
 * and makes a connection that is lost again.
 */
#pragma once

#include "crypt/keyring.h"
#include "store/restore/pull.h"
#include "store/view/view.h"

/* The pull and the cache are borrowed until the view is closed. -ENOKEY as blx_keyring_choose();
 * -EBADMSG if the dispatcher cannot plan, or its plan makes no sense; -ENOMEM; as
 * blx_pull_volume(). */
int blx_pull_view_open(struct blx_pull *pull, uint32_t volume, const struct blx_keyring *keys,
                       struct blx_frame_cache *cache, struct blx_view **view,
                       struct blx_error *err);
