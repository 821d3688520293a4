# SPDX-License-Identifier: Apache-2.0
"""Encryption end to end: nothing readable lies in the store, only the key restores, and everything else works as it does without encryption."""

import os
import shutil
import stat

from case import Case, main
from checks import check_equal
from disks import BLOCK, MIB
from load import Load, check_loaded_image
from proxy import Proxy
from registry import REGISTRY, run
from workloads import fill

MARKER = b"blxrep-e2e-marker-that-nobody-may-find:"
WIRE_LIMIT = 0.0005  # of the bytes that are compared; both directions, everything included


class Encryption(Case):
    def setUp(self):
        super().setUp()
        self.disk = self.loop_disk(256)
        self.files = self.disk.make("ext4")
        self.start_dispatcher()
        self.key = self.keygen("blxrep.key")

    def keygen(self, name):
        path = self.path(name)
        done = self.cli.run("keygen", f"--output={path}")
        self.assertEqual(done.stdout, path + "\n")
        self.assertIn("KEEP COPIES", done.stderr)
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        return path

    def key_id(self, path):
        with open(path, encoding="ascii") as file:
            return next(line.split()[1] for line in file if line.startswith("id: "))

    def of_store(self, command, *words):
        return self.cli.run(command, f"--data-dir={self.data_dir}", "--agent=server1", *words)

    def start(self, *words, key=None, address=None):
        encryption = [f"--encryption-key={key}"] if key else []
        return self.start_agent("server1", self.disk, "--skip-free-space=no", *encryption, *words, address=address)

    def mark(self, name, mib=4):
        """A file that consists of the marker."""
        with open(f"{self.files.path}/{name}", "wb") as file:
            file.write((MARKER * (mib * MIB // len(MARKER) + 1))[:mib * MIB])
            file.flush()
            os.fsync(file.fileno())

    def files_with_marker(self):
        found = []
        for folder, _folders, names in os.walk(self.data_dir):
            for name in names:
                path = os.path.join(folder, name)
                if stat.S_ISREG(os.lstat(path).st_mode):
                    with open(path, "rb") as file:
                        if MARKER in file.read():
                            found.append(path)
        return found

    def settled_checkpoint(self):
        """The disk at rest: its checkpoint, and an O_DIRECT copy of it."""
        self.files.umount()
        stamp = self.checkpoint("server1")
        copy = self.disk.copy(self.path(f"{stamp}.copy"))
        self.files.mount()
        return stamp, copy

    def check(self, stamp, copy, *keys):
        image = self.restore("server1", stamp, self.path("check.img"), *[f"--key={key}" for key in keys])
        check_equal(image, copy)
        os.unlink(image)

    def restore_fails(self, pattern, stamp, *words):
        image = self.path("no.img")
        self.cli.fails(1, pattern, "restore", f"--checkpoint={stamp}", "--agent=server1", f"--data-dir={self.data_dir}",
                       f"--output={image}", *words)
        self.assertFalse(os.path.exists(image) or os.path.exists(image + ".partial"), "nothing was written")

    def verify(self):
        done = self.cli.run("verify", f"--data-dir={self.data_dir}", check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def reboot(self, agent):
        agent.stop()
        self.disk.forget_tracking()
        shutil.rmtree(agent.run_dir)

    def overwrite(self, blocks):
        """Writes blocks of the file "marked" past the filesystem, while nobody tracks."""
        shown = run("filefrag", "-b4096", "-v", self.files.path + "/marked").stdout
        starts = [line.split(":")[2].split("..")[0].strip() for line in shown.splitlines() if line.strip()[:1].isdigit()]
        self.files.umount()
        with open(self.disk.path, "r+b") as device:
            for number in range(blocks):
                device.seek((int(starts[0]) + 7 * number) * BLOCK)
                device.write(os.urandom(BLOCK))
            device.flush()
            os.fsync(device.fileno())
        self.files.mount()

    def test_only_the_key_restores_and_nothing_readable_is_stored(self):
        self.start("--compression=none", key=self.key)
        self.mark("marked")
        load = Load(self.folder, [self.files])
        load.wait_started()
        loaded = [self.checkpoint("server1") for _ in range(3)]
        load.stop()
        stamp, copy = self.settled_checkpoint()
        with open(copy, "rb") as file:
            self.assertIn(MARKER, file.read(), "it is on the disk")
        self.assertEqual(self.files_with_marker(), [])
        row = self.row("server1", stamp)
        self.assertEqual(row["volumes"][0]["key"], self.key_id(self.key))
        self.assertRegex(self.of_store("show").stdout, rf"{stamp} .* {self.key_id(self.key)}\n")
        self.assertIn(f"encrypted      with the key {self.key_id(self.key)}\n", self.of_store("info", f"--checkpoint={stamp}").stdout)
        self.check(stamp, copy, self.key)
        for one in loaded:
            image = self.restore("server1", one, self.path(f"{one}.img"), f"--key={self.key}")
            # Several in one second are named by the next free ones: then only the first one's name tells when it was cut.
            log = load.records.lines() if one == loaded[0] else None
            check_loaded_image(self, [image], [[(0, "ext4")]], self.row("server1", one), log)
        other = self.keygen("other.key")
        self.restore_fails(f"encrypted with the key {self.key_id(self.key)}: give it with --key=FILE", stamp)
        self.restore_fails(f"encrypted with the key {self.key_id(self.key)}: give that one", stamp, f"--key={other}")
        self.check(stamp, copy, other, self.key)
        self.verify()
        self.check_keys(other, self.paper(self.key), len(self.show("server1")))

    def paper(self, key):
        """The key as somebody has typed it in again from paper."""
        done = self.cli.run("keygen", f"--print={key}")
        with open(key, encoding="ascii") as file:
            secret = next(line.split()[1] for line in file if line.startswith("key: "))
        self.assertIn(f"\nkey 1: {secret[:4]} {secret[4:8]} ", done.stdout)
        with open(self.path("typed.key"), "w", encoding="ascii") as file:
            file.write(done.stdout)
        return file.name

    def check_keys(self, other, paper, count):
        store = f"--data-dir={self.data_dir}"
        for words in ([], ["--agent=server1"]):
            done = self.cli.run("keygen", f"--check={paper}", store, *words)
            self.assertEqual(done.stdout.splitlines()[1:], [f"opens {count} of {count} checkpoints of server1"])
        done = self.cli.run("keygen", f"--check={other}", store, check=False)
        self.assertEqual(done.returncode, 1)
        wanted = f"opens 0 of {count} checkpoints of server1; {count} need another key, such as {self.key_id(self.key)}"
        self.assertEqual(done.stdout.splitlines()[1:], [wanted])
        self.assertEqual(self.cli.run("keygen", f"--check={other}").stdout, f"'{other}' is whole: it is the key {self.key_id(other)}\n")
        done = self.cli.run("keygen", f"--check={other}", store, "--agent=server9", check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("server9", done.stderr)
        self.cli.fails(2, "exclude each other", "keygen", f"--check={other}", f"--print={other}")
        with open(paper, encoding="ascii") as file:
            text = file.read()
        at = text.index("key 3: ") + len("key 3: ")
        with open(self.path("wrong.key"), "w", encoding="ascii") as file:
            file.write(text[:at] + ("1" if text[at] == "0" else "0") + text[at + 1:])
        self.cli.fails(1, 'wrong.key.*line "key 3: " has a wrong digit', "keygen", f"--check={self.path('wrong.key')}")

    def test_without_a_key_the_marker_is_found(self):
        """Shows that the test above can fail."""
        self.start("--compression=none")
        self.mark("marked")
        stamp, copy = self.settled_checkpoint()
        self.assertNotEqual(self.files_with_marker(), [])
        self.assertIsNone(self.row("server1", stamp)["volumes"][0]["key"])
        self.assertRegex(self.of_store("show").stdout, rf"{stamp} .* -\n")
        self.assertIn("encrypted      no\n", self.of_store("info", f"--checkpoint={stamp}").stdout)
        self.restore_fails("it is not encrypted, though a key was given", stamp, f"--key={self.key}")
        self.check(stamp, copy)

    def rescan_cost(self, *words, key=None):
        """The bytes on the wire from a reboot, at which blocks change without a tracker, to the next checkpoint, which must hold them."""
        agent = self.start(*words, key=key)
        self.mark("marked", 8)
        self.settled_checkpoint()
        self.reboot(agent)
        self.overwrite(20)
        proxy = Proxy(REGISTRY, self.dispatcher.port)
        agent = self.start(*words, key=key, address=proxy.address)
        _number, line = agent.wait_line("rescan done: 256.0 MiB compared in .*, .* differ")
        stamp, copy = self.settled_checkpoint()
        cost = proxy.sent_bytes + proxy.received_bytes  # not before all that differs was sent
        row = self.row("server1", stamp)["volumes"][0]
        self.assertEqual(self.row("server1", stamp)["kind"], "incremental")
        self.assertGreaterEqual(row["changed_bytes"], 20 * BLOCK)
        self.assertLess(row["changed_bytes"], 2 * MIB, "only what differs is sent")
        self.check(stamp, copy, *([key] if key else []))
        agent.stop()
        proxy.cut()
        print(f"rescan {'with' if key else 'without'} a key: {cost} bytes for 256 MiB: {line}")
        return cost

    def test_a_rescan_costs_what_it_costs_without_a_key(self):
        plain = self.rescan_cost()
        shutil.rmtree(self.path("run-server1"))
        self.disk.forget_tracking()
        keyed = self.rescan_cost(key=self.key)
        self.assertLess(keyed, 1.05 * plain + 20000)
        self.verify()

    def test_switching_on_rotating_and_switching_off_send_all_again(self):
        agent = self.start("--compression=none")
        self.mark("marked")
        plain, plain_copy = self.settled_checkpoint()
        agent.stop()
        agent = self.start("--compression=none", key=self.key)
        agent.wait_line("full pass .it is encrypted from now on, with the key " + self.key_id(self.key))
        first, first_copy = self.settled_checkpoint()
        self.assertEqual(self.row("server1", first)["kind"], "full")
        agent.stop()
        new_key = self.keygen("new.key")
        agent = self.start("--compression=none", key=new_key)
        agent.wait_line(f"full pass .its encryption key changed from {self.key_id(self.key)} to {self.key_id(new_key)}")
        second, second_copy = self.settled_checkpoint()
        self.assertEqual(self.row("server1", second)["kind"], "full")
        self.check(plain, plain_copy)
        self.check(first, first_copy, self.key)
        self.check(second, second_copy, new_key)
        self.restore_fails("give that one", second, f"--key={self.key}")
        # The readable frames go with the checkpoints that need them; the other checkpoints restore as before.
        self.assertNotEqual(self.files_with_marker(), [])
        self.cli.run("prune", f"--data-dir={self.data_dir}", "--keep-last=1")
        self.assertEqual(self.files_with_marker(), [])
        self.check(second, second_copy, new_key)
        agent.stop()
        # A line that is missing ends nothing.
        agent = self.start_agent("server1", self.disk, "--skip-free-space=no", online=False)
        agent.wait_line("has sent everything encrypted so far.*encryption-key: \"none\"")
        self.assertEqual(agent.process.wait(20), 1)
        agent = self.start("--compression=none", key="none")
        agent.wait_line(f"full pass .it is not encrypted any more; its key was {self.key_id(new_key)}")
        last, last_copy = self.settled_checkpoint()
        self.check(last, last_copy)
        agent.stop()
        self.start("--compression=none")
        self.verify()

    def test_prune_delta_and_resume(self):
        self.start(key=self.key)
        self.mark("marked")
        taken = []
        for step in range(5):
            fill(f"{self.files.path}/file-{step % 3}", 3)
            taken.append(self.settled_checkpoint())
        words = ("restore", "--agent=server1", f"--data-dir={self.data_dir}", f"--key={self.key}")
        image = self.restore("server1", taken[0][0], self.path("moving.img"), f"--key={self.key}")
        for stamp, copy in taken[1:]:
            done = self.cli.run(*words, f"--checkpoint={stamp}", f"--output={image}", "--delta")
            self.assertRegex(done.stderr, r"\d+ bytes of '.*moving.img' differed and were written")
            check_equal(image, copy)
        self.cli.run("prune", f"--data-dir={self.data_dir}", "--keep-last=2")
        self.assertEqual(len(self.show("server1")), 2)
        for stamp, copy in taken[-2:]:
            self.check(stamp, copy, self.key)
        with open(self.path("half.img.partial"), "wb") as file:
            file.write(os.urandom(3 * MIB))
        os.chmod(self.path("half.img.partial"), 0o600)
        self.cli.run(*words, f"--checkpoint={taken[-1][0]}", f"--output={self.path('half.img')}", "--resume")
        check_equal(self.path("half.img"), taken[-1][1])
        self.verify()

    def test_an_agent_killed_and_back_goes_on(self):
        agent = self.start(key=self.key)
        fill(self.files.path + "/first", 20)
        self.checkpoint("server1")
        agent.kill()
        fill(self.files.path + "/second", 5)
        agent = self.start(key=self.key)
        agent.wait_line("resumed")
        stamp, copy = self.settled_checkpoint()
        self.assertEqual(self.row("server1", stamp)["kind"], "incremental")
        self.assertLess(self.row("server1", stamp)["volumes"][0]["changed_bytes"], 16 * MIB)
        self.check(stamp, copy, self.key)

    def test_bad_keys_are_refused_by_name(self):
        self.cli.fails(1, "blxrep.key' exists and is not replaced: give another --output", "keygen", f"--output={self.key}")
        before = self.key_id(self.key)
        broken = self.path("broken.key")
        with open(self.key, encoding="ascii") as source, open(broken, "w", encoding="ascii") as file:
            for line in source:
                file.write(line if not line.startswith("key: ") else line[:5] + ("0" if line[5] != "0" else "1") + line[6:])
        self.start(key=self.key).stop()
        stamp = self.show("server1")[-1]["checkpoint"] if self.show("server1") else "latest"
        for name, pattern in ((broken, "broken.key.*its key and its id do not fit"), (self.path("none.key"), "none.key"),
                              (self.path("server1.pem"), "first line is not")):
            self.restore_fails(pattern, stamp, f"--key={name}")
        agent = self.start_agent("server1", self.disk, f"--encryption-key={broken}", online=False)
        agent.wait_line("broken.key.*its key and its id do not fit")
        self.assertEqual(agent.process.wait(20), 1)
        self.assertEqual(self.key_id(self.key), before)


if __name__ == "__main__":
    main()
