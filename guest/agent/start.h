// What process 1 does first.
#pragma once

#include <sys/types.h>

#include <span>

namespace sealvisor::agent {

/// Mounts a file system of the kernel's, `what`, at `where`. False: said on the console.
[[nodiscard]] bool mount_at(const char* what, const char* where);

/// Makes /dev/console the standard streams. The kernel did so if the initramfs has the node.
void take_console();

/// Reads a file of at most `room.size()` bytes. Its length; -1: said on the console.
[[nodiscard]] ssize_t read_whole(const char* path, std::span<char> room);

}  // namespace sealvisor::agent
