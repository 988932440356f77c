#pragma once

#include <bit>
#include <cstdint>

// Half, bfloat16 and TF32 in integer arithmetic that compilers turn into vectors.
namespace ifast::emulator {

// A half's exponent is rebased by a multiplication, which is exact and covers subnormals.
inline float half_to_float(std::uint16_t bits) {
  constexpr float kRebase = 0x1p112f;
  const std::uint32_t magnitude = static_cast<std::uint32_t>(bits & 0x7fff) << 13;
  const bool special = (bits & 0x7c00) == 0x7c00;
  const auto finite = std::bit_cast<std::uint32_t>(std::bit_cast<float>(magnitude) * kRebase);
  const std::uint32_t value = special ? magnitude | 0x7f800000u : finite;
  return std::bit_cast<float>(value | static_cast<std::uint32_t>(bits & 0x8000) << 16);
}

inline float bfloat16_to_float(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

inline bool is_special(std::uint32_t bits) { return (bits & 0x7f800000u) == 0x7f800000u; }

inline std::uint16_t float_to_bfloat16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (value != value) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
  return static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline std::uint16_t float_to_half(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | 0x7e00;
  // 65520, halfway between the largest half and the next power of two, rounds to infinity.
  if (magnitude >= 0x477ff000u) return sign | 0x7c00;
  if (magnitude < 0x38800000u) {
    // Subnormal: adding 0.5 leaves the multiples of 2^-24 in the low bits, rounded.
    const float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return sign | static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(shifted) - 0x3f000000u);
  }
  return sign | static_cast<std::uint16_t>(
                    (magnitude - 0x38000000u + 0xfff + (magnitude >> 13 & 1)) >> 13);
}

}  // namespace ifast::emulator
