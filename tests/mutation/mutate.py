#!/usr/bin/python3
"""Mutation tests of the policy and the model: is every check in vmm/seal and vmm/model tested?

  mutate.py [--jobs N] [--sample N [--seed N]] [--build DIR] [--list] [--only TEXT]

Each condition, each operand of && and ||, each bool that is returned or kept is turned over, made
always true and made never true; each statement that does something is left out. One of these at a
time, and the unit tests must fail. All are in one program, built once from a copy of the tree;
an environment variable says which one is alive (mutant.h).

A mutant that no test finds is a survivor. Those that change nothing that can be seen are in
survivors.json, each with a reason: file, function, mode and text as this prints them, and "times" if
as many mutants as that are alike in all of these. Exit code 0: every other one was found. 1: a new
survivor, or one of the list that was found or is no more. 2: usage. 3: something is missing (named).
"""
import argparse
import collections
import concurrent.futures
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
FOLDERS = ("vmm/seal", "vmm/model")
LIST = HERE / "survivors.json"
MODES = ("turned over", "always", "never")
# Least seconds that the tests get with a mutant, and most times those that they take without one:
# longer is an endless loop, and found.
LIMIT = 60
TIMES = 10
# Tests that take longer, in seconds, come after all others: most mutants need none of them.
SLOW = 0.1

try:
    from clang import cindex
except ImportError:
    sys.stderr.write("mutate.py: python3-clang is missing (./bootstrap test installs it)\n")
    sys.exit(3)

K = cindex.CursorKind
EXPRESSIONS = (K.CALL_EXPR, K.BINARY_OPERATOR, K.UNARY_OPERATOR, K.UNEXPOSED_EXPR, K.DECL_REF_EXPR,
               K.MEMBER_REF_EXPR, K.PAREN_EXPR, K.CXX_BOOL_LITERAL_EXPR, K.CONDITIONAL_OPERATOR,
               K.CXX_STATIC_CAST_EXPR, K.CXX_FUNCTIONAL_CAST_EXPR, K.ARRAY_SUBSCRIPT_EXPR)
EFFECTS = (K.CALL_EXPR, K.BINARY_OPERATOR, K.COMPOUND_ASSIGNMENT_OPERATOR, K.UNARY_OPERATOR, K.UNEXPOSED_EXPR)
FUNCTIONS = (K.CXX_METHOD, K.FUNCTION_DECL, K.CONSTRUCTOR, K.DESTRUCTOR, K.FUNCTION_TEMPLATE)


