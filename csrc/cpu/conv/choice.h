#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cpu/conv/problem.h"
#include "cpu/conv/winograd_layout.h"

namespace ifast::cpu {

// A way to compute a convolution of numbers.
struct ConvCandidate {
  std::optional<WinogradLayout> layout;  // or direct
  double cost = 0;                       // processor cycles of one image
  double share = 0;                      // of the rounding that may be added in the whole Plan
};

// The direct one first. The problem needs no weights for it; strided as below.
std::vector<ConvCandidate> conv_candidates(const ConvProblem& problem, bool strided,
                                           const Kernels& kernels, Dtype dtype);

// The least price, in cycles for the whole of what may be added, at which the cheapest candidates
// of all convolutions together stay within it.
double share_price(const std::vector<std::vector<ConvCandidate>>& convs);

// Cycles of one image that a convolution of the caller's input, of numbers, saves where the input
// is copied to NHWC first. Its candidates are those for a source that is not strided.
double copy_gain(const ConvProblem& problem, const std::vector<ConvCandidate>& candidates,
                 double share_price);

// Cycles of that copy.
double copy_cost(const View& input, const Kernels& kernels);

// How to choose: `algorithm`, the describe() of an operator, is taken where it can compute the
// problem, and everything else is direct then.
struct ConvChoice {
  std::string algorithm;
  double share_price = 0;
};

// The operator that a model of cost expects to be the fastest.
// strided: the source is the caller's input, whose strides are known only in a call; in a quantised
// Plan its numbers, for which quantizes_input() must hold.
std::unique_ptr<Op> choose_conv(ConvProblem problem, bool strided, const ConvChoice& choice,
                                const Kernels& kernels, Dtype dtype, WeightStore& store);

// Whether a quantised convolution, without a residual, can read the caller's numbers.
bool quantizes_input(const Convolution& conv);

}  // namespace ifast::cpu
