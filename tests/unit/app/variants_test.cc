#include "vmm/app/variants.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

namespace sealvisor::app {
namespace {

using arch::Arch;
using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> names(const std::vector<std::string>& words,
                               const std::vector<Arch>& archs) {
  const auto chosen = choose_variants(words, archs);
  if (!chosen) return {chosen.error().message};
  std::vector<std::string> found;
  for (const Variant* variant : chosen.value()) found.emplace_back(variant->name);
  return found;
}

TEST(Variants, EachChangesSomethingOrSaysWhyItCant) {
  std::set<std::string_view> seen;
  for (const Variant& variant : all_variants()) {
    EXPECT_TRUE(seen.insert(variant.name).second) << variant.name;
    EXPECT_NE(variant.name, "all");
    EXPECT_FALSE(variant.description.empty());
    const bool changes = !variant.arguments.empty() || !variant.cpu_model.empty() ||
                         variant.compressed_image || variant.vcpus != 1 ||
                         !variant.own_kernel.empty();
    EXPECT_NE(changes, !variant.refused.empty()) << variant.name;
  }
}

TEST(Variants, AreChosenByNameInTheOrderOfTheTable) {
  EXPECT_THAT(names({"la57", "pti"}, {Arch::X86_64}), ElementsAre("pti", "la57"));
  EXPECT_THAT(names({"kpti", "kpti"}, {Arch::X86_64, Arch::Arm64}), ElementsAre("kpti"));
  EXPECT_THAT(names({}, {Arch::X86_64}), testing::IsEmpty());
}

TEST(Variants, AllAreThoseThatCanBeRunThere) {
  EXPECT_THAT(names({"all"}, {Arch::Arm64}),
              ElementsAre("kpti", "lse", "sw-pan", "force-ptrace", "force-never", "smp", "memcg"));
  EXPECT_THAT(names({"all"}, {Arch::X86_64}),
              ElementsAre("pti", "la57", "no-pku", "force-ptrace", "force-never", "smp", "memcg"));
}

TEST(Variants, SomeBootAKernelOfTheirOwn) {
  const Variant* const pan = choose_variants({"sw-pan"}, {Arch::Arm64}).value().front();
  EXPECT_EQ(recipe_of(*pan, "lts-sealed", Arch::Arm64), "lts-sealed-sw-pan");
  const Variant* const smp = choose_variants({"smp"}, {Arch::Arm64}).value().front();
  EXPECT_EQ(recipe_of(*smp, "lts-sealed", Arch::X86_64), "lts-sealed-smp");
  EXPECT_EQ(recipe_of(*smp, "lts-sealed", Arch::Arm64), "lts-sealed");
  EXPECT_EQ(without_variant("lts-sealed-sw-pan"), "lts-sealed");
  EXPECT_EQ(without_variant("lts-sealed-smp"), "lts-sealed");
  const Variant* const memcg = choose_variants({"memcg"}, {Arch::Arm64}).value().front();
  for (const Arch arch : arch::kAllArchs) {
    EXPECT_EQ(recipe_of(*memcg, "lts-sealed", arch), "lts-sealed-memcg");
  }
  for (const char* whole : {"lts-sealed", "lts-sealed-pti", "lts-sealedsmp", "smp", "-smp", ""}) {
    EXPECT_EQ(without_variant(whole), whole);
  }
}

TEST(Variants, AreRefusedByName) {
  for (const Variant& variant : all_variants()) {
    if (variant.refused.empty()) continue;
    const auto chosen = choose_variants({std::string(variant.name)}, {Arch::X86_64, Arch::Arm64});
    ASSERT_FALSE(chosen.ok()) << variant.name;
    EXPECT_EQ(chosen.error().code, ExitCode::Usage);
    EXPECT_THAT(chosen.error().message, HasSubstr(std::string(variant.refused)));
  }
  EXPECT_THAT(names({"pti"}, {Arch::Arm64}).front(), HasSubstr("exists on x86_64 only"));
  EXPECT_THAT(names({"ptii"}, {Arch::Arm64}).front(), HasSubstr("no variant 'ptii'"));
}

TEST(Variants, AreListed) {
  const std::string text = list_variants(100);
  for (const Variant& variant : all_variants()) {
    EXPECT_THAT(text, HasSubstr(std::string(variant.name)));
  }
}

}  // namespace
}  // namespace sealvisor::app
