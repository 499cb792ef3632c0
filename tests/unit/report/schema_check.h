// Documents held against the schemas of the tree, by a library's work (check_schema.py).
#pragma once

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

namespace sealvisor::report {

/// A document in a folder of its own, which ends with it.
class SchemaDocument {
 public:
  explicit SchemaDocument(const std::string& text) {
    std::string folder = std::filesystem::temp_directory_path() / "sealvisor-json-XXXXXX";
    EXPECT_NE(::mkdtemp(folder.data()), nullptr);
    folder_ = folder;
    std::ofstream(path()) << text;
  }
  SchemaDocument(const SchemaDocument&) = delete;
  SchemaDocument& operator=(const SchemaDocument&) = delete;
  ~SchemaDocument() { std::filesystem::remove_all(folder_); }
  [[nodiscard]] std::filesystem::path path() const { return folder_ / "report.json"; }

 private:
  std::filesystem::path folder_;
};

struct SchemaChecked {
  int status = -1;
  std::string output;
};

/// Runs the check of `schema` (docs/...) with these arguments.
inline SchemaChecked check_schema(const std::string& schema, const std::string& arguments) {
  const std::filesystem::path source = SEALVISOR_SOURCE_DIR;
  const std::string command = "python3 '" +
                              (source / "tests/unit/report/check_schema.py").string() + "' '" +
                              (source / schema).string() + "' " + arguments + " 2>&1";
  SchemaChecked checked;
  std::FILE* pipe = ::popen(command.c_str(), "r");
  if (pipe == nullptr) return checked;
  std::array<char, 4096> bytes{};
  while (const std::size_t got = std::fread(bytes.data(), 1, bytes.size(), pipe)) {
    checked.output.append(bytes.data(), got);
  }
  checked.status = ::pclose(pipe);
  return checked;
}

}  // namespace sealvisor::report
