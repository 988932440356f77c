#pragma once

#include <string>
#include <vector>

#include "cpu/kernels/kernels.h"
#include "cpu/ops/op.h"

namespace ifast::cpu {

// A convolution of each channel by itself; a task is a group of output pixels, or some channels of
// them. Taps outside the image are left out of the sums, which are in the order of the taps.
class DepthwiseOp : public Op {
 public:
  // weights: [taps][channels]; bias: [channels] or empty.
  DepthwiseOp(const DepthwiseStep& step, View source, Target target, std::vector<float> weights,
              std::vector<float> bias, const Kernels& kernels);

  Tiling tile(int batch, int threads) const override;
  void run(const Bindings& bindings, const Tiling& tiling, int task,
           Scratch& scratch) const override;
  std::string describe() const override { return "depthwise"; }

 private:
  int vectors() const { return (source_.channels + kernels_.lanes - 1) / kernels_.lanes; }

  std::vector<Pair> taps_;
  Pair stride_;
  View source_;
  Target target_;
  std::vector<float> weights_;
  std::vector<float> bias_;
  int run_;       // taps side by side that all of them consist of
  Range inside_;  // columns of the output whose windows no vertical edge of the image cuts
  Kernels kernels_;
};

}  // namespace ifast::cpu
