#include "cpu/ops/pixel_ops.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "cpu/ops/pixels.h"
#include "cpu/ops/target_function.h"

namespace ifast::cpu {
namespace {

const float* data_or_null(const std::vector<float>& v) { return v.empty() ? nullptr : v.data(); }

// The two source positions around an output position, and the weight of the second.
struct Neighbours {
  int first;
  int second;
  float weight;
};

Neighbours neighbours(int at, int from, int to, bool align_corners) {
  float position;
  if (align_corners) {
    position = to > 1 ? at * (static_cast<float>(from - 1) / static_cast<float>(to - 1)) : 0.0f;
  } else {
    const float scale = static_cast<float>(from) / static_cast<float>(to);
    position = std::max(0.0f, (static_cast<float>(at) + 0.5f) * scale - 0.5f);
  }
  const int first = std::min(static_cast<int>(position), from - 1);
  return {first, std::min(first + 1, from - 1), position - static_cast<float>(first)};
}

template <class T>
void copy_pixels(const Bindings& bindings, const View& source, const View& target, Range pixels) {
  const std::ptrdiff_t stride = bindings.strides[source.buffer].channel;
  for (int p = pixels.begin; p < pixels.end; ++p) {
    const Pixel at = pixel_at(target, p);
    const auto* from = reinterpret_cast<const T*>(bindings.at(source, at.n, at.y, at.x));
    auto* to = reinterpret_cast<T*>(bindings.at(target, at.n, at.y, at.x));
    if (stride == 1) {
      std::copy_n(from, target.channels, to);
    } else {
      for (int c = 0; c < target.channels; ++c) to[c] = from[c * stride];
    }
  }
}

}  // namespace

PointwiseOp::PointwiseOp(View source, Target target, std::vector<float> scale,
                         std::vector<float> shift, std::optional<View> other,
                         const Kernels& kernels)
    : source_(source),
      target_(std::move(target)),
      scale_(std::move(scale)),
      shift_(std::move(shift)),
      other_(other),
      kernels_(kernels) {}

Tiling PointwiseOp::tile(int batch, int threads) const {
  return tile_pixels(target_.view, batch, threads);
}

void PointwiseOp::run(const Bindings& bindings, const Tiling& tiling, int task, Scratch&) const {
  const Range pixels = pixels_of(target_.view, bindings, tiling, task);
  const Pixel first = pixel_at(target_.view, pixels.begin);
  const auto at = [&](const View& view) { return bindings.at(view, first.n, first.y, first.x); };
  PointwiseCall call;
  call.source = at(source_);
  call.source_stride = bindings.strides[source_.buffer].column;
  if (other_) {
    call.other = at(*other_);
    call.other_stride = bindings.strides[other_->buffer].column;
  }
  call.scale = data_or_null(scale_);
  call.shift = data_or_null(shift_);
  call.relu = target_.relu;
  ElementFunction function;
  if (target_.function) {
    function = element_function(*target_.function, 0);
    call.function = &function;
  }
  call.out = at(target_.view);
  call.out_stride = bindings.strides[target_.view.buffer].column;
  call.pixels = pixels.size();
  call.channels = source_.channels;
  kernels_.pointwise(call);
}

ResizeOp::ResizeOp(View source, Target target, bool align_corners, const Kernels& kernels)
    : source_(source), target_(target), align_corners_(align_corners), kernels_(kernels) {}

Tiling ResizeOp::tile(int batch, int threads) const {
  return tile_pixels(target_.view, batch, threads);
}

void ResizeOp::run(const Bindings& bindings, const Tiling& tiling, int task, Scratch&) const {
  const Range pixels = pixels_of(target_.view, bindings, tiling, task);
  BlendCall call;
  call.channels = source_.channels;
  call.relu = target_.relu;
  for (int p = pixels.begin; p < pixels.end; ++p) {
    const Pixel at = pixel_at(target_.view, p);
    const Neighbours y = neighbours(at.y, source_.height, target_.view.height, align_corners_);
    const Neighbours x = neighbours(at.x, source_.width, target_.view.width, align_corners_);
    for (int i = 0; i < 4; ++i) {
      call.corners[i] =
          bindings.at(source_, at.n, i / 2 ? y.second : y.first, i % 2 ? x.second : x.first);
      call.weights[i] = (i / 2 ? y.weight : 1.0f - y.weight) * (i % 2 ? x.weight : 1.0f - x.weight);
    }
    call.out = bindings.at(target_.view, at.n, at.y, at.x);
    kernels_.blend(call);
  }
}

NormalizeOp::NormalizeOp(View source, Target target, float eps, const Kernels& kernels)
    : source_(source), target_(target), eps_(eps), kernels_(kernels) {}

Tiling NormalizeOp::tile(int batch, int threads) const {
  return tile_pixels(target_.view, batch, threads);
}

void NormalizeOp::run(const Bindings& bindings, const Tiling& tiling, int task, Scratch&) const {
  const Range pixels = pixels_of(target_.view, bindings, tiling, task);
  for (int p = pixels.begin; p < pixels.end; ++p) {
    const Pixel at = pixel_at(target_.view, p);
    NormalizeCall call;
    call.source = bindings.at(source_, at.n, at.y, at.x);
    call.channels = source_.channels;
    call.eps = eps_;
    call.relu = target_.relu;
    call.out = bindings.at(target_.view, at.n, at.y, at.x);
    kernels_.normalize(call);
  }
}

Tiling CopyInputOp::tile(int batch, int threads) const {
  return tile_pixels(target_, batch, threads);
}

void CopyInputOp::run(const Bindings& bindings, const Tiling& tiling, int task, Scratch&) const {
  const Range pixels = pixels_of(target_, bindings, tiling, task);
  if (bindings.element_size == 4) {
    copy_pixels<std::uint32_t>(bindings, source_, target_, pixels);
  } else {
    copy_pixels<std::uint16_t>(bindings, source_, target_, pixels);
  }
}

}  // namespace ifast::cpu
