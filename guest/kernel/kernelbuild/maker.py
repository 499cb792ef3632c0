"""Configure, compile and file a guest kernel."""
import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from . import recipe as rc
from .progress import FIRST_ESTIMATE, STEP_ESTIMATE, Counts, Progress, duration
from .source import apply_series, fetch, say

NEEDED = {"make": "make", "flex": "flex", "bison": "bison", "bc": "bc", "perl": "perl", "patch": "patch",
          "xz": "xz-utils", "tar": "tar", "gcc": "gcc", "lz4": "lz4", "dpkg-deb": "dpkg",
          "setpriv": "util-linux"}
TWIN_SYMBOL = "MSEAL_SYSTEM_MAPPINGS"
TWIN_MACRO = "VM_SEALED_SYSMAP"


def build(recipe, arch, update=False):
    """Build the recipe unless it is built; returns the directory of the result."""
    if not update:
        place, _ = rc.find_build(recipe, arch)
        if place:
            say(f"{recipe.name} {arch} is built")
            return place
    check_tools()
    with locked() as lock:
        home = prepare(recipe, update)
        # Someone else may have built it while this one waited for the lock.
        place, _ = rc.find_build(recipe, arch)
        if place:
            say(f"{recipe.name} {arch} is built")
            return place
        return compile_and_file(recipe, arch, home, lock)


def prepared_source(recipe):
    """The unpacked source with the recipe's series applied."""
    check_tools()
    with locked():
        return prepare(recipe, False) / "src"


def prepare(recipe, update):
    source = rc.resolved_source(recipe)
    if source is None or update:
        source = fetch(recipe, source)
    home = Path(source["tree"])
    apply_series(home, recipe.patches())
    return home


def check_tools():
    missing = sorted({package for tool, package in NEEDED.items() if not shutil.which(tool)})
    if not Path("/usr/include/libelf.h").exists():
        missing.append("libelf-dev")
    if missing:
        raise rc.Problem(f"building a kernel needs packages that are missing: {' '.join(missing)} "
                         "(./bootstrap installs them)", 3)


@contextlib.contextmanager
def locked():
    """One build at a time per cache; also clears what a killed build left. Gives the lock's file:
    what is still at work in the cache after this process was killed must hold it."""
    cache = rc.cache_dir()
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another build uses this cache; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        for pattern in ("kernels/.new-*", "trees/.new-*", "trees/*/.patch-*"):
            for left in cache.glob(pattern):
                shutil.rmtree(left, ignore_errors=True)
        yield lock


# In depend mode ccache does not see what .incbin takes in, and gives another recipe's object: of the
# vdso on arm64 (arch/arm64/kernel/vdso-wrap.S), of the unpacked kernel in a bzImage (piggy.S). The C
# files that have one, kernel/configs.c and kernel/kheaders.c, are in none of our configurations.
CCACHE_OF_C = """#!/bin/sh
for last; do :; done
case $last in
  *.S) exec "$@" ;;
esac
exec ccache "$@"
"""


def ccache_of_c():
    """The compiler's wrapper: ccache, but for assembler files. Of one name for all checkouts."""
    path = rc.cache_dir() / "tools" / "ccache-of-c"
    if not path.exists() or path.read_text() != CCACHE_OF_C:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        temporary.write_text(CCACHE_OF_C)
        temporary.chmod(0o755)  # before anybody can find it
        os.replace(temporary, path)
    return path


