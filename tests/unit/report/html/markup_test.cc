#include "vmm/report/html/markup.h"

#include <gtest/gtest.h>

#include <string>

namespace sealvisor::report::html {
namespace {

TEST(Markup, TextIsNoMarkup) {
  EXPECT_EQ(escape("a<b>&\"'c"), "a&lt;b&gt;&amp;&quot;&#39;c");
  EXPECT_EQ(escape("&amp;"), "&amp;amp;");
  EXPECT_EQ(escape("one\ntwo\tthree"), "one two three");
  EXPECT_EQ(escape("\x1b[31m"), "\xEF\xBF\xBD[31m");
  EXPECT_EQ(escape("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xa7"),
            "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x90\xa7");
}

TEST(Markup, TextStaysInItsPlaceAndInItsOrder) {
  const std::string one = "\xEF\xBF\xBD";
  EXPECT_EQ(escape("a\x7f"), "a" + one);
  EXPECT_EQ(escape("\xc2\x80 \xc2\x9b[2J \xc2\x9f"), one + " " + one + "[2J " + one);  // C1
  EXPECT_EQ(escape("\xe2\x80\xae dleh \xe2\x80\xac"), one + " dleh " + one);  // U+202E, U+202C
  EXPECT_EQ(escape("\xe2\x81\xa7\xe2\x81\xa9\xe2\x80\x8f\xd8\x9c"), one + one + one + one);
  EXPECT_EQ(escape("\xe2\x80\xa8"), one);  // ends a line
  // Their neighbours are text.
  EXPECT_EQ(escape("\xc2\xa0\xe2\x80\x8d\xe2\x80\xaf\xe2\x80\xa7\xe2\x81\xa5\xe2\x81\xaa\xd8\x9b"),
            "\xc2\xa0\xe2\x80\x8d\xe2\x80\xaf\xe2\x80\xa7\xe2\x81\xa5\xe2\x81\xaa\xd8\x9b");
}

TEST(Markup, BytesThatAreNoTextAreReplaced) {
  const std::string one = "\xEF\xBF\xBD";
  EXPECT_EQ(escape("\xff"), one);
  EXPECT_EQ(escape("\xc3"), one);                                // cut off
  EXPECT_EQ(escape("\xc3<"), one + "&lt;");                      // and does not swallow the next
  EXPECT_EQ(escape("\xc0\xbc"), one + one);                      // "<", overlong
  EXPECT_EQ(escape("\xe0\x80\xbc"), one + one + one);            // the same
  EXPECT_EQ(escape("\xed\xa0\x80"), one + one + one);            // half of a pair
  EXPECT_EQ(escape("\xf4\x90\x80\x80"), one + one + one + one);  // past U+10FFFF
  EXPECT_EQ(escape("\xef\xbf\xbe\xef\xbf\xbf"),
            one + one + one + one + one + one);  // no characters
  EXPECT_EQ(escape("\xef\xbf\xbd\xef\xbb\xbf"), "\xef\xbf\xbd\xef\xbb\xbf");
}

}  // namespace
}  // namespace sealvisor::report::html
