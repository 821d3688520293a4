#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""
What people see: the page's own files in a real browser. The answers come from answers.py here, so that every state and mark is there at
once; the first test compares their form with what the programs print. Pictures of all pages are left in $BLXREP_PAGE_PICTURES.
"""

import json
import os
import pathlib
import random
import shlex
import subprocess
import sys
import tempfile
import time
import unittest
from urllib.parse import quote

import answers
from browser import Browser

BIN = pathlib.Path(os.environ.get("BLXREP_BIN", "build-dev/bin")).resolve()
PICTURES = pathlib.Path(os.environ.get("BLXREP_PAGE_PICTURES", f"{tempfile.gettempdir()}/blxrep-page-pictures")).resolve()
HOSTILE = "<img src=x onerror=document.title='gone'>\"'&lt;<script>document.title='gone'</script>"
TAB = "\ue004"

# Each text on its own background: [ratio, text, colour, background] of those below 4.5.
CONTRAST = """
const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
const luminance = (rgb) => rgb.slice(0, 3).map((v) => v / 255).map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
  .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const background = (node) => { for (; node; node = node.parentElement) {
  const rgb = parse(getComputedStyle(node).backgroundColor); if (rgb.length === 3 || rgb[3] === 1) return rgb; } return [255, 255, 255]; };
