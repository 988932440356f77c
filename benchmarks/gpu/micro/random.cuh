#pragma once

#include <cuda_fp16.h>

#include "micro/device.cuh"

// Operands as a network's are: on zeros and small integers few wires change, and the power limit
// never shows.
namespace ifast::micro {

// Uniform in -1..1; the finaliser of MurmurHash3 (Austin Appleby, public domain).
IFAST_DEVICE __half random_half(unsigned index) {
  unsigned bits = index + 0x9e3779b9u;
  bits = (bits ^ bits >> 16) * 0x85ebca6bu;
  bits = (bits ^ bits >> 13) * 0xc2b2ae35u;
  bits ^= bits >> 16;
  return __float2half_rn(static_cast<float>(static_cast<int>(bits)) * 0x1p-31f);
}

// Two neighbours in a register, as mma.sync and wgmma take them.
IFAST_DEVICE std::uint32_t pack(__half low, __half high) {
  return __half_as_ushort(low) | static_cast<std::uint32_t>(__half_as_ushort(high)) << 16;
}

IFAST_DEVICE std::uint32_t random_pair(unsigned index) {
  return pack(random_half(2 * index), random_half(2 * index + 1));
}

}  // namespace ifast::micro
