// Parts that pages are made of: tables, lists, sections, and the page that needs nothing else: no
// network, no fonts, no other files. Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sealvisor::report::html {

struct TableColumn {
  std::string title{};
  bool number = false;
  /// Instead of the title: markup.
  std::string html{};
};

/// A cell: what is shown, and what it is sorted by if that is a number.
struct TableCell {
  std::string html;
  std::optional<double> key{};
  std::string_view style{};  ///< Class of its text.
};

[[nodiscard]] TableCell text_cell(std::string_view text);
[[nodiscard]] TableCell number_cell(std::string_view text, double key);

struct TableRow {
  std::vector<TableCell> cells;  ///< As many as there are columns.
  std::string attributes{};      ///< Of the row, with a space in front.
};

struct TableOptions {
  std::string id;         ///< Unique in the page.
  std::string label;      ///< What it is about, for who can't see it.
  std::size_t heads = 1;  ///< The first cells of a row that say what it is about.
  bool sortable = false;  ///< By each column, with the page's script; and as high as the window.
};

/// A table in a region of its own that scrolls, and can be scrolled with the keyboard.
[[nodiscard]] std::string table(const TableOptions& options,
                                const std::vector<TableColumn>& columns,
                                const std::vector<TableRow>& rows);

[[nodiscard]] std::string list(const std::vector<std::string>& lines);

/// A name and what it is, for a <dl>. Both are text.
[[nodiscard]] std::string fact(std::string_view name, std::string_view value);

/// Sections in their order, with what the navigation lists.
class Sections {
 public:
  /// `html` is the section's content; without any there is no section.
  void add(std::string_view id, std::string_view title, const std::string& html);
  [[nodiscard]] std::string navigation() const;
  [[nodiscard]] const std::string& body() const { return body_; }

 private:
  std::string navigation_;
  std::string body_;
};

struct Page {
  std::string title;
  std::string skip_to;     ///< Id of the section that a keyboard's first key leads to.
  std::string skip_title;  ///< "costs".
  bool good = true;        ///< How the conclusion is painted.
  std::string conclusion;
  std::string facts;  ///< Markup behind the conclusion.
  Sections sections;
  std::string style{};   ///< Behind the style of all pages.
  std::string script{};  ///< The same.
};

/// The whole document. Its own policy forbids it to load anything.
[[nodiscard]] std::string render(const Page& page);

}  // namespace sealvisor::report::html
