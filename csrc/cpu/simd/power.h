#pragma once

#include <cstdint>

#include "cpu/simd/functions.h"

// Powers of a constant exponent.
namespace ifast::cpu {
namespace {

// log(x) of a positive, finite and normal number, to 1e-12 of it. Without branches, as what follows
// it, so that loops over it become vectors.
inline double logarithm(double x) {
  // x = 2^n * m, m from sqrt(1/2) to sqrt(2).
  constexpr std::uint64_t kRoot = 0x3fe6a09e667f3bcdu;
  const auto bits = __builtin_bit_cast(std::uint64_t, x);
  const std::uint64_t above = bits - kRoot;
  const std::int32_t n = static_cast<std::int32_t>(above >> 32) >> 20;
  const double m = __builtin_bit_cast(double, bits - (above & 0xfff0000000000000u));
  // log(m) = 2 artanh(s), by its series.
  const double s = (m - 1) / (m + 1), z = s * s;
  double series = 2.0 / 15;
  series = series * z + 2.0 / 13;
  series = series * z + 2.0 / 11;
  series = series * z + 2.0 / 9;
  series = series * z + 2.0 / 7;
  series = series * z + 2.0 / 5;
  series = series * z + 2.0 / 3;
  series = series * z + 2.0;
  return series * s + n * 0.69314718055994530942;
}

// exp(y), |y| < 700, to 1e-10 of it.
inline double exponential(double y) {
  const double shift = 0x1.8p52, shifted = y * 1.44269504088896340736 + shift;
  const double n = shifted - shift, r = y - n * 0.69314718055994530942;
  double series = 1.0 / 362880;
  series = series * r + 1.0 / 40320;
  series = series * r + 1.0 / 5040;
  series = series * r + 1.0 / 720;
  series = series * r + 1.0 / 120;
  series = series * r + 1.0 / 24;
  series = series * r + 1.0 / 6;
  series = series * r + 0.5;
  series = series * r + 1.0;
  series = series * r + 1.0;
  const std::uint64_t whole = __builtin_bit_cast(std::uint64_t, shifted);
  return series * __builtin_bit_cast(double, (whole + 1023u) << 52);
}

// |x|^alpha, alpha not zero.
inline float power_of_magnitude(float x, double alpha) {
  constexpr double kInfinite = 1e300;
  const double wide = __builtin_fabs(static_cast<double>(x));
  double log = logarithm(wide);
  log = wide == 0 ? -kInfinite : log;
  log = wide > 3.5e38 ? kInfinite : log;
  double y = alpha * log;
  // float32 ends long before.
  y = y < -200 ? -200 : y;
  y = y > 200 ? 200 : y;
  const float power = static_cast<float>(exponential(y));
  return x != x ? x : power;
}

// What a negative x makes of its magnitude's power.
inline float with_sign(float x, float power, bool whole, bool odd) {
  const bool negative = __builtin_bit_cast(std::uint32_t, x) >> 31;
  const float nan = whole || x == 0 || x < -3.4028235e38f ? power : __builtin_nanf("");
  return negative ? (odd ? -power : nan) : power;
}

// x^alpha, to half a unit in the last place; NaN^0 is 1.
inline Vec general_power(Vec x, double alpha) {
  if (alpha == 0) return broadcast(1.0f);
  const bool whole = __builtin_trunc(alpha) == alpha;
  const bool odd = whole && __builtin_trunc(alpha / 2) != alpha / 2;
  alignas(sizeof(Vec)) float lanes[Vec::kLanes];
  store(lanes, x);
  for (float& lane : lanes) lane = with_sign(lane, power_of_magnitude(lane, alpha), whole, odd);
  return load(lanes);
}

// Exponents that PyTorch has ways of its own for, whose zeros and infinities have other signs.
inline Vec power(Vec x, double alpha) {
  const Vec one = broadcast(1.0f);
  if (alpha == 0.5) return square_root(x);
  if (alpha == 2) return x * x;
  if (alpha == 3) return x * x * x;
  if (alpha == -0.5) return one / square_root(x);
  if (alpha == -1) return one / x;
  if (alpha == -2) return one / x * (one / x);
  return general_power(x, alpha);
}

// x^beta, where the way is free to choose: 3/4 is the exponent of most local response norms.
inline Vec norm_power(Vec x, double beta) {
  if (beta == 0.75) {
    const Vec root = square_root(x);
    return root * square_root(root);
  }
  return beta == 1 ? x : power(x, beta);
}

}  // namespace
}  // namespace ifast::cpu
