#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <vector>

#include "cpu/conv/direct.h"
#include "cpu/conv/extreme_tiles.h"
#include "cpu/conv/winograd_layout.h"
#include "cpu/conv/winograd_weights.h"

namespace ifast::cpu {

// Winograd convolution (Lavin and Gray, 2016) with all three stages in one task: the inputs of a
// block of tiles are transformed into scratch, multiplied position by position with the transformed
// weights of some output channels, and transformed back, all within the second-level cache.
// Transforms are in float32; with bfloat16 products both operands are rounded after them. The
// outputs of extreme tiles come from DirectConv.
class WinogradConv : public Op {
 public:
  WinogradConv(ConvProblem problem, WinogradLayout layout, const Kernels& kernels, Packer& packer);
  ~WinogradConv() override;
  WinogradConv(const WinogradConv&) = delete;
  WinogradConv& operator=(const WinogradConv&) = delete;

  Tiling tile(int batch, int threads) const override;
  void run(const Bindings& bindings, const Tiling& tiling, int task,
           Scratch& scratch) const override;
  std::string describe() const override { return layout_.name(); }
  const WeightStore* late_weights() const override;

 private:
  // A tile's place in the output, and how many more follow to the right, itself included.
  struct Place {
    int n, y, x;
    int left;
  };
  // What lies in a thread's scratch.
  struct Panels {
    Panels(const WinogradConv& conv, int tiles, std::byte* memory);  // null to learn the size

    std::size_t bytes = 0;
    float* inputs;
    float* products;
    float* magnitudes;
    std::uint8_t* marks;  // one for each extreme tile
  };

  int tiles_of_image() const { return layout_.tiles(problem_.height(), problem_.width()); }
  int tiles_across() const { return layout_.tiles(1, problem_.width()); }
  Place place_of(int tile) const;
  std::size_t input_stride(int tiles) const;
  std::size_t product_stride(int tiles) const;
  void mark_extremes(const Bindings& bindings, Range tiles, const Panels& panels) const;
  void transform_inputs(const Bindings& bindings, Range tiles, float* out) const;
  void prefetch_outputs(const Bindings& bindings, Range tiles, const ColumnTile& columns) const;
  void transform_outputs(const Bindings& bindings, Range tiles, const ColumnTile& columns,
                         const Panels& panels) const;
  void compute_extremes(const Bindings& bindings, Range tiles, Range columns,
                        const std::uint8_t* marks) const;
  const DirectConv& direct() const;

  ConvProblem problem_;
  const WinogradLayout layout_;
  const Kernels kernels_;
  const std::vector<ColumnTile> tiles_;
  const WinogradWeights weights_;
  const ExtremeTiles extremes_;
  const int units_;        // K: of all groups
  const int group_units_;  // of 4 bytes, of one group's channels
  const int row_stride_;   // of a tile in the transformed input
  // Made at the first extreme tile: most networks never see one.
  mutable std::atomic<const DirectConv*> direct_ = nullptr;
  mutable WeightStore direct_store_{nullptr, kCacheLine};
};

}  // namespace ifast::cpu
