#pragma once

#include <cstddef>
#include <cstdint>

// What kernels are written in. They include "ptx/...", which is this folder for nvcc. The
// emulator's build puts emulator/ptx/ in its place, a twin for each header here, and compiles the
// same kernels for the host.
#define IFAST_DEVICE __device__ __forceinline__
#define IFAST_KERNEL(threads, blocks) __global__ void __launch_bounds__(threads, blocks)
#define IFAST_ARGUMENTS const __grid_constant__
#define IFAST_UNROLL _Pragma("unroll")
#define IFAST_ROLL _Pragma("unroll 1")

namespace ifast::cuda::ptx {

IFAST_DEVICE int thread_index() { return static_cast<int>(threadIdx.x); }
IFAST_DEVICE int block_index() { return static_cast<int>(blockIdx.x); }
IFAST_DEVICE int grid_size() { return static_cast<int>(gridDim.x); }

// Address in the shared window of the block's dynamic shared memory.
IFAST_DEVICE std::uint32_t shared_memory() {
  extern __shared__ __align__(128) unsigned char memory[];
  return static_cast<std::uint32_t>(__cvta_generic_to_shared(memory));
}

// The same address or number, in one piece from here on: the compiler must not put off its last
// additions into a loop.
IFAST_DEVICE const std::byte* keep(const std::byte* address) {
  asm volatile("" : "+l"(address));
  return address;
}
IFAST_DEVICE std::uint32_t keep(std::uint32_t number) {
  asm volatile("" : "+r"(number));
  return number;
}

}  // namespace ifast::cuda::ptx
