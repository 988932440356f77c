#pragma once

#include "ptx/platform.cuh"

// Waiting for other threads.
namespace ifast::cuda::ptx {

IFAST_DEVICE void block_barrier() { __syncthreads(); }

IFAST_DEVICE void warp_barrier() { __syncwarp(); }

// The value of lane `lane ^ mask`.
IFAST_DEVICE float shuffle_xor(float value, int mask) {
  return __shfl_xor_sync(0xffffffffu, value, mask);
}

// Programmatic dependent launch (sm_90 and later): the next launch may start, and this one may
// touch what earlier launches wrote.
IFAST_DEVICE void launch_dependents() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}
IFAST_DEVICE void wait_for_earlier_launches() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// Counters between blocks of one grid. That a load sees a counter says nothing about the rest of
// memory until a fence. An acquire with each load would empty the multiprocessor's cache each time.
IFAST_DEVICE unsigned load_relaxed(const unsigned* address) {
  unsigned value;
  asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];" : "=r"(value) : "l"(address) : "memory");
  return value;
}
IFAST_DEVICE void fence() { asm volatile("fence.acq_rel.gpu;" ::: "memory"); }
IFAST_DEVICE unsigned add_release(unsigned* address, unsigned value) {
  unsigned before;
  asm volatile("atom.release.gpu.global.add.u32 %0, [%1], %2;"
               : "=r"(before)
               : "l"(address), "r"(value)
               : "memory");
  return before;
}
IFAST_DEVICE unsigned add_acquire_release(unsigned* address, unsigned value) {
  unsigned before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;"
               : "=r"(before)
               : "l"(address), "r"(value)
               : "memory");
  return before;
}
// Between two looks at a counter.
IFAST_DEVICE void pause() { __nanosleep(32); }

// Ends the launch with an error.
IFAST_DEVICE void trap() { __trap(); }

}  // namespace ifast::cuda::ptx