class Tree:
    """The output folder of one source and architecture; recipes that name no other share it."""

    def __init__(self, home, arch, log, lock, name=""):
        self.source, self.arch, self.log, self.lock = home / "src", arch, log, lock
        self.out = home / (f"{arch}-{name}" if name else arch)
        self.out.mkdir(exist_ok=True)
        compiler = rc.cross_prefix(arch) + "gcc"
        wrap = f"{ccache_of_c()} " if shutil.which("ccache") else ""
        # It ends when this process does; until it has, it holds the lock, and no other make starts.
        self.command = ["setpriv", "--pdeathsig", "TERM", "make", "-C", str(self.source),
                        f"O={self.out}", f"ARCH={arch}", f"CROSS_COMPILE={rc.cross_prefix(arch)}",
                        f"CC={wrap}{compiler}", f"HOSTCC={wrap}gcc",
                        # Not used, and their versions would end up in the configuration.
                        "RUSTC=false", "PAHOLE=false"]
        if arch == "arm64":
            self.command.append("CROSS_COMPILE_COMPAT=arm-linux-gnueabihf-")
        keep = ("PATH", "HOME", "TMPDIR", "USER")
        self.env = {name: os.environ[name] for name in keep if name in os.environ}
        # The same input gives the same bytes on every machine.
        self.env.update(LC_ALL="C", KBUILD_BUILD_TIMESTAMP="Thu Jan  1 00:00:00 UTC 2026",
                        KBUILD_BUILD_USER="sealvisor", KBUILD_BUILD_HOST="sealvisor",
                        KBUILD_BUILD_VERSION="1")
        # Depend mode takes the header list from the compiler instead of running
        # the preprocessor first, which would cost a build from nothing a sixth.
        self.env.update(CCACHE_DIR=str(rc.cache_dir() / "ccache"), CCACHE_MAXSIZE="1G", CCACHE_DEPEND="1")

    def make(self, targets, on_line=None, jobs=1, **extra):
        """Run make; every line goes to the log and to `on_line`."""
        child = subprocess.Popen([*self.command, f"-j{jobs}", *targets], env={**self.env, **extra},
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                 text=True, errors="replace", start_new_session=True,
                                 pass_fds=(self.lock.fileno(),))
        try:
            for line in child.stdout:
                self.log.write(line)
                if on_line:
                    on_line(line)
            status = child.wait()
            if status < 0:
                raise rc.Problem(f"make was killed by signal {-status}; run it again to go on from here")
            if status:
                self.fail(targets)
        finally:
            if child.poll() is None:  # interrupted
                os.killpg(child.pid, signal.SIGTERM)
                child.wait()

    def fail(self, targets):
        self.log.flush()
        lines = Path(self.log.name).read_text(errors="replace").splitlines()
        errors = [l for l in lines if re.search(r"error:|Error \d|not found|No such file|\*\*\*", l)][:12]
        raise rc.Problem(f"make {' '.join(targets)} failed:\n" + "\n".join(errors or lines[-12:]) +
                         f"\nthe whole log is {self.log.name}")

    def configure(self, fragments):
        """Write .config from the fragments and check that it holds all they ask."""
        text = "".join(f.read_text() for f in fragments)
        wanted = last_assignments(text)
        merged = self.out / ".fragments"
        # A symbol that two fragments set is written once, or kconfig complains.
        merged.write_text("".join(assignment(name, value) for name, value in wanted.items()))
        self.make(["allnoconfig"], KCONFIG_ALLCONFIG=str(merged))
        have = last_assignments((self.out / ".config").read_text())
        refused = [assignment(name, value).strip() for name, value in wanted.items()
                   if have.get(name, "n") != value]
        if refused:
            raise rc.Problem("the kernel's configuration does not take: " + "; ".join(refused))


def last_assignments(text):
    """Symbol -> value without quotes; 'n' for '# CONFIG_X is not set'."""
    values = {}
    for line in text.splitlines():
        match = re.match(r"^CONFIG_(\w+)=(.*)$", line)
        if match:
            values[match.group(1)] = match.group(2).strip('"')
        match = re.match(r"^# CONFIG_(\w+) is not set$", line)
        if match:
            values[match.group(1)] = "n"
    return values


def assignment(name, value):
    if value == "n":
        return f"# CONFIG_{name} is not set\n"
    plain = re.fullmatch(r"y|m|-?\d+|0x[0-9a-fA-F]+", value)
    return f"CONFIG_{name}={value}\n" if plain else f'CONFIG_{name}="{value}"\n'


