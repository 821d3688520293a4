/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Receiving: the session's side of the store. An agent's writer holds its volumes; frames are
 * appended, synced and acknowledged; a checkpoint seals every volume's open segment and writes the
 * manifest.
 *
 * When something is durable: blx_agent_writer_sync() returns after fdatasync of the open segments,
 * and only then may frames be acknowledged (I2). blx_agent_writer_commit() seals (fsync, rename,
 * fsync of the directory), then writes the manifest likewise. A crash before the manifest's rename
 * leaves sealed segments that no manifest names: they belong to the next checkpoint.
 * blx_agent_writer_add_volume() finds them.
 *
 * A full pass sends all that counts. So frames that were received before it began and are in no
 * checkpoint are dropped: the base begins with the segment that was opened for the pass, and
 * nothing of another size or disk gets into it.
 *
 * After an error of the disk (ENOSPC, EIO) a writer refuses everything with -EIO: nothing more is
 * acknowledged, the session ends, and the next writer recovers.
 *
 * A volume's file `volume` (replaced atomically) says which generation its stored frames belong to,
 * whether a full pass began and has not been committed, and the volume's size; it is durable before
 * the first frame of a pass is acknowledged.
 *
 * Threads: one thread (the session) uses a writer. One writer per agent: the dispatcher's registry
 * sees to it.
 */
#pragma once

#include "base/error.h"
#include "store/receive/agent_tail.h"
#include "store/checkpoint/manifest.h"
#include "store/store.h"
#include "store/view/image.h"
#include "wire/frame.h"
#include "wire/message.h"

struct blx_agent_writer;

enum blx_agent_folder {
    BLX_AGENT_FOLDER_ANY,   /* is made if it is missing */
    BLX_AGENT_FOLDER_THERE, /* -ENOENT if it is missing: it was removed or renamed meanwhile */
};

/* Makes what is missing below the agent's folder. -EBUSY while the agent is being removed
 * (remove.h) or renamed (rename.h); afterwards neither can happen before the writer is closed. The
 * store is borrowed. `tail` was left by the agent's writer before, and is taken in any case; NULL:
 * the folders are listed. */
int blx_agent_writer_open_in(struct blx_agent_store agent, enum blx_agent_folder folder,
                             struct blx_agent_tail *tail, struct blx_agent_writer **writer,
                             struct blx_error *err);

/* The same with a folder that may be missing. */
static inline int blx_agent_writer_open(struct blx_agent_store agent, struct blx_agent_tail *tail,
                                        struct blx_agent_writer **writer, struct blx_error *err)
{
    return blx_agent_writer_open_in(agent, BLX_AGENT_FOLDER_ANY, tail, writer, err);
}

/* What the writer leaves for the agent's next one; it is to be closed next. NULL if the disk failed
 * or memory is short: the next writer then has to look. Free with free(). */
struct blx_agent_tail *blx_agent_writer_make_tail(const struct blx_agent_writer *writer);

/* Frames that were appended and not synced may be lost. NULL is allowed. */
void blx_agent_writer_close(struct blx_agent_writer *writer);

/* The newest committed checkpoint, with timestamp 0 if there is none. Borrowed until the next
 * commit. A damaged one has only its timestamp. */
const struct blx_manifest *blx_agent_writer_get_last(const struct blx_agent_writer *writer);

/*
 * The session's frames are encrypted with this key; none (as it is without a call): they are not.
 * To be called before the first volume. A chain has one key: if the stored frames have another one,
 * or none, new frames cannot go on from them, and a full pass follows.
 */
void blx_agent_writer_set_key(struct blx_agent_writer *writer, const struct blx_key_id *key_id);

/* The session's frames come with digests (blx_frame_parse_with_digests()) that are made with this
 * key, unless they are encrypted, and its images are of digests. To be called before the first
 * volume. Without a call frames come without, and images are of data. */
void blx_agent_writer_set_digest_key(struct blx_agent_writer *writer, const struct blx_key *key);

/* A volume may lie on another disk than before: its machine has restored it, so it is compared, and
 * no full pass follows. To be called before the first volume. */
void blx_agent_writer_take_any_disk(struct blx_agent_writer *writer);

/*
 * Announces the session's volume number info->volume (in order, from 0): recovers it, and tells the
 * last durable frame. A new one gets its folder with its first frame, or its first checkpoint. If
 * the size, block size or identity in `info` differs from the stored one, or if frames were lost,
 * state->generation is none. A rescan may compare with state->image_bytes of what is stored; 0 for
 * another disk, a larger one, or one that cannot be read: then a full pass follows. -EEXIST if two
 * volumes of the session have one name.
 *
 * If the open segment is damaged it is cut off there, and durable_seq is before the damage. Only
 * the agent knows whether acknowledged frames were lost by that, or some that a power cut tore
 * before they were acknowledged.
 */
