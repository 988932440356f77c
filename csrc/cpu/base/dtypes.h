#pragma once

#include <cstdint>

namespace ifast::cpu {

// Storage only: arithmetic is in float32.
struct BFloat16 {
  std::uint16_t bits;
};

struct Half {
  std::uint16_t bits;
};

// Of a quantised buffer.
struct Element {
  std::uint8_t value;
};

}  // namespace ifast::cpu
