#pragma once

#include "ptx/platform.cuh"

// Conversions between float and the formats of storage, rounding to nearest even; a half or
// bfloat16 is its 16 bits.
namespace ifast::cuda::ptx {

IFAST_DEVICE float float_from_half(std::uint16_t bits) {
  float value;
  asm("cvt.f32.f16 %0, %1;" : "=f"(value) : "h"(bits));
  return value;
}
IFAST_DEVICE std::uint16_t half_from_float(float value) {
  std::uint16_t bits;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}
IFAST_DEVICE float float_from_bfloat16(std::uint16_t bits) {
  return __uint_as_float(static_cast<std::uint32_t>(bits) << 16);
}
IFAST_DEVICE std::uint16_t bfloat16_from_float(float value) {
  std::uint16_t bits;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(bits) : "f"(value));
  return bits;
}

IFAST_DEVICE bool is_finite(float value) { return fabsf(value) < __uint_as_float(0x7f800000u); }

IFAST_DEVICE float square_root(float value) { return __fsqrt_rn(value); }

// Of the CUDA math library, within a few ulps, as PyTorch's.
IFAST_DEVICE float exp(float value) { return expf(value); }
IFAST_DEVICE float exp_minus_1(float value) { return expm1f(value); }
IFAST_DEVICE float log(float value) { return logf(value); }
IFAST_DEVICE float tanh(float value) { return tanhf(value); }
IFAST_DEVICE float erf(float value) { return erff(value); }
IFAST_DEVICE float power(float base, float exponent) { return powf(base, exponent); }

IFAST_DEVICE float float_from_bits(std::uint32_t bits) { return __uint_as_float(bits); }
IFAST_DEVICE std::uint32_t bits_from_float(float value) { return __float_as_uint(value); }

}  // namespace ifast::cuda::ptx
