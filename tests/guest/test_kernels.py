"""
The programs of this machine's build on Debian's kernels, on disks that this machine has not: devices.py in a guest.

    test_kernels.py 6.1|6.12 [TEST...]      e.g. test_kernels.py 6.1 Devices.test_virtio
"""

import os
import sys
import tempfile

import guest

DISKS = [("virtio", 64), ("nvme", 64), ("scsi", 64), ("virtio", 160), ("scsi", 64), ("nvme", 64)]


def main():
    series, *tests = sys.argv[1:]
    bin_folder = os.path.abspath(os.environ["BLXREP_BIN"])
    with tempfile.TemporaryDirectory(prefix="blxrep-guest-", dir=guest.cache()) as folder:
        disks = [(bus, guest.make_disk(os.path.join(folder, f"{number}.img"), mib)) for number, (bus, mib) in enumerate(DISKS)]
        kernel = guest.Kernel(series)
        print(f"the guest's kernel: {kernel.release}", flush=True)
        guest.run_job(kernel, os.path.join(folder, "console.log"), disks,
                      f"cd /tmp && BLXREP_BIN='{bin_folder}' /usr/bin/python3 -B '{guest.HERE}/devices.py' {' '.join(tests)}", 1700)


if __name__ == "__main__":
    main()
