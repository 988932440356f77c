#pragma once

#include "cpu/conv/problem.h"
#include "cpu/conv/winograd_layout.h"

namespace ifast::cpu {

// Relative errors that an algorithm adds to those of direct sums: to the outputs, as noise, and to
// the weights.
struct Rounding {
  double noise = 0;
  double weights = 0;

  // The share of what may be added in the whole Plan; see Sensitivity.
  double share(const Sensitivity& s) const {
    const double of_noise = s.noise * noise, of_weights = s.weights * weights;
    return of_noise * of_noise + of_weights * of_weights;
  }
};

// A tile's error is the rounding of its operands and of the sums of their products, multiplied by
// the norms of the transforms on the way (Barabasz et al., "Error analysis and improving the
// accuracy of Winograd convolution for deep neural networks", 2020). docs/cpu-backend.md compares
// it with measurements.
Rounding rounding_of(const WinogradLayout& layout, const ConvProblem& problem);

}  // namespace ifast::cpu
