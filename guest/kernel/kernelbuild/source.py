"""Get a kernel source package from the host's archive and bring a patch series onto it.

The host's package system is only asked, never changed: no source is added to it
and nothing is installed. A suite that it does not know is looked up with an apt
state of our own in the cache, at the archive that the host itself uses.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from .progress import Share
from .recipe import HERE, Problem, cache_dir, write_atomically

# Folders of which no kernel here compiles anything. Their Kconfig files and
# makefiles stay, for the configuration is still read as a whole. The loopback
# device, in drivers/net itself, is part of every kernel that has sockets.
UNUSED_CODE = ["drivers/gpu", "drivers/infiniband", "drivers/media", "drivers/net/*", "drivers/scsi",
               "drivers/staging", "drivers/usb", "drivers/iio", "drivers/hwmon", "sound"]


def say(text):
    print(f"kernel: {text}", file=sys.stderr, flush=True)


def run(command, what, none=None, **options):
    """What it prints; "" if it fails and says `none`. Its words are looked at: they must be English
    whatever the host speaks."""
    options.setdefault("env", {**os.environ, "LC_ALL": "C"})
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL, **options)
    if done.returncode and none and none in done.stderr:
        return ""
    if done.returncode:
        raise failure(command, what, done.returncode, done.stderr or done.stdout)
    return done.stdout


def failure(command, what, status, output):
    tail = "\n".join(output.strip().splitlines()[-8:])
    return Problem(f"{what} failed (exit {status}): {' '.join(map(str, command))}\n{tail}", 3)


def run_long(command, what, told, whole, **options):
    """Run a command whose standard error tells, in lines that match `told`, how much of `whole`
    is done."""
    share, rest = Share(what, whole), []
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True, errors="replace", **options) as child:
        try:
            for line in child.stderr:
                match = re.match(told, line)
                if match:
                    share.at(float(match.group(1)))
                else:
                    rest.append(line)
        except BaseException:
            child.terminate()
            raise
    if child.returncode:
        raise failure(command, what, child.returncode, "".join(rest))
    share.finish("done")


class Apt:
    """apt as the host has it, or (suite given) with a state of our own; with a Debian name of an
    architecture (arm64) for that one, which the host's package system need not know."""

    def __init__(self, suite=None, arch=None):
        # As root apt would drop to a user that can't write into our cache.
        self.options = ["-o", "APT::Sandbox::User=root"]
        if suite is None:
            return
        site, keyring = host_archive()
        state = cache_dir() / "apt" / (f"{suite}-{arch}" if arch else suite)
        for folder in ("lists/partial", "archives/partial"):
            (state / folder).mkdir(parents=True, exist_ok=True)
        signed = f" [signed-by={keyring}]" if keyring else ""
        (state / "sources.list").write_text(f"deb{signed} {site} {suite} main\n")
        self.options += ["-o", f"Dir::Etc::SourceList={state}/sources.list",
                         "-o", "Dir::Etc::SourceParts=-",
                         "-o", "Dir::Etc::Preferences=-", "-o", "Dir::Etc::PreferencesParts=-",
                         "-o", f"Dir::State::Lists={state}/lists",
                         "-o", f"Dir::Cache={state}"]
        what = f"reading the package list of {suite}"
        if arch:
            what += f" for {arch}"
            (state / "status").touch()
            self.options += ["-o", f"APT::Architecture={arch}", "-o", f"APT::Architectures={arch}",
                             "-o", f"Dir::State={state}", "-o", f"Dir::State::Status={state}/status",
                             # Some hosts turn this cache off; then each question reads the whole list.
                             "-o", "Dir::Cache::pkgcache=pkgcache.bin"]
        say(what)
        run(["apt-get", *self.options, "-qq", "update"], what)

    def names(self, pattern):
        """Package names that match e.g. linux-source-7.*, newest first."""
        regex = "^" + re.escape(pattern).replace(r"\*", "[0-9]+") + "$"
        found = run(["apt-cache", *self.options, "search", "--names-only", regex], "searching packages")
        packages = [line.split(" ", 1)[0] for line in found.splitlines()]
        return sorted(packages, key=lambda n: [int(d) for d in re.findall(r"\d+", n)], reverse=True)

    def candidate(self, package):
        """The version that apt would install, or None."""
        shown = run(["apt-cache", *self.options, "show", "--no-all-versions", package],
                    f"looking up {package}", none="No packages found")
        match = re.search(r"^Version: (\S+)$", shown, re.M)
        return match and match.group(1)

    def depends(self, package):
        """Names of what `package` needs, of alternatives each one. Not all are packages of this suite."""
        shown = run(["apt-cache", *self.options, "depends", "--important", package],
                    f"looking up what {package} needs")
        return re.findall(r"^ *\|?Depends: <?([a-z0-9][a-z0-9+.-]+)>?$", shown, re.M)

    def download(self, package, version, folder):
        run_long(["apt-get", *self.options, "-qq", "-o", "APT::Status-Fd=2", "download",
                  f"{package}={version}"],
                 f"downloading {package}", r"dlstatus:\d+:([\d.]+):", 100.0, cwd=folder)
        return the_one(folder, f"{package}_*.deb", f"downloading {package} {version}")


