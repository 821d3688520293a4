#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The tests in guests: installs what they need, builds the programs and the packages once, optimised, and runs them on other kernels, other
# disks and in whole servers. An emulated CPU is slow: it takes three quarters of an hour on a quiet machine. Needs root, and Debian's archive for
# kernels and systems, which it keeps.
#
#   tests/guest/run.sh [WHAT...]        of: 6.1 6.12 stacks server life set_back rescue files reboot; without, all of them
#   BUILD_DIR=DIR tests/guest/run.sh    builds, and keeps kernels and systems, elsewhere than in build-guest
set -euo pipefail
cd "$(dirname "$0")/../.."

etc/packages.sh guest
build=$(realpath -m "${BUILD_DIR:-build-guest}")
mkdir -p "$build"
export BLXREP_GUEST_CACHE=$build/cache PYTHONUNBUFFERED=1

# package RELEASE FOLDER: the packages of that revision
package() {
    {
        cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DBLXREP_TESTS=OFF -DBLXREP_WERROR=ON -DBLXREP_PACKAGES=DEB \
            -DBLXREP_PACKAGE_RELEASE="$1"
        rm -rf "$build/packages" "${build:?}/$2"
        cmake --build "$build" --target package
    } >"$build/build.log" 2>&1 || {
        tail -n 30 "$build/build.log"
        exit 1
    }
    mv "$build/packages" "$build/$2"
}
package 0.1 old
export BLXREP_BIN=$build/bin
for what in "${@:-6.1 6.12 stacks server life set_back rescue files reboot}"; do
    # Unquoted: the words of the default.
    for test in $what; do
        case $test in
        6.*) /usr/bin/python3 -B tests/guest/test_kernels.py "$test" ;;
        rescue)
            /usr/bin/python3 -B tests/guest/test_rescue.py
            /usr/bin/python3 -B tests/guest/test_rescue_restore.py
            ;;
        files)
            etc/packages.sh tests
            for kernel in 6.1 6.12; do
                BLXREP_GUEST_KERNEL=$kernel /usr/bin/python3 -B tests/guest/test_files_machine.py
            done
            ;;
        reboot)
            /usr/bin/python3 -B tests/guest/reboot.py --boots=20 rescue power rw uncounted poweroff crash used
            /usr/bin/python3 -B tests/guest/reboot.py --bus=nvme --fs=xfs rescue
            /usr/bin/python3 -B tests/guest/reboot.py --bus=scsi --layout=dm rescue
            /usr/bin/python3 -B tests/guest/reboot_server.py "$build/old" 3
            ;;
        set_back) /usr/bin/python3 -B tests/guest/test_set_back.py ;;
        stacks)
            etc/packages.sh tests
            cmake -S . -B "$build/stacks" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DBLXREP_WERROR=ON >/dev/null
            cmake --build "$build/stacks" --target guest_marks >/dev/null
            for kernel in 6.1 6.12; do
                MARKS=$build/stacks/tests/guest_marks /usr/bin/python3 -B tests/guest/matrix.py "$kernel"
            done
            ;;
        server) /usr/bin/python3 -B tests/guest/test_server.py "$build/old" ;;
        life)
            package 0.2 new
            /usr/bin/python3 -B tests/guest/test_life.py "$build/old" "$build/new"
            ;;
        *)
            echo "$0: no test '$test'" >&2
            exit 2
            ;;
        esac
    done
done
