#pragma once

#include <memory>
#include <string>

#include "cpu/conv_problem.h"

namespace ifast::cpu {

// The operator that a model of cost expects to be the fastest, or the one whose describe() is
// `algorithm` where that can compute the problem.
// strided: the source is the caller's input, whose strides are known only in a call.
std::unique_ptr<Op> choose_conv(ConvProblem problem, bool strided, const std::string& algorithm,
                                const Kernels& kernels, Dtype dtype, WeightStore& store);

}  // namespace ifast::cpu
