#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace mliuq {

/// Byte at which a text stops being UTF-8 (no overlong forms, no surrogates), its length when it is whole.
std::size_t first_not_utf8(std::string_view text);

/// A text fit for one line of a terminal: control characters, marks that turn the direction of writing, invisible
/// spaces and bytes that are not UTF-8 become \xNN or \u{NNNN}; all else stays.
std::string printable(std::string_view text);

}  // namespace mliuq
