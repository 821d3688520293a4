/* SPDX-License-Identifier: Apache-2.0 */
/* The end of a shutdown: gathers the marks and writes them. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/disk/mounts.h"
#include "agent/reboot/area.h"
#include "agent/reboot/facts.h"
#include "agent/reboot/keep.h"
#include "agent/reboot/keep_private.h"
#include "agent/track/volume.h"
#include "base/bitmap.h"
#include "base/cleanup.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"

static const char pins[] = "/sys/fs/bpf/blxrep";

enum { FAT_MAX = 64 };

struct saving {
    struct agent_area area;
    uint8_t *image; /* owned; of AGENT_AREA_BYTES, aligned */
    struct agent_save save;
    struct agent_volume volumes[BLX_MAX_VOLUMES];
    uint64_t *marks[BLX_MAX_VOLUMES]; /* owned */
};

static void refuse(struct agent_save_volume *saved, const char *why)
{
    if (saved->refusal[0] != '\0')
        return;
    blx_text_set(saved->refusal, why);
    blx_log_warning("'%s' will be compared after the reboot: %s", saved->kernel_name, why);
}

void agent_keep_format_node(const char *kernel_name, char path[BLX_TEXT_BYTES])
{
    snprintf(path, BLX_TEXT_BYTES, "/dev/%.64s", kernel_name);
    for (char *c = path; (c = strchr(c, '!')) != NULL;)
        *c = '/';
}

/* The tracker is adopted, or this volume is not kept: one that is made now knows nothing. */
static void open_volume(struct agent_save_volume *saved, const char *run_dir, uint32_t index,
                        struct agent_volume *volume)
{
    char path[BLX_TEXT_BYTES];
    struct blx_error why = {0};
    agent_keep_format_node(saved->kernel_name, path);
    if (agent_volume_open(path, run_dir, index, volume, &why) < 0) {
        refuse(saved, why.message);
        return;
    }
    if (agent_tracker_is_adopted(volume->tracker))
        return;
    refuse(saved, "nobody knows which blocks were in flight when the agent ended");
    agent_volume_abandon(volume);
}

/* Opening the tracker of another run directory's agent would end it. */
static bool has_ledger(const char *run_dir, const char *kernel_name)
{
    char path[PATH_MAX];
    return blx_path_format(path, sizeof(path), NULL, "%s/%s.ledger", run_dir, kernel_name) == 0 &&
           access(path, F_OK) == 0;
}

static void find_volumes(struct saving *saving, const char *run_dir)
{
    struct agent_save *save = &saving->save;
    BLX_CLEANUP_DIR DIR *folder = opendir(pins);
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.' || save->volume_count == BLX_MAX_VOLUMES ||
            !has_ledger(run_dir, entry->d_name))
            continue;
        struct agent_save_volume *saved = &save->volumes[save->volume_count];
        blx_text_set(saved->kernel_name, entry->d_name);
        saved->write_commands = UINT64_MAX;
        open_volume(saved, run_dir, save->volume_count, &saving->volumes[save->volume_count]);
        save->volume_count++;
    }
}

/* A filesystem that the shutdown could not make read-only goes on writing after us. */
static bool is_writable(const struct agent_device *device)
{
    struct agent_mounts mounts = {0};
    bool is =
        agent_mounts_find(device, 1, &mounts, NULL) < 0 || mounts.count + mounts.doubt_count > 0;
    agent_mounts_done(&mounts);
    return is;
}

/* What the agent and the tracker have against it. */
static void judge(struct agent_volume *volume, struct agent_save_volume *saved)
{
    struct agent_tracker_counters counters;
    struct blx_error why = {0};
    char reason[BLX_TEXT_BYTES];
    const struct agent_ledger_head *head = volume->ledger.head;
    if (head->left == AGENT_NOT_LEFT)
        refuse(saved, "the agent did not end in order before the shutdown");
    if (head->left == AGENT_LEFT_UNKNOWN_LOADER)
        refuse(saved, "the boot loader's environment lies on a filesystem whose blocks are not "
                      "known, and it may write there");
    if (!head->stream_used)
        refuse(saved, "nothing of it had been sent yet");
    agent_sleep_look(&volume->ledger.head->sleep);
    if (agent_tracker_read_counters(volume->tracker, &counters, &why) < 0)
        refuse(saved, why.message);
    else if (agent_volume_is_doubtful(volume, &counters, reason))
        refuse(saved, reason);
    if (agent_tracker_mark_owed(volume->tracker) || agent_device_count_writes(&volume->device) != 0)
        refuse(saved, "writes to it were still in flight at the end of the shutdown");
    if (volume->device.size_bytes > 0 && agent_device_find_change(&volume->device) != NULL)
        refuse(saved, "it was resized or replaced");
    if (is_writable(&volume->device))
        refuse(saved, "a filesystem on it could not be made read-only at the end of the shutdown");
}

