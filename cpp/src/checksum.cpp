#include "checksum.hpp"

#include <array>
#include <bit>
#include <cstring>

static_assert(std::endian::native == std::endian::little, "words are taken as they lie in memory");

namespace mliuq {
namespace {

// Slicing by eight (Kounavis & Berry, IEEE Trans. Comput. 57, 1550 (2008)): tables[k][b] is what byte b does k bytes
// later, so that eight bytes cost eight look-ups that do not wait for each other.
constexpr auto kTables = [] {
  std::array<std::array<std::uint32_t, 256>, 8> tables{};
  for (std::uint32_t b = 0; b < 256; ++b) {
    std::uint32_t crc = b;
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (crc & 1 ? 0xEDB88320u : 0u);
    tables[0][b] = crc;
  }
  for (std::size_t k = 1; k < 8; ++k)
    for (std::size_t b = 0; b < 256; ++b) tables[k][b] = tables[k - 1][b] >> 8 ^ tables[0][tables[k - 1][b] & 0xFF];
  return tables;
}();

}  // namespace

std::uint32_t crc32(const void* data, std::size_t size, std::uint32_t before) {
  const auto* bytes = static_cast<const unsigned char*>(data);
  std::uint32_t crc = ~before;
  for (; size >= 8; bytes += 8, size -= 8) {
    std::uint64_t word;
    std::memcpy(&word, bytes, sizeof word);
    word ^= crc;
    crc = 0;
    for (int k = 0; k < 8; ++k) crc ^= kTables[7 - k][word >> 8 * k & 0xFF];
  }
  for (; size > 0; ++bytes, --size) crc = crc >> 8 ^ kTables[0][(crc ^ *bytes) & 0xFF];
  return ~crc;
}

}  // namespace mliuq
