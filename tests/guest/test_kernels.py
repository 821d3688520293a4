# SPDX-License-Identifier: Apache-2.0
"""
The programs of this machine's build on Debian's kernels, on disks that this machine does not have: devices.py, unplug.py and release.py
in guests.

    test_kernels.py 6.1|6.12 [TEST...]      e.g. test_kernels.py 6.1 Devices.test_virtio

TRIES=500 in the environment: as many removals in release.py, instead of 20.
"""

import os
import sys
import tempfile

import guest
import hotplug

# A class of tests: its file, and its disks, of (bus, MiB).
JOBS = {"Devices": ("devices.py", [("virtio", 64), ("nvme", 64), ("scsi", 64), ("virtio", 160), ("scsi", 64), ("nvme", 64)]),
        "Unplug": ("unplug.py", [("virtio", 64), ("virtio", 64), ("nvme", 64), ("scsi", 64), (None, 64)]),
        "Release": ("release.py", [("virtio", 64), ("virtio", 64)])}


def run(kernel, name, tests):
    file, kinds = JOBS[name]
    bin_folder = os.path.abspath(os.environ["BLXREP_BIN"])
    with tempfile.TemporaryDirectory(prefix="blxrep-guest-", dir=guest.cache()) as folder:
        disks = [(bus, guest.make_disk(os.path.join(folder, f"{number}.img"), mib)) for number, (bus, mib) in enumerate(kinds)]
        guest.run_job(kernel, os.path.join(folder, "console.log"), disks,
                      f"cd $TMPDIR && BLXREP_BIN='{bin_folder}' TRIES={os.environ.get('TRIES', 20)} /usr/bin/python3 -B '{guest.HERE}/{file}' {' '.join(tests)}", 3400,
                      serve=hotplug.serve)


def main():
    series, *tests = sys.argv[1:]
    kernel = guest.Kernel(series)
    print(f"the guest's kernel: {kernel.release}", flush=True)
    for name in JOBS:
        chosen = [test for test in tests if test.split(".")[0] == name]
        if chosen or not tests:
            run(kernel, name, chosen)


if __name__ == "__main__":
    main()
