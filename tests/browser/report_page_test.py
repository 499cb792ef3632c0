#!/usr/bin/env python3
"""The page of `sealvisor verify --html`, in headless Chromium, driven with keys.

  report_page_test.py MAKE_REPORT_PAGE FOLDER   MAKE_REPORT_PAGE writes pages of reports that never
                                                were; screenshots are left in FOLDER, for whoever
                                                wants to look
  report_page_test.py --look PAGE FOLDER        pictures of a page that is there, and whether it is
                                                sound
"""
import pathlib
import re
import subprocess
import sys
import unittest

from chromium import DEADLINE, Document, Tab

MAKE_PAGE = None
FOLDER = None
PHONE = {"width": 390, "height": 800, "phone": True}

# What only a browser knows of a page, with all that is folded in it open.
STATE = r"""
(function () {
  var all = function (what) { return Array.prototype.slice.call(document.querySelectorAll(what)); };
  var count = function (what, is) { return all(what).filter(is).length; };
  var overflow = function () {
    return document.documentElement.scrollWidth - document.documentElement.clientWidth;
  };
  var found = {title: document.title, overflowFolded: overflow()};
  var folded = all("details").filter(function (part) { return !part.open; });
  folded.forEach(function (part) { part.open = true; });
  found.overflow = overflow();
  found.raggedRows = count("tbody tr", function (row) {
    return row.cells.length !== row.closest("table").tHead.rows[0].cells.length;
  });
  found.unscrollable = count(".scroll", function (part) { return part.tabIndex !== 0; });
  found.unnamedRegions = count("[role=region]", function (part) {
    return !part.getAttribute("aria-label");
  });
  // WCAG 2.2, 1.4.3: text against what is behind it, at least 4.5 to 1.
  var light = function (colour) {
    var parts = colour.match(/[\d.]+/g).slice(0, 3).map(function (part) {
      var value = part / 255;
      return value <= 0.04045 ? value / 12.92 : Math.pow((value + 0.055) / 1.055, 2.4);
    });
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
  };
  var ground = function (element) {
    for (var at = element; at; at = at.parentElement) {
      var colour = getComputedStyle(at).backgroundColor;
      if (!/rgba\(.*, 0\)/.test(colour)) { return colour; }
    }
    return "rgb(255, 255, 255)";
  };
  found.faint = {};
  all("a, p, li, dt, dd, th, td, summary, del, ins, mark, .note, .good, .bad, .open, .other, .when")
    .forEach(function (element) {
      var one = light(getComputedStyle(element).color), other = light(ground(element));
      var ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
      if (ratio < 4.5) { found.faint[element.tagName + "." + element.className] = ratio.toFixed(2); }
    });
  found.ink = getComputedStyle(document.body).color;
  folded.forEach(function (part) { part.open = false; });
  return found;
})()
"""

FOCUSED = "document.activeElement"
IN_MATRIX = FOCUSED + ".matches('#matrix-table td a')"


class ReportPageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tab = Tab()

    @classmethod
    def tearDownClass(cls):
        cls.tab.close()

    def page(self, kind, change=None):
        plain = FOLDER / f"report-{kind}.html"
        done = subprocess.run([MAKE_PAGE, kind, plain], capture_output=True, text=True,
                              timeout=DEADLINE, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        if change is None:
            return plain
        before = plain.read_text(encoding="utf-8")
        text = change(before)
        self.assertNotEqual(text, before, "nothing was changed")
        changed = FOLDER / f"report-{kind}.changed.html"
        changed.write_text(text, encoding="utf-8")
        return changed

    def show(self, kind, change=None, **how):
        page = self.page(kind, change)
        self.tab.show(page, **how)
        return Document(page.read_text(encoding="utf-8"))

    def assert_sound(self, document):
        found = self.tab.ask(STATE)
        self.assertEqual(self.tab.complaints(), [])
        for name in ("overflowFolded", "overflow", "raggedRows", "unscrollable", "unnamedRegions"):
            self.assertEqual(found[name], 0, name)
        self.assertEqual(found["faint"], {}, "faint text")
        self.assertEqual(len(document.ids), len(set(document.ids)), "an id twice")
        for link in document.links:
            self.assertTrue(link.startswith("#"), link)
            self.assertIn(link[1:], document.ids)
        levels = [level for level, _ in document.headings]
        self.assertEqual(levels[0], 1)
        self.assertTrue(all(b - a <= 1 for a, b in zip(levels, levels[1:])), levels)
        return found

    def texts(self, what):
        return self.tab.ask(f"[...document.querySelectorAll({what!r})]"
                            ".filter(one => one.getClientRects().length > 0)"
                            ".map(one => one.textContent.trim().replace(/\\s+/g, ' '))")

    # --- what is there -----------------------------------------------------------------------

    def test_a_whole_report(self):
        document = self.show("whole")
        found = self.assert_sound(document)
        self.assertEqual(found["title"], "sealvisor verify: not as expected")
        self.assertEqual([title for level, title in document.headings if level == 2], [
            "Findings", "Runs", "What was tried, findings first", "x86_64 lts-sealed",
            "x86_64 lts-unsealed", "x86_64 lying", "arm64 lts-sealed", "arm64 lts-unsealed",
            "arm64 lts-sealed", "What these runs cannot see", "How to read this"])
        findings = self.texts("#findings > ul.findings > li")
        self.assertTrue(findings[0].startswith("new arm64/lts-sealed/[vvar]/munmap/whole/"))
        self.assertTrue(any(one.startswith("known ") for one in findings))
        self.assertEqual(self.texts("#findings summary"),
                         ["3 more, each where a control is documented to lie"])
        self.assertEqual(len(self.texts("#runs-table tbody tr")), 7)
        self.assertIn("did not run", self.texts("#runs-table tbody tr")[-1])

    def test_numbers_are_sorted_as_numbers_and_words_behind_them(self):
        def change(text):
            head, rows, tail = re.fullmatch(r'(.*id="r1-cell-table".*?<tbody>\n)(.*?)(</tbody>.*)',
                                            text, re.DOTALL).groups()
            # The column of timelines: one without, then two whose order as text is another.
            cells = iter(["<td>-</td>", "<td>process 12</td>", "<td>process 2</td>"])
            rows = "".join(re.sub(r"<td>(?:(?!<td).)*</td></tr>$", next(cells, "<td>-</td>") + "</tr>",
                                  row) + "\n" for row in rows.splitlines())
            # That of writes: no number in the first row.
            rows = re.sub(r'<td class="number" data-key="0">0</td>', '<td class="number">-</td>', rows,
                          count=1)
            return head + rows + tail

        def column(number):
            self.tab.ask(f"document.querySelectorAll('#r1-cell-table th button')[{number}].click()")
            return self.texts(f"#r1-cell-table tbody tr td:nth-child({number + 1})")

        self.show("whole", change)
        numbers = column(5)
        self.assertEqual(numbers[-1], "-")
        self.assertEqual(numbers[:-1], sorted(numbers[:-1], key=int))
        timelines = column(6)
        self.assertLess(timelines.index("process 2"), timelines.index("process 12"))

    def test_the_matrix_has_findings_first(self):
        self.show("whole")
        states = self.tab.ask("[...document.querySelectorAll('#matrix-table tbody tr')]"
                              ".map(row => row.dataset.state)")
        order = ["finding", "open", "lie", "exception", "good", "skipped"]
        self.assertEqual(states, sorted(states, key=order.index))
        self.assertEqual(set(states), set(order))
        rows = self.texts("#matrix-table tbody tr")
        self.assertTrue(rows[0].startswith("munmap/whole"), rows[0])
        for words in ("violation", "held", "lie caught", "not reached", "forced"):
            self.assertTrue(any(words in row for row in rows), words)

    def test_a_process_has_its_timeline(self):
        self.show("whole")
        self.tab.ask("document.getElementById('r2-p2').open = true")
        phases = self.texts("#r2-p2 h4")
        self.assertEqual(phases, ["Installation", "Life", "Exit"])
        moments = self.texts("#r2-p2 ol.timeline > li")
        self.assertEqual(len(moments), 9)
        self.assertIn("entry of level 1 at 0x1f2a608", moments[0])
        entry = self.texts("#r2-p2 li.written dl.entry")[0]
        self.assertEqual(entry, "was0x80000000023a1025 P R US A NX key 0 gpa 0x23a1000is0x0 absent")
        self.assertEqual(self.texts("#r2-p2 li.written")[0].count("by zap_present_ptes+0x1a2"), 1)
        self.assertIn("xchg qword ptr [rbx], rax", self.texts("#r2-p2 li.written")[0])
        self.assertTrue(self.texts("#r2-p2 li.written del"))
        self.assertTrue(self.texts("#r2-p2 li.populated ins"))
        self.assertIn("undone before user mode ran", " ".join(moments))
        self.assertIn("S1: [vdso] page 0", " ".join(moments))
        self.tab.ask("document.getElementById('r2-p3').open = true")
        self.assertIn("17 moments", " ".join(self.texts("#r2-p3 > p")))

    def test_the_writers_code_is_marked(self):
        self.show("whole")
        self.tab.ask("document.getElementById('r2-w1').open = true")
        self.assertEqual(self.texts("#r2-w1 mark"),
                         ["ffffffff81234567 48 87 03 xchg qword ptr [rbx], rax"])
        self.assertIn("as guest memory had it when it wrote", self.texts("#r2-w1 p")[0])

    def test_a_good_report_and_an_empty_one(self):
        found = self.assert_sound(self.show("good"))
        self.assertEqual(found["title"], "sealvisor verify: as expected")
        self.assertEqual(self.texts("#findings > p"), ["None but what is expected of controls."])
        self.assert_sound(self.show("empty"))

    def test_dark_and_small(self):
        light = self.assert_sound(self.show("whole"))
        dark = self.assert_sound(self.show("whole", dark=True))
        self.assertNotEqual(light["ink"], dark["ink"])
        self.assert_sound(self.show("whole", **PHONE))
        self.assert_sound(self.show("whole", dark=True, **PHONE))

    def test_pictures(self):
        for name, how in (("report-light.png", {}), ("report-dark.png", {"dark": True}),
                          ("report-phone.png", PHONE)):
            self.show("whole", **how)
            self.tab.ask("document.getElementById('r2-p2').open = true")
            target = self.tab.picture(FOLDER / name)
            self.assertGreater(target.stat().st_size, 50_000)
            self.assertEqual(target.read_bytes()[:8], b"\x89PNG\r\n\x1a\n")

    def test_what_a_guest_wrote_stays_in_its_place(self):
        for how in ({}, PHONE):
            document = self.show("hostile", **how)
            found = self.assert_sound(document)
            self.assertEqual(found["title"], "sealvisor observe: not as expected")
            self.assertEqual(document.tags["script"], 1)
            self.assertEqual(document.tags["style"], 1)
            self.assertNotIn("img", document.tags)
            self.assertIn("</title></script><script>", self.texts("#runs-table tbody tr")[0])

    # --- keys --------------------------------------------------------------------------------

    def tab_to(self, what, most=80):
        """Presses Tab until the focus is on something that `what` matches."""
        for _ in range(most):
            self.tab.press("Tab")
            if self.tab.ask(f"{FOCUSED}.matches({what!r})"):
                return
        self.fail(f"no {what} within {most} keys")

    def walk_by_keys(self, **how):
        self.show("whole", **how)
        self.tab.press("Tab")
        self.assertEqual(self.tab.ask(FOCUSED + ".className"), "skip")
        self.tab.press("Enter")
        self.assertEqual(self.tab.ask("location.hash"), "#findings")
        self.tab_to("#find")
        self.tab.type("munmap/whole")
        self.assertEqual(len(self.texts("#matrix-table tbody tr")), 3)
        self.tab.ask(FOCUSED + ".value = ''")
        self.tab.ask(FOCUSED + ".dispatchEvent(new Event('input'))")

        # The matrix is one stop; arrow keys go about in it.
        self.tab_to("#matrix-table td a")
        place = "[document.activeElement.closest('tr').rowIndex, " \
                "document.activeElement.closest('td').cellIndex]"
        row, column = self.tab.ask(place)
        self.assertEqual(row, 1)
        # What comes first may have been tried on some kernels only.
        linked = self.tab.ask("[...document.querySelectorAll('#matrix-table tbody tr')[0].querySelectorAll('td a')]"
                              ".map(link => link.closest('td').cellIndex)")
        self.assertGreater(len(linked), 2)
        self.tab.press("End")
        self.assertEqual(self.tab.ask(place), [1, linked[-1]])
        self.tab.press("Home")
        self.assertEqual(self.tab.ask(place), [1, 1])
        self.tab.press("ArrowRight")
        self.assertEqual(self.tab.ask(place), [1, 2])
        self.tab.press("ArrowDown")
        row, column = self.tab.ask(place)
        self.assertGreater(row, 1)
        self.tab.press("ArrowUp")
        self.tab.press("ArrowLeft", times=9)
        self.assertEqual(self.tab.ask(place), [1, 1])
        self.assertTrue(self.tab.ask(IN_MATRIX))
        self.tab.press("Tab")
        self.assertFalse(self.tab.ask(IN_MATRIX), "more than one stop")
        self.tab.ask("document.querySelector('#matrix-table td a[tabindex=\"0\"]').focus()")

        # Into the run's list of cells, and on to the process.
        self.tab.press("ArrowRight")
        self.assertEqual(self.tab.ask(place), [1, 2])
        self.tab.ask("document.querySelector('#matrix-table td a[href=\"#r2-c1\"]').focus()")
        self.tab.press("Enter")
        self.assertEqual(self.tab.ask("location.hash"), "#r2-c1")
        self.assertTrue(self.visible("r2-c1"))
        self.tab.ask("document.querySelector('#r2-c1 a').focus()")
        self.tab.press("Enter")
        self.assertEqual(self.tab.ask("location.hash"), "#r2-p2")
        self.assertTrue(self.tab.until("document.getElementById('r2-p2').open"), "still folded")
        self.assertTrue(self.visible("r2-p2"))

        # Once more, after it was folded again.
        self.tab.ask("document.getElementById('r2-p2').open = false")
        self.tab.ask("document.querySelector('#r2-c1 a').focus()")
        self.tab.press("Enter")
        self.assertTrue(self.tab.until("document.getElementById('r2-p2').open"), "still folded")

        # The code around the writer, where it is asked for.
        self.tab.ask("document.querySelector('#r2-p2 li.written a.writer').focus()")
        shown = "document.querySelectorAll('#r2-p2 li.written .listing mark').length"
        self.assertEqual(self.tab.ask(shown), 0)
        self.tab.press("Enter")
        self.assertEqual(self.tab.ask(shown), 1)
        self.assertEqual(self.tab.ask(FOCUSED + ".getAttribute('aria-expanded')"), "true")
        self.tab.press("Enter")
        self.assertEqual(self.tab.ask(shown), 0)

        # What is folded opens and closes with keys.
        self.tab.ask("document.querySelector('#r2-p3 > summary').focus()")
        self.tab.press("Enter")
        self.assertTrue(self.tab.ask("document.getElementById('r2-p3').open"))
        self.tab.press(" ")
        self.assertFalse(self.tab.ask("document.getElementById('r2-p3').open"))

    def visible(self, name):
        return self.tab.until(
            f"(function () {{ var box = document.getElementById({name!r}).getBoundingClientRect();"
            " return box.top < innerHeight && box.bottom > 0 && box.height > 0; })()")

    def test_keys_lead_everywhere(self):
        self.walk_by_keys()
        self.assertEqual(self.tab.complaints(), [])
        self.walk_by_keys(**PHONE)
        self.assertEqual(self.tab.complaints(), [])

    def test_a_filter_that_hides_the_place_of_the_focus_keeps_the_matrix_within_reach(self):
        self.show("whole")
        self.tab.ask("document.getElementById('state').value = 'good'")
        self.tab.ask("document.getElementById('state').dispatchEvent(new Event('change'))")
        self.tab_to("#matrix-table td a")
        self.assertEqual(self.tab.ask(FOCUSED + ".closest('tr').dataset.state"), "good")

    def test_without_its_script_it_shows_everything(self):
        document = self.show("whole", script=False)
        self.assert_sound(document)
        self.assertEqual(self.texts("form"), [])
        stops = self.tab.ask("[...document.querySelectorAll('#matrix-table td a')]"
                             ".filter(link => link.tabIndex === 0).length")
        self.assertEqual(stops, len(self.texts("#matrix-table td a")))
        self.assertGreater(stops, 10)

    # --- that these checks can fail ------------------------------------------------------------

    def assert_not_sound(self, why, change, kind="good", **how):
        document = self.show(kind, change, **how)
        with self.assertRaisesRegex(AssertionError, why):
            self.assert_sound(document)

    def test_an_error_of_a_script_is_seen(self):
        self.assert_not_sound(
            "nothing is not defined",
            lambda text: text.replace("</body>", "<script>nothing();</script></body>"))

    def test_what_comes_from_elsewhere_is_seen(self):
        picture = '<img src="http://127.0.0.1:9/x.png"></h1>'
        self.assert_not_sound("Content Security Policy",
                              lambda text: text.replace("</h1>", picture))
        self.assert_not_sound(
            "network: http", lambda text: re.sub(r"<meta http-equiv[^>]*>", "",
                                                 text.replace("</h1>", picture)))

    def test_what_is_too_wide_is_seen(self):
        wide = '<p style="width: 99rem">wide</p>'
        self.assert_not_sound("overflowFolded", lambda text: text.replace("</h1>", wide + "</h1>"),
                              **PHONE)
        self.assert_not_sound(
            "overflow", lambda text: text.replace("</summary>", "</summary>" + wide, 1), **PHONE)

    def test_faint_text_is_seen(self):
        self.assert_not_sound("faint text", lambda text: text.replace("--good: #1f7a45", "--good: #9fdab5"))
        self.assert_not_sound("faint text",
                              lambda text: text.replace("--other: #bfa0ff", "--other: #3a2f5e"),
                              dark=True)

    def test_a_missing_cell_is_seen(self):
        self.assert_not_sound("raggedRows",
                              lambda text: re.sub(r"<td[^>]*>.*?</td>", "", text, count=1))

    def test_a_region_for_the_mouse_alone_is_seen(self):
        self.assert_not_sound("unscrollable", lambda text: text.replace(' tabindex="0"', "", 1))

    def test_a_region_without_a_name_is_seen(self):
        self.assert_not_sound("unnamedRegions",
                              lambda text: text.replace(' aria-label="Runs"', "", 1))

    def test_an_id_twice_is_seen(self):
        self.assert_not_sound("an id twice", lambda text: text.replace('id="r1-c1"', 'id="r1-c2"'))

    def test_a_link_to_nowhere_is_seen(self):
        self.assert_not_sound("nowhere", lambda text: text.replace('href="#runs"', 'href="#nowhere"'))

    def test_a_matrix_without_keys_is_seen(self):
        show = self.show
        try:
            self.show = lambda kind, **how: show(
                kind, lambda text: text.replace('matrix.addEventListener("keydown"',
                                                'matrix.addEventListener("keyless"'), **how)
            with self.assertRaises(AssertionError):
                self.walk_by_keys()
        finally:
            self.show = show


def look(page, folder):
    """Pictures of a page that is there, folded as it comes and with its first change open."""
    test = ReportPageTest()
    ReportPageTest.setUpClass()
    try:
        document = Document(page.read_text(encoding="utf-8"))
        for name, how in (("light", {}), ("dark", {"dark": True}), ("phone", PHONE)):
            test.tab.show(page, **how)
            test.assert_sound(document)
            test.tab.picture(folder / f"{page.stem}-{name}.png")
            test.tab.ask("location.hash = (document.querySelector('details.process') || "
                         "document.body).id || ''")
            test.tab.ask("(document.querySelector('details.process a.writer') || "
                         "document.body).click()")
            test.tab.ask("new Promise(done => requestAnimationFrame(done))")
            test.tab.picture(folder / f"{page.stem}-{name}-timeline.png", whole=False)
    finally:
        ReportPageTest.tearDownClass()


if __name__ == "__main__":
    if sys.argv[1] == "--look":
        look(pathlib.Path(sys.argv[2]).resolve(), pathlib.Path(sys.argv[3]).resolve())
        sys.exit(0)
    MAKE_PAGE = pathlib.Path(sys.argv.pop(1)).resolve()
    FOLDER = pathlib.Path(sys.argv.pop(1)).resolve()
    FOLDER.mkdir(parents=True, exist_ok=True)
    unittest.main(verbosity=2)
