#!/usr/bin/env python3
"""Tests of guest/kernel/build: its cache, interruptions, two at once, and what it says when it
can't go on. The script is the real one; recipes, compiler, archive and kernel source are small
stand-ins in a folder of their own. Nothing waits by time: a stand-in that is to be caught midway
says so through a pipe, and deadlines only end what hangs."""
import errno
import json
import os
import pathlib
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
KERNEL = pathlib.Path(__file__).resolve().parents[3] / "guest/kernel"
ARCH = {"x86_64": "x86_64", "aarch64": "arm64"}[os.uname().machine]
IMAGE = {"x86_64": "arch/x86/boot/bzImage", "arm64": "arch/arm64/boot/Image"}[ARCH]
LIMIT = 60  # seconds

# A kernel of three files. The second waits at the gate if there is one.
MAKEFILE = f"""
allnoconfig:
	cp $(KCONFIG_ALLCONFIG) $(O)/.config
	test ! -f refused || sed -i "s/^CONFIG_SEALED=.*/# CONFIG_SEALED is not set/" $(O)/.config
vmlinux: $(O)/one.o $(O)/two.o $(O)/three.o $(O)/.config
	cat $^ > $(O)/vmlinux
	echo map > $(O)/System.map
	mkdir -p $(O)/include/config
	echo 9.1 > $(O)/include/config/kernel.release
{pathlib.PurePath(IMAGE).name}: vmlinux
	mkdir -p $(dir $(O)/{IMAGE})
	cp $(O)/vmlinux $(O)/{IMAGE}
$(O)/%.o: %.c
	@echo "  CC      $*.o"
	@echo $* >> $(O)/../compiled
	@if [ $* = two ] && [ -p ../gate ]; then echo in > ../entered; read line < ../gate; fi
	@if [ -f broken ]; then echo "$*.c:1: error: it is broken"; exit 1; fi
	cp $< $@
"""

APT_CACHE = """#!/bin/sh
# apt-cache as far as it is asked: OPTIONS search --names-only REGEX, OPTIONS show ... PACKAGE.
for last; do :; done
case " $* " in
  *" search "*) cut -d ' ' -f 1 ARCHIVE | grep -E "$last" | sed 's/$/ - a kernel source/' ;;
  *" show "*) sed -n "s/^$last /Version: /p" ARCHIVE ;;
esac
exit 0
"""
APT_GET = """#!/bin/sh
# apt-get OPTIONS update, or OPTIONS download PACKAGE=VERSION.
for last; do :; done
case " $* " in *" update "*) exit 0 ;; esac
name=${last%%=*} version=${last#*=}
echo "$last" >> DOWNLOADS
echo "dlstatus:1:12.5:Retrieving file 1 of 1" >&2
if [ -p HOME/gate ] && [ -f HOME/slow-download ]; then echo in > HOME/entered; read line < HOME/gate; fi
if [ -f HOME/no-network ]; then echo "E: Failed to fetch $name  Could not connect" >&2; exit 100; fi
dpkg-deb --root-owner-group -b HOME/package "$PWD/${name}_${version}_all.deb" >/dev/null
"""


