#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# From a clone to a restored disk, on a machine of one's own: builds blxrep, follows a small disk (a file behind a loop device), takes
# two checkpoints, restores the first and proves it. Run as root on Debian 12 or Ubuntu; it leaves nothing but the build folder.
#
#   etc/quickstart.sh                      BUILD_DIR=DIR etc/quickstart.sh builds elsewhere than in build-quickstart
set -euo pipefail
exec 3>&1
cd "$(dirname "$0")/.."

if [ "$(id -u)" -ne 0 ]; then
    echo "quickstart.sh: needs root: it makes a loop device, mounts a filesystem and loads eBPF programs" >&2
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

# Prints a command as one would type it, then runs it.
try() {
    printf '   $ %s\n' "$*"
    "$@" 2>&1 | sed 's/^/     /'
}

stop() {
    [ -z "$1" ] || { kill "$1" 2>/dev/null && wait "$1" || true; }
}

# Whatever happens, the machine is given back as it was. The order matters: first the programs, then what they hold.
clean_up() {
    status=$?
    trap - EXIT INT TERM
    set +e
    stop "$agent"
    stop "$dispatcher"
    if [ "$status" -ne 0 ] && [ -n "$work" ]; then
        printf '\nquickstart.sh: failed (%d). What the programs said:\n' "$status" >&2
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

first_checkpoint() { blxrep show --agent=server1 --data-dir="$work/backup" --json | grep -q '"checkpoint"'; }
listening() { [ -S "$work/backup/control.sock" ]; }
free_port() { for port in $(seq $((20000 + RANDOM % 10000)) 32000); do
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
done; }

# Takes one and prints its timestamp, once it is durable.
checkpoint() {
    printf '   $ blxrep dispatcher checkpoint --agent=server1 --data-dir=%s\n' "$work/backup" >&3
    blxrep dispatcher checkpoint --agent=server1 --data-dir="$work/backup"
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

step "A disk to protect: a 256 MiB loop device with ext4 (on a server this is your /dev/sda)"
work=$(mktemp -d /tmp/blxrep-quickstart.XXXXXX)
mkdir "$work/disk" "$work/restored"
truncate -s 256M "$work/disk.file"
loop=$(losetup --find --show "$work/disk.file")
try mkfs.ext4 -q "$loop"
try mount "$loop" "$work/disk"

step "Enroll the agent: its key, its certificate and the dispatcher's authority, in one file"
try blxrep dispatcher enroll --agent=server1 --data-dir="$work/backup" --output="$work/server1.pem"

step "Start the dispatcher, which keeps the checkpoints, and the agent, which follows the disk"
port=$(free_port)
echo "   \$ blxrep start --mode=dispatcher --data-dir=$work/backup --sync-freq=60 --listen=127.0.0.1:$port &"
blxrep start --mode=dispatcher --data-dir="$work/backup" --sync-freq=60 --listen="127.0.0.1:$port" 2>"$work/dispatcher.log" &
dispatcher=$!
wait_for listening
echo "   \$ blxrep start --mode=agent --id=server1 --dispatcher-addr=127.0.0.1:$port --device=$loop \\"
echo "         --credentials=$work/server1.pem --run-dir=$work/run --skip-free-space=no &"
blxrep start --mode=agent --id=server1 --dispatcher-addr="127.0.0.1:$port" --device="$loop" \
    --credentials="$work/server1.pem" --run-dir="$work/run" --skip-free-space=no 2>"$work/agent.log" &
agent=$!
wait_for first_checkpoint
try blxrep dispatcher status --data-dir="$work/backup"

step "Write some files, unmount so that the disk is at rest and every byte can be compared, and take checkpoint 1"
try cp -rL /usr/share/common-licenses /etc/os-release "$work/disk"
printf '   $ head -c 20M /dev/urandom >%s\n' "$work/disk/precious.bin"
head -c 20M /dev/urandom >"$work/disk/precious.bin"
(cd "$work/disk" && find . -type f -print0 | sort -z | xargs -0 sha256sum) >"$work/then.sha256"
printf '   $ umount %s\n' "$work/disk"
wait_for umount "$work/disk" # a checkpoint that is just being taken keeps it busy for a moment
first=$(checkpoint)
echo "     $first"
echo "   and keep a copy of the raw disk, to compare with later"
try dd if="$loop" of="$work/then.img" iflag=direct bs=1M status=none

step "Disaster: precious.bin is overwritten and the licenses are gone; checkpoint 2, of the mounted disk, has it so"
try mount "$loop" "$work/disk"
try rm -r "$work/disk/common-licenses"
printf '   $ echo gone >%s\n' "$work/disk/precious.bin"
echo gone >"$work/disk/precious.bin"
echo "     $(checkpoint)"

step "The checkpoints: one that the dispatcher took by itself at the start, and ours, which store what changed and nothing else"
try blxrep show --agent=server1 --data-dir="$work/backup"
echo "   (filesystem: frozen for the moment of the cut, so it is clean; crash: not frozen, here because nothing was mounted)"

step "Restore the first"
try blxrep restore --agent=server1 --checkpoint="$first" --data-dir="$work/backup" --output="$work/restored.img"

step "Is it what the disk held then? Every byte of the disk, used or not, and each file by its checksum"
echo "   (--skip-free-space=no made the agent send free space too, so even that is equal)"
try cmp "$work/restored.img" "$work/then.img"
image_loop=$(losetup --find --show --read-only "$work/restored.img")
try mount -o ro "$image_loop" "$work/restored"
try ls -l "$work/restored"
(cd "$work/restored" && sha256sum --quiet --check "$work/then.sha256")

printf '\nDone: checkpoint %s is byte for byte what the disk held when it was taken.\n' "$first"
