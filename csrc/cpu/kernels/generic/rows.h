#pragma once

#include "cpu/kernels/generic/unroll.h"
#include "cpu/kernels/kernels.h"

// Operators on whole pixels: pools, blends, norms, conversion.
namespace ifast::cpu {
namespace {

// f(first channel, whole or partial load and store of a vector there) over all channels.
template <class F>
inline void each_vector(int channels, F f) {
  int c = 0;
  for (; c + Vec::kLanes <= channels; c += Vec::kLanes) {
    f(c, [](const auto* p) { return load(p); }, [](auto* p, Vec x) { store(p, x); });
  }
  if (c < channels) {
    const Mask rest(channels - c);
    f(
        c, [rest](const auto* p) { return load(p, rest); },
        [rest](auto* p, Vec x) { store(p, x, rest); });
  }
}

// The pixels of a call one by one, as `pool` computes them.
template <class From, class To, void (*pool)(const PoolCall&)>
void each_pixel(const PoolCall& call) {
  PoolCall one = call;
  for (int i = 0; i < call.pixels; ++i) {
    one.source = static_cast<const From*>(call.source) + i * call.window_stride;
    one.out = static_cast<To*>(call.out) + i * call.out_stride;
    pool(one);
  }
}

template <class T>
void max_pool(const PoolCall& call) {
  const T* source = static_cast<const T*>(call.source);
  T* out = static_cast<T*>(call.out);
  each_vector(call.channels, [&](int c, auto load, auto store) {
    Vec best = load(source + c);
    for (int y = 0; y < call.rows; ++y) {
      for (int x = 0; x < call.columns; ++x) {
        const T* pixel = source + y * call.row_stride + x * call.column_stride;
        best = max_or_nan(best, load(pixel + c));
      }
    }
    store(out + c, call.relu ? relu(best) : best);
  });
}

// The sum over a window, by halves where it is long: the error of a serial one grows with its
// length, and images far from zero show it.
template <class T, class Load>
Vec window_sum(const PoolCall& call, const T* pixel, int rows, int columns, Load load) {
  constexpr std::ptrdiff_t kSerial = 16;
  if (std::ptrdiff_t{1} * rows * columns > kSerial) {
    const bool wide = columns > rows;
    const int half = (wide ? columns : rows) / 2;
    const T* other = pixel + half * (wide ? call.column_stride : call.row_stride);
    return window_sum(call, pixel, wide ? rows : half, wide ? half : columns, load) +
           window_sum(call, other, wide ? rows : rows - half, wide ? columns - half : columns,
                      load);
  }
  Vec total = broadcast(0.0f);
  for (int y = 0; y < rows; ++y) {
    for (int x = 0; x < columns; ++x) {
      total = total + load(pixel + y * call.row_stride + x * call.column_stride);
    }
  }
  return total;
}

template <class T>
void average_pool(const PoolCall& call) {
  const T* source = static_cast<const T*>(call.source);
  T* out = static_cast<T*>(call.out);
  each_vector(call.channels, [&](int c, auto load, auto store) {
    const Vec total = window_sum(call, source + c, call.rows, call.columns, load);
    const Vec bias = call.bias ? load(call.bias + c) : broadcast(0.0f);
    // Nothing of an infinite sum would be NaN.
    const Vec rest = call.share_rest > 0 ? fma(total, broadcast(call.share_rest), bias) : bias;
    const Vec average = fma(total, broadcast(call.share), rest);
    store(out + c, call.relu ? relu(average) : average);
  });
}

template <class T>
void blend(const BlendCall& call) {
  each_vector(call.channels, [&](int c, auto load, auto store) {
    Vec x = broadcast(0.0f);
    for (int i = 0; i < 4; ++i) {
      x = fma(broadcast(call.weights[i]), load(static_cast<const T*>(call.corners[i]) + c), x);
    }
    store(static_cast<T*>(call.out) + c, call.relu ? relu(x) : x);
  });
}

template <class T>
void normalize(const NormalizeCall& call) {
  const T* source = static_cast<const T*>(call.source);
  T* out = static_cast<T*>(call.out);
  Vec squares = broadcast(0.0f);
  each_vector(call.channels, [&](int c, auto load, auto) {
    const Vec x = load(source + c);
    squares = fma(x, x, squares);
  });
  const float norm = __builtin_sqrtf(sum(squares));
  // Written so that a NaN norm stays.
  const Vec scale = broadcast(1.0f / (norm < call.eps ? call.eps : norm));
  each_vector(call.channels, [&](int c, auto load, auto store) {
    const Vec x = load(source + c) * scale;
    store(out + c, call.relu ? relu(x) : x);
  });
}

inline float element(const float* p) { return *p; }
inline float element(const BFloat16* p) {
  return __builtin_bit_cast(float, std::uint32_t{p->bits} << 16);
}
inline float element(const Half* p) {
  float x;
  store(&x, load(p, Mask(1)), Mask(1));
  return x;
}

template <class T>
void widen_row(const void* from, std::ptrdiff_t stride, float* out, int n) {
  const T* source = static_cast<const T*>(from);
  if (stride == 1) {
    each_vector(n, [&](int c, auto load, auto store) { store(out + c, load(source + c)); });
    return;
  }
  for (int i = 0; i < n; ++i) out[i] = element(source + i * stride);
}

// Enough independent sums to hide the latency of an addition; they differ, or the compiler would
// keep one.
inline int multiply_add_loop(int steps) {
  constexpr int kSums = 12;
  Vec sums[kSums];
  unroll<kSums>([&](auto j) { sums[j.value] = broadcast(j.value); });
  const Vec factor = broadcast(0.5f), term = broadcast(0.25f);
  for (int i = 0; i < steps; ++i) {
    unroll<kSums>([&](auto j) { sums[j.value] = fma(sums[j.value], factor, term); });
  }
  volatile float keep = 0;
  unroll<kSums>([&](auto j) { keep = keep + sum(sums[j.value]); });
  return kSums * Vec::kLanes * 2;
}

}  // namespace
}  // namespace ifast::cpu
