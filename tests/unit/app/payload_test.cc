#include "vmm/app/payload.h"

#include <elf.h>
#include <sys/stat.h>

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/unit/app/temporary.h"

namespace sealvisor::app {
namespace {

namespace fs = std::filesystem;

using arch::Arch;

constexpr std::uint64_t kPlenty = 1U << 20;

/// The least that is taken for a program: a header, a segment and perhaps the name of a loader.
template <typename Ehdr, typename Phdr>
std::string elf_of(unsigned char elf_class, std::uint16_t machine, const std::string& loader,
                   std::uint16_t type) {
  Ehdr header{};
  std::memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = elf_class;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_type = type;
  header.e_machine = machine;
  header.e_phoff = sizeof header;
  header.e_phentsize = sizeof(Phdr);
  header.e_phnum = loader.empty() ? 1 : 2;
  Phdr load{};
  load.p_type = PT_LOAD;
  Phdr interpreter{};
  interpreter.p_type = PT_INTERP;
  interpreter.p_offset = sizeof header + 2 * sizeof(Phdr);
  interpreter.p_filesz = static_cast<decltype(interpreter.p_filesz)>(loader.size() + 1);
  std::string bytes(reinterpret_cast<const char*>(&header), sizeof header);
  bytes.append(reinterpret_cast<const char*>(&load), sizeof load);
  if (!loader.empty()) {
    bytes.append(reinterpret_cast<const char*>(&interpreter), sizeof interpreter);
    bytes += loader + '\0';
  }
  return bytes;
}

std::string elf(std::uint16_t machine, const std::string& loader = "",
                std::uint16_t type = ET_EXEC) {
  const bool small = machine == EM_386 || machine == EM_ARM;
  return small ? elf_of<Elf32_Ehdr, Elf32_Phdr>(ELFCLASS32, machine, loader, type)
               : elf_of<Elf64_Ehdr, Elf64_Phdr>(ELFCLASS64, machine, loader, type);
}

std::vector<std::string> paths(const Payload& payload) {
  using ItemKind = image::InitramfsItem::Kind;
  std::vector<std::string> all;
  for (const auto& item : payload.items) {
    all.push_back(item.path + (item.kind == ItemKind::Directory ? "/"
                               : item.kind == ItemKind::Symlink ? " -> " + item.contents
                                                                : ""));
  }
  return all;
}

using Paths = std::vector<std::string>;

void expect_refused(const Result<Payload>& payload, const std::string& why) {
  ASSERT_FALSE(payload) << why;
  EXPECT_EQ(payload.error().code, ExitCode::Usage);
  EXPECT_NE(payload.error().message.find(why), std::string::npos) << payload.error().message;
}

TEST(Executable, KnowsTheFourKinds) {
  const Temporary folder;
  const struct {
    std::uint16_t machine;
    Arch arch;
    bool bits_32;
  } kinds[] = {{EM_X86_64, Arch::X86_64, false},
               {EM_386, Arch::X86_64, true},
               {EM_AARCH64, Arch::Arm64, false},
               {EM_ARM, Arch::Arm64, true}};
  for (const auto& kind : kinds) {
    for (const std::string loader : {"", "/lib/ld.so"}) {
      const auto read = read_executable(folder.file("one", elf(kind.machine, loader)));
      ASSERT_TRUE(read) << read.error().message;
      ASSERT_TRUE(read.value());
      EXPECT_EQ(read.value()->arch, kind.arch);
      EXPECT_EQ(read.value()->bits_32, kind.bits_32);
      EXPECT_EQ(read.value()->interpreter, loader);
    }
  }
}

TEST(Executable, IsNoneOrIsDamaged) {
  const Temporary folder;
  for (const std::string& bytes :
       {std::string(), std::string("#!/bin/sh\n"), elf(EM_X86_64, "", ET_REL)}) {
    const auto read = read_executable(folder.file("one", bytes));
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_FALSE(read.value());
  }
  const std::string whole = elf(EM_X86_64, "/lib/ld.so");
  for (std::size_t size = 18; size < whole.size(); ++size) {
    EXPECT_FALSE(read_executable(folder.file("one", whole.substr(0, size)))) << size;
  }
  const auto other = read_executable(folder.file("one", elf(EM_RISCV)));
  ASSERT_FALSE(other);
  EXPECT_NE(other.error().message.find("machine 243 (64 bits)"), std::string::npos);
  std::string many = elf(EM_X86_64);
  many[offsetof(Elf64_Ehdr, e_phnum)] = 65;
  EXPECT_FALSE(read_executable(folder.file("one", many)));
}

TEST(Payload, AFileIsAStaticProgramForThatArchitecture) {
  const Temporary folder;
  const fs::path good = folder.file("tool", elf(EM_X86_64), true);
  const auto payload = gather_payload(good, Arch::X86_64, kPlenty);
  ASSERT_TRUE(payload) << payload.error().message;
  EXPECT_EQ(paths(payload.value()), (Paths{"payload/", "payload/tool"}));
  EXPECT_EQ(payload.value().programs, Paths{"/tool"});
  EXPECT_EQ(payload_archs(good).value(), std::vector<Arch>{Arch::X86_64});

  expect_refused(gather_payload(good, Arch::Arm64, kPlenty),
                 "is a program for x86_64, expected one for arm64");
  expect_refused(gather_payload(folder.file("text", "#!/bin/sh\n", true), Arch::X86_64, kPlenty),
                 "is no ELF program");
  expect_refused(gather_payload(folder.file("dynamic", elf(EM_X86_64, "/lib64/ld.so"), true),
                                Arch::X86_64, kPlenty),
                 "is linked dynamically and needs /lib64/ld.so");
  expect_refused(gather_payload(folder.path() / "none", Arch::X86_64, kPlenty), "No such file");
  expect_refused(gather_payload("/dev/null", Arch::X86_64, kPlenty),
                 "is neither a file nor a folder");
  expect_refused(gather_payload(good, Arch::X86_64, 10), "expected at most 10; --memory");
}

TEST(Payload, AFolderIsTakenAsItIs) {
  const Temporary folder;
  folder.file("bin/tool", elf(EM_X86_64, "/lib64/ld.so"), true);
  folder.file("bin/arm", elf(EM_AARCH64), true);
  folder.file("bin/script", "#!/bin/tool\n", true);
  folder.file("lib64/ld.so", elf(EM_X86_64, "", ET_DYN), true);
  folder.file("lib/libx.so.6", elf(EM_X86_64, "", ET_DYN), true);
  folder.file("notes", "text");
  fs::create_symlink("libx.so.6", folder.path() / "lib/libx.so");
  const auto payload = gather_payload(folder.path(), Arch::X86_64, kPlenty);
  ASSERT_TRUE(payload) << payload.error().message;
  EXPECT_EQ(
      paths(payload.value()),
      (Paths{"payload/", "payload/bin/", "payload/bin/arm", "payload/bin/script",
             "payload/bin/tool", "payload/lib/", "payload/lib/libx.so -> libx.so.6",
             "payload/lib/libx.so.6", "payload/lib64/", "payload/lib64/ld.so", "payload/notes"}));
  EXPECT_EQ(payload.value().programs, Paths{"/bin/tool"});
  EXPECT_FALSE(payload.value().flat);
  const auto& items = payload.value().items;
  EXPECT_EQ(items[4].permissions & 0100U, 0100U);
  EXPECT_EQ(items.back().permissions & 0111U, 0U);
  EXPECT_EQ(payload_archs(folder.path()).value(), (std::vector<Arch>{Arch::X86_64, Arch::Arm64}));
}

TEST(Payload, TheLoaderOfAFlatFolderIsPutWhereItIsLookedFor) {
  const Temporary folder;
  folder.file("tool", elf(EM_X86_64, "/lib64/deep/ld.so"), true);
  folder.file("ld.so", elf(EM_X86_64, "", ET_DYN), true);
  const auto payload = gather_payload(folder.path(), Arch::X86_64, kPlenty);
  ASSERT_TRUE(payload) << payload.error().message;
  EXPECT_EQ(paths(payload.value()),
            (Paths{"payload/", "payload/ld.so", "payload/tool", "payload/lib64/",
                   "payload/lib64/deep/", "payload/lib64/deep/ld.so -> /ld.so"}));
  EXPECT_TRUE(payload.value().flat);
  EXPECT_EQ(payload.value().programs, Paths{"/tool"});
  // What is made of it is an initramfs.
  EXPECT_TRUE(image::Initramfs::build(payload.value().items));

  const Temporary without;
  without.file("tool", elf(EM_X86_64, "/lib64/ld.so"), true);
  expect_refused(gather_payload(without.path(), Arch::X86_64, kPlenty),
                 "needs its loader /lib64/ld.so");
  const Temporary above;
  above.file("tool", elf(EM_X86_64, "../ld.so"), true);
  expect_refused(gather_payload(above.path(), Arch::X86_64, kPlenty), "names '../ld.so'");
}

/// A link means what it means to a program in the guest, whatever the host has there.
TEST(Payload, LinksAreFollowedAsInTheGuest) {
  const Temporary host;
  const fs::path outside = host.file("lib/ld.so", "the host's");
  const Temporary folder;
  folder.file("tool", elf(EM_X86_64, "/lib64/ld.so"), true);
  fs::create_symlink(outside.parent_path(), folder.path() / "lib64");
  expect_refused(gather_payload(folder.path(), Arch::X86_64, kPlenty),
                 "needs its loader /lib64/ld.so, which the folder has neither");
  // At its top, but the folder that it belongs into is none.
  folder.file("ld.so", elf(EM_X86_64, "", ET_DYN), true);
  expect_refused(gather_payload(folder.path(), Arch::X86_64, kPlenty),
                 "the link lib64 leads to nothing in the folder");

  fs::remove(folder.path() / "lib64");
  fs::create_symlink("usr/lib64", folder.path() / "lib64");
  fs::create_directories(folder.path() / "usr/lib64");
  const auto beside = gather_payload(folder.path(), Arch::X86_64, kPlenty);
  ASSERT_TRUE(beside) << beside.error().message;
  EXPECT_EQ(paths(beside.value()).back(), "payload/usr/lib64/ld.so -> /ld.so");
  EXPECT_TRUE(image::Initramfs::build(beside.value().items));

  fs::remove(folder.path() / "lib64");
  fs::create_symlink("/usr/lib64/../lib64", folder.path() / "lib64");
  folder.file("usr/lib64/real.so", elf(EM_X86_64, "", ET_DYN), true);
  fs::create_symlink("real.so", folder.path() / "usr/lib64/ld.so");
  const auto there = gather_payload(folder.path(), Arch::X86_64, kPlenty);
  ASSERT_TRUE(there) << there.error().message;
  EXPECT_FALSE(there.value().flat);

  // A circle ends.
  fs::remove(folder.path() / "lib64");
  fs::create_symlink("lib64", folder.path() / "lib64");
  expect_refused(gather_payload(folder.path(), Arch::X86_64, kPlenty),
                 "the link lib64 leads to nothing in the folder");
}

/// What the agent mounts there must not land elsewhere.
TEST(Payload, TheKernelsOwnFoldersAreNoLinksAndNoFiles) {
  const Temporary folder;
  folder.file("tool", elf(EM_X86_64), true);
  fs::create_symlink("/", folder.path() / "proc");
  expect_refused(gather_payload(folder.path(), Arch::X86_64, kPlenty),
                 "is where programs have the guest's own /proc: expected a folder, or nothing");
  fs::remove(folder.path() / "proc");
  folder.file("tmp", "text");
  expect_refused(gather_payload(folder.path(), Arch::X86_64, kPlenty), "guest's own /tmp");
  fs::remove(folder.path() / "tmp");
  fs::create_directories(folder.path() / "dev");
  fs::create_symlink("/", folder.path() / "dev/proc");
  EXPECT_TRUE(gather_payload(folder.path(), Arch::X86_64, kPlenty));
}

TEST(Payload, NamesDoNotWriteToTheTerminalNorIntoTheGuestsList) {
  const Temporary folder;
  folder.file("a\x1b[31m", elf(EM_X86_64), true);
  folder.file("b\nroot", elf(EM_X86_64), true);
  const auto payload = gather_payload(folder.path(), Arch::X86_64, kPlenty);
  ASSERT_TRUE(payload) << payload.error().message;
  const auto which = choose_program(payload.value(), "", folder.path());
  ASSERT_FALSE(which);
  EXPECT_NE(which.error().message.find("/a\\x1b[31m"), std::string::npos) << which.error().message;
  const auto split = choose_program(payload.value(), "b\nroot", folder.path());
  ASSERT_FALSE(split);
  EXPECT_NE(split.error().message.find("its name holds the end of a line"), std::string::npos)
      << split.error().message;
  EXPECT_EQ(split.error().message.find('\n'), std::string::npos);
}

TEST(Payload, AFolderMayHaveOneForEachArchitecture) {
  const Temporary folder;
  folder.file("x86_64/tool", elf(EM_X86_64), true);
  folder.file("arm64/tool", elf(EM_AARCH64), true);
  folder.file("scenarios", "text");
  EXPECT_EQ(payload_archs(folder.path()).value(), (std::vector<Arch>{Arch::X86_64, Arch::Arm64}));
  const auto payload = gather_payload(folder.path(), Arch::Arm64, kPlenty);
  ASSERT_TRUE(payload) << payload.error().message;
  EXPECT_EQ(paths(payload.value()), (Paths{"payload/", "payload/tool"}));
}

TEST(Payload, RefusesWhatCannotBeCopied) {
  const Temporary folder;
  folder.file("tool", elf(EM_X86_64), true);
  ASSERT_EQ(::mkfifo((folder.path() / "fifo").c_str(), 0600), 0);
  expect_refused(gather_payload(folder.path(), Arch::X86_64, kPlenty),
                 "is neither a file nor a folder nor a symbolic link");
  fs::remove(folder.path() / "fifo");
  folder.file("large", std::string(5000, 'x'));
  expect_refused(gather_payload(folder.path(), Arch::X86_64, 4000), "expected at most 4000");
  const Temporary nothing;
  const auto none = payload_archs(nothing.path());
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().message.find("has no program"), std::string::npos);
}

TEST(Payload, TheProgramIsNamedUnlessThereIsOne) {
  Payload payload;
  payload.programs = {"/a", "/bin/b"};
  for (const char* path : {"payload/a", "payload/bin/b", "payload/script"}) {
    payload.items.push_back(image::InitramfsItem::text(path, "", 0755));
  }
  payload.items.push_back(image::InitramfsItem::directory("payload/bin"));
  EXPECT_EQ(choose_program(payload, "a", "folder").value(), "/a");
  EXPECT_EQ(choose_program(payload, "/bin/b", "folder").value(), "/bin/b");
  EXPECT_EQ(choose_program(payload, "script", "folder").value(), "/script");
  for (const char* wanted : {"", "c", "bin"}) {
    const auto refused = choose_program(payload, wanted, "folder");
    ASSERT_FALSE(refused) << wanted;
    EXPECT_NE(refused.error().message.find("/a, /bin/b"), std::string::npos)
        << refused.error().message;
  }
  payload.programs = {"/a"};
  EXPECT_EQ(choose_program(payload, "", "folder").value(), "/a");
}

TEST(Payload, RoomIsWhatAGuestCanHoldTwice) {
  EXPECT_EQ(payload_room(64ULL << 20), 0U);
  EXPECT_EQ(payload_room(256ULL << 20), 80ULL << 20);
}

}  // namespace
}  // namespace sealvisor::app
