// The VMM's side of the doorbell: fetches one message from guest memory, once, and checks the copy.
#pragma once

#include <cstdint>
#include <string>

#include "arch/any_format.h"
#include "guest/protocol/doorbell.h"
#include "vmm/base/result.h"
#include "vmm/memory/memory.h"

namespace sealvisor::run {

/// Reads the message at `gva` under `root` and checks everything about it that can be checked
/// without context: mapped for user mode, aligned, magic, version, known type, the length of that
/// type, names that end, counts within the protocol's bounds. An error says which of these failed,
/// with the value (exit code GuestFailed).
[[nodiscard]] Result<protocol::Message> read_message(const arch::AnyFormat& format,
                                                     const memory::Memory& memory, arch::Frame root,
                                                     arch::Gva gva);

/// The checks on a copy alone; pure.
[[nodiscard]] Status check_message(const protocol::Message& message);

/// A name field as text, up to its NUL. Precondition: checked.
template <std::size_t N>
[[nodiscard]] std::string text_of(const char (&field)[N]) {
  std::string text(field, N);
  return text.substr(0, text.find('\0'));
}

}  // namespace sealvisor::run
