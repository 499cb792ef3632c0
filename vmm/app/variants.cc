#include "vmm/app/variants.h"

#include <algorithm>
#include <array>

#include <fmt/format.h>

#include "vmm/report/layout.h"

namespace sealvisor::app {

namespace {

using arch::Arch;

constexpr std::array kOnX86{Arch::X86_64};
constexpr std::array kOnArm64{Arch::Arm64};

constexpr auto kVariants = std::to_array<Variant>({
    {.name = "pti",
     .description = "page-table isolation: user mode has tables of its own",
     .only = Arch::X86_64,
     .arguments = "pti=on"},
    // Only the start-up code of the bzImage turns 5 levels on (6.12:
    // arch/x86/boot/compressed/pgtable_64.c).
    {.name = "la57",
     .description = "5-level paging",
     .only = Arch::X86_64,
     .cpu_model = "max,rdrand=off,rdseed=off,la57=on,erms=off,fsrm=off",
     .compressed_image = true},
    {.name = "no-pku",
     .description = "a CPU without protection keys (the usual one has them)",
     .only = Arch::X86_64,
     .cpu_model = "max,rdrand=off,rdseed=off,la57=off,erms=off,fsrm=off,pku=off"},
    {.name = "kpti",
     .description = "the kernel is not mapped at EL0",
     .only = Arch::Arm64,
     .arguments = "kpti=1"},
    {.name = "lse",
     .description = "a CPU with single-instruction atomics, FEAT_LSE (the usual one has none)",
     .only = Arch::Arm64,
     .cpu_model = "cortex-a76"},
    {.name = "sw-pan",
     .description = "PAN in software: TTBR0 is taken away in the kernel",
     .only = Arch::Arm64,
     .own_kernel = kOnArm64},
    {.name = "va52",
     .description = "52-bit addresses (FEAT_LPA2)",
     .only = Arch::Arm64,
     .refused = "the recipes are built with CONFIG_ARM64_VA_BITS_48"},
    {.name = "force-ptrace",
     .description = "forced writes through /proc/PID/mem by a tracer only",
     .arguments = "proc_mem.force_override=ptrace"},
    {.name = "force-never",
     .description = "no forced writes through /proc/PID/mem",
     .arguments = "proc_mem.force_override=never"},
    {.name = "smp",
     .description = "two vCPUs, which run in turn",
     .vcpus = 2,
     .own_kernel = kOnX86},
    {.name = "memcg", .description = "a kernel with memory cgroups", .own_kernel = arch::kAllArchs},
});

bool exists_on(const Variant& variant, const std::vector<Arch>& archs) {
  return !variant.only || std::find(archs.begin(), archs.end(), *variant.only) != archs.end();
}

}  // namespace

std::span<const Variant> all_variants() { return kVariants; }

bool has_own_kernel(const Variant& variant, Arch arch) {
  return std::ranges::find(variant.own_kernel, arch) != variant.own_kernel.end();
}

std::string recipe_of(const Variant& variant, const std::string& recipe, Arch arch) {
  return has_own_kernel(variant, arch) ? fmt::format("{}-{}", recipe, variant.name) : recipe;
}

std::string_view without_variant(std::string_view recipe) {
  for (const Variant& variant : kVariants) {
    const std::size_t longer = variant.name.size() + 1;
    if (variant.own_kernel.empty() || recipe.size() <= longer || !recipe.ends_with(variant.name))
      continue;
    if (recipe[recipe.size() - longer] == '-') return recipe.substr(0, recipe.size() - longer);
  }
  return recipe;
}

Result<std::vector<const Variant*>> choose_variants(const std::vector<std::string>& words,
                                                    const std::vector<Arch>& archs) {
  bool all = false;
  for (const std::string& word : words) {
    if (word == "all") {
      all = true;
      continue;
    }
    const auto found = std::find_if(kVariants.begin(), kVariants.end(),
                                    [&](const Variant& variant) { return variant.name == word; });
    if (found == kVariants.end()) {
      std::vector<std::string_view> names;
      names.reserve(kVariants.size());
      for (const Variant& variant : kVariants) names.push_back(variant.name);
      return Error{ExitCode::Usage, fmt::format("no variant '{}'; there are {} and all",
                                                report::printable(word), fmt::join(names, ", "))};
    }
    if (!found->refused.empty()) {
      return Error{ExitCode::Usage, fmt::format("variant {}: {}", word, found->refused)};
    }
    if (!exists_on(*found, archs)) {
      return Error{ExitCode::Usage,
                   fmt::format("variant {} exists on {} only", word, arch::name_of(*found->only))};
    }
  }
  std::vector<const Variant*> chosen;
  for (const Variant& variant : kVariants) {
    const bool named = std::find(words.begin(), words.end(), variant.name) != words.end();
    const bool one_of_all = all && variant.refused.empty() && exists_on(variant, archs);
    if (named || one_of_all) chosen.push_back(&variant);
  }
  return chosen;
}

std::string list_variants(std::size_t width) {
  std::vector<report::Row> rows;
  rows.reserve(kVariants.size());
  for (const Variant& variant : kVariants) {
    rows.push_back(
        {{std::string(variant.name), variant.only ? arch::name_of(*variant.only) : "both",
          variant.refused.empty()
              ? std::string(variant.description)
              : fmt::format("{}; refused: {}", variant.description, variant.refused)}});
  }
  return report::table({{"variant"}, {"of"}, {"what it is"}}, rows, width, 0, false);
}

}  // namespace sealvisor::app
