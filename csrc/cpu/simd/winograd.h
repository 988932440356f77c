#pragma once

#include "cpu/kernels.h"
#include "cpu/simd/unroll.h"
#include "cpu/winograd_matrices.h"

// Input and output transforms of Winograd convolution, vectors along the channels.
namespace ifast::cpu {
namespace {

// acc + Coefficient * x, where acc is empty at first; Start says so.
template <class Coefficients, int Row, int Column, int Columns, int Step>
inline __attribute__((always_inline)) Vec dot_rest(const Vec* x, Vec acc) {
  if constexpr (Column >= Columns) {
    return acc;
  } else {
    constexpr float c = Coefficients::at(Row, Column);
    Vec next = acc;
    if constexpr (c == 1.0f) {
      next = acc + x[Column];
    } else if constexpr (c == -1.0f) {
      next = acc - x[Column];
    } else if constexpr (c != 0.0f) {
      next = fma(broadcast(c), x[Column], acc);
    }
    return dot_rest<Coefficients, Row, Column + Step, Columns, Step>(x, next);
  }
}

// Sum of Coefficients::at(Row, j) * x[j] over j = Column, Column + Step, ... < Columns, zeros
// skipped.
template <class Coefficients, int Row, int Column, int Columns, int Step>
inline __attribute__((always_inline)) Vec dot(const Vec* x) {
  static_assert(Column < Columns);
  constexpr float c = Coefficients::at(Row, Column);
  if constexpr (c == 0.0f) {
    return dot<Coefficients, Row, Column + Step, Columns, Step>(x);
  } else {
    const Vec start = c == 1.0f ? x[Column] : broadcast(c) * x[Column];
    return dot_rest<Coefficients, Row, Column + Step, Columns, Step>(x, start);
  }
}

template <int Points>
struct InputMatrix {
  static constexpr float at(int i, int j) {
    return static_cast<float>(winograd_input(Points, i, j));
  }
};

// Points are 0, then pairs a, -a, and infinity.
template <int Points>
constexpr bool starts_pair(int i) {
  static_assert(Points % 2 == 0);
  return i % 2 == 1 && i < Points - 1;
}

// y = B^T x. Rows of points a and -a have the same even coefficients and opposite odd ones: they
// share both partial sums.
template <int Points>
inline __attribute__((always_inline)) void transform_input(const Vec* x, Vec* y) {
  using B = InputMatrix<Points>;
  unroll<Points>([&](auto index) {
    constexpr int i = index.value;
    if constexpr (starts_pair<Points>(i)) {
      const Vec even = dot<B, i, 0, Points, 2>(x);
      const Vec odd = dot<B, i, 1, Points, 2>(x);
      y[i] = even + odd;
      y[i + 1] = even - odd;
    } else if constexpr (!starts_pair<Points>(i - 1)) {
      y[i] = dot<B, i, 0, Points, 1>(x);
    }
  });
}

// A^T over sums and differences of the mirrored points: even powers take the sum, odd the
// difference.
template <int Outputs, int Points>
struct OutputMatrix {
  static constexpr float at(int k, int i) {
    const float power = static_cast<float>(winograd_output(Outputs, Points, k, i));
    if (starts_pair<Points>(i)) return k % 2 == 0 ? power : 0.0f;
    if (i > 0 && starts_pair<Points>(i - 1)) {
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
    if constexpr (starts_pair<Points>(i)) {
      z[i] = x[i] + x[i + 1];
      z[i + 1] = x[i] - x[i + 1];
    } else if constexpr (!starts_pair<Points>(i - 1)) {
      z[i] = x[i];
    }
  });
  unroll<Outputs>(
      [&](auto k) { y[k.value] = dot<OutputMatrix<Outputs, Points>, k.value, 0, Points, 1>(z); });
}

template <class T>
inline Vec load_some(const T* p, int n) {
  return n == Vec::kLanes ? load(p) : load_first(p, n);
}

template <class T>
inline void store_some(T* p, Vec x, int n) {
  if (n == Vec::kLanes) {
    store(p, x);
  } else {
    store_first(p, x, n);
  }
}

template <class T, int Points, int Dimensions>
void winograd_input_tile(const WinogradInput& call) {
  constexpr int kRows = Dimensions == 2 ? Points : 1;
  for (int c = 0; c < call.channels; c += Vec::kLanes) {
    const int n = call.channels - c < Vec::kLanes ? call.channels - c : Vec::kLanes;
    const T* pixel = static_cast<const T*>(call.pixel) + c;
    Vec rows[kRows][Points];
    for (int y = 0; y < kRows; ++y) {
      Vec x[Points];
      const bool row_inside = y >= call.row_begin && y < call.row_end;
      unroll<Points>([&](auto i) {
        const bool inside = row_inside && i.value >= call.column_begin && i.value < call.column_end;
        const T* p = pixel + y * call.row_stride + i.value * call.column_stride;
        x[i.value] = inside ? load_some(p, n) : broadcast(0.0f);
      });
      transform_input<Points>(x, rows[y]);
    }
    float* out = call.out + c;
    for (int j = 0; j < Points; ++j) {
      if constexpr (Dimensions == 1) {
        store_some(out + j * call.position_stride, rows[0][j], n);
      } else {
        Vec x[Points], y[Points];
        unroll<Points>([&](auto i) { x[i.value] = rows[i.value][j]; });
        transform_input<Points>(x, y);
        unroll<Points>([&](auto i) {
          store_some(out + (i.value * Points + j) * call.position_stride, y[i.value], n);
        });
      }
    }
  }
}

template <class T, int Outputs, int Points, int Dimensions>
void winograd_output_tile(const WinogradOutput& call) {
  constexpr int kRows = Dimensions == 2 ? Outputs : 1;
  for (int c = 0; c < call.channels; c += Vec::kLanes) {
    const int n = call.channels - c < Vec::kLanes ? call.channels - c : Vec::kLanes;
    const float* in = call.in + c;
    Vec rows[kRows][Points];
    for (int j = 0; j < Points; ++j) {
      if constexpr (Dimensions == 1) {
        rows[0][j] = load(in + j * call.position_stride);
      } else {
        Vec x[Points], y[Outputs];
        unroll<Points>(
            [&](auto i) { x[i.value] = load(in + (i.value * Points + j) * call.position_stride); });
        transform_output<Outputs, Points>(x, y);
        unroll<Outputs>([&](auto i) { rows[i.value][j] = y[i.value]; });
      }
    }
    const Vec bias = call.bias ? load(call.bias + c) : broadcast(0.0f);
    for (int y = 0; y < call.rows; ++y) {
      Vec outputs[Outputs];
      transform_output<Outputs, Points>(rows[y], outputs);
      const std::ptrdiff_t row = y * call.row_stride + c;
      const std::ptrdiff_t residual_row = y * call.residual_row_stride + c;
      for (int x = 0; x < call.columns; ++x) {
        Vec value = outputs[x] + bias;
        if (call.residual) {
          const T* residual = static_cast<const T*>(call.residual) + residual_row;
          value = value + load_some(residual + x * call.residual_column_stride, n);
        }
        if (call.relu) value = relu(value);
        store_some(static_cast<T*>(call.pixel) + row + x * call.column_stride, value, n);
      }
    }
  }
}

template <class T>
void fill_winograd(WinogradKernels (&table)[kWinogradSizeCount]) {
  unroll<kWinogradSizeCount>([&](auto i) {
    constexpr WinogradSize s = kWinogradSizes[i.value];
    table[i.value] = {winograd_input_tile<T, s.points, s.dimensions>,
                      winograd_output_tile<T, s.outputs, s.points, s.dimensions>};
  });
}

}  // namespace
}  // namespace ifast::cpu
