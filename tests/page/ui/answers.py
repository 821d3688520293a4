# SPDX-License-Identifier: Apache-2.0
"""A server of canned answers: the page's own files, and JSON of the commands' form for fleets that no machine here could run.

The benchmark needs a thousand agents and ten thousand checkpoints, and the test of colours every state and mark at once. Whether the
JSON has the form of the real one is a test of its own: test_page_ui.py compares the keys with those of the programs.
"""

import datetime
import gzip
import http.server
import json
import pathlib
import queue
import random
import sys
import threading
import time
import urllib.parse

UI = pathlib.Path(__file__).resolve().parents[3] / "page" / "ui"
TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml", ".html": "text/html; charset=utf-8"}
HEADERS = {"Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
           "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache"}
GIB, MIB = 1 << 30, 1 << 20

# Per protection: why, reason, way out, state of the connection.
STATES = {
    "protected": ("", "", "", "LIVE"),
    "archived": ("archived since 2026-03-01 10:00:00", "archived", "`blxrep dispatcher archive --undo` lets it go on", "OFFLINE"),
    "first-sync": ("nothing is stored yet", "first-sync", "", "FULL SYNC"),
    "paused": ("paused since 2026-11-29 18:00:00", "paused", "`blxrep dispatcher resume` ends the pause", "LIVE"),
    "revoked": ("its certificate is revoked", "revoked", "`blxrep dispatcher enroll` lets it in again", "OFFLINE"),
    "never-joined": ("it was enrolled, and has never connected", "never-joined",
                     "run there the line that `blxrep dispatcher enroll --token` prints, and start blxrep-agent", "OFFLINE"),
    "damaged": ("1.5 MiB of its disks could not be read for the last checkpoint", "unreadable",
                "replace the disk while it can still be read", "LIVE"),
    "inconsistent": ("the filesystems could not be frozen, and the disk was written meanwhile", "inconsistent",
                     "let the filesystems be frozen: see \"How consistent\" in blxrep-agent(8)", "LIVE"),
    "late": ("one is due every 15 m 0 s: the disk '/dev/vdb' answers slowly", "late", "look at the agent's log: journalctl -u blxrep-agent",
             "LIVE"),
    "not-stored": ("its quota is used up: 50.0 GiB of 50.0 GiB", "quota", "raise `quota` in its policy, or remove checkpoints", "LIVE"),
    "lost": ("not connected for 3 h 12 m", "not-connected", "look there: systemctl status blxrep-agent", "OFFLINE"),
}


def utc(at):
    return datetime.datetime.fromtimestamp(at, datetime.timezone.utc)


def stamp(at):
    return utc(at).strftime("%Y%m%d%H%M%S")


def rfc3339(at):
    return utc(at).strftime("%Y-%m-%dT%H:%M:%SZ")


def tested(at, passed=True):
    return {"checkpoint": stamp(at), "time": utc(at + 3600).strftime("%Y-%m-%d %H:%M:%S UTC"), "passed": passed,
            "verdict": "passed: services" if passed else "failed", "level": 2, "filesystem": "good", "boot": "good" if passed else "bad",
            "services": "good" if passed else "not made", "command": "not made", "machine": "KVM", "took_ms": 46000,
            "booted_ms": 41200 if passed else 0, "within_ms": 300000, "expect": "", "run": "",
            "seen": "1 filesystem is clean: /dev/vda1 (ext4); it booted and answered", "reason": "" if passed else "it did not boot: no answer within 5 m",
            "screen": "Debian GNU/Linux 12 web1 ttyS0\n\nweb1 login: "}