class KernelBuild(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.home = pathlib.Path(scratch.name)
        self.kernel = self.home / "kernel"
        self.cache = self.home / "cache"
        self.bin = self.home / "bin"
        for folder in ("recipes", "fragments", "patches/series"):
            (self.kernel / folder).mkdir(parents=True)
        shutil.copy(KERNEL / "build", self.kernel)
        shutil.copytree(KERNEL / "kernelbuild", self.kernel / "kernelbuild",
                        ignore=shutil.ignore_patterns("__pycache__"))
        self.write("kernel/host-archive", "#!/bin/sh\necho http://archive.invalid/debian -\n", 0o755)
        self.write("kernel/recipes/small", "source = linux-source-9.1\nsuites = security\n"
                                           "patches = series\nfragments = common {arch}\n")
        self.write("kernel/recipes/other", "base = small\nfragments = common other\n")
        self.write("kernel/fragments/common.config", "CONFIG_SEALED=y\n")
        self.write(f"kernel/fragments/{ARCH}.config", 'CONFIG_NAME="of its architecture"\n')
        self.write("kernel/fragments/other.config", "# CONFIG_NAME is not set\n")
        self.write("kernel/patches/series/1.patch", patch_of("one.c", "one", "patched"))
        self.make_tools()
        self.make_package("linux-source-9.1", "9.1.1-1")

    def write(self, name, text, mode=0o644):
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def make_tools(self):
        prefixes = [""] if ARCH == "x86_64" else ["", "arm-linux-gnueabihf-"]
        for tool in (prefix + name for prefix in prefixes for name in ("gcc", "ld")):
            self.write(f"bin/{tool}", f"#!/bin/sh\necho {tool} 1.0\n", 0o755)
        for name, text in (("apt-cache", APT_CACHE), ("apt-get", APT_GET)):
            text = text.replace("ARCHIVE", f"{self.home}/archive")
            text = text.replace("DOWNLOADS", f"{self.home}/downloads").replace("HOME", str(self.home))
            self.write(f"bin/{name}", text, 0o755)

    def make_package(self, name, version, pack=True):
        """The archive serves `name` in this version, and nothing else."""
        self.write("archive", f"{name} {version}\n")
        package = self.home / "package"
        shutil.rmtree(package, ignore_errors=True)
        self.write("package/DEBIAN/control", f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
                                             "Maintainer: x <x@example.org>\nDescription: x\n")
        if not pack:
            return
        tree = self.home / "tree" / name
        tree.mkdir(parents=True, exist_ok=True)
        (tree / "Makefile").write_text(MAKEFILE)
        for part in ("one", "two", "three"):
            (tree / f"{part}.c").write_text(f"{part}\n")
        (package / "usr/src").mkdir(parents=True)
        subprocess.run(["tar", "-cJf", package / f"usr/src/{name}.tar.xz", "-C", tree.parent, name], check=True)

    def environment(self, **more):
        path = f"{self.bin}:{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "SEALVISOR_CACHE": str(self.cache), "SEALVISOR_JOBS": "1",
                "HOME": str(self.home), **more}

    def start(self, *args, **environment):
        child = subprocess.Popen([self.kernel / "build", *args], env=self.environment(**environment),
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                 text=True, start_new_session=True)
        self.addCleanup(end, child)
        return child

    def call(self, *args, **environment):
        child = self.start(*args, **environment)
        out, err = child.communicate(timeout=LIMIT)
        self.assertNotIn("Traceback", err)
        return child.returncode, out.strip(), err

    def build(self, recipe="small"):
        status, out, err = self.call("build", recipe, ARCH)
        self.assertEqual(status, 0, err)
        return out

    def path(self, recipe="small"):
        """Where the finished build is; None if there is none."""
        status, out, err = self.call("path", recipe, ARCH)
        if status == 0:
            self.assertTrue(pathlib.Path(out, "build.json").is_file())
            return out
        self.assertEqual((status, out), (3, ""), err)
        return None

    def tree(self):
        (home,) = self.cache.glob("trees/linux-source-*")
        return home

    def compiled(self):
        try:
            return (self.tree() / "compiled").read_text().split()
        except FileNotFoundError:
            return []

    def bar(self, where):
        """Puts a gate there; what comes to it says so and waits."""
        where.mkdir(parents=True, exist_ok=True)
        for name in ("entered", "gate"):
            os.mkfifo(where / name)

    def wait_at_gate(self, where):
        # Both ways, so that no reader or writer that comes or goes is taken for an end of file.
        entered = os.open(where / "entered", os.O_RDWR | os.O_NONBLOCK)
        try:
            ready, _, _ = select.select([entered], [], [], LIMIT)
            self.assertTrue(ready, "nothing came to the gate")
            os.read(entered, 64)
        finally:
            os.close(entered)

    def open_gate(self, where):
        gate = os.open(where / "gate", os.O_RDWR)
        self.addCleanup(os.close, gate)  # open until the end: what comes later passes too
        os.write(gate, b"go\n" * 8)

    def check_whole(self, place, first="patched"):
        """The filed build is complete and is what its record says."""
        record = json.loads(pathlib.Path(place, "build.json").read_text())
        self.assertEqual(set(record["files"]), {"vmlinux", "System.map", "config",
                                                "image" if ARCH == "x86_64" else "Image"})
        for name, digest in record["files"].items():
            done = subprocess.run(["sha256sum", pathlib.Path(place, name)], capture_output=True,
                                  text=True, check=True)
            self.assertEqual(done.stdout.split()[0], digest)
        self.assertTrue(pathlib.Path(place, "vmlinux").read_text().startswith(f"{first}\ntwo\nthree\n"))
        self.assertEqual(list(self.cache.glob("**/.new-*")), [])


