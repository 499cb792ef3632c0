#include "vmm/engine/kvm/walker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/app/temporary.h"

namespace sealvisor::engine::kvm {
namespace {

using testing::HasSubstr;

TEST(Walker, IsContentWithoutWritesOfTheNestedWalk) {
  EXPECT_TRUE(check_walker({"Y", "N", ""}).ok()) << "EPT without accessed flags";
  EXPECT_TRUE(check_walker({"N", "N", ""}).ok()) << "shadow paging on Intel";
  EXPECT_TRUE(check_walker({"", "", "N"}).ok()) << "shadow paging on AMD";
}

TEST(Walker, NamesTheParameterThatIsInTheWay) {
  const struct {
    WalkerWrites parameters;
    const char* says;
  } rows[] = {
      {{"Y", "Y", ""}, "eptad=0"}, {{"", "", "Y"}, "npt=0"}, {{"", "", ""}, "neither kvm_intel"}};
  for (const auto& row : rows) {
    const Status status = check_walker(row.parameters);
    ASSERT_FALSE(status.ok()) << row.says;
    EXPECT_EQ(status.error().code, ExitCode::HostLacks);
    EXPECT_THAT(status.error().message, HasSubstr(row.says));
  }
}

TEST(Walker, ReadsTheModulesParameters) {
  app::Temporary tree;
  tree.file("kvm_intel/parameters/ept", "Y\n");
  tree.file("kvm_intel/parameters/eptad", "N\n");
  const WalkerWrites found = walker_writes(tree.path());
  EXPECT_EQ(found.ept, "Y");
  EXPECT_EQ(found.eptad, "N");
  EXPECT_EQ(found.npt, "");
}

}  // namespace
}  // namespace sealvisor::engine::kvm
