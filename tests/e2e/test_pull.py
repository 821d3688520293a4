# SPDX-License-Identifier: Apache-2.0
"""A second dispatcher copies from the first: what is pruned, damaged or cut there is whole here, and nothing that a copier says writes there."""

import json
import os
import pathlib
import shutil
import signal
import subprocess

from case import Case, main
from checks import check_equal
from programs import Dispatcher, bin_folder, environment
from proxy import Proxy
from registry import REGISTRY, run, wait_until
from workloads import fill


class Pull(Case):
    def setUp(self):
        super().setUp()
        self.second = self.path("second")
        self.expected = []
        self.key = None

    def protect(self, mib=48, words=()):
        self.disk = self.loop_disk(mib)
        self.files = self.disk.make("ext4")
        self.start_dispatcher()
        self.agent = self.start_agent("web1", self.disk, *words)
        self.enroll_copier("second")
        wait_until("the first checkpoint is there", lambda: self.stamps(self.data_dir), 30)
        self.expected = [(stamp, None) for stamp in self.stamps(self.data_dir)]

    def enroll_copier(self, name):
        path = self.path(f"copier-{name}.pem")
        self.cli.run("dispatcher", "enroll", f"--copier={name}", f"--data-dir={self.data_dir}", f"--output={path}")
        return path

    def take(self, name, mib=2):
        """Another checkpoint, and what its image must be."""
        self.files.mount() if not os.path.ismount(self.files.path) else None
        fill(f"{self.files.path}/{name}", mib)
        self.files.umount()
        stamp = self.checkpoint("web1")
        self.expected.append((stamp, self.disk.copy(self.path(f"original-{name}"))))
        self.files.mount()
        return stamp

    def words(self, command="copy", address=None, credentials=None, data_dir=None):
        return [command, f"--from={address or self.dispatcher.address}", f"--data-dir={data_dir or self.second}",
                f"--copier-credentials={credentials or self.path('copier-second.pem')}"]

    def pull(self, *words, check=0, **named):
        result = self.cli.run("dispatcher", *self.words(**named), *words, check=False)
        self.assertEqual(result.returncode, check, result.stdout + result.stderr)
        return result

    def pull_json(self, *words, **named):
        return json.loads(self.pull("--json", *words, **named).stdout)

    def stamps(self, data_dir):
        return [str(row["checkpoint"]) for row in self.cli.show("web1", data_dir)]

    def check_second(self, expected=None, data_dir=None, check=True):
        data_dir = data_dir or self.second
        expected = self.expected if expected is None else expected
        if check:
            self.assertEqual(self.stamps(data_dir), [stamp for stamp, _original in expected])
        for stamp, original in expected:
            if original is None:
                continue
            image = self.path(f"restored-{stamp}")
            self.cli.run("dispatcher", "restore", "--agent=web1", f"--data-dir={data_dir}", f"--checkpoint={stamp}",
                         f"--output={image}", *([f"--key={self.key}"] if self.key else []))
            check_equal(image, original)
            os.unlink(image)
        if check:
            self.cli.run("dispatcher", "verify", f"--data-dir={data_dir}")

    def prune(self, data_dir, keep):
        self.cli.run("dispatcher", "prune", "--agent=web1", f"--data-dir={data_dir}", f"--keep-last={keep}", "--confirm")

    def test_a_copy_outlives_what_happens_to_the_first(self):
        self.protect()
        self.take("first", 4)
        report = self.pull_json()[0]
        self.assertEqual((report["agent"], report["checkpoints"]), ("web1", 2))
        for name in ("second", "third"):
            self.take(name)
        self.assertEqual(self.pull_json()[0]["checkpoints"], 2)
        self.assertLess(self.pull_json()[0]["bytes"], 1)
        # Pruned there and not here; what comes then goes over what is here.
        self.prune(self.data_dir, 1)
        self.take("fourth")
        self.take("fifth")
        self.prune(self.data_dir, 1)
        report = self.pull_json()[0]
        self.assertEqual(report["checkpoints"], 1)
        kept = [pair for pair in self.expected if pair[0] != self.expected[4][0]]
        self.check_second(kept)
        # Rules of its own here, whatever is there.
        self.prune(self.second, 2)
        self.take("sixth")
        self.assertLess(self.pull_json()[0]["bytes"], 8 << 20)
        self.check_second(kept[-2:] + self.expected[-1:])
        # Damage and removal there are not copied.
        self.agent.stop()
        for folder, _folders, names in os.walk(f"{self.data_dir}/agents/web1/volumes"):
            for name in names:
                if name.endswith(".seg"):
                    with open(os.path.join(folder, name), "r+b") as file:
                        file.seek(200)
                        file.write(b"damage")
        self.pull()
        self.check_second(kept[-2:] + self.expected[-1:])
        shutil.rmtree(f"{self.data_dir}/agents/web1")
        self.pull()
        self.check_second(kept[-2:] + self.expected[-1:])

    def test_it_goes_on_wherever_it_was_cut(self):
        self.protect()
        with open(f"{self.files.path}/noise", "wb") as file:
            file.write(os.urandom(24 << 20))
        self.take("first", 4)
        program = os.path.join(bin_folder(), "blxrep-copy")
        copied = lambda: sum(entry.stat().st_size for entry in os.scandir(f"{self.second}/agents/web1/volumes/" + self.volume())
                             if entry.name.endswith((".pull", ".seg")))
        # The copier is killed in the middle, and so is the source, and the line is cut.
        slow = subprocess.Popen([program, *self.words(), "--bandwidth-limit=6M"], env=environment(), stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
        self.addCleanup(slow.wait)
        self.addCleanup(slow.kill)
        wait_until("a part is there", lambda: self.volume() and copied() > 2 << 20, 60)
        slow.send_signal(signal.SIGKILL)
        slow.wait()
        part = copied()
        slow = subprocess.Popen([program, *self.words(), "--bandwidth-limit=6M"], env=environment(), stdout=subprocess.DEVNULL,
                                stderr=subprocess.DEVNULL)
        self.addCleanup(slow.wait)
        self.addCleanup(slow.kill)
        wait_until("more is there", lambda: copied() > part + (2 << 20), 60)
        self.agent.stop()
        self.dispatcher.kill()
        self.assertNotEqual(slow.wait(60), 0)
        self.restart_dispatcher()
        proxy = Proxy(REGISTRY, self.dispatcher.port)
        slow = subprocess.Popen([program, *self.words(address=proxy.address), "--bandwidth-limit=6M"], env=environment(),
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(slow.wait)
        self.addCleanup(slow.kill)
        part = copied()
        wait_until("more is there", lambda: copied() > part + (2 << 20), 60)
        part = copied()
        proxy.refuse(True)
        proxy.cut()
        self.assertNotEqual(slow.wait(60), 0)
        report = self.pull_json()[0]
        self.assertGreaterEqual(report["spared_bytes"], part)
        self.check_second()
        self.assert_no_half_files()

    def damage(self, data_dir, which):
        """Damages the middle of a sealed segment, by its place in their order: the first frame may be one that nobody needs."""
        folder = f"{data_dir}/agents/web1/volumes/{os.listdir(f'{data_dir}/agents/web1/volumes')[0]}"
        path = os.path.join(folder, sorted(name for name in os.listdir(folder) if name[:-4].isdigit() and name.endswith(".seg"))[which])
        with open(path, "r+b") as file:
            file.seek(os.path.getsize(path) // 2)
            file.write(b"damage")
        return path

    def test_damage_is_healed_from_the_other_side(self):
        self.protect()
        for name in ("first", "second"):
            self.take(name)
        self.pull()
        heal = lambda *words, **named: self.pull("--heal", *words, **named).stdout
        self.assertEqual(heal(), "")
        # Here, from the first: a base, and an increment.
        for which in (0, -1):
            self.damage(self.second, which)
            self.assertEqual(self.cli.run("dispatcher", "verify", f"--data-dir={self.second}", check=False).returncode, 1)
            self.assertIn("1 checkpoint healed", heal())
            self.check_second()
        # There, from the second, while the agent is connected.
        second = Dispatcher(REGISTRY, self.folder, self.second, name="second").start()
        path = self.path("copier-first.pem")
        self.cli.run("dispatcher", "enroll", "--copier=first", f"--data-dir={self.second}", f"--output={path}")
        self.damage(self.data_dir, -1)
        self.assertIn("1 checkpoint healed", heal(address=second.address, credentials=path, data_dir=self.data_dir))
        self.check_second(data_dir=self.data_dir)
        self.take("third")
        self.check_second(data_dir=self.data_dir)
        self.assertEqual(self.pull_json()[0]["checkpoints"], 1)
        self.check_second()
        # Both are damaged: nothing that is left gets lost.
        damaged = [self.damage(self.second, -1), self.damage(self.data_dir, -1)]
        before = [pathlib.Path(path).read_bytes() for path in damaged]
        self.pull("--heal", check=1)
        self.assertEqual([pathlib.Path(path).read_bytes() for path in damaged], before)
        self.check_second(self.expected[:-1], check=False)

    def test_the_second_dispatcher_copies_by_itself(self):
        self.key = self.path("key")
        self.cli.run("keygen", f"--output={self.key}")
        self.protect(words=[f"--encryption-key={self.key}"])
        config = self.path("second.yaml")
        with open(config, "w", encoding="ascii") as file:
            file.write(f'source: {{ addr: "{self.dispatcher.address}", credentials: "{self.path("copier-second.pem")}", '
                       'agents: ["web*"], checkpoints: "all", bandwidth-limit: "100M", every: "1s" }\nretention: { keep-last: 2, min-age: "1ms" }\n')
        second = Dispatcher(REGISTRY, self.folder, self.second, f"--config={config}", "--prune-grace=1s", name="second").start()
        for name in ("first", "second", "third"):
            self.take(name)
            wait_until("it is copied", lambda: os.path.isdir(f"{self.second}/agents/web1") and
                       self.stamps(self.second)[-1:] == [self.expected[-1][0]], 30)
        wait_until("the rules of the second one hold", lambda: len(self.stamps(self.second)) == 2, 30)
        status = json.loads(self.cli.run("dispatcher", "status", "--json", f"--data-dir={self.second}").stdout)
        self.assertEqual([(agent["id"], agent["copy_of"], agent["last_checkpoint"]) for agent in status],
                         [("web1", self.dispatcher.address, self.expected[-1][0])])
        text = self.cli.run("dispatcher", "status", f"--data-dir={self.second}").stdout
        self.assertIn(f"web1: a copy from {self.dispatcher.address}, up to {self.expected[-1][0]}; complete as of", text)
        second.stop()
        text = self.cli.run("dispatcher", "status", f"--data-dir={self.second}").stdout
        self.assertIn(f"web1: a copy from {self.dispatcher.address}", text)
        # It becomes the second one's own.
        self.pull(command="adopt")
        self.assertNotIn("a copy from", self.cli.run("dispatcher", "status", f"--data-dir={self.second}").stdout)
        self.cli.fails(1, "reports to this dispatcher itself", "dispatcher", *self.words())
        self.check_second(self.expected[-2:])

    def volume(self):
        folder = f"{self.second}/agents/web1/volumes"
        names = os.listdir(folder) if os.path.isdir(folder) else []
        return names[0] if names else ""

    def test_only_a_copier_copies_and_it_only_reads(self):
        self.protect()
        self.take("first")
        self.cli.fails(1, "not a copier's", "dispatcher", *self.words(credentials=self.enroll("web1")))
        self.cli.fails(1, "no certificate of a copier", "dispatcher", *self.words(credentials=self.path("none.pem")))
        self.cli.fails(2, "exclude each other", "dispatcher", "enroll", "--agent=a", "--copier=b", f"--data-dir={self.data_dir}")
        self.cli.fails(1, "no copier 'other' was enrolled", "dispatcher", "revoke", "--copier=other", f"--data-dir={self.data_dir}")
        before = self.tree(self.data_dir)
        self.pull()
        after = {path: state for path, state in self.tree(self.data_dir).items() if "/copied-" not in path}
        self.assertEqual(after, before)
        log = self.cli.run("dispatcher", "log", f"--data-dir={self.data_dir}").stdout
        for word in ("enroll-copier", "copied"):
            self.assertIn(word, log)
        # An agent of the second one is not written over.
        self.cli.fails(1, "reports to this dispatcher itself", "dispatcher", *self.words(data_dir=self.data_dir))
        self.cli.run("dispatcher", "revoke", "--copier=second", f"--data-dir={self.data_dir}")
        self.cli.fails(1, "is revoked", "dispatcher", *self.words())
        self.enroll_copier("third")
        self.take("second")
        self.pull(credentials=self.path("copier-third.pem"))
        self.check_second()

    def tree(self, folder):
        """The content of what a copier could want to change."""
        found = {}
        for name in ("checkpoints", "volumes"):
            for at, _folders, names in os.walk(f"{folder}/agents/web1/{name}"):
                for file in names:
                    path = os.path.join(at, file)
                    with open(path, "rb") as opened:
                        found[path] = opened.read()
        return found


if __name__ == "__main__":
    main()
