/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a planned reboot keeps of the tracking: the marks of each volume, how far its stream is, and
 * what proves at the next boot that nobody has written to the disk meanwhile. It lies in the area
 * of a preallocated file (area.h):
 *
 *     +------------------+------------------+--------------------------------------+
 *     | head             | history          | body: a record of each volume, and   |
 *     | 4096 bytes       | 4096 bytes       | its marks                            |
 *     +------------------+------------------+--------------------------------------+
 *
 * The head is written last, and its digest (SHA-256) covers head and body: a save that was torn by
 * a power cut is none. After it was read once its state becomes USED. The history has a digest of
 * its own, so that it outlives the save: how long the last reboots took.
 *
 * Everything is little-endian. Marks are runs, each as two numbers of 7 bits a byte: how many
 * blocks lie between it and the one before, and how many blocks it has. If there is no room for all
 * runs, small gaps between them count as marked: more marks than needed are never wrong.
 *
 * Threads: pure functions. Nothing here blocks or prints.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/name.h"
#include "base/timestamp.h"
#include "wire/frame.h"
#include "wire/message.h"

enum {
    AGENT_SAVE_HEAD_BYTES = 4096,
    AGENT_SAVE_HISTORY_BYTES = 4096,
    AGENT_SAVE_BODY_AT = AGENT_SAVE_HEAD_BYTES + AGENT_SAVE_HISTORY_BYTES,
    AGENT_SAVE_DIGEST_BYTES = 32,
    AGENT_SAVE_BOOT_ID_BYTES = 37, /* with the NUL */
    AGENT_SAVE_KERNEL_NAME_BYTES = 64,
    AGENT_SAVE_ABOVE = 8, /* device-mapper devices on a volume */
    AGENT_SAVE_REBOOTS = 8,
};

/* The word that systemd passes to the executables of system-shutdown/. */
enum agent_save_verb {
    AGENT_SAVE_UNKNOWN,
    AGENT_SAVE_REBOOT,
    AGENT_SAVE_POWEROFF,
    AGENT_SAVE_HALT,
    AGENT_SAVE_KEXEC,
    AGENT_SAVE_VERBS,
};

/* NULL, and a word that is none, are UNKNOWN. */
enum agent_save_verb agent_save_find_verb(const char *word);
const char *agent_save_name_verb(enum agent_save_verb verb);

/* A device that lies on the volume, not as one range of it: it is read by itself. */
struct agent_save_above {
    uint8_t uuid[AGENT_SAVE_DIGEST_BYTES];       /* the digest of its UUID */
    uint8_t superblock[AGENT_SAVE_DIGEST_BYTES]; /* of its first bytes */
};

struct agent_save_volume {
    char kernel_name[AGENT_SAVE_KERNEL_NAME_BYTES]; /* a hint: another boot may name it otherwise */
    char identity[BLX_TEXT_BYTES];                  /* of the device; "" if it has none */
    char refusal[BLX_TEXT_BYTES]; /* why its tracking is not kept; "": nothing was against it */
    char volume[BLX_NAME_BYTES];
    uint64_t start_bytes, size_bytes; /* on its disk; its own */
    uint64_t blocks;
    uint32_t block_shift;

    /* As in the ledger's head. */
    struct blx_generation stream, base;
    bool stream_used, checkpoint_unconfirmed, pass_is_rescan, rescan_active;
    uint64_t acked_seq, sent_seq, base_seq;
    blx_timestamp last_checkpoint;
    uint64_t pass_total_blocks, rescan_cursor_block, rescan_end_block;
    char pass_reason[BLX_TEXT_BYTES], rescan_reason[BLX_TEXT_BYTES];

    uint8_t superblocks[AGENT_SAVE_DIGEST_BYTES];
    struct agent_save_above above[AGENT_SAVE_ABOVE];
    uint32_t above_count;
    uint64_t write_commands; /* that the drive has counted; UINT64_MAX: it does not tell. In the
                              * head, since only the last write knows it */

    const uint64_t *marks; /* to encode: a bit for each block; borrowed */
    const uint8_t *packed; /* decoded: the runs; borrowed from what was decoded */
    uint64_t packed_bytes;
};

struct agent_save {
    struct blx_generation id;
    char boot_id[AGENT_SAVE_BOOT_ID_BYTES]; /* of the boot that made it */
    enum agent_save_verb verb;
    uint64_t saved_s; /* by the machine's clock (facts.h) */
    uint32_t volume_count;
    struct agent_save_volume volumes[BLX_MAX_VOLUMES];
};

/*
 * Encodes into `area`, of `bytes` bytes, all but the history. `*used_bytes`: up to where. -ENOSPC
 * if the records alone do not fit.
 */
int agent_save_encode(const struct agent_save *save, uint8_t *area, size_t bytes,
                      size_t *used_bytes, struct blx_error *err);

/* The head again, for counts of write commands that have become known. `area` has the body. */
void agent_save_encode_head(const struct agent_save *save, uint8_t *area, size_t used_bytes);

/*
 * Decodes and validates. -ENODATA: there is none; -EALREADY: it was used before; -EBADMSG: it is
 * torn or damaged; -ENOTSUP: it has another version. `save` is written only on success, and borrows
 * from `area`.
 */
int agent_save_decode(const uint8_t *area, size_t bytes, struct agent_save *save,
                      struct blx_error *err);

/* Makes a head that says that the save was used. */
void agent_save_make_used(uint8_t head[AGENT_SAVE_HEAD_BYTES]);

/* Sets the bits of the marks of a decoded volume. `words` has room for its blocks. */
void agent_save_unpack(const struct agent_save_volume *volume, uint64_t *words);

/* How many seconds the machine was away in its last reboots, from the save to the kernel's start.
 */
struct agent_save_history {
    uint32_t count;
    uint32_t seconds[AGENT_SAVE_REBOOTS];
};

/* Adds one; the oldest goes if there is no room. */
void agent_save_history_add(struct agent_save_history *history, uint32_t seconds);

void agent_save_history_encode(const struct agent_save_history *history,
                               uint8_t block[AGENT_SAVE_HISTORY_BYTES]);

/* What is damaged, or of another version, is empty. */
void agent_save_history_decode(const uint8_t block[AGENT_SAVE_HISTORY_BYTES],
                               struct agent_save_history *history);
