#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs the packages that a build needs, on Debian and Ubuntu; with "tests" those of the tests, too. Quick if all are installed.
#
#   etc/packages.sh [build|tests|bench|guest]
set -euo pipefail

packages=(gcc libc6-dev clang cmake ninja-build pkg-config libbpf-dev libelf-dev zlib1g-dev libconfig-dev libssl-dev libzstd-dev
    libxxhash-dev libmicrohttpd-dev libblkid-dev libfuse3-dev nbdkit-plugin-dev libext2fs-dev comerr-dev libarchive-dev libseccomp-dev libkmod-dev
    libcurl4-openssl-dev libexpat1-dev libjansson-dev)
case ${1:-build} in
build) ;;
bench) # also the programs that the benchmarks compare with
    # borg mounts by llfuse; qemu-storage-daemon is in qemu-system-common.
    packages+=(python3 fio e2fsprogs iproute2 util-linux mount fuse3 zstd borgbackup python3-llfuse restic qemu-utils qemu-system-common casync rsync) ;;
tests)
    packages+=(libcmocka-dev python3 python3-yaml sqlite3 openssl fio xfsprogs btrfs-progs e2fsprogs fdisk util-linux mount
        iproute2 zstd fuse3 nbdkit libnbd-bin qemu-utils)
    # For the checks of the sources. Releases of clang-format differ in details, so it is this one everywhere.
    packages+=(git clang-format-14 clang-tidy-14 shellcheck)
    # What the scripts for on-event need.
    packages+=(curl)
    # The page is looked at by a browser without a window, driven by the WebDriver protocol. Ubuntu has them as snaps only:
    # there put a chromium or google-chrome and its chromedriver on the path.
    grep -qs '^ID=ubuntu' /etc/os-release || packages+=(chromium-headless-shell chromium-driver)
    # To make packages, check them and the units, and install them in a scratch root.
    packages+=(dpkg-dev file rpm lintian systemd man-db)
    # To boot a guest from the machine's own files.
    packages+=(qemu-system-x86 busybox-static cpio kmod mdadm dmsetup bcache-tools)
    # What the virtual machine of `files` puts together: volumes of LVM, and a filesystem of every kind.
    packages+=(lvm2 dosfstools)
    # To make a small server that boots by the BIOS and by UEFI.
    packages+=(grub-common grub-pc-bin grub-efi-amd64-bin ovmf dosfstools mtools)
    # To make the rescue system.
    packages+=(xz-utils xorriso mtools grub-common grub-pc-bin grub-efi-amd64-bin)
    # clang's libFuzzer and sanitizers. On Ubuntu 22.04 they come with clang itself.
    grep -qs '^VERSION_ID="22.04"' /etc/os-release || packages+=(libclang-rt-dev)
    ;;
guest) # to emulate kernels, disks and whole servers that this machine does not have
    packages+=(python3 qemu-system-x86 busybox-static cpio kmod e2fsprogs xfsprogs fdisk util-linux mount iproute2 sqlite3 lvm2 mdadm dmsetup bcache-tools mmdebstrap dpkg-dev
        openssh-client zstd procps xz-utils xorriso mtools grub-common grub-pc-bin grub-efi-amd64-bin ovmf)
    ;;
*)
    echo "usage: $0 [build|tests|bench|guest]" >&2
    exit 2
    ;;
esac

missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f '${Status}\n' "$package" 2>/dev/null | grep -q '^install ok installed$' || missing+=("$package")
done
# Debian has a package bpftool. On Ubuntu the program comes with the kernel tools, and its wrapper insists on the running kernel's.
if ! bpftool version >/dev/null 2>&1 && ! compgen -G '/usr/lib/linux-tools*/*/bpftool' >/dev/null; then
    if grep -qs '^ID=ubuntu' /etc/os-release; then
        missing+=(linux-tools-common linux-tools-generic)
    else
        missing+=(bpftool)
    fi
fi
[ "${#missing[@]}" -gt 0 ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
    echo "$0: missing packages: ${missing[*]}: install them, or run this as root" >&2
    exit 1
fi
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
