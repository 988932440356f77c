#pragma once

#include "cpu/kernels/generic/activation.h"
#include "cpu/kernels/generic/rows.h"
#include "cpu/kernels/kernels.h"

namespace ifast::cpu {
namespace {

template <class T>
void pointwise(const PointwiseCall& call) {
  with_function(call.function, call.relu, [&call](auto function) {
    for (int p = 0; p < call.pixels; ++p) {
      const T* source = static_cast<const T*>(call.source) + p * call.source_stride;
      T* out = static_cast<T*>(call.out) + p * call.out_stride;
      each_vector(call.channels, [&](int c, auto load, auto store) {
        Vec x = load(source + c);
        if (call.scale) {
          const Vec shift = call.shift ? load(call.shift + c) : broadcast(0.0f);
          x = fma(x, load(call.scale + c), shift);
        } else if (call.shift) {
          x = x + load(call.shift + c);
        }
        if (call.other) {
          x = x + load(static_cast<const T*>(call.other) + p * call.other_stride + c);
        }
        store(out + c, function(x, c, load));
      });
    }
  });
}

}  // namespace
}  // namespace ifast::cpu
