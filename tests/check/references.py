# SPDX-License-Identifier: Apache-2.0
"""
Whatever comments and documents name exists: files and folders, functions and other names of C, options, manual pages, tests.

- A file is found by its path from the root, from lib/ (as includes have it), or from any folder above the place where it is named; a
  bare name is found anywhere. NAME.c and the like are placeholders.
- A function is written name(). It must be called, declared or defined in C that can be meant: a comment of a program or of lib means
  no function of the tests. Python and shell have theirs. "name() in `file`" wants it in this very file.
- Names that begin as ours do (blx_, BLX_, agent_ and so on) are also looked at without parentheses. One that ends in "_" or "_*" is a
  beginning, and one that begins with "_", such as _done(), an ending.
- An option is one of the table in lib/config/options.c, or stands in the code of a script or of a test program, or belongs to another
  program (FOREIGN_OPTIONS). The messages and help texts of the programs name only options of the table, TOLD_OPTIONS and GIVEN_OPTIONS.

CHANGELOG.md is left out: it names things as they were called then. argv: the build folder, from which the tests' names come.
"""

import ast
import functools
import io
import json
import os
import pathlib
import posixpath
import re
import subprocess
import sys
import tokenize

import tree

# Functions of others that no code of ours calls, and why they are named all the same.
FOREIGN_FUNCTIONS = {
    "blk_complete_request", "blk_update_request",  # the kernel's: where its tracepoints are
    "bpf_loop",  # what the tracker does without
    "accept", "assert", "nftw", "syncfs", "sched_yield",  # libc's
    "BIO_s_secmem", "SSL_read",  # OpenSSL's: what we use another function for
}
# Options of other programs that no script of ours gives them.
FOREIGN_OPTIONS = {
    "--build", "--preset", "--install",  # cmake
    "--test-dir", "--output-on-failure",  # ctest
    "--wrap",  # the linker
    "--nice",  # the one that CONTRIBUTING.md adds in its worked example
}
# In "--name" of messages and help texts any option may stand.
PLACEHOLDER = "--name"
# Of commands that a message tells the reader to type next.
TOLD_OPTIONS = {"--now"}  # systemctl
# In the command lines of others' programs that blxrep-test writes: systemctl, btrfs.
GIVEN_OPTIONS = {"--failed", "--plain", "--no-legend", "--no-pager", "--readonly"}
# Files that are made or belong to others.
FOREIGN_FILES = {
    "blxrep-protocol.7",  # made of proto/PROTOCOL.md
    "vmlinux.h",  # what bpf/kernel.h stands in for
    "linux/bpf.h", "blk_types.h",  # the kernel's
}

DOCUMENTS = (".md", ".1", ".5", ".7", ".8")
HASH_COMMENTS = (".sh", ".cmake", ".txt", ".yaml", ".in", ".conf", ".awk")
TOP = r"(?:agent|bpf|cli|cmake|dispatcher|docs|etc|lib|packaging|proto|tests)"
PATH = r"(?:[\w*{},.-]+/)*[\w*{},.-]*"
ENDING = r"(?<=[\w*}])\.(?:c|h|py|sh|md|cmake|def|awk|in)"
FILE = re.compile(rf"(?<![\w./<-])({PATH}{ENDING}|{TOP}/{PATH}\.[a-z0-9]+|blxrep[a-z-]*\.[1-8])(?![\w/*-]|\.\w)")
FOLDER = re.compile(rf"(?<![\w./-])({TOP}(?:/[\w-]+)*)/(?=[`\s),;:.]|$)", re.MULTILINE)
FUNCTION = re.compile(r"(?<![\w.>*$-])([A-Za-z_]\w+)\(\)")
NAME = re.compile(r"(?<![\w/.$-])((?:blx|BLX|blxrep|BLXREP|agent|AGENT|dispatcher|DISPATCHER)_\w+)")
FUNCTION_IN_FILE = re.compile(r"`(\w+)\(\)` in `([\w/.-]+\.[ch])`")
OPTION = re.compile(r"(?<![\w-])(--[a-z][a-z0-9]*(?:-[a-z0-9]+)*)(?![\w-])")
GETOPT = re.compile(r'\{"([a-z-]+)", (?:no|required|optional)_argument')
MANUAL = re.compile(r"\b(blxrep[a-z-]*)\((\d)\)")
TEST = re.compile(r"`((?:unit|e2e|fault|fuzz|check|bench|guest)/[\w./]*\w)`")


