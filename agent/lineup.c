/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/lineup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/disk/signature.h"
#include "agent/track/note.h"
#include "base/io.h"
#include "base/log.h"
#include "base/text.h"

static const struct agent_disk *find_disk(const struct agent_disks *disks, const char *path)
{
    for (size_t i = 0; i < disks->count; i++) {
        if (strcmp(disks->list[i].path, path) == 0)
            return &disks->list[i];
    }
    return NULL;
}

static const struct agent_volume *find_volume(const struct agent *agent, const char *path)
{
    for (size_t i = 0; i < agent->volume_count; i++) {
        if (strcmp(agent->devices[i].path, path) == 0)
            return &agent->volumes[i];
    }
    return NULL;
}

/* The volumes stay in the order in which they came. Their numbers change, which the next session
 * announces again. */
static void remove_volume(struct agent *agent, size_t index)
{
    size_t later = agent->volume_count - index - 1;
    memmove(&agent->volumes[index], &agent->volumes[index + 1], later * sizeof(*agent->volumes));
    memmove(&agent->devices[index], &agent->devices[index + 1], later * sizeof(*agent->devices));
    memmove(&agent->volume_keys[index], &agent->volume_keys[index + 1],
            later * sizeof(*agent->volume_keys));
    agent->volume_count--;
    for (size_t i = index; i < agent->volume_count; i++) {
        agent->volumes[i].index = (uint32_t)i;
        if (agent->volumes[i].key != NULL)
            agent->volumes[i].key = &agent->volume_keys[i];
        if (agent->volumes[i].digest_key != NULL)
            agent->volumes[i].digest_key = &agent->volume_keys[i];
    }
}

static void log_dropped(const char *path)
{
    if (access(path, F_OK) < 0)
        blx_log_warning("'%s' has vanished: it is not protected any more; its checkpoints stay",
                        path);
    else
        blx_log_notice("'%s' is left out from now on: it is not protected any more; its "
                       "checkpoints stay",
                       path);
}

/* What has become of the volume, as agent_device_find_change() says it. The name may be a link: the
 * disk is what it leads to now, not what it led to when it was opened. */
static const char *find_change(const struct agent_disk *disk, const struct agent_volume *volume)
{
    const struct agent_device *device = &volume->device;
    const char *change = agent_device_find_change(device);
    if (change == NULL && (disk->major != device->major || disk->minor != device->minor))
        change = "leads to another disk now";
    return change;
}

/* The name is gone, the disk is not: it was renamed, say. Its tracker stays for the case that the
 * name comes back, as it does when udev makes its links again. */
static bool is_renamed(const struct agent_disk *disk, const struct agent_volume *volume)
{
    return disk->major == 0 && disk->minor == 0 &&
           agent_device_find_change(&volume->device) == NULL;
}

/* Leaves the volume out for now. Its tracker and its ledger stay. */
static void set_aside(struct agent *agent, size_t index, const char *cause)
{
    struct agent_volume *volume = &agent->volumes[index];
    const char *path = volume->device.path;
    blx_log_warning("%s; its checkpoints stay", cause);
    agent_refusals_add(&agent->refusals, path, volume->device.size_bytes, cause);
    agent_refusals_find(&agent->refusals, path)->was_protected = true;
    agent_volume_close(volume);
    remove_volume(agent, index);
}

static void set_renamed_aside(struct agent *agent, size_t index)
{
    char cause[BLX_TEXT_BYTES + 64];
    const struct agent_device *device = &agent->volumes[index].device;
    snprintf(cause, sizeof(cause), "'%s' is no name of a disk any more (it was that of '%s')",
             device->path, device->kernel_name);
    set_aside(agent, index, cause);
}

/* Drops the volumes that are no longer wanted, those whose device was changed, and those that do
 * not answer. */
static void drop_volumes(struct agent *agent)
{
    for (size_t i = agent->volume_count; i-- > 0;) {
        struct agent_volume *volume = &agent->volumes[i];
        const char *path = agent->devices[i].path;
        const struct agent_disk *disk = find_disk(&agent->disks, path);
        const char *change = disk != NULL ? find_change(disk, volume) : NULL;
        char why[BLX_TEXT_BYTES];
        if (disk != NULL && change == NULL) {
            if (agent_device_is_stuck(&volume->device, why))
                set_aside(agent, i, why);
            continue;
        }
        if (disk != NULL && is_renamed(disk, volume)) {
            set_renamed_aside(agent, i);
            continue;
        }
        if (disk != NULL) {
            blx_log_warning("'%s' %s; its tracking ends, its checkpoints stay", path, change);
            agent_refusals_add(&agent->refusals, path, volume->device.size_bytes, change);
            agent_refusals_find(&agent->refusals, path)->was_protected = true;
        } else {
            log_dropped(path);
        }
        agent_volume_abandon(volume);
        remove_volume(agent, i);
    }
}

