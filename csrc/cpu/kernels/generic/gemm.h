#pragma once

#include "cpu/kernels/generic/unroll.h"
#include "cpu/kernels/kernels.h"
#include "cpu/kernels/prefetch.h"

// The GEMM micro-kernel: a block of Rows x Vectors accumulators stays in registers over the whole
// of K. Each step loads Vectors vectors of weights and broadcasts one unit of each row. The unit
// says what a step multiplies, and what becomes of the sums.
namespace ifast::cpu {
namespace {

// Inlined always: the accumulators would otherwise have an address, and be in memory.
template <class T, int Rows, int Vectors>
inline __attribute__((always_inline)) void store_block(const GemmCall& call,
                                                       Vec (&acc)[Rows][Vectors]) {
  constexpr int kWidth = Vectors * Vec::kLanes;
  // Copies, which the stores cannot change.
  T* const out = static_cast<T*>(call.out);
  const T* const residual = static_cast<const T*>(call.residual);
  const std::ptrdiff_t stride = call.out_stride, residual_stride = call.residual_stride;
  const bool rectify = call.relu;
  const auto each = [&](auto f) __attribute__((always_inline)) {
    unroll<Rows>([&](auto m) {
      unroll<Vectors>([&](auto n) { f(m.value, n.value, acc[m.value][n.value]); });
    });
  };
  if (call.columns == kWidth && !residual) {
    if (rectify) each([](int, int, Vec& x) { x = relu(x); });
    each([&](int m, int n, Vec x) { store(out + m * stride + n * Vec::kLanes, x); });
    return;
  }
  const Mask last(call.columns - (Vectors - 1) * Vec::kLanes), all(Vec::kLanes);
  each([&](int m, int n, Vec x) {
    const Mask some = n == Vectors - 1 ? last : all;
    const int at = n * Vec::kLanes;
    if (residual) x = x + load(residual + m * residual_stride + at, some);
    store(out + m * stride + at, rectify ? relu(x) : x, some);
  });
}

// What becomes of float32 sums.
struct FloatSums {
  static constexpr bool kRounds = true;  // each addition

  template <class T, int Rows, int Vectors>
  static inline __attribute__((always_inline)) void finish(const GemmCall& call,
                                                           Vec (&acc)[Rows][Vectors]) {
    store_block<T>(call, acc);
  }
};

// A unit is one float32.
struct FloatUnit : FloatSums {
  static Vec load_weights(const char* b) { return load(reinterpret_cast<const float*>(b)); }
  static Vec load_pixel(const float* a) { return broadcast(*a); }
  static Vec multiply_add(Vec pixel, Vec weights, Vec sum) { return fma(pixel, weights, sum); }
};

// Asks for the cache lines of a row of outputs.
template <int Width, class T>
inline __attribute__((always_inline)) void prefetch_row_for_write(const T* row) {
  constexpr int kLines = (Width * sizeof(T) + 63) / 64;
  unroll<kLines>([&](auto i) { prefetch_for_write(row + i.value * 64 / sizeof(T)); });
}

// Where the panels of weights, and what is to be fetched ahead, have been read up to.
struct Progress {
  const char* b;
  const char* ahead;
};

// Rows of A, `stride` apart, one base for each three of them: base, base + stride and base + 2 *
// stride are addressing modes.
template <int Rows>
struct StridedRows {
  StridedRows(const float* a, std::ptrdiff_t stride) : stride(stride) {
    unroll<kBases>([&](auto i) { base[i.value] = a + 3 * i.value * stride; });
  }
  template <int M>
  const float* row() const {
    return base[M / 3] + M % 3 * stride;
  }

