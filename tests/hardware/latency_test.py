#!/usr/bin/env python3
"""That each rule of latency.py rejects what it is there for."""
import copy
import json
import pathlib
import re
import sys
import unittest

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import latency  # noqa: E402
import scripts  # noqa: E402


def metric(experiment):
    return {"experiment": experiment, "unit": "ns", "again": {"verdict": "equivalent"},
            "cost": {"verdict": "slower"}}


GOOD = {
    "schema": "sealvisor-bench-2",
    "context": {
        "engine": "kvm", "lane": "time", "watched": False, "mode": "full", "a": "lts-unsealed",
        "b": "lts-sealed", "virtual_host": "", "seeds": [hex(seed) for seed in range(1, 17)],
        "pinned": {"cpu": 3, "isolated": True, "governor": "performance", "siblings": "7"},
        "kernels": [{"arch": "arm64", "side": side, "recipe": recipe}
                    for side, recipe in latency.KERNELS.items()]},
    "bounds": {"relative": 0.005, "instructions": 20, "time_relative": 0.01, "nanoseconds": 2,
               "ticks": 20, "steps": 2},
    "interrupted": False, "failures": [],
    "complete": [{"arch": "arm64", "side": side, "boots": 16, "wanted": 16}
                 for side in latency.SIDES],
    "missing": [{"experiment": "vdso/time", "reason": "not on these guests", "failed": False}],
    "metrics": [metric("exec/execve"), metric("mmap/brk")],
    "counters": [{"arch": "arm64", "frequency": 25_000_000, "spread": 0.0}],
    "sensitivity": {"good": True, "others": [], "lines": [
        {"experiment": "mmap/mremap-refused", "asked": True, "good": True},
        {"experiment": "exec/execve", "asked": False, "good": True}]},
    "watched": {"how": ["exact: tables guarded"], "lines": [
        {"side": "a", "ratio": 8.0}, {"side": "b", "ratio": 8.1}, {"side": "b", "ratio": None}]},
    "boots": [{"preempted": 2}, {"preempted": 0}],
    "conclusion": "SLOWER: lts-sealed against lts-unsealed", "exit_code": 0,
}


def good_case(kind=latency.HARDWARE):
    return latency.Case(kind, "arm64", 0, {"sealvisor": copy.deepcopy(GOOD)})


