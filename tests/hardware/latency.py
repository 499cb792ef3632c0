"""The rules by which a run of `bench --engine kvm` on a real host is accepted as a measurement.

Pure: a report in, a judgement out. Nothing here runs a program or reads a file, so that
latency_test.py can show that each rule rejects what it is there for. `measure-latency` gathers what
is judged; docs/hardware.md has the rules in words.

What is accepted is the measurement, whatever it found: a kernel that is slower is a result.
"""
import dataclasses

from acceptance import HARDWARE, REHEARSAL, VIRTUAL

LEAST_LAYOUTS = 16
SIDES = ("a", "b", "control", "slowed")
KERNELS = {"a": "lts-unsealed", "b": "lts-sealed", "control": "lts-unsealed-padded",
           "slowed": "slowed"}
# As bench/result.h has them; a run by others is of another question.
BOUNDS = {"time_relative": 0.01, "nanoseconds": 2, "steps": 2}
MOST_SPREAD = 0.001  # of the guests' counters: bench/counters.h
# A frequency that follows the load would be part of what is measured. Hosts that have no governor
# have nothing to set.
GOVERNORS = ("", "performance")
MOST_LISTED = 8


@dataclasses.dataclass
class Case:
    """What `measure-latency` gathered."""
    kind: str  # HARDWARE, VIRTUAL, REHEARSAL
    arch: str
    status: int  # exit status of `bench`
    report: dict  # as `--json` writes it; None: there is none
    chosen: bool = False  # not all experiments were asked for: a rehearsal only


@dataclasses.dataclass
class Judgement:
    accepted: bool
    problems: list  # each of them rejects
    notes: list  # to be read, and no reason to reject


def listed(what, lines):
    rest = len(lines) - MOST_LISTED
    more = [f"{what}: and {rest} more like it"] if rest > 0 else []
    return [f"{what}: {line}" for line in lines[:MOST_LISTED]] + more


def check_context(context, case):
    """(problems of any kind of run, problems of hardware only)."""
    always, hardware = [], []
    expected = {"engine": "kvm", "lane": "time", "watched": False, "a": KERNELS["a"],
                "b": KERNELS["b"]}
    for key, value in expected.items():
        if context[key] != value:
            always.append(f"{key} is {context[key]}, expected {value}")
    for kernel in context["kernels"]:
        if kernel["recipe"] != KERNELS[kernel["side"]] or kernel["arch"] != case.arch:
            always.append(f"kernel {kernel['side']} is {kernel['arch']} {kernel['recipe']}, expected "
                          f"{case.arch} {KERNELS[kernel['side']]}")
    if context["pinned"] is None:
        always.append("the vCPU was bound to no CPU")
    elif context["pinned"]["governor"] not in GOVERNORS:
        hardware.append(f"the frequency of CPU {context['pinned']['cpu']} is governed by "
                        f"{context['pinned']['governor']}, expected performance")
    if context["virtual_host"]:
        hardware.append(f"the host is itself virtual: {context['virtual_host']}")
    if context["mode"] != "full":
        hardware.append(f"a {context['mode']} run, expected a full one")
    if len(context["seeds"]) < LEAST_LAYOUTS:
        hardware.append(f"{len(context['seeds'])} layouts, expected at least {LEAST_LAYOUTS}")
    return always, hardware


def check_complete(report):
    problems = []
    if report["interrupted"]:
        problems.append("interrupted")
    problems += report["failures"]
    sides = {one["side"]: one for one in report["complete"]}
    for side in SIDES:
        if side not in sides:
            problems.append(f"no boot of {side}")
        elif sides[side]["boots"] < sides[side]["wanted"]:
            problems.append(f"{sides[side]['boots']} of {sides[side]['wanted']} boots of {side}")
    problems += [f"{one['experiment']}: {one['reason']}" for one in report["missing"]
                 if one["failed"]]
    if not report["metrics"]:
        problems.append("no metric")
    return problems


def check_counters(report, arch):
    counters = [one for one in report["counters"] if one["arch"] == arch]
    if len(counters) != 1:
        return [f"{len(counters)} counters of {arch}, expected 1"]
    problems = []
    if counters[0]["frequency"] == 0:
        problems.append("the counter's frequency is not known")
    if counters[0]["spread"] > MOST_SPREAD:
        problems.append(f"the guests' counters are {counters[0]['spread']:.2g} apart, expected at "
                        f"most {MOST_SPREAD}")
    return problems


