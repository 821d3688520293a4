#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Builds the fuzz targets with clang and libFuzzer and runs each of them, three at a time.
#
#   tests/fuzz/run.sh [SECONDS [BUILD_DIR [TARGET...]]]      each target for SECONDS (10), built in build-fuzz, all targets
#
# An input that fails stays as BUILD_DIR/fuzz/TARGET-crash-...: give that file to BUILD_DIR/tests/fuzz_TARGET to see the failure again.
# New inputs are kept in BUILD_DIR/fuzz/TARGET/, and the next run uses them; the corpus in the sources is only read.
set -euo pipefail
source_dir=$(cd "$(dirname "$0")/../.." && pwd)
seconds=${1:-10}
build=${2:-$source_dir/build-fuzz}
shift $(($# < 2 ? $# : 2))

# What the preset "fuzz" sets, in a folder of the caller's choice.
cmake -S "$source_dir" -B "$build" -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG="-g -O1" \
    -DBLXREP_SANITIZE=address,undefined -DBLXREP_WERROR=ON -DBLXREP_FUZZ=ON
cmake --build "$build" -j 2 --target fuzz

mkdir -p "$build/fuzz"
# Folders of targets that died are left; this removes them, too. A tmpfs is many times faster than a disk.
TMPDIR=$(mktemp -d -p /dev/shm blxrep-fuzz-XXXXXX 2>/dev/null || mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

fuzz_one() {
    local target=$1 log=$build/fuzz/$1.log max_len=8192
    case $target in
    session | agent_session | pull) max_len=16384 ;;
    ext | ext_journal) max_len=65536 ;;
    esac
    mkdir -p "$build/fuzz/$target"
    if "$build/tests/fuzz_$target" -max_total_time="$seconds" -max_len="$max_len" -timeout=20 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="$build/fuzz/$target-" \
        "$build/fuzz/$target" "$source_dir/tests/fuzz/corpus/$target" >"$log" 2>&1; then
        echo "$target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") runs, nothing found"
    else
        echo "$target: FAILED"
        cat "$log"
        return 1
    fi
}

targets=("$@")
[ "${#targets[@]}" -gt 0 ] || targets=($(cd "$source_dir/tests/fuzz/corpus" && echo *))
failed=0
for ((i = 0; i < ${#targets[@]}; i += 3)); do
    pids=()
    for target in "${targets[@]:i:3}"; do
        fuzz_one "$target" &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do
        wait "$pid" || failed=1
    done
done
exit "$failed"
