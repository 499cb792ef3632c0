#!/usr/bin/env python3
"""Tests of acceptance.py: good runs are accepted, and each rule rejects what it is there for."""
import copy
import pathlib
import re
import sys
import unittest

sys.dont_write_bytecode = True
import acceptance  # noqa: E402
import scripts  # noqa: E402
from acceptance import Case, judge, run_name  # noqa: E402

HERE = pathlib.Path(__file__).resolve().parent


def cell(mapping, operation, form, claim, change, verdict, changes=()):
    return {"mapping": mapping, "operation": operation, "form": form,
            "claim": {"text": claim, "sealed": True},
            "observation": {"change": change, "pages": {"total": 2, "observed": 2, "kept": 2,
                                                        "refaulted": 0, "changed": 0}},
            "verdict": verdict, "changes": list(changes)}


def change(old="P US A gpa 0x16dc000", new="absent", function="unmap_page_range+0x636"):
    return {"gva": "0x7ffff7ffd000", "level": 1, "old_text": old, "new_text": new,
            "function": function}


COUNTS = {"known_stores": None, "known_store_classes": None, "known_code_stores": None,
          "known_code_store_classes": None, "known_changes": None, "known_changes_judged": None,
          "known_entries": None, "known_entries_counted": None,
          "stepped_instructions": None, "stepped_entries": None, "stepped_untrapped": None}
CONTROL_COUNTS = {
    "stores": {"known_stores": 1632, "known_store_classes": 55},
    "entries": {"known_entries": 9015, "known_entries_counted": 9100,
                "stepped_instructions": 50000, "stepped_entries": 300, "stepped_untrapped": 0},
    "tamper-entry": {"known_changes": 1000, "known_changes_judged": 1000},
    "tamper-code": {"known_changes": 33, "known_changes_judged": 33},
    "stores-code": {"known_code_stores": 2500, "known_code_store_classes": 40,
                    "known_changes": 2000, "known_changes_judged": 2000},
}


def report(engine, lane, arch, recipe, control=None):
    kvm = engine == "kvm"
    run = {
        "arch": arch, "recipe": recipe, "engine": engine, "lane": lane, "good": True,
        "ending": {"good": True, "text": "guest reset"}, "summary": "good", "seconds": 2.0,
        "cells": [] if control else [
            cell("[vdso]", "munmap", "whole", "EPERM", "unchanged", "held"),
            cell("[vvar]", "munmap", "whole", "ok", "gone", "as-expected", [change()])],
        "lives": [] if control else [{"name": "life/fork", "status": 0, "count": 8,
                                     "complete": True, "violations": 0, "address_spaces": 9}],
        "counts": {"mismatches": 0, "user_entries": 100, **COUNTS,
                   **CONTROL_COUNTS.get(control, {})},
        "findings": [{"id": "known", "text": "of old", "known": True}],
        "blind_spots": ["one vCPU only"],
        "costs": [{"name": "judgements of user mode", "count": 100, "microseconds": 500.0},
                  {"name": "stores to tables told", "count": 10, "microseconds": 50.0}]
        if kvm else [],
    }
    if kvm:
        run["start"] = {"cpu_ms": 5.0, "instructions": None,
                        "exits": [{"name": "serial line", "count": 100}]}
        run["resident_bytes"] = 5 << 20
    return {"schema": "sealvisor-report-1", "exit_code": 0, "conclusion": "AS EXPECTED",
            "not_run": [], "findings": [], "runs": [run]}


def good_case(arch="arm64", mechanisms=("exact", "audited"), kind=acceptance.HARDWARE):
    case = Case(kind, arch, list(mechanisms))
    for recipe in acceptance.RECIPES:
        case.reports[run_name("tcg", recipe)] = report("tcg", "exact", arch, recipe)
        for mechanism in mechanisms:
            case.reports[run_name(mechanism, recipe)] = report("kvm", mechanism, arch, recipe)
    for mechanism in mechanisms:
        for control, able in acceptance.CONTROLS.items():
            if mechanism in able:
                case.reports[run_name(mechanism, control)] = report("kvm", mechanism, arch,
                                                                    "lts-sealed", control)
    case.statuses = {name: 0 for name in case.reports}
    case.checks = {acceptance.UNIT: 0, acceptance.ORACLE: 0}
    return case


def the_run(case, name):
    return case.reports[name]["runs"][0]


