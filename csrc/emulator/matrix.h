#pragma once

#include <cstdint>

// The warp-wide matrix instructions, on the operands that the lanes of the current warp brought.
namespace ifast::emulator {

struct MatrixRow {
  std::uint32_t* registers;  // 4
  std::uint32_t address;
};

struct Fragments {
  float* d;                // 4
  const std::uint32_t* a;  // 4
  const std::uint32_t* b;  // 2
};

enum class Format { kHalf, kBFloat16, kTf32 };

void load_matrices();
void multiply_matrices(Format format);

}  // namespace ifast::emulator
