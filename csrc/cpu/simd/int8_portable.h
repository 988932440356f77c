#pragma once

#include "cpu/simd/vec_portable.h"

// What quantised Plans need of a vector beside float32 arithmetic. Sums of integers lie in the same
// registers: a Vec then holds the bits of 4 int32, here added without sign, lest an overflow be
// undefined.
namespace ifast::cpu {
namespace {

typedef std::uint32_t Integers __attribute__((vector_size(Vec::kLanes * sizeof(std::uint32_t))));

// The bounds are never NaN; a NaN in x becomes the lower one.
inline Vec clamp(Vec x, Vec least, Vec most) {
  const Vec::Lanes bounded = x.v > least.v ? x.v : least.v;
  return {bounded < most.v ? bounded : most.v};
}
// For |x| below 2^22: there the sum has no bits after the point.
inline Vec round_to_even(Vec x) {
  const Vec::Lanes shifted = x.v + 0x1.8p23f;
  return {shifted - 0x1.8p23f};
}
inline Vec divide(Vec a, Vec b) { return {a.v / b.v}; }

inline Vec integers_to_floats(Vec x) {
  Vec result;
  for (int i = 0; i < Vec::kLanes; ++i) {
    result.v[i] = static_cast<float>(std::bit_cast<std::int32_t>(x.v[i]));
  }
  return result;
}
inline Vec floats_to_integers(Vec x) {
  Vec result;
  for (int i = 0; i < Vec::kLanes; ++i) {
    result.v[i] = std::bit_cast<float>(static_cast<std::int32_t>(x.v[i]));
  }
  return result;
}
inline Vec add_integers(Vec a, Vec b) {
  return {std::bit_cast<Vec::Lanes>(std::bit_cast<Integers>(a.v) + std::bit_cast<Integers>(b.v))};
}

// A unit is four elements, and four weights for each lane.
struct IntegerUnit {
  static constexpr int kChannels = 4;

  static Vec load_weights(const char* b) { return load(reinterpret_cast<const float*>(b)); }
  static Vec load_pixel(const float* a) { return broadcast(*a); }
  static Vec multiply_add(Vec pixel, Vec weights, Vec sum) {
    auto elements = std::bit_cast<Integers>(pixel.v), factors = std::bit_cast<Integers>(weights.v);
    auto total = std::bit_cast<Integers>(sum.v);
    for (int lane = 0; lane < Vec::kLanes; ++lane) {
      for (int i = 0; i < kChannels; ++i) {
        const int element = elements[lane] >> 8 * i & 255;
        total[lane] += element * static_cast<std::int8_t>(factors[lane] >> 8 * i);
      }
    }
    return {std::bit_cast<Vec::Lanes>(total)};
  }

  static void gather(const Element* from, float* units, int n) {
    auto* to = reinterpret_cast<Element*>(units);
    for (int i = 0; i < n; ++i) to[i] = from[i];
    for (int i = n; i % kChannels != 0; ++i) to[i].value = 0;
  }
};

}  // namespace
}  // namespace ifast::cpu
