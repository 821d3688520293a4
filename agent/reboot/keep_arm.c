/* SPDX-License-Identifier: Apache-2.0 */
/* The beginning of a boot: attaches the trackers, and gives the save to them if it is believed. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "agent/reboot/area.h"
#include "agent/reboot/facts.h"
#include "agent/reboot/keep.h"
#include "agent/reboot/keep_private.h"
#include "agent/reboot/proof.h"
#include "agent/track/note.h"
#include "agent/track/volume.h"
#include "base/bitmap.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/text.h"

/* Disks that the save has are waited for so long, all together. */
static const uint64_t disks_ns = 3 * BLX_NS_PER_S;
static const char kept[] = "tracking kept over the reboot";

struct arming {
    struct agent_area area;
    uint8_t *image; /* owned; of AGENT_AREA_BYTES, aligned */
    struct agent_save save;
    struct agent_proof_boot boot;
    struct agent_save_history history;            /* as it was read */
    struct agent_volume volumes[BLX_MAX_VOLUMES]; /* with a tracker: one that was made now */
    char why[BLX_MAX_VOLUMES][BLX_TEXT_BYTES];    /* it is not believed; "": it is */
};

static bool is_device(const char *path, const struct agent_save_volume *saved)
{
    struct agent_device device;
    return agent_device_find(path, &device, NULL) == 0 &&
           strcmp(device.identity, saved->identity) == 0 && device.size_bytes == saved->size_bytes;
}

/* Disks may have changed names. One that has no identity is looked for under its name alone. */
static bool find_device(const struct agent_save_volume *saved, char path[BLX_TEXT_BYTES])
{
    agent_keep_format_node(saved->kernel_name, path);
    if (is_device(path, saved))
        return true;
    BLX_CLEANUP_DIR DIR *folder = saved->identity[0] != '\0' ? opendir("/sys/class/block") : NULL;
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] == '.' || strlen(entry->d_name) >= AGENT_SAVE_KERNEL_NAME_BYTES)
            continue;
        agent_keep_format_node(entry->d_name, path);
        if (is_device(path, saved))
            return true;
    }
    return false;
}

/* A driver may just be finding its disks. Nothing becomes writable meanwhile. */
static bool await_device(const struct agent_save_volume *saved, uint64_t deadline_ns,
                         char path[BLX_TEXT_BYTES])
{
    static const struct timespec pause = {.tv_nsec = 100 * 1000 * 1000};
    bool found = find_device(saved, path);
    while (!found && blx_clock_ns() < deadline_ns) {
        nanosleep(&pause, NULL);
        found = find_device(saved, path);
    }
    return found;
}

/* Attaches the tracker. What is tracked already is left alone: this is no boot. */
static void open_volume(struct arming *arming, uint32_t index, const char *run_dir,
                        uint64_t deadline_ns)
{
    const struct agent_save_volume *saved = &arming->save.volumes[index];
    struct agent_volume *volume = &arming->volumes[index];
    struct blx_error why = {0};
    char path[BLX_TEXT_BYTES];
    /* What the save itself refuses needs no disk: it may have failed then. */
    const bool is_refused = saved->refusal[0] != '\0';
    if (!await_device(saved, is_refused ? 0 : deadline_ns, path)) {
        blx_text_set(arming->why[index],
                     is_refused ? saved->refusal : "its disk was not there when the boot began");
        return;
    }
    if (agent_volume_open(path, run_dir, index, volume, &why) < 0) {
        blx_text_set(arming->why[index], why.message);
        return;
    }
    if (!agent_tracker_is_adopted(volume->tracker))
        return;
    blx_text_set(arming->why[index], "it was tracked already");
    agent_volume_close(volume);
}

/* A drive that has fewer than then has begun to count again, as an emulated one does, and one that
 * has counted nothing may not count at all: that tells nothing. */
static enum agent_proof_commands compare_commands(const struct agent_device *device,
                                                  const struct agent_save_volume *saved)
{
    const uint64_t commands = agent_facts_read_commands(device);
    if (commands == UINT64_MAX || commands == 0 || saved->write_commands == UINT64_MAX ||
        commands < saved->write_commands)
        return AGENT_PROOF_UNCOUNTED;
    return commands == saved->write_commands ? AGENT_PROOF_NONE : AGENT_PROOF_SOME;
}

