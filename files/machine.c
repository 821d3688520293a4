/* SPDX-License-Identifier: Apache-2.0 */
#include "files/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/io.h"
#include "base/nbdkit_plugin.h"
#include "boot/checkpoint.h"
#include "boot/guest.h"
#include "files/first_files.h"
#include "files/request.h"

enum {
    MEMORY_MIB = 512,
    LOOK_MS = 1000,
    /* A guest that neither reads a disk nor tells anything for so long hangs, whatever its console
     * says: a kernel that a filesystem has caught complains of that for ever. On a busy host it may
     * need half a minute to boot. */
    STILL_MS = 120 * 1000,
    TAIL_LINES = 60, /* a panic has many more after the line that says why */
    WORDS_BYTES = 256,
};

struct files_machine {
    const struct blx_config *config;
    struct boot_checkpoint checkpoint;
    const char *names[BOOT_MAX_DISKS];
    char data_dir[PATH_MAX], plugin[PATH_MAX];
    struct files_first first;
    int channel_fd, guest_end_fd;
    struct boot_kernel kernel;
    struct boot_guest *guest;
    int records_fd;
    uint64_t still_ns;   /* the deadline for its next sign of life */
    uint64_t look_ns;    /* when it is looked at next */
    uint64_t read_bytes; /* of its disks, when it was looked at last */
};

void files_machine_free(struct files_machine *machine)
{
    if (machine == NULL)
        return;
    boot_guest_free(machine->guest);
    files_first_done(&machine->first);
    blx_cleanup_fd(&machine->channel_fd);
    blx_cleanup_fd(&machine->guest_end_fd);
    free(machine);
}

static int look_at_checkpoint(struct files_machine *machine, struct blx_error *err)
{
    const struct blx_config *config = machine->config;
    const struct boot_checkpoint_request request = {.data_dir = machine->data_dir,
                                                    .agent = config->agent,
                                                    .checkpoint = config->checkpoint,
                                                    .purpose = BOOT_TO_READ,
                                                    .completeness = BOOT_INCOMPLETE};
    int rc = realpath(config->data_dir, machine->data_dir) == NULL
                 ? blx_error_errno(err, -errno, "cannot find '%s'", config->data_dir)
                 : blx_nbdkit_plugin_find(machine->plugin, err);
    if (rc == 0)
        rc = boot_checkpoint_look(&request, &machine->checkpoint, err);
    if (rc == 0 && machine->checkpoint.count > BOOT_VIRTIO_DISKS)
        rc = blx_error_set(err, -E2BIG,
                           "the server has %zu disks, and the virtual machine has room for %d",
                           machine->checkpoint.count, BOOT_VIRTIO_DISKS);
    return rc;
}

static int make_first_files(struct files_machine *machine, enum files_task task,
                            struct blx_error *err)
{
    const struct blx_config *config = machine->config;
    struct files_volume volumes[BOOT_MAX_DISKS];
    BLX_CLEANUP_FREE void *bytes = NULL;
    size_t count = 0;
    for (size_t i = 0; i < machine->checkpoint.count; i++)
        volumes[i] = (struct files_volume){.device = machine->checkpoint.disks[i].device,
                                           .name = machine->checkpoint.disks[i].name};
    const struct files_request request = {.task = task,
                                          .device =
                                              config->device_count > 0 ? config->devices[0] : NULL,
                                          .volumes = volumes,
                                          .volume_count = machine->checkpoint.count,
                                          .paths = config->paths,
                                          .path_count = config->path_count};
    int rc = files_request_encode(&request, &bytes, &count);
    if (rc < 0)
        return blx_error_errno(err, rc, "cannot tell the virtual machine what is asked for");
    return files_first_make(config->kernel_dir, bytes, count, &machine->first, err);
}

static int make_channel(struct files_machine *machine, struct blx_error *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return blx_error_errno(err, -errno, "cannot connect to the virtual machine");
    machine->channel_fd = pair[0];
    machine->guest_end_fd = pair[1];
    return fcntl(pair[0], F_SETFL, O_NONBLOCK) == 0
               ? 0
               : blx_error_errno(err, -errno, "cannot connect to the virtual machine");
}

