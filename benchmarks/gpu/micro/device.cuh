#pragma once

#include <cstdint>

#include "micro/harness.h"
#include "ptx/platform.cuh"
#include "ptx/timer.cuh"

// Clocks, and waits that give up.
namespace ifast::micro {

namespace ptx = cuda::ptx;

IFAST_DEVICE long long cycle_count() {
  long long now;
  asm volatile("mov.u64 %0, %%clock64;" : "=l"(now)::"memory");
  return now;
}

IFAST_DEVICE long long global_nanoseconds() { return static_cast<long long>(ptx::nanoseconds()); }

// For loops that wait: a kernel that waits in vain ends with an error.
class Deadline {
 public:
  IFAST_DEVICE Deadline() : begin_(global_nanoseconds()) {}
  IFAST_DEVICE void check() const {
    if (global_nanoseconds() - begin_ > 500'000'000) __trap();
  }

 private:
  long long begin_;
};

// Between two calls by the same thread.
class Stopwatch {
 public:
  IFAST_DEVICE Stopwatch() : begin_{cycle_count(), global_nanoseconds()} {}
  IFAST_DEVICE Span lap() const {
    return {cycle_count() - begin_.cycles, global_nanoseconds() - begin_.nanoseconds};
  }

 private:
  Span begin_;
};

// Of all threads of the block: from all of them here, to all of them there. `body` may be empty of
// visible effects only where its instructions are volatile.
template <class Body>
IFAST_DEVICE void measure_block(Span* spans, Body body) {
  __syncthreads();
  const Stopwatch watch;
  body();
  __syncthreads();
  if (threadIdx.x == 0) spans[blockIdx.x] = watch.lap();
}

}  // namespace ifast::micro