/* Forgets disks that are no longer wanted, and those that no pattern matches any more. */
static void forget_refusals(struct agent *agent)
{
    struct agent_refusals *refusals = &agent->refusals;
    for (size_t i = refusals->count; i-- > 0;) {
        if (find_disk(&agent->disks, refusals->list[i].path) == NULL)
            agent_refusals_remove(refusals, refusals->list[i].path);
    }
}

static int check_name(const struct agent *agent, const struct agent_device *device,
                      struct blx_error *err)
{
    for (size_t i = 0; i < agent->volume_count; i++) {
        if (strcmp(agent->devices[i].name, device->name) == 0)
            return blx_error_set(
                err, -EEXIST,
                "the devices '%s' and '%s' would both be the volume '%s': name each once",
                agent->devices[i].path, device->path, device->name);
    }
    return 0;
}

/* Writes to the ledger must not wait for a filesystem that we ourselves have frozen. */
static int check_run_dir(const char *run_dir, const struct agent_device *device,
                         struct blx_error *err)
{
    struct stat st;
    if (stat(run_dir, &st) != 0)
        return blx_error_errno(err, -errno, "cannot look at the run directory '%s'", run_dir);
    if (!agent_device_carries(device, major(st.st_dev), minor(st.st_dev), NULL))
        return 0;
    return blx_error_set(err, -EINVAL,
                         "the run directory '%s' lies on the protected device '%s': give a "
                         "--run-dir on a tmpfs, such as %s",
                         run_dir, device->path, BLX_DEFAULT_RUN_DIR);
}

static int derive_key(struct agent *agent, struct agent_volume *volume, struct blx_error *err)
{
    struct blx_volume_key *key = &agent->volume_keys[volume->index];
    if (blx_key_id_is_none(&agent->key.id))
        return 0;
    int rc = blx_volume_key_derive(&agent->key, agent->config->id, volume->device.name, key, err);
    if (rc == 0)
        volume->key = volume->digest_key = key;
    return rc;
}

/* The disk is a volume again. If this process knows why its tracking had to start again, it notes
 * that. */
static void settle_refusal(struct agent *agent, struct agent_volume *volume)
{
    const char *path = volume->device.path;
    const struct agent_refusal *refusal = agent_refusals_find(&agent->refusals, path);
    struct agent_ledger_head *head = volume->ledger.head;
    if (refusal != NULL && refusal->was_protected && !agent_tracker_is_adopted(volume->tracker))
        snprintf(head->anew_reason, sizeof(head->anew_reason),
                 "it was gone, resized or replaced, and nobody tracked it meanwhile");
    agent_refusals_remove(&agent->refusals, path);
}

/*
 * Is the ledger's stream this volume's? A link may have led to another disk when the agent ran
 * last, and another name to this one. If the stream is not, the dispatcher gets to know which disk
 * it is, as well as that can be told.
 */
static void identify(struct agent_volume *volume)
{
    struct agent_ledger_head *head = volume->ledger.head;
    struct agent_device *device = &volume->device;
    if (head->stream_used && strcmp(head->volume, device->name) != 0) {
        head->stream_used = false;
        snprintf(head->anew_reason, sizeof(head->anew_reason),
                 "its disk was the volume '%s' before", head->volume);
    }
    snprintf(head->volume, sizeof(head->volume), "%s", device->name);
    if (!head->stream_used && device->identity[0] == '\0')
        agent_signature_read(device, device->identity);
}

