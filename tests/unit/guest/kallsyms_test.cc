#include "guest/agent/kallsyms.h"

#include <gtest/gtest.h>

namespace sealvisor::agent {
namespace {

TEST(Kallsyms, TellsTheAddressOfTheSymbolThatIsAskedFor) {
  EXPECT_EQ(kallsyms_address("ffffffff81000000 T _text", "_text"), 0xffffffff81000000U);
  EXPECT_EQ(kallsyms_address("ffff800080000000 T _text", "_text"), 0xffff800080000000U);
  EXPECT_EQ(kallsyms_address("0000000000000000 T _text", "_text"), 0U) << "it is kept back";
}

TEST(Kallsyms, TellsNothingOfAnythingElse) {
  for (const char* line : {"",
                           " ",
                           "_text",
                           "T _text",
                           "ffffffff81000000",
                           "ffffffff81000000 ",
                           "ffffffff81000000 T",
                           "ffffffff81000000 T ",
                           "ffffffff81000000 T _stext",
                           "ffffffff81000000 T _text2",
                           "ffffffff81000000 T _tex",
                           "ffffffff81000000  T _text",
                           "ffffffff81000000 TT _text",
                           "ffffffff81000000 T _text\t[module]",
                           "ffffffff81000000 T _text ",
                           "0xffffffff81000000 T _text",
                           "FFFFFFFF81000000 T _text",
                           "1ffffffff81000000 T _text",
                           "(____ptrval____) T _text",
                           "-1 T _text"}) {
    EXPECT_EQ(kallsyms_address(line, "_text"), std::nullopt) << line;
  }
}

}  // namespace
}  // namespace sealvisor::agent