def check_metrics(report):
    problems = [f"{one['experiment']} is in {one['unit']}, expected ns"
                for one in report["metrics"] if one["unit"] != "ns"]
    problems += [f"{one['experiment']}: A/A is {one['again']['verdict']}"
                 for one in report["metrics"] if one["again"]["verdict"] != "equivalent"]
    return problems


def check_sensitivity(report):
    """(problems of any kind of run, problems of hardware only)."""
    sensitivity = report["sensitivity"]
    if sensitivity is None:
        return ["no known cost was measured"], []
    always = [f"the known cost of {one['experiment']} was not seen"
              for one in sensitivity["lines"] if not one["good"]]
    if not any(one["asked"] for one in sensitivity["lines"]):
        return always, ["no known cost was large enough to be asked for"]
    return always, []


def check_watched(report):
    watched = report["watched"]
    if watched is None:
        return ["nothing was run with interception on"]
    sides = {line["side"] for line in watched["lines"] if line["ratio"] is not None}
    return [f"no figure of {side} with interception on" for side in ("a", "b") if side not in sides]


def judge(case):
    """Accepts if no rule has a problem."""
    if case.kind not in (HARDWARE, VIRTUAL, REHEARSAL):
        return Judgement(False, [f"host of an unknown kind, {case.kind}"], [])
    try:
        return judge_report(case)
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        return Judgement(False, [f"not a report: {error!r}"], [])


def judge_report(case):
    if case.report is None:
        return Judgement(False, [f"no report: `bench` ended with exit code {case.status}"], [])
    report = case.report["sealvisor"]
    if report["schema"] != "sealvisor-bench-2":
        return Judgement(False, [f"a report of another format, {report['schema']}"], [])
    problems, hardware = [], []
    wrong, only = check_context(report["context"], case)
    problems += wrong
    hardware += only
    for name, value in BOUNDS.items():
        if report["bounds"][name] != value:
            problems.append(f"the bound {name} is {report['bounds'][name]}, expected {value}")
    problems += listed("not complete", check_complete(report))
    problems += check_counters(report, case.arch)
    hardware += listed("void", check_metrics(report))
    wrong, only = check_sensitivity(report)
    problems += listed("sensitivity", wrong)
    hardware += only
    problems += check_watched(report)
    if case.chosen:
        hardware.append("not all experiments were asked for")
    if case.status != 0 or report["exit_code"] != 0:
        hardware.append(f"`bench` ended with exit code {case.status}, its report says "
                        f"{report['exit_code']}: {report['conclusion']}")
    # Of what is no hardware the figures say nothing, so they reject nothing either.
    notes = [] if case.kind == HARDWARE else hardware
    if case.kind == HARDWARE:
        problems += hardware
    notes += notes_of(report)
    return Judgement(not problems, problems, notes)


def notes_of(report):
    pinned = report["context"]["pinned"]
    notes = []
    if pinned is not None:
        notes.append(f"CPU {pinned['cpu']}, {'' if pinned['isolated'] else 'not '}isolated"
                     + (f", of one core with CPU {pinned['siblings']}" if pinned["siblings"] else ""))
    taken = [boot["preempted"] for boot in report["boots"] if boot["preempted"] is not None]
    if taken:
        notes.append(f"another thread took that CPU {sum(taken)} times in {len(taken)} boots, "
                     f"{max(taken)} times in one of them")
    notes.append(report["conclusion"])
    return notes


def verdict_text(case, judgement):
    """What `measure-latency` ends with: the verdict first."""
    if not judgement.accepted:
        first = f"REJECTED: {case.arch} ({case.kind}): {len(judgement.problems)} problem(s)"
    elif case.kind == HARDWARE:
        first = f"ACCEPTED: a measurement of latency on {case.arch} hardware"
    else:
        first = (f"ACCEPTED, AND NO LATENCY: {case.arch}: this was a {case.kind}, not hardware; the "
                 "figures say nothing")
    return "\n".join([first, *(f"  problem  {line}" for line in judgement.problems),
                      *(f"  note     {line}" for line in judgement.notes)]) + "\n"
