/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What QEMU may do on this host. A guest that breaks out of it has what QEMU has: if the owner of
 * the store starts it, that would be everybody's copies. So QEMU sees the host's programs and
 * libraries alone, read-only, and /dev/kvm; it connects to nobody, changes no file without opening
 * it, and touches no other process. All that it needs comes by descriptors (arguments.h).
 *
 * Threads: the process that becomes QEMU has one.
 */
#pragma once

struct boot_cell {
    /* A network of the guest's, and a screen over the network, need sockets. */
    enum boot_cell_sockets { BOOT_CELL_NO_SOCKETS, BOOT_CELL_SOCKETS } sockets;
    int files[2]; /* descriptors that are opened again by their paths in /proc; -1: none */
};

/* There is no way back. A kernel without Landlock hides no files. -errno. */
int boot_cell_enter(const struct boot_cell *cell);
