#include "vmm/base/cpus.h"

#include <optional>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sealvisor {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(CpuList, IsReadAsTheKernelWritesIt) {
  EXPECT_THAT(*parse_cpu_list("0-3,8\n"), ElementsAre(0, 1, 2, 3, 8));
  EXPECT_THAT(*parse_cpu_list("7"), ElementsAre(7));
  EXPECT_THAT(*parse_cpu_list("4,0-1,1-2"), ElementsAre(0, 1, 2, 4));
  EXPECT_THAT(*parse_cpu_list("\n"), IsEmpty());
  EXPECT_THAT(*parse_cpu_list(""), IsEmpty());
}

TEST(CpuList, NothingElseIsOne) {
  for (const char* text : {"x", "1,", ",1", "3-1", "1-", "-1", "0-8192", "1 2", "0x1", "1--2",
                           "99999999999999999999"}) {
    EXPECT_EQ(parse_cpu_list(text), std::nullopt) << text;
  }
}

TEST(CpuList, IsWrittenAsItIsRead) {
  for (const char* text : {"", "0", "0-3,8", "1,3,5-6", "8191"}) {
    EXPECT_EQ(cpu_list_text(*parse_cpu_list(text)), text);
  }
}

TEST(Cpus, AThreadIsBoundToOneAndNoOtherIs) {
  const auto before = allowed_cpus();
  ASSERT_TRUE(before.ok()) << before.error().message;
  ASSERT_FALSE(before.value().empty());
  const unsigned last = before.value().back();
  std::thread([&] {
    const Status bound = bind_to({&last, 1});
    EXPECT_TRUE(bound.ok()) << bound.error().message;
    const auto now = allowed_cpus();
    ASSERT_TRUE(now.ok());
    EXPECT_THAT(now.value(), ElementsAre(last));
  }).join();
  EXPECT_EQ(allowed_cpus().value(), before.value());
}

TEST(Cpus, OneThatIsNotThereIsNamed) {
  for (const unsigned cpu : {kMostCpus - 1, kMostCpus, kMostCpus + 7}) {
    std::thread([&] {
      const Status bound = bind_to({&cpu, 1});
      ASSERT_FALSE(bound.ok());
      EXPECT_EQ(bound.error().code, ExitCode::HostLacks);
      EXPECT_THAT(bound.error().message, HasSubstr(std::to_string(cpu)));
    }).join();
  }
}

}  // namespace
}  // namespace sealvisor
