#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything from a fresh clone: installs what the tests need, builds with sanitizers and warnings as errors, runs all tests.
#
#   tests/run.sh [ARGUMENTS FOR ctest]        e.g. tests/run.sh -L unit
#   BUILD_DIR=DIR tests/run.sh                builds elsewhere than in build-dev
#
# Needs root for the end-to-end tests (loop devices, mounts, eBPF) and to install packages. Ends non-zero on any failure.
set -euo pipefail
cd "$(dirname "$0")/.."

etc/packages.sh tests
build=${BUILD_DIR:-build-dev}
# What the preset "dev" sets, in a folder of the caller's choice.
cmake -S . -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DBLXREP_SANITIZE=address,undefined -DBLXREP_WERROR=ON
cmake --build "$build"
# Of four tests at a time at most three have devices, daemons or guests (tests/CMakeLists.txt).
exec ctest --test-dir "$build" -j4 --resource-spec-file "$(realpath "$build")/tests/places.json" --output-on-failure --no-tests=error "$@"