int blx_agent_writer_add_volume(struct blx_agent_writer *writer, const struct blx_volume_info *info,
                                struct blx_volume_state *state, struct blx_error *err);

/* Why the frames stored of that volume cannot go on, for the log and `status`; "" if they can.
 * Borrowed from the writer. */
const char *blx_agent_writer_get_reason(const struct blx_agent_writer *writer, uint32_t number);

/*
 * Begins a pass. RESUME needs the stored generation to equal the announced one: -EPROTO otherwise.
 * FULL records the new generation, size and identity durably and drops the frames that no
 * checkpoint has. RESCAN (-EPROTO unless there was an image, and the generation is another one)
 * records them too, and keeps what is stored: the frames of the new generation go on top of it.
 * CONTINUE does the same, and is -EPROTO unless add_volume() told a generation. The
 * next frame is the one after the durable_seq that blx_agent_writer_add_volume() told for this
 * generation, and 1 in any other.
 */
int blx_agent_writer_begin(struct blx_agent_writer *writer, uint32_t number, enum blx_pass pass,
                           struct blx_error *err);

/* For the log: says what was cut off the volume's open segment when it was announced, if that was
 * more than a torn end; "" mostly. Borrowed from the writer. */
const char *blx_agent_writer_get_cut(const struct blx_agent_writer *writer, uint32_t number);

/*
 * The volume's stored content as an image to read (image.h): its last checkpoint and every frame
 * appended after it, or, if a full pass has begun, just the pass's frames. Seals the open
 * segment, so that the image reads files that do not change. -EBADMSG if the chain cannot be
 * read: only a full pass helps, blx_agent_writer_distrust(). Free with blx_image_close().
 */
int blx_agent_writer_open_image(struct blx_agent_writer *writer, uint32_t number,
                                enum blx_image_origin origin, struct blx_image **image,
                                struct blx_error *err);

/* The volume's stored frames are useless from now on: the next session is told to begin with a full
 * pass. Durable. */
int blx_agent_writer_distrust(struct blx_agent_writer *writer, uint32_t number,
                              struct blx_error *err);

/*
 * Appends a frame, and its digests if the session has a key for them (parsed here; checked against
 * the volume: generation, key, block size, bounds, seq exactly the next one; and that there is a
 * digest for each block). -EBADMSG or -EPROTO: the agent's fault, nothing was written. Others:
 * the disk's.
 */
int blx_agent_writer_append(struct blx_agent_writer *writer, uint32_t number, const void *bytes,
                            size_t length, struct blx_error *err);

/* Bytes appended since the last sync, over all volumes. */
uint64_t blx_agent_writer_count_unsynced(const struct blx_agent_writer *writer);

/*
 * Makes everything appended durable. For each volume that has news since the last call, acked(arg,
 * volume, durable_seq) is called.
 */
int blx_agent_writer_sync(struct blx_agent_writer *writer,
                          void (*acked)(void *arg, uint32_t volume, uint64_t durable_seq),
                          void *arg, struct blx_error *err);

/*
 * Notes the blocks that the next checkpoint lacks, because the agent could not read them; the next
 * commit uses them up. -EPROTO if the volume has not begun, or extents lie beyond its end, or were
 * noted before.
 */
int blx_agent_writer_note_unreadable(struct blx_agent_writer *writer,
                                     const struct blx_unreadable *unreadable,
                                     struct blx_error *err);

/*
 * When a checkpoint was cut and is committed, by the clock of this side, since 1970 in UTC. The
 * agent's own clock (cut->cut_realtime_ns) stays in the manifest as information and decides
 * nothing: an agent that lies, or whose clock is wrong, could otherwise have its history pruned
 * (I13).
 */
struct blx_commit_times {
    uint64_t cut_realtime_ns;
    uint64_t committed_realtime_ns;
};

/*
 * Commits a checkpoint of the announced volumes, without those in cut->left_out: their frames wait
 * for a later one, and the checkpoint carries their chains on. cut->last_seq must be what has been
 * appended (-EPROTO otherwise); cut->volume_count all the session's volumes. A full pass that was
 * begun becomes the chain's base here. The timestamp is the UTC second of times->cut_realtime_ns,
 * or the next free one after the agent's last checkpoint. After an error of the disk the checkpoint
 * may exist nevertheless: the next writer sees.
 */
int blx_agent_writer_commit(struct blx_agent_writer *writer,
                            const struct blx_checkpoint_message *cut,
                            const struct blx_commit_times *times, blx_timestamp *timestamp,
                            struct blx_error *err);
