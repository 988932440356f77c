#pragma once

#include <algorithm>
#include <type_traits>

#include "cpu/kernels/generic/gemm.h"
#include "cpu/kernels/generic/integer_winograd.h"
#include "cpu/kernels/generic/rows.h"
#include "cpu/kernels/kernels.h"

// The kernels of quantised Plans over the Vec and the IntegerUnit that were included before.
// docs/int8.md defines the arithmetic: every operation rounds by itself, none is fused (the build
// forbids the compiler to), so that all instruction sets give the same bits.
namespace ifast::cpu {
namespace {

// How a result becomes elements, or stays a number in a float32 output.
struct Rounding {
  Rounding(bool with_relu, int zero_element)
      : relu(with_relu),
        least(broadcast(with_relu ? 0.0f : -static_cast<float>(zero_element))),
        most(broadcast(255.0f - static_cast<float>(zero_element))),
        zero(broadcast(static_cast<float>(zero_element))) {}

  Vec apply(Vec x, Element) const { return round_to_even(clamp(x, least, most)) + zero; }
  Vec apply(Vec x, float) const { return relu ? ifast::cpu::relu(x) : x; }

  bool relu;
  Vec least, most, zero;
};

// Vectors that one step of Narrowing turns into elements.
constexpr int kNarrowed = 4;

// Rows of a block at equal distances.
template <class T>
struct EvenRows {
  explicit EvenRows(const GemmCall& call)
      : first(static_cast<T*>(call.out)),
        stride(call.out_stride),
        first_residual(static_cast<const Element*>(call.residual)),
        residual_stride(call.residual_stride) {}

  T* out(int m) const { return first + m * stride; }
  const Element* residual(int m) const { return first_residual + m * residual_stride; }

  T* first;
  std::ptrdiff_t stride;
  const Element* first_residual;
  std::ptrdiff_t residual_stride;
};

// Whole rows of a block, a few at a time; what is left over is written with the last row again.
template <int Rows, int Vectors, class Places>
inline __attribute__((always_inline)) void store_rows(const GemmCall& call,
                                                      const Vec (&x)[Rows][Vectors],
                                                      const Places& places) {
  constexpr int kStep = kNarrowed / Vectors;
  const Narrowing narrowing(call.relu, call.requantization->zero);
  unroll<(Rows + kStep - 1) / kStep>([&](auto i) __attribute__((always_inline)) {
    Element* rows[kStep];
    Vec part[kNarrowed];
    unroll<kNarrowed>([&](auto j) __attribute__((always_inline)) {
      constexpr int kAt = i.value * kStep + j.value / Vectors;
      constexpr int kRow = kAt < Rows ? kAt : Rows - 1;
      rows[j.value / Vectors] = places.out(kRow);
      part[j.value] = x[kRow][j.value % Vectors];
    });
    narrowing.store(rows, part);
  });
}

// places: where the rows of the result and of the residual are.
template <class T, int Rows, int Vectors, class Places>
inline __attribute__((always_inline)) void store_integers(const GemmCall& call,
                                                          Vec (&acc)[Rows][Vectors],
                                                          const Places& places) {
  const Requantization& r = *call.requantization;
  const auto each = [&](auto f) __attribute__((always_inline)) {
    unroll<Rows>([&](auto m) __attribute__((always_inline)) {
      unroll<Vectors>([&](auto n) __attribute__((always_inline)) {
        f(m.value, n.value, acc[m.value][n.value]);
      });
    });
  };
  Vec scale[Vectors];
  unroll<Vectors>([&](auto n) __attribute__((always_inline)) {
    scale[n.value] = load(r.scale + n.value * Vec::kLanes);
  });
  each([&](int, int n, Vec& x)
           __attribute__((always_inline)) { x = integers_to_floats(x) * scale[n]; });

  const bool whole = call.columns == Vectors * Vec::kLanes;
  const Mask last(call.columns - (Vectors - 1) * Vec::kLanes);
  const auto partial = [whole](int n) { return n == Vectors - 1 && !whole; };
  if (call.residual) {
    const Vec unit = broadcast(r.residual_scale);
    const Vec zero = broadcast(static_cast<float>(r.residual_zero));
    each([&](int m, int n, Vec& x) __attribute__((always_inline)) {
      const Element* from = places.residual(m) + n * Vec::kLanes;
      x = x + ((partial(n) ? load(from, last) : load(from)) - zero) * unit;
    });
  }
  if constexpr (std::is_same_v<T, Element>) {
    if (whole) {
      store_rows(call, acc, places);
      return;
    }
  }
  const Rounding rounding(call.relu, r.zero);
  each([&](int m, int n, Vec x) __attribute__((always_inline)) {
    T* const to = places.out(m) + n * Vec::kLanes;
    x = rounding.apply(x, T{});
    if (partial(n)) {
      store(to, x, last);
    } else {
      store(to, x);
    }
  });
}

// The unit of the instruction set, and what becomes of its sums.
struct QuantizedUnit : IntegerUnit {
  static constexpr bool kRounds = false;

