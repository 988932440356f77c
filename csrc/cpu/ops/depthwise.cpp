#include "cpu/ops/depthwise.h"

#include <algorithm>
#include <utility>

#include "cpu/ops/pixels.h"
#include "cpu/ops/target_function.h"

namespace ifast::cpu {
namespace {

// Loads cost about as much as the multiply-adds that a GEMM does meanwhile.
constexpr double kCostPerTap = 8;

// The longest run that the taps consist of.
int run_of(const std::vector<Pair>& taps, int step) {
  const auto count = static_cast<int>(taps.size());
  const auto consists_of = [&](int run) {
    for (int t = 0; t < count; ++t) {
      const Pair& first = taps[t - t % run];
      if (taps[t].vertical != first.vertical || taps[t].horizontal != first.horizontal + t % run) {
        return false;
      }
    }
    return count % run == 0;
  };
  for (int run = count; run > 1; --run) {
    if (is_depthwise_run(run, step) && consists_of(run)) return run;
  }
  return 1;
}

// Columns x of [0, width) of which x * stride + tap lies in [0, extent) for every tap.
Range inside_of(const std::vector<Pair>& taps, int stride, int extent, int width) {
  int begin = 0, end = width;
  for (const Pair& tap : taps) {
    const int first = tap.horizontal < 0 ? (-tap.horizontal + stride - 1) / stride : 0;
    const int last = extent - 1 - tap.horizontal;
    begin = std::max(begin, first);
    end = std::min(end, last < 0 ? 0 : last / stride + 1);
  }
  return {begin, end};
}

}  // namespace

DepthwiseOp::DepthwiseOp(const DepthwiseStep& step, View source, Target target,
                         std::vector<float> weights, std::vector<float> bias,
                         const Kernels& kernels)
    : taps_(step.taps),
      stride_(step.stride),
      source_(source),
      target_(std::move(target)),
      weights_(std::move(weights)),
      bias_(std::move(bias)),
      run_(run_of(taps_, stride_.horizontal)),
      inside_(inside_of(taps_, stride_.horizontal, source_.width, target_.view.width)),
      kernels_(kernels) {}

Tiling DepthwiseOp::tile(int batch, int threads) const {
  const int pixels = batch * target_.view.height * target_.view.width;
  Tiling tiling;
  tiling.blocks = std::min(pixels, 8 * threads);
  tiling.splits = std::clamp(4 * threads / tiling.blocks, 1, std::max(1, vectors() / 4));
  tiling.tasks = tiling.blocks * tiling.splits;
  tiling.cost = kCostPerTap * pixels * source_.channels * static_cast<double>(taps_.size());
  tiling.scratch = taps_.size() * (sizeof(std::ptrdiff_t) + sizeof(const float*));
  return tiling;
}

void DepthwiseOp::run(const Bindings& bindings, const Tiling& tiling, int task,
                      Scratch& scratch) const {
  const View& out = target_.view;
  const Range pixels =
      part_of(bindings.batch * out.height * out.width, task / tiling.splits, tiling.blocks);
  const Range part = part_of(vectors(), task % tiling.splits, tiling.splits);
  const int channel = part.begin * kernels_.lanes;
  const Strides& strides = bindings.strides[source_.buffer];
  scratch.take(this, task);
  auto* offsets = reinterpret_cast<std::ptrdiff_t*>(scratch.memory);
  auto* weights = reinterpret_cast<const float**>(offsets + taps_.size());
  DepthwiseCall call;
  call.offsets = offsets;
  call.weights = weights;
  call.weight_stride = source_.channels;
  call.column_stride = strides.column;
  call.step = stride_.horizontal;
  call.bias = bias_.empty() ? nullptr : bias_.data() + channel;
  call.relu = target_.relu;
  call.out_stride = bindings.strides[out.buffer].column;
  call.channels = std::min(source_.channels, part.end * kernels_.lanes) - channel;
  for (int p = pixels.begin; p < pixels.end; p += call.pixels) {
    const Pixel at = pixel_at(out, p);
    const bool inside = at.x >= inside_.begin && at.x < inside_.end;
    call.pixels = inside ? std::min(inside_.end - at.x, pixels.end - p) : 1;
    call.run = inside ? run_ : 1;
    call.runs = 0;
    for (std::size_t t = 0; t < taps_.size(); t += call.run) {
      const int y = at.y * stride_.vertical + taps_[t].vertical;
      const int x = at.x * stride_.horizontal + taps_[t].horizontal;
      if (y < 0 || y >= source_.height || x < 0 || x >= source_.width) continue;
      offsets[call.runs] = y * strides.row + x * strides.column;
      weights[call.runs++] = weights_.data() + t * source_.channels + channel;
    }
    call.source = bindings.image(source_, at.n) + channel * source_.element_size;
    call.out = bindings.at(out, at.n, at.y, at.x) + channel * out.element_size;
    kernels_.depthwise(call);
    apply_function(bindings, target_, kernels_, channel, call.channels, call.out, call.pixels);
  }
}

}  // namespace ifast::cpu
