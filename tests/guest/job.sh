#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# PID 1 of a guest on the machine's own files: what a system has mounted and loaded, then the job, then power-off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C
exec </dev/null >/dev/console 2>&1
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts pts /dev/pts
for folder in /dev/shm /run; do mount -t tmpfs tmpfs $folder; done
export TMPDIR=/run/tmp # the project itself may lie below /tmp
mkdir -m 1777 $TMPDIR
mount -t bpf bpf /sys/fs/bpf
mount -t cgroup2 cgroup /sys/fs/cgroup
ip link set lo up
job=$(sed -n 's/.*blxrep\.job=\([^ ]*\).*/\1/p' /proc/cmdline)
eval "$(head -n 1 "$job")"
mkdir -p "/lib/modules/$(uname -r)"
mount --bind "$BLXREP_GUEST_MODULES" "/lib/modules/$(uname -r)"
for module in virtio_blk nvme virtio_scsi sd_mod loop ext4 xfs; do modprobe $module; done
bash "$job"
echo "job ended with $?"
sync
echo o >/proc/sysrq-trigger
while :; do :; done # until it is off: PID 1 must not end
