# SPDX-License-Identifier: Apache-2.0
"""blxrep-protocol(7) says what PROTOCOL.md says, word for word, and groff has nothing to complain of. argv: awk."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

PROTO = pathlib.Path(os.environ["BLXREP_SOURCE"]) / "proto"
ESCAPES = {"\\-": "-", "\\e": "\\", "\\(aq": "'", "\\(ti": "~", "\\(ha": "^", "\\&": "", "\\fB": "", "\\fI": "", "\\fR": ""}


def words_of_markdown(text):
    """Upper case, as the page's headings are; the page has its title elsewhere, and tables without their rules."""
    text = re.sub(r"(?m)^(# .*|\|[-|]+)$", "", text)
    text = re.sub(r"(?m)^(#+|-) ", "", text)
    return re.sub(r"[*`]", "", text.replace("|", " ")).upper().split()


def words_of_page(page):
    body = page.split(".SH DESCRIPTION\n")[1].split(".SH SEE ALSO\n")[0]
    body = re.sub(r"(?m)^\.S[HS] \"(.*)\"$", r"\1", body)
    body = re.sub(r"(?ms)^\.TS\n.*?\.$", "", body)
    body = re.sub(r"(?m)^\.[A-Z].*$|T\{|^T\}|\|", "", body)
    for escape, plain in ESCAPES.items():
        body = body.replace(escape, plain)
    return body.upper().split()


def main():
    page = subprocess.run([sys.argv[1], "-f", PROTO / "man.awk", PROTO / "PROTOCOL.md"], capture_output=True, text=True, check=True).stdout
    expected, found = words_of_markdown((PROTO / "PROTOCOL.md").read_text()), words_of_page(page)
    for number, (one, other) in enumerate(zip(expected + [""], found + [""], strict=False)):
        if one != other:
            print(f"word {number}: PROTOCOL.md has {expected[number - 8:number + 8]}, the page {found[number - 8:number + 8]}")
            return 1
    with tempfile.NamedTemporaryFile("w", suffix=".7") as file:
        file.write(page)
        file.flush()
        said = subprocess.run(["man", "--warnings=w", "-l", "-P", "cat", file.name], capture_output=True, text=True, check=True).stderr
    print(f"{len(found)} words; groff says {said!r}")
    return 1 if said or len(found) < 1000 else 0


if __name__ == "__main__":
    sys.exit(main())
