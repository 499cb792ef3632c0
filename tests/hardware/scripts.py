"""For tests of the scripts beside this: loading one, and judging a folder as --judge does."""
import contextlib
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def load(name):
    """The script as a module; its name has no suffix."""
    loader = importlib.machinery.SourceFileLoader(name.replace("-", "_"), str(HERE / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def judged(script, case, documents):
    """What `script --judge` says of a folder with `case` and the `documents`, by path: exit status and
    result."""
    with tempfile.TemporaryDirectory() as name:
        out = pathlib.Path(name)
        for path, document in documents.items():
            (out / path).parent.mkdir(exist_ok=True)
            (out / path).write_text(json.dumps(document))
        (out / script.CASE_FILE).write_text(json.dumps(
            {part: getattr(case, part) for part in script.CASE_PARTS}))
        with open(os.devnull, "w") as null, contextlib.redirect_stdout(null):
            status = script.main(["--judge", name])
        return status, json.loads((out / "result.json").read_text())
