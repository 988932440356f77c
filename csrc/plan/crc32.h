#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace ifast {

// CRC-32 as in zlib and IEEE 802.3 (reflected polynomial EDB88320), continued from `checksum` of
// what came before.
std::uint32_t crc32(std::span<const std::byte> data, std::uint32_t checksum = 0);

}  // namespace ifast
