"""Progress of a kernel build: files done of total and time left."""
import json
import re
import sys
import time

from .recipe import cache_dir
from .source import write_atomically

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


class Progress:
    """`total` is the estimate; a build that exceeds it is held to be one of `most` files."""

    def __init__(self, title, total, most, out=sys.stderr):
        self.title, self.total, self.most, self.out = title, max(total, 1), most, out
        self.done = 0
        self.start = time.monotonic()
        self.shown = self.start
        self.terminal = out.isatty()

    def line(self, text):
        """One line of make's output."""
        if COMPILED.match(text):
            self.done += 1
            if self.done > self.total:
                self.total = max(self.most, self.done)
        now = time.monotonic()
        if now - self.shown >= (0.2 if self.terminal else INTERVAL):
            self.shown = now
            self.show(now)

    def show(self, now):
        text = f"kernel: {self.title}: {self.done} of {self.total} files"
        if self.done >= 10:
            left = (now - self.start) / self.done * (self.total - self.done)
            text += f", {duration(left)} left"
        if self.terminal:
            self.out.write("\r\033[K" + text)
        else:
            self.out.write(text + "\n")
        self.out.flush()

    def finish(self, result):
        if self.terminal:
            self.out.write("\r\033[K")
        spent = duration(time.monotonic() - self.start)
        self.out.write(f"kernel: {self.title}: {result}, {self.done} files in {spent}\n")
        self.out.flush()


def duration(seconds):
    seconds = int(seconds + 0.5)
    return f"{seconds // 60} min {seconds % 60:02} s" if seconds >= 60 else f"{seconds} s"
