#pragma once

#include <string>
#include <vector>

#include "cpu/base/dtypes.h"
#include "cpu/conv/problem.h"

namespace ifast::cpu {

// Quantised convolution two outputs at a time along an axis, by Winograd's F(2, 3) on averages of
// elements, as docs/int8.md defines it. A task transforms the inputs of a block of tiles (pairs of
// outputs) into a panel [tiles][points] in its scratch, and multiplies it with packed weights.
class IntegerWinogradConv : public Op {
 public:
  // problem.winograd is set.
  IntegerWinogradConv(ConvProblem problem, const Kernels& kernels, Packer& packer);

  Tiling tile(int batch, int threads) const override;
  void run(const Bindings& bindings, const Tiling& tiling, int task,
           Scratch& scratch) const override;
  std::string describe() const override;

 private:
  // A tile's image, the place of its even output, and the tiles from it on in the same row.
  struct Place {
    int n;
    int y;
    int x;
    int left;
  };
  // What F(2, 3) multiplies of three taps, or the two pixels of a single one.
  struct Group {
    Pair offset;  // of its first pixel
    int pixels;   // 4 or 2
    int weight;   // the first of its weights
  };

  bool vertical() const { return problem_.winograd->axis == Axis::kVertical; }
  static std::vector<Group> groups_of(const WinogradTaps& taps);
  void pack_weights(float* packed) const;
  void pack_panels(const ColumnTile& tile, int first, int second, float*& packed) const;
  Pair tiles_of_image() const;
  Place place_of(int tile) const;
  void transform(const Bindings& bindings, Range tiles, float* panel) const;
  void place_outputs(Range tiles, int* pixels) const;
  void multiply(const Bindings& bindings, const ColumnTile& tile, const float* panel,
                const int* pixels, int tiles) const;

  ConvProblem problem_;
  const Kernels kernels_;
  const std::vector<Group> groups_;  // of three taps first
  const int tap_units_;              // of 4 bytes, of a point's channels
  const int shared_units_;           // of the sum, and of the difference, of all groups
  const int own_units_;              // of the even output's own point, and of the odd one's
  const int row_stride_;             // of the panel, in units
  std::vector<ColumnTile> tiles_;
  std::vector<Element> padding_;    // a pixel outside the image
  const float* weights_ = nullptr;  // [tile][units][width]
};

}  // namespace ifast::cpu