def end(child):
    """Nothing that a test started outlives it."""
    if child.poll() is None:
        os.killpg(child.pid, signal.SIGKILL)
    child.communicate()


def patch_of(name, old, new):
    return f"Subject: a patch\n\n--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n-{old}\n+{new}\n"


class FromNothing(KernelBuild):
    def test_downloads_patches_compiles_and_files_once(self):
        status, out, err = self.call("build", "small", ARCH)
        self.assertEqual(status, 0, err)
        self.check_whole(out)
        self.assertEqual(self.compiled(), ["one", "two", "three"])
        self.assertIn("downloading linux-source-9.1 9.1.1-1", err)
        self.assertIn("kernel: downloading linux-source-9.1: done in ", err)
        self.assertIn("kernel: unpacking linux-source-9.1: done in ", err)
        self.assertIn(f"kernel: small {ARCH}: compiled, 3 files in ", err)
        status, again, err = self.call("build", "small", ARCH)
        self.assertEqual((status, again), (0, out))
        self.assertIn("is built", err)
        self.assertEqual(self.compiled(), ["one", "two", "three"])
        self.assertEqual((self.home / "downloads").read_text().split(), ["linux-source-9.1=9.1.1-1"])

    def test_another_recipe_compiles_only_what_differs(self):
        first = self.build()
        second = self.build("other")
        self.assertNotEqual(first, second)
        self.assertEqual(self.compiled(), ["one", "two", "three"])
        self.check_whole(second)
        self.assertEqual(self.path(), first)

    def test_assembler_files_are_not_taken_from_ccache(self):
        # In them ccache overlooks .incbin, by which arm64's kernel has its vdso.
        self.write("bin/ccache", f'#!/bin/sh\necho "$@" >> {self.home}/cached\nexec "$@"\n', 0o755)
        compiler = self.write("bin/stand-in", f'#!/bin/sh\necho "$@" >> {self.home}/called\n', 0o755)
        self.build()
        for source in ("one.c", "a folder/two.S"):
            subprocess.run([self.cache / "tools/ccache-of-c", compiler, "-c", "-o", "x.o", source],
                           env=self.environment(), check=True)
        self.assertEqual((self.home / "called").read_text(), "-c -o x.o one.c\n-c -o x.o a folder/two.S\n")
        self.assertEqual((self.home / "cached").read_text(), f"{compiler} -c -o x.o one.c\n")

    def test_a_variant_is_of_any_recipe(self):
        self.write("kernel/fragments/smp.config", "CONFIG_SMP=y\n")
        self.write("kernel/fragments/sw-pan.config", "CONFIG_OTHER=y\n")
        self.write("kernel/fragments/memcg.config", "")
        for arch in {"x86_64", "arm64"} - {ARCH}:  # the list is of both
            self.write(f"kernel/fragments/{arch}.config", "")
        plain = self.build()
        two = self.build("small-smp")
        self.assertNotEqual(plain, two)
        self.assertIn("CONFIG_SMP=y", (pathlib.Path(two) / "config").read_text())
        self.assertNotIn("CONFIG_SMP", (pathlib.Path(plain) / "config").read_text())
        self.assertEqual(self.path(), plain)
        self.assertEqual(self.path("small-smp"), two)
        status, out, err = self.call("list", "--json")
        self.assertEqual(status, 0, err)
        listed = [row for row in json.loads(out) if row["recipe"].endswith("-smp")]
        self.assertEqual([(row["recipe"], row["arch"], row["path"]) for row in listed],
                         [("small-smp", ARCH, two)], "none that is not built")
        other = self.build("small-sw-pan")
        self.assertIn("CONFIG_OTHER=y", (pathlib.Path(other) / "config").read_text())
        status, _, err = self.call("build", "nothing-smp", ARCH)
        self.assertEqual(status, 2)
        self.assertIn("no recipe 'nothing-smp'", err)


