"""Programs of others out of the archive's packages, with the libraries that they are linked with.

Nothing is installed: each package is downloaded with an apt state of our own, which checks the
archive's signature, and unpacked; what is needed is taken out of it, as it is.
"""
import fcntl
import hashlib
import os
import re
import shutil
import tempfile
from pathlib import Path

from .recipe import Problem, cache_dir, sha256, write_atomically
from .source import Apt, host_codename, run

DEBIAN = {"x86_64": "amd64", "arm64": "arm64"}
# Where the C library's loader looks without being told (Debian's multiarch).
LIBRARIES = {"x86_64": "usr/lib/x86_64-linux-gnu", "arm64": "usr/lib/aarch64-linux-gnu"}


def at_least(version, least):
    script = 'dpkg --compare-versions "$1" ge "$2" && echo yes || true'
    return run(["sh", "-c", script, "sh", version, least], "comparing versions").strip() == "yes"


class Packages:
    """Packages of one architecture, unpacked one after the other into a folder."""

    def __init__(self, arch, suites, scratch, say):
        self.arch = arch
        self.suites = suites
        self.scratch = scratch
        self.say = say
        self.apts = {}
        self.fetched = {}  # package -> version
        self.owners = {}   # package -> the one whose apt it comes from
        self.libraries = {}  # name of a library -> (path, package)
        self.needs = {}    # package -> those that it depends on

    def apt(self, suite):
        if suite not in self.apts:
            self.apts[suite] = Apt(suite, DEBIAN[self.arch])
        return self.apts[suite]

    def newest(self, package, least):
        """(suite, version), of the first suite that has one that is new enough."""
        seen = []
        for suite in self.suites:
            version = self.apt(suite).candidate(package)
            if version and at_least(version, least):
                return suite, version
            seen.append(f"{suite} has {version or 'none'}")
        raise Problem(f"no {package} of {least} or newer for {self.arch}: {', '.join(seen)}", 3)

    def fetch(self, package, suite, version):
        """Downloads and unpacks it; its folder."""
        self.say(f"downloading {package} {version} {self.arch}")
        folder = self.scratch / package
        folder.mkdir()
        deb = self.apt(suite).download(package, version, folder)
        run(["dpkg-deb", "-x", deb, folder / "root"], f"unpacking {package}")
        deb.unlink()
        self.fetched[package] = version
        self.owners[package] = suite
        for path in sorted((folder / "root").rglob("*.so*")):
            if path.is_file():
                self.libraries.setdefault(path.name, (path, package))
        return folder / "root"

    def library(self, name, package):
        """(path, package) of a library that something of `package` is linked with."""
        # A suite of its own has all that its programs are built with. Backports stand on a release.
        suites = [self.owners[package]]
        if suites[0].endswith("-backports"):
            suites.insert(0, suites[0].removesuffix("-backports"))
        if package not in self.needs:
            self.needs[package] = self.apt(self.owners[package]).depends(package)
        for needed in self.needs[package]:
            if name in self.libraries:
                break
            if needed in self.fetched:
                continue
            for suite in suites:
                version = self.apt(suite).candidate(needed)
                if version:
                    self.fetch(needed, suite, version)
                    break
        if name not in self.libraries:
            raise Problem(f"{package} of {self.arch} is linked with {name}, and no package that it "
                          "depends on has it", 3)
        return self.libraries[name]


def linked_with(path):
    """(the program's loader or None, names of the libraries) of an ELF file."""
    shown = run(["readelf", "-ldW", path], f"reading {path.name}")
    loader = re.search(r"Requesting program interpreter: /(.*)\]", shown)
    return loader and loader.group(1), re.findall(r"\(NEEDED\).*\[(.*)\]", shown)


def put(source, root, place):
    target = root / place
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755)


def gather(programs, arch, suites, scratch, root, say):
    """Puts programs (package, path in it, least version), loader and libraries where they look for
    each other; the packages."""
    packages = Packages(arch, suites, scratch, say)
    open_files, done = [], set()
    for package, program, least in programs:
        suite, version = packages.newest(package, least)
        path = packages.fetch(package, suite, version) / program
        put(path, root, program)
        open_files.append((path, package))
    while open_files:
        path, package = open_files.pop()
        loader, needed = linked_with(path)
        for name in needed:
            if name in done:
                continue
            done.add(name)
            library, owner = packages.library(name, package)
            put(library, root, f"{LIBRARIES[arch]}/{name}")
            open_files.append((library, owner))
        if loader and loader not in done:
            done.add(loader)
            library, owner = packages.library(Path(loader).name, "libc6")
            put(library, root, loader)
    return packages.fetched


class Kept:
    """What was gathered, kept below a folder of the cache: NAME-HASH/root, and NAME-HASH/packages
    with a line for each package. A note says which one is in use, so that a call needs no network
    once there is one; what makes it, `script` and this file, is part of the note's name."""

    def __init__(self, folder, script):
        self.home = cache_dir() / folder
        self.key = sha256(script.read_bytes() + Path(__file__).read_bytes())[:12]

    def note_of(self, name):
        return self.home / f"{name}-{host_codename()}-{self.key}"

    def find(self, name):
        """The folder, or None."""
        try:
            place = self.home / self.note_of(name).read_text().strip()
        except FileNotFoundError:
            return None
        return place if (place / "packages").is_file() else None

    def fetch(self, name, programs, arch, update, say, more_suites=()):
        """The folder, made unless it is there; with `update` of the newest packages. They are of
        the host's release, else of its backports, else of the first of `more_suites` that has one
        that is new enough."""
        suites = (host_codename(), f"{host_codename()}-backports", *more_suites)
        self.home.mkdir(parents=True, exist_ok=True)
        with open(self.home / "lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            place = self.find(name)
            if place and not update:
                return place
            for left in self.home.glob(".new-*"):
                shutil.rmtree(left)
            with tempfile.TemporaryDirectory(dir=self.home, prefix=".new-") as scratch:
                new = Path(scratch, "made")
                fetched = gather(programs, arch, suites, Path(scratch), new / "root", say)
                text = "".join(f"{package} {version}\n" for package, version in fetched.items())
                (new / "packages").write_text(text)
                new.chmod(0o755)
                place = self.home / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:20]}"
                if not place.is_dir():
                    os.rename(new, place)
            write_atomically(self.note_of(name), place.name + "\n")
            say(f"made {place}")
            return place
