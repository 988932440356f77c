#pragma once

#include <string>
#include <vector>

#include "cpu/kernels/kernels.h"
#include "cpu/ops/op.h"

namespace ifast::cpu {

// Max or average pooling; a task is a group of output pixels.
class PoolOp : public Op {
 public:
  // bias: [C] or empty.
  PoolOp(const PoolStep& step, View source, Target target, std::vector<float> bias,
         const Kernels& kernels);

  Tiling tile(int batch, int threads) const override;
  void run(const Bindings& bindings, const Tiling& tiling, int task,
           Scratch& scratch) const override;
  std::string describe() const override;

 private:
  PoolStep step_;
  View source_;
  Target target_;
  std::vector<float> bias_;
  float scale_ = 1.0f;  // of a quantised result: the source's in units of the target's
  Kernels kernels_;
};

}  // namespace ifast::cpu