class Rules(unittest.TestCase):
    def assert_rejects(self, spoil, says, kind=latency.HARDWARE):
        case = good_case(kind)
        spoil(case, case.report["sealvisor"])
        judgement = latency.judge(case)
        self.assertFalse(judgement.accepted, says)
        self.assertTrue(any(says in line for line in judgement.problems), judgement.problems)
        self.assertIn("REJECTED", latency.verdict_text(case, judgement).splitlines()[0])

    def test_a_good_one_is_accepted_whatever_it_found(self):
        case = good_case()
        judgement = latency.judge(case)
        self.assertTrue(judgement.accepted, judgement.problems)
        text = latency.verdict_text(case, judgement)
        self.assertTrue(text.startswith("ACCEPTED: a measurement of latency on arm64 hardware"))
        self.assertIn("CPU 3, isolated, of one core with CPU 7", text)
        self.assertIn("took that CPU 2 times in 2 boots, 2 times in one", text)

    def test_what_is_no_hardware_measures_nothing(self):
        for kind in (latency.VIRTUAL, latency.REHEARSAL):
            case = good_case(kind)
            case.report["sealvisor"]["context"]["virtual_host"] = "QEMU's TCG, an emulated CPU"
            judgement = latency.judge(case)
            self.assertTrue(judgement.accepted)
            first = latency.verdict_text(case, judgement).splitlines()[0]
            self.assertIn("NO LATENCY", first)
            self.assertTrue(any("itself virtual" in note for note in judgement.notes))
        self.assert_rejects(lambda case, _: setattr(case, "kind", "moon"), "unknown kind")

    def test_rules_that_hold_everywhere(self):
        def context(**members):
            return lambda _, report: report["context"].update(members)

        def kernel(_, report):
            report["context"]["kernels"][1]["recipe"] = "lying"

        def boots(_, report):
            report["complete"][2]["boots"] = 15

        def side(_, report):
            del report["complete"][3]
        rules = [
            (context(engine="tcg"), "engine is tcg"),
            (context(lane="instructions"), "lane is instructions"),
            (context(watched=True), "watched is True"),
            (context(b="slowed"), "b is slowed"),
            (context(pinned=None), "bound to no CPU"),
            (kernel, "kernel b is arm64 lying"),
            (lambda _, report: report["bounds"].update(time_relative=0.1), "the bound time_relative"),
            (lambda _, report: report["bounds"].update(nanoseconds=50), "the bound nanoseconds"),
            (lambda _, report: report["bounds"].update(steps=9), "the bound steps"),
            (lambda _, report: report.update(interrupted=True), "interrupted"),
            (lambda _, report: report.update(failures=["arm64 a: kernel panic"]), "kernel panic"),
            (boots, "15 of 16 boots of control"),
            (side, "no boot of slowed"),
            (lambda _, report: report["missing"][0].update(failed=True), "vdso/time"),
            (lambda _, report: report.update(metrics=[]), "no metric"),
            (lambda _, report: report.update(counters=[]), "0 counters of arm64"),
            (lambda _, report: report["counters"][0].update(frequency=0), "frequency is not known"),
            (lambda _, report: report["counters"][0].update(spread=0.002), "apart"),
            (lambda _, report: report.update(sensitivity=None), "no known cost was measured"),
            (lambda _, report: report["sensitivity"]["lines"][0].update(good=False),
             "the known cost of mmap/mremap-refused was not seen"),
            (lambda _, report: report.update(watched=None), "with interception on"),
            (lambda _, report: report["watched"]["lines"][0].update(ratio=None), "no figure of a"),
            (lambda _, report: report.update(schema="sealvisor-bench-1"), "another format"),
            (lambda _, report: report.pop("counters"), "not a report"),
            (lambda case, _: setattr(case, "report", None), "no report"),
        ]
        for spoil, says in rules:
            self.assert_rejects(spoil, says)
            self.assert_rejects(spoil, says, latency.REHEARSAL)

    def test_rules_of_hardware(self):
        def governor(_, report):
            report["context"]["pinned"]["governor"] = "schedutil"

        def unequal(_, report):
            report["metrics"][1]["again"]["verdict"] = "undecided"

        def ticks(_, report):
            report["metrics"][0]["unit"] = "ticks"
        rules = [
            (governor, "governed by schedutil"),
            (lambda _, report: report["context"].update(virtual_host="KVM"), "itself virtual: KVM"),
            (lambda _, report: report["context"].update(mode="quick"), "a quick run"),
            (lambda _, report: report["context"].update(seeds=["0x1"] * 15), "15 layouts"),
            (unequal, "mmap/brk: A/A is undecided"),
            (ticks, "exec/execve is in ticks"),
            (lambda _, report: report["sensitivity"]["lines"].pop(0), "large enough"),
            (lambda case, _: setattr(case, "status", 1), "exit code 1"),
            (lambda _, report: report.update(exit_code=1), "its report says 1"),
            (lambda case, _: setattr(case, "chosen", True), "not all experiments"),
        ]
        for spoil, says in rules:
            self.assert_rejects(spoil, says)
            # Of a rehearsal they are worth a note.
            case = good_case(latency.REHEARSAL)
            spoil(case, case.report["sealvisor"])
            judgement = latency.judge(case)
            self.assertTrue(judgement.accepted, (says, judgement.problems))
            self.assertTrue(any(says in note for note in judgement.notes), says)

    def test_a_host_without_a_governor_has_none_to_set(self):
        case = good_case()
        case.report["sealvisor"]["context"]["pinned"]["governor"] = ""
        self.assertTrue(latency.judge(case).accepted)

    def test_the_bounds_are_the_programs(self):
        source = HERE.parent.parent / "bench"
        header = (source / "result.h").read_text()
        for name, value in latency.BOUNDS.items():
            found = re.search(rf"double {name} = ([0-9.]+);", header)
            self.assertEqual(float(found[1]), value, name)
        spread = re.search(r"kMostSpread = ([0-9.]+);", (source / "counters.h").read_text())
        self.assertEqual(float(spread[1]), latency.MOST_SPREAD)
        schema = re.search(r'kBenchSchema = "([^"]+)"', (source / "json.h").read_text())
        self.assertEqual(schema[1], GOOD["schema"])


class Script(unittest.TestCase):
    def setUp(self):
        self.script = scripts.load("measure-latency")

    def test_a_measurement_has_no_choices(self):
        for words in (["--filter", "exec/*"], ["--layouts", "6"], ["--rehearse", "arm64", "--pin", "1"]):
            with self.assertRaises(SystemExit), open("/dev/null", "w") as null:
                sys.stderr, kept = null, sys.stderr
                try:
                    self.script.parse(words)
                finally:
                    sys.stderr = kept
        self.script.parse(["--rehearse", "arm64", "--filter", "exec/*", "--layouts", "6"])

    def test_words_of_a_run(self):
        out = pathlib.Path("/o")
        words = self.script.bench_words(self.script.parse(["--build", "/b", "--pin", "5"]), "arm64", out)
        self.assertEqual(words[:2], ["/b/sealvisor", "bench"])
        self.assertIn("--full", words)
        self.assertEqual(words[words.index("--engine") + 1], "kvm")
        self.assertEqual(words[words.index("--layouts") + 1], "16")
        self.assertEqual(words[words.index("--pin") + 1], "5")
        self.assertNotIn("--fail-on", words)
        words = self.script.bench_words(
            self.script.parse(["--rehearse", "x86_64", "--filter", "mmap/*"]), "x86_64", out)
        self.assertEqual(words[words.index("--engine") + 1], "kvm-nested")
        self.assertEqual(words[words.index("--filter") + 1], "mmap/*")

    def judged(self, case):
        documents = {} if case.report is None else {self.script.REPORT: case.report}
        return scripts.judged(self.script, case, documents)

    def test_judges_a_folder(self):
        status, result = self.judged(good_case())
        self.assertEqual(status, 0)
        self.assertTrue(result["accepted"] and result["measurement"])
        status, result = self.judged(good_case(latency.REHEARSAL))
        self.assertEqual(status, 0)
        self.assertFalse(result["measurement"])
        case = good_case()
        case.report = None
        status, result = self.judged(case)
        self.assertEqual(status, 1)
        self.assertFalse(result["accepted"] or result["measurement"])


if __name__ == "__main__":
    unittest.main()
