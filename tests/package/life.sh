#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The life of an installation on a machine that may be spoilt: install, configure, protect a disk, upgrade under load, remove, purge.
# Runs inside that machine, as root; prints "life: passed" at the end.
#
#   life.sh systemd|by-hand OLD NEW DISK      folders of packages of two versions; a disk that is overwritten
#
# "systemd": it is PID 1, and the packages' scripts restart the daemons. "by-hand": a scratch root without one; the daemons are started as
# the units say, and restarted as the scripts would have had it done.
set -euo pipefail
mode=$1 old=$2 new=$3 disk=$4
export LC_ALL=C DEBIAN_FRONTEND=noninteractive
data=/var/lib/blxrep
pins=/sys/fs/bpf/blxrep/$(basename "$disk")
packages=(blxrep-rescue blxrep-static blxrep-agent blxrep-dispatcher blxrep blxrep-nbdkit libblxrep0)
declare -A pids

step() { echo "life: $SECONDS s: $*"; }
fail() {
    echo "life: FAILED: $*"
    log agent | tail -n 20
    log dispatcher | tail -n 20
    blxrep status --data-dir=$data || true
    # Where the agent's threads are.
    grep -H . /proc/"$(pid_of agent)"/task/*/{comm,wchan,stack} 2>/dev/null || true
    exit 1
}
wait_for() {
    for _ in $(seq 300); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 0.2
    done
    fail "waited for a minute: $*"
}

# From the installed unit: what it starts, and as whom.
unit_says() { sed -n "s/^$2=//p" "/usr/lib/systemd/system/blxrep-$1.service"; }

start_daemon() {
    if [ "$mode" = systemd ]; then
        systemctl enable --now "blxrep-$1" || fail "blxrep-$1 does not start"
        return
    fi
    local user command
    user=$(unit_says "$1" User)
    command=$(unit_says "$1" ExecStart)
    setpriv --reuid "${user:-root}" --regid "${user:-root}" --clear-groups "$command" 2>>"/run/life-$1.log" &
    pids[$1]=$!
}
stop_daemon() { # by hand only
    kill "${pids[$1]}"
    wait "${pids[$1]}" || fail "blxrep-$1 ended with $? on SIGTERM"
}
pid_of() { if [ "$mode" = systemd ]; then systemctl show -P MainPID "blxrep-$1"; else echo "${pids[$1]}"; fi; }
log() { if [ "$mode" = systemd ]; then journalctl -q -o cat -u "blxrep-$1"; else cat "/run/life-$1.log"; fi; }
is_listening() { [ -S "$data/control.sock" ]; }
# Under load it may be at a rescan for long (agent/track/witness.h says why there is one), and is online all the same.
is_online() { blxrep status --data-dir=$data | grep web1 | grep -qvi offline; }
take_checkpoint() { blxrep checkpoint --agent=web1 --data-dir=$data; }
is_running() { grep -sx 'blxrep-agent\|blxrep-dispatch' /proc/[0-9]*/comm; } # as long as the kernel keeps names
kinds() { blxrep show --agent=web1 --data-dir=$data --json | grep -o '"kind": *"[a-z]*"' | cut -d'"' -f4; }
is_adopted() { log agent | tail -n "+$1" | grep -q 'no change was missed'; }

