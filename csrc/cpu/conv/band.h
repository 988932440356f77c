#pragma once

#include <string>
#include <vector>

#include "cpu/conv/problem.h"
#include "cpu/conv/tap_rectangle.h"

namespace ifast::cpu {

// Convolution from an NHWC buffer, or from the caller's tensor of few channels in its own strides.
// A task copies the rows under a band of output rows into its scratch with their padding,
// and the micro-kernel reads its pixels straight from there: neighbours in a row are `stride`
// apart, and the taps of a row are a run. In float32 a band has a plane for each channel; in a
// quantised Plan its pixels are units of elements, which the caller's numbers become on the way.
class BandConv : public Op {
 public:
  // No residual, and no gap between the windows of two outputs. In a quantised Plan a source of
  // float32 is the caller's and has at most kMostChannels.
  BandConv(ConvProblem problem, TapRectangle rectangle, const Kernels& kernels, Packer& packer);

  Tiling tile(int batch, int threads) const override;
  void run(const Bindings& bindings, const Tiling& tiling, int task,
           Scratch& scratch) const override;
  std::string describe() const override;

  static constexpr int kMostChannels = 4;

 private:
  void pack_weights(float* packed) const;
  int band_width() const;
  int band_rows(int output_rows) const;
  void copy_band(const Bindings& bindings, int n, Range rows, float* band) const;
  void copy_pixels(const Bindings& bindings, const std::byte* from, int n, float* to) const;

  ConvProblem problem_;
  const TapRectangle rectangle_;
  const Kernels kernels_;
  const int unit_channels_;
  const int planes_;
  const int pixel_units_;  // of 4 bytes, in one plane
  const int units_;        // K, in the order of planes, rows, columns, channels
  std::vector<ColumnTile> tiles_;
  const float* weights_ = nullptr;  // [tile][units][width]
};

}  // namespace ifast::cpu
