#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "mliuq/error.hpp"

/// A file in memory that has a path.
class Scratch {
 public:
  Scratch() : descriptor_(::memfd_create("fuzz", 0)) {
    if (descriptor_ < 0) __builtin_trap();
  }
  ~Scratch() { ::close(descriptor_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

  void write(std::initializer_list<std::string_view> parts) const {
    if (::ftruncate(descriptor_, 0) != 0 || ::lseek(descriptor_, 0, SEEK_SET) != 0) __builtin_trap();
    for (std::string_view part : parts)
      if (::write(descriptor_, part.data(), part.size()) != static_cast<ssize_t>(part.size())) __builtin_trap();
  }

 private:
  int descriptor_;
};

/// A message is one line without control characters, and not long, whatever the input was.
inline void require_printable(std::string_view message) {
  if (message.empty() || message.size() > 16'000 ||
      std::any_of(message.begin(), message.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; }))
    __builtin_trap();
}
