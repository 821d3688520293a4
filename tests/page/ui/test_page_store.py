#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
The whole page: a store with every consistency and mark, a dispatcher, blxrep-page, and a browser that came in by an invitation. What it
shows is compared with what the commands print; so is the page without JavaScript.
"""

import json
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1] / "e2e")]

from case import Case, main  # noqa: E402
from browser import Browser  # noqa: E402
from programs import Page, bin_folder  # noqa: E402
from registry import REGISTRY, run  # noqa: E402

PICTURES = pathlib.Path(os.environ.get("BLXREP_PAGE_PICTURES", "/tmp/blxrep-page-pictures")).resolve()
HOSTILE = "<img src=x onerror=document.title='gone'>\"'<script>document.title='gone'</script>"
DEVICE = "/dev/<b>vda</b>"


class Store(Case):
    def setUp(self):
        super().setUp()
        PICTURES.mkdir(parents=True, exist_ok=True)
        for agent, count in [("web1", 32), ("db1", 8), ("old1", 8), ("gone1", 8)]:
            run(os.path.join(bin_folder(), "..", "tests", "marked_store"), self.data_dir, agent, count, DEVICE, HOSTILE)
        self.words = lambda agent: [f"--agent={agent}", f"--data-dir={self.data_dir}"]
        pinned = self.show("web1")[7]["checkpoint"]
        self.cli.run("dispatcher", "pin", *self.words("web1"), f"--checkpoint={pinned}")
        self.start_dispatcher()
        self.enroll("new1")
        self.cli.run("dispatcher", "pause", *self.words("db1"))
        self.cli.run("dispatcher", "archive", *self.words("old1"))
        self.cli.run("dispatcher", "revoke", *self.words("gone1"), "--force")
        self.page = Page(REGISTRY, self.folder, self.data_dir).start()
        self.browser = Browser()
        self.addCleanup(self.browser.close)

    def address(self, path):
        return f"http://{self.page.address}{path}"

    def come_in(self, *words):
        self.browser.go(self.address(self.page.invite(*words)))
        self.browser.wait("return location.pathname === '/' && document.querySelector('main')")

    def open(self, path, ready):
        self.browser.go(self.address(path))
        return self.browser.wait(ready)

    def cells(self, selector):
        """The texts of each row's cells, by the row's key."""
        return dict(self.browser.run("""return [...document.querySelectorAll(arguments[0])].map((row) =>
            [row.dataset.key, [...row.children].map((cell) => cell.innerText)])""", selector))

    def test_it_shows_what_the_commands_print(self):
        self.come_in()
        self.browser.wait("return document.querySelector('.agents .rows .row')")
        status = self.cli.status(self.data_dir)
        rows = self.cells(".agents .rows .row")
        printed = [line.split()[0] for line in self.cli.run("dispatcher", "status", f"--data-dir={self.data_dir}").stdout.splitlines()]
        self.assertEqual(list(rows), [word for word in printed if word in rows], "in the order of status, the worst first")
        self.assertEqual(set(rows), {agent["id"] for agent in status})
        self.assertLessEqual({"paused", "archived", "revoked", "never-joined"}, {agent["protection"] for agent in status})
        for agent in status:
            state, name = rows[agent["id"]][:2]
            self.assertEqual(state.lower().replace(" ", "-"), agent["protection"])
            self.assertEqual(name.split("\n")[0], agent["id"])
            self.assertIn(agent["why"].split(" for ")[0], name)
        asked = [agent for agent in status if agent["protection"] != "archived"]
        self.assertEqual(self.browser.text("h1"), f"{sum(not agent['protected'] for agent in asked)} of {len(asked)} agents are not protected")
        room = next(check for check in json.loads(self.cli.run("dispatcher", "check", f"--data-dir={self.data_dir}", "--json", check=False).stdout)["checks"]
                    if check["check"] == "room")
        self.browser.wait("return document.querySelector('.room p')")
        stored = room["text"].split("; ")[1].split(",")[0]  # what is free changes meanwhile
        self.assertIn(stored, self.browser.text(".room"))
        self.browser.picture(PICTURES / "store-overview.png")

        self.open("/agent?id=web1", "return document.querySelector('.legend li') && document.querySelector('.log li')")
        shown = self.show("web1")
        self.assertIn(f"{len(shown)} of {len(shown)} checkpoints", self.browser.text("#timeline-span"))
        legend = self.browser.text(".legend")
        for mark in ["filesystem consistent", "crash consistent", "not consistent", "pinned", "tested", "test failed", "damaged", "lacks a disk", "gap"]:
            self.assertIn(mark, legend)
        self.browser.run("document.querySelector('.checkpoints').scrollIntoView()")
        self.browser.wait("return document.querySelectorAll('.checkpoints .rows .row').length >= 15")
        self.browser.run("dispatchEvent(new Event('beforeprint'))")
        rows = self.cells(".checkpoints .rows .row")
        self.assertEqual(list(rows), [row["checkpoint"] for row in reversed(shown)])
        for row in shown:
            _time, consistency, kind, _changed, _stored, frozen, marks = rows[row["checkpoint"]]
            self.assertEqual((consistency, kind, frozen), (row["consistency"], row["kind"], f"{row['freeze_ms']} ms"))
            wanted = [name for name, is_set in [("pinned", row["pinned"]), ("tested", row["tested"] and row["tested"]["passed"]),
                                                ("test failed", row["tested"] and not row["tested"]["passed"]), ("damaged", row["damaged"]),
                                                ("lacks a disk", row["missing"])] if is_set]
            self.assertEqual(marks.strip(), "".join([*wanted, row["note"]]).strip())
        log = self.browser.text(".log")
        self.assertIn("pin", log)
        self.browser.run("scrollTo(0, 0)")
        self.browser.picture(PICTURES / "store-agent.png")

        failed = next(row for row in shown if row["tested"] and not row["tested"]["passed"])
        self.open(f"/checkpoint?agent=web1&checkpoint={failed['checkpoint']}", "return document.querySelector('.ways') && document.querySelector('.who').textContent")
        text = self.browser.text("main")
        for said in [failed["checkpoint"], failed["tested"]["reason"], failed["tested"]["seen"], DEVICE, "web1 login:", "test failed",
                     f"blxrep dispatcher boot --agent=web1 --checkpoint={failed['checkpoint']} --data-dir={self.data_dir}"]:
            self.assertIn(said, text)
        self.assertEqual(self.browser.run("return document.querySelectorAll('main img, main script, main dd b').length"), 0)
        self.browser.picture(PICTURES / "store-checkpoint.png", whole=True)

        self.open("/agent?id=new1", "return document.querySelector('.timeline') && document.querySelector('.message')")
        self.assertIn("There is no checkpoint yet.", self.browser.text("main"))

        self.open("/", "return document.querySelector('.agents .rows .row')")
        self.dispatcher.stop()
        self.browser.wait("return document.querySelector('h1').textContent === 'Nothing is being protected: no dispatcher runs'")
        self.assertEqual(self.browser.problems(), [])

    def test_a_damaged_checkpoint_hides_no_other_one(self):
        stamp = self.show("web1")[5]["checkpoint"]
        path = pathlib.Path(self.data_dir, "agents", "web1", "checkpoints", stamp)
        files = [file for file in path.parent.glob(f"{stamp}*") if file.suffix not in (".tested", ".pinned")]
        content = bytearray(files[0].read_bytes())
        content[60] ^= 1
        files[0].write_bytes(content)
        self.come_in()
        self.open("/agent?id=web1", "return document.querySelector('.legend li') && document.querySelector('.message.bad')")
        self.assertIn("31 of 31 checkpoints", self.browser.text("#timeline-span"))
        self.assertIn(stamp, self.browser.text(".message.bad"))

    def test_it_works_without_javascript(self):
        plain = Browser(360, 780, scripts=False)
        self.addCleanup(plain.close)
        self.browser = plain
        plain.go(self.address(self.page.invite()))
        plain.wait_path("/")
        text = plain.plain_text()
        for agent in self.cli.status(self.data_dir):
            self.assertIn(agent["id"], text)
            self.assertIn(agent["protection"], text)
        asked = [agent for agent in self.cli.status(self.data_dir) if agent["protection"] != "archived"]
        self.assertIn(f"{sum(not agent['protected'] for agent in asked)} of {len(asked)} agents are not protected", text)
        plain.picture(PICTURES / "plain-overview.png")
        plain.go(self.address("/agent?id=web1"))
        text = plain.plain_text()
        for row in self.show("web1"):
            self.assertIn(row["checkpoint"], text)
        self.assertIn(HOSTILE, text)
        failed = next(row for row in self.show("web1") if row["tested"] and not row["tested"]["passed"])
        plain.go(self.address(f"/checkpoint?agent=web1&checkpoint={failed['checkpoint']}"))
        text = plain.plain_text()
        self.assertIn(f"boot --agent=web1 --checkpoint={failed['checkpoint']}", text)
        self.assertIn(failed["tested"]["reason"], text)


if __name__ == "__main__":
    main(370)
