#include "vmm/image/symbol_listing.h"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>

namespace sealvisor::image {
namespace {

constexpr std::string_view kListing =
    "0000000000000000 A fixed_percpu_data\n"
    "ffffffff81000000 T startup_64\n"
    "ffffffff81000000 T _stext\n"
    "ffffffff81000100 t clear_bit\n"
    "ffffffff81000200 T munmap_it\n"
    "ffffffff81000300 T _etext\n"
    "ffffffff82000000 R linux_banner\n"
    "ffffffffc0000000 t in_a_module\t[thing]\n"
    "ffffffff82001000 W weak_one\n";

Result<SymbolTable> table_of(std::string_view text, std::size_t piece) {
  auto listing = SymbolListing::create();
  if (!listing) return listing.error();
  for (std::size_t at = 0; at < text.size(); at += piece) {
    if (auto added = listing.value().add(text.substr(at, piece)); !added) return added.error();
  }
  return listing.value().finish(arch::Arch::X86_64);
}

TEST(SymbolListing, FindsFunctionsAndData) {
  for (const std::size_t piece : {std::size_t{4096}, std::size_t{1}, std::size_t{7}}) {
    const auto table = table_of(kListing, piece);
    ASSERT_TRUE(table) << table.error().message;
    EXPECT_EQ(table.value().describe(0xffffffff81000123), "clear_bit+0x23");
    EXPECT_EQ(table.value().describe(0xffffffff810002ff), "munmap_it+0xff");
    EXPECT_EQ(table.value().function(0xffffffff81000010), "startup_64");
    const auto addresses = table.value().addresses_of(std::array<std::string_view, 4>{
        "linux_banner", "_stext", "in_a_module", "fixed_percpu_data"});
    EXPECT_EQ(addresses[0], 0xffffffff82000000);
    EXPECT_EQ(addresses[1], 0xffffffff81000000);
    EXPECT_EQ(addresses[2], std::nullopt);
    EXPECT_EQ(addresses[3], std::nullopt);
    EXPECT_EQ(table.value().arch(), arch::Arch::X86_64);
  }
}

TEST(SymbolListing, NamesNothingBehindTheLastFunction) {
  const auto table = table_of("ffffffff81000000 T _stext\nffffffff81000300 T _etext\n", 4096);
  ASSERT_TRUE(table) << table.error().message;
  EXPECT_EQ(table.value().describe(0xffffffff81000300), "_etext+0x0");
  EXPECT_EQ(table.value().describe(0xffffffffc0000010), std::nullopt);
  EXPECT_EQ(table.value().describe(0xffffffff80ffffff), std::nullopt);
}

TEST(SymbolListing, TakesALastLineThatDoesNotEnd) {
  const auto table = table_of("ffffffff81000000 T last_one", 5);
  ASSERT_TRUE(table) << table.error().message;
  EXPECT_EQ(table.value().address_of("last_one"), 0xffffffff81000000);
}

TEST(SymbolListing, LeavesOutWhatIsNoLine) {
  auto listing = SymbolListing::create();
  ASSERT_TRUE(listing);
  const std::string endless = "ffffffff81000000 T " + std::string(100'000, 'x') + "\n";
  for (const std::string& text :
       {std::string("\n"), std::string("nonsense\n"), std::string("ffffffff81000000\n"),
        std::string("ffffffff81000000 T\n"), std::string("ffffffff81000000 T \n"),
        std::string("ffffffff81000000 T a\x01b\n"), std::string("ffffffff81000000-T-name\n"),
        std::string("ffffffffffffffffff T too_long_a_number\n"), endless}) {
    ASSERT_TRUE(listing.value().add(text));
  }
  EXPECT_EQ(listing.value().bad_lines(), 9U);
  ASSERT_TRUE(listing.value().add("ffffffff81000000 T good\n"));
  const auto table = listing.value().finish(arch::Arch::Arm64);
  ASSERT_TRUE(table) << table.error().message;
  EXPECT_EQ(table.value().size(), 1U);
}

TEST(SymbolListing, SaysThatAddressesAreHidden) {
  for (const std::string_view text :
       {"", "0000000000000000 T startup_64\n", "ffffffff82000000 R linux_banner\n"}) {
    const auto table = table_of(text, 4096);
    ASSERT_FALSE(table) << text;
    EXPECT_EQ(table.error().code, ExitCode::GuestFailed);
    EXPECT_NE(table.error().message.find("no function with an address"), std::string::npos);
  }
}

TEST(SymbolListing, HasABound) {
  auto listing = SymbolListing::create();
  ASSERT_TRUE(listing);
  std::string many;
  for (int i = 0; i < 1024; ++i) many += "ffffffff81000000 T f\n";
  Status status;
  std::size_t pieces = 0;
  while (status && pieces <= SymbolListing::kMostSymbols / 1024) {
    status = listing.value().add(many);
    ++pieces;
  }
  ASSERT_FALSE(status);
  EXPECT_NE(status.error().message.find("more than 1048576 symbols"), std::string::npos);
}

}  // namespace
}  // namespace sealvisor::image
