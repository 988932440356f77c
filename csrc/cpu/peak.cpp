#include "cpu/peak.h"

#include <algorithm>
#include <chrono>

#include "cpu/kernels.h"

namespace ifast::cpu {

double peak_flops(Isa isa, double seconds) {
  using Clock = std::chrono::steady_clock;
  const Kernels kernels = kernels_for(isa, Dtype::kFloat32);
  constexpr int kSteps = 20000;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  double best = 0;
  do {
    const auto start = Clock::now();
    const int operations = kernels.multiply_add_loop(kSteps);
    const std::chrono::duration<double> took = Clock::now() - start;
    best = std::max(best, operations * 1.0 * kSteps / took.count());
  } while (Clock::now() < end);
  return best;
}

}  // namespace ifast::cpu
