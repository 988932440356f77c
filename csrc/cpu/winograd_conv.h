#pragma once

#include <string>
#include <vector>

#include "cpu/winograd_layout.h"

namespace ifast::cpu {

// Winograd convolution (Lavin and Gray, 2016) with all three stages in one task: the inputs of a
// block of tiles are transformed into scratch, multiplied position by position with the transformed
// weights of some output channels, and transformed back, all within the second-level cache.
// Transforms are in float32; with bfloat16 products both operands are rounded after them.
class WinogradConv : public Op {
 public:
  WinogradConv(ConvProblem problem, WinogradLayout layout, const Kernels& kernels,
               WeightStore& store);

  Tiling tile(int batch, int threads) const override;
  void run(const Frame& frame, const Tiling& tiling, int task, Scratch& scratch) const override;
  std::string describe() const override { return layout_.name(); }

 private:
  // A tile's place in the output, and how many more follow to the right, itself included.
  struct Place {
    int n, y, x;
    int left;
  };

  void pack_weights(WeightStore& store);
  std::vector<double> transformed_weights(int out, int group, int in) const;
  int tiles_of_image() const { return layout_.tiles(problem_.height(), problem_.width()); }
  Place place_of(int tile) const;
  std::size_t input_stride(int tiles) const;
  std::size_t product_stride(int tiles) const;
  void transform_inputs(const Frame& frame, Range tiles, float* out) const;
  void claim_outputs(const Frame& frame, Range tiles, const ColumnTile& columns) const;
  void transform_outputs(const Frame& frame, Range tiles, const ColumnTile& columns,
                         const float* products) const;

  ConvProblem problem_;
  const WinogradLayout layout_;
  const Kernels kernels_;
  const int group_units_;  // of 4 bytes, of one group's channels
  const int units_;        // K: of all groups
  const int row_stride_;   // of a tile in the transformed input
  std::vector<ColumnTile> tiles_;
  const std::vector<double> filter_;  // G, [point][tap]
  const float* weights_ = nullptr;    // [column tile][position][units][width]
};

}  // namespace ifast::cpu
