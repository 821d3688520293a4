/* SPDX-License-Identifier: Apache-2.0 */
/* Makes the image of a volume's received frames that a rescan reads (agent_writer.h). */
#include <errno.h>
#include <stdlib.h>

#include "base/text.h"
#include "store/own_id.h"
#include "store/receive/agent_writer_private.h"
#include "store/view/image_private.h"

/* What the image consists of, as it is when it is opened. */
struct received {
    struct blx_agent_store agent; /* with `id` */
    blx_timestamp last_timestamp; /* whose chain is below the pending segments; 0: none */
    struct blx_agent_lock lock;   /* holds it */
    uint64_t size_bytes;
    unsigned block_shift;
    char id[BLX_NAME_BYTES];
    char name[BLX_NAME_BYTES];
    char dir[PATH_MAX];
    size_t pending_count;
    uint32_t pending[]; /* their numbers, ascending */
};

static int add(void *arg, struct blx_plan *plan, struct blx_error *err)
{
    const struct received *received = arg;
    plan->size_bytes = received->size_bytes;
    plan->block_shift = received->block_shift;
    for (size_t i = received->pending_count; i > 0; i--) {
        int rc = blx_plan_add_segment(plan, received->dir, received->pending[i - 1],
                                      plan->size_bytes, err);
        if (rc < 0)
            return rc;
    }
    if (received->last_timestamp == 0)
        return 0;
    return blx_plan_add_chain(received->agent, received->last_timestamp, received->name, plan, err);
}

static void done(void *arg)
{
    struct received *received = arg;
    blx_agent_lock_close(&received->lock);
    free(received);
}

/* NULL: no memory. */
static struct received *list(const struct blx_agent_writer *writer,
                             const struct blx_received_volume *volume)
{
    size_t bytes = volume->pending_count * sizeof(uint32_t);
    struct received *received = calloc(1, sizeof(*received) + bytes);
    if (received == NULL)
        return NULL;
    received->lock.fd = -1;
    received->last_timestamp = volume->file.full_since == 0 ? writer->agent.last_timestamp : 0;
    received->size_bytes = volume->info.size_bytes;
    received->block_shift = volume->info.block_shift;
    blx_text_set(received->id, writer->agent.store.id);
    blx_text_set(received->name, volume->info.name);
    blx_text_set(received->dir, volume->dir);
    received->agent = blx_store_agent(writer->agent.store.store, received->id);
    received->pending_count = volume->pending_count;
    for (size_t i = 0; i < volume->pending_count; i++)
        received->pending[i] = volume->pending[i].number;
    return received;
}

static int hold(struct received *received, struct blx_error *err)
{
    if (received->last_timestamp == 0)
        return 0;
    int rc = blx_agent_lock_begin(received->agent, received->last_timestamp, &received->lock, err);
    blx_agent_lock_release(&received->lock, BLX_LOCK_CHAINS);
    return rc;
}

/* By the key of the session's frames, by that of its digests, or, without either, the data. */
static int describe(const struct blx_agent_writer *writer, const char *volume,
                    struct blx_view_source *source, struct blx_volume_key *key,
                    struct blx_error *err)
{
    const struct blx_received_agent *agent = &writer->agent;
    source->key_id = agent->key_id;
    source->content = BLX_VIEW_CONTENT_DIGESTS;
    source->digest_key_id = agent->key_id;
    if (!blx_key_id_is_none(&agent->key_id))
        return 0;
    source->digest_key_id = agent->digest_key.id;
    if (blx_key_id_is_none(&agent->digest_key.id)) {
        source->content = BLX_VIEW_CONTENT_DATA;
        return 0;
    }
    char id[BLX_NAME_BYTES];
    int rc = blx_own_id_read(agent->store, id, err);
    source->digest_key = key;
    return rc == 0 ? blx_volume_key_derive(&agent->digest_key, id, volume, key, err) : rc;
}

int blx_agent_writer_open_image(struct blx_agent_writer *writer, uint32_t number,
                                enum blx_image_origin origin, struct blx_image **image,
                                struct blx_error *err)
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
    struct received *received = list(writer, volume);
    if (received == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot read what is stored");
    rc = hold(received, err);
    if (rc < 0) {
        done(received);
        return rc;
    }
    struct blx_volume_key key = {0};
    struct blx_view_source source = {
        .add = add,
        .done = done,
        .arg = received,
        .tables = origin == BLX_IMAGE_FROM_TABLES ? BLX_VIEW_TABLES_USED : BLX_VIEW_TABLES_IGNORED,
        .max_entries = BLX_IMAGE_MAX_ENTRIES,
        .max_map_bytes = BLX_IMAGE_MAP_BYTES,
    };
    rc = describe(writer, volume->info.name, &source, &key, err);
    if (rc < 0)
        done(received);
    else
        rc = blx_image_open(&source, image, err);
    blx_volume_key_wipe(&key);
    return rc;
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
    rc = volume->is_made ? blx_volume_file_write(volume->dir, &file, err) : 0;
    if (rc < 0)
        return blx_agent_writer_fail(writer, rc);
    volume->file = file;
    return 0;
}
