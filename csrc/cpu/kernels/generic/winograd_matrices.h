#pragma once

// Toom-Cook matrices of one-dimensional Winograd convolution with m outputs, r taps and
// p = m + r - 1 points (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016):
// outputs = A^T [(G taps) * (B^T inputs)].
namespace ifast::cpu {

// The magnitude of point i of p: pairs a, -a after a 0 where p is even; the last point is infinity.
// Found by search over small fractions for the least error in float32; docs/cpu-backend.md has the
// numbers.
constexpr double winograd_magnitude(int points, int pair) {
  constexpr double kSix[] = {2.0 / 3.0, 1.5};
  constexpr double kNine[] = {1.0, 2.0, 2.0 / 3.0, 0.25};
  constexpr double kOthers[] = {1.0, 2.0, 0.5};
  return points == 6 ? kSix[pair] : points == 9 ? kNine[pair] : kOthers[pair];
}

// Whether points i and i + 1 are a and -a.
constexpr bool winograd_starts_pair(int points, int i) {
  return i >= 0 && i < points - 1 && (i + points) % 2 == 1;
}

// Point i, not the last.
constexpr double winograd_point(int points, int i) {
  const int zero = points % 2 == 0 ? 1 : 0;
  if (i < zero) return 0.0;
  const double magnitude = winograd_magnitude(points, (i - zero) / 2);
  return winograd_starts_pair(points, i) ? magnitude : -magnitude;
}

constexpr double winograd_power(int points, int i, int exponent) {
  double x = 1.0;
  for (int k = 0; k < exponent; ++k) x *= winograd_point(points, i);
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
      polynomial[k] = (k > 0 ? polynomial[k - 1] : 0.0) - winograd_point(points, l) * polynomial[k];
    }
  }
  return polynomial[j];
}

// A^T[k][i] of m outputs.
constexpr double winograd_output(int outputs, int points, int k, int i) {
  if (i == points - 1) return k == outputs - 1 ? 1.0 : 0.0;
  return winograd_power(points, i, k);
}

// G[i][k] of r taps.
constexpr double winograd_filter(int taps, int points, int i, int k) {
  if (i == points - 1) return k == taps - 1 ? 1.0 : 0.0;
  double scale = 1.0;
  for (int l = 0; l < points - 1; ++l) {
    if (l != i) scale *= winograd_point(points, i) - winograd_point(points, l);
  }
  return winograd_power(points, i, k) / scale;
}

}  // namespace ifast::cpu
