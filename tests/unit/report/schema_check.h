// Documents held against the schemas of the tree, by a library's work (check_schema.py).
#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include <gtest/gtest.h>

#include "tests/unit/support/shell.h"

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

/// Runs the check of `schema` (docs/...) with these arguments.
inline test::ShellAnswer check_schema(const std::string& schema, const std::string& arguments) {
  const std::filesystem::path source = SEALVISOR_SOURCE_DIR;
  return test::run_in_shell("python3 '" + (source / "tests/unit/report/check_schema.py").string() +
                            "' '" + (source / schema).string() + "' " + arguments);
}

}  // namespace sealvisor::report
