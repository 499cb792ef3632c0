// Compressed bytes for tests, made by the libraries themselves.
#pragma once

#include <string>
#include <string_view>

#include "vmm/image/decompress.h"

namespace sealvisor::test {

/// `plain`, compressed; Lz4: in the frame format.
[[nodiscard]] std::string compressed(image::Compression compression, std::string_view plain);
/// As `lz4 -l` does it, in blocks of `block` bytes.
[[nodiscard]] std::string lz4_legacy(std::string_view plain, std::size_t block);
/// Four bytes, as Linux's build puts them behind what it compressed.
[[nodiscard]] std::string size_behind(std::string_view plain);
/// Bytes that are neither all alike nor random.
[[nodiscard]] std::string some_text(std::size_t bytes);

}  // namespace sealvisor::test