def agent(name, protection="protected", seed=0, now=None):
    """A row of `status --json`."""
    now, dice = now or datetime.datetime.now().timestamp(), random.Random(f"{name} {seed}")
    why, reason, way_out, state = STATES[protection]
    has = protection not in ("first-sync", "never-joined")
    live = state != "OFFLINE"
    age = None if not has else {"late": 5400, "lost": 11520, "archived": 86400 * 270}.get(protection, dice.randrange(20, 880))
    last = now - (age or 0)
    syncing = protection == "first-sync"
    known = (lambda value: value if live else None)
    return {
        "id": name, "protected": protection == "protected", "protection": protection, "why": why,
        "judgement": {"reason": reason, "object": f"the agent '{name}'", "since": None, "way_out": way_out},
        "paused_since": rfc3339(now - 50000) if protection == "paused" else None,
        "archived_since": rfc3339(now - 86400 * 270) if protection == "archived" else None,
        "state": state, "peer": f"10.0.{dice.randrange(256)}.{dice.randrange(256)}:51234" if live else "",
        "last_checkpoint": stamp(last) if has else None,
        "consistency": ("none" if protection == "inconsistent" else dice.choice(["filesystem"] * 9 + ["crash"])) if has else None,
        "damaged": protection == "damaged" if has else None, "age": int(age) if has else None,
        "freeze_ns": dice.randrange(4, 90) * 1000000 if has else None, "changed_bytes": dice.randrange(900) * MIB if has else None,
        "stored_bytes": dice.randrange(400) * MIB if has else None, "saved_bytes": dice.randrange(400) * MIB if has else None,
        "dirty_bytes": known(dice.choice([0, 0, dice.randrange(30) * MIB, dice.randrange(3) * GIB])),
        "unreadable_bytes": known(0), "done_bytes": known(120 * GIB if syncing else 0), "total_bytes": known(400 * GIB if syncing else 0),
        "eta_seconds": known(5400 if syncing else 0), "tracked_events": known(dice.randrange(10 ** 7)), "missed_events": known(0),
        "passthrough_commands": known(0), "unseen_sectors": known(0), "reason": "", "note": "", "failure": "",
        "certificate_ends": rfc3339(now + 86400 * 300), "quota_state": 0, "rescan_place": 0, "quota": "", "sync_freq_ms": 900000,
        "away_ms": 0 if live else 11520000, "connected_ms": 86400000 if live else 0, "received_bytes": dice.randrange(900) * GIB,
        "rate_bytes_per_s": dice.choice([0, 0, dice.randrange(40) * MIB]) if live else 0,
        "checkpoints": {"none": 0, "crash": 3, "filesystem": 96}, "failed_checkpoints": 0, "sessions": 1, "rescans": 0,
        "total_received_bytes": dice.randrange(2000) * GIB, "volumes": 1 if has else 0,
        "volume_bytes": dice.choice([20, 40, 80, 200, 500, 2000]) * GIB if has else 0,
        "mounts": [], "proven": tested(now - dice.randrange(3600, 86400 * 9)) if has and dice.random() < 0.8 else None,
        "restores": [], "handover": None, "dispatcher": None, "suspicious": None, "automatic_pin": None, "copy": None,
    }


def copy_of(now, dice):
    """What `status --json` says of an agent's copies, if the dispatcher makes some."""
    locked = dice.random() < 0.9
    return {"place": "https://s3.example.org/copies", "checkpoint": stamp(now - 4000), "age": 4000, "copied": rfc3339(now - 3800), "tried": rfc3339(now - 300),
            "late": dice.random() < 0.1, "waiting": 0, "locked": locked, "locked_until": rfc3339(now + 86400 * 30) if locked else None, "lock_wanted": True,
            "lock_can_be_lifted": dice.random() < 0.1, "not_locked": "" if locked else "the bucket has no object lock", "failure": "", "strange": 0}


