#include "cpu/conv_choice.h"

#include <utility>

#include "cpu/direct_conv.h"

namespace ifast::cpu {

std::unique_ptr<Op> choose_conv(ConvProblem problem, bool, const Kernels& kernels, Dtype dtype,
                                WeightStore& store) {
  return std::make_unique<DirectConv>(std::move(problem), kernels, dtype, store);
}

}  // namespace ifast::cpu
