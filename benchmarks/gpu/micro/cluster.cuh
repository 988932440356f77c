#pragma once

#include "micro/device.cuh"
#include "ptx/cluster.cuh"

// Thread-block clusters: their barrier, and reads of another block's shared memory.
namespace ifast::micro {

inline constexpr int kClusterThreads = 128, kRemoteReads = 16;
inline constexpr int kWindow = 32 << 10;  // bytes, half of which a round reads

// With kOrdered what was written before is seen behind it, as the kernels need it.
template <bool kOrdered>
__global__ void __launch_bounds__(kClusterThreads) cluster_barriers(int rounds, Span* spans) {
  measure_block(spans, [&] {
    _Pragma("unroll 1") for (int round = 0; round < rounds; ++round) {
      if constexpr (kOrdered) {
        ptx::cluster_arrive();
      } else {
        asm volatile("barrier.cluster.arrive.relaxed;" ::: "memory");
      }
      ptx::cluster_wait();
    }
  });
}

IFAST_DEVICE std::uint32_t map_shared(std::uint32_t address, unsigned rank) {
  std::uint32_t mapped;
  asm volatile("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(mapped) : "r"(address), "r"(rank));
  return mapped;
}

// One thread of each block follows a chain in its neighbour's memory.
__global__ void __launch_bounds__(kClusterThreads)
    remote_chain(int rounds, unsigned size, Span* spans, unsigned* sink) {
  __shared__ unsigned chain[32];
  const auto own = static_cast<std::uint32_t>(__cvta_generic_to_shared(chain));
  const unsigned neighbour = (ptx::cluster_rank() + 1) % size;
  std::uint32_t at = map_shared(own, neighbour);
  // The neighbour's chain is walked by addresses of the cluster's window, so its owner writes
  // those.
  if (threadIdx.x < 32)
    chain[threadIdx.x] = map_shared(own, ptx::cluster_rank()) + (threadIdx.x + 1) % 32 * 4;
  ptx::cluster_arrive();
  ptx::cluster_wait();
  measure_block(spans, [&] {
    if (threadIdx.x == 0) {
      _Pragma("unroll 1") for (int round = 0; round < rounds; ++round) {
        IFAST_UNROLL
        for (int i = 0; i < kRemoteReads; ++i) {
          asm volatile("ld.shared::cluster.u32 %0, [%0];" : "+r"(at)::"memory");
        }
      }
    }
  });
  if (threadIdx.x == 0) sink[blockIdx.x] = at - map_shared(own, neighbour);
  // Nobody leaves while others read its memory.
  ptx::cluster_arrive();
  ptx::cluster_wait();
}

// All threads read 16 bytes at a time from the neighbour.
__global__ void __launch_bounds__(kClusterThreads)
    remote_stream(int rounds, unsigned size, Span* spans, unsigned* sink) {
  __shared__ __align__(16) unsigned char window[kWindow];
  const auto own = static_cast<std::uint32_t>(__cvta_generic_to_shared(window));
  for (int i = threadIdx.x; i < kWindow / 4; i += kClusterThreads) {
    reinterpret_cast<unsigned*>(window)[i] = i;
  }
  const std::uint32_t from = map_shared(own, (ptx::cluster_rank() + 1) % size) + threadIdx.x * 16;
  ptx::cluster_arrive();
  ptx::cluster_wait();
  unsigned mixed = 0;
  measure_block(spans, [&] {
    _Pragma("unroll 1") for (int round = 0; round < rounds; ++round) {
      const std::uint32_t half = from + round % 2 * (kWindow / 2);
      ptx::Vector v[kWindow / 2 / kClusterThreads / 16];
      IFAST_UNROLL
      for (int i = 0; i < kWindow / 2 / kClusterThreads / 16; ++i) {
        asm volatile("ld.shared::cluster.v4.u32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(v[i].word[0]), "=r"(v[i].word[1]), "=r"(v[i].word[2]),
                       "=r"(v[i].word[3])
                     : "r"(half + i * kClusterThreads * 16)
                     : "memory");
      }
      IFAST_UNROLL
      for (const ptx::Vector& w : v) mixed ^= w.word[0] ^ w.word[1] ^ w.word[2] ^ w.word[3];
    }
  });
  sink[blockIdx.x * kClusterThreads + threadIdx.x] = mixed;
  ptx::cluster_arrive();
  ptx::cluster_wait();
}

template <class... Parameters, class... Arguments>
void launch_cluster(void (*kernel)(Parameters...), unsigned size, Arguments... arguments) {
  if (size > 8) {
    MICRO_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeNonPortableClusterSizeAllowed, 1));
  }
  cudaLaunchAttribute attribute{};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim = {size, 1, 1};
  cudaLaunchConfig_t config{};
  config.gridDim = dim3(size);
  config.blockDim = dim3(kClusterThreads);
  config.attrs = &attribute;
  config.numAttrs = 1;
  MICRO_CHECK(cudaLaunchKernelEx(&config, kernel, Parameters(arguments)...));
  finish("cluster kernel");
}

template <bool kOrdered>
void cluster_barrier_row(unsigned size) {
  constexpr int kRounds = 200;
  Buffer<Span> spans(size);
  const auto cycles = repeat([&] {
    launch_cluster(cluster_barriers<kOrdered>, size, kRounds, spans.get());
    return static_cast<double>(spans.read()[0].cycles) / kRounds;
  });
  report("cluster_barrier",
         {{"blocks", static_cast<long long>(size)}, {"arrive", kOrdered ? "release" : "relaxed"}},
         "cycles", cycles);
}

inline void cluster_rows(unsigned size) {
  cluster_barrier_row<true>(size);
  cluster_barrier_row<false>(size);
  constexpr int kRounds = 201;
  Buffer<Span> spans(size);
  Buffer<unsigned> sink(static_cast<std::size_t>(size) * kClusterThreads);
  const Case parameters = {{"blocks", static_cast<long long>(size)}};
  const auto chain = repeat([&] {
    launch_cluster(remote_chain, size, kRounds, size, spans.get(), sink.get());
    if (sink.read()[0] != kRounds * kRemoteReads % 32 * 4) {
      throw Failure("remote_chain: ended elsewhere than it should");
    }
    return static_cast<double>(spans.read()[0].cycles) / (kRounds * kRemoteReads);
  });
  report("remote_read", parameters, "cycles", chain);
  const auto stream = repeat([&] {
    launch_cluster(remote_stream, size, kRounds, size, spans.get(), sink.get());
    return static_cast<double>(kRounds) * (kWindow / 2) / spans.read()[0].cycles;
  });
  report("remote_bandwidth", parameters, "bytes/cycle/block", stream);
}

inline void cluster(const Device&) {
  for (const unsigned size : {2u, 4u, 8u, 16u}) cluster_rows(size);
}

}  // namespace ifast::micro
