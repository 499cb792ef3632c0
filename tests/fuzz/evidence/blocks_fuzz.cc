// A trace file that was edited in any way is found out, whatever it holds; one that was not is
// read.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/fuzz/arch/input.h"
#include "vmm/evidence/block_file.h"

using namespace sealvisor;  // NOLINT(google-build-using-namespace): one file, one entry point

namespace {

/// A folder for as long as the program runs.
class Folder {
 public:
  Folder() {
    std::string name = std::filesystem::temp_directory_path() / "sealvisor-fuzz-XXXXXX";
    fuzz::require(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~Folder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  [[nodiscard]] std::filesystem::path file() const { return path_ / "trace"; }

 private:
  std::filesystem::path path_;
};

bool reads_well(const std::filesystem::path& path, const evidence::Digest& seed) {
  auto reader = evidence::BlockReader::open(path, seed);
  if (!reader) return false;
  for (;;) {
    const auto block = reader.value().next();
    if (!block) return false;
    fuzz::require(block.value().size() <= evidence::kMostBlockBytes);
    if (block.value().empty()) return true;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Folder folder;
  const evidence::Digest seed{};
  fuzz::Input input(data, size);
  const auto edits = input.take<std::uint8_t>() % 4;
  const auto cut = input.take<std::uint16_t>();
  const auto kind = input.take<std::uint8_t>();
  std::uint64_t places[4];
  std::uint8_t values[4];
  for (int i = 0; i < 4; ++i) {
    places[i] = input.take<std::uint32_t>();
    values[i] = input.take<std::uint8_t>();
  }
  auto writer = evidence::BlockWriter::create(folder.file(), seed);
  fuzz::require(writer.ok());
  const auto plain = std::as_bytes(input.rest());
  writer.value().plain().assign(plain.begin(), plain.end());
  fuzz::require(writer.value().close().ok());
  fuzz::require(reads_well(folder.file(), seed));

  std::ifstream in(folder.file(), std::ios::binary);
  const std::string was{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  std::string is = was;
  for (int i = 0; i < edits; ++i) {
    char& byte = is[places[i] % is.size()];
    byte = static_cast<char>(byte ^ values[i]);
  }
  if (kind % 4 == 1) is.resize(cut % is.size());
  if (kind % 4 == 2) is += was.substr(cut % was.size());
  if (kind % 4 == 3) is = std::string(reinterpret_cast<const char*>(plain.data()), plain.size());
  std::ofstream(folder.file(), std::ios::binary | std::ios::trunc) << is;
  fuzz::require(reads_well(folder.file(), seed) == (is == was));
  return 0;
}
