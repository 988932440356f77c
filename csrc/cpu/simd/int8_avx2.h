#pragma once

#include "cpu/simd/vec_avx2.h"

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

inline Vec floats_to_integers(Vec x) { return {_mm256_castsi256_ps(_mm256_cvtps_epi32(x.v))}; }

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

}  // namespace
}  // namespace ifast::cpu