class Key(KernelBuild):
    """A finished build counts only for the source, patches, configuration and compiler it is of."""

    CHANGES = {
        "patch": lambda t: t.write("kernel/patches/series/1.patch", patch_of("one.c", "one", "otherwise")),
        "patch added": lambda t: t.write("kernel/patches/series/2.patch", patch_of("two.c", "two", "more")),
        "patch series": lambda t: t.write("kernel/recipes/small", "source = linux-source-9.1\nsuites = security\n"
                                                                  "fragments = common {arch}\n"),
        "fragment": lambda t: t.write("kernel/fragments/common.config", "CONFIG_SEALED=n\n"),
        "fragment of the architecture": lambda t: t.write(f"kernel/fragments/{ARCH}.config", "CONFIG_NAME=y\n"),
        "compiler": lambda t: t.write("bin/gcc", "#!/bin/sh\necho gcc 1.0.1\n", 0o755),
        "linker": lambda t: t.write("bin/ld", "#!/bin/sh\necho ld 2.0.1\n", 0o755),
        "source version": lambda t: t.write(
            "cache/sources/linux-source-9.1.json",
            json.dumps({"package": "linux-source-9.1", "version": "9.1.1-2", "tree": str(t.tree())})),
        "way of building": lambda t: t.write(
            "kernel/kernelbuild/recipe.py",
            (t.kernel / "kernelbuild/recipe.py").read_text().replace("FORMAT = ", "FORMAT = 2000")),
    }
    SAME = {
        "comment": lambda t: t.write("kernel/recipes/small",
                                     "# a comment\n" + (t.kernel / "recipes/small").read_text()),
        "name of a patch": lambda t: (t.kernel / "patches/series/1.patch").rename(
            t.kernel / "patches/series/0001-renamed.patch"),
        "another recipe": lambda t: t.write("kernel/fragments/other.config", "CONFIG_NAME=y\n"),
    }

    def saved(self):
        return {path: (path.read_bytes(), path.stat().st_mode)
                for folder in (self.kernel, self.bin, self.cache / "sources")
                for path in folder.rglob("*") if path.is_file()}

    def restore(self, saved):
        for path in self.saved():
            if path not in saved:
                path.unlink()
        for path, (content, mode) in saved.items():
            path.write_bytes(content)
            path.chmod(mode)

    def test_changes_with_what_decides_the_result(self):
        place = self.build()
        saved = self.saved()
        for name, change in self.CHANGES.items():
            with self.subTest(name):
                change(self)
                self.assertNotEqual(self.saved(), saved)
                self.assertIsNone(self.path())
                self.restore(saved)
                self.assertEqual(self.path(), place)

    def test_stays_with_what_does_not(self):
        place = self.build()
        saved = self.saved()
        for name, change in self.SAME.items():
            with self.subTest(name):
                change(self)
                self.assertNotEqual(self.saved(), saved)
                self.assertEqual(self.path(), place)
                self.restore(saved)

    def test_a_changed_patch_compiles_what_it_changes(self):
        first = self.build()
        self.write("kernel/patches/series/1.patch", patch_of("one.c", "one", "otherwise"))
        second = self.build()
        self.assertNotEqual(first, second)
        self.check_whole(second, "otherwise")
        self.assertEqual(self.compiled(), ["one", "two", "three", "one"])
        self.check_whole(first)

    def test_a_newer_source_is_taken_when_asked_for(self):
        first = self.build()
        self.make_package("linux-source-9.1", "9.1.2-1")
        self.assertEqual(self.build(), first, "not by itself")
        status, second, err = self.call("build", "small", ARCH, "--update")
        self.assertEqual(status, 0, err)
        self.assertNotEqual(first, second)
        self.check_whole(second)