def hash_comments(text):
    return re.sub(r"(?m)^(.*?)(?:(?<!\S)(#.*))?$", lambda m: tree.blank(m[1]) + (m[2] or ""), text)


def python_prose(text):
    """Its comments, and the strings that stand for themselves."""
    lines = [""] * (text.count("\n") + 2)
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            lines[token.start[0] - 1] += token.string
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            for number, line in enumerate(node.value.value.split("\n"), node.lineno):
                lines[number - 1] += line
    return "\n".join(lines)


def python_code(text):
    prose = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            prose.update(range(node.lineno, node.end_lineno + 1))
    kept = ["" if number in prose else line for number, line in enumerate(text.split("\n"), 1)]
    return re.sub(r"(?m)(?<!\S)#.*$", "", "\n".join(kept))


def is_script(name):
    return name.endswith(HASH_COMMENTS) or name.startswith(("packaging/", "etc/completions/", ".ci/"))


def prose(name):
    text = tree.read(name)
    if name.endswith((".c", ".h", ".def")):
        return tree.c_comments(text)
    if name.endswith(".md"):
        return text
    if name.endswith(DOCUMENTS):
        return re.sub(r"\\f[BIRP]|\\&", "", text.replace("\\-", "-"))
    if name.endswith(".py"):
        return python_prose(text)
    return hash_comments(text) if is_script(name) else ""


def words(texts):
    return {word for text in texts for word in re.findall(r"[A-Za-z_]\w*", text)}


def functions(texts):
    """What is called, declared, defined, or points to a function."""
    return {word for text in texts for word in re.findall(r"([A-Za-z_]\w*)\)?\(", text)}


def options_of_table():
    table = subprocess.run([os.environ["CONFIG_PARSE"], "table"], capture_output=True, text=True, check=True).stdout
    return {f"--{option['name']}" for option in json.loads(table)} | {"--help", "--version"}


def names_of_tests(build, lists):
    """Those of the build, and those that only other machines have. ctest itself would begin a new log over that of the run we are in."""
    made = [path.read_text() for path in pathlib.Path(build, "tests").rglob("CTestTestfile.cmake")]
    return {name for text in [*made, *lists] for name in re.findall(r"(?m)(?:^ *add_test\(|\bNAME )(?:\[=\[)?([\w./-]+)", text)}


def meant_by(name):
    """Which code a comment or a document can mean."""
    if not name.endswith((".c", ".h", ".def")):
        return ["tests", "scripts"]
    return ["tests"] if name.startswith("tests/") else ["programs"]


class Tree:
    """What exists."""

    def __init__(self, build):
        self.files = [name for name in tree.names() if not name.startswith("tests/fuzz/corpus/")]
        self.folders = {str(parent) for name in tree.names() for parent in pathlib.PurePath(name).parents}
        c_files = [name for name in self.files if name.endswith((".c", ".h", ".def"))]
        self.code = code = {name: tree.c_code(tree.read(name), keep_strings=True) for name in c_files}
        programs = {name: text for name, text in code.items() if not name.startswith("tests/")}
        scripts = [python_code(tree.read(n)) for n in self.files if n.endswith(".py")]
        scripts += [re.sub(r"(?m)(?<!\S)#.*$", "", tree.read(n)) for n in self.files if is_script(n)]
        self.words = {"programs": words(programs.values()), "tests": words(code.values()), "scripts": words(scripts)}
        self.functions = {"programs": functions(programs.values()), "tests": functions(code.values()), "scripts": functions(scripts)}
        self.table = options_of_table()
        # What tests of the command line give it is often wrong on purpose.
        said = [text for name, text in code.items() if not name.startswith(("tests/unit/config/", "tests/unit/cli/", "tests/fuzz/"))]
        self.options = self.table | {option for text in [*scripts, *said] for option in OPTION.findall(text)}
        self.options |= {f"--{name}" for text in code.values() for name in GETOPT.findall(text)}
        self.tests = names_of_tests(build, [tree.read(name) for name in self.files if name.endswith("CMakeLists.txt")])

    @functools.cache
    def has_file(self, wanted, folder):
        if wanted.startswith("../"):
            return posixpath.normpath(folder / wanted) in self.files
        brace = re.search(r"\{(.*?)\}", wanted)
        if brace:
            return all(self.has_file(wanted.replace(brace[0], part, 1), folder) for part in brace[1].split(","))
        pattern = re.compile(re.escape(wanted).replace(r"\*", "[^/]*"))
        places = ["", "lib/", *(f"{parent}/" for parent in [folder, *folder.parents])]
        if "/" in wanted:
            return any(pattern.fullmatch(name[len(place):]) for name in self.files for place in places if name.startswith(place))
        if wanted.startswith("_"):
            return any(name.endswith(wanted) for name in self.files)
        return any(pattern.fullmatch(name.rsplit("/", 1)[-1]) for name in self.files)

    def has_function(self, wanted, named_in):
        known = [self.functions[kind] for kind in meant_by(named_in)]
        if wanted.startswith("_"):
            return any(name.endswith(wanted) for functions_ in known for name in functions_)
        return any(wanted in functions_ for functions_ in known)

    def has_name(self, wanted, named_in):
        known = [self.words[kind] for kind in {*meant_by(named_in), "scripts"}]
        if wanted.endswith("_"):
            return any(name.startswith(wanted) for words_ in known for name in words_)
        return any(wanted in words_ for words_ in known)


