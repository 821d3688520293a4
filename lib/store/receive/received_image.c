/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the image of a volume's received frames that a rescan reads (agent_writer.h). */
#include <errno.h>

#include "base/cleanup.h"
#include "store/receive/agent_writer_private.h"
#include "store/view/image_private.h"

/*
 * Nobody knows the blocks that the last checkpoint lacks, whatever older frames hold. Their entries
 * come below the frames after the checkpoint and above its chain: they have the rank of its newest
 * segment, and of equal ranks the later entry wins.
 */
static int add_unreadable(struct blx_plan *plan, size_t newer_segments, struct blx_error *err)
{
    for (uint32_t i = 0; i < plan->unreadable_count; i++) {
        struct blx_index_entry unknown = {.extent = plan->unreadable[i],
                                          .segment = BLX_IMAGE_UNKNOWN,
                                          .rank = UINT32_MAX - 1 - (uint32_t)newer_segments};
        if (blx_index_add(&plan->index, &unknown) < 0)
            return blx_error_errno(err, -ENOMEM, "cannot read what is stored");
    }
    return 0;
}

static int add_all(struct blx_agent_writer *writer, const struct blx_received_volume *volume,
                   struct blx_plan *plan, struct blx_error *err)
{
    plan->size_bytes = volume->info.size_bytes;
    plan->block_shift = volume->info.block_shift;
    for (size_t i = volume->pending_count; i > 0; i--) {
        int rc = blx_plan_add_segment(plan, volume->dir, volume->pending[i - 1].number,
                                      plan->size_bytes, err);
        if (rc < 0)
            return rc;
    }
    if (volume->file.full_since != 0)
        return 0;
    int rc = blx_plan_add_chain(writer->agent.store, writer->agent.last_timestamp,
                                volume->info.name, plan, err);
    return rc < 0 ? rc : add_unreadable(plan, volume->pending_count, err);
}

int blx_agent_writer_open_image(struct blx_agent_writer *writer, uint32_t number,
                                struct blx_image **image, struct blx_error *err)
{
    int rc = blx_agent_writer_check(writer, err);
    if (rc < 0)
        return rc;
    if (number >= writer->volume_count || !writer->volumes[number]->begun)
        return blx_error_set(err, -EPROTO, "there is no image of the volume number %u", number);
    struct blx_received_volume *volume = writer->volumes[number];
    rc = blx_received_volume_seal_frames(volume, err);
    if (rc < 0)
        return blx_agent_writer_fail(writer, rc);
    BLX_CLEANUP(blx_plan_done) struct blx_plan plan = {0};
    rc = add_all(writer, volume, &plan, err);
    return rc < 0 ? rc : blx_image_new(&plan, &writer->agent.key_id, image, err);
}

int blx_agent_writer_distrust(struct blx_agent_writer *writer, uint32_t number,
                              struct blx_error *err)
{
    int rc = blx_agent_writer_check(writer, err);
    if (rc < 0)
        return rc;
    struct blx_received_volume *volume = writer->volumes[number];
    struct blx_volume_file file = volume->file;
    file.distrusted = true;
    rc = blx_volume_file_write(volume->dir, &file, err);
    if (rc < 0)
        return blx_agent_writer_fail(writer, rc);
    volume->file = file;
    return 0;
}
