"""Headless Chromium for tests of pages: what a document holds after its script, and a tab that is
driven with keys as a person would."""
import base64
import html.parser
import json
import os
import re
import select
import shutil
import subprocess
import tempfile
import time

DEADLINE = 90


class Document(html.parser.HTMLParser):
    """What a dumped document has: ids, headings, counts of elements, links."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.tags, self.links, self.headings = [], {}, [], []
        self.probe = ""
        self._open = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags[tag] = self.tags.get(tag, 0) + 1
        if "id" in attributes:
            self.ids.append(attributes["id"])
        for name in ("href", "src", "xlink:href"):
            if name in attributes:
                self.links.append(attributes[name])
        if re.fullmatch("h[1-6]", tag):
            self.headings.append([int(tag[1]), ""])
            self._open = "heading"
        elif attributes.get("id") == "probe-result":
            self._open = "probe"

    def handle_endtag(self, tag):
        self._open = None

    def handle_data(self, data):
        if self._open == "heading":
            self.headings[-1][1] += data
        elif self._open == "probe":
            self.probe += data

    def result(self):
        return json.loads(self.probe)


def program():
    found = shutil.which("chromium")
    if found is None:
        raise RuntimeError("chromium is missing (./bootstrap test installs it)")
    return found


def options(profile):
    return [
        "--headless", "--disable-gpu", "--hide-scrollbars", "--no-first-run",
        "--disable-background-networking", "--disable-component-update",
        f"--user-data-dir={profile}", *(["--no-sandbox"] if os.geteuid() == 0 else []),
    ]


class Browser:
    """One start for each page: the document is dumped, or a picture taken."""

    def __init__(self):
        self.program = program()
        self.profile = tempfile.mkdtemp(prefix="sealvisor-browser-")

    def close(self):
        shutil.rmtree(self.profile, ignore_errors=True)

    def run(self, page, *arguments, dark=False, width=1200, height=1000):
        command = [
            self.program, *options(self.profile), "--enable-logging=stderr",
            "--virtual-time-budget=10000", f"--window-size={width},{height}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}", *arguments, page.as_uri(),
        ]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=True)
        console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        return done.stdout, console

    def look(self, page, **how):
        """The document as it is after its script and ours; the console."""
        text, console = self.run(page, "--dump-dom", **how)
        return Document(text), console

    def picture(self, page, target, **how):
        self.run(page, f"--screenshot={target}", **how)
        return target


class Tab:
    """A tab of a browser that runs on, by the DevTools protocol over a pipe
    (chrome --remote-debugging-pipe: messages in JSON, each ended by a zero byte)."""

    KEYS = {  # key: its code, virtual key code and text
        "Tab": ("Tab", 9, None), "Enter": ("Enter", 13, "\r"), " ": ("Space", 32, " "),
        "ArrowLeft": ("ArrowLeft", 37, None), "ArrowUp": ("ArrowUp", 38, None),
        "ArrowRight": ("ArrowRight", 39, None), "ArrowDown": ("ArrowDown", 40, None),
        "Home": ("Home", 36, None), "End": ("End", 35, None), "Escape": ("Escape", 27, None),
    }

    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="sealvisor-tab-")
        commands, self._write = os.pipe()
        self._read, answers = os.pipe()
        # The pipes are to be descriptors 3 and 4.
        self._child = subprocess.Popen(
            ["/bin/bash", "-c", f'exec "$@" 3<&{commands} 4>&{answers}', "bash", program(),
             *options(self.profile), "--remote-debugging-pipe", "about:blank"],
            pass_fds=(commands, answers), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        os.close(commands)
        os.close(answers)
        self._last, self._bytes, self._events, self._session = 0, b"", [], None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target,
                                  flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")

    def close(self):
        os.close(self._write)  # the browser ends with its pipe
        try:
            self._child.wait(timeout=DEADLINE)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        os.close(self._read)
        shutil.rmtree(self.profile, ignore_errors=True)

    def _message(self, end):
        while b"\0" not in self._bytes:
            left = end - time.monotonic()
            if left <= 0 or not select.select([self._read], [], [], left)[0]:
                raise TimeoutError("the browser does not answer")
            some = os.read(self._read, 1 << 20)
            if not some:
                raise RuntimeError("the browser has ended")
            self._bytes += some
        text, self._bytes = self._bytes.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, **parameters):
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + DEADLINE
        while True:
            answer = self._message(end)
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self._events.append(answer)

    def wait_for(self, method):
        end = time.monotonic() + DEADLINE
        while not any(event.get("method") == method for event in self._events):
            self._events.append(self._message(end))

    def show(self, page, width=1200, height=900, dark=False, script=True, phone=False):
        """Loads a page afresh; `phone`: a small touch screen."""
        self._events.clear()
        self.call("Page.navigate", url="about:blank")
        self.wait_for("Page.loadEventFired")
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                  deviceScaleFactor=2 if phone else 1, mobile=phone)
        self.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        self.call("Emulation.setScriptExecutionDisabled", value=not script)
        self._events.clear()
        self.call("Page.navigate", url=page.as_uri())
        self.wait_for("Page.loadEventFired")
        # What was not run while the page was loaded never is; nor would what is asked here.
        self.call("Emulation.setScriptExecutionDisabled", value=False)
        # Two frames later everything is laid out.
        self.ask("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def ask(self, expression):
        """The value of an expression in the page, awaited if it is a promise."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True,
                           awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']}")
        return answer["result"].get("value")

    def until(self, expression, seconds=10):
        """Whether the expression becomes true: a page hears later that its address has changed."""
        return self.ask(f"new Promise(done => {{ const end = Date.now() + {seconds * 1000};"
                        f" const look = () => {{ const is = Boolean({expression});"
                        " if (is || Date.now() > end) done(is); else setTimeout(look, 20); }; look(); })")

    def press(self, key, times=1):
        code, number, text = self.KEYS[key]
        for _ in range(times):
            for kind in ("rawKeyDown" if text is None else "keyDown", "keyUp"):
                more = {"text": text} if text and kind == "keyDown" else {}
                self.call("Input.dispatchKeyEvent", type=kind, key=key, code=code,
                          windowsVirtualKeyCode=number, nativeVirtualKeyCode=number, **more)

    def type(self, text):
        self.call("Input.insertText", text=text)

    def complaints(self):
        """What the page wrote to the console, threw, or asked of anything but its file."""
        found = []
        for event in self._events:
            method, parameters = event.get("method"), event.get("params", {})
            if method == "Runtime.exceptionThrown":
                details = parameters["exceptionDetails"]
                found.append(details.get("exception", {}).get("description", details["text"]))
            elif method == "Runtime.consoleAPICalled":
                found.append(f"console: {parameters['args']}")
            elif method == "Log.entryAdded":
                found.append(parameters["entry"]["text"])
            elif method == "Network.requestWillBeSent":
                url = parameters["request"]["url"]
                if not url.startswith("file:"):
                    found.append(f"network: {url}")
        return found

    def picture(self, target, whole=True, tallest=12000):
        """The whole page as far down as `tallest`, or what the window shows of it."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], tallest),
                "scale": 1}
        answer = self.call("Page.captureScreenshot", format="png",
                           **({"captureBeyondViewport": True, "clip": clip} if whole else {}))
        target.write_bytes(base64.b64decode(answer["data"]))
        return target
