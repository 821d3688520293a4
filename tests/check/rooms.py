# SPDX-License-Identifier: Apache-2.0
"""
The walls: which room may include whose headers. The table below is the drawing of the rooms, read from the bottom of the house up.

A row is a room, which is a folder (a folder below it that has a row is a room of its own) or a single file, and after the colon whose
headers it may include besides its own: rooms, single headers, or "lib/*" for lib's rooms all together. A row may name only rows above
it, so there is no way round: no two rooms can need each other, not over any number of others. Programs never include each other, except for boot's engine.

A header whose name ends in _private.h is for its own room alone: all of lib/store for one of lib/store, however deep it lies; lib/X for
one of lib/X; in the programs its folder and what lies below that. A header with another name is for everybody above, so it includes none
of them. Tests may include every header.
"""

import posixpath
import sys

import tree

TABLE = """
proto:
bpf:

lib/base:
lib/crypt:             lib/base
lib/wire:              lib/base lib/crypt proto
lib/tls:               lib/base lib/crypt lib/wire
lib/store:             lib/base lib/crypt lib/wire
lib/store/segment:     lib/base lib/crypt lib/wire lib/store
lib/store/checkpoint:  lib/base lib/crypt lib/wire lib/store lib/store/segment
lib/store/view:        lib/base lib/crypt lib/wire lib/store lib/store/segment lib/store/checkpoint
lib/store/signal:      lib/base lib/crypt lib/wire lib/store lib/store/segment lib/store/checkpoint lib/store/view
lib/store/receive:     lib/base lib/crypt lib/wire lib/store lib/store/segment lib/store/checkpoint lib/store/view
lib/store/restore:     lib/base lib/crypt lib/wire lib/store lib/store/segment lib/store/checkpoint lib/store/view
lib/store/prune:       lib/base lib/crypt lib/wire lib/store lib/store/segment lib/store/checkpoint lib/store/view
                       lib/store/signal
lib/store/verify:      lib/base lib/crypt lib/wire lib/store lib/store/segment lib/store/checkpoint lib/store/view
                       lib/store/receive lib/store/restore lib/store/prune
lib/store/remove:      lib/base lib/crypt lib/wire lib/store lib/store/segment lib/store/checkpoint lib/store/view
                       lib/store/signal lib/store/receive lib/store/prune
lib/store/copy:        lib/base lib/crypt lib/wire lib/store lib/store/segment lib/store/checkpoint lib/store/view
                       lib/store/receive lib/store/prune
lib/config:            lib/base lib/crypt lib/wire lib/tls lib/store/prune/retention.h lib/store/quota.h lib/store/restore/image_format.h
                       lib/store/signal/sensitivity.h

agent/disk:            lib/*
agent/track:           lib/* bpf agent/disk
agent/freeze:          lib/* agent/disk
agent/send:            lib/* agent/disk agent/track
agent/reboot:          lib/* agent/disk agent/track
agent:                 lib/* agent/disk agent/track agent/freeze agent/send
agent/session:         lib/* agent/disk agent/track agent/freeze agent/send agent
agent/main.c:          lib/* agent/session agent
agent/reboot/main.c:   lib/* agent/disk agent/reboot agent

dispatcher:            lib/*
dispatcher/session:    lib/* dispatcher
dispatcher/server.c:   lib/* dispatcher dispatcher/session

cli:                   lib/*

mount:                 lib/*

boot:                  lib/*

files:                 lib/* boot

object:                lib/*

nbd:                   lib/*

proof:                 lib/* boot files

page:                  lib/*
"""
# Headers that the build makes.
MADE = {"base/version.h", "tracker_bpf.skel.h"}


def rows():
    """{room: what it may include}, in the table's order."""
    table = {}
    for line in TABLE.strip().split("\n"):
        room, colon, uses = line.partition(":")
        if colon:
            table[room] = uses.split()
        elif line.strip():
            table[list(table)[-1]] += line.split()
    return table


def backward_rows(table):
    """The rows that name one that stands below them."""
    order = list(table)
    for room, uses in table.items():
        for used in uses:
            above = order[:order.index(room)]
            named = used[:-2] if used.endswith("/*") else used
            if not any(row == named or row.startswith(f"{named}/") or named.startswith(f"{row}/") for row in above):
                yield f"the table: {room} names {used}, which is no row above it"


def room_of(name, table):
    """The longest row that the file lies in; None outside of the rooms."""
    return max((row for row in table if name == row or name.startswith(f"{row}/")), key=len, default=None)


def may_use(room, header, table):
    target = room_of(header, table)
    if target == room:
        return True
    for used in table[room]:
        if used in (target, header) or (used.endswith("/*") and target.startswith(used[:-1])):
            return True
    return False


def owner(header):
    """The folder whose files may include a private header."""
    parts = header.split("/")
    return "/".join(parts[:2]) if parts[0] == "lib" else posixpath.dirname(header)


def arrows(files):
    """(file, line, header), and an error for an include that leads nowhere."""
    for name in sorted(files):
        text = tree.read(name)
        for match in tree.INCLUDE.finditer(text):
            places = [f"lib/{match[1]}", match[1], posixpath.normpath(posixpath.join(posixpath.dirname(name), match[1]))]
            found = next((place for place in places if place in files), None)
            if found or match[1] not in MADE:
                yield name, tree.line_of(text, match.start()), found or match[1]


def wrong_arrow(name, header, files, table):
    if header not in files:
        return f"there is no {header}"
    if header.endswith("_private.h") and not name.startswith(f"{owner(header)}/"):
        return f"{header} is private to {owner(header)}/"
    if header.endswith("_private.h") and name.endswith(".h") and not name.endswith("_private.h"):
        return f"a header that others include may not include the private {header}"
    room = room_of(name, table)
    if not may_use(room, header, table):
        return f"{room} may not use {header}: the table in tests/check/rooms.py says what it may"
    return None


def main():
    table = rows()
    files = [name for name in tree.names() if name.endswith((".c", ".h", ".def")) and not name.startswith("tests/")]
    wrong = list(backward_rows(table))
    wrong += [f"{name}: it lies in no room of the table" for name in files if room_of(name, table) is None]
    files = {name for name in files if room_of(name, table)}
    count = 0
    for name, line, header in arrows(files) if not wrong else []:
        count += 1
        reason = wrong_arrow(name, header, files, table)
        if reason:
            wrong.append(f"{name}:{line}: {reason}")
    print("\n".join([*wrong, f"{len(files)} files, {count} includes, {len(wrong)} wrong"]))
    return 1 if wrong or count == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
