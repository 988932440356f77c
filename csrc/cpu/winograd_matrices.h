#pragma once

// Toom-Cook matrices of one-dimensional Winograd convolution with m outputs, r taps and
// p = m + r - 1 points (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016):
// outputs = A^T [(G taps) * (B^T inputs)]. The last point is infinity. Doubles, exact for B^T and
// A^T.
namespace ifast::cpu {

// 0 and mirrored pairs, which share their additions. Seven finite points keep the error of a layer
// in float32 at 1e-6 (relative L2) for each axis; an eighth triples it.
inline constexpr double kWinogradPoints[] = {0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5};

constexpr double winograd_power(int point, int exponent) {
  double x = 1.0;
  for (int i = 0; i < exponent; ++i) x *= kWinogradPoints[point];
  return x;
}

// B^T[i][j]: the coefficient of x^j in the product of (x - point) over the finite points but i.
constexpr double winograd_input(int points, int i, int j) {
  double polynomial[16] = {1.0};
  int degree = 0;
  for (int l = 0; l < points - 1; ++l) {
    if (l == i) continue;
    ++degree;
    for (int k = degree; k >= 0; --k) {
      polynomial[k] = (k > 0 ? polynomial[k - 1] : 0.0) - kWinogradPoints[l] * polynomial[k];
    }
  }
  return polynomial[j];
}

// A^T[k][i] of m outputs.
constexpr double winograd_output(int outputs, int points, int k, int i) {
  if (i == points - 1) return k == outputs - 1 ? 1.0 : 0.0;
  return winograd_power(i, k);
}

// G[i][k] of r taps.
constexpr double winograd_filter(int taps, int points, int i, int k) {
  if (i == points - 1) return k == taps - 1 ? 1.0 : 0.0;
  double scale = 1.0;
  for (int l = 0; l < points - 1; ++l) {
    if (l != i) scale *= kWinogradPoints[i] - kWinogradPoints[l];
  }
  return winograd_power(i, k) / scale;
}

}  // namespace ifast::cpu
