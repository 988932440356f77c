#pragma once

#include <string>
#include <string_view>

#include "cpu/conv/problem.h"

namespace ifast::cpu {

// Names everything that decides what an operator packs for a convolution, for a Packer; empty where
// the problem does not say what its constants hold. algorithm: what differs between operators.
std::string packing_key(const ConvProblem& problem, std::string_view algorithm,
                        const Kernels& kernels);

}  // namespace ifast::cpu
