#include "cpu/conv/winograd_rounding.h"

#include <algorithm>
#include <cmath>

#include "cpu/kernels/generic/winograd_matrices.h"

namespace ifast::cpu {
namespace {

// Half the distance from 1 to the next number of a dtype, and the root mean square of a rounded
// number's relative error in it.
constexpr double kFloat = 0x1p-24, kBFloat16 = 0x1p-8, kRootMeanSquare = 0.41;
// Of float32 sums of K products, times sqrt(K); and of both transforms together. Measured by
// `python -m benchmarks.winograd_error`.
constexpr double kSum = 0.21, kTransforms = 2.0;

double square(double x) { return x * x; }

// Noise at the products of one axis, each as large as its operands, over noise at a direct sum.
double amplification(int outputs, int taps) {
  const int points = outputs + taps - 1;
  double total = 0;
  for (int i = 0; i < points; ++i) {
    double input = 0, filter = 0, output = 0;
    for (int j = 0; j < points; ++j) input += square(winograd_input(points, i, j));
    for (int j = 0; j < taps; ++j) filter += square(winograd_filter(taps, points, i, j));
    for (int j = 0; j < outputs; ++j) output += square(winograd_output(outputs, points, j, i));
    total += input * filter * output;
  }
  return std::sqrt(total / (outputs * taps));
}

}  // namespace

Rounding rounding_of(const WinogradLayout& layout, const ConvProblem& problem) {
  const WinogradSize& size = layout.size();
  const double axis = amplification(size.outputs, size.taps());
  const double amplified = size.dimensions == 2 ? axis * axis : axis;
  const double sums = static_cast<double>(layout.groups.size()) * problem.in_channels;
  const double direct = square(kSum * kFloat) * problem.tap_count() * problem.in_channels;
  double noise = square(kFloat) * (square(kSum) * sums + square(kTransforms));
  // Operands of direct products are rounded already.
  const double operand = kRootMeanSquare * (layout.dot ? kBFloat16 : kFloat);
  if (layout.dot) noise += square(operand);
  return {std::sqrt(std::max(0.0, square(amplified) * noise - direct)), amplified * operand};
}

}  // namespace ifast::cpu
