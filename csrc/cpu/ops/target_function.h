#pragma once

#include "cpu/kernels/kernels.h"
#include "cpu/ops/op.h"

namespace ifast::cpu {

// Of the channels from `channel` on, as kernels take it.
inline ElementFunction element_function(const TargetFunction& f, int channel) {
  return {f.function, f.alpha, f.beta, f.slope.empty() ? nullptr : f.slope.data() + channel};
}

// Applies the target's function to what a step has just stored, which is in the cache still:
// channels [channel, channel + channels) of `pixels` pixels side by side, the first of them at
// `out`. Nothing where the target has none.
inline void apply_function(const Bindings& bindings, const Target& target, const Kernels& kernels,
                           int channel, int channels, void* out, int pixels) {
  if (!target.function) return;
  const ElementFunction function = element_function(*target.function, channel);
  PointwiseCall call;
  call.source = call.out = out;
  call.source_stride = call.out_stride = bindings.strides[target.view.buffer].column;
  call.function = &function;
  call.pixels = pixels;
  call.channels = channels;
  kernels.pointwise(call);
}

}  // namespace ifast::cpu
