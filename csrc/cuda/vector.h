#pragma once

#include <cstdint>

namespace ifast::cuda::ptx {

// 16 bytes in four registers.
struct Vector {
  std::uint32_t word[4];
};

}  // namespace ifast::cuda::ptx