static void copy_head(const struct agent_ledger_head *head, struct agent_save_volume *saved)
{
    blx_text_set(saved->volume, head->volume);
    blx_text_set(saved->pass_reason, head->pass_reason);
    blx_text_set(saved->rescan_reason, head->rescan_reason);
    saved->stream = head->stream;
    saved->base = head->base;
    saved->stream_used = head->stream_used;
    saved->checkpoint_unconfirmed = head->checkpoint_unconfirmed;
    saved->acked_seq = head->acked_seq;
    saved->sent_seq = head->sent_seq;
    saved->base_seq = head->base_seq;
    saved->last_checkpoint = head->last_checkpoint;
    saved->pass_total_blocks = head->pass_total_blocks;
    saved->pass_is_rescan = head->pass_is_rescan;
    saved->rescan_active = head->rescan_active;
    saved->rescan_cursor_block = head->rescan_cursor_block;
    saved->rescan_end_block = head->rescan_end_block;
}

/* What is dirty or pending; what was in flight is pending since the volume was opened. And whatever
 * firmware and boot loader may write. */
static uint64_t *gather_marks(const struct agent_volume *volume)
{
    const uint64_t words = blx_bitmap_words(volume->blocks);
    struct blx_extent fat[FAT_MAX];
    uint64_t *marks = calloc(words, sizeof(*marks));
    if (marks == NULL)
        return NULL;
    for (uint64_t i = 0; i < words; i++)
        marks[i] = __atomic_load_n(&volume->dirty[i], __ATOMIC_SEQ_CST) |
                   __atomic_load_n(&volume->ledger.pending[i], __ATOMIC_SEQ_CST);
    size_t count = agent_facts_list_fat(&volume->device, fat, FAT_MAX, volume->block_shift);
    for (size_t i = 0; i < count; i++)
        if (blx_extent_end(fat[i]) <= volume->blocks)
            blx_bitmap_set(marks, fat[i]);
    return marks;
}

static void gather(struct saving *saving, uint32_t index)
{
    struct agent_save_volume *saved = &saving->save.volumes[index];
    struct agent_volume *volume = &saving->volumes[index];
    struct blx_error why = {0};
    if (volume->tracker == NULL)
        return;
    judge(volume, saved);
    blx_text_set(saved->identity, volume->device.identity);
    saved->start_bytes = volume->device.disk_start_bytes;
    saved->size_bytes = volume->device.size_bytes;
    saved->blocks = volume->blocks;
    saved->block_shift = volume->block_shift;
    copy_head(volume->ledger.head, saved);
    if (agent_facts_read_superblocks(&volume->device, saved, &why) < 0)
        refuse(saved, why.message);
    saved->marks = saving->marks[index] = gather_marks(volume);
    if (saved->marks == NULL)
        refuse(saved, "there was not enough memory at the end of the shutdown");
}

/* The head is one write command to the drive that has the file. */
static void count_commands(struct saving *saving)
{
    for (uint32_t i = 0; i < saving->save.volume_count; i++) {
        const struct agent_device *device = &saving->volumes[i].device;
        uint64_t *commands = &saving->save.volumes[i].write_commands;
        if (saving->volumes[i].tracker == NULL)
            continue;
        *commands = agent_facts_read_commands(device);
        if (*commands != UINT64_MAX &&
            agent_device_carries(device, saving->area.major, saving->area.minor, NULL))
            (*commands)++;
    }
}

/* If the drive counts otherwise its count proves nothing, and the head is written without it. */
static bool drop_wrong_commands(struct saving *saving)
{
    bool is_wrong = false;
    for (uint32_t i = 0; i < saving->save.volume_count; i++) {
        uint64_t *commands = &saving->save.volumes[i].write_commands;
        if (*commands == UINT64_MAX ||
            agent_facts_read_commands(&saving->volumes[i].device) == *commands)
            continue;
        is_wrong = true;
    }
    for (uint32_t i = 0; is_wrong && i < saving->save.volume_count; i++)
        saving->save.volumes[i].write_commands = UINT64_MAX;
    return is_wrong;
}

