#pragma once

#include <stdexcept>
#include <string>

namespace mliuq {

/// The one exception of the core. The message says what was wrong, where, what was expected and what was found.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message) : std::runtime_error(message) {}
};

}  // namespace mliuq
