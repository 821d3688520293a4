# SPDX-License-Identifier: Apache-2.0
"""A restore over the network: one line on the dispatcher, one on the new machine, and it goes on whatever is cut, killed or started again."""

import os
import re
import shutil
import signal
import struct
import subprocess
import threading

from case import Case, main
from checks import check_equal
from disks import MIB
from programs import environment
from proxy import Proxy
from registry import REGISTRY, Failure, run, wait_until
from workloads import fill


class Puller:
    """`blxrep agent restore` in the background."""

    def __init__(self, registry, cli, words, token):
        self.process = subprocess.Popen([cli.program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        env=environment())
        registry.add(self)
        self._result = None
        self._thread = threading.Thread(target=self._talk, args=(token,), daemon=True)
        self._thread.start()

    def __str__(self):
        return "a machine that restores"

    def _talk(self, token):
        self._result = self.process.communicate(token + "\n")

    def end(self, seconds=120):
        self._thread.join(seconds)
        if self._thread.is_alive():
            raise Failure(f"the restore has not ended within {seconds} s")
        return self.process.returncode, *self._result

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.end()

    def halt(self):
        if self.process.poll() is None:
            self.process.kill()

    def close(self):
        self._thread.join(20)


class NetworkRestore(Case):
    def setUp(self):
        super().setUp()
        self.disk = self.loop_disk(192)
        self.files = self.disk.make("ext4")
        self.start_dispatcher()
        self.state = self.path("state")

    def tearDown(self):
        self.assertEqual(self.leftovers(), [], "nothing half done is left")

    def leftovers(self):
        return [name for name in os.listdir(self.folder) if name.endswith(".partial")]

    def settled_checkpoint(self, agent_id="server1", mib=40):
        """A disk at rest: its checkpoint, and a copy of it."""
        fill(f"{self.files.path}/data{mib}", mib)
        self.files.umount()
        stamp = self.checkpoint(agent_id)
        copy = self.disk.copy(self.path(f"{stamp}.copy"))
        self.files.mount()
        return stamp, copy

    def protect(self, *words):
        return self.start_agent("server1", self.disk, "--skip-free-space=no", *words)

    def line(self, stamp, *words):
        """What the dispatcher prints: the token, and the words of the command."""
        done = self.cli.run("dispatcher", "restore", "--agent=server1", f"--checkpoint={stamp}", f"--data-dir={self.data_dir}", "--token",
                            f"--dispatcher-addr={self.dispatcher.address}", *words)
        lines = done.stdout.splitlines()
        self.assertEqual(len(lines), 1, "one line to paste")
        match = re.fullmatch(r"echo ([a-z0-9]{95}) \| blxrep (agent restore .*)", lines[0])
        self.assertTrue(match, lines[0])
        self.assertIn("first machine", done.stderr)
        return match[1], match[2].split()

    def words(self, output, *more, address=None):
        return ["agent", "restore", f"--dispatcher-addr={address or self.dispatcher.address}", "--token-file=-", f"--output={output}",
                f"--state-dir={self.state}", *more]

    def pull(self, token, output, *more, **named):
        done = self.cli.run(*self.words(output, *more, **named), input_text=token + "\n")
        self.assertEqual(done.stdout, f"{output}\n")
        self.assertIn("restored", done.stderr)
        return done

    def pull_fails(self, pattern, token, output, *more, status=1, **named):
        done = self.cli.run(*self.words(output, *more, **named), input_text=token + "\n", check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        self.assertRegex(done.stderr, pattern)
        return done

    def cut_after(self, proxy, count):
        """Waits until so much has come from the dispatcher."""
        wait_until(f"{count} bytes have come", lambda: proxy.received_bytes > count, 60, 0.002)

    def noted_bytes(self, stamp):
        """Where the last extent ends that the restore's journal has (lib/store/restore/journal.c)."""
        head_bytes, batch_bytes, extent_bytes, block_bytes = 4280, 48, 16, 4096
        name = next((name for name in os.listdir(self.state) if re.fullmatch(rf"server1-{stamp}-.*\.journal", name)), None)
        if name is None:
            return 0
        with open(os.path.join(self.state, name), "rb") as file:
            journal = file.read()
        at, end = head_bytes, 0
        while at + batch_bytes <= len(journal):
            count = struct.unpack_from("<4xI", journal, at)[0]
            at += batch_bytes
            whole = min(count, (len(journal) - at) // extent_bytes)
            for start, blocks in struct.iter_unpack("<QQ", journal[at:at + whole * extent_bytes]):
                end = max(end, (start + blocks) * block_bytes)
            at += count * extent_bytes
        return end

    def log_has(self, event):
        done = self.cli.run("dispatcher", "log", f"--data-dir={self.data_dir}", "--agent=server1")
        return event in done.stdout

    def test_a_pasted_line_writes_the_disk(self):
        self.protect()
        stamp, copy = self.settled_checkpoint()
        token, words = self.line(stamp)
        self.assertEqual(words[2], f"--dispatcher-addr={self.dispatcher.address}")
        self.assertEqual(words[3:5], ["--token-file=-", f"--output={self.disk.path}"])
        # Onto a disk, which is larger.
        new = self.loop_disk(200, "new")
        self.pull(token, new.path)
        run("cmp", f"--bytes={192 * MIB}", new.path, copy)
        self.pull_fails("is complete", token, self.path("again.img"))
        # And into a file, of another checkpoint than the newest.
        self.settled_checkpoint(mib=3)
        token, _words = self.line(stamp)
        self.assertIn("is verified", self.pull(token, self.path("out.img"), "--verify").stderr)
        check_equal(self.path("out.img"), copy)
        self.assertEqual(os.listdir(self.state), [], "no state is left")
        for event in ("restore-token", "restore-done"):
            self.assertTrue(self.log_has(event), event)

    def test_it_goes_on_after_cuts_kills_and_starts(self):
        agent = self.protect()
        stamp, copy = self.settled_checkpoint(mib=120)
        token, _words = self.line(stamp)
        proxy = Proxy(REGISTRY, self.dispatcher.port)
        target = self.loop_disk(192, "new")
        puller = Puller(REGISTRY, self.cli, self.words(target.path, address=proxy.address), token)
        for number in range(3):
            self.cut_after(proxy, (number + 1) * 10 * MIB)
            proxy.cut()
        self.cut_after(proxy, 45 * MIB)
        self.dispatcher.kill()
        self.restart_dispatcher()
        self.cut_after(proxy, 60 * MIB)
        puller.kill()
        # Nobody else may go on with it, but this machine may, by the same line.
        self.pull_fails("another machine restores 'server1'", token, self.path("thief.img"), f"--state-dir={self.path('thief')}")
        self.assertTrue(self.log_has("refusal"))
        before = proxy.received_bytes
        done = self.pull(token, target.path, address=proxy.address)
        self.assertIn("going on with", done.stderr)
        run("cmp", target.path, copy)
        # Without the cuts it is some 120 MiB; what was on its way came twice.
        self.assertLess(proxy.received_bytes, 220 * MIB)
        self.assertGreater(proxy.received_bytes - before, 1)
        # Meanwhile the server was protected as ever.
        self.dispatcher.wait_online("server1")
        self.checkpoint("server1")
        agent.stop()

    def test_what_must_not_be_written_is_refused(self):
        self.protect()
        stamp, _copy = self.settled_checkpoint()
        token, _words = self.line(stamp)
        small, used = self.loop_disk(100, "small"), self.loop_disk(192, "used")
        self.pull_fails("has 104857600 bytes, the volume 201326592; give a larger one", token, small.path)
        mounted = used.make("ext4")
        self.pull_fails("is mounted or in use", token, used.path)
        mounted.umount()
        self.pull_fails("holds ext4", token, used.path)
        taken = self.path("taken.img")
        with open(taken, "w", encoding="ascii") as file:
            file.write("mine")
        self.pull_fails("already exists", token, taken)
        self.pull_fails("there is no block device", token, "/dev/nothing-of-this-name")
        self.pull_fails("gives no device '/dev/other'", token, self.path("out.img"), "--device=/dev/other")
        self.pull_fails("knows of no interrupted restore", token, self.path("out.img"), "--resume")
        self.pull(token, used.path, "--force")

    def test_tokens_are_bounded(self):
        self.protect()
        stamp, copy = self.settled_checkpoint()
        token, _words = self.line(stamp)
        output = self.path("out.img")
        wrong = token[:20] + ("a" if token[20] != "a" else "b") + token[21:]
        self.pull_fails("one of its letters was changed", wrong, output)
        done = self.cli.run("dispatcher", "enroll", "--agent=server9", f"--data-dir={self.data_dir}", "--token")
        self.pull_fails("lets a server join", done.stdout.split()[1], output)
        done = self.cli.run("dispatcher", "revoke", "--agent=server1", f"--data-dir={self.data_dir}", "--token")
        self.assertIn("1 token of 'server1' taken back", done.stdout)
        self.pull_fails("does not know the token", token, output)
        self.dispatcher.wait_online("server1")
        token, _words = self.line(stamp)
        self.pull(token, output)
        check_equal(output, copy)
        self.cli.fails(2, "leave out --output", "dispatcher", "restore", "--agent=server1", f"--checkpoint={stamp}",
                       f"--data-dir={self.data_dir}", "--token", "--output=x")

    def test_status_and_show_list_it(self):
        self.protect()
        stamp, copy = self.settled_checkpoint(mib=120)
        token, _words = self.line(stamp)
        self.assertEqual(self.dispatcher.agent_state("server1")["restores"], [])
        proxy = Proxy(REGISTRY, self.dispatcher.port)
        target = self.path("out.img")
        puller = Puller(REGISTRY, self.cli, self.words(target, address=proxy.address), token)
        self.cut_after(proxy, 20 * MIB)
        puller.process.send_signal(signal.SIGSTOP)

        def listed():
            restores = self.dispatcher.agent_state("server1")["restores"]
            return restores[0] if restores and restores[0]["done_bytes"] > 0 and restores[0]["eta_seconds"] else None
        restore = wait_until("the restore is listed", listed)
        self.assertEqual(str(restore["checkpoint"]), stamp)
        self.assertEqual((restore["number"], restore["volumes"], restore["volume_bytes"]), (1, 1, 192 * MIB))
        self.assertRegex(restore["peer"], r"^127\.0\.0\.1:\d+$")
        self.assertGreater(restore["sent_bytes"], 10 * MIB)
        self.assertLess(restore["done_bytes"], 192 * MIB)
        self.assertGreater(restore["eta_seconds"], 0)
        self.assertFalse(restore["takes_over"])
        line = rf"restoring for .*: checkpoint {stamp} of server1 to the machine at 127\.0\.0\.1:\d+, \S+ \(1 of 1\): .* of 192.0 MiB, .* sent, .*/s, .* left"
        for command in (["status"], ["show", "--agent=server1"]):
            self.assertRegex(self.cli.run("dispatcher", *command, f"--data-dir={self.data_dir}").stdout, line)
        puller.process.send_signal(signal.SIGCONT)
        status, _out, err = puller.end()
        self.assertEqual(status, 0, err)
        check_equal(target, copy)
        wait_until("nothing is listed", lambda: self.dispatcher.agent_state("server1")["restores"] == [])

    def test_a_target_that_shrinks_is_an_error(self):
        self.protect()
        stamp, copy = self.settled_checkpoint(mib=120)
        token, _words = self.line(stamp)
        proxy = Proxy(REGISTRY, self.dispatcher.port)
        target = self.loop_disk(192, "new")
        puller = Puller(REGISTRY, self.cli, self.words(target.path, address=proxy.address), token)
        self.cut_after(proxy, 30 * MIB)
        # Nothing more is asked for until what came is durable and noted, and some of that lies where the target is about to end.
        proxy.hold_after(0)
        wait_until("something behind the new end is noted", lambda: self.noted_bytes(stamp) > 20 * MIB)
        os.truncate(target.file, 16 * MIB)
        run("losetup", "-c", target.path)
        proxy.release()
        status, _out, err = puller.end()
        self.assertEqual(status, 1, err)
        self.assertIn(f"'{target.path}'", err)
        self.pull_fails("bytes, the volume 201326592", token, target.path)
        # If it has its size again, a part of what was durable is gone: --verify finds that, and then nothing of it is believed.
        os.truncate(target.file, 192 * MIB)
        run("losetup", "-c", target.path)
        self.pull_fails("differs from the checkpoint in the bytes|does not hold what the restore before has written", token, target.path,
                        "--verify")
        token, _words = self.line(stamp)
        done = self.pull(token, target.path, "--force", "--verify")
        self.assertRegex(done.stderr, rf"'{target.path}' is verified: \d+ blocks of 4096 bytes \(.*\) were read back, and all are the checkpoint's")
        run("cmp", target.path, copy)

    def test_an_encrypted_chain_needs_the_key_at_the_target_alone(self):
        key, other = self.path("blxrep.key"), self.path("other.key")
        for path in (key, other):
            self.cli.run("keygen", f"--output={path}")
        self.protect(f"--encryption-key={key}")
        stamp, copy = self.settled_checkpoint()
        token, words = self.line(stamp)
        self.assertEqual(words[-1], "--key=blxrep.key")
        output = self.path("out.img")
        self.pull_fails("key", token, output)
        self.pull_fails("key", token, output, f"--key={other}")
        self.pull(token, output, f"--key={key}")
        check_equal(output, copy)

    def test_two_disks(self):
        other = self.loop_disk(64, "other")
        more = other.make("ext4")
        self.start_agent("server1", [self.disk, other], "--skip-free-space=no")
        fill(f"{more.path}/data", 20)
        more.umount()
        stamp, copy = self.settled_checkpoint()
        other_copy = other.copy(self.path("other.copy"))
        token, words = self.line(stamp)
        self.assertIn(f"--device={self.disk.path}", words)
        self.pull_fails("is not a directory, but 2 devices are to be restored", token, self.path("out.img"), status=2)
        one, two = self.path("one.img"), self.path("two.img")
        self.pull(token, one, f"--device={self.disk.path}")
        self.pull(token, two, f"--device={other.path}")
        check_equal(one, copy)
        check_equal(two, other_copy)
        # The last one has spent the token.
        self.pull_fails("is complete", token, self.path("again.img"), f"--device={self.disk.path}")
        folder = self.path("images")
        os.mkdir(folder)
        token, _words = self.line(stamp)
        done = self.cli.run(*self.words(folder), input_text=token + "\n")
        images = done.stdout.split()
        self.assertEqual(len(images), 2)
        check_equal(images[0], copy)
        check_equal(images[1], other_copy)
        # The token of one of them gives that one.
        token, _words = self.line(stamp, f"--device={other.path}")
        self.pull_fails("gives no device", token, one, f"--device={self.disk.path}")

    def change_a_little(self):
        """Some small writes, a file less and one more: the disk as it is afterwards."""
        with open(f"{self.files.path}/data40", "r+b") as file:
            for number in range(20):
                file.seek(number * 2 * MIB)
                file.write(os.urandom(100))
        fill(f"{self.files.path}/new", 2)
        self.files.umount()
        return self.disk.copy(self.path("today.copy"))

    def delta(self, token, target, *more):
        """How many bytes came for it, and what was said."""
        proxy = Proxy(REGISTRY, self.dispatcher.port)
        done = self.pull(token, target, "--delta", *more, address=proxy.address)
        return proxy.received_bytes + proxy.sent_bytes, done

    def test_a_delta_brings_what_differs(self):
        self.protect()
        stamp, yesterday = self.settled_checkpoint()
        today = self.change_a_little()
        token, _words = self.line(stamp)
        target = self.loop_disk(200, "new")
        run("dd", f"if={today}", f"of={target.path}", "bs=1M", "conv=fsync,notrunc", "status=none")
        # Rubbish where the checkpoint has nothing.
        with open(target.path, "r+b") as disk:
            disk.seek(150 * MIB)
            disk.write(os.urandom(MIB))
        held = os.open(target.path, os.O_RDONLY | os.O_EXCL)
        self.pull_fails("is mounted or in use", token, target.path, "--delta")
        os.close(held)
        count, done = self.delta(token, target.path, "--device=" + self.disk.path)
        run("cmp", f"--bytes={192 * MIB}", target.path, yesterday)
        self.assertRegex(done.stderr, r"restored")
        self.assertLess(count, 16 * MIB)
        self.assertIn("is told the key of the digests", self.cli.run("dispatcher", "log", f"--data-dir={self.data_dir}", "--agent=server1").stdout)
        # Of an equal target little comes, and nothing is written.
        token, _words = self.line(stamp)
        count, done = self.delta(token, target.path)
        self.assertLess(count, 40_000)
        self.assertIn("0 B", done.stderr)
        # An image that is not there is made.
        token, _words = self.line(stamp)
        output = self.path("out.img")
        self.delta(token, output)
        check_equal(output, yesterday)
        self.pull_fails("leave out --resume", token, output, "--delta", "--resume", status=2)

    def test_a_delta_of_an_encrypted_chain_goes_on_after_cuts_and_kills(self):
        key = self.path("blxrep.key")
        self.cli.run("keygen", f"--output={key}")
        self.protect(f"--encryption-key={key}")
        stamp, yesterday = self.settled_checkpoint()
        token, _words = self.line(stamp)
        output = self.path("out.img")
        shutil.copyfile(yesterday, output)
        with open(output, "r+b") as image:
            for place in range(0, 40, 2):
                image.seek(place * MIB)
                image.write(b"x" * MIB)
        self.pull_fails("key", token, output, "--delta")
        proxy = Proxy(REGISTRY, self.dispatcher.port)
        puller = Puller(REGISTRY, self.cli, self.words(output, "--delta", f"--key={key}", address=proxy.address), token)
        self.cut_after(proxy, 20_000)
        proxy.cut()
        self.cut_after(proxy, 5 * MIB)
        proxy.hold_after(0)  # so that it cannot be done before it dies
        puller.kill()
        self.delta(token, output, f"--key={key}")
        check_equal(output, yesterday)

    def pull_files(self, token, *more, status=0):
        done = self.cli.run("agent", "restore", "--files", f"--dispatcher-addr={self.dispatcher.address}", "--token-file=-",
                            f"--state-dir={self.state}", *more, input_text=token + "\n", check=False)
        self.assertEqual(done.returncode, status, done.stderr)
        return done

    def test_files_come_back_onto_a_living_server(self):
        key = self.path("blxrep.key")
        self.cli.run("keygen", f"--output={key}")
        self.protect(f"--encryption-key={key}")
        os.makedirs(f"{self.files.path}/etc/deep")
        with open(f"{self.files.path}/etc/deep/hosts", "w", encoding="ascii") as file:
            file.write("127.0.0.1 localhost\n")
        os.chmod(f"{self.files.path}/etc/deep/hosts", 0o640)
        stamp, _copy = self.settled_checkpoint()
        with open(f"{self.files.path}/data40", "rb") as file:
            data = file.read()
        os.remove(f"{self.files.path}/etc/deep/hosts")
        token, _words = self.line(stamp)
        self.assertIn("key", self.pull_files(token, f"--key={key}.other", status=1).stderr)
        self.assertIn("key", self.pull_files(token, status=1).stderr)
        self.assertIn("deep", self.pull_files(token, f"--key={key}", "/etc").stdout)
        back = self.path("back")
        os.mkdir(back)
        self.pull_files(token, f"--key={key}", f"--output={back}", "/etc/deep", "/data40")
        with open(f"{back}/deep/hosts", "r", encoding="ascii") as file:
            self.assertEqual(file.read(), "127.0.0.1 localhost\n")
        self.assertEqual(os.stat(f"{back}/deep/hosts").st_mode & 0o777, 0o640)
        with open(f"{back}/data40", "rb") as file:
            self.assertEqual(file.read(), data)
        self.assertEqual(sorted(os.listdir(back)), ["data40", "deep"], "nothing else is written")
        # The token is this machine's, and still gives the disks.
        self.assertIn("/no/such", self.pull_files(token, f"--key={key}", "/no/such", status=1).stderr)
        output = self.path("out.img")
        self.pull(token, output, f"--key={key}")
        self.pull_fails("needs --files", token, output, "/etc", status=2)


if __name__ == "__main__":
    main()
