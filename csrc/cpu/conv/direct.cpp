#include "cpu/conv/direct.h"

#include <algorithm>
#include <cstdint>
#include <memory>

#include "cpu/kernels/convert.h"
#include "cpu/ops/target_function.h"

namespace ifast::cpu {
namespace {

// Whether the rows of a product lie in the source as the micro-kernel wants them: whole units, no
// two rows in the same few sets of the first-level cache.
bool is_panel(const ConvProblem& p, int unit_channels, bool strided) {
  const View& source = p.source;
  const bool pointwise = p.tap_count() == 1 && p.taps[0].vertical == 0 &&
                         p.taps[0].horizontal == 0 && p.stride.vertical == 1 &&
                         p.stride.horizontal == 1 && source.height == p.height() &&
                         source.width == p.width();
  const bool units = unit_channels * source.element_size == sizeof(float) &&
                     source.start % unit_channels == 0 && p.in_channels % unit_channels == 0 &&
                     source.buffer_channels % unit_channels == 0;
  return pointwise && units && !strided && source.buffer_channels * source.element_size % 1024 != 0;
}

}  // namespace

DirectConv::DirectConv(ConvProblem problem, bool strided, const Kernels& kernels, Dtype dtype,
                       Packer& packer)
    : problem_(std::move(problem)),
      kernels_(kernels),
      dot_(dtype == Dtype::kBFloat16 && kernels.gemm_dot[0][0] != nullptr),
      unit_channels_(dot_ ? 2 : kernels.unit_channels),
      in_place_(is_panel(problem_, unit_channels_, strided)),
      tap_units_(units_of(problem_.in_channels, unit_channels_)),
      units_(tap_units_ * problem_.tap_count()),
      row_stride_(in_place_ ? problem_.source.buffer_channels / unit_channels_
                            : panel_stride(units_)),
      tiles_(column_tiles(problem_, kernels_, packer)) {
  weights_ = packer.array(padded_channels(tiles_, kernels_.lanes) * units_,
                          [this](float* packed) { pack_weights(packed); });
  problem_.weights = std::vector<float>();
}

void DirectConv::pack_weights(float* packed) const {
  for (const ColumnTile& tile : tiles_) {
    for (int unit = 0; unit < units_; ++unit) {
      const int channel = unit % tap_units_ * unit_channels_;
      packed = pack_units(problem_, tile, tile.width(kernels_.lanes), unit / tap_units_, channel,
                          unit_channels_, packed);
    }
  }
}

Tiling DirectConv::tile(int batch, int threads) const {
  const int pixels = batch * problem_.height() * problem_.width();
  const int rows = kernels_.gemm_rows;
  const std::size_t row_bytes = row_stride_ * sizeof(float);
  Tiling tiling = tile_panel(
      {pixels, row_bytes, rows, rows, 2 * rows, static_cast<int>(tiles_.size())}, threads);
  if (in_place_) tiling.scratch = 0;
  tiling.cost = batch * problem_.multiply_adds() / unit_channels_;
  return tiling;
}

void DirectConv::run(const Bindings& bindings, const Tiling& tiling, int task,
                     Scratch& scratch) const {
  const int block = task / tiling.splits;
  const int pixels = bindings.batch * problem_.height() * problem_.width();
  const Range range = part_of(pixels, block, tiling.blocks);
  const Range columns =
      part_of(static_cast<int>(tiles_.size()), task % tiling.splits, tiling.splits);
  if (in_place_) return multiply(bindings, range, columns, source_panel(bindings, range.begin));
  float* panel = reinterpret_cast<float*>(scratch.memory);
  if (scratch.take(this, block)) gather(bindings, range, panel);
  multiply(bindings, range, columns, panel);
}

void DirectConv::run_pixels(const Bindings& bindings, Range pixels, Range columns) const {
  if (in_place_) return multiply(bindings, pixels, columns, source_panel(bindings, pixels.begin));
  const int most = std::min(pixels.size(), 2 * kernels_.gemm_rows);
  const auto panel =
      std::make_unique_for_overwrite<float[]>(static_cast<std::size_t>(most) * row_stride_);
  for (int begin = pixels.begin; begin < pixels.end; begin += most) {
    const Range some{begin, std::min(begin + most, pixels.end)};
    gather(bindings, some, panel.get());
    multiply(bindings, some, columns, panel.get());
  }
}

const float* DirectConv::source_panel(const Bindings& bindings, int pixel) const {
  return reinterpret_cast<const float*>(bindings.image(problem_.source, 0)) +
         static_cast<std::ptrdiff_t>(pixel) * row_stride_;
}

// panel: of `pixels`.
void DirectConv::multiply(const Bindings& bindings, Range pixels, Range columns,
                          const float* panel) const {
  const int row_blocks = gemm_blocks(pixels.size(), kernels_.gemm_rows);
  for (int j = columns.begin; j < columns.end; ++j) {
    const ColumnTile& tile = tiles_[j];
    const GemmCall first = gemm_call(bindings, problem_, tile, weights_ + tile.offset * units_);
    GemmCall call = first;
    call.row_stride = row_stride_;
    call.segment_length = units_;
    const std::size_t element_size = problem_.targets[tile.target].view.element_size;
    const WeightPrefetcher ahead(call.b, units_, tile.width(kernels_.lanes));
    const auto& table = dot_                            ? kernels_.gemm_dot
                        : problem_.writes_numbers(tile) ? kernels_.gemm_raw
                                                        : kernels_.gemm;
    for (int i = 0; i < row_blocks; ++i) {
      const Range rows = part_of(pixels.size(), i, row_blocks);
      const std::ptrdiff_t pixel = pixels.begin + rows.begin;
      call.a = panel + static_cast<std::ptrdiff_t>(rows.begin) * row_stride_;
      call.out = static_cast<std::byte*>(first.out) + pixel * call.out_stride * element_size;
      if (problem_.residual) {
        call.residual = static_cast<const std::byte*>(first.residual) +
                        pixel * call.residual_stride * problem_.residual->element_size;
      }
      call.prefetch = ahead.of_call(i);
      table[rows.size() - 1][tile.vectors - 1](call);
      apply_function(bindings, problem_.targets[tile.target], kernels_, tile.first, tile.columns,
                     call.out, rows.size());
    }
  }
}

void DirectConv::gather(const Bindings& bindings, Range pixels, float* panel) const {
  const int width = problem_.width(), height = problem_.height();
  const View& source = problem_.source;
  const std::ptrdiff_t channel_stride = bindings.strides[source.buffer].channel;
  const float padding = problem_.quantized() ? zero_unit(source.zero, unit_channels_) : 0.0f;
  for (int p = pixels.begin; p < pixels.end; ++p, panel += row_stride_) {
    const int n = p / (width * height);
    const int y = p / width % height * problem_.stride.vertical;
    const int x = p % width * problem_.stride.horizontal;
    float* out = panel;
    for (const Pair& tap : problem_.taps) {
      const int row = y + tap.vertical, column = x + tap.horizontal;
      if (row < 0 || row >= source.height || column < 0 || column >= source.width) {
        std::fill_n(out, tap_units_, padding);
      } else if (problem_.quantized()) {
        kernels_.gather(bindings.at(source, n, row, column), out, problem_.in_channels);
      } else if (dot_) {
        gather_pairs(bindings.at(source, n, row, column), channel_stride, out,
                     problem_.in_channels);
      } else {
        kernels_.widen(bindings.at(source, n, row, column), channel_stride, out,
                       problem_.in_channels);
      }
      out += tap_units_;
    }
  }
}

std::string DirectConv::describe() const {
  if (problem_.quantized()) return "direct, int8";
  return dot_ ? "direct, bfloat16 dot products" : "direct";
}

}  // namespace ifast::cpu
