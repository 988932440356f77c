#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "cpu/kernels/kernels.h"
#include "cpu/ops/op.h"

// An image in a larger one, and the numbers of an input of bytes; a task is a group of output
// pixels.
namespace ifast::cpu {

class PadOp : public Op {
 public:
  // scale, shift: [C] or empty. stored: the dtype of source and target.
  PadOp(const PadStep& step, View source, Target target, std::vector<float> scale,
        std::vector<float> shift, const Kernels& kernels, Dtype stored);

  Tiling tile(int batch, int threads) const override;
  void run(const Bindings& bindings, const Tiling& tiling, int task,
           Scratch& scratch) const override;
  std::string describe() const override { return "pad"; }

 private:
  View source_;
  Target target_;
  Pair padding_;
  std::vector<float> scale_, shift_;
  std::vector<std::byte> border_;  // a pixel of it
  Kernels kernels_;
};

// What becomes of each byte in each channel, and behind them of the margins: [257][C] in the
// target's dtype. elements: of a quantised target, else null. stored: the dtype of any other.
std::vector<std::byte> table_of_bytes(const PadStep& step, const std::vector<float>& scale,
                                      const std::vector<float>& shift, const Target& target,
                                      const Kernels* elements, const Kernels& floats, Dtype stored);

// Bytes in any strides, looked up.
class BytesOp : public Op {
 public:
  BytesOp(const PadStep& step, View source, Target target, std::vector<std::byte> table)
      : source_(source), target_(target), padding_(step.padding), table_(std::move(table)) {}

  Tiling tile(int batch, int threads) const override;
  void run(const Bindings& bindings, const Tiling& tiling, int task,
           Scratch& scratch) const override;
  std::string describe() const override { return "from bytes"; }

 private:
  View source_;
  Target target_;
  Pair padding_;
  std::vector<std::byte> table_;
};

}  // namespace ifast::cpu
