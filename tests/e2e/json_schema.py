# SPDX-License-Identifier: Apache-2.0
"""Holds a command's --json against the tables of docs/json.md."""

import json
import pathlib
import re

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs/json.md"
ROW = re.compile(r"^\| `([^`]+)` \| ([a-z, ]+) \|")
TYPES = {str: "string", bool: "boolean", int: "number", float: "number", list: "array", dict: "object", type(None): "null"}
# Objects whose members are names of other things, such as rules of retention.
OPEN = re.compile(r"^(retention|quota|restore-test|suspicious)\.value\.|\.pending\.")
# Members that are records of a table of their own.
RECORDS = {"tested": "dispatcher test", "proven": "dispatcher test", "suspicious": "the mark of a suspicious checkpoint"}


def read():
    """Section -> member's path -> (types, whether it may be absent)."""
    sections, section = {}, None
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            section = sections.setdefault(line[3:], {})
        elif found := ROW.match(line):
            kinds = found[2].split(", ")
            section[found[1]] = (set(kinds[0].split(" or ")), "sometimes" in kinds)
    return {name: rows for name, rows in sections.items() if rows}


SECTIONS = read()


def find_section(words):
    """Of a command line. None: the command has no table."""
    plain = [word for word in words if not word.startswith("-")]
    side = plain.pop(0) if plain and plain[0] in ("agent", "dispatcher") else "dispatcher"
    for count in (2, 1):
        name = " ".join(plain[:count])
        name += " --token" if name == "restore" and "--token" in words else ""
        name += " --compare" if name == "info" and any(word.startswith("--compare") for word in words) else ""
        for candidate in (f"{side} {name}", name):
            if candidate in SECTIONS:
                return candidate
    return None


def list_faults(rows, value, path=""):
    if isinstance(value, list):
        return [fault for item in value for fault in list_faults(rows, item, path + "[]")]
    if not isinstance(value, dict):
        return []
    if "copy_of" in value and "copy_of" not in rows:
        return list_faults(SECTIONS["a copied agent in dispatcher status"], value)
    inside = path + "." if path else ""
    faults = []
    for key, item in value.items():
        where = inside + key
        if OPEN.search(where):
            continue
        kind = TYPES[type(item)]
        if where not in rows:
            faults.append(f"'{where}' ({kind}) is not in the table")
        elif kind not in rows[where][0]:
            faults.append(f"'{where}' is of the kind {kind}, and the table has {' or '.join(sorted(rows[where][0]))}")
        of_record = key in RECORDS and isinstance(item, dict) and "value" not in item
        faults += list_faults(SECTIONS[RECORDS[key]], item) if of_record else list_faults(rows, item, where)
    absent = [where for where, (_, may_lack) in rows.items()
              if where.startswith(inside) and re.fullmatch(r"[^.\[]+", where[len(inside):]) and where[len(inside):] not in value and not may_lack]
    return faults + [f"'{where}' is missing" for where in absent]


def check(words, text):
    """Of a command that printed `text`. A list of what is wrong."""
    section, value = find_section([str(word) for word in words]), json.loads(text)
    if section is None:
        return ["docs/json.md has no table for it"]
    if section == "dispatcher status" and isinstance(value, dict):
        section = "agent status"  # which `status` asks was said by the configuration
    return sorted(set(list_faults(SECTIONS[section], value)))
