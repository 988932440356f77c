#pragma once

#include "cuda/vector.h"
#include "ptx/memory.cuh"
#include "ptx/sync.cuh"

// Thread-block clusters (sm_90 and later). Before, a block is a cluster of its own.
namespace ifast::cuda::ptx {

IFAST_DEVICE int cluster_rank() {
#if __CUDA_ARCH__ >= 900
  int rank;
  asm("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
#else
  return 0;
#endif
}

// The address as the same block has it in its own shared memory, of the block of that rank.
IFAST_DEVICE Vector load_cluster_vector(std::uint32_t address, int rank) {
#if __CUDA_ARCH__ >= 900
  std::uint32_t mapped;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(mapped) : "r"(address), "r"(rank));
  Vector v;
  asm volatile("ld.shared::cluster.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.word[0]), "=r"(v.word[1]), "=r"(v.word[2]), "=r"(v.word[3])
               : "r"(mapped)
               : "memory");
  return v;
#else
  return load_shared_vector(address);
#endif
}

// Every thread of the cluster arrives once for each time that it waits. What a thread did before
// it arrived is done for those that have waited.
IFAST_DEVICE void cluster_arrive() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.arrive.release;" ::: "memory");
#endif
}
IFAST_DEVICE void cluster_wait() {
#if __CUDA_ARCH__ >= 900
  asm volatile("barrier.cluster.wait.acquire;" ::: "memory");
#else
  block_barrier();
#endif
}

}  // namespace ifast::cuda::ptx
