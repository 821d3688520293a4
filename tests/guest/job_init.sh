#!/bin/busybox sh
# SPDX-License-Identifier: Apache-2.0
# The first process of a guest on the machine's own files: finds them, lays memory over them, and hands over to job.sh.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
for module in /modules/*.ko; do $b insmod "$module"; done
for word in $($b cat /proc/cmdline); do
    case $word in
    blxrep.init=*) init=${word#*=} ;;
    esac
done
$b mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=524288,cache=loose machine /lower
$b mount -t tmpfs layer /layer
$b mkdir /layer/upper /layer/work
$b mount -t overlay -o lowerdir=/lower,upperdir=/layer/upper,workdir=/layer/work machine /new
$b umount /proc
exec $b switch_root /new /bin/bash "$init"
