#include "cpu/ops/channel_ops.h"

#include <algorithm>
#include <utility>

#include "cpu/ops/pixels.h"

namespace ifast::cpu {

SoftmaxOp::SoftmaxOp(View source, Target target, bool log, const Kernels& kernels)
    : source_(source), target_(std::move(target)), log_(log), kernels_(kernels) {}

Tiling SoftmaxOp::tile(int batch, int threads) const {
  Tiling tiling = tile_pixels(target_.view, batch, threads);
  tiling.scratch = source_.channels * sizeof(float);
  return tiling;
}

void SoftmaxOp::run(const Bindings& bindings, const Tiling& tiling, int task,
                    Scratch& scratch) const {
  const Range pixels = pixels_of(target_.view, bindings, tiling, task);
  scratch.take(this, task);
  SoftmaxCall call;
  call.channels = source_.channels;
  call.log = log_;
  call.relu = target_.relu;
  call.exponentials = reinterpret_cast<float*>(scratch.memory);
  for (int p = pixels.begin; p < pixels.end; ++p) {
    const Pixel at = pixel_at(target_.view, p);
    call.source = bindings.at(source_, at.n, at.y, at.x);
    call.out = bindings.at(target_.view, at.n, at.y, at.x);
    kernels_.softmax(call);
  }
}

LocalResponseOp::LocalResponseOp(const LocalResponseStep& step, View source, Target target,
                                 const Kernels& kernels)
    : source_(source), target_(std::move(target)), kernels_(kernels) {
  call_.channels = source_.channels;
  // A window reaches no farther than all channels do.
  call_.before = std::min(step.size / 2, source_.channels);
  call_.after = std::min((step.size - 1) / 2, source_.channels);
  call_.factor = static_cast<float>(step.alpha / step.size);
  call_.beta = step.beta;
  call_.k = static_cast<float>(step.k);
  call_.relu = target_.relu;
}

Tiling LocalResponseOp::tile(int batch, int threads) const {
  Tiling tiling = tile_pixels(target_.view, batch, threads);
  const int squares = call_.before + call_.channels + call_.after + kernels_.lanes;
  tiling.scratch = squares * sizeof(float);
  return tiling;
}

void LocalResponseOp::run(const Bindings& bindings, const Tiling& tiling, int task,
                          Scratch& scratch) const {
  const Range pixels = pixels_of(target_.view, bindings, tiling, task);
  scratch.take(this, task);
  LocalResponseCall call = call_;
  call.squares = reinterpret_cast<float*>(scratch.memory);
  for (int p = pixels.begin; p < pixels.end; ++p) {
    const Pixel at = pixel_at(target_.view, p);
    call.source = bindings.at(source_, at.n, at.y, at.x);
    call.out = bindings.at(target_.view, at.n, at.y, at.x);
    kernels_.local_response(call);
  }
}

GateOp::GateOp(View source, View gate, Target target, const Kernels& kernels)
    : source_(source), gate_(gate), target_(std::move(target)), kernels_(kernels) {}

Tiling GateOp::tile(int batch, int threads) const {
  return tile_pixels(target_.view, batch, threads);
}

void GateOp::run(const Bindings& bindings, const Tiling& tiling, int task, Scratch&) const {
  const View& out = target_.view;
  const Range pixels = pixels_of(out, bindings, tiling, task);
  GateCall call;
  call.source_stride = bindings.strides[source_.buffer].column;
  call.gate_stride = is_of_image() ? 0 : bindings.strides[gate_.buffer].column;
  call.one_channel = gate_.channels == 1;
  call.relu = target_.relu;
  call.out_stride = bindings.strides[out.buffer].column;
  call.channels = source_.channels;
  for (int p = pixels.begin; p < pixels.end; p += call.pixels) {
    const Pixel at = pixel_at(out, p);
    // A gate of an image is another one in the next.
    const int image_end = (at.n + 1) * out.height * out.width;
    call.pixels = (is_of_image() ? std::min(image_end, pixels.end) : pixels.end) - p;
    call.source = bindings.at(source_, at.n, at.y, at.x);
    call.gate = is_of_image() ? bindings.image(gate_, at.n) : bindings.at(gate_, at.n, at.y, at.x);
    call.out = bindings.at(out, at.n, at.y, at.x);
    kernels_.gate(call);
  }
}

}  // namespace ifast::cpu
