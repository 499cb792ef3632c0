#include "vmm/model/identity.h"

#include <vector>

#include <gtest/gtest.h>

namespace sealvisor::model {
namespace {

SystemMapping mapping(const char* name, std::uint64_t frame, std::uint64_t owner = 0) {
  SystemMapping made;
  made.name = name;
  made.code = true;
  made.frames = {arch::Frame{frame}};
  made.owner = owner;
  return made;
}

TEST(Identities, WhatAProcessHasForItselfEndsWithIt) {
  Identities identities;
  identities.add(mapping("[vdso]", 1));
  const std::size_t first = identities.add(mapping("[uprobes]", 2, 7));
  const std::size_t second = identities.add(mapping("[uprobes]", 3, 8));
  EXPECT_EQ(identities.named("[uprobes]"), second);
  EXPECT_FALSE(identities.all()[first].code) << "its content changes by design";
  identities.end_of(8);
  EXPECT_EQ(identities.named("[uprobes]"), first);
  EXPECT_FALSE(identities.find(arch::Frame{3}).has_value()) << "anybody's from now on";
  EXPECT_TRUE(identities.find(arch::Frame{2}).has_value());
  identities.end_of(7);
  EXPECT_FALSE(identities.named("[uprobes]").has_value());
  identities.end_of(0);  // Of what all have, nobody is the owner.
  EXPECT_TRUE(identities.named("[vdso]").has_value());
}

TEST(Identities, WhatEndedMakesRoomAndTheNewestIsMeant) {
  Identities identities;
  const std::size_t first = identities.add(mapping("[uprobes]", 2, 7));
  const std::size_t second = identities.add(mapping("[uprobes]", 3, 8));
  identities.end_of(7);
  const std::size_t third = identities.add(mapping("[uprobes]", 4, 9));
  EXPECT_EQ(third, first) << "however many processes there are, it does not grow";
  EXPECT_EQ(identities.all().size(), 2U);
  EXPECT_EQ(identities.named("[uprobes]"), third) << "although another one stands behind it";
  EXPECT_FALSE(identities.find(arch::Frame{2}).has_value());
  EXPECT_EQ(identities.find(arch::Frame{4})->mapping, third);
  EXPECT_EQ(identities.find(arch::Frame{3})->mapping, second);
}

TEST(Identities, OnlyWhatHasTheNameTakesThePlaceOfWhatEnded) {
  Identities identities;
  identities.add(mapping("[uprobes]", 2, 7));
  identities.end_of(7);
  EXPECT_EQ(identities.add(mapping("[vdso]", 3)), 1U);
  EXPECT_EQ(identities.all()[0].name, "[uprobes]");
  EXPECT_TRUE(identities.all()[0].ended);
}

TEST(Identities, AFrameBelongsToWhoClaimedItFirst) {
  Identities identities;
  EXPECT_TRUE(identities.empty());
  SystemMapping vdso = mapping("[vdso]", 5);
  vdso.frames.emplace_back();  // Never seen populated.
  vdso.frames.emplace_back(arch::Frame{6});
  const std::size_t first = identities.add(vdso);
  EXPECT_FALSE(identities.empty());
  EXPECT_EQ(identities.find(arch::Frame{5}), (MappingPage{first, 0}));
  EXPECT_EQ(identities.find(arch::Frame{6}), (MappingPage{first, 2}));
  EXPECT_EQ(identities.frames().size(), 2U) << "a page without a frame has none";

  SystemMapping late = mapping("[vvar]", 6);
  late.frames.emplace_back(arch::Frame{7});
  const std::size_t second = identities.add(late);
  EXPECT_EQ(identities.find(arch::Frame{6})->mapping, first);
  EXPECT_EQ(identities.all()[second].frames[0], std::nullopt);
  EXPECT_EQ(identities.all()[second].frames[1], arch::Frame{7});

  EXPECT_FALSE(identities.learn({second, 0}, arch::Frame{5}));
  EXPECT_EQ(identities.find(arch::Frame{5})->mapping, first);
  EXPECT_EQ(identities.all()[second].frames[0], std::nullopt);
  EXPECT_TRUE(identities.learn({first, 1}, arch::Frame{9}));
  EXPECT_EQ(identities.find(arch::Frame{9}), (MappingPage{first, 1}));
  EXPECT_EQ(identities.all()[first].frames[1], arch::Frame{9});
}

TEST(Identities, CodeIsWatchedWhereItIsPopulatedAndTheSameForAll) {
  Identities identities;
  SystemMapping vdso = mapping("[vdso]", 5);
  vdso.frames.emplace_back();
  vdso.frames.emplace_back(arch::Frame{6});
  identities.add(vdso);
  SystemMapping data = mapping("[vvar]", 7);
  data.code = false;
  identities.add(data);
  identities.add(mapping("[uprobes]", 8, 1));
  EXPECT_TRUE(identities.all()[0].code);
  EXPECT_EQ(identities.code_frames(), (std::vector{arch::Frame{5}, arch::Frame{6}}));
}

TEST(Identities, TellsWhetherARangeHoldsAFrame) {
  constexpr std::uint64_t kLarge = 512 * arch::kPageSize;
  Identities identities;
  identities.add(mapping("[vdso]", 0x200));
  identities.add(mapping("[vvar]", 0x3ff));
  EXPECT_TRUE(identities.intersects(arch::Gpa{0x200000}, arch::kPageSize));
  EXPECT_TRUE(identities.intersects(arch::Gpa{0x200ff8}, 8)) << "a part of a page";
  EXPECT_FALSE(identities.intersects(arch::Gpa{0x1ff000}, arch::kPageSize));
  EXPECT_FALSE(identities.intersects(arch::Gpa{0x201000}, arch::kPageSize));
  EXPECT_TRUE(identities.intersects(arch::Gpa{0x200000}, kLarge));
  EXPECT_TRUE(identities.intersects(arch::Gpa{0x201000}, kLarge)) << "only its last page";
  EXPECT_FALSE(identities.intersects(arch::Gpa{0}, kLarge)) << "it ends where one begins";
  EXPECT_FALSE(identities.intersects(arch::Gpa{0x400000}, kLarge));
}

TEST(Identities, AMappingMayHaveASecondName) {
  Identities identities;
  const std::size_t data = identities.add(mapping("[vvar]", 1));
  identities.also_called("[vvar] (32-bit)", data);
  EXPECT_EQ(identities.named("[vvar] (32-bit)"), data);
  const std::size_t own = identities.add(mapping("[vvar] (32-bit)", 2));
  EXPECT_EQ(identities.named("[vvar] (32-bit)"), own) << "a real one goes first";
}

}  // namespace
}  // namespace sealvisor::model
