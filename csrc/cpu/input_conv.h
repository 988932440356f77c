#pragma once

#include <string>
#include <vector>

#include "cpu/conv_problem.h"
#include "cpu/tap_rectangle.h"

namespace ifast::cpu {

// The network's first convolution: few channels, the caller's strides. A task copies the rows under
// a band of output rows into zero-padded planes, one for each channel, and the micro-kernel reads
// its pixels straight from there: neighbours in a row are `stride` apart, and the taps of a row are
// a run.
class InputConv : public Op {
 public:
  // No residual.
  InputConv(ConvProblem problem, TapRectangle rectangle, const Kernels& kernels,
            WeightStore& store);

  Tiling tile(int batch, int threads) const override;
  void run(const Frame& frame, const Tiling& tiling, int task, Scratch& scratch) const override;
  std::string describe() const override { return "direct, from planes"; }

 private:
  void pack_weights(WeightStore& store);
  int plane_width() const;
  int plane_rows(int output_rows) const;
  void copy_planes(const Frame& frame, int n, Range rows, float* planes) const;

  ConvProblem problem_;
  const TapRectangle rectangle_;
  const Kernels kernels_;
  const int units_;  // K, in the order of channels, rows, columns
  std::vector<ColumnTile> tiles_;
  const float* weights_ = nullptr;  // [tile][units][width]
};

}  // namespace ifast::cpu