def switch_twin(tree):
    """Let make skip what the twin's symbol can't change; True if that was done.

    The symbol decides one macro of a header that nearly every file includes, so
    make would compile nearly every file again. When (1) it is the only symbol
    that changed, (2) among the files that this tree compiles only that header
    names it, and (3) only .c files use the macro, then just the objects made
    from those can differ. They are deleted and the symbol's time stamp is set
    back. In any other case make does its usual work.
    """
    previous = tree.out / "include/config/auto.conf"
    if not previous.exists():
        return False
    old, new = last_assignments(previous.read_text()), last_assignments((tree.out / ".config").read_text())
    changed = {n for n in old.keys() | new.keys() if old.get(n, "n") != new.get(n, "n")}
    if changed != {TWIN_SYMBOL}:
        return False
    users, objects = {}, []
    for command in kernel_objects(tree.out):
        names = set(re.findall(r"^(?:source_\S+ := |  +)([^\s$()]+\.[chS])(?: \\)?$", command.read_text(), re.M))
        for name in names - users.keys():
            path = tree.out / name  # an absolute name stays as it is
            if not path.exists():
                return False
            content = path.read_text(errors="replace")
            users[name] = content if TWIN_SYMBOL in content or TWIN_MACRO in content else None
        if any(users[name] and name.endswith(".c") for name in names):
            objects.append(command.with_name(command.name[1:].removesuffix(".cmd")))
    definition = re.compile(rf"#ifdef CONFIG_{TWIN_SYMBOL}\n#\s*define {TWIN_MACRO}\s+\w+\n#else\n"
                            rf"#\s*define {TWIN_MACRO}\s+\w+\n#endif")
    defined = 0
    for name, content in users.items():
        if not content:
            continue
        rest, times = definition.subn("", content)
        defined += times
        if TWIN_SYMBOL in rest or (TWIN_MACRO in rest and not name.endswith(".c")):
            return False
    if defined != 1 or not objects:
        return False
    for path in objects:
        path.unlink(missing_ok=True)
    tree.make(["syncconfig"])
    stamp = tree.out / "include/config" / TWIN_SYMBOL
    if stamp.exists():
        os.utime(stamp, (0, 0))
    return True


def kernel_objects(out):
    """The .cmd files of kernel objects; programs of the build itself see no configuration."""
    for folder in out.iterdir():
        if folder.is_dir() and folder.name not in ("tools", "scripts"):
            yield from folder.rglob(".*.o.cmd")


def compile_and_file(recipe, arch, home, lock):
    """Compile in the shared tree, then file the result under its key in one rename."""
    facts = rc.build_facts(recipe, arch, rc.resolved_source(recipe))
    key = rc.key_of(facts)
    logs = rc.cache_dir() / "logs"
    logs.mkdir(exist_ok=True)
    started = time.monotonic()
    say(f"building {recipe.name} {arch} from {facts['source']['package']} {facts['source']['version']}")
    with open(logs / f"{recipe.name}-{arch}.log", "w", encoding="utf-8") as log:
        tree = Tree(home, arch, log, lock, recipe.tree)
        tree.configure(recipe.fragment_files(arch))
        twin = switch_twin(tree)
        compiled = tree.out / "vmlinux"
        step = compiled.exists()
        counts = Counts()
        name = f"{'twin' if twin else recipe.name} {arch} {'step' if step else 'whole'}"
        before = 0 if step else sum(1 for _ in tree.out.rglob(".*.o.cmd"))
        whole = counts.total(f"{recipe.name} {arch} whole", FIRST_ESTIMATE[arch])
        total = counts.total(name, STEP_ESTIMATE) if step else whole
        progress = Progress(f"{recipe.name} {arch}", total - before, whole)
        jobs = int(os.environ.get("SEALVISOR_JOBS") or len(os.sched_getaffinity(0)))
        targets = ["vmlinux", "bzImage" if arch == "x86_64" else "Image"]
        try:
            tree.make(targets, progress.line, jobs)
        except BaseException:
            progress.finish("stopped")
            raise
        progress.finish("compiled")
        counts.record(name, progress.done + before)
    return file_result(recipe, tree, facts, key, time.monotonic() - started)


def file_result(recipe, tree, facts, key, seconds):
    boot = tree.out / "arch"
    files = {"vmlinux": tree.out / "vmlinux", "System.map": tree.out / "System.map",
             "config": tree.out / ".config"}
    if tree.arch == "x86_64":
        files["image"] = boot / "x86/boot/bzImage"
    else:
        files["Image"] = boot / "arm64/boot/Image"
    kernels = rc.cache_dir() / "kernels"
    kernels.mkdir(exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=kernels, prefix=".new-"))
    temporary.chmod(0o755)
    sums = {}
    for name, path in files.items():
        shutil.copyfile(path, temporary / name)
        sums[name] = rc.sha256((temporary / name).read_bytes())
    release = (tree.out / "include/config/kernel.release").read_text().strip()
    record = {"recipe": recipe.name, "key": key, **facts, "release": release,
              "config_sha256": sums["config"], "files": sums, "seconds": round(seconds, 1)}
    rc.write_atomically(temporary / "build.json", json.dumps(record, indent=2) + "\n")
    place = rc.kernel_dir(key)
    if place.exists():  # it has no build.json, or it would have been used
        shutil.rmtree(place)
    os.rename(temporary, place)
    say(f"{recipe.name} {tree.arch} took {duration(seconds)}")
    return place
