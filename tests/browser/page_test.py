#!/usr/bin/env python3
"""The page of `sealvisor bench --html`, in headless Chromium.

  page_test.py MAKE_PAGE FOLDER     MAKE_PAGE writes pages of runs that never were; screenshots
                                    are left in FOLDER

Chromium runs each page with a script of this test behind it, which writes what it finds into the
document; the document is then read from --dump-dom, and the console from standard error.
"""
import pathlib
import re
import subprocess
import sys
import unittest

from chromium import DEADLINE, Browser

MAKE_PAGE = None
FOLDER = None

# Looks at what only a browser knows, after the page's own script has run.
PROBE = r"""
<pre id="probe-result"></pre>
<script>
(function () {
  var all = function (what) { return Array.prototype.slice.call(document.querySelectorAll(what)); };
  var found = {};
  found.title = document.title;
  found.overflow = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  found.raggedRows = all("tbody tr").filter(function (row) {
    return row.cells.length !== row.closest("table").tHead.rows[0].cells.length;
  }).length;
  found.emptyPlots = all("figure svg").filter(function (svg) {
    var box = svg.getBoundingClientRect();
    return box.width < 100 || box.height < 50 || !svg.querySelector("path[stroke]:not([id])");
  }).length;
  found.unscrollable = all(".scroll").filter(function (part) { return part.tabIndex !== 0; }).length;
  found.unnamedRegions = all("[role=region], [role=img]").filter(function (part) {
    return !part.getAttribute("aria-label") && !part.getAttribute("aria-labelledby");
  }).length;
  var ink = getComputedStyle(document.body).color;
  found.inklessText = all("svg text").filter(function (text) {
    return getComputedStyle(text).fill !== ink;
  }).length;
  found.ink = ink;
  var table = document.getElementById("cost-table");
  if (table) {
    var visible = function () {
      return all("#cost-table tbody tr").filter(function (row) {
        return row.getClientRects().length > 0;
      });
    };
    var rows = function () { return visible().map(function (row) { return row.cells[0].textContent; }); };
    var fire = function (id, event) { document.getElementById(id).dispatchEvent(new Event(event)); };
    found.first = rows()[0];
    found.shown = rows().length;
    var button = table.tHead.rows[0].cells[0].querySelector("button");
    button.focus();
    found.focusable = document.activeElement === button;
    button.click();
    var up = rows();
    found.sorted = up.join() === up.slice().sort(function (a, b) { return a.localeCompare(b, undefined, {numeric: true}); }).join();
    found.direction = table.tHead.rows[0].cells[0].getAttribute("aria-sort");
    button.click();
    found.turned = table.tHead.rows[0].cells[0].getAttribute("aria-sort");
    var shift = table.tHead.rows[0].cells[2].querySelector("button");
    shift.click();
    var keys = visible().map(function (row) { return Number(row.cells[2].dataset.key); });
    found.numeric = keys.every(function (key, i) { return i === 0 || keys[i - 1] <= key; });
    document.getElementById("verdict").value = "slower";
    fire("verdict", "change");
    found.slower = visible().every(function (row) { return row.dataset.verdict === "slower"; }) &&
      rows().length;
    document.getElementById("verdict").value = "";
    document.getElementById("parts").checked = true;
    fire("parts", "change");
    found.all = rows().length;
    document.getElementById("find").value = "MSEAL";
    fire("find", "input");
    found.found = rows();
    found.status = document.getElementById("shown").textContent;
  }
  document.getElementById("probe-result").textContent = JSON.stringify(found);
})();
</script>
"""


class PageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.browser = Browser()

    @classmethod
    def tearDownClass(cls):
        cls.browser.close()

    def page(self, kind, change=lambda text: text):
        """Two files: the page, and the same with the probe at its end."""
        plain = FOLDER / f"{kind}.html"
        done = subprocess.run([MAKE_PAGE, kind, plain], capture_output=True, text=True,
                              timeout=DEADLINE, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        text = change(plain.read_text(encoding="utf-8"))
        self.assertEqual(text.count("</body>"), 1)
        probed = FOLDER / f"{kind}.probed.html"
        probed.write_text(text.replace("</body>", PROBE + "</body>"), encoding="utf-8")
        return plain, probed

    def assert_sound(self, document, console):
        self.assertEqual(console, [])
        found = document.result()
        self.assertEqual(found["overflow"], 0, "overflow")
        self.assertEqual(found["raggedRows"], 0, "raggedRows")
        self.assertEqual(found["emptyPlots"], 0, "emptyPlots")
        self.assertEqual(found["unscrollable"], 0, "unscrollable")
        self.assertEqual(found["unnamedRegions"], 0, "unnamedRegions")
        self.assertEqual(found["inklessText"], 0, "inklessText")
        self.assertEqual(len(document.ids), len(set(document.ids)), "an id twice")
        outside = [link for link in document.links if not link.startswith("#")]
        self.assertEqual(outside, [])
        for link in document.links:
            self.assertIn(link[1:], document.ids)
        levels = [level for level, _ in document.headings]
        self.assertEqual(levels[0], 1)
        self.assertTrue(all(b - a <= 1 for a, b in zip(levels, levels[1:])), levels)
        return found

    def test_a_whole_run(self):
        plain, probed = self.page("whole")
        document, console = self.browser.look(probed)
        found = self.assert_sound(document, console)
        titles = [title for _, title in document.headings]
        self.assertEqual(titles, [
            "lts-sealed against lts-unsealed: sealvisor bench", "Costs, worst first",
            "Undecided, and what would decide it", "Not measured, or not in full",
            "Against the baseline", "Shifts with their intervals, in parts of the bound",
            "Every layout", "Cost as mappings grow", "Where the kernels differ", "Controls",
            "Checked with tools of others", "How to read this", "Kernels and machine"])
        # Three groups on two architectures, twice; two for each as mappings grow; profiles.
        self.assertEqual(document.tags["svg"], 6 + 6 + 4 + 8)
        self.assertEqual(document.tags["details"], 48)
        self.assertIn("munmap-vmas-1024", found["first"])
        self.assertEqual((found["shown"], found["all"]), (72, 180))
        self.assertTrue(found["focusable"])
        self.assertTrue(found["sorted"])
        self.assertEqual(found["direction"], "ascending")
        self.assertEqual(found["turned"], "descending")
        self.assertTrue(found["numeric"])
        self.assertEqual(found["slower"], 16)
        self.assertEqual(len(found["found"]), 6)
        self.assertTrue(all("mseal" in name for name in found["found"]))
        self.assertEqual(found["status"], "6 of 180 metrics shown")
        text = plain.read_text(encoding="utf-8")
        self.assertIn("hardware latency was not measured here", text)
        self.assertNotIn("nanosecond", text.lower())

    def test_dark_and_small(self):
        _, probed = self.page("whole")
        light, _ = self.browser.look(probed)
        dark, console = self.browser.look(probed, dark=True)
        found = self.assert_sound(dark, console)
        self.assertNotEqual(found["ink"], light.result()["ink"])
        phone, console = self.browser.look(probed, width=390, height=800)
        self.assert_sound(phone, console)

    def test_pictures(self):
        plain, _ = self.page("whole")
        for name, how in (("light.png", {}), ("dark.png", {"dark": True}),
                          ("phone.png", {"width": 390})):
            target = self.browser.picture(plain, FOLDER / name, **{"height": 6000, **how})
            self.assertGreater(target.stat().st_size, 50_000)
            self.assertEqual(target.read_bytes()[:8], b"\x89PNG\r\n\x1a\n")

    def test_void_and_empty_runs(self):
        _, void = self.page("void")
        document, console = self.browser.look(void)
        self.assert_sound(document, console)
        self.assertIn("the run is void", void.read_text(encoding="utf-8"))
        _, empty = self.page("empty")
        document, console = self.browser.look(empty)
        self.assert_sound(document, console)
        self.assertNotIn("svg", document.tags)

    def test_names_stay_in_their_place(self):
        _, probed = self.page("hostile")
        document, console = self.browser.look(probed)
        found = self.assert_sound(document, console)
        self.assertEqual(found["title"], "b<i>'\" against lts-unsealed: sealvisor bench")
        self.assertEqual(document.tags["script"], 2)
        self.assertNotIn("img", document.tags)
        self.assertNotIn("i", document.tags)
        self.assertIn("exec/</title></svg><script>", found["first"])
        # As mappings grow, too: the names end in -vmas-1 and -vmas-16.
        self.assertEqual(document.tags["svg"], 1 + 1 + 2 + 2)

    def test_without_its_script_it_shows_everything(self):
        _, probed = self.page(
            "whole", lambda text: re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL)
            .replace('id="cost-table"', 'id="costs-alone"'))
        document, console = self.browser.look(probed)
        self.assert_sound(document, console)
        self.assertNotIn("button", document.tags)

    # --- that these checks can fail ---------------------------------------------------------

    def assert_not_sound(self, why, change, kind="void", **how):
        _, probed = self.page(kind, change)
        with self.assertRaisesRegex(AssertionError, why):
            self.assert_sound(*self.browser.look(probed, **how))

    def test_an_error_of_a_script_is_seen(self):
        self.assert_not_sound(
            "nothing is not defined",
            lambda text: text.replace("</body>", "<script>nothing();</script></body>"))

    def test_what_comes_from_elsewhere_is_seen(self):
        self.assert_not_sound(
            "Content Security Policy",
            lambda text: text.replace("</h1>", '<img src="http://127.0.0.1:9/x.png"></h1>'))

    def test_what_is_too_wide_is_seen(self):
        self.assert_not_sound(
            "overflow",
            lambda text: text.replace("</h1>", '<p style="width: 99rem">wide</p></h1>'), width=390)

    def test_a_missing_cell_is_seen(self):
        self.assert_not_sound("raggedRows",
                              lambda text: re.sub(r"<td[^>]*>.*?</td>", "", text, count=1))

    def test_an_empty_plot_is_seen(self):
        self.assert_not_sound("emptyPlots", lambda text: re.sub(r"<path stroke[^>]*>", "", text))

    def test_a_region_for_the_mouse_alone_is_seen(self):
        self.assert_not_sound("unscrollable", lambda text: text.replace(' tabindex="0"', "", 1))

    def test_a_region_without_a_name_is_seen(self):
        self.assert_not_sound("unnamedRegions",
                              lambda text: text.replace(' aria-label="Costs, worst first"', "", 1))

    def test_an_id_twice_is_seen(self):
        self.assert_not_sound("an id twice", lambda text: text.replace('id="run"', 'id="costs"'))

    def test_ink_that_stays_black_is_seen(self):
        self.assert_not_sound(
            "inklessText",
            lambda text: text.replace("svg [fill=black] { fill: currentColor; }", ""), dark=True)

    def test_a_link_to_nowhere_is_seen(self):
        self.assert_not_sound("nowhere", lambda text: text.replace('href="#run"', 'href="#nowhere"'))


if __name__ == "__main__":
    MAKE_PAGE = pathlib.Path(sys.argv.pop(1)).resolve()
    FOLDER = pathlib.Path(sys.argv.pop(1)).resolve()
    FOLDER.mkdir(parents=True, exist_ok=True)
    unittest.main(verbosity=2)
