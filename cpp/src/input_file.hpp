#pragma once

#include <filesystem>
#include <string>
#include <system_error>

#include "mliuq/error.hpp"

namespace mliuq {

/// Refuses a pipe, a device or a socket in place of a file: reading may wait for ever or never end. What is not there,
/// whoever opens it will name.
inline void refuse_streams(const std::string& path) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  if (std::filesystem::is_other(status)) throw Error(path + ": is a pipe, a device or a socket, expected a file");
}

}  // namespace mliuq
