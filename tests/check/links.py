# SPDX-License-Identifier: Apache-2.0
"""Relative links in documents lead to a file or folder of the tree and to a heading in it; no document names a path of a build machine."""

import pathlib
import posixpath
import re
import sys
import urllib.parse

import tree

FENCE = re.compile(r"(?ms)^( *)(```|~~~).*?^ *\2[^\n]*$")
CODE = re.compile(r"(`+)(?!`).*?(?<!`)\1(?!`)")
LINK = re.compile(r"""\]\(<?([^)\s>]+)>?(?:\s+["'][^)]*)?\)|^ {0,3}\[[^\]]+\]:\s+(\S+)|<(?:a|img|source)\b[^>]*?\b(?:href|src|srcset)="([^"]+)\"""",
                  re.MULTILINE)
HEADING = re.compile(r"(?m)^#{1,6} +(.*?)(?: +#+)? *$")
ANCHOR = re.compile(r"""<\w+\b[^>]*?\b(?:id|name)="([^"]+)\"""")
# Where people's and builders' folders lie. /home itself can be a disk's mount point, and /tmp somebody's choice.
MACHINE = re.compile(r"(?<![\w.~])/(?:home|Users)/[\w.-]+/|(?<![\w.~])/(?:root|work|workspace|builds?)/[\w.-]")


def slug(heading):
    """A heading's anchor, as the hosts of repositories make it."""
    heading = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(text):
    found = set(ANCHOR.findall(text))
    times = {}
    for heading in HEADING.findall(FENCE.sub("", text)):
        name = slug(heading)
        times[name] = times.get(name, -1) + 1
        found.add(f"{name}-{times[name]}" if times[name] else name)
    return found


class Documents:
    def __init__(self):
        self.names = [name for name in tree.names() if name.endswith(".md")]
        self.text = {name: tree.read(name) for name in self.names}
        self.anchors = {name: anchors(text) for name, text in self.text.items()}
        files = tree.names()
        self.there = set(files) | {str(parent) for name in files for parent in pathlib.PurePath(name).parents}

    def links(self, name):
        text = FENCE.sub(lambda m: tree.blank(m[0]), self.text[name])
        text = CODE.sub(lambda m: tree.blank(m[0]), text)
        for match in LINK.finditer(text):
            yield match[1] or match[2] or match[3], f"{name}:{tree.line_of(text, match.start())}"

    def wrong_link(self, name, link):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z][a-z0-9+.-]*:", path):
            return None
        if path.startswith("/"):
            return "is absolute: write it relative to the document"
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), urllib.parse.unquote(path))) if path else name
        if target not in self.there:
            return "leads nowhere"
        if anchor and target in self.anchors and urllib.parse.unquote(anchor) not in self.anchors[target]:
            return f"leads to {target}, which has no heading for #{anchor}"
        return None

    def wrong(self):
        for name in self.names:
            for link, place in self.links(name):
                reason = self.wrong_link(name, link)
                if reason:
                    yield f"{place}: the link {link} {reason}"
            for match in MACHINE.finditer(self.text[name]):
                yield f"{name}:{tree.line_of(self.text[name], match.start())}: {match[0]}... is a path of somebody's machine"


def main():
    documents = Documents()
    wrong = list(documents.wrong())
    count = sum(1 for name in documents.names for _ in documents.links(name))
    print("\n".join([*wrong, f"{len(documents.names)} documents, {count} links, {len(wrong)} wrong"]))
    return 1 if wrong or not documents.names else 0


if __name__ == "__main__":
    sys.exit(main())
