#include "vmm/report/html/report_parts.h"

namespace sealvisor::report::html {

const char* const kReportStyle = R"css(
h3 { font-size: 1.05rem; margin: 1.75rem 0 .5rem; }
h4 { font-size: .95rem; margin: 1rem 0 .25rem; color: var(--soft); }
code, pre { font-family: ui-monospace, monospace; font-size: .875em; }
code { overflow-wrap: anywhere; }
.wrap { display: block; min-width: 16rem; max-width: 34rem; white-space: normal; }
ul.findings { padding-left: 1.2rem; }
ul.findings li { margin-bottom: .75rem; overflow-wrap: anywhere; }
#matrix-table td a { display: inline-block; min-width: 2rem; padding: .15rem 0; }
:target { background: var(--raised); outline: 2px solid var(--link); outline-offset: 2px; }
section:target, h3:target { background: none; outline: none; }
section, h3, details, tr { scroll-margin-top: 1rem; }
.tall tr { scroll-margin-top: 4rem; }
details.process { border: 1px solid var(--line); border-radius: .3rem; padding: .4rem .75rem; }
summary { padding: .2rem 0; overflow-wrap: anywhere; }
ol.timeline { list-style: none; margin: 0; padding: 0 0 0 .9rem; border-left: 2px solid var(--line); }
ol.timeline li { position: relative; margin: 0 0 .75rem; }
ol.timeline li::before {
  content: ""; position: absolute; left: -1.35rem; top: .45rem; width: .7rem; height: .7rem;
  border-radius: 50%; background: var(--soft);
}
ol.timeline li.broken::before, ol.timeline li.elsewhere::before { background: var(--bad); }
ol.timeline li.written::before, ol.timeline li.seen::before { background: var(--other); }
ol.timeline p { margin: 0; overflow-wrap: anywhere; }
.when { font-variant-numeric: tabular-nums; margin-right: .4rem; }
dl.entry { margin: .2rem 0; gap: 0 .6rem; grid-template-columns: max-content 1fr; }
dl.entry dd { overflow-wrap: anywhere; }
del { color: var(--bad); }
ins { color: var(--other); font-weight: 600; }
pre { margin: 0; padding: .5rem .6rem; }
mark { background: var(--raised); color: var(--ink); font-weight: 700; box-shadow: inset .25rem 0 var(--bad); }
.listing { margin: .3rem 0; }
@media (max-width: 40rem) {
  .wrap { min-width: 12rem; }
  dl.entry dd { margin-bottom: 0; }
}
)css";

const char* const kReportScript = R"js(
(function () {
  "use strict";
  // What is folded opens when a link leads into it.
  function open(element) {
    for (var at = element; at; at = at.parentElement) {
      if (at.tagName === "DETAILS") { at.open = true; }
    }
  }
  function arrive() {
    var target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (!target) { return; }
    open(target);
    target.scrollIntoView();
  }
  window.addEventListener("hashchange", arrive);
  // A link to where the page already is changes nothing that the above would notice.
  document.addEventListener("click", function (event) {
    var link = event.target.closest("a[href^='#']");
    if (link && !event.defaultPrevented && link.getAttribute("href") === location.hash) { arrive(); }
  });
  arrive();

  // The code of a writer is shown where it is asked for.
  document.querySelectorAll("a.writer").forEach(function (link) {
    var shown = null;
    link.setAttribute("aria-expanded", "false");
    link.addEventListener("click", function (event) {
      var source = document.getElementById(link.getAttribute("href").slice(1));
      if (!source) { return; }
      event.preventDefault();
      if (shown) {
        shown.remove();
        shown = null;
      } else {
        shown = document.createElement("div");
        Array.prototype.slice.call(source.children, 1).forEach(function (part) {
          shown.appendChild(part.cloneNode(true));
        });
        link.closest("p").insertAdjacentElement("afterend", shown);
      }
      link.setAttribute("aria-expanded", String(Boolean(shown)));
    });
  });

  // The matrix is one stop for the Tab key; arrow keys go about in it.
  var matrix = document.getElementById("matrix-table");
  if (!matrix) { return; }
  var current = null;
  function linkAt(row, column) {
    return row && !row.hidden && row.cells[column] ? row.cells[column].querySelector("a") : null;
  }
  function choose(link) {
    if (current) { current.tabIndex = -1; }
    current = link;
    if (current) { current.tabIndex = 0; }
  }
  function visible() {
    return Array.prototype.filter.call(matrix.tBodies[0].rows, function (row) { return !row.hidden; });
  }
  function first() {
    var found = null;
    visible().some(function (row) { return (found = row.querySelector("td a")); });
    return found;
  }
  function search(from, rows, row, column, down, right) {
    for (;;) {
      row += down;
      column += right;
      if (row < 0 || row >= rows.length || column < 1 || column >= rows[row].cells.length) { return from; }
      if (linkAt(rows[row], column)) { return linkAt(rows[row], column); }
    }
  }
  matrix.querySelectorAll("td a").forEach(function (link) { link.tabIndex = -1; });
  choose(first());
  matrix.addEventListener("filtered", function () {
    if (!current || current.closest("tr").hidden) { choose(first()); }
  });
  matrix.addEventListener("focusin", function (event) {
    if (event.target.matches("td a")) { choose(event.target); }
  });
  matrix.addEventListener("keydown", function (event) {
    var link = event.target;
    if (!link.matches("td a") || event.ctrlKey || event.altKey || event.metaKey) { return; }
    var rows = visible(), row = rows.indexOf(link.closest("tr")), column = link.closest("td").cellIndex;
    var to = null;
    if (event.key === "ArrowDown") { to = search(link, rows, row, column, 1, 0); }
    if (event.key === "ArrowUp") { to = search(link, rows, row, column, -1, 0); }
    if (event.key === "ArrowRight") { to = search(link, rows, row, column, 0, 1); }
    if (event.key === "ArrowLeft") { to = search(link, rows, row, column, 0, -1); }
    if (event.key === "Home") { to = search(link, rows, row, 0, 0, 1); }
    if (event.key === "End") { to = search(link, rows, row, rows[row].cells.length, 0, -1); }
    if (!to) { return; }
    event.preventDefault();
    to.focus();
  });
})();
)js";

}  // namespace sealvisor::report::html
