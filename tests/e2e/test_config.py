# SPDX-License-Identifier: Apache-2.0
"""The configuration file: the first example that users ever saw starts both programs, flags win, mistakes are explained."""

import os

from case import Case, main
from programs import Agent, Daemon, Dispatcher, free_port
from registry import REGISTRY

SEED = '''mode: "{mode}"  # or "agent"
id: "agent1"  # required for agent mode
dispatcher-addr: "{address}"  # required for agent mode
device: "{device}"  # required for agent mode
data-dir: "{data_dir}"  # required for dispatcher mode
sync-freq: 3  # sync frequency in minutes, required for dispatcher mode
'''


class Config(Case):
    def write(self, text, name="config.yaml"):
        path = self.path(name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def test_seed_example_starts_dispatcher_and_agent(self):
        disk = self.loop_disk(32)
        port = free_port()
        values = {"address": f"localhost:{port}", "device": disk.path, "data_dir": self.data_dir}
        for_dispatcher = self.write(SEED.format(mode="dispatcher", **values))
        for_agent = self.write(SEED.format(mode="agent", **values), "agent.yaml")
        self.dispatcher = Dispatcher(REGISTRY, self.folder, self.data_dir)
        self.dispatcher.words = [f"--config={for_dispatcher}", f"--listen=127.0.0.1:{port}", "--init"]
        self.dispatcher.start()
        agent = Daemon(REGISTRY, self.folder, "agent", f"--config={for_agent}", f"--run-dir={self.path('run')}",
                       f"--credentials={self.enroll('agent1')}")
        agent.start()
        self.dispatcher.wait_online("agent1")
        stamp = self.cli.run("dispatcher", "checkpoint", "--agent=agent1", f"--config={for_dispatcher}").stdout.strip()
        self.assertIn(stamp, self.cli.run("show", "--agent=agent1", f"--config={for_dispatcher}").stdout)

    def test_flags_win_over_the_file(self):
        disk = self.loop_disk(32)
        path = self.write('mode: "agent"\ndata-dir: "/nonexistent/elsewhere"\nsync-freq: "900h"\nlisten: "127.0.0.1:1"\n'
                          'id: "wrong"\ndispatcher-addr: "127.0.0.1:1"\ndevice: "/dev/absent"\n')
        self.dispatcher = Dispatcher(REGISTRY, self.folder, self.data_dir, f"--config={path}")
        self.dispatcher.start()
        Agent(REGISTRY, self.folder, "server1", self.dispatcher.address, self.enroll("server1"), [disk.path],
              f"--config={path}").start()
        self.dispatcher.wait_online("server1")
        self.checkpoint("server1")
        self.assertEqual(self.show("server1")[0]["volumes"][0]["device"], disk.path)

    def test_last_of_a_repeated_flag_wins(self):
        self.dispatcher = Dispatcher(REGISTRY, self.folder, self.data_dir)
        self.dispatcher.words.insert(1, "--data-dir=/nonexistent/elsewhere")
        self.dispatcher.start()

    def test_two_devices_from_the_file(self):
        disks = [self.loop_disk(32, "one"), self.loop_disk(32, "two")]
        path = self.write(f'device: [ "{disks[0].path}", "{disks[1].path}" ]\n')
        self.start_dispatcher()
        self.start_agent("server1", [], f"--config={path}")
        self.checkpoint("server1")
        self.assertEqual([volume["device"] for volume in self.show("server1")[0]["volumes"]],
                         [disk.path for disk in disks])

    def fails(self, pattern, text):
        path = self.write(text)
        line = self.cli.fails(2, pattern, "start", f"--config={path}")
        self.assertIn(path, line)
        return line

    def test_block_yaml_gets_the_hint(self):
        self.assertIn('mode: "dispatcher"', self.fails("line 1|:1", "mode: dispatcher\n"))
        self.fails("line 2|:2", 'mode: "agent"\nid: server1\ndevice: "/dev/null"\n')
        self.fails(r"\[", 'mode: "agent"\ndevice:\n  - /dev/vda\n  - /dev/vdb\n')

    def test_mistakes_are_named(self):
        self.fails("sync-frequency", 'mode: "dispatcher"\nsync-frequency: 3\n')
        self.fails("sync-freq", f'mode: "dispatcher"\ndata-dir: "{self.data_dir}"\nsync-freq: "often"\n')
        self.fails("data-dir", 'mode: "dispatcher"\ndata-dir: 5\nsync-freq: 3\n')
        self.fails("mode", 'mode: "both"\n')
        self.fails("freeze", 'mode: "agent"\nfreeze: "perhaps"\n')

    def test_given_file_must_exist(self):
        self.cli.fails(2, "absent.yaml", "start", f"--config={self.path('absent.yaml')}")
        self.assertFalse(os.path.exists(self.data_dir))


if __name__ == "__main__":
    main()
