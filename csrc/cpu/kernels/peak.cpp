#include "cpu/kernels/peak.h"

#include <algorithm>
#include <chrono>

#include "cpu/kernels/kernels.h"

namespace ifast::cpu {
namespace {

using Loop = int (*)(int steps);

// Null where there is none.
Loop loop_for(Isa isa, Arithmetic arithmetic) {
  switch (arithmetic) {
    case Arithmetic::kFloat32:
      return kernels_for(isa, Dtype::kFloat32).multiply_add_loop;
    case Arithmetic::kBFloat16:
#ifdef IFAST_HAVE_AVX512_BF16
      if (has_bf16_dot()) return dot_loop_avx512_bf16;
#endif
      break;
    case Arithmetic::kInt8:
#ifdef IFAST_HAVE_AVX512_VNNI
      if (has_int8_dot()) return dot_loop_avx512_vnni;
#endif
      break;
  }
  return nullptr;
}

}  // namespace

double peak_operations(Isa isa, Arithmetic arithmetic, double seconds) {
  using Clock = std::chrono::steady_clock;
  const Loop loop = loop_for(isa, arithmetic);
  if (loop == nullptr) return 0;
  constexpr int kSteps = 20000;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  double best = 0;
  do {
    const auto start = Clock::now();
    const int operations = loop(kSteps);
    const std::chrono::duration<double> took = Clock::now() - start;
    best = std::max(best, operations * 1.0 * kSteps / took.count());
  } while (Clock::now() < end);
  return best;
}

}  // namespace ifast::cpu
