# SPDX-License-Identifier: Apache-2.0
"""
A server that is as small as can be and boots by itself, from the BIOS and by UEFI: GRUB, Debian's kernel, busybox. It counts its boots in a file,
says so on its console, and obeys what is typed there.

    GPT: 1 GRUB's rest for the BIOS | 2 the EFI system partition | 3 ext4
"""

import os
import shutil
import struct
import tempfile

import guest
from guest import MIB, Failure, run

DISK_MIB = 96
GRUB_SECTOR, GRUB_MIB = 2048, 1
ESP_SECTOR, ESP_MIB = GRUB_SECTOR + 2048 * GRUB_MIB, 8
ROOT_SECTOR = ESP_SECTOR + 2048 * ESP_MIB
ROOT_MIB = DISK_MIB - 2 - GRUB_MIB - ESP_MIB
MODULES = ["virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod", "ahci", "virtio_net", "ext4", "button", "evdev"]
MODULES_OF_GRUB = ["part_gpt", "ext2", "normal", "linux", "serial", "terminal", "boot", "configfile", "search", "search_fs_uuid"]
UUID = "5b1c6b8e-8b0e-4a6b-9d5c-6b6c7265702e"
GRUB = """serial --unit=0
terminal_input serial
terminal_output serial
linux /boot/vmlinuz console=ttyS0 quiet panic=-1 no_timer_check
initrd /boot/initrd.gz
boot
"""
INIT = """#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
/bin/busybox --install -s /bin
mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in /modules/*.ko; do insmod "$module" 2>/dev/null; done
root=
for turn in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    root=$(findfs UUID={uuid}) && break
    sleep 0.2
done
mount -t ext4 "$root" /root || echo "small: no root"
count=$(($(cat /root/boots) + 1))
echo $count >/root/boots
sync
echo "small: boot $count from $root, disks $(cd /sys/block && echo [svn]* | tr ' ' ,), machine $(ls -d /sys/firmware/efi 2>/dev/null || echo bios), networks $(ls /sys/class/net | grep -vc lo)"
acpid -d -c /acpi >/dev/null 2>&1 &
while printf 'small# ' && read -r line; do eval "$line"; done
umount /root
poweroff -f
"""


def _initrd(kernel, target):
    root = target + ".root"
    shutil.rmtree(root, ignore_errors=True)
    for folder in ("bin", "modules", "proc", "dev", "sys", "root", "acpi/PWRF"):
        os.makedirs(f"{root}/{folder}")
    with open(f"{root}/acpi/PWRF/00000080", "w", encoding="ascii") as file:
        file.write("#!/bin/busybox sh\numount /root\npoweroff -f\n")
    os.chmod(f"{root}/acpi/PWRF/00000080", 0o755)
    shutil.copy("/bin/busybox", f"{root}/bin/")
    with open(f"{root}/init", "w", encoding="ascii") as file:
        file.write(INIT.format(uuid=UUID))
    os.chmod(f"{root}/init", 0o755)
    kernel.copy_modules(MODULES, f"{root}/modules")
    run("sh", "-c", f"find . | cpio --quiet -o -H newc | gzip -1 >'{target}'", cwd=root)
    shutil.rmtree(root)


def _put(path, offset, content):
    with open(path, "r+b") as disk:
        disk.seek(offset)
        disk.write(content)


def _make_bios_bootable(path, folder):
    """As grub-install lays it: its first sector, and the rest in a partition of its own, whose place both have to know."""
    core_path = f"{folder}/core.img"
    run("grub-mkimage", "-O", "i386-pc", "-p", "(hd0,gpt3)/boot/grub", "-o", core_path, "biosdisk", *MODULES_OF_GRUB)
    with open("/usr/lib/grub/i386-pc/boot.img", "rb") as file:
        boot = bytearray(file.read(440))
    with open(core_path, "rb") as file:
        core = bytearray(file.read())
    if len(core) > GRUB_MIB * MIB:
        raise Failure("GRUB's core does not fit into its partition")
    struct.pack_into("<Q", boot, 0x5C, GRUB_SECTOR)
    struct.pack_into("<QH", core, 512 - 12, GRUB_SECTOR + 1, (len(core) - 1) // 512)
    _put(path, 0, bytes(boot))
    _put(path, GRUB_SECTOR * 512, bytes(core))


def _make_uefi_bootable(path, folder):
    run("grub-mkimage", "-O", "x86_64-efi", "-p", "/boot/grub", "-c", f"{folder}/early.cfg", "-o", f"{folder}/BOOTX64.EFI", *MODULES_OF_GRUB)
    esp = f"{folder}/esp"
    guest.make_disk(esp, ESP_MIB)
    run("mkfs.vfat", "-n", "ESP", esp)
    run("mmd", "-i", esp, "::/EFI", "::/EFI/BOOT")
    run("mcopy", "-i", esp, f"{folder}/BOOTX64.EFI", "::/EFI/BOOT/BOOTX64.EFI")
    with open(esp, "rb") as file:
        _put(path, ESP_SECTOR * 512, file.read())


def make_small(path, kernel, folders=()):
    """The disk, at `path`, which may be a device that is large enough and holds zeros. `folders` are made in its root."""
    with tempfile.TemporaryDirectory(prefix="blxrep-small-") as folder:
        for name in ("boot/grub", *folders):
            os.makedirs(f"{folder}/root/{name}")
        _make(path, kernel, folder)
    return path


def _make(path, kernel, folder):
    _initrd(kernel, f"{folder}/root/boot/initrd.gz")
    shutil.copy(kernel.image, f"{folder}/root/boot/vmlinuz")
    for name, text in (("root/boot/grub/grub.cfg", GRUB), ("root/boots", "0\n"),
                       ("early.cfg", f"search.fs_uuid {UUID} root\nset prefix=($root)/boot/grub\n")):
        with open(f"{folder}/{name}", "w", encoding="ascii") as file:
            file.write(text)
    run("sfdisk", "-q", "--no-reread", "--no-tell-kernel", path, input=f"label: gpt\nstart={GRUB_SECTOR}, size={GRUB_MIB}MiB, type=21686148-6449-6E6F-744E-656564454649\n"
        f"start={ESP_SECTOR}, size={ESP_MIB}MiB, type=U\nstart={ROOT_SECTOR}, size={ROOT_MIB}MiB, type=L\n")
    run("mke2fs", "-q", "-F", "-t", "ext4", "-U", UUID, "-E", f"offset={ROOT_SECTOR * 512}", "-d", f"{folder}/root", path, f"{ROOT_MIB}M")
    _make_bios_bootable(path, folder)
    _make_uefi_bootable(path, folder)
