"""Recipes, the key of a build, and where things are in the cache.

Nothing here starts a build or needs the network: `build path` has to answer in
well under 100 ms.
"""
import hashlib
import json
import os
import re
from pathlib import Path

FORMAT = 3  # raise it when the way of building changes what comes out
ARCHES = ("x86_64", "arm64")
HERE = Path(__file__).resolve().parent.parent


class Problem(Exception):
    """Something that the user has to know; `code` is the exit status."""

    def __init__(self, message, code=1):
        super().__init__(message)
        self.code = code


def cache_dir():
    env = os.environ
    if env.get("SEALVISOR_CACHE"):
        return Path(env["SEALVISOR_CACHE"])
    base = env.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(base) / "sealvisor"


class Recipe:
    """One file of recipes/: `key = value` lines, `base` gives what is not said.

    `patches` and its base's patches add up; every other value replaces.
    `tree` names an output tree of its own; without it recipes of one source share one.

    "RECIPE-VARIANT" is RECIPE with one fragment more, for each that there is a file for. It has a
    tree of its own: such a fragment changes nearly every object.
    """

    KEYS = {"base", "source", "suites", "patches", "fragments", "tree", "request"}

    def __init__(self, name):
        path = HERE / "recipes" / name
        if "/" in name or not (path.is_file() or variant_of(name)):
            raise Problem(f"no recipe '{name}'; there are: {', '.join(names())}", 2)
        self.name = name
        if not path.is_file():
            self.vary(*variant_of(name))
            return
        values = {}
        for number, line in enumerate(path.read_text().splitlines(), 1):
            line = line.split("#", 1)[0].strip()
            if not line:
                continue
            key, equals, value = (part.strip() for part in line.partition("="))
            if not equals or key not in self.KEYS:
                raise Problem(f"{path}:{number}: expected one of {sorted(self.KEYS)} and '=', got '{line}'")
            values[key] = value
        self.base = Recipe(values["base"]) if values.get("base") else None
        for key in ("source", "suites", "fragments", "tree", "request"):
            inherited = getattr(self.base, key) if self.base else ""
            setattr(self, key, values.get(key, inherited))
        if not self.source or not self.fragments:
            raise Problem(f"{path}: a recipe without base needs source and fragments")
        if not re.fullmatch(r"[a-z0-9-]*", self.tree):
            raise Problem(f"{path}: tree: expected a name of a-z, 0-9 and '-', got '{self.tree}'")
        self.series = (self.base.series if self.base else []) + values.get("patches", "").split()

    def vary(self, base, variant):
        base = Recipe(base)
        self.base, self.series = base, base.series
        self.source, self.suites, self.request = base.source, base.suites, "yes"
        self.fragments = f"{base.fragments} {variant}"
        self.tree = f"{base.tree}-{variant}".removeprefix("-")

    def on_request(self):
        return self.request == "yes"

    def patches(self):
        """The patch files in the order in which they apply."""
        files = []
        for series in self.series:
            found = sorted((HERE / "patches" / series).glob("*.patch"))
            if not found:
                raise Problem(f"recipe {self.name}: patches/{series} has no patches")
            files += found
        return files

    def fragment_files(self, arch):
        return [HERE / "fragments" / f"{name.replace('{arch}', arch)}.config"
                for name in self.fragments.split()]


# Each with its fragment: two CPUs (for x86_64), PAN in software (for arm64), memory cgroups.
VARIANTS = ("smp", "sw-pan", "memcg")


def variant_of(name):
    """The base and the variant that `name` is of; None if it is of none."""
    for variant in VARIANTS:
        base = name.removesuffix(f"-{variant}")
        if base != name and (HERE / "recipes" / base).is_file():
            return base, variant
    return None


def names(variants=False):
    order = {"lts-sealed": 0, "lts-unsealed": 1, "lying": 2}
    found = [p.name for p in (HERE / "recipes").iterdir() if not p.name.startswith(".")]
    found.sort(key=lambda n: (order.get(n, 9), n))
    varied = [f"-{variant}" for variant in VARIANTS] if variants else []
    return [base + suffix for base in found for suffix in ["", *varied]]


def write_atomically(path, text):
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    os.replace(temporary, path)


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def cross_prefix(arch):
    """The prefix of the tool chain that builds for `arch` on this host."""
    if os.uname().machine == {"x86_64": "x86_64", "arm64": "aarch64"}[arch]:
        return ""
    return {"x86_64": "x86_64-linux-gnu-", "arm64": "aarch64-linux-gnu-"}[arch]


def toolchain(arch):
    """Tool name -> its first line of --version, for every tool that shapes code."""
    prefix = cross_prefix(arch)
    tools = [prefix + "gcc", prefix + "ld"]
    if arch == "arm64":  # the 32-bit vdso
        tools += ["arm-linux-gnueabihf-gcc", "arm-linux-gnueabihf-ld"]
    return {tool: tool_version(tool) for tool in tools}


def tool_version(tool):
    """The first line of `tool --version`, remembered until the file changes."""
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(folder, tool)
        if os.access(path, os.X_OK):
            break
    else:
        raise Problem(f"{tool} is missing (./bootstrap installs it)", 3)
    real = os.path.realpath(path)
    status = os.stat(real)
    note = cache_dir() / "tools" / sha256(f"{path} {real} {status.st_mtime_ns} {status.st_size}".encode())[:20]
    try:
        return note.read_text()
    except FileNotFoundError:
        pass
    import subprocess
    shown = subprocess.run([path, "--version"], capture_output=True, text=True, check=False,
                           env={**os.environ, "LC_ALL": "C"})
    version = shown.stdout.partition("\n")[0]
    note.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(note, version)
    return version


def resolved_source(recipe):
    """The source that the cache holds for the recipe: a dict, or None."""
    note = cache_dir() / "sources" / f"{recipe.source}.json"
    try:
        found = json.loads(note.read_text())
    except FileNotFoundError:
        return None
    return found if Path(found["tree"]).is_dir() else None


def build_facts(recipe, arch, source):
    """All that decides what comes out of a build; the key is its hash."""
    return {
        "format": FORMAT,
        "arch": arch,
        "source": {"package": source["package"], "version": source["version"]},
        "patches": [{"file": str(p.relative_to(HERE)), "sha256": sha256(p.read_bytes())}
                    for p in recipe.patches()],
        "fragments": [{"file": str(p.relative_to(HERE)), "sha256": sha256(p.read_bytes())}
                      for p in recipe.fragment_files(arch)],
        "compiler": toolchain(arch),
    }


def key_of(facts):
    # File names are for people; only content counts.
    content = dict(facts)
    for part in ("patches", "fragments"):
        content[part] = [entry["sha256"] for entry in facts[part]]
    return sha256(json.dumps(content, sort_keys=True).encode())[:20]


def kernel_dir(key):
    return cache_dir() / "kernels" / key


def find_build(recipe, arch):
    """(directory of the complete build or None, why there is none)."""
    source = resolved_source(recipe)
    if source is None:
        return None, f"its source {recipe.source} is not in the cache"
    place = kernel_dir(key_of(build_facts(recipe, arch, source)))
    if (place / "build.json").is_file():
        return place, ""
    return None, "no finished build matches the present source, patches, configuration and compiler"