class Acceptance(unittest.TestCase):
    def assert_rejects(self, case, *words):
        judgement = judge(case)
        self.assertFalse(judgement.accepted)
        text = acceptance.verdict_text(case, judgement)
        self.assertTrue(text.startswith("REJECTED"), text)
        for word in words:
            self.assertIn(word, "\n".join(judgement.problems))

    def test_good_runs_are_accepted(self):
        for arch, mechanisms in (("arm64", ("exact", "audited")), ("x86_64", ("audited",)),
                                 ("x86_64", ("exact", "audited"))):
            case = good_case(arch, mechanisms)
            judgement = judge(case)
            self.assertEqual(judgement.problems, [])
            self.assertTrue(judgement.accepted)
            self.assertTrue(acceptance.verdict_text(case, judgement).startswith("ACCEPTED: "))

    def test_what_is_no_hardware_is_no_sign_off(self):
        for kind in (acceptance.VIRTUAL, acceptance.REHEARSAL):
            case = good_case(kind=kind)
            judgement = judge(case)
            self.assertTrue(judgement.accepted)
            self.assertIn("NO SIGN-OFF", acceptance.verdict_text(case, judgement).splitlines()[0])

    def test_every_part_of_every_cell_counts(self):
        def claim(cell):
            cell["claim"]["text"] = "EINVAL"

        def sealed(cell):
            cell["claim"]["sealed"] = False

        def observation(cell):
            cell["observation"]["change"] = "gone"

        def pages(cell):
            cell["observation"]["pages"]["observed"] = 1

        def verdict(cell):
            cell["verdict"] = "mismatch"
        for spoil, part in ((claim, "claim"), (sealed, "claim"), (observation, "observation"),
                            (pages, "observation"), (verdict, "verdict")):
            for mechanism in acceptance.MECHANISMS:
                for recipe in acceptance.RECIPES:
                    name = run_name(mechanism, recipe)
                    case = good_case()
                    spoil(the_run(case, name)["cells"][0])
                    self.assert_rejects(case, f"{name}: [vdso] munmap/whole: {part} is")

    def test_a_cell_that_is_missing_or_new_or_twice(self):
        case = good_case()
        del the_run(case, "audited-lying")["cells"][1]
        self.assert_rejects(case, "audited-lying: [vvar] munmap/whole: missing")
        case = good_case()
        del the_run(case, "tcg-lying")["cells"][1]
        self.assert_rejects(case, "audited-lying: [vvar] munmap/whole: not in the reference")
        case = good_case()
        cells = the_run(case, "exact-lying")["cells"]
        cells.append(copy.deepcopy(cells[0]))
        self.assert_rejects(case, "exact-lying: a cell comes twice")

    def test_runs_without_cells_compare_nothing(self):
        case = good_case()
        for engine in ("tcg", "exact", "audited"):
            the_run(case, run_name(engine, "lts-sealed"))["cells"] = []
        self.assert_rejects(case, "exact-lts-sealed: the reference has no cells")

    def test_a_mismatch(self):
        for name in ("exact-lts-sealed", "audited-lying", "tcg-lts-unsealed", "exact-stores"):
            case = good_case()
            the_run(case, name)["counts"]["mismatches"] = 1
            self.assert_rejects(case, f"{name}: 1 mismatches")

    def test_a_missing_run(self):
        for name in good_case().reports:
            case = good_case()
            del case.reports[name]
            self.assert_rejects(case, f"{name}: missing run")
            case = good_case()
            case.reports[name] = None
            self.assert_rejects(case, f"{name}: no report")
            case = good_case()
            case.reports[name]["runs"] = []
            self.assert_rejects(case, f"{name}: 0 runs in the report")
            case = good_case()
            case.reports[name] = {"schema": "sealvisor-report-1"}
            self.assert_rejects(case, f"{name}: not a report")
            case = good_case()
            case.reports[name]["schema"] = "sealvisor-report-9"
            self.assert_rejects(case, f"{name}: a report of another format")

    def test_a_run_that_did_not_end_well(self):
        case = good_case()
        case.statuses["exact-lying"] = 3
        self.assert_rejects(case, "exact-lying: `verify` ended with exit code 3")
        case = good_case()
        del case.statuses["exact-lying"]
        self.assert_rejects(case, "exact-lying: `verify` ended with exit code None")
        case = good_case()
        case.reports["exact-lying"]["exit_code"] = 1
        self.assert_rejects(case, "its report says 1")
        case = good_case()
        case.reports["exact-lying"]["not_run"] = [{"recipe": "lying", "message": "no memory"}]
        self.assert_rejects(case, "did not run: no memory")
        case = good_case()
        the_run(case, "audited-lying")["ending"]["good"] = False
        self.assert_rejects(case, "audited-lying: did not end well")
        case = good_case()
        the_run(case, "audited-lying")["counts"]["user_entries"] = 0
        self.assert_rejects(case, "user mode was never judged")

    def test_a_run_of_something_else(self):
        for key, value in (("arch", "x86_64"), ("recipe", "lying"), ("engine", "tcg"),
                           ("lane", "audited")):
            case = good_case()
            the_run(case, "exact-lts-sealed")[key] = value
            self.assert_rejects(case, f"exact-lts-sealed: {key} is {value}")

    def test_a_new_finding_and_a_watch_that_is_not_whole(self):
        case = good_case()
        the_run(case, "exact-lying")["findings"][0]["known"] = False
        self.assert_rejects(case, "exact-lying: new finding known")
        case = good_case()
        the_run(case, "audited-lying")["blind_spots"].append("returns without a trap: eretu")
        self.assert_rejects(case, "audited-lying: returns without a trap")

    def test_lives(self):
        for key, value in (("status", 11), ("count", 7), ("complete", False), ("violations", 1),
                           ("address_spaces", 7)):
            case = good_case()
            the_run(case, "audited-lts-sealed")["lives"][0][key] = value
            self.assert_rejects(case, "audited-lts-sealed: life/fork")
        case = good_case()
        the_run(case, "exact-lts-sealed")["lives"] = []
        self.assert_rejects(case, "exact-lts-sealed: life/fork: missing")

    def test_changes_of_exact_runs(self):
        case = good_case()
        the_run(case, "exact-lying")["cells"][1]["changes"] = []
        self.assert_rejects(case, "exact-lying: missing change: [vvar] munmap/whole")
        case = good_case()
        the_run(case, "exact-lying")["cells"][1]["changes"].append(change())
        self.assert_rejects(case, "exact-lying: change that is not in the reference")
        case = good_case()
        the_run(case, "exact-lying")["cells"][1]["changes"] = [change(function="zap_pte+0x1")]
        self.assert_rejects(case, "by zap_pte")
        # An audited run does not see who wrote, nor what was undone.
        case = good_case()
        the_run(case, "audited-lying")["cells"][1]["changes"] = []
        self.assertTrue(judge(case).accepted)

    def test_what_differs_from_boot_to_boot_is_no_change(self):
        case = good_case()
        the_run(case, "exact-lying")["cells"][1]["changes"] = [
            change(old="P US A gpa 0x99000", function="unmap_page_range+0x7")]
        self.assertEqual(judge(case).problems, [])

    def test_bits_that_the_hardware_sets_count_on_arm64_only(self):
        spoilt = [change(old="P US A D gpa 0x16dc000")]
        case = good_case("x86_64")
        the_run(case, "exact-lying")["cells"][1]["changes"] = spoilt
        self.assertEqual(judge(case).problems, [])
        case = good_case("arm64")
        the_run(case, "exact-lying")["cells"][1]["changes"] = spoilt
        self.assert_rejects(case, "missing change")

    def test_controls_that_show_too_little(self):
        for name, key, value, words in (
                ("exact-stores", "known_stores", 999, "999 known stores, expected at least 1000"),
                ("exact-stores", "known_stores", None, "0 known stores"),
                ("exact-entries", "known_entries", 7999, "7999 known entries"),
                ("audited-entries", "known_entries_counted", 9014, "9014 entries were counted"),
                ("audited-entries", "stepped_entries", 39, "39 entries to user mode by single"),
                ("exact-entries", "stepped_untrapped", 1, "1 of them without a trap"),
                ("exact-stores-code", "known_code_stores", 999, "999 known stores to code, expected"),
                ("audited-stores-code", "known_changes_judged", 1999, "1999 of 2000 known viol"),
                ("audited-stores-code", "known_changes", 0, "2000 of 0 known violations"),
                ("exact-tamper-entry", "known_changes_judged", 999, "999 of 1000 known violations"),
                ("audited-tamper-code", "known_changes", None, "33 of None known violations")):
            case = good_case()
            the_run(case, name)["counts"][key] = value
            self.assert_rejects(case, f"{name}: {words}")

    def test_exits_that_would_use_up_the_goal_alone(self):
        self.assertEqual(acceptance.MOST_JUDGEMENT_MICROSECONDS, 186)
        self.assertEqual(acceptance.MOST_STORE_MICROSECONDS, 37)
        for index, most, words in ((0, 186, "microseconds for each judgement"),
                                   (1, 37, "microseconds for each store to a table")):
            case = good_case()
            cost = the_run(case, "exact-lying")["costs"][index]
            cost["microseconds"] = most * cost["count"]
            self.assertEqual(judge(case).problems, [])
            cost["microseconds"] += 1
            self.assert_rejects(case, f"exact-lying: {words}")

    def test_a_cpu_that_does_not_step_is_noted(self):
        case = good_case()
        the_run(case, "exact-entries")["counts"]["stepped_entries"] = None
        judgement = judge(case)
        self.assertTrue(judgement.accepted)
        self.assertIn("not counted by single step", "\n".join(judgement.notes))

    def test_checks(self):
        for check in (acceptance.UNIT, acceptance.ORACLE):
            case = good_case()
            case.checks[check] = 1
            self.assert_rejects(case, f"{check}: exit 1")
            del case.checks[check]
            self.assert_rejects(case, f"{check}: not run")
        case = good_case("x86_64")
        del case.checks[acceptance.ORACLE]
        self.assertTrue(judge(case).accepted)

    def test_each_figure(self):
        def spoil(key, value):
            def do(run):
                if key in ("cpu_ms", "exits"):
                    run["start"][key] = value
                else:
                    run[key] = value
            return do

        def slow(index):
            def do(run):
                run["costs"][index]["microseconds"] = 1e6
            return do
        for do, words in (
                (spoil("resident_bytes", 9 << 20), "VMM memory"),
                (spoil("cpu_ms", 11.0), "VMM CPU"),
                (spoil("exits", [{"name": "x", "count": 1500}, {"name": "y", "count": 501}]),
                 "exits to init: 2001"),
                (spoil("seconds", 57.0), "seconds for all kernels"),
                (slow(0), "each judgement"), (slow(1), "each store"),
                (spoil("cpu_ms", None), "not reported"), (spoil("exits", None), "not reported"),
                (spoil("resident_bytes", None), "not reported"),
                (spoil("costs", []), "not reported")):
            case = good_case()
            do(the_run(case, "exact-lying"))
            self.assert_rejects(case, words)
            # An emulated CPU is slow; its figures bind nobody, and are shown.
            case = good_case(kind=acceptance.REHEARSAL)
            do(the_run(case, "exact-lying"))
            judgement = judge(case)
            self.assertTrue(judgement.accepted)
            self.assertIn(words, "\n".join(judgement.notes))

    def test_figures_are_those_of_the_budgets(self):
        with open(HERE / "../../bench/budgets.h", encoding="utf-8") as file:
            budgets = dict(re.findall(r"^inline constexpr .* (k\w+) = (\d+);$", file.read(), re.M))
        self.assertEqual({name: int(value) for name, value in budgets.items()}, {
            "kMostExitsToInitArm64": acceptance.MOST_EXITS_TO_INIT["arm64"],
            "kMostExitsToInitX86": acceptance.MOST_EXITS_TO_INIT["x86_64"],
            "kMostResidentBytes": acceptance.MOST_RESIDENT_BYTES,
            "kMostStartCpuMs": acceptance.MOST_START_CPU_MS,
            "kMostVerifySeconds": acceptance.MOST_SECONDS})

    def test_memory_that_was_sampled_stands_in(self):
        case = good_case()
        the_run(case, "exact-lying")["resident_bytes"] = None
        case.resident["exact-lying"] = 4 << 20
        self.assertTrue(judge(case).accepted)

    def test_nothing_can_be_left_out_of_a_sign_off(self):
        case = good_case()
        case.recipes = ("lts-sealed",)
        self.assert_rejects(case, "recipes ['lts-sealed']")
        case = good_case()
        case.mechanisms = []
        self.assert_rejects(case, "mechanisms []")
        case = good_case()
        case.mechanisms = ["perfect"]
        self.assert_rejects(case, "mechanisms ['perfect']")
        case = good_case(kind="hearsay")
        self.assert_rejects(case, "unknown kind")

    def test_what_the_host_leaves_open_is_noted_once(self):
        case = good_case()
        for name in ("exact-lying", "audited-lying"):
            the_run(case, name)["blind_spots"].append("the host's KVM does not hide X: y")
        judgement = judge(case)
        self.assertTrue(judgement.accepted)
        self.assertEqual(sum("does not hide X" in note for note in judgement.notes), 1)

    def test_a_long_list_is_cut_short(self):
        case = good_case()
        for recipe in ("tcg-lying", "exact-lying"):
            the_run(case, recipe)["cells"] = [
                cell("[vdso]", "munmap", f"form{i}", "EPERM", "unchanged",
                     "held" if recipe == "tcg-lying" else "violation") for i in range(20)]
        self.assert_rejects(case, "exact-lying: and 12 more like it")


