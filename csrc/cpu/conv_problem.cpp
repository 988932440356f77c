#include "cpu/conv_problem.h"

#include <algorithm>
#include <bit>

namespace ifast::cpu {
namespace {

// The pixels are read as elements, so that a sum starts with what their zero adds to it, taken off.
// The Plan's rules bound the products and the bias: nothing overflows, here or on the way.
std::int32_t first_sum(const ConvProblem& problem, int channel) {
  std::int32_t weights = 0;
  for (int tap = 0; tap < problem.tap_count(); ++tap) {
    for (int in = 0; in < problem.in_channels; ++in) {
      weights += static_cast<std::int32_t>(problem.weight(channel, tap, in));
    }
  }
  const std::int32_t bias = problem.sum_bias.empty() ? 0 : problem.sum_bias[channel];
  return bias - weights * problem.source.zero;
}

void add_quantized_constants(const ConvProblem& problem, ColumnTile& tile, int lanes,
                             WeightStore& store) {
  auto* bias = store.take<float>(tile.width(lanes));
  auto* scale = store.take<float>(tile.width(lanes));
  std::fill_n(bias, tile.width(lanes), 0.0f);
  std::fill_n(scale, tile.width(lanes), 0.0f);
  for (int j = 0; j < tile.columns; ++j) {
    const int channel = tile.channel + j;
    bias[j] = std::bit_cast<float>(first_sum(problem, channel));
    const float unit = problem.weight_scale[channel] * problem.source.scale;
    scale[j] = unit / problem.targets[tile.target].view.scale;
  }
  tile.bias = bias;
  tile.scale = scale;
}

}  // namespace

bool ConvProblem::writes_numbers(const ColumnTile& tile) const {
  return quantized() && targets[tile.target].view.element_size == sizeof(float);
}

Requantization ConvProblem::requantization(const ColumnTile& tile) const {
  const View& target = targets[tile.target].view;
  Requantization r{tile.scale, 0.0f, 0, target.zero};
  if (residual) {
    r.residual_scale = residual->scale / target.scale;
    r.residual_zero = residual->zero;
  }
  return r;
}

std::vector<ColumnTile> column_tiles(const ConvProblem& problem, const Kernels& kernels,
                                     WeightStore& store) {
  std::vector<ColumnTile> tiles;
  const int widest = kernels.gemm_vectors * kernels.lanes;
  int channel = 0;
  std::size_t offset = 0;
  for (std::size_t t = 0; t < problem.targets.size(); ++t) {
    const int channels = problem.targets[t].view.channels;
    for (int first = 0; first < channels; first += widest) {
      ColumnTile tile;
      tile.target = static_cast<int>(t);
      tile.first = first;
      tile.channel = channel + first;
      tile.columns = std::min(widest, channels - first);
      tile.vectors = (tile.columns + kernels.lanes - 1) / kernels.lanes;
      tile.offset = offset;
      if (problem.quantized()) {
        add_quantized_constants(problem, tile, kernels.lanes, store);
      } else if (!problem.bias.empty()) {
        float* bias = store.take<float>(tile.width(kernels.lanes));
        std::fill_n(bias, tile.width(kernels.lanes), 0.0f);
        std::copy_n(problem.bias.data() + tile.channel, tile.columns, bias);
        tile.bias = bias;
      }
      offset += tile.width(kernels.lanes);
      tiles.push_back(tile);
    }
    channel += channels;
  }
  return tiles;
}

std::size_t padded_channels(const std::vector<ColumnTile>& tiles, int lanes) {
  return tiles.back().offset + tiles.back().width(lanes);
}

}  // namespace ifast::cpu
