#pragma once

#include <memory>

#include "cpu/conv_problem.h"

namespace ifast::cpu {

// The operator that a model of cost expects to be the fastest.
// strided: the source is the caller's input, whose strides are known only in a call.
std::unique_ptr<Op> choose_conv(ConvProblem problem, bool strided, const Kernels& kernels,
                                Dtype dtype, WeightStore& store);

}  // namespace ifast::cpu
