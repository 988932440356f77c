#include "cpu/conv/band.h"

#include <algorithm>
#include <utility>

#include "cpu/base/cache_sizes.h"
#include "cpu/kernels/convert.h"
#include "cpu/ops/target_function.h"

namespace ifast::cpu {
namespace {

// Tasks for each thread: at least so many, more where they take long, for rows and columns seldom
// divide evenly and the threads wait for the last task.
constexpr int kLeastTasks = 8, kMostTasks = 32;
constexpr double kTaskCost = 1e6;

}  // namespace

BandConv::BandConv(ConvProblem problem, TapRectangle rectangle, const Kernels& kernels,
                   Packer& packer)
    : problem_(std::move(problem)),
      rectangle_(std::move(rectangle)),
      kernels_(kernels),
      unit_channels_(kernels.unit_channels),
      planes_(problem_.quantized() ? 1 : problem_.in_channels),
      pixel_units_(units_of(problem_.in_channels / planes_, unit_channels_)),
      units_(planes_ * problem_.tap_count() * pixel_units_),
      tiles_(column_tiles(problem_, kernels_, packer)) {
  weights_ = packer.array(padded_channels(tiles_, kernels_.lanes) * units_,
                          [this](float* packed) { pack_weights(packed); });
  problem_.weights = std::vector<float>();
}

void BandConv::pack_weights(float* packed) const {
  for (const ColumnTile& tile : tiles_) {
    for (int unit = 0; unit < units_; ++unit) {
      const int place = unit / pixel_units_;
      const int tap = rectangle_.taps[place % problem_.tap_count()];
      const int plane = place / problem_.tap_count();
      const int channel = plane + unit % pixel_units_ * unit_channels_;
      packed = pack_units(problem_, tile, tile.width(kernels_.lanes), tap, channel, unit_channels_,
                          packed);
    }
  }
}

int BandConv::band_width() const {
  return (problem_.width() - 1) * problem_.stride.horizontal + rectangle_.extent.horizontal;
}

int BandConv::band_rows(int output_rows) const {
  return (output_rows - 1) * problem_.stride.vertical + rectangle_.extent.vertical;
}

Tiling BandConv::tile(int batch, int threads) const {
  Tiling tiling;
  tiling.cost = batch * problem_.multiply_adds() / unit_channels_;
  const double share = tiling.cost / kTaskCost / threads;
  const int wanted = threads * static_cast<int>(std::clamp<double>(share, kLeastTasks, kMostTasks));
  const std::size_t row_bytes = sizeof(float) * planes_ * pixel_units_ * band_width();
  // A band stays in the second-level cache, beside the weights and what is written.
  const int fitting = static_cast<int>(cache_sizes().level2 / 4 / row_bytes);
  const int rows = std::max(1, (fitting - rectangle_.extent.vertical) / problem_.stride.vertical);
  // Columns first, for they share the copy of a band.
  const int columns = static_cast<int>(tiles_.size());
  const int needed = (wanted + batch * columns - 1) / (batch * columns);
  int bands = std::max(needed, (problem_.height() + rows - 1) / rows);
  if (batch == 1) bands = (bands + threads - 1) / threads * threads;
  bands = std::min(bands, problem_.height());
  tiling.blocks = batch * bands;
  tiling.splits = std::clamp(2 * wanted / tiling.blocks, 1, columns);
  tiling.tasks = tiling.blocks * tiling.splits;
  const int most = (problem_.height() + bands - 1) / bands;
  const std::size_t segments = planes_ * rectangle_.extent.vertical;
  tiling.scratch = band_rows(most) * row_bytes + segments * sizeof(std::ptrdiff_t) + kCacheLine;
  return tiling;
}

void BandConv::run(const Bindings& bindings, const Tiling& tiling, int task,
                   Scratch& scratch) const {
  const int block = task / tiling.splits, bands = tiling.blocks / bindings.batch;
  const int n = block / bands;
  const Range rows = part_of(problem_.height(), block % bands, bands);
  const std::ptrdiff_t row_units = static_cast<std::ptrdiff_t>(band_width()) * pixel_units_;
  const int segments = planes_ * rectangle_.extent.vertical;
  auto* offsets = reinterpret_cast<std::ptrdiff_t*>(scratch.memory);
  auto* band = reinterpret_cast<float*>(offsets + segments);
  if (scratch.take(this, block)) {
    copy_band(bindings, n, rows, band);
    for (int s = 0; s < segments; ++s) {
      const int plane = s / rectangle_.extent.vertical, row = s % rectangle_.extent.vertical;
      offsets[s] = (static_cast<std::ptrdiff_t>(plane) * band_rows(rows.size()) + row) * row_units;
    }
  }
  const Range columns =
      part_of(static_cast<int>(tiles_.size()), task % tiling.splits, tiling.splits);
  const int blocks = gemm_blocks(problem_.width(), kernels_.gemm_rows);
  for (int j = columns.begin; j < columns.end; ++j) {
    const ColumnTile& tile = tiles_[j];
    const View& target = problem_.targets[tile.target].view;
    GemmCall call = gemm_call(bindings, problem_, tile, weights_ + tile.offset * units_);
    call.row_stride = static_cast<std::ptrdiff_t>(problem_.stride.horizontal) * pixel_units_;
    call.offsets = offsets;
    call.segments = segments;
    call.segment_length = rectangle_.extent.horizontal * pixel_units_;
    const WeightPrefetcher ahead(call.b, units_, tile.width(kernels_.lanes));
    const auto& table = problem_.writes_numbers(tile) ? kernels_.gemm_raw : kernels_.gemm;
    int calls = 0;
    for (int y = rows.begin; y < rows.end; ++y) {
      const float* row = band + (y - rows.begin) * problem_.stride.vertical * row_units;
      for (int i = 0; i < blocks; ++i) {
        const Range pixels = part_of(problem_.width(), i, blocks);
        call.a = row + pixels.begin * call.row_stride;
        call.out = bindings.at(target, n, y, pixels.begin) + tile.first * target.element_size;
        call.prefetch = ahead.of_call(calls++);
        table[pixels.size() - 1][tile.vectors - 1](call);
        apply_function(bindings, problem_.targets[tile.target], kernels_, tile.first, tile.columns,
                       call.out, pixels.size());
      }
    }
  }
}

void BandConv::copy_band(const Bindings& bindings, int n, Range rows, float* band) const {
  const View& source = problem_.source;
  const std::ptrdiff_t channel_stride = bindings.strides[source.buffer].channel;
  const float padding = problem_.quantized() ? zero_unit(source.zero, unit_channels_) : 0.0f;
  const int width = band_width(), left = rectangle_.first.horizontal;
  const int top = rows.begin * problem_.stride.vertical + rectangle_.first.vertical;
  // Columns of the band that lie in the image.
  const int begin = std::clamp(-left, 0, width),
            end = std::clamp(source.width - left, begin, width);
  const auto pad = [&](int columns) {
    band = std::fill_n(band, std::ptrdiff_t{columns} * pixel_units_, padding);
  };
  for (int plane = 0; plane < planes_; ++plane) {
    for (int i = 0; i < band_rows(rows.size()); ++i) {
      const int y = top + i;
      if (y < 0 || y >= source.height) {
        pad(width);
        continue;
      }
      pad(begin);
      const auto offset = static_cast<std::ptrdiff_t>(source.element_size) * plane * channel_stride;
      copy_pixels(bindings, bindings.at(source, n, y, left + begin) + offset, end - begin, band);
      band += std::ptrdiff_t{end - begin} * pixel_units_;
      pad(width - end);
    }
  }
}

// n pixels of one row, or one channel of each.
void BandConv::copy_pixels(const Bindings& bindings, const std::byte* from, int n,
                           float* to) const {
  const View& source = problem_.source;
  const Strides& strides = bindings.strides[source.buffer];
  const int channels = problem_.in_channels;
  if (!problem_.quantized()) {
    kernels_.widen(from, strides.column, to, n);
  } else if (source.element_size == sizeof(float)) {
    kernels_.quantize_pixels({reinterpret_cast<const float*>(from), strides.column, strides.channel,
                              channels, source.scale, source.zero, to, n});
  } else if (strides.column == channels && channels % unit_channels_ == 0) {
    kernels_.gather(from, to, n * channels);
  } else {
    for (int i = 0; i < n; ++i, from += strides.column, to += pixel_units_) {
      kernels_.gather(from, to, channels);
    }
  }
}

std::string BandConv::describe() const {
  return problem_.quantized() ? "direct, int8, from a band" : "direct, from a band";
}

}  // namespace ifast::cpu
