# SPDX-License-Identifier: Apache-2.0
"""The jobs of an operator, on two hosts with the installed packages, with the lines of README.md, docs/ and the manual pages and nothing else.

Each line is typed as the documents have it. What is put in is what they tell to put in: the token, the disk, another host's name for
systemd (hosts.py, systemctl). The report at the end has the commands and the seconds of each job.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import tempfile
import time
import unittest

from documents import SOURCE, command
from hosts import Disk, Host, connect

STORE = "--data-dir=/var/lib/blxrep"
MIB = 96
WAIT_S = 180
FIRST_DISK_S = 30  # from packages that are installed to the first checkpoint


class Job:
    """Counts what is typed, and measures."""

    def __init__(self, report, name):
        self.report, self.name, self.commands = report, name, 0

    def __enter__(self):
        self.begun = time.monotonic()
        return self

    def type(self, host, line, status=0):
        self.commands += 1
        got, out, said = host.type(line)
        if got != status:
            raise AssertionError(f"{self.name}: on {host.name}, with status {got} instead of {status}:\n$ {line}\n{out}{said}\n{host.log()}")
        self.said = said
        return out

    def __exit__(self, kind, _value, _traceback):
        self.seconds = time.monotonic() - self.begun
        self.report.append(f"{self.name:<62} {self.commands} command{' ' if self.commands == 1 else 's'} {self.seconds:5.1f} s"
                           f"{'' if kind is None else '  FAILED'}")


class Newcomer(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        packages = os.environ.get("BLXREP_PACKAGES")
        if not packages or not list(pathlib.Path(packages).glob("blxrep_*.deb")):
            self.fail("no packages: set BLXREP_PACKAGES to the folder that the target `package` fills")
        self.report = []
        self.addCleanup(lambda: print("\n" + "\n".join(self.report)))
        folder = tempfile.mkdtemp(prefix="blxrep-newcomer-disks-")
        self.addCleanup(shutil.rmtree, folder)
        self.disks = []
        for name in ("first", "second", "new"):
            self.disks.append(Disk(folder, name, MIB))
            self.addCleanup(self.disks[-1].close)
        first, second, self.new = self.disks
        self.at_rest = b""
        self.backup = Host("backup", packages)
        self.addCleanup(self.backup.close)
        self.web1 = Host("web1", packages, [first.device, second.device])
        self.addCleanup(self.web1.close)
        connect(self.backup, "10.99.0.1", self.web1, "10.99.0.2")
        for host in (self.backup, self.web1):
            host.prepare("printf '10.99.0.1 backup.example.org backup\\n10.99.0.2 web1\\n' >>/etc/hosts")
        self.web1.prepare("mkfs.ext4 -q -F -E lazy_itable_init=0,lazy_journal_init=0 /dev/vda && mkdir -p /srv/web && mount /dev/vda /srv/web"
                          " && mkdir /srv/web/etc && echo 'LABEL=root / ext4 defaults 0 1' >/srv/web/etc/fstab"
                          " && head -c 8M /dev/urandom >/srv/web/data && sync")

    def job(self, name):
        return Job(self.report, name)

    def wait(self, what, look):
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            found = look()
            if found:
                return found
            time.sleep(0.2)
        self.fail(f"waited {WAIT_S} s in vain for {what}\n{self.backup.log()}{self.web1.log()}\n"
                  f"{self.backup.type(f'blxrep dispatcher status {STORE}')}")

    def rows(self, agent="web1"):
        return json.loads(self.backup.prepare(f"blxrep dispatcher show --agent={agent} {STORE} --json"))

    def checkpoint(self):
        """At rest, so that the disk can be compared with the image: same()."""
        self.web1.prepare("sync; umount /srv/web")
        self.backup.prepare(command("docs/agents.md", "blxrep dispatcher checkpoint"))
        self.at_rest = pathlib.Path(self.disks[0].file).read_bytes()
        self.web1.prepare("mount /dev/vda /srv/web")

    def same(self, path):
        """Whether a file has what the server's /dev/vda had at the last checkpoint()."""
        return pathlib.Path(path).read_bytes() == self.at_rest

    def test_the_jobs_of_an_operator(self):
        self.install()
        self.protect_the_first_disk()
        self.see_whether_all_is_protected()
        self.get_one_file()
        self.get_a_whole_disk()
        self.get_a_lost_server_back()
        self.add_a_second_disk()
        self.see_what_a_change_of_retention_would_remove()
        self.encrypt()
        self.rename()
        self.learn_at_night_what_is_wrong()
        self.retire()

    def install(self):
        with self.job("install on both") as job:
            with concurrent.futures.ThreadPoolExecutor() as both:
                for done in [both.submit(job.type, self.backup, command("README.md", "apt install", "blxrep-dispatcher_")),
                             both.submit(job.type, self.web1, command("README.md", "apt install", "blxrep-agent_"))]:
                    done.result()
        self.assertEqual(job.commands, 2)
        for document in ("README.md", "docs/restore.md", "docs/agents.md"):
            self.assertEqual(self.backup.prepare(f"cat /usr/share/doc/blxrep/{document}"), (SOURCE / document).read_text(encoding="utf-8"))

    def protect_the_first_disk(self):
        with self.job("the first disk is protected (packages are installed)") as job:
            job.type(self.backup, command("README.md", "printf", "data-dir"))
            job.type(self.backup, command("README.md", "systemctl", "blxrep-dispatcher"))
            line = job.type(self.backup, command("README.md", "blxrep dispatcher enroll")).strip()
            told = command("README.md", "echo blxrep1", "agent join")
            self.assertEqual(re.sub(r"blxrep1\S+", "blxrep1...", line) + " --device=/dev/vda", told, "the printed line is the document's")
            job.type(self.web1, line + " --device=/dev/vda")
            job.type(self.web1, command("README.md", "systemctl", "blxrep-agent"))
            self.wait("the first checkpoint", self.rows)
        self.assertEqual(job.commands, 5)
        self.assertLessEqual(job.seconds, FIRST_DISK_S)

    def see_whether_all_is_protected(self):
        with self.job("is everything protected?") as job:
            out = job.type(self.backup, command("docs/agents.md", "blxrep dispatcher status"))
        self.assertRegex(out.splitlines()[0], r"is protected, its last checkpoint is")
        with self.job("... and on the server itself") as job:
            self.assertIn("/dev/vda", job.type(self.web1, "blxrep status"))

    def get_one_file(self):
        self.checkpoint()
        with self.job("one file") as job:
            job.type(self.backup, command("README.md", "blxrep dispatcher files"))
        self.assertEqual(job.commands, 1)
        self.assertEqual(self.backup.prepare("cat etc/fstab || cat fstab"), "LABEL=root / ext4 defaults 0 1\n")
        self.assertEqual(command("cli/blxrep-recovery.7", "blxrep dispatcher files"), command("README.md", "blxrep dispatcher files"))

    def get_a_whole_disk(self):
        with self.job("a whole disk") as job:
            job.type(self.backup, command("README.md", "blxrep dispatcher restore", "--output=/tmp/web1.img"))
        self.assertEqual(job.commands, 1)
        self.assertTrue(self.same(f"{self.backup.root}/tmp/web1.img"))

    def get_a_lost_server_back(self):
        """The machine is another one with an empty disk; what the boot of the disk would start is started by hand."""
        self.web1.prepare("systemctl stop blxrep-agent; umount /srv/web; rm /dev/vda")
        self.web1.prepare(f"mknod /dev/vda b {os.major(os.stat(self.new.device).st_rdev)} {os.minor(os.stat(self.new.device).st_rdev)}")
        with self.job("a lost server (its new disk is written)") as job:
            line = job.type(self.backup, command("README.md", "blxrep dispatcher restore", "--token")).strip()
            self.assertEqual(re.sub(r"blxrep1\S+", "blxrep1...", line).replace("10.99.0.1", "backup.example.org"),
                             command("README.md", "echo blxrep1", "agent restore"), "the printed line is the document's")
            job.type(self.web1, line)
        self.assertEqual(job.commands, 2)
        self.disks[0] = self.new
        self.assertTrue(self.same(self.new.file))
        self.web1.prepare("mount /dev/vda /srv/web && systemctl start blxrep-agent")
        count = len(self.rows())
        self.checkpoint()
        self.assertEqual(len(self.rows()), count + 1)

    def add_a_second_disk(self):
        before = self.rows()
        self.web1.prepare("mkfs.ext4 -q -F /dev/vdb")
        with self.job("a second disk") as job:
            job.type(self.web1, command("docs/agents.md", "sed -i", "/dev/vdb"))
            job.type(self.web1, command("docs/agents.md", "systemctl restart blxrep-agent"))
        self.assertEqual(job.commands, 2)
        self.wait("the second disk", lambda: "vdb" in self.web1.prepare("blxrep status"))
        self.checkpoint()
        rows = self.wait("a checkpoint with both", lambda: [row for row in self.rows() if len(row["volumes"]) == 2])
        first = next(volume for volume in rows[-1]["volumes"] if volume["name"] == "vda")
        self.assertLess(first["changed_bytes"], 8 << 20, "the first disk goes on in its chain")
        kept = {row["checkpoint"] for row in self.rows()}
        self.assertLessEqual({row["checkpoint"] for row in before}, kept)

    def see_what_a_change_of_retention_would_remove(self):
        rows = self.rows()
        line = command("docs/retention.md", "blxrep dispatcher prune", "--dry-run", "--keep-last=20")
        with self.job("what would a change of retention remove?") as job:
            out = job.type(self.backup, line.replace("--keep-last=20 --keep-daily=14 --keep-monthly=12", "--keep-last=2"))
        self.assertEqual(job.commands, 1)
        self.assertRegex(out, rf"(?m)^web1 +{rows[0]['checkpoint']} +remove")
        self.assertIn(f"{len(rows) - 2} of {len(rows)} checkpoints would be removed, which store", job.said)
        self.assertEqual(self.rows(), rows)

    def encrypt(self):
        with self.job("encryption") as job:
            job.type(self.web1, command("docs/encryption.md", "blxrep keygen --output"))
            job.type(self.web1, command("docs/encryption.md", "echo 'encryption-key"))
            job.type(self.web1, command("docs/encryption.md", "systemctl restart blxrep-agent"))
        self.checkpoint()
        shutil.copy(f"{self.web1.root}/etc/blxrep/blxrep.key", f"{self.backup.root}/root/")
        self.backup.prepare("rm /tmp/web1.img")
        with self.job("a disk of an encrypted agent") as job:
            job.type(self.backup, command("docs/encryption.md", "blxrep dispatcher restore", "--key") + " --device=/dev/vda")
        self.assertTrue(self.same(f"{self.backup.root}/tmp/web1.img"))

    def rename(self):
        with self.job("another name") as job:
            job.type(self.backup, command("docs/agents.md", "blxrep dispatcher rename"))
            self.wait("db1", lambda: "db1" in self.backup.type(f"blxrep dispatcher status {STORE} --check")[1])
        self.backup.prepare(f"blxrep dispatcher rename --agent=db1 --to=web1 {STORE}")

    def learn_at_night_what_is_wrong(self):
        """An agent may be away for half of sync-freq: a short one makes the test short."""
        self.backup.prepare("sed -i 's/^sync-freq: 3$/sync-freq: \"10s\"/' /etc/blxrep/config.yaml; systemctl restart blxrep-dispatcher")
        self.wait("the agent", lambda: self.backup.type(f"blxrep dispatcher status {STORE} --check")[0] == 0)
        self.web1.prepare("systemctl stop blxrep-agent")
        self.wait("an alarm", lambda: self.backup.type(f"blxrep dispatcher status {STORE} --check")[0] == 1)
        with self.job("what is wrong?") as job:
            out = job.type(self.backup, command("docs/agents.md", "blxrep dispatcher status"))
            page = job.type(self.backup, "man 7 blxrep-recovery | cat")
        self.assertIn("NOT protected: ", out.splitlines()[0])
        self.assertRegex(out, r"not-connected|not connected for")
        self.assertRegex(page, r"(?m)^ +not-connected$", "the manual page has the reason")

    def retire(self):
        with self.job("retire a server") as job:
            job.type(self.backup, command("docs/agents.md", "blxrep dispatcher archive"))
        self.assertEqual(job.commands, 1)
        self.assertIn("every agent is archived", self.backup.prepare(f"blxrep dispatcher status {STORE}").splitlines()[0])
        with self.job("... and remove its data") as job:
            job.type(self.backup, command("docs/agents.md", "blxrep dispatcher revoke"))
            job.type(self.backup, command("docs/agents.md", "blxrep dispatcher remove") + " --yes")
        self.assertEqual(self.backup.prepare("ls /var/lib/blxrep/agents"), "")


if __name__ == "__main__":
    unittest.main(verbosity=2)
