/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The disks of the guest: the checkpoint's disks and their partitions, the arrays of md that lie on
 * these, and the logical volumes that lie on all of them. The host's own mdadm and lvm put them
 * together: the host has laid them into the first files, if it has them.
 *
 * Threads: one.
 */
#pragma once

#include <stddef.h>

#include "base/error.h"
#include "files/probe.h"
#include "files/request.h"
#include "files/source.h"

enum { FILES_NODE_BYTES = 64 };

struct files_guest_device {
    struct files_disk disk;
    char node[FILES_NODE_BYTES]; /* "/dev/vda1" */
    int fd;                      /* open for reading */
};

struct files_guest_devices {
    struct files_guest_device *list; /* owned */
    size_t count;
    char missing[128]; /* a remark about a program that would find more; "": none */
};

/* The list is good as far as it goes if something fails: -ENOMEM, or an error of a device. */
int files_guest_devices_find(const struct files_request *request, struct files_probe *probe,
                             struct files_guest_devices *devices, struct blx_error *err);
