// A folder that ends with the test.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace sealvisor::app {

class Temporary {
 public:
  Temporary() {
    std::string name = std::filesystem::temp_directory_path() / "sealvisor-app-XXXXXX";
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    path_ = name;
  }
  Temporary(const Temporary&) = delete;
  Temporary& operator=(const Temporary&) = delete;
  ~Temporary() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// Makes a file below it, with its folders.
  std::filesystem::path file(const std::string& name, const std::string& contents,
                             bool executable = false) const {
    std::filesystem::path whole = path_ / name;
    std::filesystem::create_directories(whole.parent_path());
    std::ofstream(whole) << contents;
    if (executable) std::filesystem::permissions(whole, std::filesystem::perms::owner_all);
    return whole;
  }
  [[nodiscard]] static std::string read(const std::filesystem::path& path) {
    const std::ifstream file(path);
    std::stringstream text;
    text << file.rdbuf();
    return text.str();
  }

 private:
  std::filesystem::path path_;
};

}  // namespace sealvisor::app