step "a fresh installation starts nothing"
dpkg -i "$old"/*.deb >/run/life-dpkg.log 2>&1 || fail "dpkg -i: $(cat /run/life-dpkg.log)"
[ "$(stat -c '%U:%G %a' $data)" = "blxrep:blxrep 700" ] || fail "$data is not the dispatcher's own"
[ "$(stat -c '%U %a' $data/format)" = "blxrep 644" ] || fail "the package made no store in $data"
[ -d /etc/blxrep ] && [ ! -e /etc/blxrep/config.yaml ] || fail "settings came out of nothing"
if is_running; then fail "something was started"; fi
if [ "$mode" = systemd ]; then
    for daemon in agent dispatcher; do
        [ "$(systemctl is-enabled blxrep-$daemon)" = disabled ] || fail "blxrep-$daemon is enabled"
        if systemctl start blxrep-$daemon 2>/dev/null; then fail "blxrep-$daemon runs without settings"; fi
        sleep 6
        [ "$(systemctl show -P NRestarts blxrep-$daemon)" = 0 ] || fail "blxrep-$daemon is tried again without settings"
    done
fi

step "from the packages to the first protected disk"
mkfs.ext4 -q -F "$disk"
mkdir -p /run/life-files
mount "$disk" /run/life-files
cat >/etc/blxrep/config.yaml <<END
data-dir: "$data"
sync-freq: "1h"
listen: "127.0.0.1:18080"
id: "web1"
dispatcher-addr: "localhost:18080"
device: "$disk"
skip-free-space: false
pre-freeze: "echo quiet >/run/blxrep/hook"
END
blxrep enroll --agent=web1 --data-dir=$data --output=/etc/blxrep/agent.pem
start_daemon dispatcher
wait_for is_listening
start_daemon agent
wait_for is_online
take_checkpoint
[ "$(kinds | head -n 1)" = full ] || fail "the first checkpoint is no full one"
[ "$(stat -c %U "$data/control.sock")" = blxrep ] || fail "the dispatcher is not its own user"
[ "$(cat /run/blxrep/hook)" = quiet ] || fail "the hook was not run"
[ "$(readlink "/proc/$(pid_of agent)/ns/mnt")" = "$(readlink /proc/$$/ns/mnt)" ] || fail "the agent sees other mounts"
[ -d "$pins" ] || fail "no pins in $pins"

if [ "$mode" = systemd ]; then
    step "a daemon that hangs is started again"
    for daemon in dispatcher agent; do
        mkdir -p /run/systemd/system/blxrep-$daemon.service.d
        printf '[Service]\nWatchdogSec=8\nTimeoutAbortSec=2\n' >/run/systemd/system/blxrep-$daemon.service.d/life.conf
        systemctl daemon-reload
        systemctl restart blxrep-$daemon
        kill -STOP "$(pid_of $daemon)"
        restarted() { [ "$(systemctl show -P NRestarts blxrep-$daemon)" -ge 1 ]; }
        wait_for restarted
        rm -r /run/systemd/system/blxrep-$daemon.service.d
        systemctl daemon-reload
        systemctl restart blxrep-$daemon
    done
    wait_for is_online
fi

step "an upgrade under load loses nothing"
load() {
    for number in $(seq 100000); do
        head -c 100000 /dev/urandom >"/run/life-files/$((number % 50))"
        [ $((number % 10)) -ne 0 ] || sync -f /run/life-files
    done
}
load &
load_pid=$!
sleep 2
said=$(($(log agent | wc -l) + 1))
before=$(pid_of agent)
dpkg -i "$new"/*.deb >/run/life-dpkg.log 2>&1 || fail "dpkg -i: $(cat /run/life-dpkg.log)"
[ -d "$pins" ] || fail "the upgrade ended the tracking"
if [ "$mode" = by-hand ]; then
    for daemon in dispatcher agent; do
        kill -0 "${pids[$daemon]}" || fail "the upgrade ended blxrep-$daemon"
        stop_daemon $daemon
        start_daemon $daemon
    done
fi
wait_for is_adopted "$said"
wait_for is_online
[ "$(pid_of agent)" != "$before" ] || fail "the old agent still runs"
for daemon in agent dispatcher; do
    if readlink "/proc/$(pid_of $daemon)/exe" | grep deleted; then fail "the old blxrep-$daemon still runs"; fi
done
sleep 2
kill $load_pid
wait $load_pid || true
wait_for umount /run/life-files
stamp=$(take_checkpoint)
[ "$(kinds | tail -n 1)" = incremental ] || fail "the checkpoint after the upgrade is no increment"
blxrep restore --agent=web1 --checkpoint="$stamp" --data-dir=$data --output=/run/life.img
cmp /run/life.img "$disk" || fail "the checkpoint after the upgrade is not what the disk holds"
rm /run/life.img
blxrep restore --agent=web1 --checkpoint="$stamp" --data-dir=$data --format=qcow2 --output=/run/life.qcow2
qemu-img compare -f qcow2 -F raw /run/life.qcow2 "$disk" || fail "the qcow2 image is not what the disk holds"
rm /run/life.qcow2

step "removal keeps the data, the settings and the tracking"
[ "$mode" = systemd ] || for daemon in agent dispatcher; do stop_daemon $daemon; done
dpkg -r "${packages[@]}" >/run/life-dpkg.log 2>&1 || fail "dpkg -r: $(cat /run/life-dpkg.log)"
if is_running; then fail "something still runs"; fi
[ ! -e /usr/bin/blxrep-agent ] && [ -d "$pins" ] && [ -s /etc/blxrep/config.yaml ] && [ -s /etc/blxrep/agent.pem ] || fail "removal"
[ -n "$(ls $data/agents/web1/checkpoints)" ] || fail "removal took the checkpoints"

step "what comes back goes on where it was"
dpkg -i "$new"/*.deb >/run/life-dpkg.log 2>&1 || fail "dpkg -i: $(cat /run/life-dpkg.log)"
said=$(($(log agent | wc -l) + 1))
start_daemon dispatcher
start_daemon agent
wait_for is_online
wait_for is_adopted "$said"
[ "$mode" = systemd ] || for daemon in agent dispatcher; do stop_daemon $daemon; done

step "purging takes settings, key and pins, and leaves the data"
dpkg -P "${packages[@]}" >/run/life-dpkg.log 2>&1 </dev/null || fail "dpkg -P: $(cat /run/life-dpkg.log)"
for gone in /etc/blxrep /sys/fs/bpf/blxrep /run/blxrep /etc/systemd/system/multi-user.target.wants/blxrep-agent.service; do
    [ ! -e "$gone" ] || fail "purging left $gone: $(ls -la "$gone")"
done
[ -n "$(ls $data/agents/web1/checkpoints)" ] || fail "purging took the checkpoints"
[ "$(stat -c %U $data)" = blxrep ] || fail "the data's owner is gone"
echo "life: passed"