/* After the tracker was attached, and before anything of ours is written. */
static void judge(struct arming *arming, uint32_t index)
{
    const struct agent_save_volume *saved = &arming->save.volumes[index];
    struct agent_volume *volume = &arming->volumes[index];
    const struct agent_device *device = &volume->device;
    struct agent_proof_disk disk = {0};
    char reason[BLX_TEXT_BYTES];
    if (volume->tracker == NULL)
        return;
    disk.counts = agent_facts_read_written(device, &disk.sectors, &disk.is_busy) == 0;
    disk.is_same_size =
        device->size_bytes == saved->size_bytes && device->disk_start_bytes == saved->start_bytes &&
        volume->blocks == saved->blocks && volume->block_shift == saved->block_shift;
    disk.commands = compare_commands(device, saved);
    disk.has_superblocks = agent_facts_has_superblocks(device, saved);
    const char *why = agent_proof_judge(&arming->save, saved, &arming->boot, &disk, reason);
    blx_text_set(arming->why[index], why != NULL ? why : "");
}

static void look_at_boot(struct arming *arming)
{
    struct agent_proof_boot *boot = &arming->boot;
    char boot_id[AGENT_SAVE_BOOT_ID_BYTES];
    agent_facts_read_boot_id(boot_id);
    boot->is_same_boot = boot_id[0] == '\0' || strcmp(boot_id, arming->save.boot_id) == 0;
    boot->away_s = (int64_t)(agent_facts_read_start_s() - arming->save.saved_s);
    agent_save_history_decode(arming->image + AGENT_SAVE_HEAD_BYTES, &arming->history);
    boot->history = arming->history;
    /* Of the first reboot the processor tells how long it took, if it was reset with the machine:
     * then it ran no longer than the machine was away. */
    const int64_t firmware_s = boot->history.count == 0 ? agent_facts_measure_firmware_s() : -1;
    if (firmware_s >= 0 && firmware_s <= boot->away_s)
        agent_save_history_add(&boot->history, (uint32_t)firmware_s);
}

/* The save is used up, whatever comes of it; how long the reboot took is remembered. What the
 * processor told is remembered only if the reboot took longer than that allows: a first reboot with
 * another system in between must be no measure for the next one. */
static int use_up(struct arming *arming, struct blx_error *err)
{
    const struct agent_proof_boot *boot = &arming->boot;
    const bool was_long = boot->away_s > (int64_t)agent_proof_limit_s(&boot->history);
    struct agent_save_history history = was_long ? boot->history : arming->history;
    if (arming->save.verb == AGENT_SAVE_REBOOT && !boot->is_same_boot && boot->away_s >= 0 &&
        boot->away_s <= UINT32_MAX / 4)
        agent_save_history_add(&history, (uint32_t)boot->away_s);
    agent_save_make_used(arming->image);
    agent_save_history_encode(&history, arming->image + AGENT_SAVE_HEAD_BYTES);
    return agent_area_write(&arming->area, arming->image, AGENT_SAVE_BODY_AT, 0, err);
}

static void fill_head(struct agent_ledger_head *head, const struct agent_save_volume *saved)
{
    blx_text_set(head->volume, saved->volume);
    blx_text_set(head->pass_reason, saved->pass_reason);
    blx_text_set(head->rescan_reason, saved->rescan_reason);
    head->stream = saved->stream;
    head->base = saved->base;
    head->checkpoint_unconfirmed = saved->checkpoint_unconfirmed;
    head->acked_seq = saved->acked_seq;
    head->sent_seq = saved->sent_seq;
    head->base_seq = saved->base_seq;
    head->last_checkpoint = saved->last_checkpoint;
    head->pass_total_blocks = saved->pass_total_blocks;
    head->pass_is_rescan = saved->pass_is_rescan;
    head->rescan_active = saved->rescan_active;
    head->rescan_cursor_block = saved->rescan_cursor_block;
    head->rescan_end_block = saved->rescan_end_block;
}

/* The order counts: the marks are there before the stream goes on. */
static void keep(struct agent_volume *volume, const struct agent_save_volume *saved)
{
    struct agent_ledger_head *head = volume->ledger.head;
    agent_save_unpack(saved, volume->ledger.pending);
    fill_head(head, saved);
    blx_text_set(head->reboot_note, kept);
    __atomic_store_n(&head->stream_used, saved->stream_used, __ATOMIC_SEQ_CST);
    blx_log_notice("'%s': %s", volume->device.path, kept);
}

