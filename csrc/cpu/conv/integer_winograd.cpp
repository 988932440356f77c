#include "cpu/conv/integer_winograd.h"

#include <algorithm>

namespace ifast::cpu {
namespace {

// Of a group's four points, in the order of its weights.
enum Point { kEven, kSum, kDifference, kOdd };

}  // namespace

IntegerWinogradConv::IntegerWinogradConv(ConvProblem problem, const Kernels& kernels,
                                         Packer& packer)
    : problem_(std::move(problem)),
      kernels_(kernels),
      groups_(groups_of(*problem_.winograd)),
      tap_units_(units_of(problem_.in_channels, kernels.unit_channels)),
      shared_units_(problem_.winograd->lines * problem_.winograd->triples * tap_units_),
      own_units_(static_cast<int>(groups_.size()) * tap_units_),
      row_stride_(panel_stride(2 * (shared_units_ + own_units_))),
      tiles_(column_tiles(problem_, kernels_, packer)),
      padding_(problem_.in_channels, Element{static_cast<std::uint8_t>(problem_.source.zero)}) {
  const std::size_t units = 2 * (shared_units_ + own_units_);
  weights_ = packer.array(padded_channels(tiles_, kernels_.lanes) * units,
                          [this](float* packed) { pack_weights(packed); });
  problem_.weights = std::vector<float>();
}

std::vector<IntegerWinogradConv::Group> IntegerWinogradConv::groups_of(const WinogradTaps& taps) {
  std::vector<Group> groups;
  const auto add = [&](int line, int tap, int pixels, int weight) {
    const Pair step = taps.axis == Axis::kVertical ? Pair{tap, line} : Pair{line, tap};
    groups.push_back(
        {{taps.first.vertical + step.vertical, taps.first.horizontal + step.horizontal},
         pixels,
         line * taps.line_weights() + weight});
  };
  for (int line = 0; line < taps.lines; ++line) {
    for (int i = 0; i < taps.triples; ++i) add(line, 3 * i, 4, 4 * i);
  }
  for (int line = 0; line < taps.lines; ++line) {
    for (int i = 0; i < taps.singles; ++i) add(line, 3 * taps.triples + i, 2, 4 * taps.triples + i);
  }
  return groups;
}

void IntegerWinogradConv::pack_weights(float* packed) const {
  for (const ColumnTile& tile : tiles_) {
    for (const Group& group : groups_) {
      if (group.pixels == 4)
        pack_panels(tile, group.weight + kSum, group.weight + kDifference, packed);
    }
    for (const Group& group : groups_) {
      const bool single = group.pixels == 2;
      pack_panels(tile, group.weight, single ? group.weight : group.weight + kOdd, packed);
    }
  }
}

// The weights of two points side by side, unit by unit.
void IntegerWinogradConv::pack_panels(const ColumnTile& tile, int first, int second,
                                      float*& packed) const {
  for (int unit = 0; unit < tap_units_; ++unit) {
    for (const int weight : {first, second}) {
      packed = pack_units(problem_, tile, tile.width(kernels_.lanes), weight,
                          unit * kernels_.unit_channels, kernels_.unit_channels, packed);
    }
  }
}

Pair IntegerWinogradConv::tiles_of_image() const {
  const int height = problem_.height(), width = problem_.width();
  return vertical() ? Pair{(height + 1) / 2, width} : Pair{height, (width + 1) / 2};
}

Tiling IntegerWinogradConv::tile(int batch, int threads) const {
  const Pair image = tiles_of_image();
  const int tiles = batch * image.vertical * image.horizontal, rows = kernels_.gemm_rows / 2;
  const std::size_t row_bytes = row_stride_ * sizeof(float) + 2 * sizeof(int);
  Tiling tiling = tile_panel(
      {tiles, row_bytes, rows, rows, 2 * rows, static_cast<int>(tiles_.size())}, threads);
  tiling.cost = 2.0 * tiles * (shared_units_ + own_units_) * problem_.out_channels;
  return tiling;
}

void IntegerWinogradConv::run(const Bindings& bindings, const Tiling& tiling, int task,
                              Scratch& scratch) const {
  const int block = task / tiling.splits;
  const Pair image = tiles_of_image();
  const Range tiles =
      part_of(bindings.batch * image.vertical * image.horizontal, block, tiling.blocks);
  float* panel = reinterpret_cast<float*>(scratch.memory);
  int* pixels =
      reinterpret_cast<int*>(panel + static_cast<std::size_t>(tiles.size()) * row_stride_);
  if (scratch.take(this, block)) {
    transform(bindings, tiles, panel);
    place_outputs(tiles, pixels);
  }
  const Range columns =
      part_of(static_cast<int>(tiles_.size()), task % tiling.splits, tiling.splits);
  for (int j = columns.begin; j < columns.end; ++j) {
    multiply(bindings, tiles_[j], panel, pixels, tiles.size());
  }
}

IntegerWinogradConv::Place IntegerWinogradConv::place_of(int tile) const {
  const Pair image = tiles_of_image();
  const int row = tile / image.horizontal, column = tile % image.horizontal;
  const int y = row % image.vertical;
  return {row / image.vertical, vertical() ? 2 * y : y, vertical() ? column : 2 * column,
          image.horizontal - column};
}

// The pixels of the tiles' outputs, counted through all images.
void IntegerWinogradConv::place_outputs(Range tiles, int* pixels) const {
  const int height = problem_.height(), width = problem_.width();
  for (int t = tiles.begin; t < tiles.end; ++t) {
    const Place place = place_of(t);
    const int even = (place.n * height + place.y) * width + place.x;
    const bool whole = vertical() ? place.y + 1 < height : place.x + 1 < width;
    *pixels++ = even;
    *pixels++ = whole ? even + (vertical() ? width : 1) : -1;
  }
}

void IntegerWinogradConv::transform(const Bindings& bindings, Range tiles, float* panel) const {
  const View& source = problem_.source;
  const std::ptrdiff_t column_stride = bindings.strides[source.buffer].column;
  const int step = vertical() ? 1 : 2;
  TwinInput call;
  call.channels = problem_.in_channels;
  call.out_stride = row_stride_;
  for (int g = 0; g < static_cast<int>(groups_.size()); ++g) {
    const Group& group = groups_[g];
    const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(g) * tap_units_;
    call.positions[kEven] = 2 * shared_units_ + at;
    call.positions[kSum] = at;
    call.positions[kDifference] = shared_units_ + at;
    call.positions[kOdd] = 2 * shared_units_ + own_units_ + at;
    // Columns that a tile's pixels take up.
    const int span = vertical() ? 1 : group.pixels;
    const auto kernel = group.pixels == 4 ? kernels_.twin_input : kernels_.twin_copy;
    for (int t = tiles.begin; t < tiles.end; t += call.tiles) {
      const Place place = place_of(t);
      const int y = place.y + group.offset.vertical, x = place.x + group.offset.horizontal;
      call.tiles = 1;
      if (x >= 0 && x + span <= source.width) {
        call.tiles = std::min({(source.width - span - x) / step + 1, place.left, tiles.end - t});
      }
      for (int i = 0; i < group.pixels; ++i) {
        const int row = vertical() ? y + i : y, column = vertical() ? x : x + i;
        const bool inside = row >= 0 && row < source.height && column >= 0 && column < source.width;
        call.pixels[i] = inside
                             ? static_cast<const void*>(bindings.at(source, place.n, row, column))
                             : padding_.data();
        call.strides[i] = inside ? step * column_stride : 0;
      }
      call.out = panel + static_cast<std::ptrdiff_t>(t - tiles.begin) * row_stride_;
      kernel(call);
    }
  }
}

void IntegerWinogradConv::multiply(const Bindings& bindings, const ColumnTile& tile,
                                   const float* panel, const int* pixels, int tiles) const {
  const int units = 2 * (shared_units_ + own_units_);
  TwinGemmCall call;
  call.shared_units = shared_units_;
  call.own_units = own_units_;
  call.odd_bias = tile.odd_bias;
  call.gemm = gemm_call(bindings, problem_, tile, weights_ + tile.offset * units);
  GemmCall& gemm = call.gemm;
  gemm.row_stride = row_stride_;
  const WeightPrefetcher ahead(gemm.b, units, tile.width(kernels_.lanes));
  const auto& table = problem_.writes_numbers(tile) ? kernels_.twin_gemm_raw : kernels_.twin_gemm;
  const int blocks = gemm_blocks(tiles, kernels_.gemm_rows / 2);
  for (int i = 0; i < blocks; ++i) {
    const Range rows = part_of(tiles, i, blocks);
    gemm.a = panel + static_cast<std::ptrdiff_t>(rows.begin) * row_stride_;
    gemm.prefetch = ahead.of_call(i);
    call.pixels = pixels + 2 * rows.begin;
    table[rows.size() - 1][tile.vectors - 1](call);
  }
}

std::string IntegerWinogradConv::describe() const {
  return std::string("F(2, 3) ") + (vertical() ? "vertical" : "horizontal") + ", int8";
}

}  // namespace ifast::cpu
