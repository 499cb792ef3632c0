#!/usr/bin/env python3
"""Tests of guest/tools/fetch and guest/real/fetch: what they take from which package, what they keep
and what they say when they can't go on. The scripts are the real ones; the archive has small packages
that are made here, and stand-ins for apt-cache, apt-get and readelf serve and read them."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
GUEST = pathlib.Path(__file__).resolve().parents[3] / "guest"
LIMIT = 60  # seconds

# The archive is a folder for each suite and architecture: PACKAGE/version, PACKAGE/depends.
FIND_SUITE = """#!/bin/sh
for word; do case $word in Dir::Cache=*) suite=ARCHIVE/${word##*/} ;; esac; done
for last; do :; done
"""
APT_CACHE = FIND_SUITE + """case " $* " in
  *" depends "*) cat "$suite/$last/depends" ;;
  *" show "*)
    # As apt 2.6 and 3.0 do: a suite that has no such package is an error.
    if [ ! -f "$suite/$last/version" ]; then echo "E: No packages found" >&2; exit 100; fi
    sed 's/^/Version: /' "$suite/$last/version" ;;
esac
exit 0
"""
APT_GET = FIND_SUITE + """case " $* " in
  *" update "*) mkdir -p "$suite"; exit 0 ;;
esac
echo "${suite##*/} $last" >> DOWNLOADS
if [ -f ARCHIVE/no-network ]; then echo "E: Could not connect" >&2; exit 100; fi
cp "$suite/${last%%=*}/package.deb" "$PWD/${last%%=*}_1.deb"
"""
# A program is the text that readelf would print of it.
READELF = '#!/bin/sh\nfor last; do :; done\ncat "$last"\n'


def codename():
    for line in pathlib.Path("/etc/os-release").read_text().splitlines():
        if line.startswith("VERSION_CODENAME="):
            return line.partition("=")[2].strip('"')
    raise unittest.SkipTest("not Debian")


def linked_with(*libraries, loader=None):
    text = "".join(f" 0x1 (NEEDED)  Shared library: [{name}]\n" for name in libraries)
    return (f"      [Requesting program interpreter: /{loader}]\n" if loader else "") + text


class Archive(unittest.TestCase):
    """One that is empty, and a tree with the scripts."""
    script = ""

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.home = pathlib.Path(scratch.name)
        self.cache = self.home / "cache"
        (self.home / "guest/kernel").mkdir(parents=True)
        shutil.copytree(GUEST / "kernel/kernelbuild", self.home / "guest/kernel/kernelbuild",
                        ignore=shutil.ignore_patterns("__pycache__"))
        (self.home / "guest" / self.script).parent.mkdir()
        shutil.copy(GUEST / self.script, self.home / "guest" / self.script)
        self.program("guest/kernel/host-archive", "#!/bin/sh\necho http://archive.invalid/debian -\n")
        for name, text in (("apt-cache", APT_CACHE), ("apt-get", APT_GET), ("readelf", READELF)):
            text = text.replace("ARCHIVE", f"{self.home}/archive")
            self.program(f"bin/{name}", text.replace("DOWNLOADS", f"{self.home}/downloads"))
        self.suite = codename()

    def program(self, name, text):
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def package(self, name, version, files, depends, suffix="", suite=None):
        place = self.home / f"archive/{suite or self.suite}{suffix}-amd64" / name
        shutil.rmtree(place, ignore_errors=True)
        tree = place / "tree"
        for path, text in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN/control").write_text(f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
                                             "Maintainer: x <x@example.org>\nDescription: x\n")
        subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, place / "package.deb"],
                       check=True, capture_output=True)
        (place / "version").write_text(version + "\n")
        (place / "depends").write_text(f"{name}\n" + "".join(f"  Depends: {one}\n" for one in depends))

    def call(self, *args):
        environment = {**os.environ, "PATH": f"{self.home}/bin:{os.environ['PATH']}",
                       "SEALVISOR_CACHE": str(self.cache)}
        done = subprocess.run([self.home / "guest" / self.script, *args], env=environment, text=True,
                              capture_output=True, timeout=LIMIT, check=False)
        self.assertNotIn("Traceback", done.stderr)
        return done.returncode, done.stdout.strip(), done.stderr

    def downloads(self):
        try:
            return (self.home / "downloads").read_text().splitlines()
        except FileNotFoundError:
            return []


class Fetch(Archive):
    script = "tools/fetch"

    def setUp(self):
        super().setUp()
        self.package("stress-ng", "0.15", {"usr/bin/stress-ng": linked_with(
            "libone.so.1", "libc.so.6", loader="lib64/ld.so")}, ["<libc6>", "libone1", "unused"])
        self.package("linux-perf", "6.1", {"usr/bin/perf": "too old"}, [])
        self.package("linux-perf", "6.12", {"usr/bin/perf": linked_with(
            "libtwo.so", "libc.so.6", loader="lib64/ld.so")}, ["<libc6>", "libtwo2"], "-backports")
        # What a library is linked with is in what its own package depends on.
        self.package("libone1", "1", {"usr/lib/x/libone.so.1": linked_with("libtwo.so")}, ["libtwo2"])
        self.package("libtwo2", "2", {"usr/lib/x/libtwo.so": linked_with("libc.so.6")}, [])
        self.package("libtwo2", "3", {"usr/lib/x/libtwo.so": "of backports"}, [], "-backports")
        self.package("libc6", "2.36", {"lib/x/libc.so.6": linked_with("ld.so"), "lib64/ld.so": ""}, [])
        self.package("unused", "1", {"usr/lib/x/libunused.so": ""}, [])

    def fetch(self, *args):
        status, out, err = self.call("x86_64", *args)
        self.assertEqual(status, 0, err)
        return pathlib.Path(out)

    def refused(self, *words):
        status, out, err = self.call("x86_64")
        self.assertEqual((status, out), (3, ""), err)
        for word in words:
            self.assertIn(word, err)
        self.assertEqual(self.call("path", "x86_64")[0], 3)
        self.assertEqual(list(self.cache.glob("foreign/x86_64-*")), [])

    def test_takes_programs_and_what_they_are_linked_with(self):
        place = self.fetch()
        root = place / "root"
        found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
        libraries = {f"usr/lib/x86_64-linux-gnu/{name}" for name in
                     ("libone.so.1", "libtwo.so", "libc.so.6", "ld.so")}
        self.assertEqual(found, {"usr/bin/stress-ng", "usr/bin/perf", "lib64/ld.so"} | libraries)
        self.assertEqual(set((place / "packages").read_text().splitlines()),
                         {"stress-ng 0.15", "linux-perf 6.12", "libone1 1", "libtwo2 2", "libc6 2.36"})

    def test_takes_the_releases_own_packages_where_they_do(self):
        self.fetch()
        newer = [line for line in self.downloads() if line.startswith(f"{self.suite}-backports")]
        self.assertEqual(newer, [f"{self.suite}-backports-amd64 linux-perf=6.12"])

    def test_asks_nobody_for_what_it_has(self):
        self.assertEqual(self.call("path", "x86_64")[0], 3)
        place = self.fetch()
        before = self.downloads()
        (self.home / "archive/no-network").touch()
        self.assertEqual(self.fetch(), place)
        self.assertEqual(self.call("path", "x86_64"), (0, str(place), ""))
        self.assertEqual(self.downloads(), before)

    def test_takes_what_is_new_when_it_is_asked_to(self):
        place = self.fetch()
        self.package("libone1", "1.1", {"usr/lib/x/libone.so.1": "new"}, [])
        self.assertEqual(self.fetch(), place)
        newer = self.fetch("--update")
        self.assertNotEqual(newer, place)
        self.assertEqual((newer / "root/usr/lib/x86_64-linux-gnu/libone.so.1").read_text(), "new")
        self.assertEqual(self.call("path", "x86_64")[1], str(newer))

    def test_names_what_is_missing(self):
        self.package("libone1", "1", {"usr/lib/x/libother.so": ""}, [])
        self.refused("stress-ng", "libone.so.1", "no package that it depends on has it")

    def test_names_what_is_too_old(self):
        self.package("linux-perf", "6.3", {"usr/bin/perf": ""}, [], "-backports")
        self.refused("no linux-perf of 6.4 or newer", f"{self.suite} has 6.1",
                     f"{self.suite}-backports has 6.3")

    def test_keeps_nothing_of_what_it_could_not_end(self):
        (self.home / "archive/no-network").touch()
        self.refused("Could not connect")

    def test_refuses_other_words(self):
        for words in (["mips"], ["path"], ["path", "mips"], ["x86_64", "arm64"]):
            status, out, err = self.call(*words)
            self.assertEqual((status, out), (2, ""), err)


class RealPrograms(Archive):
    script = "real/fetch"

    def setUp(self):
        super().setUp()
        program = linked_with("libc.so.6", loader="lib64/ld.so")
        libc = linked_with("ld.so")
        self.package("user-mode-linux", "6.12um1", {"usr/bin/linux.uml": "too old"}, [])
        self.package("user-mode-linux", "7.2um1", {"usr/bin/linux.uml": program}, ["libc6"], suite="sid")
        self.package("criu", "3.17", {"usr/sbin/criu": program}, ["libc6"])
        self.package("libc6", "2.36", {"lib/x/libc.so.6": libc, "lib64/ld.so": "of the release"}, [])
        self.package("libc6", "2.41", {"lib/x/libc.so.6": libc, "lib64/ld.so": "of sid"}, [], suite="sid")

    def made(self, name):
        """Its folder, and the texts of its files."""
        status, out, err = self.call(name)
        self.assertEqual(status, 0, err)
        root = pathlib.Path(out, "root")
        return pathlib.Path(out), {str(path.relative_to(root)): path.read_text()
                                   for path in root.rglob("*") if path.is_file()}

    def test_takes_a_program_with_the_library_that_it_was_built_with(self):
        place, found = self.made("uml")
        self.assertEqual(found["lib64/ld.so"], "of sid")
        self.assertEqual(set((place / "packages").read_text().splitlines()),
                         {"user-mode-linux 7.2um1", "libc6 2.41"})
        place, found = self.made("criu")
        self.assertEqual(found["lib64/ld.so"], "of the release")
        self.assertEqual(set((place / "packages").read_text().splitlines()), {"criu 3.17", "libc6 2.36"})

    def test_tells_where_each_is_once_it_is_there(self):
        self.assertEqual(self.call("path", "criu")[0], 3)
        self.assertEqual(self.call("all")[0], 0)
        (self.home / "archive/no-network").touch()
        for name in ("uml", "criu"):
            self.assertEqual(self.call("path", name)[:2], (0, str(self.made(name)[0])))

    def test_refuses_other_words(self):
        for words in (["rr"], ["path"], ["path", "rr"], ["uml", "criu"]):
            status, out, err = self.call(*words)
            self.assertEqual((status, out), (2, ""), err)


if __name__ == "__main__":
    unittest.main()