def fleet(count, now=None):
    """So many agents, a few of each bad state among them, sorted as `status` sorts: the worst first."""
    bad = [state for state in STATES if state != "protected"]
    names = ["web", "db", "mail", "files", "build", "cache", "ldap", "git"]
    agents = [agent(f"{names[i % len(names)]}{i // len(names) + 1}", bad[-1 - i // 9 % len(bad)] if i % 9 == 4 else "protected", now=now) for i in range(count)]
    order = list(STATES)
    return sorted(agents, key=lambda row: (-order.index(row["protection"]), row["last_checkpoint"] or "", row["id"]))


def checkpoint(at, parent, dice, **more):
    """A row of `show --json`."""
    changed = int(2 ** dice.uniform(16, 30)) if parent else 14 * GIB
    row = {"checkpoint": stamp(at), "time": rfc3339(at), "consistency": "filesystem", "damaged": False,
           "kind": "incremental" if parent else "full", "parent": parent, "freeze_ms": dice.choice([4, 6, 9, 14, 22, 60]), "pinned": False,
           "tested": None, "suspicious": None, "note": "", "missing": [], "volumes": [
               {"name": "vda", "device": "/dev/vda", "size": 40 * GIB, "changed_bytes": changed, "stored_bytes": int(changed * dice.uniform(0.2, 0.9)),
                "saved_bytes": changed // 4, "key": None, "unreadable_bytes": 0, "unreadable": []}]}
    return {**row, **more}


def history(count, now=None, days=730):
    """Checkpoints as retention leaves them: years by the day, weeks by the hour, the last days by the quarter of an hour; with a gap."""
    now, dice, rows, parent = now or datetime.datetime.now().timestamp(), random.Random(7), [], None
    dense = [now - 900 * i for i in range(int(count * 0.6))]
    hourly = [dense[-1] - 3600 * (i + 1) for i in range(int(count * 0.3))]
    step = max(3600, (days * 86400 - (now - hourly[-1])) / max(1, count - len(dense) - len(hourly)))
    rare = [hourly[-1] - step * (i + 1) for i in range(count - len(dense) - len(hourly))]
    for i, at in enumerate(sorted(dense + hourly + rare)):
        if count * 0.82 < i < count * 0.82 + max(3, count // 60):
            continue
        more = {}
        if dice.random() < 0.03:
            more["consistency"] = "crash"
        if i % max(1, count // 11) == 3:
            more["consistency"], more["note"] = "none", "the filesystems could not be frozen"
        if i % max(2, count // 14) == 1:
            more["pinned"] = True
        if i % max(5, count // 40) == 4:
            more["tested"] = tested(at, passed=dice.random() < 0.85)
        if i % max(3, count // 5) == 2:
            more["damaged"] = True
        if i % max(4, count // 4) == 3:
            more["missing"] = ["/dev/vdb"]
        rows.append(checkpoint(at, parent, dice, **more))
        parent = rows[-1]["checkpoint"]
    return rows


def info(row, name):
    """`info --json` of a row of `show --json`."""
    volumes = [{**{key: volume[key] for key in ("name", "device")}, "identity": "virtio-0815", "generation": "1f2e-1", "last_seq": 77, "key": volume["key"],
                "kind": row["kind"], "chain_length": 12, "size": volume["size"], "block_bytes": 4096, "used_bytes": 14 * GIB,
                **{key: volume[key] for key in ("changed_bytes", "stored_bytes", "saved_bytes")}, "disk_bytes": 5 * GIB, "frees_bytes": 3 * MIB,
                "segments": [1, 2, 3], "unreadable_bytes": 0, "unreadable": []} for volume in row["volumes"]]
    return {"agent": name, "server_id": name, "checkpoint": row["checkpoint"], "time": row["time"], "cut": row["time"], "agent_clock": row["time"],
            "committed": row["time"], **{key: row[key] for key in ("consistency", "damaged", "kind", "parent")}, "chain_length": 12,
            **{key: row[key] for key in ("freeze_ms", "pinned", "tested", "suspicious", "note", "missing")}, "pin_reason": "", "volumes": volumes}


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a browser that went to another page
            super().handle_error(request, client_address)


class Answers:
    """Serves `fleet` and one `history` for each of its agents, on a port of its own until close()."""

    def __init__(self, agents, rows, role="operator"):
        self.agents, self.rows, self.role, self.sent_bytes = agents, rows, role, {}
        self.listeners, self.acts = [], []
        self.log = [{"time": rfc3339(time.time() - 3600 * (27 - i)), "event": event, "agent": "web1", "program": "blxrep-dispatcher", "uid": "0", "text": text}
                    for i, (event, text) in enumerate([("agent-connected", "from 10.0.0.7"), ("checkpoint-pinned", "by hand"),
                                                       ("test-failed", "it did not boot: no answer within 5 m")] * 9)]
        self.server = Server(("127.0.0.1", 0), self._handler())
        self.closing = threading.Event()
        self.address = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        self.closing.set()
        self.server.shutdown()
        self.server.server_close()

    def tell(self, name, data):
        """An event to all pages that are open."""
        for listener in self.listeners:
            listener.put((name, data))

    def change(self, agent):
        """An agent is otherwise now: whoever listens is told."""
        self.agents = [agent if row["id"] == agent["id"] else row for row in self.agents]
        self.tell("status", {"agents": [agent], "removed": []})

    def answer(self, path, query):
        if path == "/api/status":
            return self.agents
        if path == "/api/show":
            return self.rows
        if path == "/api/info":
            return info(next(row for row in self.rows if row["checkpoint"] == query["checkpoint"]), query["agent"])
        if path == "/api/log":
            return self.log
        if path == "/api/files":
            folders = {"/": [("etc", "folder"), ("vmlinuz", "link")], "/etc": [("fstab", "file"), ("nginx", "folder")]}
            return [{"path": f"{query['path'].rstrip('/')}/{name}", "type": kind, "mode": "0644", "uid": 0, "gid": 0, "size": 532, "mtime": rfc3339(time.time()),
                     "device": "/dev/vda1", "filesystem": "ext4"} for name, kind in folders.get(query["path"], [])]
        if path == "/api/check":
            return {"version": 1, "mode": "dispatcher", "result": "warn", "checks": [
                {"check": "room", "result": "ok", "object": "/var/lib/blxrep", "way_out": None,
                 "text": "1.2 TiB of 4.0 TiB free; the last day's checkpoints stored 31.0 GiB, so that is room for 39 days without a prune"},
                {"check": "certificates", "result": "warn", "object": "ca.pem", "text": "ends in 80 days",
                 "way_out": "make its successor with `blxrep dispatcher renew-ca`"}]}
        if path == "/api/session":
            return {"role": self.role, "csrf": "0123", "data_dir": "/var/lib/blxrep"}
        return None

    def _handler(answers):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_words):
                pass

            def do_GET(self):
                address = urllib.parse.urlsplit(self.path)
                if address.path == "/events":
                    self.stream()
                    return
                found = answers.answer(address.path, dict(urllib.parse.parse_qsl(address.query)))
                if found is not None:
                    self.send(json.dumps(found).encode(), "application/json")
                    return
                name = address.path.lstrip("/") if address.path not in ("/", "/agent", "/checkpoint") else "index.html"
                path = UI / name
                if path.parent == UI and path.is_file():
                    self.send(path.read_bytes(), TYPES[path.suffix])
                else:
                    self.send(b"not here", "text/plain", 404)

            def do_POST(self):
                address = urllib.parse.urlsplit(self.path)
                answers.acts.append((address.path, dict(urllib.parse.parse_qsl(address.query)), self.headers["X-CSRF-Token"]))
                self.send(json.dumps({"command": "blxrep", "done": True, "output": "It is valid for a day.\n\n  echo blxrep1abc | blxrep agent restore --token-file=-\n"}).encode(), "application/json")

            def send(self, body, kind, status=200):
                body = gzip.compress(body, 6, mtime=0)
                answers.sent_bytes[self.path] = len(body)
                self.send_response(status)
                for name, value in {**HEADERS, "Content-Type": kind, "Content-Encoding": "gzip", "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def stream(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Connection", "close")
                self.end_headers()
                mine = queue.SimpleQueue()
                mine.put(("hello", {}))
                answers.listeners.append(mine)
                while not answers.closing.is_set():
                    try:
                        name, data = mine.get(timeout=0.1)
                    except queue.Empty:
                        continue
                    self.wfile.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())
                    self.wfile.flush()
                self.close_connection = True
        return Handler