class SignOff(unittest.TestCase):
    def setUp(self):
        self.script = scripts.load("sign-off")

    def test_mechanisms_are_those_that_doctor_names(self):
        script = self.script
        text = "tcg x86_64         ready      exact: QEMU\nkvm                ready      {}\n"
        self.assertEqual(script.mechanisms_of(text.format("exact, never run on hardware: x"),
                                              "kvm"), ["exact", "audited"])
        self.assertEqual(script.mechanisms_of(text.format("audited, never run: x"), "kvm"),
                         ["audited"])
        for bad in (text.format("perfect"), "", "kvm   not used   no /dev/kvm on this host\n",
                    "kvm   not ready  lacks KVM_CAP_X\n",
                    "kvm-nested arm64   ready      exact: x\n"):
            with self.assertRaises(script.HostLacks):
                script.mechanisms_of(bad, "kvm")

    def test_a_sign_off_has_no_choices(self):
        for words in (["--scenario", "munmap/*"], ["--recipe", "lying"], ["--cpu", "max"],
                      ["--mechanism", "exact"]):
            with self.assertRaises(SystemExit), open("/dev/null", "w") as null:
                sys.stderr, kept = null, sys.stderr
                try:
                    self.script.parse(words)
                finally:
                    sys.stderr = kept
            self.script.parse(["--rehearse", "arm64", *words])

    def test_words_of_a_run(self):
        options = self.script.parse(["--build", "/b"])
        words = self.script.verify_words(options, "arm64", "exact-stores", "/r.json")
        self.assertIn("control/stores", words)
        self.assertEqual(words[words.index("--recipe") + 1], "lts-sealed")
        self.assertEqual(words[words.index("--mechanism") + 1], "exact")
        self.assertEqual(words[words.index("--engine") + 1], "kvm")
        words = self.script.verify_words(options, "x86_64", "audited-tamper-entry", "/r.json")
        self.assertIn("control/tamper-entry", words)
        self.assertNotIn("--step-check", words)
        words = self.script.verify_words(options, "arm64", "tcg-lying", "/r.json")
        self.assertNotIn("--engine", words)
        self.assertNotIn("--scenario", words)

    def test_the_reference_has_protection_keys_where_the_cpu_has_them(self):
        def cpu_of(words, name, arch="x86_64", flags="fpu pku ospke"):
            self.script.read = lambda path: f"processor\t: 0\nflags\t\t: {flags}\n"
            options = self.script.parse(words)
            words = self.script.verify_words(options, arch, name, "/r.json")
            return words[words.index("--cpu") + 1] if "--cpu" in words else None
        without = self.script.REFERENCE_WITHOUT_KEYS
        self.assertIsNone(cpu_of([], "tcg-lying"))
        self.assertEqual(cpu_of([], "tcg-lying", flags="fpu pkux"), without)
        # The emulated host's CPU has none, whatever the machine's own has.
        self.assertEqual(cpu_of(["--rehearse", "x86_64"], "tcg-lying"), without)
        self.assertEqual(cpu_of(["--rehearse", "x86_64", "--cpu", "EPYC"], "audited-lying"), "EPYC")
        self.assertIsNone(cpu_of([], "audited-lying", flags="fpu"))
        self.assertIsNone(cpu_of(["--rehearse", "arm64"], "tcg-lying", arch="arm64", flags=""))
        # All else of it is the default.
        source = (HERE.parent.parent / "vmm/engine/tcg/qemu/command_line.cc").read_text()
        default = re.search(r'"(max,rdrand={}[^"]*)"', source)[1].replace("{}", "off")
        self.assertEqual(without, default + ",pku=off")

    def judged(self, case):
        return scripts.judged(self.script, case, {f"runs/{run}.json": document
                                                  for run, document in case.reports.items()})

    def test_judges_a_folder(self):
        status, result = self.judged(good_case())
        self.assertEqual(status, 0)
        self.assertTrue(result["accepted"] and result["sign_off"])
        status, result = self.judged(good_case(kind=acceptance.REHEARSAL))
        self.assertEqual(status, 0)
        self.assertFalse(result["sign_off"])
        case = good_case()
        del case.reports["audited-lying"]
        status, result = self.judged(case)
        self.assertEqual(status, 1)
        self.assertFalse(result["accepted"] or result["sign_off"])


if __name__ == "__main__":
    unittest.main()
