#include "cpu/conv_problem.h"

#include <algorithm>

namespace ifast::cpu {

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
      if (!problem.bias.empty()) {
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