class Interrupted(KernelBuild):
    def catch_midway(self):
        """A build that stands in its second file; gives it and the folder of its gate."""
        self.call("source", "small")
        gate = self.tree()
        self.bar(gate)
        child = self.start("build", "small", ARCH)
        self.wait_at_gate(gate)
        self.assertEqual(self.compiled(), ["one", "two"])
        self.assertIsNone(self.path(), "it is not finished")
        return child, gate

    def go_on(self, gate):
        (gate / "gate").rename(gate / "old-gate")
        (gate / "entered").unlink()
        place = self.build()
        with self.assertRaises(OSError) as nobody:
            os.close(os.open(gate / "old-gate", os.O_WRONLY | os.O_NONBLOCK))
        self.assertEqual(nobody.exception.errno, errno.ENXIO, "the old make was still there")
        self.assertEqual(self.compiled(), ["one", "two", "two", "three"], "goes on where it was")
        self.check_whole(place)

    def test_killed_goes_on_and_finishes(self):
        # What the killed build started stands at the gate for ever, unless it goes with it.
        for sent in (signal.SIGKILL, signal.SIGTERM):
            with self.subTest(sent.name):
                child, gate = self.catch_midway()
                child.send_signal(sent)
                child.wait(LIMIT)
                self.assertIsNone(self.path())
                self.go_on(gate)
                shutil.rmtree(self.cache)

    def test_stopped_by_hand_says_how_to_go_on(self):
        child, gate = self.catch_midway()
        child.send_signal(signal.SIGINT)
        _, err = child.communicate(timeout=LIMIT)
        self.assertEqual(child.returncode, 130)
        self.assertIn("run it again to go on from here", err)
        self.assertNotIn("Traceback", err)
        self.assertIsNone(self.path())
        self.go_on(gate)

    def test_killed_while_it_downloads(self):
        self.write("slow-download", "")
        self.bar(self.home)
        child = self.start("build", "small", ARCH)
        self.wait_at_gate(self.home)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait(LIMIT)
        self.assertNotEqual(list(self.cache.glob("trees/.new-*")), [])
        self.assertIsNone(self.path())
        (self.home / "slow-download").unlink()
        self.check_whole(self.build())

    def test_what_was_never_finished_is_not_taken_for_a_build(self):
        place = pathlib.Path(self.build())
        (place / "build.json").unlink()
        half = self.cache / "kernels/.new-left"
        half.mkdir()
        self.assertIsNone(self.path())
        self.assertEqual(self.build(), str(place))
        self.check_whole(place)
        self.assertFalse(half.exists())


class AtOnce(KernelBuild):
    def two(self, second):
        self.call("source", "small")
        gate = self.tree()
        self.bar(gate)
        one = self.start("build", "small", ARCH)
        self.wait_at_gate(gate)
        two = self.start("build", second, ARCH)
        ready, _, _ = select.select([two.stderr], [], [], LIMIT)
        self.assertTrue(ready)
        self.assertIn("waiting for it", two.stderr.readline())
        self.assertEqual(self.compiled(), ["one", "two"], "the second one has not begun")
        self.open_gate(gate)
        places = []
        for child in (one, two):
            out, err = child.communicate(timeout=LIMIT)
            self.assertEqual(child.returncode, 0, err)
            places.append(out.strip())
            self.check_whole(out.strip())
        self.assertEqual(self.compiled(), ["one", "two", "three"], "each file once")
        return places

    def test_of_the_same_recipe_builds_once(self):
        first, second = self.two("small")
        self.assertEqual(first, second)

    def test_of_two_recipes_builds_both(self):
        first, second = self.two("other")
        self.assertNotEqual(first, second)


class Problems(KernelBuild):
    def refused(self, *words, code=3, args=("build", "small", ARCH), **environment):
        status, out, err = self.call(*args, **environment)
        self.assertEqual((status, out), (code, ""), err)
        for word in words:
            self.assertIn(word, err)
        return err

    def test_no_archive_has_the_source(self):
        self.write("archive", "linux-source-6.1 6.1.1\n")
        self.refused("linux-source-9.1", "security", "apt-get update")

    def test_the_download_fails(self):
        self.write("no-network", "")
        err = self.refused("downloading linux-source-9.1 failed", "Could not connect")
        self.assertNotIn("dlstatus", err)
        (self.home / "no-network").unlink()
        self.check_whole(self.build())

    def test_the_package_is_no_kernel_source(self):
        self.make_package("linux-source-9.1", "9.1.1-1", pack=False)
        self.refused("linux-source-9.1 9.1.1-1", "linux-source-*.tar.*")

    def test_the_package_is_packed_in_an_unknown_way(self):
        tarball = self.home / "package/usr/src/linux-source-9.1.tar.xz"
        tarball.rename(tarball.with_suffix(".lzop"))
        self.refused("linux-source-9.1", "lzop")

    def test_the_source_is_cut_short(self):
        tarball = self.home / "package/usr/src/linux-source-9.1.tar.xz"
        tarball.write_bytes(tarball.read_bytes()[:200])
        self.refused("linux-source-9.1", "failed")
        self.make_package("linux-source-9.1", "9.1.1-1")
        self.check_whole(self.build())

    def test_a_tool_is_missing(self):
        # A PATH of links, so that one tool can be left out.
        links = self.home / "links"
        links.mkdir()
        for folder in os.environ["PATH"].split(os.pathsep):
            for tool in pathlib.Path(folder).glob("*"):
                if tool.name != "flex" and not (links / tool.name).exists():
                    (links / tool.name).symlink_to(tool)
        self.refused("packages that are missing: flex", PATH=f"{self.bin}:{links}")

    def test_a_patch_does_not_apply(self):
        self.write("kernel/patches/series/1.patch", patch_of("one.c", "something else", "patched"))
        self.refused("applying 1.patch failed")

    def test_it_does_not_compile(self):
        self.call("source", "small")
        (self.tree() / "src/broken").touch()
        err = self.refused("one.c:1: error: it is broken", "the whole log is", code=1)
        log = pathlib.Path(err.split("the whole log is ")[1].split()[0])
        self.assertIn("it is broken", log.read_text())
        self.assertIsNone(self.path())

    def test_the_configuration_is_not_taken(self):
        self.call("source", "small")
        (self.tree() / "src/refused").touch()
        self.refused("does not take: CONFIG_SEALED=y", code=1)

    def test_no_such_recipe(self):
        self.refused("no recipe 'nothing'", "other, small", code=2, args=("build", "nothing", ARCH))


