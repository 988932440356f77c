#pragma once

#include <cstring>

#include "cpu/kernels/avx2/vec.h"

// What quantised Plans need of a vector beside float32 arithmetic. Sums of integers lie in the same
// registers: a Vec then holds the bits of 8 int32.
namespace ifast::cpu {
namespace {

inline Vec widen(__m128i bytes, Element) {
  return {_mm256_cvtepi32_ps(_mm256_cvtepu8_epi32(bytes))};
}
inline Vec load(const Element* p) {
  return widen(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)), Element{});
}
inline Vec load(const Element* p, Mask m) {
  alignas(8) Element lanes[Vec::kLanes] = {};
  for (int i = 0; i < m.lanes; ++i) lanes[i] = p[i];
  return load(lanes);
}
// x: whole numbers from 0 to 255.
inline void store(Element* p, Vec x) {
  const __m256i wide = _mm256_cvtps_epi32(x.v);
  const __m128i halves =
      _mm_packus_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(halves, halves));
}
inline void store(Element* p, Vec x, Mask m) {
  alignas(8) Element lanes[Vec::kLanes];
  store(lanes, x);
  for (int i = 0; i < m.lanes; ++i) p[i] = lanes[i];
}

// The bounds are never NaN; a NaN in x becomes the lower one.
inline Vec clamp(Vec x, Vec least, Vec most) {
  return {_mm256_min_ps(_mm256_max_ps(x.v, least.v), most.v)};
}
inline Vec round_to_even(Vec x) {
  return {_mm256_round_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline Vec divide(Vec a, Vec b) { return {_mm256_div_ps(a.v, b.v)}; }

inline Vec integers_to_floats(Vec x) { return {_mm256_cvtepi32_ps(_mm256_castps_si256(x.v))}; }
inline Vec add_integers(Vec a, Vec b) {
  return {
      _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a.v), _mm256_castps_si256(b.v)))};
}
inline Vec subtract_integers(Vec a, Vec b) {
  return {
      _mm256_castsi256_ps(_mm256_sub_epi32(_mm256_castps_si256(a.v), _mm256_castps_si256(b.v)))};
}
inline Vec broadcast_integer(int x) { return {_mm256_castsi256_ps(_mm256_set1_epi32(x))}; }

// An element that becomes an integer.
struct Whole {
  std::uint8_t value;
};
inline Vec load(const Whole* p) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return {_mm256_castsi256_ps(_mm256_cvtepu8_epi32(bytes))};
}
inline Vec load(const Whole* p, Mask m) {
  alignas(8) Whole lanes[Vec::kLanes] = {};
  for (int i = 0; i < m.lanes; ++i) lanes[i] = p[i];
  return load(lanes);
}

// Elements as they are.
struct Bytes {
  static constexpr int kLanes = 32;
  __m256i v;

  // The first n of them, n from 1 to kLanes.
  static Bytes load(const Element* p, int n) {
    if (n == kLanes) return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
    Element lanes[kLanes] = {};
    std::memcpy(lanes, p, n);
    return load(lanes, kLanes);
  }
  void store(Element* p, int n) const {
    Element lanes[kLanes];
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(n == kLanes ? p : lanes), v);
    if (n != kLanes) std::memcpy(p, lanes, n);
  }
};
inline Bytes broadcast_byte(int x) { return {_mm256_set1_epi8(static_cast<char>(x))}; }
inline Bytes max(Bytes a, Bytes b) { return {_mm256_max_epu8(a.v, b.v)}; }
// (a + b + 1) / 2.
inline Bytes average(Bytes a, Bytes b) { return {_mm256_avg_epu8(a.v, b.v)}; }
// 255 - a.
inline Bytes complement(Bytes a) { return {_mm256_xor_si256(a.v, _mm256_set1_epi8(-1))}; }

// How four vectors of numbers become elements at once: the instructions that pack integers clamp
// them, which leaves the rounding and the zero.
class Narrowing {
 public:
  Narrowing(bool relu, int zero)
      : most_(broadcast(255)),
        zero_(_mm256_set1_epi16(static_cast<short>(zero))),
        least_(_mm256_set1_epi8(static_cast<char>(relu ? zero : 0))) {}

  // The vectors fill the rows one after the other.
  template <int Rows>
  void store(Element* const (&rows)[Rows], const Vec (&x)[4]) const {
    const __m256i first = _mm256_packs_epi32(integers(x[0]), integers(x[1]));
    const __m256i second = _mm256_packs_epi32(integers(x[2]), integers(x[3]));
    __m256i bytes =
        _mm256_packus_epi16(_mm256_adds_epi16(first, zero_), _mm256_adds_epi16(second, zero_));
    // Packed are halves of the vectors: the first of each, the second of each.
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    bytes = _mm256_permutevar8x32_epi32(_mm256_max_epu8(bytes, least_), order);
    alignas(32) Element packed[32];
    _mm256_store_si256(reinterpret_cast<__m256i*>(packed), bytes);
    constexpr int kRow = 32 / Rows;
    for (int i = 0; i < Rows; ++i) std::memcpy(rows[i], packed + i * kRow, kRow);
  }

 private:
  // Too large a number has no integer, nor does NaN, which the bound leaves as it is: the
  // conversion gives both, and what is too small, the least one.
  __m256i integers(Vec x) const { return _mm256_cvtps_epi32(_mm256_min_ps(most_.v, x.v)); }

  Vec most_;
  __m256i zero_, least_;
};

// A unit is two elements in 16 bits each, and two such weights for each lane. The instruction that
// takes bytes (vpmaddubsw) saturates its sums of two products.
struct IntegerUnit {
  static constexpr int kChannels = 2;

  static Vec load_weights(const char* b) { return load(reinterpret_cast<const float*>(b)); }
  static Vec load_pixel(const float* a) { return broadcast(*a); }
  static Vec multiply_add(Vec pixel, Vec weights, Vec sum) {
    const __m256i products =
        _mm256_madd_epi16(_mm256_castps_si256(pixel.v), _mm256_castps_si256(weights.v));
    return {_mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(sum.v), products))};
  }

  static void gather(const Element* from, float* units, int n) {
    auto* to = reinterpret_cast<std::uint16_t*>(units);
    int i = 0;
    for (; i + 16 <= n; i += 16) {
      const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i), _mm256_cvtepu8_epi16(bytes));
    }
    for (; i < n; ++i) to[i] = from[i].value;
    if (n % kChannels != 0) to[n] = 0;
  }
};

// The first n elements as units; what fills the last one up is whatever x has there.
inline void store_units(float* units, Bytes x, int n) {
  constexpr int kUnit = IntegerUnit::kChannels, kUnits = Bytes::kLanes / kUnit;
  alignas(32) float all[kUnits];
  float* const to = n == Bytes::kLanes ? units : all;
  const auto widen = [](__m128i bytes) { return _mm256_cvtepu8_epi16(bytes); };
  auto* const halves = reinterpret_cast<__m256i*>(to);
  _mm256_storeu_si256(halves, widen(_mm256_castsi256_si128(x.v)));
  _mm256_storeu_si256(halves + 1, widen(_mm256_extracti128_si256(x.v, 1)));
  if (to == all) std::memcpy(units, all, (n + kUnit - 1) / kUnit * sizeof(float));
}

}  // namespace
}  // namespace ifast::cpu