class File:
    """The places of one source file that can be wrong."""

    def __init__(self, name, arguments):
        self.name = name
        self.source = (ROOT / name).read_bytes()
        self.points = {}  # (start, end) -> (function, modes)
        self.variables = {}  # end of a condition that is a declaration -> (name, function)
        self.statements = {}  # start -> (end, function)
        unit = cindex.Index.create().parse(str(ROOT / name), args=arguments)
        errors = [str(d) for d in unit.diagnostics if d.severity >= cindex.Diagnostic.Error]
        if errors:
            sys.stderr.write(f"mutate.py: {name} can't be read: {errors[0]}\n")
            sys.exit(3)
        for node in unit.cursor.get_children():
            if node.location.file and node.location.file.name == str(ROOT / name):
                self.declarations(node)

    def text(self, start, end):
        return " ".join(self.source[start:end].decode().split())

    def declarations(self, node):
        if node.kind in FUNCTIONS:
            if not self.is_consteval(node):
                for child in node.get_children():
                    if child.kind == K.COMPOUND_STMT:
                        self.statement(child, self.name_of(node))
            return
        for child in node.get_children():
            self.declarations(child)

    @staticmethod
    def name_of(node):
        names = []
        while node is not None and node.kind != K.TRANSLATION_UNIT:
            if node.spelling and node.kind != K.NAMESPACE:
                names.append(node.spelling)
            node = node.semantic_parent
        return "::".join(reversed(names))

    def is_consteval(self, node):
        return b"consteval" in self.source[node.extent.start.offset:node.extent.end.offset].split(b"{", 1)[0]

    def span(self, node):
        return node.extent.start.offset, node.extent.end.offset

    def check(self, node, function, modes=MODES):
        start, end = self.span(node)
        if end <= start or self.source[start:end] in (b"true", b"false"):
            return
        if (start, end) not in self.points:
            self.points[start, end] = (function, modes)

    def closing(self, start):
        """The offset behind the parenthesis that closes the one at or behind `start`."""
        at = self.source.index(b"(", start)
        depth = 0
        while True:
            byte = self.source[at:at + 1]
            if byte in (b'"', b"'"):
                at += 1
                while self.source[at:at + 1] != byte:
                    at += 2 if self.source[at:at + 1] == b"\\" else 1
            depth += (byte == b"(") - (byte == b")")
            at += 1
            if depth == 0:
                return at

    def condition(self, node, function):
        """Of an if or while: an expression, or a variable that is declared there."""
        start = node.extent.start.offset
        end = self.closing(start)
        inside = [c for c in node.get_children() if self.span(c)[1] < end]
        if not inside:
            return
        last = inside[-1]
        # What a declaration is converted to is a node of its own, at the variable's name.
        for node in inside[:-1]:
            if node.kind == K.VAR_DECL and self.span(node)[0] <= self.span(last)[0] < self.span(node)[1]:
                last = node
        if last.kind in (K.DECL_STMT, K.VAR_DECL):
            variable = last if last.kind == K.VAR_DECL else next(last.get_children())
            self.variables[end - 1] = (variable.spelling, function)
        else:
            self.check(last, function)

    def operator(self, node):
        children = list(node.get_children())
        if len(children) != 2:
            return ""
        between = self.source[self.span(children[0])[1]:self.span(children[1])[0]]
        return between.decode().replace("(", "").replace(")", "").strip()

    def statement(self, node, function):
        if b"assert(" == self.source[node.extent.start.offset:node.extent.start.offset + 7]:
            return
        kind = node.kind
        children = list(node.get_children())
        if kind in (K.IF_STMT, K.WHILE_STMT):
            if not re.match(rb"if\s+constexpr\b", self.source[node.extent.start.offset:]):
                self.condition(node, function)
        elif kind == K.DO_STMT:
            self.check(children[-1], function)
        elif kind == K.FOR_STMT:
            end = self.closing(node.extent.start.offset)
            for child in children:
                if child.kind in EXPRESSIONS and child.type.kind == cindex.TypeKind.BOOL and self.span(child)[1] < end:
                    self.check(child, function, ("turned over", "never"))
        elif kind == K.CONDITIONAL_OPERATOR:
            self.check(children[0], function)
        elif kind == K.BINARY_OPERATOR:
            operator = self.operator(node)
            if operator in ("&&", "||"):
                for child in children:
                    self.check(child, function, ("turned over", "always" if operator == "&&" else "never"))
            elif operator == "=" and children[1].type.kind == cindex.TypeKind.BOOL:
                self.check(children[1], function)
        elif kind == K.RETURN_STMT:
            if children and children[0].type.get_canonical().kind == cindex.TypeKind.BOOL:
                self.check(children[0], function)
        elif kind == K.VAR_DECL:
            is_bool = node.type.get_canonical().kind == cindex.TypeKind.BOOL
            if is_bool and children and children[-1].kind in EXPRESSIONS:
                self.check(children[-1], function)
        if kind in (K.COMPOUND_STMT, K.CASE_STMT, K.DEFAULT_STMT):
            for child in children:
                start, end = self.span(child)
                asserts = self.source[start:start + 7] == b"assert("
                if child.kind in EFFECTS and self.source[end:].lstrip()[:1] == b";" and not asserts:
                    if not self.text(start, end).startswith("static_cast<void>"):
                        self.statements[start] = (end, function)
        for child in children:
            if child.kind != K.STATIC_ASSERT:
                self.statement(child, function)

    def mutants(self, first):
        """(number, description) of each, and the text with all of them in it."""
        found, inserts = [], []
        number = first

        def describe(mode, start, end, function):
            line = self.source.count(b"\n", 0, start) + 1
            return {"file": self.name, "line": line, "function": function, "mode": mode,
                    "text": self.text(start, end)}

        for (start, end), (function, modes) in sorted(self.points.items()):
            inserts.append((start, 1, -end, f"::sealvisor::mutation::check({number}, static_cast<bool>("))
            inserts.append((end, 0, -start, "))"))
            for i, mode in enumerate(MODES):
                if mode in modes:
                    found.append((number + i, describe(mode, start, end, function)))
            number += 3
        for end, (name, function) in sorted(self.variables.items()):
            inserts.append((end, 0, 1, f"; ::sealvisor::mutation::check({number}, static_cast<bool>({name}))"))
            start = self.source.rindex(b"(", 0, self.source.index(b"=", self.source.rindex(b"\n", 0, end)) + 1)
            for i, mode in enumerate(MODES):
                # Without the object that it guards, "always" is no program.
                if mode != "always":
                    found.append((number + i, describe(mode, start + 1, end, function)))
            number += 3
        for start, (end, function) in sorted(self.statements.items()):
            inserts.append((start, 1, -end - 1, f"if (::sealvisor::mutation::keep({number})) "))
            found.append((number, describe("left out", start, end, function)))
            number += 1
        text, at = [b'#include "tests/mutation/mutant.h"\n'], 0
        for offset, _, _, piece in sorted(inserts, key=lambda one: one[:3]):
            text.append(self.source[at:offset])
            text.append(piece.encode())
            at = offset
        text.append(self.source[at:])
        return found, b"".join(text), number


