#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cpu/kernels/kernels.h"
#include "cpu/ops/op.h"

// Steps that compute each output pixel from a few input pixels; a task is a group of output pixels.
namespace ifast::cpu {

class PointwiseOp : public Op {
 public:
  // scale, shift: [C] or empty.
  PointwiseOp(View source, Target target, std::vector<float> scale, std::vector<float> shift,
              std::optional<View> other, const Kernels& kernels);

  Tiling tile(int batch, int threads) const override;
  void run(const Bindings& bindings, const Tiling& tiling, int task,
           Scratch& scratch) const override;
  std::string describe() const override { return "pointwise"; }

 private:
  View source_;
  Target target_;
  std::vector<float> scale_, shift_;
  std::optional<View> other_;
  Kernels kernels_;
};

class ResizeOp : public Op {
 public:
  ResizeOp(View source, Target target, bool align_corners, const Kernels& kernels);

  Tiling tile(int batch, int threads) const override;
  void run(const Bindings& bindings, const Tiling& tiling, int task,
           Scratch& scratch) const override;
  std::string describe() const override { return "bilinear"; }

 private:
  View source_;
  Target target_;
  bool align_corners_;
  Kernels kernels_;
};

class NormalizeOp : public Op {
 public:
  NormalizeOp(View source, Target target, float eps, const Kernels& kernels);

  Tiling tile(int batch, int threads) const override;
  void run(const Bindings& bindings, const Tiling& tiling, int task,
           Scratch& scratch) const override;
  std::string describe() const override { return "L2 norm"; }

 private:
  View source_;
  Target target_;
  float eps_;
  Kernels kernels_;
};

// The caller's input, in any strides, as NHWC.
class CopyInputOp : public Op {
 public:
  CopyInputOp(View source, View target) : source_(source), target_(target) {}

  Tiling tile(int batch, int threads) const override;
  void run(const Bindings& bindings, const Tiling& tiling, int task,
           Scratch& scratch) const override;
  std::string describe() const override { return "copy to NHWC"; }

 private:
  View source_;
  View target_;
};

}  // namespace ifast::cpu
