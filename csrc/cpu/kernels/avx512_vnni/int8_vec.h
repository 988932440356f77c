#pragma once

#include "cpu/kernels/avx512/vec.h"

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
inline Vec subtract_integers(Vec a, Vec b) {
  return {
      _mm512_castsi512_ps(_mm512_sub_epi32(_mm512_castps_si512(a.v), _mm512_castps_si512(b.v)))};
}
inline Vec broadcast_integer(int x) { return {_mm512_castsi512_ps(_mm512_set1_epi32(x))}; }

// An element that becomes an integer.
struct Whole {
  std::uint8_t value;
};
inline Vec load(const Whole* p) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return {_mm512_castsi512_ps(_mm512_cvtepu8_epi32(bytes))};
}
inline Vec load(const Whole* p, Mask m) {
  return {_mm512_castsi512_ps(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(m.bits, p)))};
}

// Elements as they are.
struct Bytes {
  static constexpr int kLanes = 64;
  __m512i v;

  // The first n of them, n from 1 to kLanes.
  static __mmask64 first(int n) { return ~0ull >> (64 - n); }
  static Bytes load(const Element* p, int n) { return {_mm512_maskz_loadu_epi8(first(n), p)}; }
  void store(Element* p, int n) const { _mm512_mask_storeu_epi8(p, first(n), v); }
};
inline Bytes broadcast_byte(int x) { return {_mm512_set1_epi8(static_cast<char>(x))}; }
inline Bytes max(Bytes a, Bytes b) { return {_mm512_max_epu8(a.v, b.v)}; }
// (a + b + 1) / 2.
inline Bytes average(Bytes a, Bytes b) { return {_mm512_avg_epu8(a.v, b.v)}; }
// 255 - a.
inline Bytes complement(Bytes a) { return {_mm512_ternarylogic_epi32(a.v, a.v, a.v, 0x55)}; }

// How four vectors of numbers become elements at once: the instructions that pack integers clamp
// them, which leaves the rounding and the zero.
class Narrowing {
 public:
  Narrowing(bool relu, int zero)
      : most_(broadcast(255)),
        zero_(_mm512_set1_epi16(static_cast<short>(zero))),
        least_(_mm512_set1_epi8(static_cast<char>(relu ? zero : 0))) {}

  // The vectors fill the rows one after the other.
  template <int Rows>
  void store(Element* const (&rows)[Rows], const Vec (&x)[4]) const {
    const __m512i first = _mm512_packs_epi32(integers(x[0]), integers(x[1]));
    const __m512i second = _mm512_packs_epi32(integers(x[2]), integers(x[3]));
    __m512i bytes =
        _mm512_packus_epi16(_mm512_adds_epi16(first, zero_), _mm512_adds_epi16(second, zero_));
    // Packed are quarters of the vectors: the first of each, the second of each.
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    bytes = _mm512_permutexvar_epi32(order, _mm512_max_epu8(bytes, least_));
    if constexpr (Rows == 2) {
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(rows[0]), _mm512_castsi512_si256(bytes));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(rows[1]), _mm512_extracti64x4_epi64(bytes, 1));
    } else {
      static_assert(Rows == 4);
      const auto at = [&](int i) { return reinterpret_cast<__m128i*>(rows[i]); };
      _mm_storeu_si128(at(0), _mm512_castsi512_si128(bytes));
      _mm_storeu_si128(at(1), _mm512_extracti32x4_epi32(bytes, 1));
      _mm_storeu_si128(at(2), _mm512_extracti32x4_epi32(bytes, 2));
      _mm_storeu_si128(at(3), _mm512_extracti32x4_epi32(bytes, 3));
    }
  }

 private:
  // Too large a number has no integer, nor does NaN, which the bound leaves as it is: the
  // conversion gives both, and what is too small, the least one.
  __m512i integers(Vec x) const { return _mm512_cvtps_epi32(_mm512_min_ps(most_.v, x.v)); }

  Vec most_;
  __m512i zero_, least_;
};

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
      Bytes::load(from + i, rest).store(to + i, whole);
    }
  }
};

// The first n elements as units; what fills the last one up is whatever x has there.
inline void store_units(float* units, Bytes x, int n) {
  constexpr int kUnit = IntegerUnit::kChannels;
  if (n == Bytes::kLanes) {
    _mm512_storeu_si512(units, x.v);
  } else {
    x.store(reinterpret_cast<Element*>(units), (n + kUnit - 1) / kUnit * kUnit);
  }
}

}  // namespace
}  // namespace ifast::cpu
