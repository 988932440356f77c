#pragma once

#include "ptx/platform.cuh"

// When and where a block runs.
namespace ifast::cuda::ptx {

// Of one clock for the whole device, which need not tick at every nanosecond.
IFAST_DEVICE std::uint64_t nanoseconds() {
  std::uint64_t time;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(time)::"memory");
  return time;
}

IFAST_DEVICE int multiprocessor() {
  int index;
  asm volatile("mov.u32 %0, %%smid;" : "=r"(index));
  return index;
}

}  // namespace ifast::cuda::ptx
