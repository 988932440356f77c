#pragma once

#include "micro/device.cuh"

// What it costs to tell another block something through global memory.
namespace ifast::micro {

enum class Poll { kRelaxed, kAcquire };

// Apart from each other, so that they are in different lines.
struct alignas(256) Counter {
  unsigned value;
};

IFAST_DEVICE void signal(Counter* counter) {
  asm volatile("red.release.gpu.global.add.u32 [%0], 1;" ::"l"(&counter->value) : "memory");
}

// Until the counter has reached `value`.
template <Poll kPoll, int kPause>
IFAST_DEVICE void await(const Counter* counter, unsigned value) {
  const Deadline deadline;
  while (true) {
    _Pragma("unroll 1") for (int i = 0; i < 1024; ++i) {
      unsigned found;
      if constexpr (kPoll == Poll::kRelaxed) {
        asm volatile("ld.relaxed.gpu.global.u32 %0, [%1];"
                     : "=r"(found)
                     : "l"(&counter->value)
                     : "memory");
      } else {
        asm volatile("ld.acquire.gpu.global.u32 %0, [%1];"
                     : "=r"(found)
                     : "l"(&counter->value)
                     : "memory");
      }
      if (static_cast<int>(found - value) >= 0) {
        if constexpr (kPoll == Poll::kRelaxed) asm volatile("fence.acq_rel.gpu;" ::: "memory");
        return;
      }
      if constexpr (kPause > 0) __nanosleep(kPause);
    }
    deadline.check();
  }
}

struct HopResult {
  Span span;
  unsigned multiprocessor[2];
};

// Block 0 and block `partner` in turns. With kBarriers all threads of a block hand over, as a tile
// does.
template <Poll kPoll, int kPause, bool kBarriers>
__global__ void ping_pong(Counter* counters, int partner, unsigned rounds, HopResult* result) {
  const bool first = blockIdx.x == 0;
  if (!first && static_cast<int>(blockIdx.x) != partner) return;
  if (!kBarriers && threadIdx.x != 0) return;
  Counter *mine = counters + !first, *theirs = counters + first;
  const Stopwatch watch;
  for (unsigned round = 1; round <= rounds; ++round) {
    if constexpr (kBarriers) __syncthreads();
    if (threadIdx.x == 0) {
      if (first) signal(theirs);
      await<kPoll, kPause>(mine, round);
      if (!first) signal(theirs);
    }
    if constexpr (kBarriers) __syncthreads();
  }
  if (threadIdx.x != 0) return;
  if (first) result->span = watch.lap();
  result->multiprocessor[!first] = multiprocessor();
}

// All blocks at once, each on a multiprocessor of its own: two do not fit.
template <class Kernel>
void launch_resident(Kernel kernel, int blocks, int threads, std::vector<void*> arguments) {
  constexpr int kShared = 120 << 10;
  MICRO_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kShared));
  MICRO_CHECK(cudaLaunchCooperativeKernel(reinterpret_cast<const void*>(kernel), dim3(blocks),
                                          dim3(threads), arguments.data(), kShared, nullptr));
  finish("cooperative kernel");
}

template <Poll kPoll, int kPause, bool kBarriers>
void hop_row(const Device& device) {
  const int blocks = device.multiprocessors();
  unsigned rounds = 500;
  Buffer<Counter> counters(2);
  Buffer<HopResult> result(1);
  int partner = 0;
  const auto nanoseconds = repeat([&] {
    // Near and far ones.
    partner = partner % (blocks - 1) + 1 + blocks / 9;
    if (partner >= blocks) partner = 1;
    counters.clear();
    result.clear();
    Counter* flags = counters.get();
    HopResult* where = result.get();
    launch_resident(ping_pong<kPoll, kPause, kBarriers>, blocks, kBarriers ? 128 : 32,
                    {&flags, &partner, &rounds, &where});
    const HopResult found = result.read()[0];
    if (found.multiprocessor[0] == found.multiprocessor[1]) {
      throw Failure("ping_pong: both blocks on one multiprocessor");
    }
    return static_cast<double>(found.span.nanoseconds) / (2 * rounds);
  });
  report("hop",
         {{"poll", kPoll == Poll::kRelaxed ? "relaxed" : "acquire"},
          {"pause_ns", kPause},
          {"block_barriers", static_cast<int>(kBarriers)}},
         "ns", nanoseconds);
}

// All blocks wait for all blocks, as between two stages.
template <Poll kPoll>
__global__ void meet(Counter* counter, unsigned rounds, HopResult* result) {
  const Stopwatch watch;
  for (unsigned round = 1; round <= rounds; ++round) {
    __syncthreads();
    if (threadIdx.x == 0) {
      signal(counter);
      await<kPoll, 0>(counter, round * gridDim.x);
    }
    __syncthreads();
  }
  if (blockIdx.x == 0 && threadIdx.x == 0) result->span = watch.lap();
}

template <Poll kPoll>
void grid_barrier_row(const Device& device) {
  const int blocks = device.multiprocessors();
  unsigned rounds = 200;
  Buffer<Counter> counter(1);
  Buffer<HopResult> result(1);
  const auto nanoseconds = repeat([&] {
    counter.clear();
    result.clear();
    Counter* flag = counter.get();
    HopResult* where = result.get();
    launch_resident(meet<kPoll>, blocks, 128, {&flag, &rounds, &where});
    return static_cast<double>(result.read()[0].span.nanoseconds) / rounds;
  });
  report("grid_barrier", {{"poll", kPoll == Poll::kRelaxed ? "relaxed" : "acquire"}}, "ns",
         nanoseconds);
}

inline void hop(const Device& device) {
  hop_row<Poll::kRelaxed, 0, false>(device);
  hop_row<Poll::kAcquire, 0, false>(device);
  hop_row<Poll::kRelaxed, 32, false>(device);
  hop_row<Poll::kAcquire, 32, false>(device);
  hop_row<Poll::kRelaxed, 0, true>(device);
  hop_row<Poll::kAcquire, 0, true>(device);
  grid_barrier_row<Poll::kRelaxed>(device);
  grid_barrier_row<Poll::kAcquire>(device);
}

}  // namespace ifast::micro
