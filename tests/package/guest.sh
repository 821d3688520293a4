#!/bin/bash
# life.sh in a guest of its own with systemd as PID 1: Debian 12 and its own kernel in QEMU, emulated, so that no KVM is needed.
# Needs root, mmdebstrap, qemu-system-x86 and a Debian mirror.
#
#   tests/package/guest.sh OLD NEW [WORK]      folders of packages of two versions; WORK keeps the guest's system for the next time
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
old=$1 new=$2 work=${3:-}
if [ -z "$work" ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
fi
mkdir -p "$work"

if [ ! -e "$work/system.tar" ]; then
    echo "making the guest's system"
    # What the packages ask for, the first of alternatives, is installed before: the guest has no network.
    needed=$(for package in "$old"/*.deb; do dpkg-deb -f "$package" Depends; done | tr ',' '\n' | awk '{print $1}' | grep -v blxrep | sort -u |
        paste -sd,)
    mmdebstrap --quiet --variant=minbase bookworm "$work/system.new.tar" --include="$needed" \
        --include=systemd-sysv,dbus,udev,e2fsprogs,mount,kmod,linux-image-cloud-amd64,initramfs-tools
    mv "$work/system.new.tar" "$work/system.tar"
fi
rm -rf "$work/root"
mkdir "$work/root"
tar -xf "$work/system.tar" -C "$work/root" --exclude='./dev/*'
cp "$work"/root/boot/vmlinuz-* "$work/kernel"
cp "$work"/root/boot/initrd.img-* "$work/initrd"
mkdir "$work/root/life"
cp "$here/life.sh" "$work/root/life/"
cp -r "$old" "$work/root/life/old"
cp -r "$new" "$work/root/life/new"
cat >"$work/root/etc/systemd/system/life.service" <<'END'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
ExecStart=/bin/bash /life/life.sh systemd /life/old /life/new /dev/vdb
ExecStopPost=/bin/systemctl --no-block poweroff
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
[Install]
WantedBy=multi-user.target
END
ln -s ../life.service "$work/root/etc/systemd/system/multi-user.target.wants/life.service"
echo '127.0.0.1 localhost' >"$work/root/etc/hosts"
echo '/dev/vda / ext4 defaults 0 1' >"$work/root/etc/fstab"
mke2fs -q -F -t ext4 -d "$work/root" "$work/root.img" 3G
rm -rf "$work/root"
truncate -s 0 "$work/disk.img"
truncate -s 128M "$work/disk.img"
timeout 900 qemu-system-x86_64 -accel tcg -smp 1 -cpu max -m 1024 -display none -serial stdio -monitor none -nic none -no-reboot \
    -kernel "$work/kernel" -initrd "$work/initrd" -append 'root=/dev/vda rw console=ttyS0 quiet panic=-1 systemd.mask=serial-getty@ttyS0.service' \
    -drive "file=$work/root.img,if=virtio,format=raw,cache=unsafe" -drive "file=$work/disk.img,if=virtio,format=raw,cache=unsafe" \
    </dev/null | tee "$work/console.log"
grep -q '^life: passed' "$work/console.log"
