#pragma once

#include <string>

#include "cpu/kernels/kernels.h"
#include "cpu/ops/op.h"

// Steps along the channels of each pixel, and gates; a task is a group of pixels.
namespace ifast::cpu {

class SoftmaxOp : public Op {
 public:
  SoftmaxOp(View source, Target target, bool log, const Kernels& kernels);

  Tiling tile(int batch, int threads) const override;
  void run(const Bindings& bindings, const Tiling& tiling, int task,
           Scratch& scratch) const override;
  std::string describe() const override { return log_ ? "log softmax" : "softmax"; }

 private:
  View source_;
  Target target_;
  bool log_;
  Kernels kernels_;
};

class LocalResponseOp : public Op {
 public:
  LocalResponseOp(const LocalResponseStep& step, View source, Target target,
                  const Kernels& kernels);

  Tiling tile(int batch, int threads) const override;
  void run(const Bindings& bindings, const Tiling& tiling, int task,
           Scratch& scratch) const override;
  std::string describe() const override { return "local response norm"; }

 private:
  View source_;
  Target target_;
  LocalResponseCall call_;  // of every pixel, without its pointers
  Kernels kernels_;
};

class GateOp : public Op {
 public:
  GateOp(View source, View gate, Target target, const Kernels& kernels);

  Tiling tile(int batch, int threads) const override;
  void run(const Bindings& bindings, const Tiling& tiling, int task,
           Scratch& scratch) const override;
  std::string describe() const override { return "gate"; }

 private:
  bool is_of_image() const { return gate_.height * gate_.width == 1; }

  View source_;
  View gate_;
  Target target_;
  Kernels kernels_;
};

}  // namespace ifast::cpu
