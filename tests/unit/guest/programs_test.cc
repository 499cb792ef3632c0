#include "guest/scenario/programs.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "vmm/run/run.h"

namespace sealvisor::scenario {
namespace {

/// Parses a copy of `text`, which lives as long as this does.
struct Parsed {
  explicit Parsed(std::string_view from) : text(from) { good = parse_programs(text, *list); }
  std::string text;
  std::unique_ptr<ProgramList> list = std::make_unique<ProgramList>();
  bool good = false;
};

TEST(Programs, ReadsAList) {
  const Parsed parsed(
      "sealvisor-programs 1\n"
      "program\nroot /payload\nrun /bin/one\narg a b\narg \narg  c\nenv A=b c\nlimit 7\n"
      "output 99\nuntraced\n"
      "program\nroot /other\nrun /two\n");
  ASSERT_TRUE(parsed.good) << parsed.list->error;
  ASSERT_EQ(parsed.list->size, 2U);
  const ProgramItem& one = parsed.list->items[0];
  EXPECT_STREQ(one.root, "/payload");
  EXPECT_STREQ(one.run, "/bin/one");
  ASSERT_EQ(one.argument_count, 3U);
  EXPECT_STREQ(one.arguments[0], "a b");
  EXPECT_STREQ(one.arguments[1], "");
  EXPECT_STREQ(one.arguments[2], " c");
  ASSERT_EQ(one.variable_count, 1U);
  EXPECT_STREQ(one.variables[0], "A=b c");
  EXPECT_EQ(one.limit_seconds, 7U);
  EXPECT_EQ(one.output_bytes, 99U);
  EXPECT_FALSE(one.traced);
  const ProgramItem& two = parsed.list->items[1];
  EXPECT_STREQ(two.run, "/two");
  EXPECT_EQ(two.limit_seconds, 60U);
  EXPECT_TRUE(two.traced);
  EXPECT_EQ(two.argument_count, 0U);
}

TEST(Programs, ReadsWhatTheVmmWrites) {
  run::ProgramRequest request;
  request.name = "not in the list";
  request.root = "/payload";
  request.run = "/a program";
  request.arguments = {"", "one two", "--three=\"4\""};
  request.environment = {"PATH=/bin", "EMPTY="};
  request.limit_seconds = 3;
  request.output_bytes = 4;
  request.traced = false;
  const Parsed parsed(run::programs_text(std::vector{request, run::ProgramRequest(request)}));
  ASSERT_TRUE(parsed.good) << parsed.list->line << ": " << parsed.list->error;
  ASSERT_EQ(parsed.list->size, 2U);
  const ProgramItem& item = parsed.list->items[1];
  EXPECT_STREQ(item.run, "/a program");
  ASSERT_EQ(item.argument_count, 3U);
  EXPECT_STREQ(item.arguments[0], "");
  EXPECT_STREQ(item.arguments[1], "one two");
  EXPECT_STREQ(item.arguments[2], "--three=\"4\"");
  EXPECT_STREQ(item.variables[1], "EMPTY=");
  EXPECT_EQ(item.limit_seconds, 3U);
  EXPECT_EQ(item.output_bytes, 4U);
  EXPECT_FALSE(item.traced);
}

TEST(Programs, NamesTheLineThatIsWrong) {
  const std::string head = "sealvisor-programs 1\nprogram\nroot /p\nrun /x\n";
  struct Row {
    std::string text;
    std::size_t line;
    std::string_view error;
  };
  const Row rows[] = {
      {"", 0, "empty"},
      {"sealvisor-programs 2\n", 1, "not a list of this version"},
      {"sealvisor-programs 1\nrun /x\n", 2, "expected 'program'"},
      {head + "walk /y\n", 5, "no such line"},
      {head + "limit 0\n", 5, "expected 1 to 86400 seconds"},
      {head + "limit 86401\n", 5, "expected 1 to 86400 seconds"},
      {head + "output 99999999\n", 5, "expected 1 to 16777216 bytes"},
      {head + "untraced please\n", 5, "words behind 'untraced'"},
      {head + "root payload\n", 5, "expected a path that begins with a slash"},
      {head + "arg cut", 5, "cut short: the last line does not end"},
      {head + std::string("arg a\0b\n", 8), 5, "holds a NUL"},
      {"sealvisor-programs 1\nprogram\nroot /p\n", 3, "a program without 'root' or without 'run'"},
      {std::string(kMaxProgramsSize + 1, '\n'), 0, "longer than 262144 bytes"},
  };
  for (const Row& row : rows) {
    const Parsed parsed(row.text);
    EXPECT_FALSE(parsed.good) << row.error;
    EXPECT_EQ(parsed.list->error, row.error);
    EXPECT_EQ(parsed.list->line, row.line) << row.error;
  }
  std::string many = head;
  for (std::size_t i = 0; i < kMaxProgramWords; ++i) many += "arg x\n";
  EXPECT_TRUE(Parsed(many).good);
  EXPECT_EQ(Parsed(many + "arg x\n").list->error, "more than 64 arguments or variables");
  std::string programs = "sealvisor-programs 1\n";
  for (std::size_t i = 0; i < kMaxProgramCount; ++i) programs += "program\nroot /p\nrun /x\n";
  EXPECT_TRUE(Parsed(programs).good);
  EXPECT_EQ(Parsed(programs + "program\n").list->error, "more than 64 programs");
}

}  // namespace
}  // namespace sealvisor::scenario
