#include "cpu/conv/problem.h"

#include <algorithm>
#include <bit>

#include "cpu/base/cache_sizes.h"
#include "cpu/kernels/convert.h"

namespace ifast::cpu {
namespace {

// What the sums of even and odd outputs start with. The Plan's rules bound the products and the
// bias: nothing overflows, here or on the way.
struct FirstSums {
  std::int32_t even = 0;
  std::int32_t odd = 0;
};

// A difference of elements, halved, stands this far from zero.
constexpr int kHalfRange = 128;

// The bias, less what the zero of the elements adds to each product.
FirstSums first_sums(const ConvProblem& problem, int channel) {
  const std::int32_t bias = problem.sum_bias.empty() ? 0 : problem.sum_bias[channel];
  const int zero = problem.source.zero;
  const auto total = [&](int weight) {
    std::int32_t sum = 0;
    for (int in = 0; in < problem.in_channels; ++in) {
      sum += static_cast<std::int32_t>(problem.weight(channel, weight, in));
    }
    return sum;
  };
  FirstSums sums{bias, bias};
  const auto both = [&](std::int32_t x) {
    sums.even -= x;
    sums.odd -= x;
  };
  const int triples = problem.winograd ? 4 * problem.winograd->triples : 0;
  const int line = problem.winograd ? problem.winograd->line_weights() : 1;
  for (int i = 0; i < problem.weight_count(); ++i) {
    if (i % line >= triples) {
      both(total(i) * zero);
      continue;
    }
    sums.even -= total(i) * kHalfRange;
    both(total(i + 1) * zero);
    sums.even -= total(i + 2) * kHalfRange;
    sums.odd += total(i + 2) * kHalfRange;
    sums.odd -= total(i + 3) * kHalfRange;
    i += 3;
  }
  return sums;
}

void add_quantized_constants(const ConvProblem& problem, ColumnTile& tile, int lanes,
                             Packer& packer) {
  const int width = tile.width(lanes);
  const auto zeros_then = [&](auto value) {
    return packer.array(width, [&](float* values) {
      std::fill_n(values, width, 0.0f);
      for (int j = 0; j < tile.columns; ++j) values[j] = value(tile.channel + j);
    });
  };
  const View& target = problem.targets[tile.target].view;
  tile.bias = zeros_then([&](int c) { return std::bit_cast<float>(first_sums(problem, c).even); });
  if (problem.winograd) {
    tile.odd_bias =
        zeros_then([&](int c) { return std::bit_cast<float>(first_sums(problem, c).odd); });
  }
  const float* scale = zeros_then([&](int channel) {
    const float unit = problem.weight_scale[channel] * problem.source.scale;
    return unit / target.scale;
  });
  tile.requantization = {scale, 0.0f, 0, target.zero};
  if (problem.residual) {
    tile.requantization.residual_scale = problem.residual->scale / target.scale;
    tile.requantization.residual_zero = problem.residual->zero;
  }
}

}  // namespace

bool ConvProblem::writes_numbers(const ColumnTile& tile) const {
  return quantized() && targets[tile.target].view.element_size == sizeof(float);
}

std::vector<ColumnTile> column_tiles(const ConvProblem& problem, const Kernels& kernels,
                                     Packer& packer) {
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
        add_quantized_constants(problem, tile, kernels.lanes, packer);
      } else if (!problem.bias.empty()) {
        const int width = tile.width(kernels.lanes);
        tile.bias = packer.array(width, [&](float* bias) {
          std::fill_n(bias, width, 0.0f);
          std::copy_n(problem.bias.data() + tile.channel, tile.columns, bias);
        });
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

float* pack_units(const ConvProblem& problem, const ColumnTile& tile, int width, int weight,
                  int channel, int unit_channels, float* packed) {
  const int channels = std::min(unit_channels, problem.in_channels - channel);
  for (int j = 0; j < width; ++j) {
    float values[4] = {};
    for (int i = 0; i < channels && j < tile.columns; ++i) {
      values[i] = problem.weight(tile.channel + j, weight, channel + i);
    }
    *packed++ = problem.quantized()  ? integer_unit(values, unit_channels)
                : unit_channels == 2 ? bfloat16_pair(values[0], values[1])
                                     : values[0];
  }
  return packed;
}

GemmCall gemm_call(const Bindings& bindings, const ConvProblem& problem, const ColumnTile& tile,
                   const float* weights) {
  const Target& target = problem.targets[tile.target];
  GemmCall call;
  call.b = weights;
  call.bias = tile.bias;
  call.requantization = &tile.requantization;
  call.columns = tile.columns;
  call.relu = target.relu;
  call.prefetch_out = true;
  call.out = bindings.image(target.view, 0) + tile.first * target.view.element_size;
  call.out_stride = bindings.strides[target.view.buffer].column;
  if (problem.residual) {
    const View& residual = *problem.residual;
    call.residual = bindings.image(residual, 0) + tile.channel * residual.element_size;
    call.residual_stride = bindings.strides[residual.buffer].column;
  }
  return call;
}

Tiling tile_panel(const PanelShape& shape, int threads) {
  // Enough tasks for the threads to finish together, few enough to keep each of them busy.
  constexpr int kTasksPerThread = 8;
  // Half of the second-level cache for the panel, the rest for weights and output.
  const int fitting = static_cast<int>(cache_sizes().level2 / 2 / shape.row_bytes);
  const int block = std::max(shape.least_rows, fitting / shape.step * shape.step);
  Tiling tiling;
  tiling.blocks = (shape.rows + block - 1) / block;
  if (tiling.blocks % threads != 0 && shape.rows >= shape.thread_rows * threads) {
    tiling.blocks += threads - tiling.blocks % threads;
  }
  const int wanted = kTasksPerThread * threads;
  tiling.splits = std::clamp((wanted + tiling.blocks - 1) / tiling.blocks, 1, shape.columns);
  tiling.tasks = tiling.blocks * tiling.splits;
  tiling.scratch = (shape.rows + tiling.blocks - 1) / tiling.blocks * shape.row_bytes;
  return tiling;
}

}  // namespace ifast::cpu