def the_one(folder, pattern, what):
    """The file in `folder` that matches."""
    found = list(Path(folder).glob(pattern))
    if len(found) != 1:
        raise Problem(f"{what} gave {len(found)} files {pattern}, expected one", 3)
    return found[0]


def host_archive():
    """(URI, keyring or '') of the Debian archive that the host's own sources name."""
    uri, keyring = run([HERE / "host-archive"], "reading the host's apt sources").split()
    return uri, keyring if keyring != "-" else ""


def host_codename():
    release = Path("/etc/os-release").read_text()
    match = re.search(r'^VERSION_CODENAME="?([a-z]+)', release, re.M)
    if not match:
        raise Problem("/etc/os-release has no VERSION_CODENAME; this needs Debian", 3)
    return match.group(1)


def find_package(recipe):
    """(apt, package, version) of the recipe's source, from the first place that has it."""
    suites = [f"{host_codename()}-{s}" if s in ("security", "backports", "updates") else s
              for s in recipe.suites.split()]
    for suite in [None, *suites]:
        apt = Apt(suite)
        for package in apt.names(recipe.source):
            version = apt.candidate(package)
            if version:
                return apt, package, version
    raise Problem(f"no archive of this host serves {recipe.source} (looked in the host's own apt "
                  f"sources and in: {', '.join(suites)}); run apt-get update first", 3)


def fetch(recipe, present):
    """Download and unpack the newest source of the recipe unless `present` is it."""
    apt, package, version = find_package(recipe)
    note = cache_dir() / "sources" / f"{recipe.source}.json"
    if present and (present["package"], present["version"]) == (package, version):
        say(f"{package} {version} is the newest")
        return present
    free = shutil.disk_usage(cache_dir()).free
    if free < 4 << 30:
        raise Problem(f"{cache_dir()} has {free >> 20} MiB free; unpacking and building needs 4096 MiB", 3)
    trees = cache_dir() / "trees"
    trees.mkdir(exist_ok=True)
    home = trees / f"{package}_{version}"
    if not (home / "src").is_dir():
        home.mkdir(exist_ok=True)
        with tempfile.TemporaryDirectory(dir=trees, prefix=".new-") as scratch:
            say(f"downloading {package} {version}")
            deb = apt.download(package, version, scratch)
            say(f"unpacking {package} {version}")
            run(["dpkg-deb", "-x", deb, f"{scratch}/deb"], f"unpacking the package {package}")
            deb.unlink()
            opened = f"opening {package} {version}"
            tarball = the_one(Path(scratch, "deb/usr/src"), "linux-source-*.tar.*", opened)
            unpack(tarball, Path(scratch, "tree"), f"unpacking {package}")
            os.rename(the_one(Path(scratch, "tree"), "*", opened), home / "src")
    source = {"package": package, "version": version, "tree": str(home)}
    note.parent.mkdir(exist_ok=True)
    write_atomically(note, json.dumps(source, indent=2) + "\n")
    return source


