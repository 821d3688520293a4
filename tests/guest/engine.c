/* SPDX-License-Identifier: Apache-2.0 */
/* The engine of boot/ as others use it: boots a checkpoint, waits for lines on its console, types,
 * and stops it.
 *
 *     boot_engine PLUGIN DATA-DIR AGENT CHECKPOINT DISK EXPRESSION [TYPED EXPRESSION]... */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot/guest.h"

enum { PLUGIN = 1, DATA_DIR, AGENT, CHECKPOINT, DISK, FIRST, WAIT_MS = 600 * 1000, STOP_MS = 1000 };

static void tell(void *arg, const char *text)
{
    (void)arg;
    fprintf(stderr, "%s\n", text);
}

static int converse(struct boot_guest *guest, char **words, struct blx_error *err)
{
    int rc = boot_guest_wait(guest, words[0], WAIT_MS, err);
    for (words++; rc == 0 && words[0] != NULL && words[1] != NULL; words += 2) {
        boot_guest_type(guest, words[0], strlen(words[0]));
        boot_guest_type(guest, "\r", 1);
        rc = boot_guest_wait(guest, words[1], WAIT_MS, err);
    }
    printf("%s\n", boot_guest_tail(guest, 5));
    if (rc == 0 && boot_guest_wait(guest, "^never$", 100, NULL) != -ETIME)
        rc = blx_error_set(err, -EIO, "what is never said is found");
    return rc == 0 ? boot_guest_stop(guest, STOP_MS, err) : rc;
}

int main(int argc, char **argv)
{
    struct blx_error err = {0};
    struct boot_guest *guest = NULL;
    if (argc <= FIRST)
        return 2;
    const char *disks[] = {argv[DISK]};
    const struct boot_guest_config config = {
        .hardware = {.name = "engine",
                     .memory_bytes = UINT64_C(256) << 20,
                     .disks = disks,
                     .disk_count = 1},
        .accelerator = BLX_BOOT_EMULATED,
        .disks = {.plugin = argv[PLUGIN],
                  .data_dir = argv[DATA_DIR],
                  .agent = argv[AGENT],
                  .checkpoint = strtoull(argv[CHECKPOINT], NULL, 10),
                  .overlay = ""},
        .tell = tell};
    int rc = boot_guest_start(&config, &guest, &err);
    if (rc == 0)
        rc = converse(guest, argv + FIRST, &err);
    boot_guest_free(guest);
    if (rc < 0)
        fprintf(stderr, "%s\n", err.message);
    return rc < 0;
}