const poor = []; let seen = 0;
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
for (let text; (text = walker.nextNode());) {
  const node = text.parentElement, style = getComputedStyle(node);
  if (!text.data.trim() || style.visibility === "hidden" || !node.getClientRects().length || ["SCRIPT", "STYLE"].includes(node.tagName)) continue;
  const a = luminance(parse(style.color)), back = background(node), b = luminance(back);
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05); seen++;
  if (ratio < 4.5) poor.push([ratio.toFixed(2), text.data.slice(0, 40), style.color, back.join()]);
}
for (const [ink, paper, least] of [["weak", "surface", 4.5], ["ink", "surface", 4.5], ["bar-filesystem", "surface", 3], ["bar-crash", "surface", 3],
                                   ["bar-none", "surface", 3], ["weak", "page", 4.5]]) {  // what the canvas draws with
  const probe = document.body.appendChild(document.createElement("i")); probe.style.color = `var(--${ink})`; probe.style.backgroundColor = `var(--${paper})`;
  const a = luminance(parse(getComputedStyle(probe).color)), b = luminance(parse(getComputedStyle(probe).backgroundColor)); probe.remove();
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < least) poor.push([ratio.toFixed(2), `${ink} on ${paper}`]);
}
return {poor, seen};
"""


def run(*words):
    return subprocess.run([str(BIN / "blxrep"), "dispatcher", *words], capture_output=True, text=True, check=True, timeout=60).stdout


class Page(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        PICTURES.mkdir(parents=True, exist_ok=True)
        cls.browser = Browser()
        cls.addClassCleanup(cls.browser.close)

    def setUp(self):
        self.browser.look(1280, 900)

    def serve(self, agents, rows=(), **named):
        served = answers.Answers(agents, list(rows), **named)
        self.addCleanup(served.close)
        self.addCleanup(self.browser.go, "about:blank")
        return served

    def open(self, served, path, ready):
        self.browser.go(served.address + path)
        return self.browser.wait(ready)

    def overview(self, served):
        return self.open(served, "/", "return document.querySelector('.agents .rows .row') && document.querySelector('.room p')")

    def agent(self, served, name):
        return self.open(served, f"/agent?id={quote(name)}", "return document.querySelector('.legend li') && document.querySelector('.log li') && document.querySelector('.actions code')")

    def checkpoint(self, served, name, checkpoint):
        return self.open(served, f"/checkpoint?agent={quote(name)}&checkpoint={checkpoint}", "return document.querySelector('.ways') && document.querySelector('.who')?.textContent")

    def all_pages(self, served, look=None):
        """Opens each page in turn, and yields its name."""
        marked = next(row for row in served.rows if row["tested"])
        for name, visit in [("overview", lambda: self.overview(served)), ("agent", lambda: self.agent(served, served.agents[0]["id"])),
                            ("checkpoint", lambda: self.checkpoint(served, served.agents[0]["id"], marked["checkpoint"]))]:
            if look:
                self.browser.look(*look)
            visit()
            yield name

    # ---- the form of the answers

    def test_the_answers_here_have_the_form_of_the_programs(self):
        with tempfile.TemporaryDirectory(prefix="blxrep-page-ui.", dir="/dev/shm") as folder:
            data = f"{folder}/data"
            subprocess.run([str(BIN.parent / "tests" / "make_store"), f"--data-dir={data}", "--agent=web1", "--size=8M", "--change=64K",
                            "--checkpoints=3"], check=True, capture_output=True)
            rows = json.loads(run("show", "--agent=web1", f"--data-dir={data}", "--json"))
            run("pin", "--agent=web1", f"--checkpoint={rows[0]['checkpoint']}", f"--data-dir={data}")
            status = json.loads(run("status", f"--data-dir={data}", "--json"))
            info = json.loads(run("info", "--agent=web1", f"--checkpoint={rows[1]['checkpoint']}", f"--data-dir={data}", "--json"))
            log = json.loads(run("log", f"--data-dir={data}", "--json"))
        history = answers.history(20)
        self.assertEqual(set(answers.agent("web1")), set(status[0]))
        self.assertEqual(set(answers.agent("web1")["judgement"]), set(status[0]["judgement"]))
        self.assertEqual(set(history[0]), set(rows[0]))
        self.assertEqual(set(history[0]["volumes"][0]), set(rows[0]["volumes"][0]))
        made = answers.info(history[3], "web1")
        self.assertEqual(set(made), set(info))
        self.assertEqual(set(made["volumes"][0]), set(info["volumes"][0]))
        self.assertLessEqual({"time", "event", "agent", "program", "uid"}, set(log[0]))
        self.assertEqual(rows, sorted(rows, key=lambda row: row["time"]), "the oldest first, which the timeline relies on")

    # ---- the overview

    def test_the_overview_says_of_each_agent_what_the_json_says(self):
        fleet = answers.fleet(100)
        served = self.serve(fleet)
        self.overview(served)
        asked = [agent for agent in fleet if agent["protection"] != "archived"]
        bad = [agent for agent in asked if not agent["protected"]]
        self.assertEqual(self.browser.text("h1"), f"{len(bad)} of {len(asked)} agents are not protected")
        room = self.browser.wait("return document.querySelector('.room')?.textContent")
        self.assertIn("room for 39 days without a prune", room)
        self.assertIn("ca.pem: ends in 80 days", room)
        states = {agent["protection"] for agent in fleet}
        self.assertEqual(states, set(answers.STATES), "every state is shown")
        chips = self.browser.run("return [...document.querySelectorAll('.chip')].map((chip) => [chip.dataset.state, chip.querySelector('b').textContent])")
        self.assertEqual(dict(chips), {"": "100", **{state: str(sum(agent["protection"] == state for agent in fleet)) for state in states}})
        seen = self.browser.run("""const seen = {}, wait = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
            return (async () => { for (let y = 0; y < document.body.scrollHeight; y += 500) { scrollTo(0, y); await wait();
              document.querySelectorAll('.agents .rows .row').forEach((row, i) => { seen[row.dataset.key] = [row.getAttribute('aria-rowindex'),
                ...[...row.children].map((cell) => cell.innerText)]; }); } return seen; })()""")
        self.assertEqual(set(seen), {agent["id"] for agent in fleet})
        for index, agent in enumerate(fleet):
            row, state, name, last, behind, consistency, _proven, size = seen[agent["id"]]
            self.assertEqual(int(row), index + 2, "the order of status, the worst first")
            self.assertEqual(state.lower().replace(" ", "-"), agent["protection"].replace("first-sync", "syncing"))
            self.assertTrue(name.startswith(f"{agent['id']}\n{agent['why']}".strip()), name)
            self.assertEqual(last == "none yet", agent["age"] is None)
            self.assertEqual(behind == "–", agent["dirty_bytes"] is None)
            self.assertIn(consistency, [f"{agent['consistency'] or '–'}", f"{agent['consistency']}, damaged"])
            self.assertEqual("damaged" in consistency, bool(agent["damaged"]))
            self.assertEqual(size, f"{agent['volume_bytes'] / (1 << 30):.1f} GiB" if 0 < agent["volume_bytes"] < 1 << 40 else size)
        self.assertEqual(self.browser.problems(), [])

    def test_copies_and_suspicion_are_shown_if_the_dispatcher_tells_of_them(self):
        now, dice = time.time(), random.Random(1)
        fleet = [{**answers.agent(f"web{i}"), "copy": answers.copy_of(now, dice)} for i in range(12)]
        fleet[2]["copy"].update(locked=False, locked_until=None, not_locked="the bucket has no object lock")
        fleet[3]["copy"] = None
        fleet[4]["suspicious"] = {"reason": "4.0 GiB became incompressible"}
        served = self.serve(fleet)
        self.browser.look(1500, 900)
        self.overview(served)
        heads = self.browser.run("return [...document.querySelectorAll('.agents .heads > div')].map((head) => head.textContent)")
        self.assertEqual(heads[6:8], ["Last copied", "Locked until"])
        rows = dict(self.browser.run("return [...document.querySelectorAll('.agents .rows .row')].map((row) => [row.dataset.key, [...row.children].map((cell) => cell.innerText)])"))
        self.assertTrue(rows["web0"][6].startswith("1 h "), rows["web0"])
        self.assertRegex(rows["web0"][7], r"^\d+ \w+ 20\d\d")
        self.assertEqual((rows["web2"][7], rows["web3"][6]), ("not locked", "no copy"))
        self.assertIn("suspicious: 4.0 GiB became incompressible", rows["web4"][1])

    def test_a_thousand_agents_are_as_many_rows_as_fit(self):
        served = self.serve(answers.fleet(1000))
        self.overview(served)
        rows = "return document.querySelectorAll('.agents .rows .row').length"
        self.assertLess(self.browser.run(rows), 60)
        self.assertEqual(self.browser.run("return document.querySelector('.agents').getAttribute('aria-rowcount')"), "1001")
        self.browser.run("scrollTo(0, document.body.scrollHeight)")
        last = served.agents[-1]["id"]
        self.browser.wait("return document.querySelector(`[data-key='${arguments[0]}']`)", last)
        self.assertLess(self.browser.run(rows), 60)
        self.browser.run("const s = document.querySelector('input[type=search]'); s.value = 'db7 '; s.dispatchEvent(new Event('input'))")
        keys = self.browser.run("return [...document.querySelectorAll('.agents .rows .row')].map((row) => row.dataset.key)")
        self.assertIn("db7", keys)
        self.assertTrue(all("db7" in key for key in keys), keys)
        self.browser.run("const s = document.querySelector('input[type=search]'); s.value = ''; s.dispatchEvent(new Event('input'))")
        self.browser.click(".chip[data-state=lost]")
        lost = [agent["id"] for agent in served.agents if agent["protection"] == "lost"]
        self.assertEqual(self.browser.run("return [...document.querySelectorAll('.agents .rows .row')].map((row) => row.dataset.key)"), lost)

    def test_print_has_all_rows(self):
        served = self.serve(answers.fleet(200))
        self.overview(served)
        self.browser.look(1280, 900, media="print")
        self.browser.run("dispatchEvent(new Event('beforeprint'))")
        self.assertEqual(self.browser.run("return document.querySelectorAll('.agents .rows .row').length"), 200)
        self.browser.run("dispatchEvent(new Event('afterprint'))")
        self.assertLess(self.browser.run("return document.querySelectorAll('.agents .rows .row').length"), 60)

    # ---- live

    def test_it_changes_while_one_looks(self):
        served = self.serve([answers.agent("web1"), answers.agent("db1")])
        self.overview(served)
        self.assertEqual(self.browser.text("h1"), "All 2 agents are protected")
        served.change(answers.agent("db1", "late"))
        self.browser.wait("return document.querySelector('h1').textContent === '1 of 2 agents is not protected'")
        self.assertEqual(self.browser.run("return document.querySelector('.agents .rows .row').dataset.key"), "db1", "the worst first")
        served.tell("status", {"agents": [], "removed": ["db1"]})
        self.browser.wait("return document.querySelector('h1').textContent === 'The only agent is protected'")
        served.tell("error", {"error": "cannot open the store: permission denied"})
        self.browser.wait("return document.querySelector('.banner').textContent.includes('cannot open the store: permission denied')")

    def test_it_says_that_no_dispatcher_runs_and_that_the_server_is_gone(self):
        fleet = [{**answers.agent(name, "lost"), "away_ms": None, "why": "no dispatcher runs"} for name in ("web1", "db1")]
        served = self.serve(fleet)
        self.overview(served)
        self.assertEqual(self.browser.text("h1"), "Nothing is being protected: no dispatcher runs")
        self.browser.picture(PICTURES / "no-dispatcher.png")
        served.close()
        self.browser.wait("return document.querySelector('.banner').innerText.includes('The connection to blxrep-page is lost. What you see is of')")
        self.assertEqual(self.browser.text(".link-state"), "Not live")

    # ---- an agent

    def test_the_timeline_has_every_checkpoint_and_every_mark(self):
        served = self.serve(answers.fleet(10), answers.history(10000))
        self.agent(served, "web1")
        count = len(served.rows)
        self.assertIn(f"{count:,} of {count:,} checkpoints", self.browser.text("#timeline-span"))
        legend = self.browser.text(".legend")
        for mark in ["filesystem consistent", "crash consistent", "not consistent", "pinned", "tested", "test failed", "damaged", "lacks a disk", "gap"]:
            self.assertIn(mark, legend)
        drawn = self.browser.run("""return (async () => { const { Timeline } = await import('/timeline.js'), { MARKS } = await import('/marks.js');
            const rows = await (await fetch('/api/show')).json(); const line = new Timeline(document.querySelector('.timeline'), {leastGapMs: 1860000, now: Date.now});
            line.show(rows); const marks = {}; line.columns.marks.forEach((bits) => MARKS.forEach((mark, bit) => { if (bits >> bit & 1) marks[mark.name] = (marks[mark.name] ?? 0) + 1; }));
            const buckets = line.buckets(0, rows.length, 3); line.close();
            return {marks, gaps: line.gaps.length, all: buckets.reduce((sum, bucket) => sum + bucket.numbers[0] + bucket.numbers[1] + bucket.numbers[2], 0)}; })()""")
        self.assertEqual(drawn["all"], count, "each checkpoint is in one bar")
        rows = served.rows
        self.assertEqual(drawn["marks"], {"pinned": sum(row["pinned"] for row in rows), "damaged": sum(row["damaged"] for row in rows),
                                          "tested": sum(bool(row["tested"] and row["tested"]["passed"]) for row in rows),
                                          "test failed": sum(bool(row["tested"] and not row["tested"]["passed"]) for row in rows),
                                          "lacks a disk": sum(bool(row["missing"]) for row in rows)})
        self.assertEqual(drawn["gaps"], 1)
        self.assertEqual(self.browser.problems(), [])

    def test_the_timeline_goes_from_years_to_seconds_by_keys(self):
        served = self.serve(answers.fleet(10), answers.history(2000))
        self.agent(served, "web1")
        self.browser.run("document.querySelector('.timeline').focus()")
        self.browser.press("\ue010")  # End
        newest = served.rows[-1]
        self.browser.wait("return document.querySelector('.selected a')?.href.includes(arguments[0])", newest["checkpoint"])
        self.browser.press("\ue012")  # left
        self.browser.wait("return document.querySelector('.selected a')?.href.includes(arguments[0])", served.rows[-2]["checkpoint"])
        self.browser.press(*"+" * 24)
        self.browser.wait("return document.querySelector('#timeline-span').textContent.includes(' seconds')", what="a span of seconds")
        self.assertTrue(self.browser.text("#timeline-span").startswith("1 of "), self.browser.text("#timeline-span"))
        self.browser.press("0")
        self.browser.wait("return document.querySelector('#timeline-span').textContent.includes(' years')")
        self.browser.press("\ue007")  # Enter
        self.browser.wait("return location.pathname === '/checkpoint' && document.querySelector('.ways')")
        self.assertIn(served.rows[-2]["checkpoint"], self.browser.text("main"))

    def test_the_newest_checkpoint_until_a_time_is_selected(self):
        served = self.serve(answers.fleet(10), answers.history(500))
        self.agent(served, "web1")
        row = served.rows[-40]
        self.browser.run("""const at = new Date(arguments[0]), input = document.querySelector('input[type=datetime-local]');
            input.value = new Date(at - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16); input.dispatchEvent(new Event('change'))""", served.rows[-39]["time"])
        self.browser.wait("return document.querySelector('.selected a')?.href.includes(arguments[0])", row["checkpoint"])

    def test_touch_moves_and_zooms(self):
        served = self.serve(answers.fleet(10), answers.history(500))
        self.agent(served, "web1")
        box = self.browser.run("document.querySelector('.timeline').scrollIntoView({block: 'center'}); const b = document.querySelector('.timeline').getBoundingClientRect(); return [b.x, b.y, b.width]")
        before = self.browser.text("#timeline-span")
        points = lambda *xs: [{"x": box[0] + x * box[2], "y": box[1] + 150, "id": i} for i, x in enumerate(xs)]
        self.browser.devtools("Input.dispatchTouchEvent", type="touchStart", touchPoints=points(0.45, 0.55))
        for step in range(1, 5):
            self.browser.devtools("Input.dispatchTouchEvent", type="touchMove", touchPoints=points(0.45 - step * 0.05, 0.55 + step * 0.05))
        self.browser.devtools("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
        self.browser.wait("return document.querySelector('#timeline-span').textContent !== arguments[0]", before, what="the pinch to zoom")

    # ---- a checkpoint

    def test_a_checkpoint_has_its_ways_back_as_lines_to_paste(self):
        served = self.serve(answers.fleet(10), answers.history(50))
        row = next(row for row in served.rows if row["tested"])
        name = "web'1; touch /tmp/x"
        self.checkpoint(served, name, row["checkpoint"])
        lines = self.browser.run("return [...document.querySelectorAll('.way code')].map((code) => code.textContent)")
        common = [f"--agent={name}", f"--checkpoint={row['checkpoint']}", "--data-dir=/var/lib/blxrep"]
        self.assertEqual([shlex.split(line) for line in lines], [["blxrep", "dispatcher", *words] for words in [
            ["files", *common, "/etc"], ["files", *common, "--output=.", "/etc/fstab"], ["boot", *common], ["restore", *common, "--token"],
            ["restore", *common, f"--output=/tmp/{name}.img"]]])
        text = self.browser.text("main")
        for said in ["filesystem consistent", row["checkpoint"], row["tested"]["verdict"], row["tested"]["seen"], "web1 login:", "40.0 GiB"]:
            self.assertIn(said.lower(), text.lower())

    def test_one_file_is_found_by_looking_into_the_checkpoint(self):
        served = self.serve(answers.fleet(10), answers.history(50))
        stamp = served.rows[-1]["checkpoint"]
        self.checkpoint(served, "web1", stamp)
        self.browser.run("[...document.querySelectorAll('button')].find((button) => button.textContent === 'Look into it').click()")
        self.browser.wait("return [...document.querySelectorAll('.entries button')].find((button) => button.textContent === 'etc/')")
        self.browser.run("[...document.querySelectorAll('.entries button')].find((button) => button.textContent === 'etc/').click()")
        links = self.browser.wait("const all = [...document.querySelectorAll('.entries a')].map((link) => link.getAttribute('href')); return all.some((href) => href.includes('fstab')) && all")
        common = f"/download?agent=web1&checkpoint={stamp}&path=%2Fetc%2F"
        self.assertEqual(links, [f"{common}fstab", f"{common}nginx&as=tar"])

    def test_of_an_encrypted_checkpoint_only_the_commands_are_left(self):
        served = self.serve(answers.fleet(10), answers.history(50))
        served.rows[-1]["volumes"][0]["key"] = "1f2e3d4c"
        self.checkpoint(served, "web1", served.rows[-1]["checkpoint"])
        self.assertNotIn("Look into it", self.browser.text("main"))
        self.assertEqual(self.browser.run("return document.querySelectorAll('a[download]').length"), 0)
        lines = self.browser.run("return [...document.querySelectorAll('.way code')].map((code) => code.textContent)")
        self.assertEqual([line for line in lines if "--key=FILE" not in line], [line for line in lines if line.endswith("--token")])

    def test_actions_are_for_operators(self):
        served = self.serve(answers.fleet(10), answers.history(50))
        newest = served.rows[-2]["checkpoint"]
        self.checkpoint(served, "web1", newest)
        buttons = "return [...document.querySelectorAll('main button:not(.copy)')].map((button) => button.textContent)"
        self.assertEqual(self.browser.run(buttons), ["Look into it", "Make a token", "Pin it"])
        self.browser.run("[...document.querySelectorAll('button')].find((button) => button.textContent === 'Make a token').click()")
        self.browser.wait("return [...document.querySelectorAll('.way code')].some((code) => code.textContent === 'echo blxrep1abc | blxrep agent restore --token-file=-')")
        self.assertEqual(served.acts, [("/api/token", {"agent": "web1", "checkpoint": newest}, "0123")])
        served.role = "viewer"
        self.checkpoint(served, "web1", newest)
        self.assertEqual(self.browser.run(buttons), [])
        self.assertEqual(self.browser.run("return [...document.querySelectorAll('a[download]')].length"), 0)
        self.assertEqual(len(self.browser.run("return [...document.querySelectorAll('.way code')].map((code) => code.textContent)")), 5, "whoever may run them pastes them")

    # ---- everybody's page

    def test_hostile_names_and_notes_stay_text(self):
        fleet = [{**answers.agent("web1", "late"), "id": HOSTILE, "why": HOSTILE, "note": HOSTILE, "peer": HOSTILE, "quota": HOSTILE,
                  "protection": "late"}, {**answers.agent("db1"), "protection": HOSTILE, "consistency": HOSTILE}]
        rows = answers.history(12)
        for row in rows:
            row.update(note=HOSTILE, kind=HOSTILE, missing=[HOSTILE], tested=answers.tested(time.time()))
            row["tested"].update(screen=HOSTILE, seen=HOSTILE, verdict=HOSTILE)
            row["volumes"][0].update(device=HOSTILE, name=HOSTILE)
        served = self.serve(fleet, rows)
        served.log = [{**line, "event": HOSTILE, "text": HOSTILE, "program": HOSTILE} for line in served.log]
        self.browser.look(360, 800)
        for page in self.all_pages(served):
            if page == "agent":
                self.browser.run("document.querySelector('.checkpoints').scrollIntoView()")
                self.browser.wait("return document.querySelector('.checkpoints .rows .row')")
            self.assertIn("<script>document.title='gone'</script>", self.browser.text("main"))
            self.assertEqual(self.browser.run("return document.querySelectorAll('main img, main script').length"), 0)
            self.assertNotEqual(self.browser.run("return document.title"), "gone")
            wide = self.browser.run("return [document.documentElement.scrollWidth, innerWidth]")
            self.assertLessEqual(wide[0], wide[1], f"{page} does not scroll sideways")
        self.assertEqual(self.browser.problems(), [])

    def test_all_pages_in_all_sizes_and_colours(self):
        served = self.serve(answers.fleet(60), answers.history(3000))
        for width, height in [(360, 780), (1280, 900), (2560, 1440)]:
            for dark in (False, True):
                for page in self.all_pages(served, look=(width, height, dark)):
                    where = f"{page}, {width}, {'dark' if dark else 'light'}"
                    wide = self.browser.run("return [document.documentElement.scrollWidth, innerWidth]")
                    self.assertLessEqual(wide[0], wide[1], f"{where}: no horizontal scroll")
                    cut = self.browser.run("""return [...document.querySelectorAll('.of-state')].filter((cell) => cell.scrollWidth > cell.clientWidth)
                        .map((cell) => cell.textContent)""")
                    self.assertEqual(cut, [], f"{where}: a state is whole")
                    seen = self.browser.run(CONTRAST)
                    self.assertEqual(seen["poor"], [], where)
                    self.assertGreater(seen["seen"], 30, where)
                    self.browser.picture(PICTURES / f"{page}-{width}-{'dark' if dark else 'light'}.png", whole=page == "checkpoint")
        self.assertEqual(self.browser.problems(), [])

    def test_the_focus_goes_from_top_to_bottom_and_is_seen(self):
        served = self.serve(answers.fleet(12), answers.history(60))
        for page in self.all_pages(served):
            self.browser.run("document.activeElement?.blur(); scrollTo(0, 0)")
            order = []
            for _ in range(14):
                self.browser.press(TAB)
                found = self.browser.run("""const node = document.activeElement, style = getComputedStyle(node), all = [...document.querySelectorAll('*')];
                    return node === document.body ? null : [all.indexOf(node), (node.ariaLabel || node.innerText || node.placeholder || '').trim(), style.outlineStyle, node.getClientRects().length]""")
                if found is None:
                    break
                order.append(found)
            self.assertGreaterEqual(len(order), 8, page)
            self.assertEqual([place for place, *_ in order], sorted(place for place, *_ in order), f"{page}: in the order of reading")
            for _place, name, outline, boxes in order:
                self.assertTrue(name, f"{page}: whatever has the focus has a name: {order}")
                self.assertNotEqual(outline, "none", f"{page}: {name}")
                self.assertGreater(boxes, 0)

    def test_nothing_comes_from_elsewhere_and_it_is_small(self):
        served = self.serve(answers.fleet(100), answers.history(1000))
        for _page in self.all_pages(served):
            self.assertEqual(self.browser.run("return performance.getEntriesByType('resource').filter((entry) => !entry.name.startsWith(location.origin)).map((entry) => entry.name)"), [])
        files = {path: sent for path, sent in served.sent_bytes.items() if not path.startswith("/api/")}
        self.assertLess(sum(files.values()), 100 << 10)
        print(f"the page's own files: {sum(files.values())} bytes; the overview of 100 agents: {served.sent_bytes['/api/status']} more", file=sys.stderr)
        self.assertEqual(self.browser.problems(), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