static void give_up(struct agent_volume *volume, const char *why)
{
    struct agent_ledger_head *head = volume->ledger.head;
    snprintf(head->anew_reason, sizeof(head->anew_reason),
             "the tracking was not kept over the reboot: %.200s", why);
    blx_text_set(head->reboot_note, head->anew_reason);
    blx_log_warning("'%s': %s", volume->device.path, head->anew_reason);
}

/* It has no ledger that could hold the reason. */
static void give_up_absent(const struct arming *arming, uint32_t index, const char *run_dir)
{
    char text[BLX_TEXT_BYTES];
    snprintf(text, sizeof(text), "'%.60s': %.180s", arming->save.volumes[index].kernel_name,
             arming->why[index]);
    blx_log_warning("the tracking was not kept over the reboot: %s", text);
    agent_note_write(run_dir, text, NULL);
}

static void settle(struct arming *arming, const char *run_dir)
{
    for (uint32_t i = 0; i < arming->save.volume_count; i++) {
        struct agent_volume *volume = &arming->volumes[i];
        if (volume->tracker == NULL)
            give_up_absent(arming, i, run_dir);
        else if (arming->why[i][0] == '\0')
            keep(volume, &arming->save.volumes[i]);
        else
            give_up(volume, arming->why[i]);
    }
}

static int arm(struct arming *arming, const char *run_dir, struct blx_error *err)
{
    struct blx_error why = {0};
    const uint64_t deadline_ns = blx_clock_ns() + disks_ns;
    look_at_boot(arming);
    for (uint32_t i = 0; i < arming->save.volume_count; i++)
        open_volume(arming, i, run_dir, deadline_ns);
    for (uint32_t i = 0; i < arming->save.volume_count; i++)
        judge(arming, i);
    int rc = use_up(arming, &why);
    for (uint32_t i = 0; rc < 0 && i < arming->save.volume_count; i++)
        if (arming->why[i][0] == '\0')
            blx_text_set(arming->why[i], why.message);
    settle(arming, run_dir);
    for (uint32_t i = 0; i < arming->save.volume_count; i++)
        agent_volume_close(&arming->volumes[i]);
    return rc < 0 ? blx_error_copy(err, rc, &why) : 0;
}

/* An agent has ledgers already: this is no boot, and nothing is to be said of it. */
static bool is_running(const char *run_dir)
{
    bool found = false;
    BLX_CLEANUP_DIR DIR *folder = opendir(run_dir);
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;) {
        const char *dot = strrchr(entry->d_name, '.');
        found |= dot != NULL && strcmp(dot, ".ledger") == 0;
    }
    return found;
}

/* No volume is known: the agent tells the reason of each that it has to compare. */
static int leave_note(const char *run_dir, const char *why, struct blx_error *err)
{
    blx_log_notice("no tracking is kept over the reboot: %s", why);
    return is_running(run_dir) ? 0 : agent_note_write(run_dir, why, err);
}

static int read_and_arm(struct arming *arming, const char *run_dir, struct blx_error *err)
{
    struct blx_error why = {0};
    arming->image = aligned_alloc(AGENT_AREA_ALIGN, AGENT_AREA_BYTES);
    if (arming->image == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot read the save of the tracking");
    int rc = agent_area_read(&arming->area, arming->image, AGENT_AREA_BYTES, 0, err);
    if (rc < 0)
        return rc;
    rc = agent_save_decode(arming->image, AGENT_AREA_BYTES, &arming->save, &why);
    if (rc == 0)
        return arm(arming, run_dir, err);
    char text[BLX_TEXT_BYTES];
    snprintf(text, sizeof(text), "there is no save to go by: %.200s", why.message);
    return leave_note(run_dir, text, err);
}

int agent_keep_arm(const char *area_path, const char *run_dir, struct blx_error *err)
{
    struct blx_error why = {0};
    struct arming *arming = calloc(1, sizeof(*arming));
    if (arming == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot read the save of the tracking");
    int rc = agent_area_open(area_path, &arming->area, &why);
    if (rc == 0)
        rc = read_and_arm(arming, run_dir, err);
    else if (rc == -ENOENT && agent_area_make(area_path, &why) == 0)
        rc = 0; /* a package is being installed, or the agent's first boot */
    else if (rc == -EPERM || rc == -EACCES)
        rc = blx_error_copy(err, rc, &why); /* within the agent's unit, whose boot is over */
    else
        rc = leave_note(run_dir, rc == -ENOENT ? "there was no file for a save" : why.message, err);
    agent_area_close(&arming->area);
    free(arming->image);
    free(arming);
    return rc;
}