static int write_head(struct saving *saving, size_t used_bytes, struct blx_error *err)
{
    agent_save_encode_head(&saving->save, saving->image, used_bytes);
    return agent_area_write(&saving->area, saving->image, AGENT_SAVE_HEAD_BYTES, 0, err);
}

/* The body first, then the head, which makes it a save. */
static int write_save(struct saving *saving, struct blx_error *err)
{
    size_t used_bytes = 0;
    int rc = agent_save_encode(&saving->save, saving->image, AGENT_AREA_BYTES, &used_bytes, err);
    if (rc < 0)
        return rc;
    size_t body_bytes = used_bytes - AGENT_SAVE_BODY_AT;
    body_bytes = (body_bytes + AGENT_AREA_ALIGN - 1) / AGENT_AREA_ALIGN * AGENT_AREA_ALIGN;
    rc = agent_area_write(&saving->area, saving->image + AGENT_SAVE_BODY_AT, body_bytes,
                          AGENT_SAVE_BODY_AT, err);
    if (rc == 0) {
        count_commands(saving);
        rc = write_head(saving, used_bytes, err);
    }
    if (rc == 0 && drop_wrong_commands(saving))
        rc = write_head(saving, used_bytes, err);
    return rc;
}

/* All but the history is written with zeros: so the tracker itself marks the area's blocks, before
 * the marks are gathered, and an older save is gone. */
static int clear_area(struct saving *saving, struct blx_error *err)
{
    memset(saving->image, 0, AGENT_AREA_BYTES);
    int rc = agent_area_write(&saving->area, saving->image, AGENT_SAVE_HEAD_BYTES, 0, err);
    return rc < 0
               ? rc
               : agent_area_write(&saving->area, saving->image,
                                  AGENT_AREA_BYTES - AGENT_SAVE_BODY_AT, AGENT_SAVE_BODY_AT, err);
}

/* The history's block is marked, too: the next boot writes it. */
static int touch_history(struct saving *saving, struct blx_error *err)
{
    uint8_t *block = saving->image;
    int rc =
        agent_area_read(&saving->area, block, AGENT_SAVE_HISTORY_BYTES, AGENT_SAVE_HEAD_BYTES, err);
    return rc < 0 ? rc
                  : agent_area_write(&saving->area, block, AGENT_SAVE_HISTORY_BYTES,
                                     AGENT_SAVE_HEAD_BYTES, err);
}

static int save(struct saving *saving, const char *run_dir, enum agent_save_verb verb,
                struct blx_error *err)
{
    struct agent_save *save = &saving->save;
    int rc = touch_history(saving, err);
    if (rc == 0)
        rc = clear_area(saving, err);
    if (rc < 0)
        return rc;
    find_volumes(saving, run_dir);
    if (save->volume_count == 0)
        return blx_error_set(err, -ENODEV, "no disk is tracked: there is nothing to save");
    for (uint32_t i = 0; i < save->volume_count; i++)
        gather(saving, i);
    save->verb = verb;
    agent_facts_read_boot_id(save->boot_id);
    save->saved_s = agent_facts_read_clock_s();
    if (blx_generation_create(&save->id) < 0)
        return blx_error_set(err, -EIO, "cannot save the tracking: no random numbers");
    return write_save(saving, err);
}

static void report(const struct agent_save *save)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < save->volume_count; i++)
        kept += save->volumes[i].refusal[0] == '\0';
    blx_log_notice("the tracking of %u of %u volumes is saved for the next boot", kept,
                   save->volume_count);
}

int agent_keep_save(const char *area_path, const char *run_dir, enum agent_save_verb verb,
                    struct blx_error *err)
{
    struct saving *saving = calloc(1, sizeof(*saving));
    if (saving == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot save the tracking");
    int rc = agent_area_open(area_path, &saving->area, err);
    if (rc == 0) {
        saving->image = aligned_alloc(AGENT_AREA_ALIGN, AGENT_AREA_BYTES);
        rc = saving->image == NULL ? blx_error_errno(err, -ENOMEM, "cannot save the tracking")
                                   : save(saving, run_dir, verb, err);
    }
    if (rc == 0)
        report(&saving->save);
    for (uint32_t i = 0; i < saving->save.volume_count; i++) {
        agent_volume_close(&saving->volumes[i]);
        free(saving->marks[i]);
    }
    agent_area_close(&saving->area);
    free(saving->image);
    free(saving);
    return rc;
}
