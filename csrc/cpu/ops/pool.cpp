#include "cpu/ops/pool.h"

#include <algorithm>
#include <cmath>

#include "cpu/ops/pixels.h"

namespace ifast::cpu {
namespace {

// A window along one axis, clipped to the image, and how many of its pixels the divisor counts.
struct Window {
  int begin;
  int end;
  int counted;

  Window moved(int by) const { return {begin + by, end + by, counted}; }
  bool operator==(const Window&) const = default;
};

Window window(int at, int kernel, int stride, int padding, int padding_end, int extent,
              Divisor divisor) {
  const int first = at * stride - padding, last = first + kernel;
  Window w{std::max(first, 0), std::min(last, extent), 0};
  w.counted =
      divisor == Divisor::kInside ? w.end - w.begin : std::min(last, extent + padding_end) - first;
  return w;
}

// The same of an adaptive pool with `count` windows.
Window adaptive_window(int at, int count, int extent) {
  const int begin = at * extent / count, end = ((at + 1) * extent + count - 1) / count;
  return {begin, end, end - begin};
}

// 1 / n as the largest float that is not above it.
float share_of(int n) {
  const float nearest = 1.0f / static_cast<float>(n);
  return nearest > 1.0 / n ? std::nextafter(nearest, 0.0f) : nearest;
}

// Loads cost about as much as the multiply-adds that a GEMM does meanwhile.
constexpr double kCostPerLoad = 8;

}  // namespace

PoolOp::PoolOp(const PoolStep& step, View source, Target target, std::vector<float> bias,
               const Kernels& kernels)
    : step_(step), source_(source), target_(target), bias_(std::move(bias)), kernels_(kernels) {
  scale_ = source_.scale / target_.view.scale;
  for (float& b : bias_) b /= target_.view.scale;
}

Tiling PoolOp::tile(int batch, int threads) const {
  const int pixels = batch * target_.view.height * target_.view.width;
  Tiling tiling;
  // Whole rows where there are many; a global pool has one pixel, whose channels are cut instead.
  tiling.blocks = std::min(pixels, 8 * threads);
  const int vectors = (source_.channels + kernels_.lanes - 1) / kernels_.lanes;
  tiling.splits = std::clamp(4 * threads / tiling.blocks, 1, std::max(1, vectors / 4));
  tiling.tasks = tiling.blocks * tiling.splits;
  const auto extent = [this](int kernel, int from, int to) {
    return step_.adaptive ? (from + to - 1) / to : kernel;
  };
  tiling.cost = kCostPerLoad * pixels * source_.channels *
                extent(step_.kernel.vertical, source_.height, target_.view.height) *
                extent(step_.kernel.horizontal, source_.width, target_.view.width);
  return tiling;
}

void PoolOp::run(const Bindings& bindings, const Tiling& tiling, int task, Scratch&) const {
  const View& out = target_.view;
  const Range pixels =
      part_of(bindings.batch * out.height * out.width, task / tiling.splits, tiling.blocks);
  const int vectors = (source_.channels + kernels_.lanes - 1) / kernels_.lanes;
  const Range part = part_of(vectors, task % tiling.splits, tiling.splits);
  const int channel = part.begin * kernels_.lanes;
  const bool average = step_.mode == PoolMode::kAverage;
  PoolCall call;
  call.row_stride = bindings.strides[source_.buffer].row;
  call.column_stride = bindings.strides[source_.buffer].column;
  call.channels = std::min(source_.channels, part.end * kernels_.lanes) - channel;
  call.bias = bias_.empty() ? nullptr : bias_.data() + channel;
  call.source_zero = source_.zero;
  call.zero = out.zero;
  call.relu = target_.relu;
  const bool raw = source_.element_size != out.element_size;
  const Pool pool = average ? (raw ? kernels_.average_pool_raw : kernels_.average_pool)
                            : (raw ? kernels_.max_pool_raw : kernels_.max_pool);
  const auto rows_at = [this](int y) {
    if (step_.adaptive) return adaptive_window(y, target_.view.height, source_.height);
    return window(y, step_.kernel.vertical, step_.stride.vertical, step_.padding.vertical,
                  step_.padding_end.vertical, source_.height, step_.divisor);
  };
  const auto columns_at = [this](int x) {
    if (step_.adaptive) return adaptive_window(x, target_.view.width, source_.width);
    return window(x, step_.kernel.horizontal, step_.stride.horizontal, step_.padding.horizontal,
                  step_.padding_end.horizontal, source_.width, step_.divisor);
  };
  call.window_stride = step_.stride.horizontal * call.column_stride;
  call.out_stride = bindings.strides[out.buffer].column;
  for (int p = pixels.begin; p < pixels.end; p += call.pixels) {
    const Pixel at = pixel_at(out, p);
    const Window rows = rows_at(at.y), columns = columns_at(at.x);
    // As far as the windows are alike: from one edge of the image to the other.
    const int last = std::min(at.x + pixels.end - p, out.width);
    call.pixels = 1;
    while (at.x + call.pixels < last &&
           columns_at(at.x + call.pixels) == columns.moved(call.pixels * step_.stride.horizontal)) {
      ++call.pixels;
    }
    call.source =
        bindings.at(source_, at.n, rows.begin, columns.begin) + channel * source_.element_size;
    call.rows = rows.end - rows.begin;
    call.columns = columns.end - columns.begin;
    const int counted = rows.counted * columns.counted;
    call.scale = average ? scale_ * (1.0f / static_cast<float>(counted)) : scale_;
    call.share = share_of(counted);
    call.share_rest = static_cast<float>(1.0 / counted - call.share);
    call.out = bindings.at(out, at.n, at.y, at.x) + channel * out.element_size;
    pool(call);
  }
}

std::string PoolOp::describe() const {
  return step_.mode == PoolMode::kMax ? "maximum" : "average";
}

}  // namespace ifast::cpu
