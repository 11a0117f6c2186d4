#pragma once

#include <stdexcept>
#include <string>

namespace mliuq {

/// The one exception of the core. The message says what was wrong, where, what was expected and what was found; it is
/// one line of printable text whatever a file held, the middle of a long one left out.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& message);
};

}  // namespace mliuq
