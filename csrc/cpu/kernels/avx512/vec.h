#pragma once

// GCC 12 warns of its own intrinsics, whose pass-through operand is undefined on purpose.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

#include "cpu/base/dtypes.h"

namespace ifast::cpu {
namespace {

// 28 accumulators, 2 weights and 1 broadcast pixel fill 31 of the 32 registers.
constexpr int kGemmRows = 14;
constexpr int kGemmVectors = 2;

struct Vec {
  static constexpr int kLanes = 16;
  __m512 v;
};

// The first n lanes, n from 0 to kLanes.
struct Mask {
  explicit Mask(int n) : bits(static_cast<__mmask16>((1u << n) - 1u)) {}
  __mmask16 bits;
};

inline Vec broadcast(float x) { return {_mm512_set1_ps(x)}; }
inline Vec operator+(Vec a, Vec b) { return {_mm512_add_ps(a.v, b.v)}; }
inline Vec operator-(Vec a, Vec b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline Vec operator*(Vec a, Vec b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline Vec fma(Vec a, Vec b, Vec c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }

// The instruction returns its second operand when either is NaN, so a NaN in x stays.
inline Vec at_least(Vec x, float y) { return {_mm512_max_ps(_mm512_set1_ps(y), x.v)}; }
inline Vec at_most(Vec x, float y) { return {_mm512_min_ps(_mm512_set1_ps(y), x.v)}; }
inline Vec relu(Vec x) { return at_least(x, 0.0f); }

inline Vec max_or_nan(Vec a, Vec b) {
  const __mmask16 keep = _mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q);
  return {_mm512_mask_mov_ps(_mm512_max_ps(a.v, b.v), keep, a.v)};
}

inline Vec square_root(Vec x) { return {_mm512_sqrt_ps(x.v)}; }

inline float sum(Vec a) { return _mm512_reduce_add_ps(a.v); }

inline Vec load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline Vec load(const float* p, Mask m) { return {_mm512_maskz_loadu_ps(m.bits, p)}; }
inline void store(float* p, Vec x) { _mm512_storeu_ps(p, x.v); }
inline void store(float* p, Vec x, Mask m) { _mm512_mask_storeu_ps(p, m.bits, x.v); }

inline Vec widen(__m256i bits, BFloat16) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16))};
}
inline Vec widen(__m256i bits, Half) { return {_mm512_cvtph_ps(bits)}; }

// Round to nearest even; a NaN keeps its upper bits and becomes quiet.
inline __m256i narrow(Vec x, BFloat16) {
#ifdef __AVX512BF16__
  // Subnormals become zero, as they do in the dot product.
  return reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x.v));
#else
  const __m512i bits = _mm512_castps_si512(x.v);
  const __m512i upper = _mm512_srli_epi32(bits, 16);
  const __m512i odd = _mm512_and_si512(upper, _mm512_set1_epi32(1));
  const __m512i bias = _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff));
  const __m512i rounded = _mm512_srli_epi32(_mm512_add_epi32(bits, bias), 16);
  const __m512i quiet = _mm512_or_si512(upper, _mm512_set1_epi32(0x40));
  const __mmask16 nan = _mm512_cmp_ps_mask(x.v, x.v, _CMP_UNORD_Q);
  return _mm512_cvtepi32_epi16(_mm512_mask_mov_epi32(rounded, nan, quiet));
#endif
}
inline __m256i narrow(Vec x, Half) {
  return _mm512_cvtps_ph(x.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

template <class T>
inline Vec load(const T* p) {
  return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)), T{});
}
template <class T>
inline Vec load(const T* p, Mask m) {
  return widen(_mm256_maskz_loadu_epi16(m.bits, p), T{});
}
template <class T>
inline void store(T* p, Vec x) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), narrow(x, T{}));
}
template <class T>
inline void store(T* p, Vec x, Mask m) {
  _mm256_mask_storeu_epi16(p, m.bits, narrow(x, T{}));
}

}  // namespace
}  // namespace ifast::cpu
