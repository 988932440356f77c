#pragma once

#include <bit>
#include <cstdint>

#include "cpu/base/dtypes.h"

namespace ifast::cpu {
namespace {

constexpr int kGemmRows = 4;
constexpr int kGemmVectors = 2;

// Four lanes in the vector extension of GCC and Clang, which compiles to whatever the target has.
struct Vec {
  static constexpr int kLanes = 4;
  typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float))));
  Lanes v;
};

// The first n lanes, n from 0 to kLanes.
struct Mask {
  explicit Mask(int n) : lanes(n) {}
  int lanes;
};

inline Vec broadcast(float x) { return {Vec::Lanes{x, x, x, x}}; }
inline Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
inline Vec operator-(Vec a, Vec b) { return {a.v - b.v}; }
inline Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
// Rounds twice: a fused one without the instruction would be a call into the C library.
inline Vec fma(Vec a, Vec b, Vec c) { return {a.v * b.v + c.v}; }
// A NaN stays.
inline Vec at_least(Vec x, float y) { return {x.v < y ? broadcast(y).v : x.v}; }
inline Vec at_most(Vec x, float y) { return {x.v > y ? broadcast(y).v : x.v}; }
inline Vec relu(Vec x) { return at_least(x, 0.0f); }
inline Vec max_or_nan(Vec a, Vec b) { return {(a.v > b.v) | (a.v != a.v) ? a.v : b.v}; }
inline Vec square_root(Vec x) {
  for (int i = 0; i < Vec::kLanes; ++i) x.v[i] = __builtin_sqrtf(x.v[i]);
  return x;
}
inline float sum(Vec a) { return (a.v[0] + a.v[2]) + (a.v[1] + a.v[3]); }

inline float widen(float x) { return x; }
inline float widen(BFloat16 x) { return std::bit_cast<float>(std::uint32_t{x.bits} << 16); }
inline float widen(Half x) {
  const std::uint32_t sign = (x.bits & 0x8000u) << 16;
  const std::uint32_t exponent = (x.bits >> 10) & 31u;
  const std::uint32_t fraction = x.bits & 0x3ffu;
  if (exponent == 0) {  // zero and subnormals: fraction * 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  const std::uint32_t biased = exponent == 31 ? 255 : exponent + 112;
  return std::bit_cast<float>(sign | (biased << 23) | (fraction << 13));
}
inline float widen(Element x) { return x.value; }

// All round to nearest even; a NaN becomes quiet.
inline void narrow(float x, float& out) { out = x; }
inline void narrow(float x, BFloat16& out) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t rounded = bits + 0x7fff + ((bits >> 16) & 1);
  out.bits = static_cast<std::uint16_t>(x != x ? (bits >> 16) | 0x40 : rounded >> 16);
}
inline void narrow(float x, Half& out) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = (bits >> 16) & 0x8000u;
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  std::uint32_t half;
  if (magnitude > 0x7f800000u) {
    half = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
  } else if (magnitude >= 0x47800000u) {  // 65536 and more
    half = 0x7c00u;
  } else if (magnitude < 0x38800000u) {  // subnormal: let the addition round to units of 2^-24
    const float aligned = std::bit_cast<float>(magnitude) + 0.5f;
    half = std::bit_cast<std::uint32_t>(aligned) - 0x3f000000u;
  } else {
    half = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1)) >> 13;
  }
  out.bits = static_cast<std::uint16_t>(sign | half);
}

// x: a whole number from 0 to 255.
inline void narrow(float x, Element& out) { out.value = static_cast<std::uint8_t>(x); }

template <class T>
inline Vec load(const T* p, Mask m) {
  Vec x = broadcast(0.0f);
  for (int i = 0; i < m.lanes; ++i) x.v[i] = widen(p[i]);
  return x;
}
template <class T>
inline Vec load(const T* p) {
  return load(p, Mask(Vec::kLanes));
}
inline Vec load(const float* p) {
  Vec x;
  __builtin_memcpy(&x, p, sizeof(x));
  return x;
}
template <class T>
inline void store(T* p, Vec x, Mask m) {
  for (int i = 0; i < m.lanes; ++i) narrow(x.v[i], p[i]);
}
template <class T>
inline void store(T* p, Vec x) {
  store(p, x, Mask(Vec::kLanes));
}
inline void store(float* p, Vec x) { __builtin_memcpy(p, &x, sizeof(x)); }

}  // namespace
}  // namespace ifast::cpu
