/* SPDX-License-Identifier: Apache-2.0 */
#include "proof/plant.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "base/text.h"
#include "proof/filesystems.h"

#define FOLDER "/etc/systemd/system"

/* IgnoreOnIsolate: a system that falls back to its emergency shell still tells that. */
static const char unit[] = "[Unit]\n"
                           "Description=Report of a test of this checkpoint\n"
                           "DefaultDependencies=no\n"
                           "IgnoreOnIsolate=yes\n"
                           "[Service]\n"
                           "Type=simple\n"
                           "ExecStart=/bin/sh " FOLDER "/blxrep-test.sh\n"
                           "StandardInput=null\n";

static const char script[] =
    "number=%s\n"
    "exec 3<>/dev/ttyS1 || exit 0\n"
    "stty -F /dev/ttyS1 raw -echo 2>/dev/null\n"
    "say() { printf 'blxrep-test %%s %%s\\n' \"$number\" \"$*\" >&3; }\n"
    "say up\n"
    "while :; do\n"
    "    state=$(systemctl is-system-running 2>/dev/null)\n"
    "    case $state in initializing | starting | offline | unknown | '') sleep 1 ;; *) break ;; "
    "esac\n"
    "done\n"
    "say state \"$state\"\n"
    "systemctl list-units --failed --plain --no-legend --no-pager 2>/dev/null |\n"
    "    while read -r name rest; do say failed \"$name\"; done\n"
    "if [ -s " FOLDER "/blxrep-test.command ]; then\n"
    "    /bin/sh " FOLDER "/blxrep-test.command </dev/null >/run/blxrep-test.said 2>&1\n"
    "    status=$?\n"
    "    tail -n 3 /run/blxrep-test.said | while read -r line; do say said \"$line\"; done\n"
    "    say command \"$status\"\n"
    "fi\n"
    "say done\n"
    "while read -r line <&3; do say alive \"$line\"; done\n";

/* What debugfs is told. The folder of links may be there. */
static const char planting[] = "cd " FOLDER "\n"
                               "write /proc/self/fd/5 blxrep-test.service\n"
                               "write /proc/self/fd/6 blxrep-test.sh\n"
                               "write /proc/self/fd/7 blxrep-test.command\n"
                               "mkdir sysinit.target.wants\n"
                               "symlink sysinit.target.wants/blxrep-test.service "
                               "../blxrep-test.service\n"
                               "cat " FOLDER "/blxrep-test.sh\n"
                               "stat " FOLDER "/sysinit.target.wants/blxrep-test.service\n";

static const char *const looking[] = {"debugfs", "-R", "stat " FOLDER, PROOF_CAGE_DISK, NULL};
static const char *const writing[] = {"debugfs",       "-w", "-f", "/proc/self/fd/4",
                                      PROOF_CAGE_DISK, NULL};

struct inputs {
    int fds[PROOF_CAGE_MAX_INPUTS]; /* planting, unit, script, command */
};

static void inputs_done(struct inputs *inputs)
{
    for (size_t i = 0; i < PROOF_CAGE_MAX_INPUTS; i++)
        blx_cleanup_fd(&inputs->fds[i]);
}

static int make_input(const char *text, int *fd, struct blx_error *err)
{
    *fd = memfd_create("input", MFD_CLOEXEC);
    int rc = *fd < 0 ? -errno : blx_pwrite_full(*fd, text, strlen(text), 0);
    if (rc == 0 && fchmod(*fd, 0644) != 0)
        rc = -errno;
    return rc < 0 ? blx_error_errno(err, rc, "cannot make a file in memory") : 0;
}

static int make_inputs(const char *number, const char *command, struct inputs *inputs,
                       struct blx_error *err)
{
    char filled[sizeof(script) + PROOF_NUMBER_BYTES];
    snprintf(filled, sizeof(filled), script, number);
    const char *const texts[PROOF_CAGE_MAX_INPUTS] = {planting, unit, filled, command};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < PROOF_CAGE_MAX_INPUTS; i++)
        rc = make_input(texts[i], &inputs->fds[i], err);
    return rc;
}

static int make_number(char number[PROOF_NUMBER_BYTES], struct blx_error *err)
{
    uint8_t random[PROOF_NUMBER_BYTES / 2];
    if (getrandom(random, sizeof(random), 0) != (ssize_t)sizeof(random))
        return blx_error_errno(err, -errno, "cannot choose a number");
    for (size_t i = 0; i < sizeof(random); i++)
        snprintf(number + 2 * i, 3, "%02x", random[i]);
    return 0;
}

/* True in *found: the filesystem has systemd's folder. */
static int look(const struct proof_bench *bench, uint32_t disk, struct proof_cage_end *end,
                bool *found, struct blx_error *err)
{
    const struct proof_cage cage = proof_bench_cage(bench, disk, looking, "e2fsprogs");
    int rc = proof_cage_run(&cage, end, err);
    *found = rc == 0 && end->status == 0 && strstr(end->said, "Type: directory") != NULL;
    return rc;
}

static int plant_in(const struct proof_bench *bench, uint32_t disk, const struct inputs *inputs,
                    struct proof_cage_end *end, struct proof_plant *plant, struct blx_error *err)
{
    struct proof_cage cage = proof_bench_cage(bench, disk, writing, "e2fsprogs");
    char number[PROOF_NUMBER_BYTES + 16];
    cage.access = PROOF_CAGE_WRITES;
    cage.inputs = inputs->fds;
    cage.input_count = PROOF_CAGE_MAX_INPUTS;
    int rc = proof_cage_run(&cage, end, err);
    if (rc < 0)
        return rc;
    snprintf(number, sizeof(number), "number=%s", plant->number);
    if (end->status == 0 && end->trouble.code == 0 && strstr(end->said, number) != NULL &&
        strstr(end->said, "Type: symlink") != NULL) {
        plant->planted = true;
        blx_text_set(plant->where, bench->disks[disk].device);
        return 0;
    }
    snprintf(plant->why, sizeof(plant->why), "debugfs cannot write over '%.60s'",
             bench->disks[disk].device);
    return 0;
}

int proof_plant(const struct proof_bench *bench, const char *command, struct proof_plant *plant,
                struct blx_error *err)
{
    BLX_CLEANUP(inputs_done) struct inputs inputs = {{-1, -1, -1, -1}};
    BLX_CLEANUP_FREE struct proof_cage_end *end = malloc(sizeof(*end));
    *plant = (struct proof_plant){.why = "no ext4 filesystem of it has systemd's units"};
    int rc = end == NULL ? blx_error_errno(err, -ENOMEM, "cannot prepare the server") : 0;
    if (rc == 0)
        rc = make_number(plant->number, err);
    if (rc == 0)
        rc = make_inputs(plant->number, command, &inputs, err);
    for (uint32_t disk = 0; rc == 0 && disk < bench->disk_count; disk++) {
        struct proof_filesystem filesystem;
        bool found = false;
        rc = proof_filesystem_find(bench, disk, &filesystem, err);
        if (rc == 0 && filesystem.kind == PROOF_KIND_EXT)
            rc = look(bench, disk, end, &found, err);
        if (rc == 0 && found)
            rc = plant_in(bench, disk, &inputs, end, plant, err);
    }
    return rc;
}
