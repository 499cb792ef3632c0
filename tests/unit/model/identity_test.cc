#include "vmm/model/identity.h"

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
