# SPDX-License-Identifier: Apache-2.0
"""The command lines of README.md, docs/ and the manual pages: what the newcomer types is taken from there, and nowhere else."""

import html
import pathlib
import re

SOURCE = pathlib.Path(__file__).resolve().parent.parent.parent


def lines_of_page(text):
    """What stands between .EX and .EE, as a terminal shows it."""
    for block in re.findall(r"(?ms)^\.EX\n(.*?)^\.EE", text):
        for line in block.splitlines():
            yield re.sub(r"\\\(aq", "'", re.sub(r"\\f[BIRP]", "", line)).replace(r"\-", "-").replace(r"\e", "\\")


def lines_of_markdown(text):
    """Indented by four or eight blanks, as code is."""
    for line in text.splitlines():
        found = re.match(r"(?:    |        )(\S.*)", line)
        if found:
            yield html.unescape(found.group(1))


def command(document, *parts):
    """The one command line of the document that begins with parts[0] and has all the others."""
    text = (SOURCE / document).read_text(encoding="utf-8")
    lines = lines_of_markdown(text) if document.endswith(".md") else lines_of_page(text)
    found = sorted({line.strip() for line in lines if line.lstrip().startswith(parts[0]) and all(part in line for part in parts)})
    if len(found) != 1:
        raise AssertionError(f"{document} has {len(found)} command lines with {' ... '.join(parts)}: {found}")
    return found[0]
