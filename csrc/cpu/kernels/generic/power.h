#pragma once

#include <cstdint>

#include "cpu/kernels/generic/functions.h"

// Powers of a constant exponent.
namespace ifast::cpu {
namespace {

// Half the lanes of a Vec, in float64: the digits of a logarithm before the point are lost to those
// behind it, and a power needs them.
typedef float HalfLanes __attribute__((vector_size(sizeof(Vec) / 2)));
typedef double Doubles __attribute__((vector_size(sizeof(Vec))));
typedef std::int64_t Longs __attribute__((vector_size(sizeof(Vec))));
typedef std::uint64_t LongBits __attribute__((vector_size(sizeof(Vec))));

constexpr double kLog2 = 0.69314718055994530942;
// Added to a double below 2^51, it leaves the nearest whole number in the last bits.
constexpr double kShift = 0x1.8p52;
constexpr auto kShiftBits = __builtin_bit_cast(std::uint64_t, kShift);

// log(x) of a positive, finite and normal number, to 1e-12 of it.
inline Doubles logarithm(Doubles x) {
  // x = 2^n * m, m from sqrt(1/2) to sqrt(2).
  constexpr std::uint64_t kRoot = 0x3fe6a09e667f3bcdu;
  const LongBits bits = __builtin_bit_cast(LongBits, x), above = bits - kRoot;
  const LongBits n = __builtin_bit_cast(LongBits, __builtin_bit_cast(Longs, above) >> 52);
  const Doubles whole = __builtin_bit_cast(Doubles, n + kShiftBits) - kShift;
  const Doubles m = __builtin_bit_cast(Doubles, bits - (above & 0xfff0000000000000u));
  // log(m) = 2 artanh(s), by its series.
  const Doubles s = (m - 1.0) / (m + 1.0), z = s * s;
  Doubles series = z * (2.0 / 15) + 2.0 / 13;
  for (int k = 11; k > 0; k -= 2) series = series * z + 2.0 / k;
  return series * s + whole * kLog2;
}

// exp(y), |y| < 700, to 1e-10 of it.
inline Doubles exponential(Doubles y) {
  const Doubles shifted = y * (1 / kLog2) + kShift, n = shifted - kShift, r = y - n * kLog2;
  Doubles series = r * (1.0 / 362880) + 1.0 / 40320;
  double factorial = 40320;
  for (int k = 8; k > 0; --k) series = series * r + 1.0 / (factorial /= k);
  const LongBits whole = __builtin_bit_cast(LongBits, shifted);
  return series * __builtin_bit_cast(Doubles, (whole + 1023u) << 52);
}

// |x|^alpha of a finite x that is not zero.
inline HalfLanes power_of_magnitude(HalfLanes x, double alpha) {
  const Doubles wide = __builtin_convertvector(x, Doubles);
  Doubles y = logarithm(wide < 0.0 ? -wide : wide) * alpha;
  // float32 ends long before.
  constexpr Doubles kZero{};
  y = y < -200.0 ? kZero - 200.0 : y;
  y = y > 200.0 ? kZero + 200.0 : y;
  return __builtin_convertvector(exponential(y), HalfLanes);
}

// x^alpha, to half a unit in the last place; NaN^0 is 1.
inline Vec general_power(Vec x, double alpha) {
  if (alpha == 0) return broadcast(1.0f);
  HalfLanes halves[2];
  __builtin_memcpy(halves, &x, sizeof(x));
  for (HalfLanes& half : halves) half = power_of_magnitude(half, alpha);
  Vec power;
  __builtin_memcpy(&power, halves, sizeof(x));

  const Vec infinity = broadcast(__builtin_inff()), zero = broadcast(0.0f);
  const Vec nan = broadcast(__builtin_nanf(""));
  const bool whole = __builtin_trunc(alpha) == alpha;
  const bool odd = whole && __builtin_trunc(alpha / 2) != alpha / 2;
  if (!whole) power = {x.v < 0.0f ? nan.v : power.v};
  power = {x.v == 0.0f ? (alpha > 0 ? zero : infinity).v : power.v};
  power = {magnitude(x).v == infinity.v ? (alpha > 0 ? infinity : zero).v : power.v};
  if (odd) power = with_sign_of(power, x);
  return {x.v != x.v ? x.v : power.v};
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
