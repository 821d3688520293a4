# SPDX-License-Identifier: Apache-2.0
"""
A lost disk comes back over the network: a checkpoint on a dispatcher of this machine, a token, and a blank guest that boots the rescue system
and pulls. Its disk is larger than the old one. Needs root, loop devices and eBPF, as the end-to-end tests do.
"""

import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

import guest  # noqa: E402
import test_rescue  # noqa: E402
from case import Case, main  # noqa: E402
from guest import MIB, run  # noqa: E402

OLD_MIB, NEW_MIB = 64, 96


class Restore(Case):
    def checkpoint_of_a_disk(self):
        """A disk with a GPT and something that does not compress, a checkpoint of it, and what it held."""
        disk = self.loop_disk(OLD_MIB)
        run("sh", "-c", f"printf 'start=2048, name=root\\n' | sfdisk -q --no-reread --label=gpt '{disk.path}'")
        run("sh", "-c", f"head -c {20 * MIB} /dev/urandom | dd of='{disk.path}' bs=1M seek=5 conv=notrunc,fsync status=none")
        self.start_dispatcher()
        agent = self.start_agent("web1", disk.path)
        self.checkpoint("web1")
        agent.stop()
        return test_rescue.content(disk.path)

    def make_token(self):
        line = self.cli.run("dispatcher", "restore", "--agent=web1", "--checkpoint=latest", f"--data-dir={self.data_dir}", "--token",
                            f"--dispatcher-addr=10.0.2.2:{self.dispatcher.port}").stdout.split()
        return line[line.index("echo") + 1]

    def boot(self, disk):
        kernel = guest.Kernel("6.1")
        pxe = self.path("pxe")
        run(test_rescue.programs() / "blxrep-rescue-image", f"--pxe={pxe}", f"--kernel-dir={kernel.folder}")
        words = test_rescue.content(os.path.join(pxe, "cmdline")).decode().strip()
        machine = guest.Guest(self.path("rescue.console"), [("virtio", disk)], "-kernel", f"{pxe}/vmlinuz", "-initrd", f"{pxe}/initrd.img",
                              "-append", f"{words} {test_rescue.EMULATED}", "-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n")
        self.addCleanup(machine.crash)
        return machine

    def test_a_lost_disk_comes_back(self):
        lost = self.checkpoint_of_a_disk()
        blank = guest.make_disk(self.path("blank"), NEW_MIB)
        machine = self.boot(blank)
        machine.answer(r"Dispatcher \(HOST:PORT\): $", f"10.0.2.2:{self.dispatcher.port}", 600)
        machine.answer(r"Token: $", self.make_token(), 60)
        machine.wait_line(r"^vda +96\.0 MiB .*nothing that is known", 60)
        machine.answer(r"Disk to restore to: $", "vda", 60)
        machine.answer(r"the only one\]: $", "", 60)
        machine.answer(r"encrypted \(y or n\) \[n\]: $", "", 60)
        machine.answer(r"Type the disk's name to go on: $", "vda", 60)
        machine.wait_line("moved the second copy of the GPT", 600)
        machine.wait_line("The server is back on /dev/vda", 60)
        machine.answer(r"What now \[1\]: $", "1", 60)
        machine.wait_end(120)
        self.assertIn("No errors detected", run("sfdisk", "--verify", blank))
        self.assertEqual(test_rescue.content(blank)[MIB:63 * MIB], lost[MIB:63 * MIB])


if __name__ == "__main__":
    main()
