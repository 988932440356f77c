#pragma once

#include <cstdint>

// Functions of the lanes of a Vec, within a few units in the last place, written over the vector
// extension of GCC and Clang. NaN stays NaN; infinities, zeros and numbers whose result is too
// large or too small give what PyTorch does.
namespace ifast::cpu {
namespace {

using Lanes = decltype(Vec::v);
typedef std::int32_t Ints __attribute__((vector_size(sizeof(Vec))));
typedef std::uint32_t Bits __attribute__((vector_size(sizeof(Vec))));

inline Bits bits_of(Vec x) { return __builtin_bit_cast(Bits, x.v); }
inline Vec from_bits(Bits bits) { return {__builtin_bit_cast(Lanes, bits)}; }

inline Vec operator/(Vec a, Vec b) { return {a.v / b.v}; }
inline Vec magnitude(Vec x) { return from_bits(bits_of(x) & 0x7fffffffu); }
inline Vec negative_magnitude(Vec x) { return from_bits(bits_of(x) | 0x80000000u); }
inline Vec with_sign_of(Vec x, Vec sign) {
  return from_bits(bits_of(x) | (bits_of(sign) & 0x80000000u));
}

// Coefficients from the constant one up.
template <int N>
inline Vec polynomial(Vec x, const float (&c)[N]) {
  Vec y = broadcast(c[N - 1]);
  for (int i = N - 2; i >= 0; --i) y = fma(y, x, broadcast(c[i]));
  return y;
}

// x = n * log(2) + rest, |rest| at most about log(2) / 2.
struct Reduced {
  Vec n;
  Bits whole;  // n as int32
  Vec rest;
};

// |x| < 2^13.
inline Reduced reduce(Vec x) {
  constexpr float kLog2E = 1.44269504f;
  // log(2) in two parts, of which the first has so few bits that n times it is exact.
  constexpr float kHigh = 0x1.63p-1f, kLow = -2.12194440e-4f;
  // Adding it leaves the nearest whole number in the last bits.
  const Vec shift = broadcast(0x1.8p23f);
  const Vec shifted = fma(x, broadcast(kLog2E), shift);
  const Vec n = shifted - shift;
  return {n, bits_of(shifted) - bits_of(shift),
          fma(n, broadcast(-kLow), fma(n, broadcast(-kHigh), x))};
}

// exp(x) - 1 for |x| up to 0.37, where a fit of (exp(x) - 1 - x) / x^2 is wrong by 2e-8 / |x|.
inline Vec small_exp_minus_one(Vec x) {
  return fma(x * x,
             polynomial(x, {0.5f, 0.16666510701179504f, 0.041666179895401f, 0.00837069470435381f,
                            0.0013953567249700427f}),
             x);
}

// 2^n, n from -126 to 127.
inline Vec power_of_two(Bits n) { return from_bits((n + 127u) << 23); }

// y * 2^n, n from -252 to 254; NaN where y is.
inline Vec times_power_of_two(Vec y, const Reduced& r) {
#ifdef __AVX512F__
  return {_mm512_scalef_ps(y.v, r.n.v)};
#else
  // In two steps, for 2^n itself may be neither finite nor normal.
  const Bits half = __builtin_bit_cast(Bits, __builtin_bit_cast(Ints, r.whole) >> 1);
  return y * power_of_two(half) * power_of_two(r.whole - half);
#endif
}

// Of numbers from which on the result is zero or infinite, as of those.
inline Reduced reduce_to_range(Vec x) { return reduce(at_most(at_least(x, -104.0f), 89.0f)); }

inline Vec exponential(const Reduced& r) {
  return times_power_of_two(small_exp_minus_one(r.rest) + broadcast(1.0f), r);
}

inline Vec exponential(Vec x) { return exponential(reduce_to_range(x)); }

// exp(x + more), |more| being small.
inline Vec exponential(Vec x, Vec more) {
  Reduced r = reduce_to_range(x);
  r.rest = r.rest + more;
  return exponential(r);
}

// exp(x) - 1 of a number that is not positive; of others anything.
inline Vec exponential_minus_one(Vec x) {
  const Reduced r = reduce(at_least(x, -30.0f));
  const Vec scale = power_of_two(r.whole);
  return fma(small_exp_minus_one(r.rest), scale, scale - broadcast(1.0f));
}

inline Vec tanh(Vec x) {
  const Vec t = exponential_minus_one(broadcast(-2.0f) * magnitude(x));
  return with_sign_of(magnitude(t) / (broadcast(2.0f) + t), x);
}

inline Vec sigmoid(Vec x) {
  const Vec one = broadcast(1.0f), e = exponential(negative_magnitude(x));
  return Vec{x.v < 0.0f ? e.v : one.v} / (one + e);
}

inline Vec silu(Vec x) { return x * sigmoid(x); }

// x * Phi(x) as max(x, 0) - t * Phi(-t), t = |x|, which loses no digits where it is small. Phi(-t)
// is exp(-t^2 / 2) times a smooth function, fitted as a polynomial of (t - 3) / (t + 3).
inline Vec gelu(Vec x) {
  constexpr float kEnd = 16.0f;  // where Phi(-t) is zero
  const Vec t = at_most(magnitude(x), kEnd);
  const Vec s = (t - broadcast(3.0f)) / (t + broadcast(3.0f));
  const Vec smooth = polynomial(
      s, {0.12151394784450531f, -0.20640262961387634f, 0.12322507798671722f, -0.046213168650865555f,
          0.006131546571850777f, 0.002903840271756053f, -0.0009819132974371314f,
          -0.0003375964006409049f, 0.00011354771413607523f, 0.00005174713805899955f});
  // t^2 in two parts: of the upper half of the digits it is exact.
  const Vec upper = from_bits(bits_of(t) & 0xfffff000u);
  const Vec lower = (t - upper) * (t + upper);
  const Vec half = broadcast(-0.5f);
  const Vec tail = exponential(half * upper * upper, half * lower) * smooth;
  const Vec y = relu(x) - magnitude(x) * tail;
  return {x.v > kEnd ? x.v : y.v};
}

inline Vec gelu_tanh(Vec x) {
  constexpr float kTwoRootsOfTwoOverPi = 1.59576912f;
  const Vec cubic = fma(x * x * x, broadcast(0.044715f), x);
  return x * sigmoid(broadcast(kTwoRootsOfTwoOverPi) * cubic);
}

inline Vec hard_sigmoid(Vec x) {
  return at_most(at_least(x + broadcast(3.0f), 0.0f), 6.0f) * broadcast(1.0f / 6.0f);
}

inline Vec hard_swish(Vec x) { return x * hard_sigmoid(x); }

inline Vec elu(Vec x, float alpha) {
  const Vec below = broadcast(alpha) * exponential_minus_one(x);
  return {x.v > 0.0f ? x.v : below.v};
}

inline Vec leaky_relu(Vec x, Vec slope) {
  const Vec below = slope * x;
  return {x.v > 0.0f ? x.v : below.v};
}

}  // namespace
}  // namespace ifast::cpu
