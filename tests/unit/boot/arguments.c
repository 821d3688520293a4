/* SPDX-License-Identifier: Apache-2.0 */
/* QEMU's command line: what a machine has, and nothing that was not asked for. */
#include "boot/arguments.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *const disks[] = {"vda", "vdb,x", "vdc", "vdd", "vde", "vdf", "vdg"};

static struct boot_arguments made;

static struct boot_hardware hardware(void)
{
    return (struct boot_hardware){.name = "blxrep-web1",
                                  .memory_bytes = UINT64_C(2) << 30,
                                  .cpus = 2,
                                  .disks = disks,
                                  .disk_count = 2};
}

static int make(const struct boot_hardware *with)
{
    boot_arguments_done(&made);
    return boot_arguments_make(with, &made, NULL);
}

/* Whether the words stand there, one after the other. */
static bool has(const char *first, const char *second)
{
    for (size_t i = 0; i < made.count; i++)
        if (strcmp(made.words[i], first) == 0 &&
            (second == NULL || (i + 1 < made.count && strcmp(made.words[i + 1], second) == 0)))
            return true;
    return false;
}

static bool mentions(const char *text)
{
    for (size_t i = 0; i < made.count; i++)
        if (strstr(made.words[i], text) != NULL)
            return true;
    return false;
}

static int teardown(void **state)
{
    (void)state;
    boot_arguments_done(&made);
    return 0;
}

static void a_machine_has_nothing_that_was_not_asked_for(void **state)
{
    (void)state;
    const struct boot_hardware plain = hardware();
    assert_int_equal(make(&plain), 0);
    assert_true(has("-nodefaults", NULL) && has("-no-user-config", NULL));
    assert_true(has("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,"
                                "resourcecontrol=deny"));
    assert_true(has("-nic", "none") && has("-display", "none"));
    assert_false(mentions("netdev") || mentions("-vnc") || mentions("pflash"));
    assert_true(has("-machine", "q35,graphics=off"));
    assert_true(has("-accel", "tcg,thread=multi") && has("-cpu", "max"));
    assert_true(has("-m", "2048M") && has("-smp", "2"));
}

static void a_kernel_of_ours_is_started_in_place_of_the_disks(void **state)
{
    (void)state;
    const struct boot_kernel kernel = {.command_line = "console=ttyS0 panic=-1"};
    struct boot_hardware with = hardware();
    assert_int_equal(make(&with), 0);
    assert_true(mentions("bootindex") && mentions("VGA"));
    assert_false(mentions("-kernel") || mentions("virtserialport") || has("-no-reboot", NULL));
    with.kernel = &kernel;
    assert_int_equal(make(&with), 0);
    char image[32], initrd[32], channel[64];
    snprintf(image, sizeof(image), "/proc/self/fd/%d", BOOT_FD_KERNEL);
    snprintf(initrd, sizeof(initrd), "/proc/self/fd/%d", BOOT_FD_INITRD);
    snprintf(channel, sizeof(channel), "socket,id=channel,fd=%d", BOOT_FD_CHANNEL);
    assert_true(has("-kernel", image) && has("-initrd", initrd) && has("-chardev", channel));
    assert_true(has("-append", "console=ttyS0 panic=-1") && has("-no-reboot", NULL));
    assert_true(has("-device", "virtserialport,chardev=channel,name=" BOOT_CHANNEL));
    assert_false(mentions("bootindex") || mentions("VGA"));
}

static void kvm_has_the_hosts_processor(void **state)
{
    (void)state;
    struct boot_hardware with = hardware();
    with.accelerator = BOOT_KVM;
    assert_int_equal(make(&with), 0);
    assert_true(has("-accel", "kvm") && has("-cpu", "host"));
}

