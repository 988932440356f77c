#pragma once

#include <string>
#include <vector>

#include "cpu/conv/problem.h"

namespace ifast::cpu {

// Convolution as an implicit GEMM. A task gathers the taps of a block of output pixels into a panel
// [pixels][taps x channels] in its scratch, padding as zeros, and multiplies it with packed
// weights. A 1x1 whose source already is such a panel reads it in place. The products of one output
// are always summed in the order of taps, then channels.
class DirectConv : public Op {
 public:
  // strided: the source is the caller's input. dtype: of the activations.
  DirectConv(ConvProblem problem, bool strided, const Kernels& kernels, Dtype dtype,
             Packer& packer);

  Tiling tile(int batch, int threads) const override;
  void run(const Bindings& bindings, const Tiling& tiling, int task,
           Scratch& scratch) const override;
  std::string describe() const override;

  // Some output pixels of the images one after the other, and some of the tiles of their channels,
  // outside of any Tiling.
  void run_pixels(const Bindings& bindings, Range pixels, Range columns) const;

 private:
  void pack_weights(float* packed) const;
  void gather(const Bindings& bindings, Range pixels, float* panel) const;
  void multiply(const Bindings& bindings, Range pixels, Range columns, const float* panel) const;
  const float* source_panel(const Bindings& bindings, int pixel) const;

  ConvProblem problem_;
  const Kernels kernels_;
  // Native bfloat16: panels and weights hold pairs of channels.
  const bool dot_;
  const int unit_channels_;  // in 4 bytes of a panel and of the weights
  const bool in_place_;
  const int tap_units_;   // of 4 bytes, of one tap of a panel's row
  const int units_;       // of a whole row
  const int row_stride_;  // of the panel, in units
  std::vector<ColumnTile> tiles_;
  const float* weights_ = nullptr;  // [tile][units][width]
};

}  // namespace ifast::cpu
