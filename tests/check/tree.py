# SPDX-License-Identifier: Apache-2.0
"""The source tree as the checks see it: its files, and C text with code and comments taken apart."""

import os
import pathlib
import re
import subprocess

SOURCE = pathlib.Path(os.environ["BLXREP_SOURCE"])

# A comment, a string or a character, whichever begins first; an apostrophe between digits does not occur in C17.
TOKEN = re.compile(r"""/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL)
INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)


def names():
    """Every file that git tracks or would track, relative to the tree; in an unpacked archive, which has no .git, every file outside of build folders."""
    if (SOURCE / ".git").exists():
        command = ["git", "-c", f"safe.directory={SOURCE}", "-C", SOURCE, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    else:
        listed = [str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*") if path.is_file()]
        listed = [name for name in listed if not name.startswith("build")]
    return sorted({name for name in listed if name and (SOURCE / name).is_file()})


def read(name):
    return (SOURCE / name).read_text(encoding="utf-8")


def blank(text):
    """Spaces in place of all but the line breaks, so that places in the text stay where they are."""
    return re.sub(r"[^\n]", " ", text)


def is_comment(token):
    return token.startswith(("/*", "//"))


def c_code(text, keep_strings=False):
    """The text with blanks for its comments, and for its strings unless they are kept."""
    def replaced(match):
        kept = keep_strings and not is_comment(match[0])
        return match[0] if kept else blank(match[0])
    return TOKEN.sub(replaced, text)


def only(text, wanted):
    """The text with blanks for all but the tokens that are wanted."""
    parts, end = [], 0
    for match in TOKEN.finditer(text):
        parts.append(blank(text[end:match.start()]))
        parts.append(match[0] if wanted(match[0]) else blank(match[0]))
        end = match.end()
    return "".join([*parts, blank(text[end:])])


def c_comments(text):
    return only(text, is_comment)


def c_strings(text):
    return only(text, lambda token: token.startswith('"'))


def line_of(text, place):
    return text.count("\n", 0, place) + 1