static int start_guest(struct files_machine *machine, struct blx_error *err)
{
    const struct blx_config *config = machine->config;
    /* A kernel that a hostile filesystem has led astray ends at once. */
    machine->kernel = (struct boot_kernel){
        .image_fd = machine->first.kernel_fd,
        .initrd_fd = machine->first.initrd_fd,
        .command_line = "console=ttyS0 quiet panic=-1 oops=panic no_timer_check tsc=reliable "
                        "mitigations=off nokaslr",
        .channel_fd = machine->guest_end_fd};
    for (size_t i = 0; i < machine->checkpoint.count; i++)
        machine->names[i] = machine->checkpoint.disks[i].name;
    const struct boot_guest_config guest = {.hardware = {.name = "blxrep-files",
                                                         .firmware = BOOT_FIRMWARE_BIOS,
                                                         .memory_bytes = (uint64_t)MEMORY_MIB << 20,
                                                         .cpus = 1,
                                                         .bus = BLX_BOOT_VIRTIO,
                                                         .network = BLX_BOOT_NO_NETWORK,
                                                         .disks = machine->names,
                                                         .disk_count = machine->checkpoint.count,
                                                         .kernel = &machine->kernel},
                                            .accelerator = BLX_BOOT_AUTO,
                                            .disks = {.plugin = machine->plugin,
                                                      .data_dir = machine->data_dir,
                                                      .agent = config->agent,
                                                      .checkpoint = machine->checkpoint.timestamp,
                                                      .keys = (const char *const *)config->keys,
                                                      .key_count = config->key_count,
                                                      .overlay = ""}};
    return boot_guest_start(&guest, &machine->guest, err);
}

static void sign_of_life(struct files_machine *machine)
{
    machine->still_ns = blx_deadline_in_ms(STILL_MS);
}

/* The writer takes its time, which is none of the guest's. */
static int hand_on(struct files_machine *machine, struct blx_error *err)
{
    static char piece[FILES_DATA_MAX_BYTES];
    ssize_t got;
    while ((got = read(machine->channel_fd, piece, sizeof(piece))) > 0) {
        for (ssize_t done = 0; done < got;) {
            ssize_t wrote = write(machine->records_fd, piece + done, (size_t)(got - done));
            if (wrote < 0 && errno != EINTR)
                return blx_error_errno(err, -errno, "cannot hand on what was found");
            done += wrote > 0 ? wrote : 0;
        }
        sign_of_life(machine);
    }
    return 0;
}

/* Why its kernel gave up, or the last line of its console. */
static void find_last_words(const struct files_machine *machine, char words[WORDS_BYTES])
{
    const char *tail = boot_guest_tail(machine->guest, TAIL_LINES);
    const char *from = strstr(tail, "Kernel panic");
    if (from == NULL) {
        size_t length = strlen(tail);
        while (length > 0 && strchr("\r\n", tail[length - 1]) != NULL)
            length--;
        while (length > 0 && tail[length - 1] != '\n')
            length--;
        from = tail + length;
    }
    snprintf(words, WORDS_BYTES, "%.*s", (int)strcspn(from, "\r\n"), from);
}

static int check_life(struct files_machine *machine, struct blx_error *err)
{
    machine->look_ns = blx_deadline_in_ms(LOOK_MS);
    uint64_t read_bytes = boot_guest_read_bytes(machine->guest);
    if (read_bytes > machine->read_bytes) {
        machine->read_bytes = read_bytes;
        sign_of_life(machine);
    }
    if (blx_deadline_left_ms(machine->still_ns) > 0)
        return 0;
    char words[WORDS_BYTES];
    find_last_words(machine, words);
    return blx_error_set(err, -ETIME,
                         "the virtual machine that reads the filesystem got nowhere for %d s, so "
                         "it was ended; the filesystem may be damaged or hostile; its last words: "
                         "%s",
                         STILL_MS / 1000, words);
}

int files_machine_follow(struct files_machine *machine, struct blx_error *err)
{
    struct boot_step step = {.event = BOOT_EVENT_TIME};
    int rc = 0;
    sign_of_life(machine);
    machine->look_ns = blx_deadline_in_ms(LOOK_MS);
    while (rc == 0 && step.event != BOOT_EVENT_ENDED) {
        rc = boot_guest_step(machine->guest, machine->channel_fd, machine->look_ns, &step, err);
        if (rc == 0)
            rc = hand_on(machine, err);
        if (rc == 0 && blx_deadline_left_ms(machine->look_ns) == 0)
            rc = check_life(machine, err);
    }
    if (rc < 0)
        return rc;
    char words[WORDS_BYTES];
    find_last_words(machine, words);
    return blx_error_set(err, -ESHUTDOWN,
                         "the virtual machine that reads the filesystem ended before it was done; "
                         "the filesystem may be damaged or hostile; its last words: %s",
                         words);
}

int files_machine_start(const struct blx_config *config, enum files_task task, int records_fd,
                        struct files_machine **machine, struct blx_error *err)
{
    struct files_machine *made = calloc(1, sizeof(*made));
    if (made == NULL)
        return blx_error_errno(err, -ENOMEM, "cannot start a virtual machine");
    made->config = config;
    made->first = (struct files_first){-1, -1};
    made->channel_fd = made->guest_end_fd = -1;
    made->records_fd = records_fd;
    blx_raise_file_limit(); /* a chain has many segments */
    int rc = look_at_checkpoint(made, err);
    if (rc == 0)
        rc = make_first_files(made, task, err);
    if (rc == 0)
        rc = make_channel(made, err);
    if (rc == 0)
        rc = start_guest(made, err);
    if (rc < 0)
        files_machine_free(made);
    else
        *machine = made;
    return rc;
}
