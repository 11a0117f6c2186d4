#pragma once

#include <cstddef>
#include <cstdint>

namespace mliuq {

/// CRC-32 (ISO-HDLC: zlib, PNG) of `size` bytes, going on from the CRC of what came before (0: nothing).
std::uint32_t crc32(const void* data, std::size_t size, std::uint32_t before = 0);

}  // namespace mliuq
