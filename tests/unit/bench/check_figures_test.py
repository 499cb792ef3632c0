#!/usr/bin/env python3
"""Tests of bench/check-figures: recorded output is accepted, and each bound rejects what is over it."""
import contextlib
import importlib.machinery
import importlib.util
import io
import json
import pathlib
import re
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
SOURCE = pathlib.Path(__file__).resolve().parents[3]


def load():
    loader = importlib.machinery.SourceFileLoader("check_figures",
                                                  str(SOURCE / "bench/check-figures"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


check_figures = load()

# As build/bench/figures prints it.
ARCH_FIGURES = """{arch}: boot + 200 fork+exec, CPU seconds of QEMU and VMM, 9 rounds
  without plugin      least 0.94 s, median 1.20 s, spread 0.62 s
  watched             least 1.31 s, median 1.42 s, spread 0.40 s
  ratio               1.39 of two runs next to each other, median; 1.36 of the least, 1.18 of the medians
  with second witness 12.22 s, ratio 13.00: 129837 stores caught, 0 differences
  watched start to init 0.71 s; 729011 table writes, 137 re-walks, 0 mismatches
"""
FIGURES = (ARCH_FIGURES.format(arch="x86_64") + ARCH_FIGURES.format(arch="arm64") +
           "default verify: 30.1 s, exit code 0\n"
           "VMM process beside guest memory, most of its guests' ends: 10.3 MiB\n")


def micro(changes=()):
    """As build/bench/micro prints it: each piece at nine tenths of what it may cost."""
    items = {}
    for first, second, most, _ in check_figures.RATIOS:
        for arch in check_figures.ARCHS:
            below = second.format(arch=arch)
            items.setdefault(below, 1e8)
            items[first.format(arch=arch)] = items[below] / (most * 0.9)
    rows = []
    for name, speed in items.items():
        # Two disturbed repetitions and a good one.
        for slower in (3, 1, 2):
            rows.append({"name": name, "run_name": name, "run_type": "iteration",
                         "items_per_second": speed / slower, **dict(changes).get(name, {})})
        rows.append({"name": name + "_mean", "run_name": name, "run_type": "aggregate",
                     "items_per_second": speed * 99})
    return json.dumps({"context": {}, "benchmarks": rows})


def bench(**changes):
    line = {"arch": "arm64", "experiment": "mmap/mremap-refused", "function": "__do_sys_mremap",
            "added": 400, "in_function": 400, "good": True, **changes.pop("line", {})}
    report = {"repeats": {"boots": 2, "samples": 240, "differing": []}, "void_because": [],
              "missing": [],
              "metrics": [{"arch": "x86_64"}, {"arch": "arm64"}],
              "sensitivity": {"good": True, "lines": [line], "others": []}, **changes}
    return json.dumps({"context": {}, "benchmarks": [], "sealvisor": report})


def broken(judge_part, text, times=False, **more):
    judge = check_figures.Judge(times, io.StringIO())
    judge_part(judge, text, **more)
    return judge.broken


class Figures(unittest.TestCase):
    def of(self, pattern, replacement, times=False):
        text, changed = re.subn(pattern, replacement, FIGURES)
        self.assertGreater(changed, 0, pattern)
        return broken(check_figures.judge_figures, text, times)

    def test_recorded_ones_are_accepted(self):
        self.assertEqual(broken(check_figures.judge_figures, FIGURES, times=True), [])

    def test_each_bound_rejects(self):
        for pattern, replacement, name in (
                (r"1\.39 of two", "1.41 of two", "watched / QEMU alone"),
                ("129837 stores", "0 stores", "second witness caught"),
                ("0 differences", "1 differences", "differences that it found"),
                ("137 re-walks", "0 re-walks", "re-walks"),
                ("0 mismatches", "2 mismatches", "mismatches"),
                ("exit code 0", "exit code 1", "exit code of the default verify"),
                ("10.3 MiB", "64.1 MiB", "memory of the VMM")):
            found = self.of(pattern, replacement)
            self.assertTrue(found and all(name in one for one in found), (pattern, found))

    def test_the_architecture_is_named(self):
        text = FIGURES[::-1].replace("1.39"[::-1], "1.52"[::-1], 1)[::-1]  # the last one
        self.assertEqual(broken(check_figures.judge_figures, text), ["arm64 watched / QEMU alone"])

    def test_times_are_judged_on_request_only(self):
        for pattern, replacement, count in ((r"init 0\.71", "init 1.21", 2),
                                            (r"init 0\.71", "init 0.95", 1),
                                            (r"verify: 30\.1", "verify: 60.5", 1)):
            self.assertEqual(self.of(pattern, replacement), [])
            self.assertEqual(len(self.of(pattern, replacement, times=True)), count)

    def test_what_is_missing_is_out_of_bounds(self):
        lines = FIGURES.splitlines(keepends=True)
        for index, line in enumerate(lines):
            if "without plugin" in line or line.startswith("  watched  "):
                continue  # the ratio is of these
            text = "".join(lines[:index] + lines[index + 1:])
            self.assertTrue(broken(check_figures.judge_figures, text), line)
        self.assertEqual(len(broken(check_figures.judge_figures, "")), 15)


class Micro(unittest.TestCase):
    def test_the_least_of_each_is_compared(self):
        self.assertEqual(broken(check_figures.judge_micro, micro()), [])

    def test_each_ratio_rejects(self):
        for first, second, _, _ in check_figures.RATIOS:
            name = first.format(arch="arm64")
            speed = next(row["items_per_second"] for row in json.loads(micro())["benchmarks"][1::4]
                         if row["name"] == name)
            found = broken(check_figures.judge_micro,
                           micro({name: {"items_per_second": speed * 0.8}}))
            self.assertEqual(found, [f"{name} / {second.format(arch='arm64')}"])

    def test_one_that_failed_is_missing(self):
        for mark in ({"error_occurred": True}, {"skipped": "ERROR"}):
            self.assertEqual(broken(check_figures.judge_micro, micro({"ring": mark})),
                             ["ring / ring_memcpy"])

    def test_one_repetition_that_failed_is_enough(self):
        report = json.loads(micro())
        next(row for row in report["benchmarks"] if row["name"] == "trace")["error_occurred"] = True
        self.assertEqual(broken(check_figures.judge_micro, json.dumps(report)),
                         ["trace / trace_zstd"])

    def test_a_row_that_is_gone_is_missing(self):
        report = json.loads(micro())
        report["benchmarks"] = [row for row in report["benchmarks"]
                                if row["run_name"] != "visit_copies/x86_64"]
        self.assertEqual(broken(check_figures.judge_micro, json.dumps(report)),
                         ["visit/x86_64 / visit_copies/x86_64", "track/x86_64 / visit_copies/x86_64"])


class Bench(unittest.TestCase):
    def test_a_good_report_is_accepted(self):
        self.assertEqual(broken(check_figures.judge_bench, bench()), [])
        self.assertEqual(broken(check_figures.judge_bench, bench(sensitivity=None)), [])

    def test_each_bound_rejects(self):
        for changes, count in (
                ({"repeats": None}, 2),
                ({"repeats": {"samples": 0, "differing": []}}, 1),
                ({"repeats": {"samples": 9, "differing": ["exec/vfork"]}}, 1),
                ({"void_because": ["exec/vfork"]}, 1),
                ({"missing": [{"arch": "arm64", "experiment": "vdso/tai"}]}, 1),
                ({"metrics": [{"arch": "arm64"}]}, 1),
                ({"line": {"in_function": 402}}, 1),
                ({"line": {"in_function": None}}, 1),
                ({"line": {"good": False}}, 1)):
            self.assertEqual(len(broken(check_figures.judge_bench, bench(**changes))), count, changes)

    def test_its_time(self):
        for seconds, times, count in ((89, True, 0), (91, True, 1), (91, False, 0)):
            self.assertEqual(len(broken(check_figures.judge_bench, bench(), times=times,
                                        seconds=seconds)), count)


class Program(unittest.TestCase):
    def run_with(self, figures):
        with tempfile.TemporaryDirectory() as folder:
            files = {"micro": micro(), "figures": figures, "bench": bench()}
            arguments = []
            for part, text in files.items():
                (pathlib.Path(folder) / part).write_text(text)
                arguments += ["--" + part, str(pathlib.Path(folder) / part)]
            errors = io.StringIO()
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(errors):
                return check_figures.main(arguments), errors.getvalue()

    def test_exit_codes(self):
        self.assertEqual(self.run_with(FIGURES), (0, ""))
        code, errors = self.run_with(FIGURES.replace("10.3 MiB", "70 MiB"))
        self.assertEqual(code, 1)
        self.assertIn("memory of the VMM", errors)

    def test_what_is_not_there_is_named(self):
        with contextlib.redirect_stdout(io.StringIO()), \
                contextlib.redirect_stderr(io.StringIO()) as errors:
            self.assertEqual(check_figures.main(["--only", "bench", "--bench", "/nonexistent"]), 1)
            self.assertIn("/nonexistent", errors.getvalue())
            with self.assertRaises(SystemExit) as usage:
                check_figures.main(["--only", "nothing"])
        self.assertEqual(usage.exception.code, 2)


class Specification(unittest.TestCase):
    """The document promises what the script asks for."""

    def test_the_numbers_are_the_same(self):
        text = (SOURCE / "docs/specification.md").read_text()
        for first, second, most, _ in check_figures.RATIOS:
            row = f"`{first.split('/')[0]}` / `{second.split('/')[0]}` | <= {most:g} |"
            self.assertIn(row, text)
        own = check_figures
        for row in (f"median of nine rounds | <= {own.INTERCEPTION:g} |", f"guest's | <= {own.VMM_MIB} MiB |",
                    f"arm64 | <= {own.TO_INIT['x86_64']} s, <= {own.TO_INIT['arm64']} s |",
                    f"lying kernels too | <= {own.VERIFY_SECONDS} s |",
                    f"kernels built, 2 cores | <= {own.QUICK_SECONDS} s |"):
            self.assertIn(row, text)
        budgets = dict(re.findall(r"(kMost\w+) = (\d+);", (SOURCE / "bench/budgets.h").read_text()))
        for name, row in (("kMostExitsToInitArm64", "exits to init, arm64 | <= {} |"),
                          ("kMostExitsToInitX86", "exits to init, x86-64 | <= {} |"),
                          ("kMostStartCpuMs", "first guest instruction | <= {} ms |"),
                          ("kMostVerifySeconds", "three kernels | <= {} s |")):
            self.assertIn(row.format(budgets[name]), text)
        self.assertIn(f"guest's | <= {int(budgets['kMostResidentBytes']) >> 20} MiB |", text)


if __name__ == "__main__":
    unittest.main()