  static constexpr int kBases = (Rows + 2) / 3;
  const float* base[kBases];
  std::ptrdiff_t stride;
};

// Adds the products of unit k of the rows with the next unit of weights.
template <class Unit, int Rows, int Vectors>
inline __attribute__((always_inline)) void multiply_unit(const StridedRows<Rows>& a,
                                                         std::ptrdiff_t k, Progress& at,
                                                         Vec (&acc)[Rows][Vectors]) {
  Vec weights[Vectors];
  unroll<Vectors>([&](auto n) {
    weights[n.value] = Unit::load_weights(at.b + n.value * Vec::kLanes * sizeof(float));
  });
  at.b += Vectors * Vec::kLanes * sizeof(float);
  __builtin_prefetch(at.ahead, 0, 2);
  at.ahead += 64;
  unroll<Rows>([&](auto m) {
    const Vec pixel = Unit::load_pixel(a.template row<m.value>() + k);
    unroll<Vectors>([&](auto n) {
      Vec& sum = acc[m.value][n.value];
      sum = Unit::multiply_add(pixel, weights[n.value], sum);
    });
  });
}

// Terms that are summed one after the other; longer sums are sums of such, or their error would
// grow with the length.
constexpr std::ptrdiff_t kSerialTerms = 2048;

// Adds the sums to the totals and starts them again from zero.
template <int Rows, int Vectors>
inline __attribute__((always_inline)) void move_sums(Vec (&acc)[Rows][Vectors],
                                                     Vec (&totals)[Rows][Vectors],
                                                     bool& has_totals) {
  unroll<Rows>([&](auto m) {
    unroll<Vectors>([&](auto n) {
      Vec &sum = acc[m.value][n.value], &total = totals[m.value][n.value];
      total = has_totals ? total + sum : sum;
      sum = broadcast(0.0f);
    });
  });
  has_totals = true;
}

template <class Unit, class T, int Rows, int Vectors>
void gemm(const GemmCall& call) {
  constexpr int kWidth = Vectors * Vec::kLanes;
  Vec acc[Rows][Vectors];
  unroll<Vectors>([&](auto n) {
    const Vec start = call.bias ? load(call.bias + n.value * Vec::kLanes) : broadcast(0.0f);
    unroll<Rows>([&](auto m) { acc[m.value][n.value] = start; });
  });

  if (call.prefetch_out) {
    unroll<Rows>([&](auto m) {
      prefetch_row_for_write<kWidth>(static_cast<const T*>(call.out) + m.value * call.out_stride);
    });
  }

  [[maybe_unused]] Vec totals[Rows][Vectors];
  [[maybe_unused]] bool has_totals = false;
  Progress at{static_cast<const char*>(call.b), static_cast<const char*>(call.prefetch)};
  for (int s = 0; s < call.segments; ++s) {
    const float* start = static_cast<const float*>(call.a) + (call.offsets ? call.offsets[s] : 0);
    const StridedRows<Rows> a(start, call.row_stride);
    for (std::ptrdiff_t k = 0, end = 0; k < call.segment_length;) {
      end = Unit::kRounds && call.segment_length - k > kSerialTerms ? k + kSerialTerms
                                                                    : call.segment_length;
      for (; k < end; ++k) multiply_unit<Unit>(a, k, at, acc);
      if constexpr (Unit::kRounds) {
        if (end < call.segment_length) move_sums(acc, totals, has_totals);
      }
    }
  }
  if constexpr (Unit::kRounds) {
    if (has_totals) {
      unroll<Rows>([&](auto m) {
        unroll<Vectors>([&](auto n) {
          acc[m.value][n.value] = totals[m.value][n.value] + acc[m.value][n.value];
        });
      });
    }
  }
  Unit::template finish<T>(call, acc);
}

template <class Unit, class T>
void fill_gemm(Gemm (&table)[kMaxGemmRows][kMaxGemmVectors]) {
  unroll<kGemmRows>([&](auto m) {
    unroll<kGemmVectors>(
        [&](auto n) { table[m.value][n.value] = gemm<Unit, T, m.value + 1, n.value + 1>; });
  });
}

}  // namespace
}  // namespace ifast::cpu