def is_placeholder(path):
    stem = path.rsplit("/", 1)[-1].split(".")[0]
    return re.fullmatch(r"[A-Z]+|(?:[a-z]+-)?[A-Z]+", stem) is not None and not path.endswith(".md")


class Prose:
    """One file's comments, or one document, and what is wrong in it."""

    def __init__(self, tree_, name):
        self.tree, self.name, self.text = tree_, name, prose(name)
        self.folder = pathlib.PurePath(name).parent

    def found(self, pattern):
        for match in pattern.finditer(self.text):
            yield match, f"{self.name}:{tree.line_of(self.text, match.start())}"

    def files(self):
        for match, place in self.found(FILE):
            path = match[1]
            if path not in FOREIGN_FILES and not is_placeholder(path) and not self.tree.has_file(path, self.folder):
                yield f"{place}: there is no file {path}"
        for match, place in self.found(FOLDER):
            if match[1] not in self.tree.folders:
                yield f"{place}: there is no folder {match[1]}/"

    def functions(self):
        for match, place in self.found(FUNCTION):
            if match[1] not in FOREIGN_FUNCTIONS and not self.tree.has_function(match[1], self.name):
                yield f"{place}: there is no function {match[1]}()"
        for match, place in self.found(FUNCTION_IN_FILE):
            holders = [name for name in self.tree.code if name == match[2] or name.endswith(f"/{match[2]}")]
            if holders and match[1] not in functions(self.tree.code[name] for name in holders):
                yield f"{place}: there is no {match[1]}() in {match[2]}"

    def names(self):
        for match, place in self.found(NAME):
            if not self.tree.has_name(match[1], self.name):
                yield f"{place}: there is no {match[1]}"

    def options(self):
        for match, place in self.found(OPTION):
            if match[1] not in self.tree.options | FOREIGN_OPTIONS:
                yield f"{place}: there is no option {match[1]}"
        if self.name.endswith((".c", ".h")) and not self.name.startswith("tests/"):
            text = tree.c_strings(tree.read(self.name))
            for match in OPTION.finditer(text):
                if match[1] not in self.tree.table | {PLACEHOLDER} | TOLD_OPTIONS | GIVEN_OPTIONS:
                    yield f"{self.name}:{tree.line_of(text, match.start())}: a message names {match[1]}, which is no option"

    def others(self):
        pages = {name.rsplit("/", 1)[-1] for name in self.tree.files} | FOREIGN_FILES
        for match, place in self.found(MANUAL):
            if f"{match[1]}.{match[2]}" not in pages:
                yield f"{place}: there is no manual page {match[0]}"
        for match, place in self.found(TEST):
            if match[1] not in self.tree.tests:
                yield f"{place}: there is no test {match[1]}"

    def wrong(self):
        yield from self.files()
        yield from self.functions()
        yield from self.names()
        yield from self.options()
        yield from self.others()


def main():
    there = Tree(sys.argv[1])
    wrong = dict.fromkeys(line for name in there.files if name != "CHANGELOG.md" and not name.endswith(".png") for line in Prose(there, name).wrong())
    print("\n".join([*wrong, f"{len(there.files)} files, {len(wrong)} wrong"]))
    return 1 if wrong or not there.files else 0


if __name__ == "__main__":
    sys.exit(main())
