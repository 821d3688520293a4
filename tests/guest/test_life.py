# SPDX-License-Identifier: Apache-2.0
"""
The life of an installation, tests/package/life.sh, on a server with systemd.

    test_life.py OLD NEW        folders of packages of two versions
"""

import os
import subprocess
import sys

import guest
from server import Server, make_server, work_folder


def main():
    old, new = map(os.path.abspath, sys.argv[1:])
    with work_folder() as folder:
        root = make_server(os.path.join(folder, "web1.disk"), old, new)
        data = guest.make_disk(os.path.join(folder, "data.disk"), 128)
        server = Server(folder, "web1", [("virtio", root), ("virtio", data)])
        try:
            print(f"up in {server.wait_up():.0f} s", flush=True)
            with open(os.path.join(guest.SOURCE, "tests", "package", "life.sh"), "rb") as script:
                server.ssh("cat >/root/life.sh", stdin=script)
            folders = [f"/root/{os.path.basename(folder)}" for folder in (old, new)]
            status = server.ssh_shown(f"bash /root/life.sh systemd {' '.join(folders)} /dev/vdb", 2400)
            server.power_off()
        finally:
            server.crash()
    return status


if __name__ == "__main__":
    sys.exit(main())
