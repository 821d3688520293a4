# SPDX-License-Identifier: Apache-2.0
"""
clang-tidy, with the settings of .clang-tidy, over the C files that changed: since the merge base with origin/main, or since HEAD~1 if
that is HEAD itself, or since the commit in BLXREP_TIDY. What is not committed counts. A header stands for the .c file of its name.

Seconds a file are much for a test of every day, so it looks at the MOST files with the most changed lines, and says how many it left out.
BLXREP_TIDY=all takes all files of the tree, and many minutes. argv: clang-tidy, the build folder.
"""

import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys

import tree

MOST = 8


def git(*words):
    command = ["git", "-c", f"safe.directory={tree.SOURCE}", "-C", tree.SOURCE, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else None


def base():
    """The commit to compare with; None in an unpacked archive, or a clone without history: there every file counts as changed."""
    named = os.environ.get("BLXREP_TIDY")
    if named:
        if git("rev-parse", "--verify", "--quiet", f"{named}^{{commit}}") is None:
            sys.exit(f"BLXREP_TIDY: there is no commit '{named}'")
        return named
    merged = git("merge-base", "HEAD", "origin/main")
    return merged if merged and merged != git("rev-parse", "HEAD") else git("rev-parse", "--verify", "--quiet", "HEAD~1")


def changed():
    """{file: changed lines}"""
    start = base()
    if start is None:
        return {name: 0 for name in tree.names()}
    counts = dict.fromkeys((git("ls-files", "--others", "--exclude-standard") or "").split("\n"), 0)
    for line in (git("diff", "--no-renames", "--numstat", start) or "").split("\n"):
        match = re.fullmatch(r"(\d+)\t(\d+)\t(.*)", line)
        if match:
            counts[match[3]] = int(match[1]) + int(match[2])
    return counts


def compiled(build):
    """The C files of the tree that the build compiles."""
    commands = json.loads((build / "compile_commands.json").read_text())
    paths = [pathlib.Path(command["directory"], command["file"]).resolve() for command in commands]
    root = tree.SOURCE.resolve()
    return {str(path.relative_to(root)) for path in paths if path.is_relative_to(root) and not path.is_relative_to(build.resolve())}


def chosen(known):
    if os.environ.get("BLXREP_TIDY") == "all":
        return sorted(known), 0
    counts = {}
    for name, lines in changed().items():
        source = re.sub(r"(?:_private)?\.h$", ".c", name)
        if source in known:
            counts[source] = counts.get(source, 0) + lines
    names = sorted(counts, key=lambda name: (-counts[name], name))
    return names[:MOST], len(names[MOST:])


def look(program, build, name):
    done = subprocess.run([program, "-p", build, "--quiet", "--warnings-as-errors=*", name], cwd=tree.SOURCE,
                          capture_output=True, text=True, check=False)
    # On stderr it counts what it does not show, also when all is well.
    return done.stdout + (done.stderr if done.returncode != 0 and not done.stdout else "") if done.returncode != 0 else ""


def main():
    program, build = sys.argv[1], pathlib.Path(sys.argv[2])
    names, left_out = chosen(compiled(build))
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as workers:
        said = [text for text in workers.map(lambda name: look(program, build, name), names) if text]
    print("\n".join([*said, f"{len(names)} files looked at, {left_out} left out, {len(said)} wrong"]))
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())
