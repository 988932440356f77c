#pragma once

#include "cpu/kernels/generic/unroll.h"
#include "cpu/kernels/generic/winograd_matrices.h"
#include "cpu/kernels/kernels.h"

// Input and output transforms of Winograd convolution, vectors along the channels.
namespace ifast::cpu {
namespace {

// acc + the terms M::at(Row, j) * x[j] for j = Column, Column + Step, ... while j is in [0,
// M::kColumns).
template <class M, int Row, int Column, int Step>
inline __attribute__((always_inline)) Vec add_terms(const Vec* x, Vec acc) {
  if constexpr (Column < 0 || Column >= M::kColumns) {
    return acc;
  } else {
    constexpr float c = M::at(Row, Column);
    if constexpr (c == 1.0f) {
      acc = acc + x[Column];
    } else if constexpr (c == -1.0f) {
      acc = acc - x[Column];
    } else if constexpr (c != 0.0f) {
      acc = fma(broadcast(c), x[Column], acc);
    }
    return add_terms<M, Row, Column + Step, Step>(x, acc);
  }
}

// Row of M times x, over every Step-th column from Column on; zeros are skipped.
template <class M, int Row, int Column, int Step>
inline __attribute__((always_inline)) Vec dot(const Vec* x) {
  static_assert(Column >= 0 && Column < M::kColumns);
  constexpr float c = M::at(Row, Column);
  if constexpr (c == 0.0f) {
    return dot<M, Row, Column + Step, Step>(x);
  } else {
    const Vec start = c == 1.0f ? x[Column] : broadcast(c) * x[Column];
    return add_terms<M, Row, Column + Step, Step>(x, start);
  }
}

template <int Points>
struct InputMatrix {
  static constexpr int kColumns = Points;
  static constexpr float at(int i, int j) {
    return static_cast<float>(winograd_input(Points, i, j));
  }
};

// y = B^T x, from the highest power down, whose coefficient is 1. Rows of points a and -a share
// both partial sums: coefficients of the highest power's parity are the same, the others opposite.
template <int Points>
inline __attribute__((always_inline)) void transform_input(const Vec* x, Vec* y) {
  using B = InputMatrix<Points>;
  unroll<Points>([&](auto index) {
    constexpr int i = index.value;
    if constexpr (winograd_starts_pair(Points, i)) {
      const Vec same = dot<B, i, Points - 2, -2>(x);
      const Vec opposite = dot<B, i, Points - 3, -2>(x);
      y[i] = same + opposite;
      y[i + 1] = same - opposite;
    } else if constexpr (!winograd_starts_pair(Points, i - 1)) {
      y[i] = dot<B, i, Points - 1, -1>(x);
    }
  });
}

// A^T over sums and differences of the mirrored points: even powers take the sum, odd the
// difference.
template <int Outputs, int Points>
struct OutputMatrix {
  static constexpr int kColumns = Points;
  static constexpr float at(int k, int i) {
    const float power = static_cast<float>(winograd_output(Outputs, Points, k, i));
    if (winograd_starts_pair(Points, i)) return k % 2 == 0 ? power : 0.0f;
    if (winograd_starts_pair(Points, i - 1)) {
      return k % 2 == 1 ? static_cast<float>(winograd_output(Outputs, Points, k, i - 1)) : 0.0f;
    }
    return power;
  }
};

// y = A^T x.
template <int Outputs, int Points>
inline __attribute__((always_inline)) void transform_output(const Vec* x, Vec* y) {
  Vec z[Points];
  unroll<Points>([&](auto index) {
    constexpr int i = index.value;
    if constexpr (winograd_starts_pair(Points, i)) {
      z[i] = x[i] + x[i + 1];
      z[i + 1] = x[i] - x[i + 1];
    } else if constexpr (!winograd_starts_pair(Points, i - 1)) {
      z[i] = x[i];
    }
  });
  unroll<Outputs>(
      [&](auto k) { y[k.value] = dot<OutputMatrix<Outputs, Points>, k.value, 0, 1>(z); });
}

// The tile's columns one by one in the second axis, which the first one left in rows[][].
template <int Points, int Dimensions, class Store>
inline __attribute__((always_inline)) void finish_input(
    const Vec (&rows)[Dimensions == 2 ? Points : 1][Points], Store store_position) {
  if constexpr (Dimensions == 1) {
    unroll<Points>([&](auto j) { store_position(j.value, rows[0][j.value]); });
  } else {
    for (int j = 0; j < Points; ++j) {
      Vec x[Points], y[Points];
      unroll<Points>([&](auto i) { x[i.value] = rows[i.value][j]; });
      transform_input<Points>(x, y);
      unroll<Points>([&](auto i) { store_position(i.value * Points + j, y[i.value]); });
    }
  }
}

template <class T, class Out, int Points, int Dimensions>
inline __attribute__((always_inline)) void winograd_input_tile(const WinogradInput& call,
                                                               const T* pixel, Out* tile_out) {
  constexpr int kRows = Dimensions == 2 ? Points : 1;
  const bool inside = call.row_begin == 0 && call.row_end == kRows && call.column_begin == 0 &&
                      call.column_end == Points;
  // Copies, which no store through Out can change.
  const std::ptrdiff_t row_stride = call.row_stride, column_stride = call.column_stride;
  const std::ptrdiff_t position_stride = call.position_stride;
  for (int c = 0; c < call.channels; c += Vec::kLanes) {
    const int n = call.channels - c < Vec::kLanes ? call.channels - c : Vec::kLanes;
    const T* row = pixel + c;
    Out* out = tile_out + c;
    Vec rows[kRows][Points];
    if (inside && n == Vec::kLanes) {
      for (int y = 0; y < kRows; ++y, row += row_stride) {
        Vec x[Points];
        unroll<Points>([&](auto i) { x[i.value] = load(row + i.value * column_stride); });
        transform_input<Points>(x, rows[y]);
      }
      finish_input<Points, Dimensions>(rows,
                                       [&](int p, Vec v) { store(out + p * position_stride, v); });
      continue;
    }
    const Mask none(0), some(n);
    for (int y = 0; y < kRows; ++y, row += row_stride) {
      const bool row_inside = y >= call.row_begin && y < call.row_end;
      Vec x[Points];
      unroll<Points>([&](auto i) {
        const bool in = row_inside && i.value >= call.column_begin && i.value < call.column_end;
        x[i.value] = load(row + i.value * column_stride, in ? some : none);
      });
      transform_input<Points>(x, rows[y]);
    }
    finish_input<Points, Dimensions>(
        rows, [&](int p, Vec v) { store(out + p * position_stride, v, some); });
  }
}

template <class T, class Out, int Points, int Dimensions>
void winograd_input(const WinogradInput& call) {
  for (int t = 0; t < call.tiles; ++t) {
    winograd_input_tile<T, Out, Points, Dimensions>(
        call, static_cast<const T*>(call.pixel) + t * call.tile_stride,
        static_cast<Out*>(call.out) + t * call.out_tile_stride);
  }
}

// Row y of a tile, whose columns the second axis left in x: bias, residual, ReLU.
template <class T, int Outputs, int Points>
inline __attribute__((always_inline)) void finish_output(const WinogradOutput& call, const Vec* x,
                                                         Vec bias, T* pixel, const T* residual,
                                                         Mask some, bool whole) {
  Vec outputs[Outputs];
  transform_output<Outputs, Points>(x, outputs);
  const std::ptrdiff_t column_stride = call.column_stride;
  const bool rectify = call.relu;
  if (whole) {
    unroll<Outputs>([&](auto i) {
      const Vec value = outputs[i.value] + bias;
      store(pixel + i.value * column_stride, rectify ? relu(value) : value);
    });
    return;
  }
  unroll<Outputs>([&](auto i) {
    if (i.value >= call.columns) return;
    Vec value = outputs[i.value] + bias;
    if (residual) {
      value = value + load(residual + i.value * call.residual_column_stride, some);
    }
    store(pixel + i.value * column_stride, rectify ? relu(value) : value, some);
  });
}

template <class T, int Outputs, int Points, int Dimensions>
inline __attribute__((always_inline)) void winograd_output_tile(const WinogradOutput& call,
                                                                const float* tile_in, T* tile_pixel,
                                                                const T* tile_residual) {
  const bool whole = call.columns == Outputs && !tile_residual;
  const std::ptrdiff_t position_stride = call.position_stride;
  for (int c = 0; c < call.channels; c += Vec::kLanes) {
    const int n = call.channels - c < Vec::kLanes ? call.channels - c : Vec::kLanes;
    const Mask some(n);
    const Vec bias = call.bias ? load(call.bias + c) : broadcast(0.0f);
    const float* in = tile_in + c;
    T* pixel = tile_pixel + c;
    const T* residual = tile_residual ? tile_residual + c : nullptr;
    const bool fast = whole && n == Vec::kLanes;
    if constexpr (Dimensions == 1) {
      Vec x[Points];
      unroll<Points>([&](auto i) { x[i.value] = load(in + i.value * position_stride); });
      finish_output<T, Outputs, Points>(call, x, bias, pixel, residual, some, fast);
    } else {
      Vec rows[Outputs][Points];
      for (int j = 0; j < Points; ++j, in += position_stride) {
        Vec x[Points], y[Outputs];
        unroll<Points>([&](auto i) { x[i.value] = load(in + i.value * Points * position_stride); });
        transform_output<Outputs, Points>(x, y);
        unroll<Outputs>([&](auto i) { rows[i.value][j] = y[i.value]; });
      }
      for (int y = 0; y < call.rows; ++y, pixel += call.row_stride) {
        finish_output<T, Outputs, Points>(call, rows[y], bias, pixel, residual, some, fast);
        if (residual) residual += call.residual_row_stride;
      }
    }
  }
}

template <class T, int Outputs, int Points, int Dimensions>
void winograd_output(const WinogradOutput& call) {
  for (int t = 0; t < call.tiles; ++t) {
    winograd_output_tile<T, Outputs, Points, Dimensions>(
        call, call.in + t * call.in_tile_stride, static_cast<T*>(call.pixel) + t * call.tile_stride,
        call.residual ? static_cast<const T*>(call.residual) + t * call.residual_tile_stride
                      : nullptr);
  }
}

template <class T>
void fill_winograd(WinogradKernels (&table)[kWinogradSizeCount]) {
  unroll<kWinogradSizeCount>([&](auto i) {
    constexpr WinogradSize s = kWinogradSizes[i.value];
    table[i.value].input = winograd_input<T, float, s.points, s.dimensions>;
    table[i.value].output = winograd_output<T, s.outputs, s.points, s.dimensions>;
  });
}

}  // namespace
}  // namespace ifast::cpu
