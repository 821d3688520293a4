#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A host of the newcomer's script: this machine's system with a tmpfs laid over it, and a name, a network, processes, devices and pins of
# its own. It says "ready" and lives until its standard input ends; nothing of it is left. Needs root.
#
#   host.sh NAME WORK PACKAGES DISK...      an empty folder; a folder of packages, which root finds in its home; loop devices, which
#                                           become /dev/vda, /dev/vdb, ... of this host alone
set -euo pipefail
if [ "${BLXREP_NEWCOMER:-}" != inside ]; then
    BLXREP_NEWCOMER=inside exec unshare --mount --uts --net --pid --fork --kill-child --propagation=private "$0" "$@"
fi
name=$1 work=$2 packages=$3
shift 3

hostname "$name"
ip link set lo up
# Filesystems of tests that run beside this one would stay mounted in here.
awk '$1 ~ "^/dev/(loop|zram)" { print $2 }' /proc/self/mounts | tac | xargs -r umount --lazy
mount -t tmpfs newcomer "$work"
mkdir "$work"/{upper,lower,root}
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/upper,workdir=$work/lower" "$work/root"
root=$work/root
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t bpf bpf "$root/sys/fs/bpf"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for node in null zero full random urandom tty fuse; do cp -a "/dev/$node" "$root/dev/"; done
ln -s /proc/self/fd "$root/dev/fd"
for number in 0:stdin 1:stdout 2:stderr; do ln -s "/proc/self/fd/${number%:*}" "$root/dev/${number#*:}"; done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
letters=abcdefgh
for disk in "$@"; do
    mknod "$root/dev/vd${letters:0:1}" b "0x$(stat -c %t "$disk")" "0x$(stat -c %T "$disk")"
    letters=${letters:1}
done
cp "$packages"/*.deb "$root/root/"
# What no package of ours brings, and a fresh machine has neither.
rm -rf "$root/etc/blxrep" "$root/var/lib/blxrep" "$root/var/lib/man-db/auto-update"
install -m 755 "$(dirname "$0")/systemctl" "$root/usr/local/bin/"
echo "ready $$"
cat >/dev/null