class Progress(unittest.TestCase):
    """Long steps say how far they are, each line only now and then."""

    def setUp(self):
        sys.path.insert(0, str(KERNEL))
        self.addCleanup(sys.path.remove, str(KERNEL))
        from kernelbuild import progress, source
        self.progress, self.source = progress, source
        interval = progress.INTERVAL
        progress.INTERVAL = 0
        self.addCleanup(setattr, progress, "INTERVAL", interval)

    def long(self, script, whole):
        with tempfile.TemporaryFile("w+") as out:
            stderr, sys.stderr = sys.stderr, out
            try:
                self.source.run_long(["sh", "-c", script], "a step", r"at (\d+)$", whole)
            finally:
                sys.stderr = stderr
            out.seek(0)
            return out.read().splitlines()

    def test_share_and_time_left(self):
        lines = self.long("echo at 25 >&2; echo noise >&2; echo at 50 >&2; echo at 200 >&2", 100.0)
        self.assertRegex("\n".join(lines), r"^kernel: a step: 25 %, \d+ s left\nkernel: a step: 50 %, \d+ s left\n"
                                           r"kernel: a step: 100 %, 0 s left\nkernel: a step: done in \d+ s$")

    def test_time_spent_where_the_whole_is_not_known(self):
        self.assertRegex("\n".join(self.long("echo at 25 >&2", None)),
                         r"^kernel: a step: \d+ s so far\nkernel: a step: done in \d+ s$")

    def test_no_more_than_a_line_each_interval(self):
        self.progress.INTERVAL = 3600
        self.assertEqual(len(self.long("for i in 1 2 3; do echo at $i >&2; done", 100.0)), 1)

    def test_a_failure_tells_what_was_said_but_no_progress(self):
        with self.assertRaises(self.source.Problem) as caught:
            self.long("echo at 5 >&2; echo it broke >&2; exit 4", 100.0)
        self.assertIn("a step failed (exit 4)", str(caught.exception))
        self.assertIn("it broke", str(caught.exception))
        self.assertNotIn("at 5", str(caught.exception).splitlines()[1:])

    def test_tar_tells_how_far_it_is(self):
        with tempfile.TemporaryDirectory() as scratch:
            scratch = pathlib.Path(scratch)
            (scratch / "tree").mkdir()
            (scratch / "tree/zeroes").write_bytes(bytes(1 << 20))
            subprocess.run(["tar", "-cJf", scratch / "linux-source-9.tar.xz", "-C", scratch, "tree"], check=True)
            records, self.source.RECORDS = self.source.RECORDS, 20
            try:
                with tempfile.TemporaryFile("w+") as out:
                    stderr, sys.stderr = sys.stderr, out
                    try:
                        self.source.unpack(scratch / "linux-source-9.tar.xz", scratch / "out", "unpacking it")
                    finally:
                        sys.stderr = stderr
                    out.seek(0)
                    said = out.read()
            finally:
                self.source.RECORDS = records
            self.assertEqual((scratch / "out/tree/zeroes").stat().st_size, 1 << 20)
            self.assertRegex(said, r"kernel: unpacking it: 19 %, ")
            self.assertRegex(said, r"kernel: unpacking it: 97 %, ")


if __name__ == "__main__":
    unittest.main()
