#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a clone to a restored disk on one machine: builds blxrep, protects a small disk (a loop device on a file), takes two
# checkpoints, restores the first one and proves that it is right. Run it as root on Debian 12 or Ubuntu. It leaves only the build folder.
#
#   etc/quickstart.sh                      builds in build-quickstart
#   BUILD_DIR=DIR etc/quickstart.sh        builds in DIR
set -euo pipefail
exec 3>&1
cd "$(dirname "$0")/.."

if [ "$(id -u)" -ne 0 ]; then
    echo "quickstart.sh: run it as root: it makes a loop device, mounts a filesystem and loads eBPF programs" >&2
    exit 1
fi

build=${BUILD_DIR:-build-quickstart}
work=
loop=
agent=
dispatcher=
image_loop=
build_log=
steps=0

step() {
    steps=$((steps + 1))
    printf '\n%d. %s\n' "$steps" "$*"
}

# Prints a command as somebody would type it, then runs it.
try() {
    printf '   $ %s\n' "$*"
    "$@" 2>&1 | sed 's/^/     /'
}

stop() {
    [ -z "$1" ] || { kill "$1" 2>/dev/null && wait "$1" || true; }
}

# Gives the machine back as it was, whatever happens. The order matters: first the programs end, then the objects that they use.
clean_up() {
    status=$?
    trap - EXIT INT TERM
    set +e
    cd /
    stop "$agent"
    stop "$dispatcher"
    if [ "$status" -ne 0 ] && [ -n "$work" ]; then
        printf '\nquickstart.sh: failed (%d). The last lines of the logs:\n' "$status" >&2
        tail -n 30 "$work"/*.log >&2
    fi
    for folder in "$work/restored" "$work/disk"; do
        if [ -n "$work" ] && mountpoint -q "$folder"; then
            umount "$folder"
        fi
    done
    [ -z "$image_loop" ] || losetup -d "$image_loop"
    if [ -n "$loop" ]; then
        rm -rf "/sys/fs/bpf/blxrep/$(basename "$loop")" # the tracker outlives its agent; this ends it
        losetup -d "$loop"
    fi
    rm -rf ${work:+"$work"} ${build_log:+"$build_log"}
    exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Waits until a command succeeds, at most 60 seconds.
wait_for() {
    for _ in $(seq 300); do
        if "$@" >/dev/null 2>&1; then
            return 0
        fi
        if ! kill -0 "$dispatcher" 2>/dev/null || { [ -n "$agent" ] && ! kill -0 "$agent" 2>/dev/null; }; then
            return 1
        fi
        sleep 0.2
    done
    return 1
}

first_checkpoint() { blxrep show --agent=server1 --data-dir=backup --json | grep -q '"checkpoint"'; }
is_live() { blxrep status --data-dir=backup --json | grep -q '"state": *"LIVE"'; }
listening() { [ -S backup/control.sock ]; }
free_port() { for port in $(seq $((20000 + RANDOM % 10000)) 32000); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
done; }

# Takes a checkpoint and prints its timestamp after it is durable.
checkpoint() {
    echo '   $ blxrep dispatcher checkpoint --agent=server1 --data-dir=backup' >&3
    blxrep dispatcher checkpoint --agent=server1 --data-dir=backup
}

step "Build blxrep (into $build)"
etc/packages.sh build
build_log=$(mktemp)
if ! { cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DBLXREP_TESTS=OFF && cmake --build "$build"; } \
    >"$build_log" 2>&1; then
    cat "$build_log" >&2
    exit 1
fi
PATH=$(cd "$build/bin" && pwd):$PATH
try blxrep --version

step "Make a disk to protect: a 256 MiB loop device with ext4 (on a server this is your /dev/sda)"
work=$(mktemp -d /tmp/blxrep-quickstart.XXXXXX)
printf '   $ cd %s\n' "$work"
cd "$work"
mkdir disk restored
truncate -s 256M disk.file
loop=$(losetup --find --show "$work/disk.file")
try mkfs.ext4 -q "$loop"
try mount "$loop" disk

step "Enroll the agent: one file gets its key, its certificate and the dispatcher's CA (--init makes the store)"
try blxrep dispatcher enroll --init --agent=server1 --data-dir=backup --output=server1.pem

step "Start the dispatcher, which keeps the checkpoints, and the agent, which tracks the disk"
port=$(free_port)
echo "   \$ blxrep start --mode=dispatcher --data-dir=backup --sync-freq=60 --listen=127.0.0.1:$port &"
blxrep start --mode=dispatcher --data-dir=backup --sync-freq=60 --listen="127.0.0.1:$port" 2>dispatcher.log &
dispatcher=$!
wait_for listening
echo "   \$ blxrep start --mode=agent --id=server1 --dispatcher-addr=127.0.0.1:$port --device=$loop \\"
echo "         --credentials=server1.pem --run-dir=run --skip-free-space=no &"
blxrep start --mode=agent --id=server1 --dispatcher-addr="127.0.0.1:$port" --device="$loop" \
    --credentials=server1.pem --run-dir=run --skip-free-space=no 2>agent.log &
agent=$!
wait_for first_checkpoint
wait_for is_live # the status that follows the first pass comes a moment later
echo '   $ blxrep dispatcher status --data-dir=backup'
blxrep dispatcher status --data-dir=backup # straight to the terminal, whose width it fits

step "Write some files, unmount the disk so that every byte can be compared, and take our first checkpoint"
try cp -rL /usr/share/common-licenses /etc/os-release disk
echo '   $ head -c 20M /dev/urandom >disk/precious.bin'
head -c 20M /dev/urandom >disk/precious.bin
(cd disk && find . -type f -print0 | sort -z | xargs -0 sha256sum) >then.sha256
echo '   $ umount disk'
wait_for umount disk # if a checkpoint is just being taken, the filesystem is busy for a moment
first=$(checkpoint)
echo "     $first"
echo "   Keep a copy of the raw disk, to compare with later"
try dd if="$loop" of=then.img iflag=direct bs=1M status=none

step "Disaster: delete the licenses, overwrite precious.bin, and take our second checkpoint"
try mount "$loop" disk
try rm -r disk/common-licenses
echo '   $ echo gone >disk/precious.bin'
echo gone >disk/precious.bin
echo "     $(checkpoint)"

step "List the checkpoints: the dispatcher took the first one by itself; ours store only what changed"
try blxrep show --agent=server1 --data-dir=backup
echo "   (filesystem: frozen for the cut, so it is clean; crash: not frozen, here because nothing was mounted)"

step "Restore our first checkpoint"
try blxrep restore --agent=server1 --checkpoint="$first" --data-dir=backup --output=restored.img

step "Prove it: compare every byte with the copy of the disk, and every file by its checksum"
echo "   (with --skip-free-space=no the agent sent free space too, so even that is equal)"
try cmp restored.img then.img
image_loop=$(losetup --find --show --read-only restored.img)
try mount -o ro "$image_loop" restored
try ls -l restored
(cd restored && sha256sum --quiet --check ../then.sha256)

printf '\nDone: checkpoint %s equals the disk at the time of the checkpoint, byte for byte.\n' "$first"
