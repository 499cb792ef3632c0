#include "vmm/report/layout.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace sealvisor::report {
namespace {

TEST(Layout, WrapsAtSpacesThenMarksThenAnywhere) {
  struct Case {
    const char* text;
    std::size_t width;
    std::vector<std::string> lines;
  };
  const std::vector<Case> cases = {
      {"", 5, {""}},
      {"short", 5, {"short"}},
      {"two words", 5, {"two", "words"}},
      {"two words", 8, {"two", "words"}},
      {"exact fit", 9, {"exact fit"}},
      {"munmap/whole,first-page", 14, {"munmap/whole,", "first-page"}},
      {"abcdefgh", 3, {"abc", "def", "gh"}},
      {"a  b", 2, {"a ", "b"}},
  };
  for (const Case& one : cases) EXPECT_EQ(wrap(one.text, one.width), one.lines) << one.text;
}

TEST(Layout, GroupsDigits) {
  EXPECT_EQ(grouped(0), "0");
  EXPECT_EQ(grouped(999), "999");
  EXPECT_EQ(grouped(1000), "1,000");
  EXPECT_EQ(grouped(1234567), "1,234,567");
}

TEST(Layout, LetsNothingThroughThatATerminalActsOn) {
  EXPECT_EQ(printable("a\x1b[31mb\n\xff"), "a\\x1b[31mb\\x0a\\xff");
  EXPECT_EQ(printable("[vdso] ~"), "[vdso] ~");
}

TEST(Layout, AlignsColumns) {
  const std::string text = table({{"name", 20}, {"count", 9, true}, {"last", 20}},
                                 {{{"one", "1", "x"}}, {{"three", "1,000", "y"}}}, 80, 2, false);
  EXPECT_EQ(text,
            "  name   count  last\n"
            "  one        1  x\n"
            "  three  1,000  y\n");
}

TEST(Layout, ColoursDoNotMoveColumns) {
  const std::vector<Column> columns = {{"a", 9}, {"b", 9}};
  const std::vector<Row> rows = {{{"x", "y"}, Colour::Red}, {{"xx", "yy"}, Colour::None}};
  EXPECT_EQ(table(columns, rows, 80, 0, false), "a   b\nx   y\nxx  yy\n");
  EXPECT_EQ(table(columns, rows, 80, 0, true),
            "\x1b[2ma \x1b[0m  \x1b[2mb\x1b[0m\nx   \x1b[31my\x1b[0m\nxx  yy\n");
}

TEST(Layout, NarrowsTheWidestColumnToFit) {
  const std::string text =
      table({{"first", 80}, {"second", 80}}, {{{std::string(60, 'a'), "bb"}}}, 40, 0, false);
  std::size_t longest = 0;
  std::size_t start = 0;
  while (start < text.size()) {
    const std::size_t end = text.find('\n', start);
    longest = std::max(longest, end - start);
    start = end + 1;
  }
  EXPECT_LE(longest, 40U);
  EXPECT_NE(text.find("  bb"), std::string::npos);
}

TEST(Layout, ParagraphsHang) {
  EXPECT_EQ(paragraph("- ", "one two three", 11), "- one two\n  three\n");
}

}  // namespace
}  // namespace sealvisor::report
