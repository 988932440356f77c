#pragma once

#include <vector>

#include "cpu/conv/problem.h"
#include "cpu/conv/winograd_layout.h"

namespace ifast::cpu {

// A convolution's weights, transformed and packed as the products of a layout read them.
class WinogradWeights {
 public:
  WinogradWeights(const ConvProblem& problem, const WinogradLayout& layout,
                  const std::vector<ColumnTile>& tiles, int lanes, Packer& packer);

  int units() const { return units_; }  // K, of 4 bytes
  // The columns of `tile` at a position: [units][width].
  const float* panel(const ColumnTile& tile, int position) const {
    const std::size_t row = static_cast<std::size_t>(tile.width(lanes_)) * units_;
    return packed_ + tile.offset * layout_.size().positions() * units_ + position * row;
  }

  // What they were made from, [out][tap][in]. More points than taps: the least squares come within
  // the rounding of a transformed weight, 1e-7 of the largest tap or bfloat16's 2e-3. Zeros and
  // signs are exact, for they decide what an infinity becomes.
  std::vector<float> taps(const std::vector<ColumnTile>& tiles) const;

 private:
  void pack(const ConvProblem& problem, const ColumnTile& tile, float* packed) const;

  const WinogradLayout layout_;
  const int lanes_;
  const int in_channels_;
  const int out_channels_;
  const int tap_count_;
  const int group_units_;  // of one group's channels
  const int units_;
  // Which of [out][tap][in] are, a bit for each.
  const float* negative_ = nullptr;
  const float* zeros_ = nullptr;   // null where none is
  const float* packed_ = nullptr;  // [tile][position][units][width]
};

}  // namespace ifast::cpu
