# SPDX-License-Identifier: Apache-2.0
"""
The device matrix: stacks.py in a guest with one of Debian's kernels.

    matrix.py 6.1|6.12 [CASE...]        e.g. matrix.py 6.1 'md *' 'bcache without cache'

MARKS names the program marks if it is not beside this build's tests.
"""

import os
import shlex
import sys
import tempfile

import guest


def main():
    series, *cases = sys.argv[1:]
    kernel = guest.Kernel(series)
    print(f"the guest's kernel: {kernel.release}", flush=True)
    marks = os.path.abspath(os.environ.get("MARKS") or os.path.join(os.environ["BLXREP_BIN"], "..", "tests", "guest_marks"))
    with tempfile.TemporaryDirectory(prefix="blxrep-guest-", dir=guest.cache()) as folder:
        disks = [("virtio", guest.make_disk(os.path.join(folder, f"{number}.img"), 24)) for number in range(4)]
        guest.run_job(kernel, os.path.join(folder, "console.log"), disks,
                      f"cd $TMPDIR && /usr/bin/python3 -B '{guest.HERE}/stacks.py' {shlex.join([marks, *cases])}", 2400,
                      kernel_words="memmap=16M!1G")


if __name__ == "__main__":
    main()
