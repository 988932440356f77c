#pragma once

#include <algorithm>

#include "cpu/kernels/portable/vec.h"

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
inline Vec broadcast_integer(int x) { return broadcast(std::bit_cast<float>(x)); }
inline Vec add_integers(Vec a, Vec b) {
  return {std::bit_cast<Vec::Lanes>(std::bit_cast<Integers>(a.v) + std::bit_cast<Integers>(b.v))};
}
inline Vec subtract_integers(Vec a, Vec b) {
  return {std::bit_cast<Vec::Lanes>(std::bit_cast<Integers>(a.v) - std::bit_cast<Integers>(b.v))};
}

// An element that becomes an integer.
struct Whole {
  std::uint8_t value;
};
inline Vec load(const Whole* p, Mask m) {
  Vec x = broadcast_integer(0);
  for (int i = 0; i < m.lanes; ++i) x.v[i] = std::bit_cast<float>(std::uint32_t{p[i].value});
  return x;
}
inline Vec load(const Whole* p) { return load(p, Mask(Vec::kLanes)); }

// Elements as they are.
struct Bytes {
  static constexpr int kLanes = 16;
  Element v[kLanes];

  // The first n of them, n from 1 to kLanes.
  static Bytes load(const Element* p, int n) {
    Bytes x{};
    std::copy_n(p, n, x.v);
    return x;
  }
  void store(Element* p, int n) const { std::copy_n(v, n, p); }
};
inline Bytes broadcast_byte(int x) {
  Bytes result;
  std::fill_n(result.v, Bytes::kLanes, Element{static_cast<std::uint8_t>(x)});
  return result;
}
inline Bytes max(Bytes a, Bytes b) {
  for (int i = 0; i < Bytes::kLanes; ++i) a.v[i].value = std::max(a.v[i].value, b.v[i].value);
  return a;
}

// (a + b + 1) / 2.
inline Bytes average(Bytes a, Bytes b) {
  for (int i = 0; i < Bytes::kLanes; ++i) {
    a.v[i].value = static_cast<std::uint8_t>((a.v[i].value + b.v[i].value + 1) / 2);
  }
  return a;
}
// 255 - a.
inline Bytes complement(Bytes a) {
  for (Element& e : a.v) e.value = static_cast<std::uint8_t>(~e.value);
  return a;
}

// How four vectors of numbers become elements at once.
class Narrowing {
 public:
  Narrowing(bool relu, int zero)
      : least_(broadcast(static_cast<float>(relu ? 0 : -zero))),
        most_(broadcast(static_cast<float>(255 - zero))),
        zero_(broadcast(static_cast<float>(zero))) {}

  // The vectors fill the rows one after the other.
  template <int Rows>
  void store(Element* const (&rows)[Rows], const Vec (&x)[4]) const {
    constexpr int kVectors = 4 / Rows;
    for (int i = 0; i < 4; ++i) {
      Element* to = rows[i / kVectors] + i % kVectors * Vec::kLanes;
      ifast::cpu::store(to, round_to_even(clamp(x[i], least_, most_)) + zero_);
    }
  }

 private:
  Vec least_, most_, zero_;
};

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

// The first n elements as units; what fills the last one up is whatever x has there.
inline void store_units(float* units, Bytes x, int n) {
  constexpr int kUnit = IntegerUnit::kChannels;
  x.store(reinterpret_cast<Element*>(units), (n + kUnit - 1) / kUnit * kUnit);
}

}  // namespace
}  // namespace ifast::cpu
