#include "cpu/winograd_conv.h"

#include <algorithm>
#include <utility>

#include "cpu/claim.h"
#include "cpu/convert.h"
#include "cpu/winograd_matrices.h"

namespace ifast::cpu {
namespace {

constexpr std::ptrdiff_t kLine = kCacheLine;

// The positions' panels are read side by side by the transforms; an odd number of cache lines from
// one to the next spreads them over the sets of the first-level cache.
std::size_t odd_lines(std::size_t floats) {
  constexpr std::size_t kLine = 16;
  return ((floats + kLine - 1) / kLine | 1) * kLine;
}

// G, [point][tap].
std::vector<double> filter_matrix(const WinogradSize& size) {
  std::vector<double> matrix;
  for (int i = 0; i < size.points; ++i) {
    for (int k = 0; k < size.taps(); ++k) {
      matrix.push_back(winograd_filter(size.taps(), size.points, i, k));
    }
  }
  return matrix;
}

// transformed[i] = sum over k of G[i][k] * taps[k * step].
void transform_filter(const WinogradSize& size, const std::vector<double>& matrix,
                      const double* taps, int step, double* transformed, int out_step) {
  for (int i = 0; i < size.points; ++i) {
    double value = 0;
    for (int k = 0; k < size.taps(); ++k) value += matrix[i * size.taps() + k] * taps[k * step];
    transformed[i * out_step] = value;
  }
}

}  // namespace

WinogradConv::WinogradConv(ConvProblem problem, WinogradLayout layout, const Kernels& kernels,
                           WeightStore& store)
    : problem_(std::move(problem)),
      layout_(std::move(layout)),
      kernels_(kernels),
      group_units_(layout_.dot ? problem_.in_channels / 2 : problem_.in_channels),
      units_(static_cast<int>(layout_.groups.size()) * group_units_),
      row_stride_(panel_stride(units_)),
      tiles_(column_tiles(problem_, kernels_, store)),
      filter_(filter_matrix(layout_.size())) {
  pack_weights(store);
  problem_.weights = {};
}

void WinogradConv::pack_weights(WeightStore& store) {
  const int positions = layout_.size().positions(), lanes = kernels_.lanes;
  float* packed = store.take<float>(padded_channels(tiles_, lanes) * positions * units_);
  weights_ = packed;
  std::fill_n(packed, padded_channels(tiles_, lanes) * positions * units_, 0.0f);
  for (const ColumnTile& tile : tiles_) {
    const int width = tile.width(lanes);
    for (int unit = 0; unit < units_; ++unit) {
      const int group = unit / group_units_, in = unit % group_units_;
      for (int j = 0; j < tile.columns; ++j) {
        const int out = tile.channel + j;
        const auto first = transformed_weights(out, group, layout_.dot ? 2 * in : in);
        const auto second =
            layout_.dot ? transformed_weights(out, group, 2 * in + 1) : std::vector<double>();
        for (int p = 0; p < positions; ++p) {
          const float value = static_cast<float>(first[p]);
          packed[(static_cast<std::size_t>(p) * units_ + unit) * width + j] =
              layout_.dot ? bfloat16_pair(value, static_cast<float>(second[p])) : value;
        }
      }
    }
    packed += static_cast<std::size_t>(positions) * units_ * width;
  }
}

// Of a group's taps between two channels, by position.
std::vector<double> WinogradConv::transformed_weights(int out, int group, int in) const {
  const WinogradSize& size = layout_.size();
  const int r = size.taps();
  std::vector<double> taps, transformed(size.positions());
  for (int tap : layout_.groups[group].taps) {
    taps.push_back(tap < 0 ? 0.0 : problem_.weight(out, tap, in));
  }
  if (size.dimensions == 1) {
    transform_filter(size, filter_, taps.data(), 1, transformed.data(), 1);
    return transformed;
  }
  std::vector<double> rows(r * size.points);
  for (int y = 0; y < r; ++y) {
    transform_filter(size, filter_, &taps[y * r], 1, &rows[y * size.points], 1);
  }
  for (int x = 0; x < size.points; ++x) {
    transform_filter(size, filter_, &rows[x], size.points, &transformed[x], size.points);
  }
  return transformed;
}

std::size_t WinogradConv::input_stride(int tiles) const {
  return odd_lines(static_cast<std::size_t>(tiles) * row_stride_);
}

std::size_t WinogradConv::product_stride(int tiles) const {
  return odd_lines(static_cast<std::size_t>(tiles) * kernels_.gemm_vectors * kernels_.lanes);
}

Tiling WinogradConv::tile(int batch, int threads) const {
  const int tiles = batch * tiles_of_image(), rows = kernels_.gemm_rows;
  const int positions = layout_.size().positions();
  const std::size_t width = kernels_.gemm_vectors * kernels_.lanes;
  const std::size_t tile_bytes = positions * (row_stride_ + width) * sizeof(float);
  Tiling tiling =
      tile_panel({tiles, tile_bytes, 1, rows, rows, static_cast<int>(tiles_.size())}, threads);
  const int most = (tiles + tiling.blocks - 1) / tiling.blocks;
  tiling.scratch = positions * (input_stride(most) + product_stride(most)) * sizeof(float);
  tiling.cost = 1.0 * tiles * positions * units_ * problem_.out_channels;  // two a unit of bfloat16
  return tiling;
}

void WinogradConv::run(const Frame& frame, const Tiling& tiling, int task, Scratch& scratch) const {
  const int block = task / tiling.splits;
  const Range tiles = part_of(frame.batch * tiles_of_image(), block, tiling.blocks);
  const int positions = layout_.size().positions();
  const std::size_t in_stride = input_stride(tiles.size());
  float* inputs = reinterpret_cast<float*>(scratch.memory);
  float* products = inputs + positions * in_stride;
  if (scratch.take(this, block)) transform_inputs(frame, tiles, inputs);
  const Range columns =
      part_of(static_cast<int>(tiles_.size()), task % tiling.splits, tiling.splits);
  const int row_blocks = gemm_blocks(tiles.size(), kernels_.gemm_rows);
  // A tile of two dimensions has too many outputs for its work.
  const bool claims = layout_.size().dimensions == 1;
  const auto& table = layout_.dot ? kernels_.gemm_dot_raw : kernels_.gemm_raw;
  for (int j = columns.begin; j < columns.end; ++j) {
    const ColumnTile& tile = tiles_[j];
    const int width = tile.width(kernels_.lanes);
    GemmCall call;
    call.row_stride = row_stride_;
    call.segment_length = units_;
    call.columns = width;
    call.out_stride = width;
    const float* weights = weights_ + tile.offset * positions * units_;
    for (int p = 0; p < positions; ++p) {
      const Range claimed = part_of(tiles.size(), p, positions);
      if (claims)
        claim_outputs(frame, {tiles.begin + claimed.begin, tiles.begin + claimed.end}, tile);
      call.b = weights + static_cast<std::size_t>(p) * units_ * width;
      const WeightsAhead ahead(call.b, units_, width);
      for (int i = 0; i < row_blocks; ++i) {
        const Range rows = part_of(tiles.size(), i, row_blocks);
        call.a = inputs + p * in_stride + static_cast<std::size_t>(rows.begin) * row_stride_;
        call.out = products + p * product_stride(tiles.size()) + rows.begin * width;
        call.prefetch = ahead.of_call(i);
        table[rows.size() - 1][tile.vectors - 1](call);
      }
    }
    transform_outputs(frame, tiles, tile, products);
  }
}

WinogradConv::Place WinogradConv::place_of(int tile) const {
  const Pair m = layout_.outputs();
  const int across = (problem_.width() + m.horizontal - 1) / m.horizontal;
  const int of_image = tile % tiles_of_image(), column = of_image % across;
  return {tile / tiles_of_image(), of_image / across * m.vertical, column * m.horizontal,
          across - column};
}

void WinogradConv::transform_inputs(const Frame& frame, Range tiles, float* out) const {
  const WinogradSize& size = layout_.size();
  const View& source = problem_.source;
  const Strides& strides = frame.strides[source.buffer];
  const WinogradKernels& kernels = kernels_.winograd[layout_.size_index];
  const auto transform = layout_.dot ? kernels.input_dot : kernels.input;
  const int per_unit = layout_.dot ? 2 : 1;
  const bool two = size.dimensions == 2;
  const int height = two || layout_.vertical ? size.points : 1;
  const int width = two || !layout_.vertical ? size.points : 1;
  const int step = layout_.outputs().horizontal;
  // Rows or columns of the tile that lie in the image.
  const auto clip = [](int first, int count, int extent) {
    const int begin = std::clamp(-first, 0, count);
    return Range{begin, std::clamp(extent - first, begin, count)};
  };
  WinogradInput call;
  call.row_stride = strides.row;
  call.column_stride = strides.column;
  if (layout_.vertical) std::swap(call.row_stride, call.column_stride);
  call.channels = problem_.in_channels;
  call.position_stride = input_stride(tiles.size()) * per_unit;
  call.tile_stride = strides.column * step;
  call.out_tile_stride = static_cast<std::ptrdiff_t>(row_stride_) * per_unit;
  for (std::size_t g = 0; g < layout_.groups.size(); ++g) {
    for (int t = tiles.begin; t < tiles.end; t += call.tiles) {
      const Place place = place_of(t);
      const int y = place.y + layout_.groups[g].offset.vertical;
      const int x = place.x + layout_.groups[g].offset.horizontal;
      Range rows = clip(y, height, source.height);
      Range columns = clip(x, width, source.width);
      // Tiles from here on, the last of which still ends in the image.
      const int inside = (source.width - x - width) / step + 1;
      call.tiles = columns.size() < width ? 1 : std::min({inside, place.left, tiles.end - t});
      if (layout_.vertical) std::swap(rows, columns);
      call.pixel = frame.at(source, place.n, y, x);
      call.row_begin = rows.begin;
      call.row_end = rows.end;
      call.column_begin = columns.begin;
      call.column_end = columns.end;
      call.out = out + static_cast<std::size_t>(t - tiles.begin) * row_stride_ + g * group_units_;
      transform(call);
    }
  }
}

// Asks for the ownership of the tiles' outputs while there is other work to do: the cache lines may
// be another processor's.
void WinogradConv::claim_outputs(const Frame& frame, Range tiles, const ColumnTile& columns) const {
  const View& target = problem_.targets[columns.target].view;
  const Strides& strides = frame.strides[target.buffer];
  const Pair m = layout_.outputs();
  const auto element = static_cast<std::ptrdiff_t>(frame.element_size);
  const std::ptrdiff_t bytes = columns.columns * element;
  for (int t = tiles.begin, run; t < tiles.end; t += run) {
    const Place place = place_of(t);
    run = std::min(place.left, tiles.end - t);
    const std::byte* row = frame.at(target, place.n, place.y, place.x) + columns.first * element;
    const int rows = std::min(m.vertical, problem_.height() - place.y);
    const int across = std::min(run * m.horizontal, problem_.width() - place.x);
    for (int y = 0; y < rows; ++y, row += strides.row * element) {
      const std::byte* pixel = row;
      for (int x = 0; x < across; ++x, pixel += strides.column * element) {
        for (std::ptrdiff_t b = 0; b < bytes; b += kLine) claim(pixel + b);
      }
    }
  }
}

void WinogradConv::transform_outputs(const Frame& frame, Range tiles, const ColumnTile& columns,
                                     const float* products) const {
  const Target& target = problem_.targets[columns.target];
  const Strides& strides = frame.strides[target.view.buffer];
  const Pair m = layout_.outputs();
  const auto transform = kernels_.winograd[layout_.size_index].output;
  const int width = columns.width(kernels_.lanes);
  WinogradOutput call;
  call.in_tile_stride = width;
  call.position_stride = product_stride(tiles.size());
  call.bias = columns.bias;
  call.row_stride = strides.row;
  call.column_stride = strides.column;
  call.tile_stride = strides.column * m.horizontal;
  if (problem_.residual) {
    const Strides& from = frame.strides[problem_.residual->buffer];
    call.residual_row_stride = from.row;
    call.residual_column_stride = from.column;
    call.residual_tile_stride = from.column * m.horizontal;
  }
  if (layout_.vertical) {
    std::swap(call.row_stride, call.column_stride);
    std::swap(call.residual_row_stride, call.residual_column_stride);
  }
  call.channels = columns.columns;
  call.relu = target.relu;
  const auto element = static_cast<std::ptrdiff_t>(frame.element_size);
  for (int t = tiles.begin; t < tiles.end; t += call.tiles) {
    const Place place = place_of(t);
    call.in = products + static_cast<std::size_t>(t - tiles.begin) * width;
    const int inside = (problem_.width() - place.x) / m.horizontal;
    call.tiles = std::clamp(std::min(inside, tiles.end - t), 1, place.left);
    call.rows = std::min(m.vertical, problem_.height() - place.y);
    call.columns = std::min(m.horizontal, problem_.width() - place.x);
    if (layout_.vertical) std::swap(call.rows, call.columns);
    call.pixel = frame.at(target.view, place.n, place.y, place.x) + columns.first * element;
    if (problem_.residual) {
      call.residual =
          frame.at(*problem_.residual, place.n, place.y, place.x) + columns.channel * element;
    }
    transform(call);
  }
}

}  // namespace ifast::cpu
