#pragma once

#include "cpu/simd/vec_avx512.h"

// What quantised Plans need of a vector beside float32 arithmetic. Sums of integers lie in the same
// registers: a Vec then holds the bits of 16 int32.
namespace ifast::cpu {
namespace {

inline Vec load(const Element* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes))};
}
inline Vec load(const Element* p, Mask m) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(m.bits, p)))};
}
// x: whole numbers from 0 to 255.
inline void store(Element* p, Vec x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x.v)));
}
inline void store(Element* p, Vec x, Mask m) {
  _mm_mask_storeu_epi8(p, m.bits, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x.v)));
}

// The bounds are never NaN; a NaN in x becomes the lower one.
inline Vec clamp(Vec x, Vec least, Vec most) {
  return {_mm512_min_ps(_mm512_max_ps(x.v, least.v), most.v)};
}
inline Vec round_to_even(Vec x) {
  return {_mm512_roundscale_ps(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
inline Vec divide(Vec a, Vec b) { return {_mm512_div_ps(a.v, b.v)}; }

inline Vec integers_to_floats(Vec x) { return {_mm512_cvtepi32_ps(_mm512_castps_si512(x.v))}; }
inline Vec add_integers(Vec a, Vec b) {
  return {
      _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a.v), _mm512_castps_si512(b.v)))};
}

inline Vec floats_to_integers(Vec x) { return {_mm512_castsi512_ps(_mm512_cvtps_epi32(x.v))}; }

// A unit is four elements, and four weights for each lane: vpdpbusd adds their products to a sum.
struct IntegerUnit {
  static constexpr int kChannels = 4;

  static Vec load_weights(const char* b) { return load(reinterpret_cast<const float*>(b)); }
  static Vec load_pixel(const float* a) { return broadcast(*a); }
  static Vec multiply_add(Vec pixel, Vec weights, Vec sum) {
    return {_mm512_castsi512_ps(_mm512_dpbusd_epi32(
        _mm512_castps_si512(sum.v), _mm512_castps_si512(pixel.v), _mm512_castps_si512(weights.v)))};
  }

  static void gather(const Element* from, float* units, int n) {
    auto* to = reinterpret_cast<Element*>(units);
    int i = 0;
    for (; i + 64 <= n; i += 64) _mm512_storeu_si512(to + i, _mm512_loadu_si512(from + i));
    if (i < n) {
      const int rest = n - i, whole = (rest + kChannels - 1) / kChannels * kChannels;
      const __m512i bytes = _mm512_maskz_loadu_epi8(first(rest), from + i);
      _mm512_mask_storeu_epi8(to + i, first(whole), bytes);
    }
  }

 private:
  static __mmask64 first(int n) { return ~0ull >> (64 - n); }
};

}  // namespace
}  // namespace ifast::cpu
