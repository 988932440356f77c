#include "plan/crc32.h"

#include <array>
#include <cstring>

namespace ifast {
namespace {

constexpr std::size_t kSlices = 8;
using Tables = std::array<std::array<std::uint32_t, 256>, kSlices>;

// tables[k][b]: the effect of byte b, k bytes before the end.
constexpr Tables make_tables() {
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t value = byte;
    for (int bit = 0; bit < 8; ++bit) value = value >> 1 ^ (value & 1 ? 0xEDB88320u : 0);
    tables[0][byte] = value;
  }
  for (std::size_t k = 1; k < kSlices; ++k) {
    for (std::size_t byte = 0; byte < 256; ++byte) {
      const std::uint32_t previous = tables[k - 1][byte];
      tables[k][byte] = previous >> 8 ^ tables[0][previous & 0xFF];
    }
  }
  return tables;
}

constexpr Tables kTables = make_tables();

}  // namespace

// Slicing-by-8: Kounavis and Berry, "A Systematic Approach to Building High Performance
// Software-based CRC Generators", 2005.
std::uint32_t crc32(std::span<const std::byte> data, std::uint32_t checksum) {
  std::uint32_t state = ~checksum;
  while (data.size() >= kSlices) {
    std::array<std::uint32_t, 2> words;
    std::memcpy(words.data(), data.data(), sizeof words);
    words[0] ^= state;
    state = 0;
    for (std::size_t i = 0; i < kSlices; ++i) {
      state ^= kTables[kSlices - 1 - i][words[i / 4] >> 8 * (i % 4) & 0xFF];
    }
    data = data.subspan(kSlices);
  }
  for (const std::byte byte : data) {
    state = state >> 8 ^ kTables[0][(state ^ static_cast<std::uint32_t>(byte)) & 0xFF];
  }
  return ~state;
}

}  // namespace ifast
