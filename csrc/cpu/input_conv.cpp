#include "cpu/input_conv.h"

#include <algorithm>
#include <utility>

namespace ifast::cpu {
namespace {

constexpr int kTasksPerThread = 8;

}  // namespace

InputConv::InputConv(ConvProblem problem, TapRectangle rectangle, const Kernels& kernels,
                     WeightStore& store)
    : problem_(std::move(problem)),
      rectangle_(std::move(rectangle)),
      kernels_(kernels),
      units_(problem_.tap_count() * problem_.in_channels),
      tiles_(column_tiles(problem_, kernels_, store)) {
  pack_weights(store);
  problem_.weights = {};
}

void InputConv::pack_weights(WeightStore& store) {
  const int lanes = kernels_.lanes, taps = problem_.tap_count();
  float* packed = store.take<float>(padded_channels(tiles_, lanes) * units_);
  weights_ = packed;
  for (const ColumnTile& tile : tiles_) {
    for (int unit = 0; unit < units_; ++unit) {
      const int tap = rectangle_.taps[unit % taps];
      for (int j = 0; j < tile.width(lanes); ++j) {
        *packed++ = j < tile.columns ? problem_.weight(tile.channel + j, tap, unit / taps) : 0.0f;
      }
    }
  }
}

int InputConv::plane_width() const {
  return (problem_.width() - 1) * problem_.stride.horizontal + rectangle_.extent.horizontal;
}

int InputConv::plane_rows(int output_rows) const {
  return (output_rows - 1) * problem_.stride.vertical + rectangle_.extent.vertical;
}

Tiling InputConv::tile(int batch, int threads) const {
  Tiling tiling;
  tiling.splits = std::min(problem_.height(), std::max(1, kTasksPerThread * threads / batch));
  tiling.blocks = batch;
  tiling.tasks = tiling.blocks * tiling.splits;
  const int most = (problem_.height() + tiling.splits - 1) / tiling.splits;
  const std::size_t planes =
      static_cast<std::size_t>(problem_.in_channels) * plane_rows(most) * plane_width();
  const std::size_t segments = problem_.in_channels * rectangle_.extent.vertical;
  tiling.scratch = planes * sizeof(float) + segments * sizeof(std::ptrdiff_t) + kCacheLine;
  tiling.cost = batch * problem_.multiply_adds();
  return tiling;
}

void InputConv::run(const Frame& frame, const Tiling& tiling, int task, Scratch& scratch) const {
  const int n = task / tiling.splits;
  const Range rows = part_of(problem_.height(), task % tiling.splits, tiling.splits);
  const std::ptrdiff_t width = plane_width(), height = plane_rows(rows.size());
  const int segments = problem_.in_channels * rectangle_.extent.vertical;
  auto* offsets = reinterpret_cast<std::ptrdiff_t*>(scratch.memory);
  auto* planes = reinterpret_cast<float*>(offsets + segments);
  scratch.owner = nullptr;
  copy_planes(frame, n, rows, planes);
  for (int s = 0; s < segments; ++s) {
    const int channel = s / rectangle_.extent.vertical, row = s % rectangle_.extent.vertical;
    offsets[s] = (channel * height + row) * width;
  }

  GemmCall call;
  call.row_stride = problem_.stride.horizontal;
  call.offsets = offsets;
  call.segments = segments;
  call.segment_length = rectangle_.extent.horizontal;
  call.prefetch = weights_;
  call.claim = true;
  const int blocks = gemm_blocks(problem_.width(), kernels_);
  for (int y = rows.begin; y < rows.end; ++y) {
    const float* row = planes + (y - rows.begin) * problem_.stride.vertical * width;
    for (int i = 0; i < blocks; ++i) {
      const Range columns = part_of(problem_.width(), i, blocks);
      call.a = row + columns.begin * problem_.stride.horizontal;
      for (const ColumnTile& tile : tiles_) {
        const Target& target = problem_.targets[tile.target];
        call.b = weights_ + tile.offset * units_;
        call.bias = tile.bias;
        call.columns = tile.columns;
        call.relu = target.relu;
        call.out = frame.at(target.view, n, y, columns.begin) + tile.first * frame.element_size;
        call.out_stride = frame.strides[target.view.buffer].column;
        kernels_.gemm[columns.size() - 1][tile.vectors - 1](call);
      }
    }
  }
}

void InputConv::copy_planes(const Frame& frame, int n, Range rows, float* planes) const {
  const View& source = problem_.source;
  const Strides& strides = frame.strides[source.buffer];
  const int width = plane_width(), left = rectangle_.first.horizontal;
  const int top = rows.begin * problem_.stride.vertical + rectangle_.first.vertical;
  // Columns of a plane that lie in the image.
  const int begin = std::clamp(-left, 0, width),
            end = std::clamp(source.width - left, begin, width);
  for (int c = 0; c < problem_.in_channels; ++c) {
    for (int i = 0; i < plane_rows(rows.size()); ++i, planes += width) {
      const int y = top + i;
      if (y < 0 || y >= source.height) {
        std::fill_n(planes, width, 0.0f);
        continue;
      }
      std::fill(planes, planes + begin, 0.0f);
      const std::byte* pixel =
          frame.at(source, n, y, left + begin) +
          c * strides.channel * static_cast<std::ptrdiff_t>(frame.element_size);
      kernels_.widen(pixel, strides.column, planes + begin, end - begin);
      std::fill(planes + end, planes + width, 0.0f);
    }
  }
}

}  // namespace ifast::cpu
