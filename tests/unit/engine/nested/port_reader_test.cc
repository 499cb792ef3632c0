#include "vmm/engine/nested/port_reader.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

namespace sealvisor::engine::nested {
namespace {

namespace fs = std::filesystem;

/// A fresh folder, gone with the object.
class Scratch {
 public:
  Scratch() {
    std::string pattern = (fs::temp_directory_path() / "port-reader-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  ~Scratch() { fs::remove_all(path_); }
  [[nodiscard]] const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

template <typename T>
std::string bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

std::string start() { return bytes_of(StreamHeader{}); }

std::string frame(FrameKind kind, std::uint64_t value, std::uint32_t name_bytes = 0) {
  return bytes_of(FrameHeader{static_cast<std::uint32_t>(kind), name_bytes, value});
}

std::string file(const std::string& name, const std::string& contents) {
  return frame(FrameKind::File, contents.size(), static_cast<std::uint32_t>(name.size())) + name +
         contents;
}

std::string contents_of(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>()};
}

PortReader reader_in(const Scratch& scratch, PortLimits limits = {}) {
  auto folder = Folder::open(scratch.path() / "out");
  EXPECT_TRUE(folder) << folder.error().message;
  return {std::move(folder).value(), limits};
}

/// The message with which `stream` is refused, empty if it is not.
std::string refusal(const std::string& stream, PortLimits limits = {}) {
  const Scratch scratch;
  PortReader reader = reader_in(scratch, limits);
  const auto taken = reader.take(stream);
  if (taken) return "";
  EXPECT_EQ(taken.error().code, ExitCode::GuestFailed);
  EXPECT_FALSE(reader.take("x").ok()) << "it takes more after a refusal";
  return taken.error().message;
}

TEST(PortReader, WritesTheFilesOfAStream) {
  const std::string large(200'000, 'z');
  const std::string stream = start() + file("report.json", "{}") + file("a/b/c.txt", large) +
                             file("empty", "") + frame(FrameKind::Exited, 3);
  for (const std::size_t step : {stream.size(), std::size_t{1}, std::size_t{7}}) {
    const Scratch scratch;
    PortReader reader = reader_in(scratch);
    for (std::size_t at = 0; at < stream.size(); at += step) {
      const auto taken = reader.take(std::string_view(stream).substr(at, step));
      ASSERT_TRUE(taken) << taken.error().message;
      EXPECT_EQ(reader.end().has_value(), at + step >= stream.size());
    }
    EXPECT_EQ(reader.files(), (std::vector<std::string>{"report.json", "a/b/c.txt", "empty"}));
    EXPECT_EQ(reader.end()->kind, FrameKind::Exited);
    EXPECT_EQ(reader.end()->value, 3U);
    EXPECT_EQ(contents_of(scratch.path() / "out/report.json"), "{}");
    EXPECT_EQ(contents_of(scratch.path() / "out/a/b/c.txt"), large);
    EXPECT_EQ(fs::file_size(scratch.path() / "out/empty"), 0U);
  }
}

TEST(PortReader, SaysWhatIsMissing) {
  const Scratch scratch;
  PortReader reader = reader_in(scratch);
  EXPECT_EQ(reader.missing(), "all of its stream");
  const std::string part = start() + file("x", "123456");
  ASSERT_TRUE(reader.take(std::string_view(part).substr(0, part.size() - 2)));
  EXPECT_EQ(reader.missing(), "2 bytes of file x");
  ASSERT_TRUE(reader.take("56"));
  EXPECT_EQ(reader.missing(), "its last frame");
}

TEST(PortReader, RefusesWhatIsNotAStream) {
  EXPECT_EQ(refusal("GET / HTTP/1.1\r\n"),
            "the emulated host's port: the stream does not begin with its magic");
  StreamHeader newer;
  newer.version = 2;
  EXPECT_EQ(refusal(bytes_of(newer)), "the emulated host's port: version 2, expected 1");
}

TEST(PortReader, RefusesBadFrames) {
  const std::string port = "the emulated host's port: ";
  EXPECT_EQ(refusal(start() + bytes_of(FrameHeader{6, 0, 0})),
            port + "a frame of kind 6, expected 1 to 5");
  EXPECT_EQ(refusal(start() + bytes_of(FrameHeader{0, 0, 0})),
            port + "a frame of kind 0, expected 1 to 5");
  EXPECT_EQ(refusal(start() + frame(FrameKind::File, 1, 0)),
            port + "a file name of 0 bytes, expected 1 to 255");
  EXPECT_EQ(refusal(start() + frame(FrameKind::File, 1, 0xffffffff)),
            port + "a file name of 4294967295 bytes, expected 1 to 255");
  EXPECT_EQ(refusal(start() + frame(FrameKind::Exited, 0, 5)),
            port + "a last frame with a name of 5 bytes");
  EXPECT_EQ(refusal(start() + frame(FrameKind::Killed, 4096)),
            port + "a last frame of kind 3 with the value 4096, expected at most 4095");
  EXPECT_EQ(refusal(start() + frame(FrameKind::Deadline, 0) + "ab"),
            port + "2 bytes after its last frame");
}

TEST(PortReader, RefusesNamesThatLeadElsewhere) {
  for (const char* name :
       {"../x", "/etc/x", "a//b", "a/./b", "a/..", ".", "..", "a/", "x y", "\n"}) {
    EXPECT_EQ(refusal(start() + file(name, "1")).substr(0, 40),
              "the emulated host's port: the file name ")
        << name;
  }
  EXPECT_EQ(refusal(start() + file(std::string("a\0b", 3), "1")),
            "the emulated host's port: the file name 'a?b'");
}

TEST(PortReader, FollowsNoLinkAndOverwritesNothing) {
  const Scratch scratch;
  PortReader reader = reader_in(scratch);
  fs::create_directory(scratch.path() / "elsewhere");
  fs::create_directory_symlink("../elsewhere", scratch.path() / "out/link");
  const auto taken = reader.take(start() + file("link/x", "1"));
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, ExitCode::GuestFailed);
  EXPECT_TRUE(fs::is_empty(scratch.path() / "elsewhere"));

  EXPECT_NE(refusal(start() + file("twice", "1") + file("twice", "2")).find("File exists"),
            std::string::npos);
}

TEST(PortReader, KeepsToItsLimits) {
  const PortLimits limits{.file_bytes = 4, .total_bytes = 6, .files = 2};
  const std::string port = "the emulated host's port: ";
  EXPECT_EQ(
      refusal(start() + file("a", "1234") + file("b", "12") + frame(FrameKind::Exited, 0), limits),
      "");
  EXPECT_EQ(refusal(start() + file("a", "12345"), limits),
            port + "file a of 5 bytes, expected at most 4");
  EXPECT_EQ(refusal(start() + file("a", "1234") + file("b", "123"), limits),
            port + "more than 6 bytes in all, with file b");
  EXPECT_EQ(refusal(start() + file("a", "") + file("b", "") + file("c", ""), limits),
            port + "more than 2 files");
  EXPECT_EQ(refusal(start() + frame(FrameKind::File, ~0ULL, 1) + "a"),
            port + "file a of 18446744073709551615 bytes, expected at most 268435456");
}

TEST(PortReader, TellsHowAProgramEnded) {
  EXPECT_EQ(text_of(ProgramEnd{FrameKind::Exited, 3}), "exited with status 3");
  EXPECT_EQ(text_of(ProgramEnd{FrameKind::Killed, 11}), "was killed by signal 11");
  EXPECT_EQ(text_of(ProgramEnd{FrameKind::Deadline, 0}), "was killed because its time was over");
  EXPECT_EQ(text_of(ProgramEnd{FrameKind::NotStarted, 2}),
            "could not be started: No such file or directory");
}

}  // namespace
}  // namespace sealvisor::engine::nested
