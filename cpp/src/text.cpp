#include "text.hpp"

#include <cstdio>

#include "mliuq/error.hpp"

namespace mliuq {
namespace {

struct CodePoint {
  unsigned value;
  std::size_t length;  // bytes; 0: not UTF-8
};

/// The code point at the front of a text that is not empty (Unicode 15, table 3-7).
CodePoint first_code_point(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
  if (lead < 0xC2 || lead > 0xF4 || text.size() < length) return {lead, 0};
  unsigned value = lead & (0x7Fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {lead, 0};
    value = value << 6 | (byte(i) & 0x3F);
  }
  const bool overlong = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
  const bool surrogate = value >= 0xD800 && value < 0xE000;
  if (overlong || surrogate || value > 0x10FFFF) return {lead, 0};
  return {value, length};
}

bool harmless(unsigned code) {
  const auto within = [code](unsigned first, unsigned last) { return code >= first && code <= last; };
  return !(code < 0x20 || within(0x7F, 0x9F) || code == 0xAD || within(0x200B, 0x200F) || within(0x2028, 0x202E) ||
           within(0x2060, 0x206F) || code == 0xFEFF || within(0xE0000, 0xE0FFF));
}

}  // namespace

std::size_t first_not_utf8(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const CodePoint code = first_code_point(text.substr(at));
    if (code.length == 0) return at;
    at += code.length;
  }
  return at;
}

std::string printable(std::string_view text) {
  std::string out;
  char escape[16];
  while (!text.empty()) {
    const auto [value, length] = first_code_point(text);
    if (length > 0 && harmless(value)) {
      out += text.substr(0, length);
    } else {
      std::snprintf(escape, sizeof escape, value < 0x100 ? "\\x%02x" : "\\u{%x}", value);
      out += escape;
    }
    text.remove_prefix(length > 0 ? length : 1);
  }
  return out;
}

// Every message of the core passes here, so that nothing a file holds reaches a terminal as a command to it.
namespace {

constexpr std::size_t kLongest = 2000, kLast = 300;  // bytes of a message, and of its end

/// What can be read of a message: a file may put thousands of characters where a word is expected.
std::string readable(std::string_view message) {
  if (message.size() <= kLongest) return printable(message);
  return printable(message.substr(0, kLongest - kLast)) + " [...] " + printable(message.substr(message.size() - kLast));
}

}  // namespace

Error::Error(const std::string& message) : std::runtime_error(readable(message)) {}

}  // namespace mliuq
