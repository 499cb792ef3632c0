#!/usr/bin/env python3
"""Tests of guest/kernel/stock: which package it takes a kernel from, what it keeps and what it says
when it can't go on. The script is the real one; the archive has small packages that are made here, and
stand-ins for apt-cache and apt-get serve them."""
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
META = "linux-image-cloud-amd64"

# The archive is a folder for each suite and architecture: PACKAGE/version, PACKAGE/depends.
FIND_SUITE = """#!/bin/sh
for word; do case $word in Dir::Cache=*) suite=ARCHIVE/${word##*/} ;; esac; done
for last; do :; done
"""
APT_CACHE = FIND_SUITE + """case " $* " in
  *" depends "*) cat "$suite/$last/depends" ;;
  *" show "*) [ ! -f "$suite/$last/version" ] || sed 's/^/Version: /' "$suite/$last/version" ;;
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


class Stock(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.home = pathlib.Path(scratch.name)
        self.cache = self.home / "cache"
        (self.home / "guest/kernel").mkdir(parents=True)
        shutil.copytree(GUEST / "kernel/kernelbuild", self.home / "guest/kernel/kernelbuild",
                        ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(GUEST / "kernel/stock", self.home / "guest/kernel")
        self.program("guest/kernel/host-archive", "#!/bin/sh\necho http://archive.invalid/debian -\n")
        for name, text in (("apt-cache", APT_CACHE), ("apt-get", APT_GET)):
            text = text.replace("ARCHIVE", f"{self.home}/archive")
            self.program(f"bin/{name}", text.replace("DOWNLOADS", f"{self.home}/downloads"))
        self.kernel("6.1.0-9", "6.1.90-1")

    def program(self, name, text):
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def package(self, name, version, files, depends, suite="bookworm"):
        place = self.home / f"archive/{suite}-amd64" / name
        shutil.rmtree(place, ignore_errors=True)
        tree = place / "tree"
        for path, text in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN/control").write_text(f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
                                             "Maintainer: x <x@example.org>\nDescription: x\n")
        subprocess.run(["dpkg-deb", "--root-owner-group", "-b", tree, place / "package.deb"],
                       check=True, capture_output=True)
        (place / "version").write_text(version + "\n")
        (place / "depends").write_text(f"{name}\n" + "".join(f"  Depends: {one}\n" for one in depends))

    def kernel(self, release, version, suite="bookworm"):
        name = f"linux-image-{release}-cloud-amd64"
        self.package(name, version, {f"boot/vmlinuz-{release}-cloud-amd64": f"kernel {version}",
                                     f"boot/config-{release}-cloud-amd64": "CONFIG_X=y\n",
                                     f"lib/modules/{release}/x.ko": "module"}, ["kmod"], suite)
        self.package(META, version, {}, [name, "initramfs-tools"], suite)

    def call(self, *args):
        environment = {**os.environ, "PATH": f"{self.home}/bin:{os.environ['PATH']}",
                       "SEALVISOR_CACHE": str(self.cache)}
        done = subprocess.run([self.home / "guest/kernel/stock", *args], env=environment, text=True,
                              capture_output=True, timeout=LIMIT, check=False)
        self.assertNotIn("Traceback", done.stderr)
        return done.returncode, done.stdout.strip(), done.stderr

    def fetch(self, *args):
        status, out, err = self.call("fetch", *args)
        self.assertEqual(status, 0, err)
        return pathlib.Path(out)

    def downloads(self):
        try:
            return (self.home / "downloads").read_text().splitlines()
        except FileNotFoundError:
            return []

    def refused(self, *words):
        status, out, err = self.call("fetch", "debian-12", "x86_64")
        self.assertEqual((status, out), (3, ""), err)
        for word in words:
            self.assertIn(word, err)
        self.assertEqual(self.call("path", "debian-12", "x86_64")[0], 3)
        self.assertEqual(list(self.cache.glob("stock/kernels/*")), [])

    def test_takes_the_image_that_the_suites_cloud_kernel_is(self):
        image = self.fetch("debian-12", "x86_64")
        self.assertEqual(image.read_text(), "kernel 6.1.90-1")
        self.assertEqual({path.name for path in image.parent.iterdir()}, {"vmlinuz", "config", "package"})
        self.assertEqual((image.parent / "package").read_text(),
                         "linux-image-6.1.0-9-cloud-amd64 6.1.90-1\n")
        self.assertEqual(self.downloads(), ["bookworm-amd64 linux-image-6.1.0-9-cloud-amd64=6.1.90-1"])

    def test_each_name_is_a_suite(self):
        self.kernel("6.12.9", "6.12.9-1~bpo12+1", "bookworm-backports")
        self.assertEqual(self.fetch("debian-12-backports", "x86_64").read_text(), "kernel 6.12.9-1~bpo12+1")
        self.assertEqual(self.call("path", "debian-12", "x86_64")[0], 3)

    def test_asks_nobody_for_what_it_has(self):
        status, _, err = self.call("path", "debian-12", "x86_64")
        self.assertEqual(status, 3)
        self.assertIn("guest/kernel/stock fetch debian-12 x86_64", err)
        image = self.fetch("debian-12", "x86_64")
        before = self.downloads()
        (self.home / "archive/no-network").touch()
        self.assertEqual(self.fetch("debian-12", "x86_64"), image)
        self.assertEqual(self.call("path", "debian-12", "x86_64"), (0, str(image), ""))
        self.assertEqual(self.downloads(), before)

    def test_takes_what_is_new_when_it_is_asked_to(self):
        image = self.fetch("debian-12", "x86_64")
        self.kernel("6.1.0-10", "6.1.95-1")
        self.assertEqual(self.fetch("debian-12", "x86_64"), image)
        newer = self.fetch("debian-12", "x86_64", "--update")
        self.assertEqual(newer.read_text(), "kernel 6.1.95-1")
        self.assertEqual(self.call("path", "debian-12", "x86_64")[1], str(newer))

    def test_names_a_package_that_names_no_image(self):
        self.package(META, "1", {}, ["initramfs-tools"])
        self.refused(META, "names no package of an image")

    def test_keeps_nothing_of_what_it_could_not_end(self):
        (self.home / "archive/no-network").touch()
        self.refused("Could not connect")

    def test_lists_what_there_is(self):
        self.fetch("debian-12", "x86_64")
        status, out, _ = self.call("list")
        self.assertEqual(status, 0)
        lines = [line.split(maxsplit=2) for line in out.splitlines()]
        self.assertIn(["debian-12", "x86_64", "linux-image-6.1.0-9-cloud-amd64 6.1.90-1"], lines)
        self.assertIn(["debian-12", "arm64", "not fetched"], lines)

    def test_refuses_other_words(self):
        for words in ([], ["fetch"], ["fetch", "debian-1"], ["fetch", "debian-12", "mips"],
                      ["path", "debian-12"], ["path", "debian-12", "all"], ["list", "all"], ["remove"]):
            status, out, err = self.call(*words)
            self.assertEqual((status, out), (2, ""), err)


if __name__ == "__main__":
    unittest.main()
