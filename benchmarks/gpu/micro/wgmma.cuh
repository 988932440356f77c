#pragma once

#include "micro/device.cuh"
#include "micro/ptx_sm90.cuh"
#include "micro/random.cuh"
#include "micro/wgmma_instruction.cuh"

// wgmma: its rate by N, with A from shared memory (ss) or registers (rs), and whether descriptors
// and fragments mean what we think they do.
namespace ifast::micro {

inline constexpr int kGroupRows = 64, kBlockK = 64, kGroupThreads = 128;
inline constexpr int kMatrixA = kGroupRows * kBlockK * 2;  // bytes
inline constexpr int kBatch = 8;                           // instructions for each commit

constexpr int wgmma_shared_bytes(int groups, int n) {
  // The swizzle wants multiples of 1024.
  return groups * kMatrixA + n * kBlockK * 2 + 1024;
}

// Small integers, so that all sums are exact.
__host__ IFAST_DEVICE int element_a(int row, int k) { return (row * 3 + k * 5) % 7 - 3; }
__host__ IFAST_DEVICE int element_b(int column, int k) { return (column * 5 + k * 11) % 9 - 4; }

struct Exact {
  IFAST_DEVICE static __half a(int row, int k) { return __int2half_rn(element_a(row, k)); }
  IFAST_DEVICE static __half b(int column, int k) { return __int2half_rn(element_b(column, k)); }
};

// The second half of K takes away what the first adds, so that the sums of however many rounds stay
// as small as a network's.
struct Random {
  static constexpr int kHalf = kBlockK / 2, kFirstOfB = 1 << 20;
  IFAST_DEVICE static __half a(int row, int k) {
    const __half value = random_half(row * kHalf + k % kHalf);
    return k < kHalf ? value : __hneg(value);
  }
  IFAST_DEVICE static __half b(int column, int k) {
    return random_half(kFirstOfB + column * kHalf + k % kHalf);
  }
};

IFAST_DEVICE void store_half(std::uint32_t shared, __half value) {
  asm volatile("st.shared.b16 [%0], %1;" ::"r"(shared), "h"(__half_as_ushort(value)) : "memory");
}

// A of each warpgroup, then B; returns the address of the first.
template <int kN, class Operands>
IFAST_DEVICE std::uint32_t fill_operands() {
  const std::uint32_t base = (ptx::shared_memory() + 1023) / 1024 * 1024;
  const int groups = static_cast<int>(blockDim.x) / kGroupThreads;
  for (int i = ptx::thread_index(); i < groups * kGroupRows * kBlockK; i += blockDim.x) {
    const int row = i / kBlockK, k = i % kBlockK;
    store_half(base + swizzled_byte(row, k), Operands::a(row, k));
  }
  for (int i = ptx::thread_index(); i < kN * kBlockK; i += blockDim.x) {
    const int column = i / kBlockK, k = i % kBlockK;
    store_half(base + groups * kMatrixA + swizzled_byte(column, k), Operands::b(column, k));
  }
  fence_async_proxy();
  __syncthreads();
  return base;
}

using Fragments = std::uint32_t[kBlockK / 16][4];

// A by k16 steps, as PTX ISA has it for m16n8k16.
template <class Operands>
IFAST_DEVICE void load_fragments(Fragments& a) {
  const int lane = ptx::thread_index() % 32, warp = ptx::thread_index() / 32;
  IFAST_UNROLL
  for (int step = 0; step < kBlockK / 16; ++step) {
    IFAST_UNROLL
    for (int part = 0; part < 4; ++part) {
      const int row = warp * 16 + lane / 4 + part % 2 * 8;
      const int k = step * 16 + lane % 4 * 2 + part / 2 * 8;
      a[step][part] = pack(Operands::a(row, k), Operands::a(row, k + 1));
    }
  }
}

template <int kN, bool kRegisters>
__global__ void __launch_bounds__(2 * kGroupThreads)
    wgmma_rate(int rounds, Span* spans, float* sink) {
  const std::uint32_t base = fill_operands<kN, Random>();
  const int groups = static_cast<int>(blockDim.x) / kGroupThreads;
  // From a shuffle, so that the compiler knows that a warp has one, and descriptors one register.
  const int group = __shfl_sync(0xffffffffu, ptx::thread_index() / kGroupThreads, 0);
  const std::uint64_t a = swizzled_matrix(base + group * kMatrixA);
  const std::uint64_t b = swizzled_matrix(base + groups * kMatrixA);
  Fragments fragments;
  if constexpr (kRegisters) load_fragments<Random>(fragments);
  float sums[kN / 2] = {};
  measure_block(spans, [&] {
    // Unrolled, because ptxas puts a wait behind every instruction of a loop of one batch
    // (CUDA 13.0).
    _Pragma("unroll 2") for (int round = 0; round < rounds; ++round) {
      wgmma_fence();
      IFAST_UNROLL
      for (int i = 0; i < kBatch; ++i) {
        const int step = i % 4;
        if constexpr (kRegisters) {
          Wgmma<kN>::from_registers(sums, fragments[step], b + step * 2);
        } else {
          Wgmma<kN>::from_shared(sums, a + step * 2, b + step * 2);
        }
      }
      wgmma_commit();
      wgmma_wait<1>();
    }
    wgmma_wait<0>();
  });
  float total = 0;
  IFAST_UNROLL
  for (const float sum : sums) total += sum;
  sink[blockIdx.x * blockDim.x + threadIdx.x] = total;
}

// One product of 64 x N x 64.
template <int kN, bool kRegisters>
__global__ void __launch_bounds__(kGroupThreads) wgmma_product(float* result) {
  const std::uint32_t base = fill_operands<kN, Exact>();
  const std::uint64_t a = swizzled_matrix(base), b = swizzled_matrix(base + kMatrixA);
  Fragments fragments;
  if constexpr (kRegisters) load_fragments<Exact>(fragments);
  float sums[kN / 2] = {};
  wgmma_fence();
  IFAST_UNROLL
  for (int step = 0; step < 4; ++step) {
    if constexpr (kRegisters) {
      Wgmma<kN>::from_registers(sums, fragments[step], b + step * 2);
    } else {
      Wgmma<kN>::from_shared(sums, a + step * 2, b + step * 2);
    }
  }
  wgmma_commit();
  wgmma_wait<0>();
  const int lane = ptx::thread_index() % 32, warp = ptx::thread_index() / 32;
  IFAST_UNROLL
  for (int i = 0; i < kN / 2; ++i) {
    const int row = warp * 16 + lane / 4 + i / 2 % 2 * 8;
    const int column = i / 4 * 8 + lane % 4 * 2 + i % 2;
    result[row * kN + column] = sums[i];
  }
}

template <class Kernel>
void allow_shared(Kernel kernel, int bytes) {
  MICRO_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
}

template <int kN, bool kRegisters>
void wgmma_rows(const Device& device) {
  constexpr int kRounds = 200;
  const int blocks = device.multiprocessors();
  const auto kernel = wgmma_rate<kN, kRegisters>;
  Buffer<Span> spans(blocks);
  Buffer<float> sink(static_cast<std::size_t>(blocks) * 2 * kGroupThreads);
  for (const int groups : {1, 2}) {
    const int shared = wgmma_shared_bytes(groups, kN);
    allow_shared(kernel, shared);
    std::vector<double> clocks;
    const auto cycles = repeat([&] {
      kernel<<<blocks, groups * kGroupThreads, shared>>>(kRounds, spans.get(), sink.get());
      finish("wgmma_rate");
      const Span span = spans.read()[0];
      return static_cast<double>(span.cycles) / (kRounds * kBatch * groups);
    });
    report("wgmma", {{"n", kN}, {"a", kRegisters ? "registers" : "shared"}, {"warpgroups", groups}},
           "cycles/instruction", cycles);
  }
}

template <int kN, bool kRegisters>
void wgmma_check_row() {
  Buffer<float> result(kGroupRows * kN);
  const int shared = wgmma_shared_bytes(1, kN);
  allow_shared(wgmma_product<kN, kRegisters>, shared);
  wgmma_product<kN, kRegisters><<<1, kGroupThreads, shared>>>(result.get());
  finish("wgmma_product");
  const std::vector<float> found = result.read();
  int wrong = 0;
  for (int row = 0; row < kGroupRows; ++row) {
    for (int column = 0; column < kN; ++column) {
      int expected = 0;
      for (int k = 0; k < kBlockK; ++k) expected += element_a(row, k) * element_b(column, k);
      wrong += found[row * kN + column] != static_cast<float>(expected);
    }
  }
  report("wgmma_check", {{"n", kN}, {"a", kRegisters ? "registers" : "shared"}}, "wrong elements",
         {static_cast<double>(wrong)});
}

template <int... kNs>
void wgmma_all(const Device& device) {
  (wgmma_rows<kNs, false>(device), ...);
  (wgmma_rows<kNs, true>(device), ...);
}

inline void wgmma(const Device& device) { wgmma_all<32, 64, 96, 128, 160, 192, 224, 256>(device); }

inline void wgmma_check(const Device&) {
  wgmma_check_row<64, false>();
  wgmma_check_row<64, true>();
  wgmma_check_row<192, false>();
  wgmma_check_row<192, true>();
}

}  // namespace ifast::micro
