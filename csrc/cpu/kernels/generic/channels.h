#pragma once

#include "cpu/kernels/generic/power.h"
#include "cpu/kernels/generic/rows.h"
#include "cpu/kernels/kernels.h"

// Operators along the channels of a pixel, and gates.
namespace ifast::cpu {
namespace {

// x, with `other` in all lanes but the first n.
inline Vec first_lanes(Vec x, int n, float other) {
  Ints lane;
  for (int i = 0; i < Vec::kLanes; ++i) lane[i] = i;
  return {lane < n ? x.v : broadcast(other).v};
}

// The largest channel; any where one is NaN.
template <class T>
inline float largest(const T* source, int channels) {
  const float first = element(source);
  Vec best = broadcast(first);
  each_vector(channels, [&](int c, auto load, auto) {
    best = max_or_nan(best, first_lanes(load(source + c), channels - c, first));
  });
  alignas(sizeof(Vec)) float lanes[Vec::kLanes];
  store(lanes, best);
  float most = first;
  for (float lane : lanes) most = lane > most ? lane : most;
  return most;
}

// Writes exp(x - shift) and returns the sum, in parts: the error of a serial one grows with its
// length.
template <class T>
inline double shifted_exponentials(const T* source, int channels, float shift, float* out) {
  constexpr int kPart = 1024;
  double total = 0;
  for (int begin = 0; begin < channels; begin += kPart) {
    const int n = channels - begin < kPart ? channels - begin : kPart;
    Vec part = broadcast(0.0f);
    each_vector(n, [&](int c, auto load, auto store) {
      const Vec e = exponential(load(source + begin + c) - broadcast(shift));
      store(out + begin + c, e);
      part = part + first_lanes(e, n - c, 0.0f);
    });
    total += sum(part);
  }
  return total;
}

template <class T>
void softmax(const SoftmaxCall& call) {
  const T* source = static_cast<const T*>(call.source);
  T* out = static_cast<T*>(call.out);
  const float shift = largest(source, call.channels);
  const double total = shifted_exponentials(source, call.channels, shift, call.exponentials);
  const Vec log = broadcast(static_cast<float>(__builtin_log(total)));
  const Vec share = broadcast(static_cast<float>(1 / total));
  each_vector(call.channels, [&](int c, auto load, auto store) {
    const Vec x =
        call.log ? load(source + c) - broadcast(shift) - log : load(call.exponentials + c) * share;
    store(out + c, call.relu ? relu(x) : x);
  });
}

template <class T>
void local_response(const LocalResponseCall& call) {
  const T* source = static_cast<const T*>(call.source);
  T* out = static_cast<T*>(call.out);
  float* squares = call.squares;
  for (int i = 0; i < call.before; ++i) squares[i] = 0.0f;
  for (int i = 0; i < call.after + Vec::kLanes; ++i)
    squares[call.before + call.channels + i] = 0.0f;
  each_vector(call.channels, [&](int c, auto load, auto store) {
    const Vec x = load(source + c);
    store(squares + call.before + c, x * x);
  });
  const Vec k = broadcast(call.k), factor = broadcast(call.factor);
  each_vector(call.channels, [&](int c, auto load, auto store) {
    Vec total = broadcast(0.0f);
    for (int i = 0; i <= call.before + call.after; ++i) {
      total = total + ifast::cpu::load(squares + c + i);
    }
    const Vec x = load(source + c) / norm_power(fma(total, factor, k), call.beta);
    store(out + c, call.relu ? relu(x) : x);
  });
}

template <class T>
void gate(const GateCall& call) {
  for (int p = 0; p < call.pixels; ++p) {
    const T* source = static_cast<const T*>(call.source) + p * call.source_stride;
    const T* by = static_cast<const T*>(call.gate) + p * call.gate_stride;
    T* out = static_cast<T*>(call.out) + p * call.out_stride;
    const Vec one = broadcast(element(by));
    each_vector(call.channels, [&](int c, auto load, auto store) {
      const Vec x = load(source + c) * (call.one_channel ? one : load(by + c));
      store(out + c, call.relu ? relu(x) : x);
    });
  }
}

}  // namespace
}  // namespace ifast::cpu
