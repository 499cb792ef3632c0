#!/usr/bin/env python3
"""Check report documents against docs/report.schema.json with python3-jsonschema.

  check_schema.py SCHEMA DOCUMENT...            each document is valid
  check_schema.py SCHEMA --mutate DOCUMENT      it is valid, and no mutation of it is: a member
                                                dropped, a member added, a value of another type
  check_schema.py SCHEMA --invalid DOCUMENT...  no document is valid
"""
import copy
import json
import sys

try:
    import jsonschema
except ImportError:
    sys.exit("check_schema.py: python3-jsonschema is missing (./bootstrap installs it)")


def places(value, path=()):
    """Paths of everything in a document, from the top."""
    yield path, value
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from places(inner, (*path, key))


def at(document, path):
    for key in path:
        document = document[key]
    return document


def mutations(document):
    for path, value in places(document):
        if isinstance(value, dict):
            for key in value:
                mutant = copy.deepcopy(document)
                del at(mutant, path)[key]
                yield f"without {'/'.join(map(str, (*path, key)))}", mutant
            mutant = copy.deepcopy(document)
            at(mutant, path)["surprise"] = 1
            yield f"with {'/'.join(map(str, (*path, 'surprise')))}", mutant
        elif path:
            mutant = copy.deepcopy(document)
            at(mutant, path[:-1])[path[-1]] = {}
            yield f"object as {'/'.join(map(str, path))}", mutant


def main(arguments):
    mutate = "--mutate" in arguments
    invalid = "--invalid" in arguments
    schema, *documents = [a for a in arguments if not a.startswith("--")]
    with open(schema, encoding="utf-8") as file:
        schema = json.load(file)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    failed = not documents
    for name in documents:
        with open(name, encoding="utf-8") as file:
            document = json.load(file)
        if invalid:
            if validator.is_valid(document):
                print(f"{name}: the schema accepts it")
                failed = True
            continue
        for error in validator.iter_errors(document):
            print(f"{name}: {'/'.join(map(str, error.absolute_path))}: {error.message}")
            failed = True
        tried = 0
        for what, mutant in mutations(document) if mutate else ():
            tried += 1
            if validator.is_valid(mutant):
                print(f"{name}: the schema accepts it {what}")
                failed = True
        print(f"{name}: {tried} mutations tried")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
