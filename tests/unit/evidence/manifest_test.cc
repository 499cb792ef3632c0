// Any byte of a bundle that is not what it was is found, and named.
#include "vmm/evidence/manifest.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/support/test_bundle.h"

namespace sealvisor::test {
namespace {

using evidence::check_bundle;
using testing::HasSubstr;

class BundleFiles : public testing::Test {
 protected:
  void SetUp() override { bundle_.make(ScriptedRun::Kernel::Obeys); }

  /// All faults, a line each.
  std::string faults() {
    const auto checked = check_bundle(bundle_.folder());
    if (!checked) return checked.error().message;
    std::string text;
    for (const auto& fault : checked.value().faults) text += fault.file + ": " + fault.text + "\n";
    return text;
  }
  static std::string in_run(const char* name) { return std::string(TestBundle::kRun) + "/" + name; }

  TestBundle bundle_;
};

TEST_F(BundleFiles, AreAsTheyWere) {
  EXPECT_EQ(faults(), "");
  const auto checked = check_bundle(bundle_.folder());
  ASSERT_TRUE(checked.ok());
  EXPECT_EQ(checked.value().seal, bundle_.seal);
  EXPECT_THAT(bundle_.text, HasSubstr(evidence::hex(bundle_.seal)));
  for (const char* name : {evidence::kRunName, evidence::kTraceName, evidence::kSymbolsName,
                           evidence::kConsoleName, evidence::kConfigName, evidence::kBuildName}) {
    EXPECT_TRUE(checked.value().has(in_run(name))) << name;
  }
  EXPECT_TRUE(checked.value().has(evidence::kReportName));
  EXPECT_TRUE(checked.value().has(in_run("code/0x400000.first")));
  EXPECT_TRUE(checked.value().has(in_run("code/0x400000.last")));
  EXPECT_EQ(checked.value().manifest.command, "sealvisor verify --bundle b");
}

TEST_F(BundleFiles, OneEditedByteIsNamedWithItsFileAndPlace) {
  std::size_t tried = 0;
  for (const std::string& path : bundle_.files()) {
    const std::string was = bundle_.read(path);
    // Some of the bytes of each file, the first and the last among them.
    const std::size_t step = std::max<std::size_t>(1, was.size() / 23);
    for (std::size_t at = 0; at < was.size(); at += step) {
      const std::size_t place = at + step >= was.size() ? was.size() - 1 : at;
      std::string edited = was;
      edited[place] = static_cast<char>(edited[place] ^ 1);
      bundle_.write(path, edited);
      const std::string found = faults();
      EXPECT_THAT(found, testing::StartsWith(path + ": ")) << path << " at " << place;
      EXPECT_EQ(std::count(found.begin(), found.end(), '\n'), 1) << found;
      if (!path.ends_with(evidence::kTraceName) && path != evidence::kSealName) {
        const std::size_t block = place / evidence::kFileBlock;
        EXPECT_THAT(found, HasSubstr(fmt::format("block {}, at byte {}", block,
                                                 block * evidence::kFileBlock)));
      } else {
        EXPECT_THAT(found, HasSubstr(": block "));
      }
      ++tried;
    }
    bundle_.write(path, was);
  }
  EXPECT_GT(tried, 200U);
  EXPECT_EQ(faults(), "");
}

TEST_F(BundleFiles, ACutAndAnAppendedByteAreNamed) {
  for (const std::string& path : bundle_.files()) {
    const std::string was = bundle_.read(path);
    bundle_.write(path, was.substr(0, was.size() - 1));
    EXPECT_THAT(faults(), testing::StartsWith(path + ": block ")) << path;
    bundle_.write(path, was + "x");
    EXPECT_THAT(faults(), testing::StartsWith(path + ": block ")) << path;
    bundle_.write(path, "");
    EXPECT_THAT(faults(), HasSubstr(path)) << path;
    bundle_.write(path, was);
  }
}

TEST_F(BundleFiles, WhereACutIsIsNamed) {
  const std::string path = in_run("code/0x400000.first");
  const std::string was = bundle_.read(path);
  bundle_.write(path, was.substr(0, 100));
  EXPECT_EQ(faults(), path + ": block 0, at byte 100: it has 100 bytes, and had 4096\n");
}

TEST_F(BundleFiles, FilesThatChangedPlacesAreNamed) {
  const std::string first = in_run("code/0x400000.first");
  const std::string second = in_run("code/0x401000.first");
  const std::string one = bundle_.read(first);
  bundle_.write(first, bundle_.read(second));
  bundle_.write(second, one);
  const std::string found = faults();
  EXPECT_THAT(found, HasSubstr(first + ": block 0, at byte 0"));
  EXPECT_THAT(found, HasSubstr(second + ": block 0, at byte 0"));
}

TEST_F(BundleFiles, AFileThatIsGoneIsNamed) {
  for (const std::string& path : bundle_.files()) {
    const std::string was = bundle_.read(path);
    std::filesystem::remove(bundle_.file(path));
    const auto checked = check_bundle(bundle_.folder());
    ASSERT_TRUE(checked.ok()) << path << ": " << checked.error().message;
    ASSERT_EQ(checked.value().faults.size(), 1U) << path;
    EXPECT_EQ(checked.value().faults[0].file, path);
    bundle_.write(path, was);
  }
}

TEST_F(BundleFiles, AManifestThatWasReplacedIsAFault) {
  const auto manifest = bundle_.file(evidence::kManifestName);
  std::filesystem::rename(manifest, bundle_.file("../manifest"));
  std::filesystem::create_symlink(bundle_.file("../manifest"), manifest);
  EXPECT_THAT(faults(), testing::StartsWith("manifest.json: "));
  // Grown past what is read, without taking the room.
  std::filesystem::remove(manifest);
  bundle_.write(evidence::kManifestName, "");
  std::filesystem::resize_file(manifest, evidence::kMostFileBytes + 1);
  EXPECT_THAT(faults(), HasSubstr("more than"));
  EXPECT_TRUE(check_bundle(bundle_.folder()).ok());
  // Without a seal it was never finished.
  std::filesystem::remove(bundle_.file(evidence::kSealName));
  std::filesystem::remove(manifest);
  const auto none = check_bundle(bundle_.folder());
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code, ExitCode::Usage);
}

TEST_F(BundleFiles, AllBlocksThatDifferAreNamed) {
  const std::string path = in_run(evidence::kConsoleName);
  bundle_.write(path, std::string(10 * evidence::kFileBlock, 'a'));
  bundle_.seal_again();
  std::string edited(10 * evidence::kFileBlock, 'a');
  for (const std::size_t block : {1U, 4U, 5U, 6U, 9U}) edited[block * evidence::kFileBlock] = 'b';
  bundle_.write(path, edited);
  EXPECT_EQ(faults(), path + ": block 1, at byte 4096: not what it was; nor blocks 4 to 6, 9\n");
  edited.resize(edited.size() - evidence::kFileBlock);
  bundle_.write(path, edited);
  EXPECT_EQ(faults(),
            path +
                ": block 1, at byte 4096: not what it was; nor blocks 4 to 6; block 9, at "
                "byte 36864: it has 36864 bytes, and had 40960\n");
}

TEST_F(BundleFiles, FaultsThatAreNotToldAreCounted) {
  for (int i = 0; i < 1010; ++i) bundle_.write(fmt::format("more{}", i), "");
  const auto checked = check_bundle(bundle_.folder());
  ASSERT_TRUE(checked.ok());
  ASSERT_EQ(checked.value().faults.size(), 1001U);
  EXPECT_EQ(checked.value().faults.back().text, "and 10 more");
}

TEST_F(BundleFiles, AFileThatCameIsNamed) {
  bundle_.write("notes.txt", "nothing");
  EXPECT_EQ(faults(), "notes.txt: not in the manifest\n");
  std::filesystem::remove(bundle_.file("notes.txt"));
  std::filesystem::create_symlink("/etc/passwd", bundle_.file("link"));
  EXPECT_EQ(faults(), "link: not in the manifest\n");
}

TEST_F(BundleFiles, LinksAndPipesAreNotFollowed) {
  const std::string path = in_run(evidence::kConsoleName);
  const std::string was = bundle_.read(path);
  bundle_.write("../same", was);
  std::filesystem::remove(bundle_.file(path));
  std::filesystem::create_symlink(bundle_.file("../same"), bundle_.file(path));
  EXPECT_THAT(faults(), testing::StartsWith(path + ": "));
  std::filesystem::remove(bundle_.file(path));
  ASSERT_EQ(::mkfifo(bundle_.file(path).c_str(), 0600), 0);
  EXPECT_THAT(faults(), HasSubstr("expected a plain file"));
  // A whole folder that is somewhere else.
  std::filesystem::remove(bundle_.file(path));
  bundle_.write(path, was);
  std::filesystem::rename(bundle_.file(in_run("code")), bundle_.file("../code"));
  std::filesystem::create_symlink(bundle_.file("../code"), bundle_.file(in_run("code")));
  EXPECT_THAT(faults(), HasSubstr("expected a folder"));
}

TEST_F(BundleFiles, ATraceThatWasWrittenAnewIsNamed) {
  const std::string path = in_run(evidence::kTraceName);
  const auto seed = evidence::digest_of(bundle_.read(in_run(evidence::kRunName)));
  evidence::BlockSeal end;
  edit_trace(
      bundle_.file(path), bundle_.file("../other"), seed,
      [](event::Event& event) { return event.kind != event::Kind::UserEntry; }, end);
  std::filesystem::rename(bundle_.file("../other"), bundle_.file(path));
  EXPECT_THAT(faults(), HasSubstr(path + ": block "));
  EXPECT_THAT(faults(), HasSubstr("another trace"));
}

TEST_F(BundleFiles, AForgedBundleHasAnotherSeal) {
  bundle_.write(in_run(evidence::kConsoleName), "forged");
  bundle_.seal_again();
  const auto checked = check_bundle(bundle_.folder());
  ASSERT_TRUE(checked.ok());
  EXPECT_TRUE(checked.value().faults.empty());
  EXPECT_NE(checked.value().seal, bundle_.seal);
}

TEST_F(BundleFiles, WhatIsNoBundleIsRefused) {
  const auto none = check_bundle(bundle_.file("runs"));
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(none.error().code, ExitCode::Usage);
  EXPECT_THAT(none.error().message, HasSubstr("no bundle, or one that was never finished"));
}

TEST_F(BundleFiles, AManifestThatIsForgedAndWrongIsRefused) {
  const std::string good = bundle_.read(evidence::kManifestName);
  const auto why = [&](const std::string& from, const std::string& to) {
    std::string text = good;
    const std::size_t at = text.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    text.replace(at, from.size(), to);
    bundle_.write(evidence::kManifestName, text);
    bundle_.write(evidence::kSealName, evidence::seal_of(text).text);
    return faults();
  };
  EXPECT_THAT(why("{", "["), HasSubstr("manifest: no JSON"));
  EXPECT_THAT(why("sealvisor-bundle-1", "sealvisor-bundle-9"), HasSubstr("\"schema\""));
  EXPECT_THAT(why("\"path\": \"known", "\"path\": \"../known"), HasSubstr("\"path\""));
  EXPECT_THAT(why("\"path\": \"known", "\"path\": \"/known"), HasSubstr("\"path\""));
  EXPECT_THAT(why("\"folder\": \"runs", "\"folder\": \"../runs"), HasSubstr("\"folder\""));
  EXPECT_THAT(why("\"bytes\": ", "\"bytes\": -"), HasSubstr("\"bytes\""));
  EXPECT_THAT(why("\"events\": ", "\"events\": \"many\", \"x\": "), HasSubstr("\"events\""));
  EXPECT_THAT(why("\"sha256\": \"", "\"sha256\": \"z"), HasSubstr("\"sha256\""));
  EXPECT_THAT(why("\"files\": [", "\"files\": [], \"more\": ["), HasSubstr("not in the manifest"));
}

TEST(BundlePath, LeadsNowhereElse) {
  using evidence::is_bundle_path;
  EXPECT_TRUE(is_bundle_path("runs/x86_64-lts-sealed/code/0x1000.first"));
  for (const char* path : {"", "/", "/etc", "..", "a/../b", "a//b", "a/", ".hidden", "a b", "a\nb",
                           "a/b/c/d/e", "\xc3\xa4"}) {
    EXPECT_FALSE(is_bundle_path(path)) << path;
  }
}

}  // namespace
}  // namespace sealvisor::test
