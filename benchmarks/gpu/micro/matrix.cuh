#pragma once

#include "micro/device.cuh"
#include "micro/random.cuh"
#include "ptx/async_copy.cuh"
#include "ptx/matrix.cuh"

// mma.sync by warps, and ldmatrix alone and beside cp.async.
namespace ifast::micro {

inline constexpr int kProducts = 32;  // of one round of the loop

// `kChains` independent sums; 1 shows the latency. Operands are random and change from product to
// product; half of them take away what the others add, so that sums stay as small as a network's.
template <int kChains>
__global__ void __launch_bounds__(1024) hmma_rate(int rounds, Span* spans, float* sink) {
  static_assert(kProducts % (4 * kChains) == 0);
  constexpr unsigned kWordsA = 2 * 4, kWordsB = 2 * 2, kNegate = 0x80008000u;
  const unsigned first = (blockIdx.x * blockDim.x + threadIdx.x) * (kWordsA + kWordsB);
  std::uint32_t a[2][4], b[4][2];
  IFAST_UNROLL
  for (unsigned i = 0; i < kWordsA; ++i) a[i / 4][i % 4] = random_pair(first + i);
  IFAST_UNROLL
  for (unsigned i = 0; i < kWordsB; ++i) {
    b[i / 2][i % 2] = random_pair(first + kWordsA + i);
    b[2 + i / 2][i % 2] = b[i / 2][i % 2] ^ kNegate;
  }
  float sums[kChains][4] = {};
  measure_block(spans, [&] {
    _Pragma("unroll 1") for (int round = 0; round < rounds; ++round) {
      IFAST_UNROLL
      for (int i = 0; i < kProducts; ++i) {
        const int operand = (i % kChains + i / kChains) % 4;
        ptx::mma_f16(sums[i % kChains], a[operand % 2], b[operand]);
      }
    }
  });
  float total = 0;
  IFAST_UNROLL
  for (int i = 0; i < kChains; ++i) total += sums[i][0] + sums[i][1] + sums[i][2] + sums[i][3];
  sink[blockIdx.x * blockDim.x + threadIdx.x] = total;
}

template <int kChains>
void hmma_rows(const Device& device) {
  constexpr int kRounds = 100, kSchedulers = 4;
  const int blocks = device.multiprocessors();
  Buffer<Span> spans(blocks);
  Buffer<float> sink(static_cast<std::size_t>(blocks) * 1024);
  for (const int warps : {1, 2, 3, 4, 8}) {
    const auto cycles = repeat([&] {
      hmma_rate<kChains><<<blocks, warps * kSchedulers * 32>>>(kRounds, spans.get(), sink.get());
      finish("hmma_rate");
      return static_cast<double>(spans.read()[0].cycles) / (kRounds * kProducts * warps);
    });
    report("hmma", {{"warps_per_scheduler", warps}, {"chains", kChains}},
           "cycles/instruction/scheduler", cycles);
  }
}

inline void hmma(const Device& device) {
  hmma_rows<1>(device);
  hmma_rows<2>(device);
  hmma_rows<4>(device);
  hmma_rows<8>(device);
}

inline constexpr int kLoads = 8;             // ldmatrix.x4 of one round
inline constexpr int kLoadBytes = 512;       // of one ldmatrix.x4, and of one cp.async of a warp
inline constexpr int kReadBytes = 32 << 10;  // that the loads walk through
inline constexpr int kStages = 2;            // groups of copies in flight

// Each warp reads 4 KB in a round, without bank conflicts, and copies kCopies x 512 bytes.
template <int kCopies>
__global__ void __launch_bounds__(512)
    ldsm_rate(int rounds, const unsigned char* source, Span* spans, unsigned* sink) {
  const int warp = ptx::thread_index() / 32, lane = ptx::thread_index() % 32;
  const std::uint32_t base = ptx::shared_memory();
  const std::uint32_t rows = base + warp * kLoads * kLoadBytes % kReadBytes + lane * 16;
  const std::uint32_t target =
      base + kReadBytes + warp * kStages * kCopies * kLoadBytes + lane * 16;
  // A block's own 64 KB: they stay in L2, and .cg keeps them out of L1.
  source += blockIdx.x * (64 << 10) + warp * 4096 + lane * 16;
  for (int i = ptx::thread_index(); i < kReadBytes / 4; i += blockDim.x) {
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(base + i * 4), "r"(i) : "memory");
  }
  unsigned mixed = 0;
  measure_block(spans, [&] {
    _Pragma("unroll 1") for (int round = 0; round < rounds; ++round) {
      const int stage = round % kStages * kCopies * kLoadBytes;
      IFAST_UNROLL
      for (int i = 0; i < kCopies; ++i) {
        ptx::cp_async<16>(target + stage + i * kLoadBytes, source + i * kLoadBytes, 16);
      }
      if constexpr (kCopies > 0) ptx::cp_async_commit();
      std::uint32_t matrices[kLoads][4];
      IFAST_UNROLL
      for (int i = 0; i < kLoads; ++i) ptx::ldmatrix(matrices[i], rows + i * kLoadBytes);
      IFAST_UNROLL
      for (int i = 0; i < kLoads; ++i) {
        mixed ^= matrices[i][0] ^ matrices[i][1] ^ matrices[i][2] ^ matrices[i][3];
      }
      if constexpr (kCopies > 0) ptx::cp_async_wait<kStages - 1>();
    }
  });
  if constexpr (kCopies > 0) ptx::cp_async_wait<0>();
  sink[blockIdx.x * blockDim.x + threadIdx.x] = mixed;
}

template <int kCopies>
void ldsm_rows(const Device& device) {
  constexpr int kRounds = 200;
  const int blocks = device.multiprocessors();
  Buffer<Span> spans(blocks);
  Buffer<unsigned> sink(static_cast<std::size_t>(blocks) * 512);
  Buffer<unsigned char> source(static_cast<std::size_t>(blocks) << 16);
  for (const int warps : {4, 8, 16}) {
    const int shared = kReadBytes + warps * kStages * kCopies * kLoadBytes;
    MICRO_CHECK(cudaFuncSetAttribute(ldsm_rate<kCopies>,
                                     cudaFuncAttributeMaxDynamicSharedMemorySize, shared));
    const auto rate = repeat([&] {
      ldsm_rate<kCopies>
          <<<blocks, warps * 32, shared>>>(kRounds, source.get(), spans.get(), sink.get());
      finish("ldsm_rate");
      return static_cast<double>(kRounds) * warps * kLoads * kLoadBytes / spans.read()[0].cycles;
    });
    const double copied = static_cast<double>(kCopies) / kLoads;
    report("ldsm", {{"warps", warps}, {"bytes_copied_per_byte_read", copied}}, "bytes read/cycle",
           rate);
  }
}

inline void ldsm(const Device& device) {
  ldsm_rows<0>(device);
  ldsm_rows<2>(device);
  ldsm_rows<4>(device);
  ldsm_rows<8>(device);
}

}  // namespace ifast::micro
