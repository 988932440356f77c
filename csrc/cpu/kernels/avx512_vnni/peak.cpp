#include "cpu/kernels/peak.h"

#include <immintrin.h>

#include "cpu/kernels/generic/dot_loop.h"

namespace ifast::cpu {

int dot_loop_avx512_vnni(int steps) {
  const auto step = [](__m512i sum, __m512i a, __m512i b) {
    return _mm512_dpbusd_epi32(sum, a, b);
  };
  return dot_loop(steps, step) * 4;
}

}  // namespace ifast::cpu
