#include "cpu/conv/winograd.h"

#include <algorithm>
#include <memory>
#include <mutex>
#include <utility>

#include "cpu/base/thread_pool.h"
#include "cpu/kernels/prefetch.h"
#include "cpu/ops/target_function.h"

namespace ifast::cpu {
namespace {

constexpr std::ptrdiff_t kLine = kCacheLine;

// The positions' panels are read side by side by the transforms; an odd number of cache lines from
// one to the next spreads them over the sets of the first-level cache.
std::size_t odd_lines(std::size_t floats) {
  constexpr std::size_t kLine = 16;
  return ((floats + kLine - 1) / kLine | 1) * kLine;
}

}  // namespace

WinogradConv::WinogradConv(ConvProblem problem, WinogradLayout layout, const Kernels& kernels,
                           Packer& packer)
    : problem_(std::move(problem)),
      layout_(std::move(layout)),
      kernels_(kernels),
      tiles_(column_tiles(problem_, kernels_, packer)),
      weights_(problem_, layout_, tiles_, kernels_.lanes, packer),
      extremes_(problem_, layout_, kernels_),
      units_(weights_.units()),
      group_units_(units_ / static_cast<int>(layout_.groups.size())),
      row_stride_(panel_stride(units_)) {
  problem_.weights = std::vector<float>();
}

WinogradConv::~WinogradConv() { delete direct_.load(); }

const WeightStore* WinogradConv::late_weights() const {
  return direct_.load(std::memory_order_acquire) ? &direct_store_ : nullptr;
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
  tiling.scratch = Panels(*this, most, nullptr).bytes;
  tiling.cost = 1.0 * tiles * positions * units_ * problem_.out_channels;  // two a unit of bfloat16
  return tiling;
}

void WinogradConv::run(const Bindings& bindings, const Tiling& tiling, int task,
                       Scratch& scratch) const {
  const int block = task / tiling.splits;
  const Range tiles = part_of(bindings.batch * tiles_of_image(), block, tiling.blocks);
  const int positions = layout_.size().positions();
  const std::size_t in_stride = input_stride(tiles.size());
  const Panels panels(*this, tiles.size(), scratch.memory);
  if (scratch.take(this, block)) {
    mark_extremes(bindings, tiles, panels);
    transform_inputs(bindings, tiles, panels.inputs);
  }
  const Range columns =
      part_of(static_cast<int>(tiles_.size()), task % tiling.splits, tiling.splits);
  const int row_blocks = gemm_blocks(tiles.size(), kernels_.gemm_rows);
  // A tile of two dimensions has too many outputs for its work.
  const bool prefetches = layout_.size().dimensions == 1;
  const auto& table = layout_.dot ? kernels_.gemm_dot_raw : kernels_.gemm_raw;
  for (int j = columns.begin; j < columns.end; ++j) {
    const ColumnTile& tile = tiles_[j];
    const int width = tile.width(kernels_.lanes);
    GemmCall call;
    call.row_stride = row_stride_;
    call.segment_length = units_;
    call.columns = width;
    call.out_stride = width;
    for (int p = 0; p < positions; ++p) {
      const Range share = part_of(tiles.size(), p, positions);
      if (prefetches)
        prefetch_outputs(bindings, {tiles.begin + share.begin, tiles.begin + share.end}, tile);
      call.b = weights_.panel(tile, p);
      const WeightPrefetcher ahead(call.b, units_, width);
      for (int i = 0; i < row_blocks; ++i) {
        const Range rows = part_of(tiles.size(), i, row_blocks);
        call.a = panels.inputs + p * in_stride + static_cast<std::size_t>(rows.begin) * row_stride_;
        call.out = panels.products + p * product_stride(tiles.size()) + rows.begin * width;
        call.prefetch = ahead.of_call(i);
        table[rows.size() - 1][tile.vectors - 1](call);
      }
    }
    transform_outputs(bindings, tiles, tile, panels);
  }
  compute_extremes(bindings, tiles, columns, panels.marks);
}

WinogradConv::Panels::Panels(const WinogradConv& conv, int tiles, std::byte* memory) {
  const int positions = conv.layout_.size().positions();
  const int across = std::min(tiles, conv.tiles_across());
  const auto take = [&](std::size_t count) {
    float* part = memory ? reinterpret_cast<float*>(memory + bytes) : nullptr;
    bytes += count * sizeof(float);
    return part;
  };
  inputs = take(positions * conv.input_stride(tiles));
  products = take(positions * conv.product_stride(tiles));
  magnitudes = take(conv.extremes_.scratch(across));
  marks = memory ? reinterpret_cast<std::uint8_t*>(memory + bytes) : nullptr;
  bytes += tiles;
}

WinogradConv::Place WinogradConv::place_of(int tile) const {
  const Pair m = layout_.outputs();
  const int across = tiles_across();
  const int of_image = tile % tiles_of_image(), column = of_image % across;
  return {tile / tiles_of_image(), of_image / across * m.vertical, column * m.horizontal,
          across - column};
}

void WinogradConv::transform_inputs(const Bindings& bindings, Range tiles, float* out) const {
  const WinogradSize& size = layout_.size();
  const View& source = problem_.source;
  const Strides& strides = bindings.strides[source.buffer];
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
      call.pixel = bindings.at(source, place.n, y, x);
      call.row_begin = rows.begin;
      call.row_end = rows.end;
      call.column_begin = columns.begin;
      call.column_end = columns.end;
      call.out = out + static_cast<std::size_t>(t - tiles.begin) * row_stride_ + g * group_units_;
      transform(call);
    }
  }
}