static void disks_come_by_descriptors_and_the_one_with_the_loader_first(void **state)
{
    (void)state;
    struct boot_hardware with = hardware();
    with.boot_disk = 1;
    assert_int_equal(make(&with), 0);
    assert_true(
        has("-blockdev", "driver=nbd,node-name=disk0,server.type=fd,server.str=11,export=vda"));
    assert_true(
        has("-blockdev", "driver=nbd,node-name=disk1,server.type=fd,server.str=12,export=vdb,,x"));
    assert_true(has("-device", "virtio-blk-pci,drive=disk0,id=drive0,bootindex=1"));
    assert_true(has("-device", "virtio-blk-pci,drive=disk1,id=drive1,bootindex=0"));
}

static void each_bus_has_its_devices_and_its_room(void **state)
{
    (void)state;
    struct boot_hardware with = hardware();
    with.bus = BLX_BOOT_SATA;
    with.network = BLX_BOOT_USER_NETWORK;
    assert_int_equal(make(&with), 0);
    assert_true(has("-device", "ide-hd,drive=disk1,id=drive1,bootindex=2,bus=ide.1"));
    assert_true(has("-device", "e1000e,netdev=net0")); /* it has no drivers for virtio perhaps */
    with.disk_count = 7;
    assert_int_equal(make(&with), -EINVAL);
    with.bus = BLX_BOOT_SCSI;
    assert_int_equal(make(&with), 0);
    assert_true(has("-device", "virtio-scsi-pci,id=scsi0"));
    assert_true(has("-device", "scsi-hd,drive=disk6,id=drive6,bootindex=7,bus=scsi0.0,scsi-id=6"));
    assert_true(has("-device", "virtio-net-pci,netdev=net0"));
}

static void uefi_comes_by_descriptors(void **state)
{
    (void)state;
    struct boot_hardware with = hardware();
    with.firmware = BOOT_FIRMWARE_UEFI;
    assert_int_equal(make(&with), 0);
    assert_true(has("-machine", "q35,graphics=off,pflash0=code,pflash1=variables"));
    assert_true(has("-add-fd", "fd=5,set=0") && has("-add-fd", "fd=6,set=1"));
}

static void a_screen_is_shown_at_a_good_address_alone(void **state)
{
    (void)state;
    static const char *const bad[] = {"127.0.0.1", ":5900",   "h:5899",
                                      "h:65536",   "h:5900x", "h,password=off:5900"};
    struct boot_hardware with = hardware();
    with.vnc = "127.0.0.1:5901";
    assert_int_equal(make(&with), 0);
    assert_true(has("-vnc", "127.0.0.1:1,to=99") && has("-machine", "q35"));
    assert_false(has("-display", "none"));
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        with.vnc = bad[i];
        assert_int_equal(make(&with), -EINVAL);
    }
}

static void reports_have_a_port_of_their_own_if_they_are_wanted(void **state)
{
    (void)state;
    struct boot_hardware with = hardware();
    assert_int_equal(make(&with), 0);
    assert_false(has("-serial", "chardev:reports"));
    with.reports = BOOT_REPORTS;
    with.restart = BOOT_ENDS;
    assert_int_equal(make(&with), 0);
    assert_true(has("-serial", "chardev:console") && has("-serial", "chardev:reports"));
    assert_true(has("-chardev", "socket,id=reports,fd=7"));
}

int main(void)
{
#define ARGUMENTS_TEST(name) cmocka_unit_test_teardown(name, teardown)
    const struct CMUnitTest tests[] = {
        ARGUMENTS_TEST(a_machine_has_nothing_that_was_not_asked_for),
        ARGUMENTS_TEST(a_kernel_of_ours_is_started_in_place_of_the_disks),
        ARGUMENTS_TEST(kvm_has_the_hosts_processor),
        ARGUMENTS_TEST(disks_come_by_descriptors_and_the_one_with_the_loader_first),
        ARGUMENTS_TEST(each_bus_has_its_devices_and_its_room),
        ARGUMENTS_TEST(uefi_comes_by_descriptors),
        ARGUMENTS_TEST(reports_have_a_port_of_their_own_if_they_are_wanted),
        ARGUMENTS_TEST(a_screen_is_shown_at_a_good_address_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
