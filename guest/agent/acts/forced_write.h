// Writing a word to each page of a range through /proc/PID/mem. Raw calls only.
#pragma once

#include <sys/types.h>

#include <cstdint>

namespace sealvisor::agent {

/// The memory of the process `pid` (0: one's own) as a file; -errno on failure.
[[nodiscard]] int open_memory_of(pid_t pid);

/// Where a page gets its word: its last eight bytes, which no code that is run lies in.
inline constexpr std::uintptr_t kWordOffset = 4096 - 8;

/// The word for what is at `page`, which user mode may read: never what is there.
[[nodiscard]] std::uint64_t other_word(std::uintptr_t page);

/// Writes other_word() to each page of [start, end) through `file`; the bytes that were written, or
/// the first -errno.
[[nodiscard]] long write_words(int file, std::uintptr_t start, std::uintptr_t end);

/// Reads the same words.
[[nodiscard]] long read_words(int file, std::uintptr_t start, std::uintptr_t end);

}  // namespace sealvisor::agent
