#include "vmm/report/html/style.h"

namespace sealvisor::report::html {

const char* const kPageStyle = R"css(
:root {
  color-scheme: light dark;
  --ground: #ffffff; --raised: #f4f6f8; --ink: #1b2128; --soft: #57616c; --line: #d4dae0;
  --link: #1d5fa8; --good: #1f7a45; --bad: #b42f2f; --other: #6a3fb5; --open: #8a5d00;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14181d; --raised: #1d232a; --ink: #e4e8ec; --soft: #a2adb8; --line: #37414b;
    --link: #7ab4f0; --good: #62cf90; --bad: #ff8d8d; --other: #bfa0ff; --open: #efbd5c;
  }
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body {
  margin: 0 auto; padding: 1rem; max-width: 76rem; background: var(--ground); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: break-word;
}
h1 { font-size: 1.5rem; line-height: 1.25; margin: .5rem 0 1rem; }
h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; padding-top: .5rem; border-top: 1px solid var(--line); }
a { color: var(--link); }
a.skip { position: absolute; left: -99rem; }
a.skip:focus { position: static; }
:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
nav ul { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; padding: 0; list-style: none; }
.conclusion {
  padding: .75rem 1rem; background: var(--raised); border-left: .4rem solid var(--good);
  font-weight: 600;
}
.conclusion.failed { border-color: var(--bad); }
.note { color: var(--soft); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: 1rem 0; }
dt { color: var(--soft); }
dd { margin: 0; min-width: 0; overflow-wrap: anywhere; }
[hidden] { display: none !important; }
.controls { display: flex; flex-wrap: wrap; gap: .5rem 1.25rem; margin: 1rem 0 .5rem; align-items: center; }
.controls label { display: inline-flex; gap: .4rem; align-items: center; }
input[type=search], select { font: inherit; padding: .25rem .4rem; max-width: 100%; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: .3rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: left; white-space: nowrap; }
thead th { background: var(--raised); border-bottom: 2px solid var(--line); vertical-align: bottom; }
.tall { max-height: 80vh; overflow: auto; }
.tall thead th { position: sticky; top: 0; }
.where { color: var(--soft); font-weight: 400; }
.tall th:first-child { position: sticky; left: 0; background: var(--ground); }
.tall thead th:first-child { z-index: 1; background: var(--raised); }
tbody tr + tr > * { border-top: 1px solid var(--line); }
th.number, td.number { text-align: right; }
tbody th { font-weight: 500; }
tr.total > * { font-weight: 600; }
th button { all: unset; cursor: pointer; font-weight: 600; }
th button:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
th[aria-sort=ascending] button::after { content: " \2191"; }
th[aria-sort=descending] button::after { content: " \2193"; }
.good { color: var(--good); } .bad { color: var(--bad); font-weight: 700; }
.other { color: var(--other); font-weight: 600; } .open { color: var(--open); font-weight: 600; }
ul.plain { padding-left: 1.2rem; }
figure { margin: 1rem 0 2rem; }
figcaption { font-weight: 600; margin-bottom: .4rem; }
figure svg { display: block; width: 100%; min-width: 40rem; height: auto; }
.scroll.plot { padding: .4rem; }
svg [stroke=black] { stroke: currentColor; }
svg [fill=black] { fill: currentColor; }
svg [color=black], svg [color=white] { color: inherit; }
details { margin: .5rem 0; }
summary { cursor: pointer; }
details .scroll { margin-top: .5rem; }
@media (max-width: 40rem) {
  body { padding: .75rem; }
  dl { grid-template-columns: 1fr; }
  dd { margin-bottom: .4rem; }
  .where { display: block; }
  .tall th:first-child { max-width: 11rem; white-space: normal; }
}
@media print { .controls, nav { display: none; } body { max-width: none; } .tall { max-height: none; } }
)css";

const char* const kPageScript = R"js(
(function () {
  "use strict";
  function cellOf(row, index) {
    var cell = row.cells[index];
    var key = cell.dataset.key;
    return key === undefined ? cell.textContent : Number(key);
  }
  function sortBy(table, index) {
    var head = table.tHead.rows[0].cells[index];
    var up = head.getAttribute("aria-sort") !== "ascending";
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (cell) {
      cell.removeAttribute("aria-sort");
    });
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
    var rows = Array.prototype.slice.call(table.tBodies[0].rows);
    rows.sort(function (one, other) {
      var a = cellOf(one, index), b = cellOf(other, index);
      // Where one has no number, there is a word instead of it: behind all numbers.
      var order = typeof a !== typeof b ? (typeof a === "number" ? -1 : 1)
        : typeof a === "number" ? a - b : a.localeCompare(b, undefined, {numeric: true});
      return up ? order : -order;
    });
    rows.forEach(function (row) { table.tBodies[0].appendChild(row); });
  }
  document.querySelectorAll("table.sortable").forEach(function (table) {
    Array.prototype.forEach.call(table.tHead.rows[0].cells, function (cell, index) {
      var button = document.createElement("button");
      button.type = "button";
      button.textContent = cell.textContent;
      button.addEventListener("click", function () { sortBy(table, index); });
      cell.textContent = "";
      cell.appendChild(button);
    });
  });
  function keeps(row, field) {
    var what = field.dataset.filter, wanted = field.value;
    if (what === "text") { return row.textContent.toLowerCase().indexOf(wanted.toLowerCase()) >= 0; }
    if (what === "minor") { return field.checked || row.dataset.minor === undefined; }
    if (wanted.charAt(0) === "!") { return row.dataset[what] !== wanted.slice(1); }
    return wanted === "" || row.dataset[what] === wanted;
  }
  document.querySelectorAll("form.controls").forEach(function (form) {
    var table = document.getElementById(form.dataset.for);
    if (!table) { return; }
    var fields = Array.prototype.slice.call(form.querySelectorAll("[data-filter]"));
    var shown = form.querySelector("[role=status]");
    function update() {
      var rows = Array.prototype.slice.call(table.tBodies[0].rows), count = 0;
      rows.forEach(function (row) {
        row.hidden = !fields.every(function (field) { return keeps(row, field); });
        count += row.hidden ? 0 : 1;
      });
      shown.textContent = count + " of " + rows.length + " " + form.dataset.noun + " shown";
      table.dispatchEvent(new Event("filtered"));
    }
    fields.forEach(function (field) {
      field.addEventListener(field.type === "search" ? "input" : "change", update);
    });
    form.addEventListener("submit", function (event) { event.preventDefault(); });
    form.hidden = false;
    update();
  });
})();
)js";

}  // namespace sealvisor::report::html
