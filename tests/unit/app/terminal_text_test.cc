#include "vmm/app/terminal_text.h"

#include <fcntl.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <string>

#include <gtest/gtest.h>

#include "vmm/base/fd.h"

namespace sealvisor::app {
namespace {

/// A variable of the environment, as it was when this ends.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    set(value);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() { set(before_ ? before_->c_str() : nullptr); }
  void set(const char* value) const {
    if (value == nullptr) {
      ::unsetenv(name_);
    } else {
      ::setenv(name_, value, 1);
    }
  }

 private:
  const char* name_;
  std::optional<std::string> before_;
};

TEST(TerminalText, EscapesAreForTerminalsThatKnowThem) {
  const Fd terminal(::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  ASSERT_TRUE(terminal.valid());
  const Fd file(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  const Variable term("TERM", "xterm");
  const Variable no_colour("NO_COLOR", nullptr);
  EXPECT_TRUE(takes_escapes(terminal.get()));
  EXPECT_TRUE(text_options_for(terminal.get()).colours);
  EXPECT_FALSE(takes_escapes(file.get()));
  EXPECT_FALSE(text_options_for(file.get()).colours);
  no_colour.set("1");
  EXPECT_TRUE(takes_escapes(terminal.get()));
  EXPECT_FALSE(text_options_for(terminal.get()).colours);
  no_colour.set(nullptr);
  term.set("dumb");
  EXPECT_FALSE(takes_escapes(terminal.get()));
  EXPECT_FALSE(text_options_for(terminal.get()).colours);
}

}  // namespace
}  // namespace sealvisor::app
