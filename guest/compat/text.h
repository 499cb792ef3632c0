// A short text that is put together of a few, without memory of its own.
#pragma once

#include <algorithm>
#include <array>
#include <initializer_list>
#include <string_view>

namespace sealvisor::compat {

class Text {
 public:
  Text(std::initializer_list<std::string_view> parts) {
    for (const std::string_view part : parts) {
      const std::size_t room = text_.size() - size_;
      size_ += part.copy(text_.data() + size_, std::min(part.size(), room));
    }
  }
  [[nodiscard]] std::string_view view() const { return {text_.data(), size_}; }

 private:
  std::array<char, 64> text_{};
  std::size_t size_ = 0;
};

}  // namespace sealvisor::compat
