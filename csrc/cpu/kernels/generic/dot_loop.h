#pragma once

#include <immintrin.h>

#include "cpu/kernels/generic/unroll.h"

namespace ifast::cpu {
namespace {

// Runs sum = step(sum, a, b) over enough independent sums to hide the latency of one; returns the
// operations of a step, of each product in a lane.
template <class Step>
int dot_loop(int steps, Step step) {
  constexpr int kSums = 12;
  constexpr int kLanes = 16;
  // The compiler must not know the operands, or it would compute the loop itself.
  volatile int unknown = 0;
  const __m512i a = _mm512_set1_epi32(unknown), b = a;
  __m512i sums[kSums];
  unroll<kSums>([&](auto j) { sums[j.value] = _mm512_set1_epi32(unknown + j.value); });
  for (int i = 0; i < steps; ++i) {
    unroll<kSums>([&](auto j) { sums[j.value] = step(sums[j.value], a, b); });
  }
  unroll<kSums>([&](auto j) { unknown = unknown + _mm512_cvtsi512_si32(sums[j.value]); });
  return kSums * kLanes * 2;
}

}  // namespace
}  // namespace ifast::cpu
