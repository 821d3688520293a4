# SPDX-License-Identifier: Apache-2.0
"""The data directory belongs to the service's user: whoever starts the dispatcher, the service can read what it leaves."""

import os

from case import Case, main
from checks import check_equal
from programs import Dispatcher
from registry import REGISTRY, wait_until

NOBODY = 65534


class Owner(Case):
    def setUp(self):
        super().setUp()
        os.chmod(self.folder, 0o711)
        os.mkdir(self.data_dir, 0o700)
        os.chown(self.data_dir, NOBODY, NOBODY)
        self.cli.run("dispatcher", "enroll", "--init", "--agent=web1", f"--data-dir={self.data_dir}", f"--output={self.path('web1.pem')}")

    def assert_all_is_the_owners(self):
        others = [os.path.join(folder, name) for folder, folders, files in os.walk(self.data_dir) for name in folders + files
                  if os.lstat(os.path.join(folder, name)).st_uid != NOBODY]
        self.assertEqual(others, [])

    def test_a_start_by_root_leaves_nothing_of_roots(self):
        self.assert_all_is_the_owners()
        self.start_dispatcher()
        self.dispatcher.wait_line(f"started by root: it goes on as user {NOBODY}", 10)
        with open(f"/proc/{self.dispatcher.process.pid}/status", encoding="ascii") as status:
            self.assertIn(f"Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}\n", status.read())
        disk = self.loop_disk(16)
        disk.make("ext4")
        self.start_agent("web1", disk)
        self.checkpoint("web1")
        self.cli.run("dispatcher", "renew", f"--data-dir={self.data_dir}")
        self.dispatcher.stop()
        self.assert_all_is_the_owners()

        # The service: the same agent goes on.
        service = Dispatcher(REGISTRY, self.folder, self.data_dir, port=self.dispatcher.port, name="service")
        service.prefix = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        service.start()
        self.dispatcher = service
        service.wait_online("web1")
        self.assertEqual(self.row("web1", self.checkpoint("web1"))["kind"], "incremental")
        self.assertNotIn("started by root", service.log())

    def test_a_restore_by_root_reads_the_store_as_its_owner(self):
        self.start_dispatcher()
        disk = self.loop_disk(16)
        disk.make("ext4").umount()
        self.start_agent("web1", disk)
        stamp = self.checkpoint("web1")
        self.dispatcher.stop()
        roots = self.path("roots")
        os.mkdir(roots, 0o700)
        output = os.path.join(roots, "web1.img")
        words = ["restore", f"--checkpoint={stamp}", "--agent=web1", f"--data-dir={self.data_dir}", f"--output={output}"]
        volumes = os.path.join(self.data_dir, "agents", "web1", "volumes")
        segment = next(os.path.join(folder, name) for folder, _folders, names in os.walk(volumes) for name in names
                       if name.endswith(".seg"))
        # The service's user leads root to files that root alone may read, and shuts its folder.
        for place in (segment, os.path.dirname(segment)):
            secret = os.path.join(roots, "secret")
            os.rename(place, secret)
            os.chown(secret, 0, 0)
            os.chmod(secret, 0o700)
            os.symlink(secret, place)
            for mode in (0o700, 0o000):
                os.chmod(self.data_dir, mode)
                self.cli.fails(1, "permission denied|symbolic link", *words)
                self.assertEqual(os.listdir(roots), ["secret"])
            os.chmod(self.data_dir, 0o700)
            os.unlink(place)
            os.rename(secret, place)
            os.chown(place, NOBODY, NOBODY)
        for place in (output, roots):
            words[-1] = f"--output={place}"
            image = self.cli.run(*words).stdout.strip()
            self.assertEqual((os.path.dirname(image), os.stat(image).st_uid), (roots, 0))
            check_equal(image, disk.copy(self.path("disk.copy")))
        self.cli.run(*words[:-1], f"--output={output}", "--delta")
        self.cli.run(*words[:-1], f"--output={output}", "--force")
        self.cli.fails(1, "already exists", *words[:-1], f"--output={output}")
        target = self.loop_disk(16, "target")
        self.cli.run(*words[:-1], f"--output={target.path}")
        check_equal(target.copy(self.path("target.copy")), self.path("disk.copy"))
        self.assert_all_is_the_owners()

    def test_the_agents_folder_for_state_is_its_own(self):
        self.start_dispatcher()
        run_dir = self.path("run-web1")
        os.mkdir(run_dir, 0o755)
        os.chown(run_dir, NOBODY, NOBODY)
        agent = self.start_agent("web1", self.loop_disk(16), online=False)
        agent.wait_line(f"run-web1' belongs to user {NOBODY}.*--run-dir", 60)
        wait_until("it has ended", lambda: not agent.running(), 60)
        os.chown(run_dir, 0, 0)
        agent.start()
        self.dispatcher.wait_online("web1")
        self.assertEqual(os.stat(run_dir).st_mode & 0o7777, 0o700)

    def test_a_directory_that_its_owner_cannot_reach_is_refused(self):
        os.chmod(self.folder, 0o700)
        self.cli.fails(1, f"user {NOBODY}.*cannot reach.*chown", "start", "--mode=dispatcher", f"--data-dir={self.data_dir}",
                       "--sync-freq=1h", "--listen=127.0.0.1:0")
        self.assert_all_is_the_owners()


if __name__ == "__main__":
    main()
