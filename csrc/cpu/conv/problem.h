#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cpu/conv/packed_weights.h"
#include "cpu/kernels/kernels.h"
#include "cpu/ops/op.h"
#include "plan/winograd_taps.h"

namespace ifast::cpu {

struct ColumnTile;

// A convolution with everything that its step fuses.
struct ConvProblem {
  View source;
  std::vector<Target> targets;  // all of the same height and width
  std::optional<View> residual;
  std::vector<Pair> taps;
  Pair stride;
  int in_channels = 0;
  int out_channels = 0;
  std::optional<Sensitivity> sensitivity;
  // [out_channels][weight_count()][in_channels]; given back once they are packed.
  std::vector<float> weights;
  std::vector<float> bias;  // [out_channels], or empty
  // In a quantised Plan the weights are whole numbers, and these [out_channels] besides:
  std::vector<float> weight_scale;
  std::vector<std::int32_t> sum_bias;  // or empty
  std::optional<WinogradTaps> winograd;
  std::string constants;  // names what they all hold; empty where nobody has said

  int height() const { return targets.front().view.height; }
  int width() const { return targets.front().view.width; }
  int tap_count() const { return static_cast<int>(taps.size()); }
  bool quantized() const { return !weight_scale.empty(); }
  // Of a quantised Plan.
  bool writes_numbers(const ColumnTile& tile) const;
  double multiply_adds() const {
    return 1.0 * height() * width() * out_channels * tap_count() * in_channels;
  }
  int weight_count() const { return winograd ? winograd->weights() : tap_count(); }
  float weight(int out, int i, int in) const {
    return weights[(static_cast<std::size_t>(out) * weight_count() + i) * in_channels + in];
  }
};

// Output channels that one call of the micro-kernel computes: they lie in one target.
struct ColumnTile {
  int target = 0;
  int first = 0;    // in the target
  int channel = 0;  // of the convolution
  int columns = 0;
  int vectors = 0;
  std::size_t offset = 0;           // sum of the widths of the tiles before, in channels
  const float* bias = nullptr;      // padded to the width; in a quantised Plan the bits of int32
  const float* odd_bias = nullptr;  // of odd outputs, where F(2, 3) has the even ones in `bias`
  Requantization requantization;    // in a quantised Plan
  int width(int lanes) const { return vectors * lanes; }
};

// The targets' channels cut into tiles as wide as the micro-kernel, the last of each target
// narrower.
std::vector<ColumnTile> column_tiles(const ConvProblem& problem, const Kernels& kernels,
                                     Packer& packer);

// Total width of the tiles, in channels.
std::size_t padded_channels(const std::vector<ColumnTile>& tiles, int lanes);

// Of 4 bytes, that hold `channels`.
inline int units_of(int channels, int unit_channels) {
  return (channels + unit_channels - 1) / unit_channels;
}

// One unit of each column of a tile: of a weight, the `unit_channels` from `channel` on; what is
// not there is zero. Returns what follows in `packed`.
float* pack_units(const ConvProblem& problem, const ColumnTile& tile, int width, int weight,
                  int channel, int unit_channels, float* packed);

// What all calls of the micro-kernel for a tile have in common; out and residual are those of the
// first pixel of the first image. It points into the tile.
GemmCall gemm_call(const Bindings& bindings, const ConvProblem& problem, const ColumnTile& tile,
                   const float* weights);

// How a product of `rows` with `columns` tiles of weights becomes tasks, each of which makes a
// panel of its block of rows, `row_bytes` each, in its scratch.
struct PanelShape {
  int rows = 0;
  std::size_t row_bytes = 0;
  int step = 1;         // of a block's rows
  int least_rows = 1;   // of a block
  int thread_rows = 1;  // with fewer for each, threads share a block
  int columns = 1;
};
Tiling tile_panel(const PanelShape& shape, int threads);

// Where the micro-kernel, which takes at most so many at a time, cuts [0, rows): as few blocks as
// fit, nearly equal.
inline int gemm_blocks(int rows, int most) { return (rows + most - 1) / most; }

// Distance of a panel's rows, in units of 4 bytes. A multiple of 1024 bytes would put the rows that
// the micro-kernel reads side by side into few sets of the first-level cache.
inline int panel_stride(int units) { return units % 256 == 0 ? units + 16 : units; }

// What the calls of the micro-kernel that share one panel of weights prefetch: a panel behind it,
// far enough for memory to answer in time, which they or a neighbour will read. A call fetches a
// cache line for each unit.
class WeightPrefetcher {
 public:
  WeightPrefetcher(const void* panel, int units, int width)
      : panel_(static_cast<const char*>(panel)),
        bytes_(static_cast<std::ptrdiff_t>(units) * width * static_cast<int>(sizeof(float))),
        part_(static_cast<std::ptrdiff_t>(units) * static_cast<int>(kCacheLine)) {}

  const void* of_call(int i) const {
    constexpr std::ptrdiff_t kDistance = 32 << 10;
    const std::ptrdiff_t panels = (kDistance + bytes_ - 1) / bytes_;
    // Once that panel is on its way, what is here already costs nothing to ask for.
    return i * part_ < bytes_ ? panel_ + panels * bytes_ + i * part_ : panel_;
  }

 private:
  const char* panel_;
  std::ptrdiff_t bytes_;
  std::ptrdiff_t part_;  // of one call
};

}  // namespace ifast::cpu
