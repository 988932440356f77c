#pragma once

#include <immintrin.h>

#include "cpu/base/dtypes.h"

namespace ifast::cpu {
namespace {

// 12 accumulators, 2 weights and 1 broadcast pixel fill 15 of the 16 registers.
constexpr int kGemmRows = 6;
constexpr int kGemmVectors = 2;

struct Vec {
  static constexpr int kLanes = 8;
  __m256 v;
};

// The first n lanes, n from 0 to kLanes.
struct Mask {
  explicit Mask(int n)
      : lanes(n),
        bits(_mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))) {}
  int lanes;
  __m256i bits;
};

inline Vec broadcast(float x) { return {_mm256_set1_ps(x)}; }
inline Vec operator+(Vec a, Vec b) { return {_mm256_add_ps(a.v, b.v)}; }
inline Vec operator-(Vec a, Vec b) { return {_mm256_sub_ps(a.v, b.v)}; }
inline Vec operator*(Vec a, Vec b) { return {_mm256_mul_ps(a.v, b.v)}; }
inline Vec fma(Vec a, Vec b, Vec c) { return {_mm256_fmadd_ps(a.v, b.v, c.v)}; }

// The instruction returns its second operand when either is NaN, so a NaN in x stays.
inline Vec at_least(Vec x, float y) { return {_mm256_max_ps(_mm256_set1_ps(y), x.v)}; }
inline Vec at_most(Vec x, float y) { return {_mm256_min_ps(_mm256_set1_ps(y), x.v)}; }
inline Vec relu(Vec x) { return at_least(x, 0.0f); }

inline Vec max_or_nan(Vec a, Vec b) {
  const __m256 keep = _mm256_cmp_ps(a.v, a.v, _CMP_UNORD_Q);
  return {_mm256_blendv_ps(_mm256_max_ps(a.v, b.v), a.v, keep)};
}

inline Vec square_root(Vec x) { return {_mm256_sqrt_ps(x.v)}; }

inline float sum(Vec a) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(a.v), _mm256_extractf128_ps(a.v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}

inline Vec load(const float* p) { return {_mm256_loadu_ps(p)}; }
inline Vec load(const float* p, Mask m) { return {_mm256_maskload_ps(p, m.bits)}; }
inline void store(float* p, Vec x) { _mm256_storeu_ps(p, x.v); }
inline void store(float* p, Vec x, Mask m) { _mm256_maskstore_ps(p, m.bits, x.v); }

inline Vec widen(__m128i bits, BFloat16) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16))};
}
inline Vec widen(__m128i bits, Half) { return {_mm256_cvtph_ps(bits)}; }

// Round to nearest even; a NaN keeps its upper bits and becomes quiet.
inline __m128i narrow(Vec x, BFloat16) {
  const __m256i bits = _mm256_castps_si256(x.v);
  const __m256i upper = _mm256_srli_epi32(bits, 16);
  const __m256i odd = _mm256_and_si256(upper, _mm256_set1_epi32(1));
  const __m256i bias = _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff));
  const __m256i rounded = _mm256_srli_epi32(_mm256_add_epi32(bits, bias), 16);
  const __m256i quiet = _mm256_or_si256(upper, _mm256_set1_epi32(0x40));
  const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(x.v, x.v, _CMP_UNORD_Q));
  const __m256i wide = _mm256_blendv_epi8(rounded, quiet, nan);
  return _mm_packus_epi32(_mm256_castsi256_si128(wide), _mm256_extracti128_si256(wide, 1));
}
inline __m128i narrow(Vec x, Half) {
  return _mm256_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

template <class T>
inline Vec load(const T* p) {
  return widen(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)), T{});
}
template <class T>
inline Vec load(const T* p, Mask m) {
  alignas(16) T lanes[Vec::kLanes] = {};
  for (int i = 0; i < m.lanes; ++i) lanes[i] = p[i];
  return load(lanes);
}
template <class T>
inline void store(T* p, Vec x) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), narrow(x, T{}));
}
template <class T>
inline void store(T* p, Vec x, Mask m) {
  alignas(16) T lanes[Vec::kLanes];
  store(lanes, x);
  for (int i = 0; i < m.lanes; ++i) p[i] = lanes[i];
}

}  // namespace
}  // namespace ifast::cpu
