#!/usr/bin/env python3
"""Check that files are what CI systems read as JUnit XML.

  check_junit.py FILE...            each file is
  check_junit.py --mutate FILE      it is, and no mutation of it is

There is no standard. These are the rules that Jenkins' junit plugin, GitLab's reports and the schemas
that go around have in common: testsuites > testsuite > properties?, testcase*; counts that are right;
a test case has a class and a name, which no other has, and at most one of failure, error, skipped.
"""
import copy
import sys
import xml.etree.ElementTree as xml

COUNTS = {"tests": None, "failures": "failure", "errors": "error", "skipped": "skipped"}
OUTCOMES = ("failure", "error", "skipped")
ATTRIBUTES = {
    "testsuites": {"name", "time", *COUNTS},
    "testsuite": {"name", "time", *COUNTS},
    "properties": set(),
    "property": {"name", "value"},
    "testcase": {"classname", "name", "time"},
    "failure": {"type", "message"},
    "error": {"type", "message"},
    "skipped": {"message"},
    "system-out": set(),
}
CHILDREN = {
    "testsuites": {"testsuite"},
    "testsuite": {"properties", "testcase"},
    "properties": {"property"},
    "testcase": {*OUTCOMES, "system-out"},
}
MAY_BE_EMPTY = {("property", "value")}
MAY_HOLD_TEXT = {*OUTCOMES, "system-out"}


def problems(root):
    if root.tag != "testsuites":
        yield f"the root is {root.tag}"
        return
    for element in root.iter():
        if element.tag not in ATTRIBUTES:
            yield f"an element {element.tag}"
            continue
        if set(element.attrib) != ATTRIBUTES[element.tag]:
            yield f"{element.tag}: attributes {sorted(element.attrib)}"
            continue
        for name, value in element.attrib.items():
            if not value and (element.tag, name) not in MAY_BE_EMPTY:
                yield f"{element.tag}: an empty {name}"
        for child in element:
            if child.tag not in CHILDREN.get(element.tag, ()):
                yield f"{element.tag}: a {child.tag} in it"
        between = [element.text or ""] + [child.tail or "" for child in element]
        if element.tag not in MAY_HOLD_TEXT and "".join(between).strip():
            yield f"{element.tag}: text in it"
    yield from counts(root)
    yield from cases(root)


def counts(root):
    suites = list(root.iter("testsuite"))
    for element in [root, *suites]:
        try:
            if float(element.get("time", "")) < 0:
                yield f"{element.tag}: a negative time"
        except ValueError:
            yield f"{element.tag}: time is no number"
        for name, outcome in COUNTS.items():
            number = len(list(element.iter("testcase" if outcome is None else outcome)))
            if element.get(name) != str(number):
                yield f"{element.tag} {element.get('name')}: {name} is {element.get(name)}, not {number}"
    if not suites:
        yield "no testsuite"


def cases(root):
    seen = set()
    for suite in root.iter("testsuite"):
        tags = [child.tag for child in suite]
        if "properties" in tags[1:]:
            yield "properties are not the first of their suite"
        if "testcase" not in tags:
            yield "a suite without a test case"
    for case in root.iter("testcase"):
        key = case.get("classname"), case.get("name")
        if key in seen:
            yield f"{key} twice"
        seen.add(key)
        try:
            float(case.get("time", ""))
        except ValueError:
            yield f"{key}: time is no number"
        if len([child for child in case if child.tag in OUTCOMES]) > 1:
            yield f"{key}: two outcomes"


def mutations(root):
    """Copies of the document, each with one thing wrong."""
    elements = list(root.iter())
    for index, element in enumerate(elements):
        def mutant():
            made = copy.deepcopy(root)
            return made, list(made.iter())[index]
        for name in element.attrib:
            made, one = mutant()
            del one.attrib[name]
            yield f"{element.tag} without {name}", made
            if name in COUNTS:
                made, one = mutant()
                one.set(name, str(int(element.get(name)) + 1))
                yield f"{element.tag} with one more of {name}", made
            if name == "time":
                made, one = mutant()
                one.set(name, "soon")
                yield f"{element.tag} with another time", made
        made, one = mutant()
        one.set("surprise", "1")
        yield f"{element.tag} with a surprise", made
        made, one = mutant()
        xml.SubElement(one, "surprise")
        yield f"{element.tag} with a child", made
        if element.tag == "testcase":
            made, one = mutant()
            xml.SubElement(one, "error", type="t", message="m")
            yield "testcase with one more error", made
            made, one = mutant()
            next(suite for suite in made if one in list(suite)).append(copy.deepcopy(one))
            yield "testcase twice", made
        if element.tag not in MAY_HOLD_TEXT:
            made, one = mutant()
            one.text = "text"
            yield f"{element.tag} with text", made


def main(arguments):
    mutate = "--mutate" in arguments
    files = [one for one in arguments if not one.startswith("--")]
    failed = not files
    for name in files:
        try:
            root = xml.parse(name).getroot()
        except xml.ParseError as error:
            print(f"{name}: {error}")
            failed = True
            continue
        for problem in problems(root):
            print(f"{name}: {problem}")
            failed = True
        if not mutate:
            continue
        tried = 0
        for what, mutant in mutations(root):
            tried += 1
            if not list(problems(mutant)):
                print(f"{name}: accepted: {what}")
                failed = True
        print(f"{name}: {tried} mutations tried")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
