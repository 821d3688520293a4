/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/arguments.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VNC_FIRST_PORT = 5900, VNC_LAST_PORT = 65535, VNC_PLACES = 99, MEBIBYTE = 1 << 20 };

/* A word that finds no memory is missed at the end. */
static void add(struct boot_arguments *arguments, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static void add(struct boot_arguments *arguments, const char *format, ...)
{
    va_list list;
    char *word = NULL;
    if (arguments->count + 1 >= BOOT_MAX_WORDS)
        return;
    va_start(list, format);
    if (vasprintf(&word, format, list) < 0)
        word = NULL;
    va_end(list);
    arguments->words[arguments->count++] = word;
}

static void add_pair(struct boot_arguments *arguments, const char *name, const char *value)
{
    add(arguments, "%s", name);
    add(arguments, "%s", value);
}

static void add_processor(const struct boot_hardware *hardware, struct boot_arguments *arguments)
{
    const bool kvm = hardware->accelerator == BOOT_KVM;
    add_pair(arguments, "-accel", kvm ? "kvm" : "tcg,thread=multi");
    add_pair(arguments, "-cpu", kvm ? "host" : "max");
    add(arguments, "-smp");
    add(arguments, "%u", hardware->cpus);
    add(arguments, "-m");
    add(arguments, "%" PRIu64 "M", hardware->memory_bytes / MEBIBYTE);
}

/* Without a screen the BIOS and boot loaders write to the serial console, too. */
static void add_machine(const struct boot_hardware *hardware, struct boot_arguments *arguments)
{
    const bool uefi = hardware->firmware == BOOT_FIRMWARE_UEFI;
    add(arguments, "-machine");
    add(arguments, "q35%s%s", hardware->vnc == NULL ? ",graphics=off" : "",
        uefi ? ",pflash0=code,pflash1=variables" : "");
    if (!uefi)
        return;
    add(arguments, "-add-fd");
    add(arguments, "fd=%d,set=0", BOOT_FD_FIRMWARE);
    add(arguments, "-add-fd");
    add(arguments, "fd=%d,set=1", BOOT_FD_VARIABLES);
    add_pair(arguments, "-blockdev",
             "driver=file,node-name=code,filename=/dev/fdset/0,read-only=on,locking=off");
    add_pair(arguments, "-blockdev",
             "driver=file,node-name=variables,filename=/dev/fdset/1,locking=off");
}

static void add_channels(const struct boot_hardware *hardware, struct boot_arguments *arguments)
{
    add(arguments, "-chardev");
    add(arguments, "socket,id=qmp,fd=%d", BOOT_FD_QMP);
    add_pair(arguments, "-mon", "chardev=qmp,mode=control");
    add(arguments, "-chardev");
    add(arguments, "socket,id=console,fd=%d", BOOT_FD_CONSOLE);
    add_pair(arguments, "-serial", "chardev:console");
    if (hardware->reports == BOOT_REPORTS) {
        add(arguments, "-chardev");
        add(arguments, "socket,id=reports,fd=%d", BOOT_FD_REPORTS);
        add_pair(arguments, "-serial", "chardev:reports");
    }
    if (hardware->restart == BOOT_ENDS)
        add(arguments, "-no-reboot");
    if (hardware->kernel == NULL)
        add_pair(arguments, "-device", "VGA");
    if (hardware->vnc == NULL)
        add_pair(arguments, "-display", "none");
}

/* A kernel that panics reboots, and ends QEMU thereby. */
static void add_kernel(const struct boot_kernel *kernel, struct boot_arguments *arguments)
{
    add(arguments, "-no-reboot");
    add(arguments, "-kernel");
    add(arguments, "/proc/self/fd/%d", BOOT_FD_KERNEL);
    add(arguments, "-initrd");
    add(arguments, "/proc/self/fd/%d", BOOT_FD_INITRD);
    add_pair(arguments, "-append", kernel->command_line);
    add(arguments, "-chardev");
    add(arguments, "socket,id=channel,fd=%d", BOOT_FD_CHANNEL);
    add_pair(arguments, "-device", "virtio-serial-pci");
    add_pair(arguments, "-device", "virtserialport,chardev=channel,name=" BOOT_CHANNEL);
}

/* QEMU counts displays, and takes the next free one. */
static int add_vnc(const struct boot_hardware *hardware, struct boot_arguments *arguments,
                   struct blx_error *err)
{
    const char *colon = hardware->vnc != NULL ? strrchr(hardware->vnc, ':') : NULL;
    char *end = NULL;
    if (hardware->vnc == NULL)
        return 0;
    long port = colon != NULL ? strtol(colon + 1, &end, 10) : 0;
    if (port < VNC_FIRST_PORT || port > VNC_LAST_PORT || *end != '\0' || colon == hardware->vnc ||
        strchr(hardware->vnc, ',') != NULL)
        return blx_error_set(err, -EINVAL,
                             "'%.80s' is no address for VNC: write HOST:PORT with a port from %d "
                             "on, such as 127.0.0.1:%d",
                             hardware->vnc, VNC_FIRST_PORT, VNC_FIRST_PORT);
    add(arguments, "-vnc");
    add(arguments, "%.*s:%ld,to=%d", (int)(colon - hardware->vnc), hardware->vnc,
        port - VNC_FIRST_PORT, VNC_PLACES);
    return 0;
}

static void add_network(const struct boot_hardware *hardware, struct boot_arguments *arguments)
{
    if (hardware->network == BLX_BOOT_NO_NETWORK) {
        add_pair(arguments, "-nic", "none");
        return;
    }
    add_pair(arguments, "-netdev", "user,id=net0");
    add_pair(arguments, "-device",
             hardware->bus == BLX_BOOT_SATA ? "e1000e,netdev=net0" : "virtio-net-pci,netdev=net0");
}

/* QEMU's options are split at commas, so one is written twice. */
static void escape(const char *name, char escaped[2 * BLX_NAME_BYTES])
{
    while (*name != '\0') {
        if (*name == ',')
            *escaped++ = ',';
        *escaped++ = *name++;
    }
    *escaped = '\0';
}

static void add_disk(const struct boot_hardware *hardware, size_t at,
                     struct boot_arguments *arguments)
{
    static const char *const devices[] = {
        [BLX_BOOT_VIRTIO] = "virtio-blk-pci",
        [BLX_BOOT_SATA] = "ide-hd",
        [BLX_BOOT_SCSI] = "scsi-hd",
    };
    char name[2 * BLX_NAME_BYTES], place[64] = "", order[32] = "";
    /* The one that is booted from first, then the others. */
    size_t turn = at == hardware->boot_disk ? 0 : at + 1;
    escape(hardware->disks[at], name);
    if (hardware->kernel == NULL)
        snprintf(order, sizeof(order), ",bootindex=%zu", turn);
    if (hardware->bus == BLX_BOOT_SATA)
        snprintf(place, sizeof(place), ",bus=ide.%zu", at);
    if (hardware->bus == BLX_BOOT_SCSI)
        snprintf(place, sizeof(place), ",bus=scsi0.0,scsi-id=%zu", at);
    add(arguments, "-blockdev");
    add(arguments, "driver=nbd,node-name=disk%zu,server.type=fd,server.str=%zu,export=%s", at,
        BOOT_FD_DISKS + at, name);
    add(arguments, "-device");
    add(arguments, "%s,drive=disk%zu,id=drive%zu%s%s", devices[hardware->bus], at, at, order,
        place);
}

static int add_disks(const struct boot_hardware *hardware, struct boot_arguments *arguments,
                     struct blx_error *err)
{
    static const size_t most[] = {
        [BLX_BOOT_VIRTIO] = BOOT_VIRTIO_DISKS,
        [BLX_BOOT_SATA] = BOOT_SATA_DISKS,
        [BLX_BOOT_SCSI] = BOOT_SCSI_DISKS,
    };
    if (hardware->disk_count > most[hardware->bus])
        return blx_error_set(err, -EINVAL,
                             "the server has %zu disks, and the bus has room for %zu: choose some "
                             "with --device, or %s",
                             hardware->disk_count, most[hardware->bus],
                             hardware->bus == BLX_BOOT_SCSI ? "nothing else"
                                                            : "--disk-bus=scsi has room for 64");
    if (hardware->bus == BLX_BOOT_SCSI)
        add_pair(arguments, "-device", "virtio-scsi-pci,id=scsi0");
    for (size_t i = 0; i < hardware->disk_count; i++)
        add_disk(hardware, i, arguments);
    return 0;
}

int boot_arguments_make(const struct boot_hardware *hardware, struct boot_arguments *arguments,
                        struct blx_error *err)
{
    *arguments = (struct boot_arguments){0};
    add(arguments, "qemu-system-x86_64");
    add(arguments, "-no-user-config");
    add(arguments, "-nodefaults");
    add(arguments, "-name");
    add(arguments, "%s", hardware->name);
    add_pair(arguments, "-sandbox",
             "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    add_machine(hardware, arguments);
    add_processor(hardware, arguments);
    add_channels(hardware, arguments);
    if (hardware->kernel != NULL)
        add_kernel(hardware->kernel, arguments);
    add_pair(arguments, "-device", "virtio-rng-pci");
    add_network(hardware, arguments);
    int rc = add_vnc(hardware, arguments, err);
    if (rc == 0)
        rc = add_disks(hardware, arguments, err);
    for (size_t i = 0; rc == 0 && i < arguments->count; i++)
        if (arguments->words[i] == NULL)
            rc = blx_error_errno(err, -ENOMEM, "cannot start the server");
    return rc;
}

void boot_arguments_done(struct boot_arguments *arguments)
{
    for (size_t i = 0; i < arguments->count; i++)
        free(arguments->words[i]);
    *arguments = (struct boot_arguments){0};
}
