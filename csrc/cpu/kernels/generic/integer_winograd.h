#pragma once

#include <algorithm>

#include "cpu/kernels/generic/gemm.h"
#include "cpu/kernels/generic/unroll.h"
#include "cpu/kernels/kernels.h"

// Quantised convolution by pairs of outputs, Winograd's F(2, 3) in halves: docs/int8.md. The
// transforms average bytes, which the processor does for a whole vector in one instruction.
namespace ifast::cpu {
namespace {

constexpr int kTwinRows = kGemmRows / 2;

template <bool Triple>
inline void twin_input(const TwinInput& call) {
  const Element* pixels[4];
  for (int i = 0; i < 4; ++i) pixels[i] = static_cast<const Element*>(call.pixels[i]);
  float* out = call.out;
  for (int t = 0; t < call.tiles; ++t, out += call.out_stride) {
    for (int c = 0; c < call.channels; c += Bytes::kLanes) {
      const int n = std::min(call.channels - c, Bytes::kLanes);
      float* const units = out + c / IntegerUnit::kChannels;
      const auto pixel = [&](int i) { return Bytes::load(pixels[i] + t * call.strides[i] + c, n); };
      const auto put = [&](int i, Bytes x) { store_units(units + call.positions[i], x, n); };
      if constexpr (Triple) {
        const Bytes d0 = pixel(0), d1 = pixel(1), d2 = pixel(2), d3 = pixel(3);
        const Bytes less = complement(d1);
        put(0, average(d0, complement(d2)));
        put(1, average(d1, d2));
        put(2, average(d2, less));
        put(3, average(d3, less));
      } else {
        put(0, pixel(0));
        put(3, pixel(1));
      }
    }
  }
}

// Adds the products of two rows of A for each pair, `units` apart, with two panels of B that lie
// side by side.
template <class Unit, int Rows, int Vectors>
inline __attribute__((always_inline)) void multiply_twins(const float* a, std::ptrdiff_t stride,
                                                          std::ptrdiff_t units, Progress& at,
                                                          Vec (&acc)[2][Rows][Vectors]) {
  const StridedRows<Rows> first(a, stride), second(a + units, stride);
  for (std::ptrdiff_t k = 0; k < units; ++k) {
    multiply_unit<Unit>(first, k, at, acc[0]);
    multiply_unit<Unit>(second, k, at, acc[1]);
  }
}

// The even or the odd outputs of consecutive pairs; those outside the image go nowhere.
template <class T>
struct TwinRows {
  TwinRows(const TwinGemmCall& call, int side, T* nowhere)
      : pixels(call.pixels + side), gemm(call.gemm), nowhere(nowhere) {}

  T* out(int m) const {
    const std::ptrdiff_t pixel = pixels[2 * m];
    return pixel < 0 ? nowhere : static_cast<T*>(gemm.out) + pixel * gemm.out_stride;
  }
  const Element* residual(int m) const {
    const std::ptrdiff_t pixel = std::max(pixels[2 * m], 0);
    return static_cast<const Element*>(gemm.residual) + pixel * gemm.residual_stride;
  }

  const int* pixels;
  const GemmCall& gemm;
  T* nowhere;
};

template <class Unit, class T, int Rows, int Vectors>
void twin_gemm(const TwinGemmCall& call) {
  const GemmCall& gemm = call.gemm;
  constexpr int kWidth = Vectors * Vec::kLanes;
  alignas(64) T nowhere[kWidth];
  const TwinRows<T> even(call, 0, nowhere), odd(call, 1, nowhere);
  if (gemm.prefetch_out) {
    unroll<Rows>([&](auto m) {
      prefetch_row_for_write<kWidth>(even.out(m.value));
      prefetch_row_for_write<kWidth>(odd.out(m.value));
    });
  }
  Vec acc[2][Rows][Vectors];
  const auto each = [&](auto f) __attribute__((always_inline)) {
    unroll<Rows>([&](auto m) {
      unroll<Vectors>(
          [&](auto n) { f(n.value, acc[0][m.value][n.value], acc[1][m.value][n.value]); });
    });
  };
  each([](int, Vec& sum, Vec& difference) { sum = difference = broadcast(0.0f); });
  const auto* a = static_cast<const float*>(gemm.a);
  Progress at{static_cast<const char*>(gemm.b), static_cast<const char*>(gemm.prefetch)};
  multiply_twins<Unit>(a, gemm.row_stride, call.shared_units, at, acc);
  Vec even_bias[Vectors], odd_bias[Vectors];
  unroll<Vectors>([&](auto n) {
    even_bias[n.value] = load(gemm.bias + n.value * Vec::kLanes);
    odd_bias[n.value] = load(call.odd_bias + n.value * Vec::kLanes);
  });
  each([&](int n, Vec& x, Vec& y) {
    const Vec sum = x, difference = y;
    x = add_integers(add_integers(sum, difference), even_bias[n]);
    y = add_integers(subtract_integers(sum, difference), odd_bias[n]);
  });
  multiply_twins<Unit>(a + 2 * call.shared_units, gemm.row_stride, call.own_units, at, acc);
  Unit::template finish<T>(gemm, acc[0], even);
  Unit::template finish<T>(gemm, acc[1], odd);
}

template <class Unit, class T>
void fill_twins(TwinGemm (&table)[kMaxGemmRows / 2][kMaxGemmVectors]) {
  unroll<kTwinRows>([&](auto m) {
    unroll<kGemmVectors>(
        [&](auto n) { table[m.value][n.value] = twin_gemm<Unit, T, m.value + 1, n.value + 1>; });
  });
}

}  // namespace
}  // namespace ifast::cpu