# tar tells each time that it has read this many records of 10 KiB.
RECORDS = 2000


def unpack(tarball, into, what):
    into.mkdir()
    packers = {"xz": "xz -T0", "zst": "zstd", "gz": "gzip", "bz2": "bzip2"}
    unpacker = packers.get(tarball.suffix[1:])
    if unpacker is None:
        raise Problem(f"{what}: {tarball.name} is packed in a way that is not known "
                      f"(known: {', '.join(packers)})", 3)
    leave = ["--exclude=*/boot/dts/*.dts", "--exclude=*/boot/dts/*.dtsi", "--exclude=*/boot/dts/*.dtso"]
    leave += [f"--exclude=*/{folder}/*.{end}" for folder in UNUSED_CODE for end in ("c", "h", "S")]
    whole = unpacked_size(tarball)
    run_long(["tar", "-x", "-I", unpacker, f"--checkpoint={RECORDS}", "--checkpoint-action=echo=record %u",
              *leave, "-f", tarball, "-C", into], what, r"tar: record (\d+)$", whole and whole / 10240)


def unpacked_size(tarball):
    """Bytes, or None where the format does not tell."""
    if tarball.suffix != ".xz":
        return None
    totals = run(["xz", "--robot", "--list", tarball], f"looking into {tarball.name}").splitlines()[-1]
    return int(totals.split("\t")[4])


def touched_by(patch):
    """The files that a patch changes, from its +++ and --- lines."""
    names = set()
    for line in patch.read_text().splitlines():
        match = re.match(r"^(?:---|\+\+\+) [ab]/(\S+)", line)
        if match:
            names.add(match.group(1))
    return names


def apply_series(home, patches):
    """Make the tree equal pristine source + patches, touching only files that differ.

    Pristine copies of all files that a patch ever touched are kept beside the
    tree. The wanted content is made from those in a scratch folder and moved in
    file by file, so it does not matter what an interrupted run left behind, and
    make recompiles no file that stayed the same.
    """
    tree, pristine = home / "src", home / "pristine"
    wanted = set().union(*(touched_by(p) for p in patches)) if patches else set()
    for name in wanted:
        keep, absent = pristine / name, pristine / f"{name}.absent"
        if keep.exists() or absent.exists():
            continue
        keep.parent.mkdir(parents=True, exist_ok=True)
        if (tree / name).exists():
            temporary = keep.with_name(f".{keep.name}.new")
            shutil.copyfile(tree / name, temporary)
            os.replace(temporary, keep)
        else:
            absent.touch()
    with tempfile.TemporaryDirectory(dir=home, prefix=".patch-") as scratch:
        scratch = Path(scratch)
        ever = {str(p.relative_to(pristine)).removesuffix(".absent")
                for p in pristine.rglob("*") if p.is_file() and p.suffix != ".new"}
        for name in ever:
            if (pristine / name).exists():
                (scratch / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(pristine / name, scratch / name)
        for patch in patches:
            run(["patch", "-p1", "-s", "-f", "--fuzz=0", "--no-backup-if-mismatch", "-d", scratch, "-i", patch],
                f"applying {patch.name}")
        for name in sorted(ever):
            new, old = scratch / name, tree / name
            if not new.exists():
                old.unlink(missing_ok=True)
            elif not old.exists() or old.read_bytes() != new.read_bytes():
                mode = old.stat().st_mode if old.exists() else new.stat().st_mode
                new.chmod(mode)
                old.parent.mkdir(parents=True, exist_ok=True)
                os.replace(new, old)
