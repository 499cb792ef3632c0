// Shell scripts that stand in for QEMU, to see what happens when it misbehaves.
#pragma once

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

namespace sealvisor::engine::tcg {

/// A folder with a qemu-system-x86_64 of ours, named by SEALVISOR_QEMU_DIR as long as this lives.
class StandIn {
 public:
  /// `body` runs when the guest is to be started. It has the numbers of its descriptors in
  /// $console, $qmp, $channel and $ring.
  explicit StandIn(const std::string& body, const std::string& version = "10.0.2") {
    write("if [ \"$1\" = --version ]; then echo 'QEMU emulator version " + version +
          "'; exit 0; fi\n"
          "for word in \"$@\"; do case \"$word\" in\n"
          "  socket,id=console,fd=*) console=${word##*=};;\n"
          "  socket,id=qmp,fd=*) qmp=${word##*=};;\n"
          "  *,channel-fd=*) rest=${word#*,channel-fd=}; channel=${rest%%,*}\n"
          "    rest=${word#*,ring-fd=}; ring=${rest%%,*};;\n"
          "esac; done\n" +
          body + "\n");
  }
  /// A stand-in whose whole text is `script`.
  struct Whole {
    std::string script;
  };
  explicit StandIn(const Whole& whole) { write(whole.script); }
  StandIn(const StandIn&) = delete;
  StandIn& operator=(const StandIn&) = delete;
  ~StandIn() {
    ::unsetenv("SEALVISOR_QEMU_DIR");
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  [[nodiscard]] std::filesystem::path program() const { return folder_ / "qemu-system-x86_64"; }

 private:
  void write(const std::string& script) {
    std::string name = (std::filesystem::temp_directory_path() / "stand-in-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) {
      ADD_FAILURE() << "no temporary folder";
      return;
    }
    folder_ = name;
    std::ofstream(program()) << "#!/bin/bash\n" << script;
    ::chmod(program().c_str(), 0755);
    ::setenv("SEALVISOR_QEMU_DIR", name.c_str(), 1);
  }
  std::filesystem::path folder_;
};

}  // namespace sealvisor::engine::tcg
