#pragma once

#include "cpu/kernels.h"
#include "cpu/simd/unroll.h"
#include "cpu/winograd_matrices.h"

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
  for (int j = 0; j < Points; ++j) {
    if constexpr (Dimensions == 1) {
      store_position(j, rows[0][j]);
    } else {
      Vec x[Points], y[Points];
      unroll<Points>([&](auto i) { x[i.value] = rows[i.value][j]; });
      transform_input<Points>(x, y);
      unroll<Points>([&](auto i) { store_position(i.value * Points + j, y[i.value]); });
    }
  }
}

template <class T, class Out, int Points, int Dimensions>
void winograd_input_tile(const WinogradInput& call) {
  constexpr int kRows = Dimensions == 2 ? Points : 1;
  const bool inside = call.row_begin == 0 && call.row_end == kRows && call.column_begin == 0 &&
                      call.column_end == Points;
  for (int c = 0; c < call.channels; c += Vec::kLanes) {
    const int n = call.channels - c < Vec::kLanes ? call.channels - c : Vec::kLanes;
    const T* row = static_cast<const T*>(call.pixel) + c;
    Out* out = static_cast<Out*>(call.out) + c;
    Vec rows[kRows][Points];
    if (inside && n == Vec::kLanes) {
      for (int y = 0; y < kRows; ++y, row += call.row_stride) {
        Vec x[Points];
        unroll<Points>([&](auto i) { x[i.value] = load(row + i.value * call.column_stride); });
        transform_input<Points>(x, rows[y]);
      }
      finish_input<Points, Dimensions>(
          rows, [&](int p, Vec v) { store(out + p * call.position_stride, v); });
      continue;
    }
    const Mask none(0), some(n);
    for (int y = 0; y < kRows; ++y, row += call.row_stride) {
      const bool row_inside = y >= call.row_begin && y < call.row_end;
      Vec x[Points];
      unroll<Points>([&](auto i) {
        const bool in = row_inside && i.value >= call.column_begin && i.value < call.column_end;
        x[i.value] = load(row + i.value * call.column_stride, in ? some : none);
      });
      transform_input<Points>(x, rows[y]);
    }
    finish_input<Points, Dimensions>(
        rows, [&](int p, Vec v) { store(out + p * call.position_stride, v, some); });
  }
}

template <class T, int Outputs, int Points, int Dimensions>
void winograd_output_tile(const WinogradOutput& call) {
  constexpr int kRows = Dimensions == 2 ? Outputs : 1;
  const bool whole = call.columns == Outputs && !call.residual;
  for (int c = 0; c < call.channels; c += Vec::kLanes) {
    const int n = call.channels - c < Vec::kLanes ? call.channels - c : Vec::kLanes;
    const float* in = call.in + c;
    Vec rows[kRows][Points];
    for (int j = 0; j < Points; ++j, in += call.position_stride) {
      if constexpr (Dimensions == 1) {
        rows[0][j] = load(in);
      } else {
        Vec x[Points], y[Outputs];
        unroll<Points>(
            [&](auto i) { x[i.value] = load(in + i.value * Points * call.position_stride); });
        transform_output<Outputs, Points>(x, y);
        unroll<Outputs>([&](auto i) { rows[i.value][j] = y[i.value]; });
      }
    }
    const Vec bias = call.bias ? load(call.bias + c) : broadcast(0.0f);
    const Mask some(n);
    for (int y = 0; y < call.rows; ++y) {
      Vec outputs[Outputs];
      transform_output<Outputs, Points>(rows[y], outputs);
      T* pixel = static_cast<T*>(call.pixel) + y * call.row_stride + c;
      if (whole && n == Vec::kLanes) {
        unroll<Outputs>([&](auto x) {
          const Vec value = outputs[x.value] + bias;
          store(pixel + x.value * call.column_stride, call.relu ? relu(value) : value);
        });
        continue;
      }
      for (int x = 0; x < call.columns; ++x) {
        Vec value = outputs[x] + bias;
        if (call.residual) {
          value = value + load(static_cast<const T*>(call.residual) + y * call.residual_row_stride +
                                   x * call.residual_column_stride + c,
                               some);
        }
        store(pixel + x * call.column_stride, call.relu ? relu(value) : value, some);
      }
    }
  }
}

template <class T>
void fill_winograd(WinogradKernels (&table)[kWinogradSizeCount]) {
  unroll<kWinogradSizeCount>([&](auto i) {
    constexpr WinogradSize s = kWinogradSizes[i.value];
    table[i.value].input = winograd_input_tile<T, float, s.points, s.dimensions>;
    table[i.value].output = winograd_output_tile<T, s.outputs, s.points, s.dimensions>;
  });
}

}  // namespace
}  // namespace ifast::cpu
