#include "vmm/report/html/page.h"

#include <cassert>

#include <fmt/format.h>

#include "vmm/report/html/markup.h"
#include "vmm/report/html/style.h"

namespace sealvisor::report::html {

namespace {

constexpr const char* kPolicy =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'";

std::string head_of(const TableColumn& column) {
  return fmt::format("<th scope=\"col\"{}>{}</th>", column.number ? " class=\"number\"" : "",
                     column.html.empty() ? escape(column.title) : column.html);
}

std::string cell_of(const TableCell& cell, const TableColumn& column, bool head) {
  const char* const name = head ? "th" : "td";
  return fmt::format("<{}{}{}{}>{}</{}>", name, head ? " scope=\"row\"" : "",
                     column.number ? " class=\"number\"" : "",
                     cell.key ? fmt::format(" data-key=\"{}\"", *cell.key) : "",
                     cell.style.empty()
                         ? cell.html
                         : fmt::format("<span class=\"{}\">{}</span>", cell.style, cell.html),
                     name);
}

}  // namespace

TableCell text_cell(std::string_view text) { return {escape(text)}; }
TableCell number_cell(std::string_view text, double key) { return {escape(text), key}; }

std::string table(const TableOptions& options, const std::vector<TableColumn>& columns,
                  const std::vector<TableRow>& rows) {
  std::string html = fmt::format(
      "<div class=\"scroll{}\" role=\"region\" aria-label=\"{}\" tabindex=\"0\">\n"
      "<table id=\"{}\"{}>\n<thead><tr>",
      options.sortable ? " tall" : "", escape(options.label), options.id,
      options.sortable ? " class=\"sortable\"" : "");
  for (const TableColumn& column : columns) html += head_of(column);
  html += "</tr></thead>\n<tbody>\n";
  for (const TableRow& row : rows) {
    assert(row.cells.size() == columns.size());
    html += fmt::format("<tr{}>", row.attributes);
    for (std::size_t i = 0; i < row.cells.size(); ++i) {
      html += cell_of(row.cells[i], columns[i], i < options.heads);
    }
    html += "</tr>\n";
  }
  return html + "</tbody>\n</table>\n</div>\n";
}

std::string list(const std::vector<std::string>& lines) {
  std::string html = "<ul class=\"plain\">\n";
  for (const std::string& line : lines) html += fmt::format("<li>{}</li>\n", escape(line));
  return html + "</ul>\n";
}

std::string fact(std::string_view name, std::string_view value) {
  return fmt::format("<dt>{}</dt><dd>{}</dd>\n", escape(name), escape(value));
}

void Sections::add(std::string_view id, std::string_view title, const std::string& html) {
  if (html.empty()) return;
  navigation_ += fmt::format("<li><a href=\"#{}\">{}</a></li>\n", id, escape(title));
  body_ += fmt::format(
      "<section id=\"{0}\" aria-labelledby=\"{0}-title\">\n"
      "<h2 id=\"{0}-title\">{1}</h2>\n{2}</section>\n",
      id, escape(title), html);
}

std::string Sections::navigation() const {
  return fmt::format("<nav aria-label=\"Sections\"><ul>\n{}</ul></nav>\n", navigation_);
}

std::string render(const Page& page) {
  const std::string title = escape(page.title);
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"{}\">\n<title>{}</title>\n"
      "<style>{}{}</style>\n</head>\n<body>\n<a class=\"skip\" href=\"#{}\">Skip to the "
      "{}</a>\n<header>\n<h1>{}</h1>\n<p class=\"conclusion{}\">{}</p>\n{}{}</header>\n<main>\n"
      "{}</main>\n<script>{}{}</script>\n</body>\n</html>\n",
      kPolicy, title, kPageStyle, page.style, page.skip_to, escape(page.skip_title), title,
      page.good ? "" : " failed", escape(page.conclusion), page.facts, page.sections.navigation(),
      page.sections.body(), kPageScript, page.script);
}

}  // namespace sealvisor::report::html
