#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records the pictures of README.md and docs/, from real runs: what a reader sees there is what the programs print.

    etc/record-session.py                BUILD_DIR=DIR etc/record-session.py builds elsewhere than in build-quickstart
    etc/record-session.py status         only docs/status.svg, with the programs that are there
    etc/record-session.py page           only docs/page/*.png, likewise; needs the packages of the tests

It writes docs/session.cast (asciicast v2, for asciinema) and docs/session.svg from etc/quickstart.sh, which builds the programs, and
docs/status.svg from `blxrep dispatcher status --watch` with one dispatcher and six agents on loop devices.
All of it takes two minutes and the time of the build, needs root and no package but python3, and leaves nothing but the pictures and the build folder.
"""

import contextlib
import fcntl
import html
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time

SOURCE = pathlib.Path(__file__).resolve().parent.parent
BUILD = (SOURCE / os.environ.get("BUILD_DIR", "build-quickstart")).resolve()
BLXREP = BUILD / "bin" / "blxrep"
COLUMNS, ROWS = 116, 40
IDLE_S = 2.0  # a longer silence (the build) is shortened to this in the cast,
READ_S = 0.35  # and each line stays alone for so long, so that it can be read
STEPS_SHOWN = {3, 4, 7, 8, 9}  # of the quickstart, in the SVG; the cast has all of them

# The look of the terminal. A character's advance is set by textLength, so any monospaced font gives the same columns.
FONT = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', 'Liberation Mono', monospace"
CHARACTER, LINE, MARGIN, BAR = 7.4, 17, 16, 30
COLOURS = {"plain": "#d6dbe1", "prompt": "#7fd1ff", "step": "#f2f4f7", "red": "#ff7b72", "yellow": "#e3b341",
           "green": "#56d364", "dim": "#8b949e"}


def run_in_terminal(argv, columns, rows, until=None):
    """Runs argv on a terminal of that size; its output as (seconds, text). `until(seconds)` true: Ctrl-C."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execvp(argv[0], argv)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    begun, events, interrupted = time.monotonic(), [], False
    try:
        while True:
            ready, _, _ = select.select([terminal], [], [], 0.2)
            now = time.monotonic() - begun
            if until is not None and not interrupted and until(now):
                os.kill(child, signal.SIGINT)
                interrupted = True
            if not ready:
                continue
            try:
                data = os.read(terminal, 65536)
            except OSError:  # EIO: its last process has closed it
                break
            if not data:
                break
            events.append((now, data))
    finally:
        os.close(terminal)
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        sys.stderr.buffer.write(b"".join(data for _, data in events))
        sys.exit(f"record-session.py: '{argv[0]}' failed ({os.waitstatus_to_exitcode(status)})")
    return decoded(events)


def decoded(events):
    """A character that was read in two halves goes to the later event."""
    rest, texts = b"", []
    for at, data in events:
        data = rest + data
        whole = data.decode(errors="ignore").encode()
        cut = len(whole) if data.startswith(whole) else len(data)
        texts.append((at, data[:cut].decode(errors="replace")))
        rest = data[cut:]
    return texts


def write_cast(path, events, title):
    header = {"version": 2, "width": COLUMNS, "height": ROWS, "title": title, "env": {"TERM": "xterm-256color"}}
    lines, clock, last, unread_s = [json.dumps(header)], 0.0, 0.0, 0.0
    for at, text in events:
        clock += min(max(at - last, unread_s), max(IDLE_S, unread_s))
        last, unread_s = at, READ_S * text.count("\n")
        lines.append(json.dumps([round(clock, 3), "o", text]))
    path.write_text("\n".join(lines) + "\n")


def styled_lines(text):
    """The text as lines of (style, characters); it has colours and line ends, and no other escapes."""
    names = {"0": "plain", "1": "step", "31": "red", "32": "green", "33": "yellow"}
    style, lines = "plain", []
    for line in text.replace("\r", "").rstrip("\n").split("\n"):
        runs = []
        for part in re.split(r"(\x1b\[[0-9]*m)", line):
            escape = re.fullmatch(r"\x1b\[([0-9]*)m", part)
            if escape:
                style = names.get(escape[1] or "0", "plain")
            elif part:
                runs.append((style, part))
        lines.append(runs)
    return lines


def painted(runs):
    """What a reader looks for first: headings of steps and typed commands."""
    text = "".join(part for _, part in runs)
    if any(style != "plain" for style, _ in runs):
        return runs
    if re.match(r"\d+\. |Done:", text):
        return [("step", text)]
    command = re.match(r" *\$ |         --", text)
    if command:
        return [("dim", command[0]), ("prompt", text[command.end():])] if "$" in command[0] else [("prompt", text)]
    return runs


def write_svg(path, lines, title, description):
    columns = max(sum(len(part) for _, part in runs) for runs in lines)
    width = round(columns * CHARACTER) + 2 * MARGIN
    height = BAR + len(lines) * LINE + 2 * MARGIN
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-labelledby="title description">',
        "<!-- SPDX-License-Identifier: Apache-2.0 -->",
        "<!-- Made by etc/record-session.py. -->",
        f'<title id="title">{html.escape(title)}</title>',
        f'<desc id="description">{html.escape(description)}</desc>',
        f'<rect width="{width}" height="{height}" rx="8" fill="#14181d" stroke="#3a424c"/>',
        f'<path d="M0 {BAR}h{width}" stroke="#3a424c"/>',
        *(f'<circle cx="{MARGIN + 4 + 18 * i}" cy="{BAR // 2}" r="5" fill="#3a424c"/>' for i in range(3)),
        f'<text x="{width / 2}" y="{BAR // 2 + 4}" fill="{COLOURS["dim"]}" font-family="{FONT}" font-size="12" '
        f'text-anchor="middle">{html.escape(title)}</text>',
        f'<g font-family="{FONT}" font-size="12.3" xml:space="preserve">',
    ]
    for row, runs in enumerate(lines):
        column, y = 0, BAR + MARGIN + 12 + row * LINE
        for style, part in painted(runs):
            blanks = len(part) - len(part.lstrip(" "))
            word = part.strip(" ")
            if word:
                weight = ' font-weight="600"' if style == "step" else ""
                out.append(f'<text x="{MARGIN + (column + blanks) * CHARACTER:.1f}" y="{y}" fill="{COLOURS[style]}"{weight} '
                           f'textLength="{len(word) * CHARACTER:.1f}">{html.escape(word, quote=False)}</text>')
            column += len(part)
    path.write_text("\n".join([*out, "</g>", "</svg>", ""]))


def steps(text):
    """The quickstart's output by step: {number: text}; 0 is what follows the last one."""
    parts = re.split(r"(?m)^(?=\d+\. |Done:)", text.replace("\r", ""))
    found = {}
    for part in parts:
        number = re.match(r"(\d+)\. ", part)
        if number:
            found[int(number[1])] = part.rstrip("\n")
        elif part.startswith("Done:"):
            found[0] = part.rstrip("\n")
    return found


def record_session():
    print("docs/session.cast, docs/session.svg: etc/quickstart.sh runs, and builds the programs first")
    events = run_in_terminal([str(SOURCE / "etc" / "quickstart.sh")], COLUMNS, ROWS)
    write_cast(SOURCE / "docs" / "session.cast", events, "blxrep: from a clone to a restored disk")
    found = steps("".join(text for _, text in events))
    shown, last = [], None
    for number in sorted(STEPS_SHOWN):
        if last is not None:
            shown += ["", "..."] if number != last + 1 else []
            shown.append("")
        shown.append(found[number])
        last = number
    lines = styled_lines("\n".join([*shown, "", found[0]]))
    lines = [[("dim", "...")] if runs == [("plain", "...")] else runs for runs in lines]
    write_svg(SOURCE / "docs" / "session.svg", lines, "etc/quickstart.sh",
              "A terminal: an agent is enrolled, dispatcher and agent start, the checkpoints are listed, one is restored and compared.")


class Fleet:
    """A dispatcher and agents on loop devices; everything is given back by close()."""

    def __init__(self):
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="blxrep-status."))
        self.data = self.work / "backup"
        self.processes, self.loops, self.agents = [], [], {}
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.address = "127.0.0.1:%d" % probe.getsockname()[1]

    def close(self):
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.wait()
        for loop in self.loops:
            subprocess.run(["umount", "--quiet", loop], check=False)
            shutil.rmtree(pathlib.Path("/sys/fs/bpf/blxrep") / pathlib.Path(loop).name, ignore_errors=True)
            subprocess.run(["losetup", "-d", loop], check=True)
        shutil.rmtree(self.work)

    def blxrep(self, *args):
        return subprocess.run([BLXREP, *args, f"--data-dir={self.data}"], capture_output=True, text=True, check=True).stdout

    def start(self, name, *args):
        with open(self.work / f"{name}.log", "w") as log:
            process = subprocess.Popen([BLXREP, "start", *args], stdout=log, stderr=log)
        self.processes.append(process)
        return process

    def start_dispatcher(self, sync_freq):
        self.start("dispatcher", "--mode=dispatcher", f"--data-dir={self.data}", f"--sync-freq={sync_freq}", f"--listen={self.address}", "--init")
        wait_for(lambda: (self.data / "control.sock").exists())

    def start_agent(self, name, mib, content_mib, *args):
        disk, mount = self.work / f"{name}.disk", self.work / name
        disk.touch()
        os.truncate(disk, mib << 20)
        loop = subprocess.run(["losetup", "--find", "--show", disk], capture_output=True, text=True, check=True).stdout.strip()
        self.loops.append(loop)
        subprocess.run(["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", loop], check=True)
        mount.mkdir()
        subprocess.run(["mount", loop, mount], check=True)
        self.write(name, content_mib)
        credentials = self.work / f"{name}.pem"
        self.blxrep("enroll", f"--agent={name}", f"--output={credentials}")
        self.agents[name] = self.start(name, "--mode=agent", f"--id={name}", f"--dispatcher-addr={self.address}", f"--device={loop}",
                                       f"--credentials={credentials}", f"--run-dir={self.work / (name + '.run')}", *args)

    def write(self, name, mib):
        path = self.work / name / "data"
        with open(path, "ab") as file:
            for _ in range(mib):
                file.write(os.urandom(512 << 10) + bytes(range(256)) * 2048)

    def has_checkpoint(self, name):
        return any(a["id"] == name and a["last_checkpoint"] for a in json.loads(self.blxrep("status", "--json")))


def wait_for(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("record-session.py: waited in vain")
        time.sleep(0.2)


def record_status():
    print("docs/status.svg: a dispatcher and six agents run for a minute and a half")
    with contextlib.closing(Fleet()) as fleet:
        fleet.start_dispatcher("20s")
        sizes = {"web1": (2048, 90), "web2": (2048, 70), "db1": (4096, 180), "files1": (1024, 40), "build1": (512, 20)}
        for name, (mib, content_mib) in sizes.items():
            fleet.start_agent(name, mib, content_mib)
        for name in sizes:
            wait_for(lambda name=name: fleet.has_checkpoint(name))
        fleet.start_agent("mail1", 3072, 160, "--bandwidth-limit=1M")
        fleet.blxrep("pause", "--agent=files1")
        fleet.agents["build1"].terminate()
        fleet.agents["build1"].wait()

        def busy(seconds):
            if int(seconds) % 5 == 0:
                fleet.write("db1", 1)
                fleet.write("web1", 1)
            return seconds > 75  # an agent counts as lost after a minute

        command = [str(BLXREP), "dispatcher", "status", f"--data-dir={fleet.data}", "--watch"]
        text = "".join(text for _, text in run_in_terminal(command, COLUMNS, ROWS, busy))
    pictures = text.split("\x1b[?25h")[0].split("\x1b[H")
    lines = styled_lines(re.sub(r"\x1b\[[KJ]", "", pictures[-1]))
    write_svg(SOURCE / "docs" / "status.svg", lines, "blxrep dispatcher status --watch",
              "A terminal: one line says how many of six agents are protected, a table lists them, the worst first.")


def record_page():
    """A dispatcher, six agents and blxrep-page, seen by a browser. One agent is away for a while, and one is lost."""
    sys.path.insert(0, str(SOURCE / "tests" / "page" / "ui"))
    from browser import Browser
    print("docs/page/*.png: a dispatcher and six agents run for three minutes")
    pictures = SOURCE / "docs" / "page"
    pictures.mkdir(exist_ok=True)
    with contextlib.closing(Fleet()) as fleet:
        fleet.start_dispatcher("4s")
        sizes = {"web1": (1024, 40), "web2": (512, 20), "db1": (1024, 60), "files1": (512, 20), "build1": (512, 20)}
        for name, (mib, content_mib) in sizes.items():
            fleet.start_agent(name, mib, content_mib)
        for name in sizes:
            wait_for(lambda name=name: fleet.has_checkpoint(name))
        fleet.blxrep("pause", "--agent=files1")
        fleet.agents["build1"].terminate()
        fleet.agents["build1"].wait()
        begun, away = time.monotonic(), False
        while time.monotonic() - begun < 150:  # an agent counts as lost after a minute
            fleet.write("web1", 1 + int(time.monotonic()) % 5)
            if not away and time.monotonic() - begun > 30:
                fleet.blxrep("pause", "--agent=web1")
                time.sleep(75)  # longer than a checkpoint may be late, so that it is a gap
                fleet.blxrep("resume", "--agent=web1")
                fleet.blxrep("pin", "--agent=web1", "--checkpoint=latest")
                away = True
            time.sleep(3)
        fleet.start_agent("mail1", 3072, 160, "--bandwidth-limit=1M")
        take_pictures(fleet, Browser, pictures)


def take_pictures(fleet, browser_class, pictures):
    newest = json.loads(fleet.blxrep("show", "--agent=web1", "--json"))[-1]["checkpoint"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        listen = "127.0.0.1:%d" % probe.getsockname()[1]
    with open(fleet.work / "page.log", "w") as log:
        fleet.processes.append(subprocess.Popen([BUILD / "bin" / "blxrep-page", f"--data-dir={fleet.data}", f"--page-listen={listen}"], stdout=log, stderr=log))
    wait_for(lambda: "the page is at" in (fleet.work / "page.log").read_text())
    with contextlib.closing(browser_class(1280, 800)) as browser:
        browser.go(re.search(r"http://\S+", fleet.blxrep("page", f"--page-listen={listen}"))[0])
        for name, path, ready in [
                ("overview", "/", "return document.querySelector('.agents .rows .row') && document.querySelector('.room p')"),
                ("agent", "/agent?id=web1", "return document.querySelector('.legend li') && document.querySelector('.actions code')"),
                ("checkpoint", f"/checkpoint?agent=web1&checkpoint={newest}", "return document.querySelector('.ways') && document.querySelector('.who').textContent")]:
            browser.go(f"http://{listen}{path}")
            browser.wait(ready)
            time.sleep(1)
            browser.picture(pictures / f"{name}.png")
            print(f"docs/page/{name}.png: {(pictures / f'{name}.png').stat().st_size >> 10} KiB")


def main():
    if os.getuid() != 0:
        sys.exit("record-session.py: needs root: it makes loop devices, mounts filesystems and loads eBPF programs")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # through the ends of all contexts
    os.environ.pop("NO_COLOR", None)
    os.environ["LC_ALL"] = "C.UTF-8"
    if sys.argv[1:] == ["page"]:
        record_page()
        return
    if sys.argv[1:] != ["status"]:
        record_session()
    record_status()
    if not sys.argv[1:]:
        record_page()


if __name__ == "__main__":
    main()
