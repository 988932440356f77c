#pragma once

#include "micro/device.cuh"
#include "ptx/memory.cuh"
#include "ptx/sync.cuh"

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

// Looks at the counter until it has reached `value`.
template <Poll kPoll, int kPause>
IFAST_DEVICE void poll(const Counter* counter, unsigned value) {
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
      if (static_cast<int>(found - value) >= 0) return;
      if constexpr (kPause > 0) __nanosleep(kPause);
    }
    deadline.check();
  }
}

// What was written before the counter reached `value` is seen behind this, by this thread.
template <Poll kPoll, int kPause>
IFAST_DEVICE void await(const Counter* counter, unsigned value) {
  poll<kPoll, kPause>(counter, value);
  if constexpr (kPoll == Poll::kRelaxed) ptx::fence();
}

struct HopResult {
  Span span;
  int multiprocessor[2];
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
  result->multiprocessor[!first] = ptx::multiprocessor();
}

inline constexpr int kTileThreads = 128;

// In turns as tiles of the network driver hand over, that is as the end of a tile and
// wait_for_producers() in csrc/cuda/kernels/network.cuh do with one counter. With kBytes each
// thread writes 16 first and reads the partner's at last.
template <bool kBytes>
__global__ void __launch_bounds__(kTileThreads)
    tile_hops(Counter* counters, ptx::Vector* tiles, int partner, unsigned rounds,
              HopResult* result) {
  const bool first = blockIdx.x == 0;
  if (!first && static_cast<int>(blockIdx.x) != partner) return;
  Counter *mine = counters + !first, *theirs = counters + first;
  const ptx::Vector* source = tiles + !first * kTileThreads + threadIdx.x;
  ptx::Vector* target = tiles + first * kTileThreads + threadIdx.x;
  ptx::Vector v{};
  const auto finish_tile = [&] {
    if constexpr (kBytes) {
      ++v.word[0];
      ptx::store_global_vector(target, v);
    }
    ptx::block_barrier();
    if (threadIdx.x == 0) ptx::add_release(&theirs->value, 1);
  };
  const Stopwatch watch;
  _Pragma("unroll 1") for (unsigned round = 1; round <= rounds; ++round) {
    if (first) finish_tile();
    if (threadIdx.x == 0) poll<Poll::kRelaxed, 32>(mine, round);
    ptx::fence();
    ptx::block_barrier();
    if constexpr (kBytes) v = ptx::load_global_vector(source);
    if (!first) finish_tile();
  }
  if (threadIdx.x != 0) return;
  if (first) result->span = watch.lap();
  result->multiprocessor[!first] = ptx::multiprocessor();
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

// Nanoseconds of one way. `launch(counters, partner, rounds, result)` lets block 0 and block
// `partner` take turns.
template <class Launch>
std::vector<double> one_way(const Device& device, Launch launch) {
  const int blocks = device.multiprocessors();
  constexpr unsigned kRounds = 500;
  Buffer<Counter> counters(2);
  Buffer<HopResult> result(1);
  int partner = 0;
  return repeat([&] {
    // Near and far ones.
    partner = partner % (blocks - 1) + 1 + blocks / 9;
    if (partner >= blocks) partner = 1;
    counters.clear();
    result.clear();
    launch(counters.get(), partner, kRounds, result.get());
    const HopResult found = result.read()[0];
    if (found.multiprocessor[0] == found.multiprocessor[1]) {
      throw Failure("hop: both blocks on one multiprocessor");
    }
    return static_cast<double>(found.span.nanoseconds) / (2 * kRounds);
  });
}

template <Poll kPoll, int kPause, bool kBarriers>
void hop_row(const Device& device) {
  const auto nanoseconds =
      one_way(device, [&](Counter* counters, int partner, unsigned rounds, HopResult* result) {
        launch_resident(ping_pong<kPoll, kPause, kBarriers>, device.multiprocessors(),
                        kBarriers ? kTileThreads : 32, {&counters, &partner, &rounds, &result});
      });
  report("hop",
         {{"poll", kPoll == Poll::kRelaxed ? "relaxed" : "acquire"},
          {"pause_ns", kPause},
          {"block_barriers", static_cast<int>(kBarriers)}},
         "ns", nanoseconds);
}

template <bool kBytes>
void tile_hop_row(const Device& device) {
  Buffer<ptx::Vector> tiles(2 * kTileThreads);
  const auto nanoseconds =
      one_way(device, [&](Counter* counters, int partner, unsigned rounds, HopResult* result) {
        tiles.clear();
        ptx::Vector* data = tiles.get();
        launch_resident(tile_hops<kBytes>, device.multiprocessors(), kTileThreads,
                        {&counters, &data, &partner, &rounds, &result});
        if (!kBytes) return;
        // Each hand-over has added one to what the one before left.
        const std::vector<ptx::Vector> found = tiles.read();
        const auto complete = [&](const ptx::Vector& v) { return v.word[0] == 2 * rounds; };
        if (!std::all_of(found.begin(), found.begin() + kTileThreads, complete)) {
          throw Failure("tile_hops: a block read what was not new");
        }
      });
  report("tile_hop", {{"bytes_stored", kBytes ? kTileThreads * 16 : 0}}, "ns", nanoseconds);
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
    launch_resident(meet<kPoll>, blocks, kTileThreads, {&flag, &rounds, &where});
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
  tile_hop_row<false>(device);
  tile_hop_row<true>(device);
  grid_barrier_row<Poll::kRelaxed>(device);
  grid_barrier_row<Poll::kAcquire>(device);
}

}  // namespace ifast::micro
