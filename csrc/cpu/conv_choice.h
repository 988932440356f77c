#pragma once

#include <memory>
#include <string>

#include "cpu/conv_problem.h"

namespace ifast::cpu {

// The operator that a model of cost expects to be the fastest, or the one whose describe() is
// `algorithm` where that can compute the problem.
// strided: the source is the caller's input, whose strides are known only in a call; in a quantised
// Plan its numbers, for which quantizes_input() must hold.
std::unique_ptr<Op> choose_conv(ConvProblem problem, bool strided, const std::string& algorithm,
                                const Kernels& kernels, Dtype dtype, WeightStore& store);

// Whether a quantised convolution, without a residual, can read the caller's numbers.
bool quantizes_input(const Convolution& conv);

}  // namespace ifast::cpu