/* It is in use again. If its tracking begins now, the last reboot may be why. */
static void take_note(struct agent *agent, struct agent_volume *volume)
{
    struct agent_ledger_head *head = volume->ledger.head;
    char why[BLX_TEXT_BYTES];
    head->left = AGENT_NOT_LEFT;
    if (agent->lined_up || head->anew_reason[0] != '\0' ||
        agent_tracker_is_adopted(volume->tracker))
        return;
    agent_note_read(agent->config->run_dir, why);
    if (why[0] == '\0')
        return;
    snprintf(head->anew_reason, sizeof(head->anew_reason),
             "the tracking was not kept over the reboot: %.200s", why);
    blx_text_set(head->reboot_note, head->anew_reason);
}

static int open_volume(struct agent *agent, const char *path, struct blx_error *err)
{
    const char *run_dir = agent->config->run_dir;
    struct agent_volume *volume = &agent->volumes[agent->volume_count];
    int rc = agent_volume_open(path, run_dir, (uint32_t)agent->volume_count, volume, err);
    if (rc < 0)
        return rc;
    rc = check_name(agent, &volume->device, err);
    if (rc == 0)
        rc = check_run_dir(run_dir, &volume->device, err);
    if (rc == 0)
        rc = derive_key(agent, volume, err);
    if (rc < 0) {
        agent_volume_close(volume);
        return rc;
    }
    identify(volume);
    take_note(agent, volume);
    agent->devices[agent->volume_count++] = volume->device;
    settle_refusal(agent, volume);
    blx_log_info("'%s' is tracked%s", path,
                 agent_tracker_is_adopted(volume->tracker) ? " (as before: no change was missed)"
                                                           : "");
    return 0;
}

/* A disk that is not there, or does not answer, may come back. Any other failure needs somebody to
 * act. */
static bool is_absence(int rc)
{
    return rc == -ENOENT || rc == -ENXIO || rc == -ENODEV || rc == -ENOMEDIUM || rc == -ETIME;
}

/* If the opening is what fails, the disk watch goes on trying. */
static void refuse(struct agent *agent, struct agent_disk *disk, const char *cause)
{
    struct agent_device device;
    bool opens = agent_device_find(disk->path, &device, NULL) == 0;
    agent_refusals_add(&agent->refusals, disk->path, disk->size_bytes, cause);
    pthread_mutex_lock(&agent->lock);
    disk->refused = !opens;
    pthread_mutex_unlock(&agent->lock);
}

/* A disk that is named and wrong ends the agent's start, so that somebody sees it. Later, or if the
 * disk is merely absent, the others are protected without it. */
static int open_volumes(struct agent *agent, struct blx_error *err)
{
    struct blx_error first = {0};
    for (size_t i = 0; i < agent->disks.count; i++) {
        struct agent_disk *disk = &agent->disks.list[i];
        struct blx_error cause = {0};
        int rc =
            find_volume(agent, disk->path) != NULL ? 0 : open_volume(agent, disk->path, &cause);
        if (rc == 0)
            continue;
        if (disk->named && !agent->lined_up && !is_absence(rc))
            return blx_error_set(err, rc, "%s", cause.message);
        refuse(agent, disk, cause.message);
        if (disk->named && first.code == 0)
            first = cause;
    }
    if (agent->volume_count == 0 && first.code != 0)
        return blx_error_set(err, first.code, "%s", first.message);
    agent_refusals_log(&agent->refusals);
    return 0;
}

int agent_lineup_refresh(struct agent *agent, struct blx_error *err)
{
    struct blx_policy_message policy;
    struct agent_disks disks;
    int rc = agent_make_run_dir(agent->config->run_dir, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&agent->lock);
    if (agent->order == AGENT_REJOIN)
        agent->order = AGENT_RUN; /* before the look: a change that comes after it counts again */
    policy = agent->policy;
    pthread_mutex_unlock(&agent->lock);
    rc = agent_disks_find(agent->config, &policy, &disks, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&agent->lock);
    disks.number = agent->disks.number + 1;
    agent->disks = disks;
    pthread_mutex_unlock(&agent->lock);
    if (disks.left_over > 0)
        blx_log_warning("%zu more disks than the %d that one agent can have are NOT protected: "
                        "exclude some, or start a second agent for them",
                        disks.left_over, BLX_MAX_VOLUMES);
    forget_refusals(agent);
    drop_volumes(agent);
    rc = open_volumes(agent, err);
    agent->lined_up = agent->lined_up || rc == 0;
    return rc;
}

void agent_lineup_close(struct agent *agent)
{
    while (agent->volume_count > 0)
        agent_volume_close(&agent->volumes[--agent->volume_count]);
}
