#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# life.sh in a scratch root: this machine's system with a tmpfs laid over it, in namespaces of its own, with a BPF filesystem of its own
# (the machine's pins are not there) and a loop device. Nothing of it is left. Needs root.
#
#   scratch.sh OLD NEW WORK      folders of packages of two versions; a folder to be made
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
old=$1 new=$2 work=$3

if [ "${BLXREP_SCRATCH:-}" != inside ]; then
    mkdir "$work"
    truncate -s 64M "$work/disk"
    loop=$(losetup --find --show "$work/disk")
    trap 'losetup -d "$loop"' EXIT
    trap 'exit 143' TERM INT
    BLXREP_SCRATCH=inside BLXREP_SCRATCH_DISK=$loop unshare --mount --propagation=private --pid --fork --kill-child "$0" "$old" "$new" "$work"
    exit
fi

# Filesystems of tests that run beside this one would stay mounted in here.
awk '$1 ~ "^/dev/(loop|zram)" { print $2 }' /proc/self/mounts | tac | xargs -r umount --lazy
mount -t tmpfs scratch "$work"
mkdir "$work"/{upper,lower,root,packages}
cp -r "$old" "$work/packages/old"
cp -r "$new" "$work/packages/new"
cp "$here/life.sh" "$work/packages/"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/lower" "$work/root"
root=$work/root
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t bpf bpf "$root/sys/fs/bpf"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mkdir "$root/run/packages"
mount --bind "$work/packages" "$root/run/packages"
rm -f "$root/var/lib/man-db/auto-update" # no index of all manual pages of this machine
exec chroot "$root" /bin/bash /run/packages/life.sh by-hand /run/packages/old /run/packages/new "$BLXREP_SCRATCH_DISK"
