#!/usr/bin/env python3
"""Installs into a folder of its own and uses the program from there, without kernels or guests.

Usage: install_test.py CMAKE BUILD_DIR SOURCE_DIR LIBRARY_DIR

That it needs neither build nor source tree is shown twice: each thing that it needs is taken out
of the installed tree, and then it misses just that; and where this user may make a mount
namespace, all of it runs with both trees out of sight."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

LIMIT = 60  # seconds
ARCHES = ("x86_64", "arm64")
HIDE = 'mount -t tmpfs none "$1" && if [ -d "$2" ]; then mount -t tmpfs none "$2"; fi && shift 2 && exec "$@"'


class Installed(unittest.TestCase):
    cmake = build = source = libraries = None

    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = pathlib.Path(scratch.name)
        self.prefix = self.scratch / "prefix"
        done = subprocess.run([self.cmake, "--install", self.build, "--prefix", self.prefix],
                              capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.own = self.prefix / self.libraries / "sealvisor"
        self.share = self.prefix / "share/sealvisor"

    def call(self, *args, before=()):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SEALVISOR_")}
        environment["SEALVISOR_CACHE"] = str(self.scratch / "cache")  # no kernels, whatever this host has
        done = subprocess.run([*before, self.prefix / "bin/sealvisor", *args], env=environment, cwd=self.scratch,
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False)
        said = done.stdout + done.stderr
        for tree in (self.build, self.source):
            self.assertNotIn(f"{tree}/", said, args)
        return done.returncode, said

    def files(self):
        return {path: path.stat().st_mtime_ns for path in self.prefix.rglob("*")}

    def use_it(self, before=()):
        self.assertEqual(self.call("--version", before=before), (0, self.version()))
        status, said = self.call("scenarios", before=before)
        self.assertEqual(status, 0, said)
        self.assertIn("munmap/whole", said)
        status, said = self.call("doctor", before=before)
        self.assertEqual(status, 3, "there are no kernels:\n" + said)
        self.assertEqual(said.count("plugin loads"), len(ARCHES), said)
        self.assertEqual(said.count("guest programs built"), len(ARCHES), said)
        self.assertIn("its source linux-source-6.12 is not in the cache", said)
        status, said = self.call("kernel", "list", before=before)
        self.assertEqual(status, 0, said)
        for recipe in ("lts-sealed", "lts-unsealed", "lying"):
            self.assertIn(recipe, said)
        for command in ("verify", "compat", "lifetime"):
            status, said = self.call(command, before=before)
            self.assertEqual(status, 3, said)
            self.assertIn("kernel lts-sealed for x86_64 is not built", said)
        status, said = self.call("compat", "--real", before=before)
        self.assertEqual(status, 3, said)
        self.assertIn("uml was not fetched", said)

    def version(self):
        done = subprocess.run([self.build / "sealvisor", "--version"], capture_output=True, text=True, check=True)
        return done.stdout

    def test_runs_from_there_and_leaves_it_alone(self):
        before = self.files()
        self.use_it()
        self.assertEqual(self.files(), before)

    def test_misses_what_is_taken_away(self):
        plugin = self.own / "sealvisor-tcg.so"
        init = self.own / "guest/arm64/init"
        findings = self.share / "docs/known-findings.json"
        for path, command, wanted in (
                (init, "doctor", f"guest program {init}: No such file"),
                (findings, "verify", f"reading {findings}: No such file"),
                (plugin, "doctor", f"plugin {self.prefix}/")):
            with self.subTest(path.name):
                aside = self.scratch / "aside"
                path.rename(aside)
                status, said = self.call(command)
                aside.rename(path)
                self.assertEqual(status, 3, said)
                self.assertIn(wanted, " ".join(said.split()))

    def test_runs_without_build_and_source_tree(self):
        before = ["unshare", "--mount", "--map-root-user", "sh", "-c", HIDE, "sh", self.source, self.build]
        probe = subprocess.run([*before, "test", "!", "-e", self.source / "README.md"],
                               capture_output=True, text=True, check=False)
        if probe.returncode:
            # Then the other tests have to do: see above.
            print(f"note: no mount namespace here, so both trees stayed in sight: {probe.stderr.strip()}")
            before = []
        self.use_it(before)

    def test_has_what_belongs_to_it(self):
        licence = self.prefix / "share/doc/sealvisor/LICENSE"
        self.assertEqual(licence.read_bytes(), (self.source / "LICENSE").read_bytes())
        for arch in ARCHES:
            for name in ("init", "dynamic", "loader", "helper32", "compat", "host-init"):
                self.assertTrue(os.access(self.own / "guest" / arch / name, os.X_OK), name)
        self.assertTrue(os.access(self.share / "guest/kernel/build", os.X_OK))
        for name in ("compat-low", "uml-init", "real-target"):
            self.assertTrue(os.access(self.own / "guest/x86_64" / name, os.X_OK), name)
        self.assertTrue(os.access(self.share / "guest/real/fetch", os.X_OK))
        for name in ("report", "bench", "compat", "lifetime"):
            self.assertTrue((self.share / f"docs/{name}.schema.json").is_file(), name)
        self.assertEqual(list(self.prefix.rglob("__pycache__")), [])
        # Whatever a kernel is built from is there, as it is in the source tree.
        kept = lambda root: {path.relative_to(root): path.read_bytes() for path in root.rglob("*")
                             if path.is_file() and "__pycache__" not in path.parts}
        self.assertEqual(kept(self.share / "guest/kernel"), kept(self.source / "guest/kernel"))

    def test_can_be_moved(self):
        elsewhere = self.scratch / "elsewhere"
        shutil.move(self.prefix, elsewhere)
        self.prefix = elsewhere
        self.use_it()


if __name__ == "__main__":
    Installed.cmake, build, source, Installed.libraries = sys.argv[1:5]
    Installed.build, Installed.source = pathlib.Path(build), pathlib.Path(source)
    unittest.main(argv=[sys.argv[0]])