  template <class T, int Rows, int Vectors>
  static inline __attribute__((always_inline)) void finish(const GemmCall& call,
                                                           Vec (&acc)[Rows][Vectors]) {
    store_integers<T>(call, acc, EvenRows<T>(call));
  }

  template <class T, int Rows, int Vectors, class Places>
  static inline __attribute__((always_inline)) void finish(const GemmCall& call,
                                                           Vec (&acc)[Rows][Vectors],
                                                           const Places& places) {
    store_integers<T>(call, acc, places);
  }
};

template <class T>
void max_pool_elements(const PoolCall& call) {
  const auto* source = static_cast<const Element*>(call.source);
  T* out = static_cast<T*>(call.out);
  const Rounding rounding(call.relu, call.zero);
  const Vec scale = broadcast(call.scale), zero = broadcast(static_cast<float>(call.source_zero));
  const bool same = std::is_same_v<T, Element> && call.scale == 1 && call.source_zero == call.zero;
  const Bytes least = broadcast_byte(same && call.relu ? call.zero : 0);
  for (int first = 0; first < call.channels; first += Bytes::kLanes) {
    const int count = std::min(call.channels - first, Bytes::kLanes);
    Bytes best = least;
    for (int y = 0; y < call.rows; ++y) {
      for (int x = 0; x < call.columns; ++x) {
        const Element* pixel = source + y * call.row_stride + x * call.column_stride;
        best = max(best, Bytes::load(pixel + first, count));
      }
    }
    if (same) {
      best.store(reinterpret_cast<Element*>(out) + first, count);
      continue;
    }
    alignas(64) Element elements[Bytes::kLanes];
    best.store(elements, Bytes::kLanes);
    each_vector(count, [&](int c, auto load, auto store) {
      store(out + first + c, rounding.apply((load(elements + c) - zero) * scale, T{}));
    });
  }
}

template <class T>
void average_pool_elements(const PoolCall& call) {
  const auto* source = static_cast<const Whole*>(call.source);
  T* out = static_cast<T*>(call.out);
  const Rounding rounding(call.relu, call.zero);
  const Vec scale = broadcast(call.scale);
  const Vec start = broadcast_integer(-call.rows * call.columns * call.source_zero);
  each_vector(call.channels, [&](int c, auto load, auto store) {
    Vec total = start;
    for (int y = 0; y < call.rows; ++y) {
      for (int x = 0; x < call.columns; ++x) {
        const Whole* pixel = source + y * call.row_stride + x * call.column_stride;
        total = add_integers(total, load(pixel + c));
      }
    }
    Vec average = integers_to_floats(total) * scale;
    if (call.bias) average = average + load(call.bias + c);
    store(out + c, rounding.apply(average, T{}));
  });
}

// As many units as n channels fill; what is left of the last one is zero.
inline void gather_elements(const void* source, float* units, int n) {
  IntegerUnit::gather(static_cast<const Element*>(source), units, n);
}

inline void quantize(const float* source, std::ptrdiff_t stride, void* out, int n, float scale,
                     int zero, bool relu) {
  auto* to = static_cast<Element*>(out);
  const Rounding rounding(relu, zero);
  const Vec unit = broadcast(scale);
  if (stride == 1) {
    each_vector(n, [&](int c, auto load, auto store) {
      store(to + c, rounding.apply(divide(load(source + c), unit), Element{}));
    });
    return;
  }
  float lanes[Vec::kLanes] = {};
  for (int i = 0; i < n; i += Vec::kLanes) {
    const int count = std::min(n - i, Vec::kLanes);
    for (int j = 0; j < count; ++j) lanes[j] = source[(i + j) * stride];
    store(to + i, rounding.apply(divide(load(lanes), unit), Element{}), Mask(count));
  }
}

inline void quantize_pixels(const QuantizePixelsCall& call) {
  constexpr int kChannels = IntegerUnit::kChannels;
  constexpr int kBlock = 64;
  // Rows to come of an image in planes, far enough for memory to answer in time; any address.
  constexpr std::ptrdiff_t kAhead = 640 * sizeof(float), kLine = 64;
  const bool planes = call.column_stride == 1;
  // Channels that a unit has besides stay zero.
  Element rows[4][kBlock] = {};
  const int pixel_units = kChannels == 4 ? 1 : (call.channels + kChannels - 1) / kChannels;
  auto* out = reinterpret_cast<std::uint32_t*>(call.out);
  for (int i = 0; i < call.pixels; i += kBlock) {
    const int count = std::min(call.pixels - i, kBlock);
    for (int c = 0; c < call.channels; ++c) {
      const float* from = call.source + i * call.column_stride + c * call.channel_stride;
      const char* ahead = reinterpret_cast<const char*>(from) + kAhead;
      for (int line = 0; planes && line < kBlock / 16; ++line)
        __builtin_prefetch(ahead + line * kLine);
      quantize(from, call.column_stride, rows[c], count, call.scale, call.zero, false);
    }
    for (int u = 0; u < pixel_units; ++u) {
      for (int j = 0; j < count; ++j) {
        std::uint32_t unit = 0;
        unroll<kChannels>([&](auto k) {
          const std::uint32_t element = rows[u * kChannels + k.value][j].value;
          unit |= element << 32 / kChannels * k.value;
        });
        out[j * pixel_units + u] = unit;
      }
    }
    out += count * pixel_units;
  }
}

inline void dequantize(const void* source, float* out, int n, float scale, int zero) {
  const auto* from = static_cast<const Element*>(source);
  const Vec unit = broadcast(scale), offset = broadcast(static_cast<float>(zero));
  each_vector(
      n, [&](int c, auto load, auto store) { store(out + c, (load(from + c) - offset) * unit); });
}

inline Kernels make_int8_kernels() {
  Kernels k;
  fill_twins<QuantizedUnit, Element>(k.twin_gemm);
  fill_twins<QuantizedUnit, float>(k.twin_gemm_raw);
  k.twin_input = twin_input<true>;
  k.twin_copy = twin_input<false>;
  k.lanes = Vec::kLanes;
  k.gemm_rows = kGemmRows;
  k.gemm_vectors = kGemmVectors;
  fill_gemm<QuantizedUnit, Element>(k.gemm);
  fill_gemm<QuantizedUnit, float>(k.gemm_raw);
  k.max_pool = each_pixel<Element, Element, max_pool_elements<Element>>;
  k.average_pool = each_pixel<Element, Element, average_pool_elements<Element>>;
  k.max_pool_raw = each_pixel<Element, float, max_pool_elements<float>>;
  k.average_pool_raw = each_pixel<Element, float, average_pool_elements<float>>;
  k.unit_channels = IntegerUnit::kChannels;
  k.gather = gather_elements;
  k.quantize = quantize;
  k.quantize_pixels = quantize_pixels;
  k.dequantize = dequantize;
  return k;
}

}  // namespace
}  // namespace ifast::cpu
