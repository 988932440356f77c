#pragma once

#include <cmath>

#include "emulator/formats.h"

namespace ifast::cuda::ptx {

inline float float_from_half(std::uint16_t bits) { return emulator::half_to_float(bits); }
inline std::uint16_t half_from_float(float value) { return emulator::float_to_half(value); }
inline float float_from_bfloat16(std::uint16_t bits) { return emulator::bfloat16_to_float(bits); }
inline std::uint16_t bfloat16_from_float(float value) { return emulator::float_to_bfloat16(value); }
inline bool is_finite(float value) { return std::isfinite(value); }
inline float square_root(float value) { return std::sqrt(value); }
inline float exp(float value) { return std::exp(value); }
inline float exp_minus_1(float value) { return std::expm1(value); }
inline float log(float value) { return std::log(value); }
inline float tanh(float value) { return std::tanh(value); }
inline float erf(float value) { return std::erf(value); }
inline float power(float base, float exponent) { return std::pow(base, exponent); }
inline float float_from_bits(std::uint32_t bits) { return std::bit_cast<float>(bits); }
inline std::uint32_t bits_from_float(float value) { return std::bit_cast<std::uint32_t>(value); }

}  // namespace ifast::cuda::ptx
