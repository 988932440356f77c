#include "cpu/kernels/peak.h"

#include <immintrin.h>

#include "cpu/kernels/generic/dot_loop.h"

namespace ifast::cpu {

int dot_loop_avx512_bf16(int steps) {
  const auto step = [](__m512i sum, __m512i a, __m512i b) {
    return _mm512_castps_si512(
        _mm512_dpbf16_ps(_mm512_castsi512_ps(sum), (__m512bh)a, (__m512bh)b));
  };
  return dot_loop(steps, step) * 2;
}

}  // namespace ifast::cpu