void WinogradConv::mark_extremes(const Bindings& bindings, Range tiles,
                                 const Panels& panels) const {
  for (int t = tiles.begin, run; t < tiles.end; t += run) {
    const Place place = place_of(t);
    run = std::min(place.left, tiles.end - t);
    extremes_.mark(bindings, {place.n, place.y, place.x, run}, panels.magnitudes,
                   panels.marks + (t - tiles.begin));
  }
}

void WinogradConv::compute_extremes(const Bindings& bindings, Range tiles, Range columns,
                                    const std::uint8_t* marks) const {
  const Pair m = layout_.outputs();
  for (int t = tiles.begin, run; t < tiles.end; t += run) {
    run = 1;
    if (!marks[t - tiles.begin]) continue;
    const Place place = place_of(t);
    const int most = std::min(place.left, tiles.end - t);
    while (run < most && marks[t - tiles.begin + run]) ++run;
    const int width = std::min(run * m.horizontal, problem_.width() - place.x);
    const int bottom = std::min(place.y + m.vertical, problem_.height());
    for (int y = place.y; y < bottom; ++y) {
      const int pixel = (place.n * problem_.height() + y) * problem_.width() + place.x;
      direct().run_pixels(bindings, {pixel, pixel + width}, columns);
    }
  }
}

const DirectConv& WinogradConv::direct() const {
  if (const DirectConv* made = direct_.load(std::memory_order_acquire)) return *made;
  const std::lock_guard lock(fork_safe_mutex());
  if (const DirectConv* made = direct_.load(std::memory_order_relaxed)) return *made;
  ConvProblem problem = problem_;
  problem.weights = weights_.taps(tiles_);
  // Only the bfloat16 dot product is another algorithm than float32's.
  const Dtype dtype = kernels_.gemm_dot[0][0] ? Dtype::kBFloat16 : Dtype::kFloat32;
  Packer packer(direct_store_, "");
  auto made =
      std::make_unique<DirectConv>(std::move(problem), /*strided=*/false, kernels_, dtype, packer);
  packer.finish();
  direct_.store(made.get(), std::memory_order_release);
  return *made.release();
}

// Asks for the ownership of the tiles' outputs while there is other work to do: the cache lines may
// be another processor's.
void WinogradConv::prefetch_outputs(const Bindings& bindings, Range tiles,
                                    const ColumnTile& columns) const {
  const View& target = problem_.targets[columns.target].view;
  const Strides& strides = bindings.strides[target.buffer];
  const Pair m = layout_.outputs();
  const auto element = static_cast<std::ptrdiff_t>(bindings.element_size);
  const std::ptrdiff_t bytes = columns.columns * element;
  for (int t = tiles.begin, run; t < tiles.end; t += run) {
    const Place place = place_of(t);
    run = std::min(place.left, tiles.end - t);
    const std::byte* row = bindings.at(target, place.n, place.y, place.x) + columns.first * element;
    const int rows = std::min(m.vertical, problem_.height() - place.y);
    const int across = std::min(run * m.horizontal, problem_.width() - place.x);
    for (int y = 0; y < rows; ++y, row += strides.row * element) {
      const std::byte* pixel = row;
      for (int x = 0; x < across; ++x, pixel += strides.column * element) {
        for (std::ptrdiff_t b = 0; b < bytes; b += kLine) prefetch_for_write(pixel + b);
      }
    }
  }
}

void WinogradConv::transform_outputs(const Bindings& bindings, Range tiles,
                                     const ColumnTile& columns, const Panels& panels) const {
  const Target& target = problem_.targets[columns.target];
  const Strides& strides = bindings.strides[target.view.buffer];
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
    const Strides& from = bindings.strides[problem_.residual->buffer];
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
  const auto element = static_cast<std::ptrdiff_t>(bindings.element_size);
  for (int t = tiles.begin; t < tiles.end; t += call.tiles) {
    const Place place = place_of(t);
    const std::uint8_t* marks = panels.marks + (t - tiles.begin);
    call.tiles = 1;
    if (marks[0]) continue;
    const int inside = (problem_.width() - place.x) / m.horizontal;
    const int most = std::min({inside, tiles.end - t, place.left});
    while (call.tiles < most && !marks[call.tiles]) ++call.tiles;
    call.in = panels.products + static_cast<std::size_t>(t - tiles.begin) * width;
    call.rows = std::min(m.vertical, problem_.height() - place.y);
    call.columns = std::min(m.horizontal, problem_.width() - place.x);
    if (layout_.vertical) std::swap(call.rows, call.columns);
    call.pixel = bindings.at(target.view, place.n, place.y, place.x) + columns.first * element;
    if (problem_.residual) {
      call.residual =
          bindings.at(*problem_.residual, place.n, place.y, place.x) + columns.channel * element;
    }
    transform(call);
    const int height = std::min(m.vertical, problem_.height() - place.y);
    const int across = std::min(call.tiles * m.horizontal, problem_.width() - place.x);
    for (int y = 0; y < height; ++y) {
      apply_function(bindings, target, kernels_, columns.first, columns.columns,
                     static_cast<std::byte*>(call.pixel) + y * strides.row * element, across);
    }
  }
}

}  // namespace ifast::cpu