def sources():
    names = []
    for folder in FOLDERS:
        names += sorted(str(p.relative_to(ROOT)) for p in (ROOT / folder).rglob("*") if p.suffix in (".cc", ".h"))
    return names


def copy_tree(tree, changed):
    """The files that git has or would add, those of `changed` with their mutants. What is the same
    stays as it is, so that little is built again."""
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"],
                            capture_output=True, check=True).stdout.decode().split("\0")
    wanted = {name for name in listed if name and (ROOT / name).is_file()}
    for name in sorted(wanted):
        content = changed.get(name) or (ROOT / name).read_bytes()
        place = tree / name
        if place.is_file() and place.read_bytes() == content:
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        shutil.copymode(ROOT / name, place)
    for place in [p for p in tree.rglob("*") if p.is_file() and str(p.relative_to(tree)) not in wanted]:
        place.unlink()


def run(command, what, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        sys.stderr.write(f"mutate.py: {what} failed:\n{(done.stdout + done.stderr)[-4000:]}\n")
        sys.exit(3)


def build(folder, changed, jobs):
    tree, out = folder / "tree", folder / "out"
    tree.mkdir(parents=True, exist_ok=True)
    copy_tree(tree, changed)
    if not (out / "build.ninja").is_file():
        run(["cmake", "-G", "Ninja", "-S", str(tree), "-B", str(out), "-DCMAKE_BUILD_TYPE=None",
             "-DCMAKE_CXX_FLAGS=-O1 -w -D_GLIBCXX_ASSERTIONS", "-DSEALVISOR_UNITY=ON"], "setting up the build")
    run(["cmake", "--build", str(out), "-j", str(jobs), "--target", "mutation_tests"], "building the tests")
    return out / "tests/mutation_tests"


def tests_fail(program, number, limit, selection="*"):
    """"": they pass; else how they fail."""
    environment = {**os.environ, "SEALVISOR_MUTANT": str(number), "GTEST_FAIL_FAST": "1", "GTEST_BRIEF": "1",
                   "GTEST_FILTER": selection}
    try:
        done = subprocess.run([str(program)], env=environment, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, timeout=limit, check=False,
                              cwd=program.parent)
    except subprocess.TimeoutExpired:
        return "time"
    return "failure" if done.returncode != 0 else ""


def slow_tests(program, limit):
    """Names of those tests that take long. None, if one fails though nothing is wrong."""
    result = program.parent / "mutation_tests.json"
    environment = {**os.environ, "SEALVISOR_MUTANT": "0", "GTEST_OUTPUT": f"json:{result}"}
    done = subprocess.run([str(program)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                          stdin=subprocess.DEVNULL, timeout=limit, check=False, cwd=program.parent)
    if done.returncode:
        return None
    return [f"{suite['name']}.{test['name']}" for suite in json.loads(result.read_text())["testsuites"]
            for test in suite["testsuite"] if float(test["time"].rstrip("s")) > SLOW]


def key_of(mutant):
    return tuple(mutant[part] for part in ("file", "function", "mode", "text"))


def known_survivors():
    """How many mutants each entry of the list stands for. Who can't say why has not reviewed it."""
    known = collections.Counter()
    for entry in json.loads(LIST.read_text()):
        if set(entry) - {"times"} != {"file", "function", "mode", "text", "reason"}:
            sys.stderr.write(f"mutate.py: survivors.json: wrong members in {entry}\n")
            sys.exit(3)
        if len(entry["reason"].split()) < 3 or key_of(entry) in known or entry.get("times", 1) < 1:
            sys.stderr.write(f"mutate.py: survivors.json: no reason, no number, or twice: {entry}\n")
            sys.exit(3)
        known[key_of(entry)] = entry.get("times", 1)
    return known


def name_of(mutant):
    return f"{mutant['file']}:{mutant['line']}: {mutant['mode']} in {mutant['function']}: {mutant['text']}"


def main():
    parser = argparse.ArgumentParser(description="mutation tests of vmm/seal and vmm/model")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="tests at the same time")
    parser.add_argument("--sample", type=int, default=0, help="only so many, as --seed picks them")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--build", type=Path, default=ROOT / "build/mutation", help="where to build")
    parser.add_argument("--list", action="store_true", help="print all mutants and end")
    parser.add_argument("--only", default="", help="only those whose name has this text")
    options = parser.parse_args()

    includes = ["-std=c++20", f"-I{ROOT}", "-w"]
    changed, mutants, number = {}, [], 1
    for name in sources():
        arguments = includes + (["-xc++"] if name.endswith(".h") else [])
        found, text, number = File(name, arguments).mutants(number)
        mutants += found
        if found:
            changed[name] = text
    chosen = [one for one in mutants if options.only in name_of(one[1])]
    if options.sample and options.sample < len(chosen):
        chosen = random.Random(options.seed).sample(chosen, options.sample)
    if options.list:
        for one, mutant in chosen:
            print(f"{one}\t{name_of(mutant)}")
        return 0

    known = known_survivors()
    if not chosen:
        sys.stderr.write("mutate.py: no mutant is chosen\n")
        return 2
    print(f"mutation: {len(mutants)} mutants of {len(changed)} files; building", flush=True)
    program = build(options.build, changed, options.jobs)
    begun = time.monotonic()
    slow = slow_tests(program, 10 * LIMIT)
    if slow is None:
        sys.stderr.write("mutate.py: the tests fail without any mutant\n")
        return 3
    started = time.monotonic()
    # All of them at the same time are slower than one.
    limit = max(LIMIT, TIMES * (started - begun))
    stages = ["-" + ":".join(slow), ":".join(slow)] if slow else ["*"]

    def how_found(number):
        return next(filter(None, (tests_fail(program, number, limit, stage) for stage in stages)), "")

    failed = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for how in pool.map(lambda one: how_found(one[0]), chosen):
            mutant = chosen[len(failed)][1]
            failed.append(how)
            if not how and not known[key_of(mutant)]:
                print(f"not found: {name_of(mutant)}", flush=True)
            if len(failed) % 100 == 0:
                print(f"mutation: {len(failed)} of {len(chosen)}, {time.monotonic() - started:.0f} s", flush=True)
    survivors = [mutant for (_, mutant), fails in zip(chosen, failed) if not fails]
    # Of mutants that are alike, no more survive than were reviewed, and no fewer if all are tried.
    alive = collections.Counter(key_of(mutant) for mutant in survivors)
    tried = collections.Counter(key_of(mutant) for _, mutant in chosen)
    every = collections.Counter(key_of(mutant) for _, mutant in mutants)
    new = [mutant for mutant in survivors if alive[key_of(mutant)] > known[key_of(mutant)]]
    gone = [entry for entry, times in known.items()
            if every[entry] < times or (tried[entry] == every[entry] and alive[entry] < times)]
    for mutant in new:
        print(f"survived: {name_of(mutant)}")
    for entry in gone:
        print(f"in survivors.json, and found or no more: {entry}")
    print(f"mutation: {len(chosen)} mutants tried in {time.monotonic() - started:.0f} s: "
          f"{len(chosen) - len(survivors)} found by the tests, {failed.count('time')} of these by time, "
          f"{len(survivors) - len(new)} known to change nothing, {len(new)} survived")
    return 1 if new or gone else 0


if __name__ == "__main__":
    sys.exit(main())
