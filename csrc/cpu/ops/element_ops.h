#pragma once

#include <string>

#include "cpu/kernels/kernels.h"
#include "cpu/ops/op.h"

// Between the elements of quantised buffers and the numbers that they stand for; a task is a group
// of pixels.
namespace ifast::cpu {

// Numbers, in any strides, to elements of the target's scale and zero.
class QuantizeOp : public Op {
 public:
  QuantizeOp(View source, Target target, const Kernels& kernels)
      : source_(source), target_(target), kernels_(kernels) {}

  Tiling tile(int batch, int threads) const override;
  void run(const Bindings& bindings, const Tiling& tiling, int task,
           Scratch& scratch) const override;
  std::string describe() const override { return "to int8"; }

 private:
  View source_;
  Target target_;
  Kernels kernels_;
};

class DequantizeOp : public Op {
 public:
  DequantizeOp(View source, View target, const Kernels& kernels)
      : source_(source), target_(target), kernels_(kernels) {}

  Tiling tile(int batch, int threads) const override;
  void run(const Bindings& bindings, const Tiling& tiling, int task,
           Scratch& scratch) const override;
  std::string describe() const override { return "from int8"; }

 private:
  View source_;
  View target_;
  Kernels kernels_;
};

}  // namespace ifast::cpu
