#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "cuda/launch/runtime.h"
#include "emulator/fault.h"

namespace ifast::emulator {

using cuda::Range;

struct Launch {
  std::string kernel;
  int blocks = 1;
  int threads = 32;
  std::size_t shared_bytes = 0;
  std::span<const Range> memory;
  int cluster = 1;  // consecutive blocks that run side by side and see each other's shared memory
  // All blocks take turns, so that they may wait for each other; otherwise they run in any order.
  bool resident = false;
  // Earlier launches may not have finished: what they touch must be waited for.
  bool overlaps = false;
  int multiprocessors = 1;  // that its blocks are dealt round to
};

// What a launch did, summed over its threads.
struct Counts {
  std::uint64_t blocks = 0;
  std::uint64_t matrix_products = 0;  // mma.sync of a whole warp
  std::uint64_t matrix_loads = 0;     // ldmatrix of a whole warp
  std::uint64_t bank_conflicts = 0;   // passes over shared memory that ldmatrix needs beyond four
  std::uint64_t async_copies = 0;
  std::uint64_t async_copies_16 = 0;  // those of 16 bytes
  std::uint64_t records = 0;          // reads of Steps and other tables, by threads

  void operator+=(const Counts& other);
};

// Something that the emulator leaves out, to show that its absence is found. Without the wait for
// counters, every counter is always high enough.
enum class Omission {
  kNone,
  kBlockBarrier,
  kClusterBarrier,
  kAsyncWait,
  kCounterWait,
  kLaunchWait,
};

// In effect for launches of this thread: blocks that do not wait for each other start in reverse.
void set_reversed(bool reversed);

// Runs body() once for each thread of each block. Throws Fault at the first mistake.
Counts run(const Launch& launch, const std::function<void()>& body);

// Between them, this thread's launches may overlap, each as its Launch says; their stores are in
// place after the outermost leave_device(). cuda::DeviceScope calls these.
void enter_device();
void leave_device();

// In effect for launches of this thread.
void set_omission(Omission omission);

// The device that this thread's executors are built for and run on. By default, one of few
// multiprocessors, so that small networks have several waves of tiles, but with all the rest.
void set_limits(const cuda::DeviceLimits& limits);
const cuda::DeviceLimits& limits();

// A number greater than all before it.
std::uint64_t tick();

// Few enough to be quick, and not a divisor of anything.
inline constexpr int kUsualResidentBlocks = 7;

// How many blocks of any kernel are resident on it at once.
void set_resident_blocks(int blocks);
int resident_blocks();

// Of all launches since the last call, of the calling thread.
Counts take_counts();

}  // namespace ifast::emulator
