"""Progress of long steps: how much is done and the time left."""
import json
import re
import sys
import time

from .recipe import cache_dir, write_atomically

COMPILED = re.compile(r"^\s+(?:CC|AS|HOSTCC)\s+\S")
INTERVAL = 10.0  # seconds between lines when the output is not a terminal

# Files of a build from nothing, until this machine has counted its own.
FIRST_ESTIMATE = {"x86_64": 850, "arm64": 850}
STEP_ESTIMATE = 20


class Counts:
    """How many files earlier builds compiled, kept in the cache."""

    def __init__(self):
        self.path = cache_dir() / "counts.json"
        try:
            self.values = json.loads(self.path.read_text())
        except (FileNotFoundError, ValueError):
            self.values = {}

    def total(self, name, fallback):
        value = self.values.get(name, fallback)
        return value if isinstance(value, int) and value > 0 else fallback

    def record(self, name, value):
        self.values[name] = value
        write_atomically(self.path, json.dumps(self.values, indent=2, sort_keys=True) + "\n")


class Step:
    """One long step: a line that is rewritten on a terminal, else one line now and then."""

    def __init__(self, title, out=None):
        self.title, self.out = title, out or sys.stderr
        self.start = time.monotonic()
        self.shown = self.start
        self.terminal = self.out.isatty()

    def show(self, text, left=None):
        """What is done so far and, if it can be said, seconds left; too often does no harm."""
        now = time.monotonic()
        if now - self.shown < (0.2 if self.terminal else INTERVAL):
            return
        self.shown = now
        text = f"kernel: {self.title}: {text}" + ("" if left is None else f", {duration(left)} left")
        self.out.write("\r\033[K" + text if self.terminal else text + "\n")
        self.out.flush()

    def spent(self):
        return time.monotonic() - self.start

    def finish(self, result):
        clear = "\r\033[K" if self.terminal else ""
        self.out.write(f"{clear}kernel: {self.title}: {result} in {duration(self.spent())}\n")
        self.out.flush()


class Share(Step):
    """A step of which others say how much is done; `whole` None: not known."""

    def __init__(self, title, whole, out=None):
        super().__init__(title, out)
        self.whole = whole

    def at(self, done):
        if not self.whole:
            self.show(f"{duration(self.spent())} so far")
            return
        share = min(done / self.whole, 1.0)
        self.show(f"{100 * share:.0f} %", self.spent() * (1 - share) / share if share else None)


class Progress(Step):
    """A build: files done of total. `total` is the estimate; a build that exceeds it is held to be
    one of `most` files."""

    def __init__(self, title, total, most, out=None):
        super().__init__(title, out)
        self.total, self.most = max(total, 1), most
        self.done = 0

    def line(self, text):
        """One line of make's output."""
        if COMPILED.match(text):
            self.done += 1
            if self.done > self.total:
                self.total = max(self.most, self.done)
        left = self.spent() / self.done * (self.total - self.done) if self.done >= 10 else None
        self.show(f"{self.done} of {self.total} files", left)

    def finish(self, result):
        super().finish(f"{result}, {self.done} files")


def duration(seconds):
    seconds = int(seconds + 0.5)
    return f"{seconds // 60} min {seconds % 60:02} s" if seconds >= 60 else f"{seconds} s"
